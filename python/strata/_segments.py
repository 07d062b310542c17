"""create(), attach() and what else has to do with segments by their names."""

from __future__ import annotations

import fnmatch
import operator

from strata import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from strata._core import Segment
    from strata._types import Mode, Node, Shape, Size


def bytes_of(size: Size, what: str) -> int:
    if isinstance(size, str):
        return _core.parse_bytes(size)
    count = operator.index(size)
    if count < 0:
        raise ValueError("%s: %d bytes cannot be" % (what, count))
    return count


def _shape_of(shape: Shape) -> list[int]:
    if hasattr(shape, "__iter__"):
        lengths = [operator.index(length) for length in shape]
    else:
        lengths = [operator.index(shape)]
    for length in lengths:
        if length < 0:
            raise ValueError("shape %r: a length cannot be negative" % (tuple(lengths),))
    return lengths


def placement_of(placement: str | None, node: Node | None) -> str | None:
    if node is None:
        return placement
    if placement is not None:
        raise TypeError("node= and placement= say both where the pages go: give one")
    if hasattr(node, "__iter__"):
        return "interleave:%s" % ",".join(str(operator.index(one)) for one in node)
    return "node:%d" % operator.index(node)


def _options(
    shape: Shape | None,
    dtype: Any,
    size: Size | None,
    max_size: Size | None,
    node: Node | None,
    placement: str | None,
    others: dict[str, Any],
) -> dict[str, Any]:
    """What _core.create() is asked for; absent options are the library's defaults."""
    options: dict[str, Any] = {}
    if dtype is not None or shape is not None:
        from strata import _dtype  # only arrays need it

        if shape is None:
            raise TypeError('a dtype needs a shape: create(uri, (1000, 1000), "float64")')
        options["element"] = _dtype.typestr("float64" if dtype is None else dtype)
        options["shape"] = _shape_of(shape)
        if size is not None:
            raise TypeError("shape= and size= say both how large it is: give one")
        if 0 in options["shape"]:
            raise ValueError("shape %r has no elements: a segment has one byte or more" % (shape,))
    elif size is None:
        raise TypeError('how large? create(uri, shape, dtype) or create(uri, size="64M")')
    else:
        options["size"] = bytes_of(size, "size")
    if max_size is not None:
        options["max_size"] = bytes_of(max_size, "max_size")
    where = placement_of(placement, node)
    if where is not None:
        options["placement"] = where
    options.update((name, value) for name, value in others.items() if value is not None)
    return options


def create(
    uri: str,
    shape: Shape | None = None,
    dtype: Any = None,
    *,
    size: Size | None = None,
    max_size: Size | None = None,
    node: Node | None = None,
    placement: str | None = None,
    pages: str | None = None,
    sparse: bool | None = None,
    lifetime: str | None = None,
    permissions: int | None = None,
    publish: bool | None = None,
    job: str | None = None,
    device: str | int | None = None,
    mechanism: str | None = None,
) -> Segment:
    """Makes a segment, zero filled, and returns it attached with mode "r+".

    uri: "shm:NAME", "pmem:/path/pool#NAME" or "cuda:NAME".
    shape, dtype: of the array that it holds, recorded in its header so that whoever attaches need
        not be told; dtype is "float64" where only a shape is given. Or:
    size: bytes, as a number or "64M".
    max_size: what grow() may make of it, in bytes; by default it cannot grow.
    node: the NUMA node that its pages go to, or several, page by page in turn.
    placement: the same in words: "interleave:0,1", "weighted:0=3,1=1", "preferred:1,0".
    pages: "4K", "thp" (2 MiB where the kernel grants them), "2M" or "1G" (reserved ones).
    sparse: take memory at the first touch, which may then fail by SIGBUS.
    lifetime: "process", "last_detach", "job" or "until_removed"; by default as its kind has it.
    permissions: of the named object, 0o600 by default.
    publish: False leaves others waiting until Segment.publish().
    job: the identifier for lifetime "job".
    device, mechanism: of cuda: segments.

    >>> with strata.create("shm:mesh", (2, 3), "int32", lifetime="last_detach") as mesh:
    ...     mesh
    <strata.Segment shm:mesh <i4 (2, 3) 24 B "r+">
    >>> strata.create("shm:raw", size="64K", max_size="1M", lifetime="last_detach").nbytes
    65536

    Raises ExistsError where the name is taken; ExhaustedError with the limit and what is free;
    ValueError; UnsupportedError where this kind of memory cannot do what is asked.
    """
    others = {
        "pages": pages, "sparse": sparse, "lifetime": lifetime, "permissions": permissions,
        "publish": publish, "job": job, "device": None if device is None else str(device),
        "mechanism": mechanism,
    }  # fmt: skip
    return _core.create(uri, _options(shape, dtype, size, max_size, node, placement, others))


def attach(
    uri: str,
    mode: Mode = "r+",
    *,
    timeout: float = 1.0,
    populate: bool = False,
    device: str | int | None = None,
) -> Segment:
    """Attaches to a segment that somebody made. Attaching never owns: it removes nothing.

    mode: "r" (a write raises, or faults), "r+", or "c" (writes are private to this process).
    timeout: seconds to wait for a creator that is still filling it.
    populate: fault all of it in at once.
    device: the GPU to map a cuda: segment into; by default the one that it is on.

    >>> with strata.create("shm:counts", 4, "uint8", lifetime="last_detach") as counts:
    ...     counts.write(b"abcd")
    ...     strata.attach("shm:counts", "r").read(1, 2)
    b'bc'
    >>> strata.attach("shm:nothing")
    Traceback (most recent call last):
    strata._errors.NotFoundError: ...

    Raises NotFoundError; NotReadyError; AccessError; CorruptError.
    """
    return _core.attach(uri, mode, float(timeout), populate, "" if device is None else str(device))


def create_or_attach(
    uri: str,
    shape: Shape | None = None,
    dtype: Any = None,
    *,
    fill: Callable[[Segment], object] | None = None,
    mode: Mode = "r+",
    timeout: float = 10.0,
    size: Size | None = None,
    max_size: Size | None = None,
    node: Node | None = None,
    placement: str | None = None,
    pages: str | None = None,
    lifetime: str | None = None,
    permissions: int | None = None,
    device: str | int | None = None,
) -> tuple[Segment, bool]:
    """Of any number of processes that call it at once one creates and fills, the others attach.

    fill: called with the Segment by the one that creates it, before anybody else sees it. Where it
        raises, the segment is gone again. Where its process is killed, another one creates.

    >>> def fill(segment):
    ...     segment.write(b"ready")
    >>> first, was_created = strata.create_or_attach(
    ...     "shm:table", size=4096, fill=fill, lifetime="last_detach")
    >>> second, is_second = strata.create_or_attach("shm:table", size=4096, fill=fill)
    >>> was_created, is_second, second.read(0, 5)
    (True, False, b'ready')

    Returns (segment, was_created). For the others see create() and attach().
    """
    others = {
        "pages": pages, "lifetime": lifetime, "permissions": permissions,
        "device": None if device is None else str(device),
    }  # fmt: skip
    options = _options(shape, dtype, size, max_size, node, placement, others)
    return _core.create_or_attach(uri, options, fill, mode, float(timeout))


def from_array(uri: str, array: Any, **options: Any) -> Segment:
    """Makes a segment with the type, shape and content of a host array, and returns it.

    array: whatever has the buffer protocol (NumPy, memoryview, array.array, Arrow buffers), or
        __dlpack__ (PyTorch and others, of the host). It is copied once.
    options: those of create(), but for shape, dtype and size.

    >>> import array
    >>> primes = array.array("i", [2, 3, 5, 7])
    >>> with strata.from_array("shm:primes", primes, lifetime="last_detach") as shared:
    ...     list(shared.view()), shared.dtype, shared.shape
    ([2, 3, 5, 7], ..., (4,))
    """
    view, dtype = described(array)
    will_publish = options.pop("publish", True)
    segment = create(uri, view.shape, dtype, publish=False, **options)
    try:
        segment.write(view)
        if will_publish:
            segment.publish()
    except BaseException:
        segment.close()
        remove(uri, force=True)
        raise
    return segment


def described(array: Any) -> tuple[memoryview, str]:
    """A C-contiguous memoryview of a host array, and its element type as headers spell it."""
    from strata import _dtype

    try:
        view = memoryview(array)
    except TypeError:
        if not hasattr(array, "__dlpack__"):
            raise TypeError(
                "%s has neither the buffer protocol nor DLPack" % type(array).__name__
            ) from None
        from strata._numpy import numpy

        view = numpy.from_dlpack(array).data
    dtype = getattr(array, "dtype", None)
    typestr = _dtype.typestr(_struct_dtype(view) if dtype is None else dtype)
    if not view.c_contiguous:
        from strata._numpy import numpy

        view = numpy.ascontiguousarray(view).data
    return view, typestr


def _struct_dtype(view: memoryview) -> str:
    """The dtype of a buffer that says it in the letters of `struct`."""
    letter = view.format.lstrip("@=<>!")
    kinds = {"?": "b", "c": "S", "e": "f", "f": "f", "d": "f", "Zf": "c", "Zd": "c"}
    kind = kinds.get(letter) or ("i" if letter in "bhilqn" else "u" if letter in "BHILQN" else None)
    if kind is None:
        raise ValueError("a buffer of format %r cannot be shared: cast it first" % view.format)
    order = ">" if view.format[0] in ">!" and view.itemsize > 1 else "<"
    return "%s%s%d" % ("|" if view.itemsize == 1 else order, kind, view.itemsize)


def remove(uri: str, *, force: bool = False) -> None:
    """Removes the name. Where processes are attached it raises StateError, unless force=True: they
    keep their memory, and the name is gone."""
    _core.remove(uri, force)


def stat(uri: str) -> dict[str, Any]:
    """What can be told of a segment without attaching, as a dict."""
    return _core.stat(uri)


def ls(pattern: str = "*") -> list[dict[str, Any]]:
    """Every segment that this user can see and whose URI matches, as a list of dicts.

    pattern: of the shell: "shm:*", "*mesh*".

    >>> with strata.create("shm:mesh", (2, 3), "float64", lifetime="last_detach"):
    ...     [(found["uri"], found["shape"], found["nbytes"]) for found in strata.ls("shm:mesh")]
    [('shm:mesh', (2, 3), 48)]
    """
    found = _core.list_all("", "")["segments"]
    return [segment for segment in found if fnmatch.fnmatchcase(segment["uri"], pattern)]


def gc(*, dry_run: bool = False) -> list[dict[str, Any]]:
    """Removes segments of which a kernel lock proves that nobody has them any more.

    Returns what was looked at, each with the evidence, as a list of dicts.
    """
    return _core.reclaim(dry_run)
