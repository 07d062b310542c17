"""Segments from Python: made, attached, viewed, pickled, closed, also when all goes wrong."""

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import strata

START_METHODS = ["fork", "forkserver", "spawn"]


def run_python(code, *arguments, **options):
    """A fresh interpreter; its output."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=False, timeout=120, **options)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_dtype_and_shape_come_from_the_header(uri):
    mesh = strata.create(uri, (1000, 1000), "float64")
    assert mesh.nbytes == 8_000_000
    mesh.array()[3, 4] = 2.5
    out = run_python(
        "import strata, sys; s = strata.attach(sys.argv[1], 'r'); a = s.array();"
        "print(a.dtype, a.shape, a[3, 4], a.flags.writeable)",
        uri,
    )
    assert out.split() == ["float64", "(1000,", "1000)", "2.5", "False"]


@pytest.mark.parametrize(
    "dtype",
    ["float64", "f4", "<i2", ">i4", ">u8", "uint8", "bool", "complex128", "float16", "S7", "U5",
     float, int, bool, complex, np.float32, np.dtype("i8"), np.dtype(">f8")],
)  # fmt: skip
def test_numpy_sees_the_type_that_it_was_made_with(uri, dtype):
    segment = strata.create(uri, (3, 2), dtype)
    want = np.dtype(dtype)
    assert segment.array().dtype == want
    assert np.asarray(segment).dtype == want
    assert strata.attach(uri, "r").dtype == want
    assert segment.nbytes == want.itemsize * 6


def test_what_has_no_type_is_bytes(uri):
    segment = strata.create(uri, size="64K")
    assert (segment.dtype, segment.shape, segment.is_array) == (np.uint8, (65536,), False)
    segment.view()[1] = 7
    assert segment.read(0, 2) == b"\0\7"


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((), {}, TypeError),
        (((3,), "float64"), {"size": 4096}, TypeError),
        (((-1,), "float64"), {}, ValueError),
        (((0, 3), "float64"), {}, ValueError),
        (((3,), "object"), {}, ValueError),
        (((3,), np.dtype([("a", "i4"), ("b", "f8")])), {}, ValueError),
        (((3,), np.dtype(object)), {}, ValueError),
        (((1 << 40, 1 << 40), "float64"), {}, ValueError),
        ((tuple([1] * 17), "float64"), {}, ValueError),
        (((3,), 17), {}, TypeError),
        ((), {"size": "many"}, ValueError),
        ((), {"size": -1}, ValueError),
        ((), {"size": 4096, "node": 0, "placement": "node:0"}, TypeError),
        ((), {"size": 4096, "placement": "nowhere"}, ValueError),
        ((), {"size": 4096, "lifetime": "eternal"}, ValueError),
        ((), {"size": 4096, "pages": "3K"}, ValueError),
    ],
)
def test_create_refuses_what_cannot_be(uri, arguments, options, error):
    with pytest.raises(error):
        strata.create(uri, *arguments, **options)
    with pytest.raises(FileNotFoundError):
        strata.attach(uri)


def test_errors_are_also_the_built_in_ones(uri):
    with pytest.raises(FileNotFoundError) as missing:
        strata.attach(uri)
    assert isinstance(missing.value, strata.Error)
    assert missing.value.code == "not_found"
    assert uri in str(missing.value)
    strata.create(uri, size=4096)
    with pytest.raises(FileExistsError):
        strata.create(uri, size=4096)
    with pytest.raises(ValueError, match='"r"'):
        strata.attach(uri, "w")
    with pytest.raises(strata.InvalidArgumentError):
        strata.attach("nonsense")


def test_a_read_only_array_cannot_be_written(uri):
    strata.create(uri, (4,), "int64")
    array = strata.attach(uri, "r").array()
    with pytest.raises(ValueError):
        array[0] = 1
    with pytest.raises(strata.Error):
        strata.attach(uri, "r").write(b"1")


def test_private_writes_are_seen_by_nobody_else(uri):
    shared = strata.create(uri, (4,), "int64")
    private = strata.attach(uri, "c")
    private.array()[:] = 9
    assert shared.array().tolist() == [0, 0, 0, 0]


def test_views_outlive_the_segment_and_its_close(uri):
    segment = strata.create(uri, (4,), "int64")
    array = segment.array()
    view = memoryview(segment)
    segment.close()
    assert segment.closed
    array[2] = 5
    assert view[2] == 5
    with pytest.raises(ValueError, match="closed"):
        segment.array()
    with pytest.raises(ValueError, match="closed"):
        segment.nbytes  # pylint: disable=pointless-statement
    del segment
    gc.collect()
    assert array[2] == 5
    assert strata.attach(uri).array()[2] == 5


def is_mapped(address):
    with open("/proc/self/maps", encoding="ascii") as maps:
        ranges = [line.split()[0].split("-") for line in maps]
    return any(int(begin, 16) <= address < int(end, 16) for begin, end in ranges)


def test_the_mapping_ends_with_the_last_view(uri):
    segment = strata.create(uri, size="64M")
    array = segment.array()
    address = array.ctypes.data
    segment.close()
    assert is_mapped(address)
    del array
    gc.collect()
    assert not is_mapped(address)


def test_exit_with_live_views_is_clean(uri):
    strata.create(uri, (1000,), "float64")
    run_python(
        "import strata, sys, atexit\n"
        "a = strata.attach(sys.argv[1]).array(); m = memoryview(strata.attach(sys.argv[1]))\n"
        "class Late:\n"
        "    def __del__(self, a=a): a[0] += 1\n"
        "late = Late(); sys.modules['keeps'] = late\n"
        "atexit.register(lambda: a.sum())",
        uri,
    )


def test_a_segment_is_a_context_manager(uri):
    with strata.create(uri, (4,), "int64") as segment:
        segment.array()[0] = 1
    assert segment.closed
    assert strata.attach(uri).array()[0] == 1


def test_growth_is_along_the_first_axis(uri):
    segment = strata.create(uri, (10, 3), "float64", max_size="1M")
    other = strata.attach(uri)
    segment.grow((20, 3))
    assert segment.array().shape == (20, 3)
    assert other.shape == (10, 3)
    other.refresh()
    assert other.array().shape == (20, 3)
    assert strata.attach(uri).shape == (20, 3)
    with pytest.raises(ValueError):
        segment.grow((20, 4))
    with pytest.raises(strata.Error):
        segment.grow("2M")


def test_a_sealed_segment_is_verified_and_never_written(uri):
    segment = strata.create(uri, (4,), "int64")
    segment.array()[:] = [1, 2, 3, 4]
    gc.collect()
    segment.seal()
    assert segment.sealed
    segment.verify()
    with pytest.raises((BufferError, ValueError)):
        np.asarray(segment)[0] = 1
    assert strata.attach(uri, "r").array().tolist() == [1, 2, 3, 4]


def test_others_wait_until_it_is_published(uri):
    segment = strata.create(uri, (4,), "int64", publish=False)
    with pytest.raises(TimeoutError):
        strata.attach(uri, timeout=0.05)
    segment.array()[:] = 3
    segment.publish()
    assert strata.attach(uri, timeout=0).array().tolist() == [3] * 4


def test_ctrl_c_ends_the_wait_for_a_creator(uri):
    segment = strata.create(uri, size=4096, publish=False)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            strata.attach(uri, timeout=1e6)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    segment.close()


def test_the_first_one_fills_and_the_others_attach(uri):
    def fill(segment):
        segment.array()[:] = 7

    first, was_created = strata.create_or_attach(uri, (4,), "int64", fill=fill)
    second, was_created_again = strata.create_or_attach(uri, (4,), "int64", fill=fill)
    assert (was_created, was_created_again) == (True, False)
    first.array()[0] = 8
    assert second.array().tolist() == [8, 7, 7, 7]


def test_an_exception_in_fill_leaves_nothing(uri):
    def fill(segment):
        raise KeyError("the source")

    with pytest.raises(KeyError, match="the source"):
        strata.create_or_attach(uri, (4,), "int64", fill=fill)
    with pytest.raises(FileNotFoundError):
        strata.attach(uri)


@pytest.mark.parametrize(
    "array",
    [np.arange(6, dtype="i4").reshape(2, 3), np.arange(6.0).reshape(2, 3).T, b"bytes",
     memoryview(b"abc"), np.array(["a", "bcd"]), np.array([b"xy", b"z"])],
)  # fmt: skip
def test_from_array_keeps_type_shape_and_content(uri, array):
    segment = strata.from_array(uri, array)
    want = np.asarray(memoryview(array) if isinstance(array, bytes) else array)
    assert np.array_equal(segment.array(), want)
    assert segment.array().dtype == want.dtype


def test_from_array_copies_what_has_dlpack_alone(uri):
    class Tensor:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    segment = strata.from_array(uri, Tensor(np.arange(4.0)))
    assert segment.array().tolist() == [0, 1, 2, 3]


def test_dlpack_shares_the_bytes(uri):
    segment = strata.create(uri, (2, 3), "float32")
    tensor = np.from_dlpack(segment)
    assert tensor.shape == (2, 3)
    assert segment.__dlpack_device__() == (1, 0)
    segment.array()[1, 2] = 4
    assert tensor[1, 2] == 4
    segment.close()
    assert tensor[1, 2] == 4
    assert not hasattr(segment, "__cuda_array_interface__")
    assert not hasattr(strata.attach(uri), "__cuda_array_interface__")


def test_old_dlpack_is_refused_what_may_not_be_written(uri):
    strata.create(uri, (2, 3), "float32")
    segment = strata.attach(uri, "r")
    with pytest.raises(BufferError, match='mode "c"'):
        segment.__dlpack__()
    capsule = segment.__dlpack__(max_version=(1, 0))
    assert "dltensor_versioned" in repr(capsule)


def test_unused_capsules_end_with_the_mapping(uri):
    segment = strata.create(uri, (2 << 20, 8), "float32")
    address = segment.array().ctypes.data
    for _ in range(3):
        segment.__dlpack__()
    segment.close()
    gc.collect()
    assert not is_mapped(address)


def test_a_pickle_is_a_handle_and_not_the_bytes(uri):
    segment = strata.create(uri, (1 << 20,), "float64")
    array = segment.array()
    assert len(pickle.dumps(segment)) < 1000
    assert len(pickle.dumps(array)) < 1000
    part = pickle.loads(pickle.dumps(array[10:20:2]))
    part[0] = 9
    assert array[10] == 9
    assert pickle.loads(pickle.dumps(segment)).uuid == segment.uuid
    copy = pickle.loads(pickle.dumps(array[:10].copy()))
    copy[:] = 1
    assert array[0] == 0
    computed = array[:3] + 1
    assert type(computed) is np.ndarray
    assert isinstance(array[:3].sum(), np.float64)


def work_on(array):
    array[0] += 1
    return array.shape, os.getpid()


def work_in(segment):
    segment.array()[1] += 1
    return segment.uri


@pytest.mark.parametrize("method", START_METHODS)
def test_workers_share_what_they_are_given(uri, method):
    segment = strata.create(uri, (8,), "int64")
    array = segment.array()
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        done = pool.map(work_on, [array, array, array[::2]])
        assert pool.map(work_in, [segment]) == [uri]
    assert [shape for shape, _ in done] == [(8,), (8,), (4,)]
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        assert executor.submit(work_on, array).result()[1] != os.getpid()
    assert array[:2].tolist() == [4, 1]


def test_a_handle_never_leads_to_another_segment(uri):
    pickled = pickle.dumps(strata.create(uri, (8,), "int64"))
    strata.remove(uri, force=True)
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)
    strata.create(uri, (8,), "int64")
    with pytest.raises(FileNotFoundError, match="uuid"):
        pickle.loads(pickled)


def test_a_hostile_handle_fails_and_makes_nothing(uri):
    from strata import _handles

    segment = strata.create(uri, (8,), "int64")
    handle = bytearray(segment._handle())
    before = set(os.listdir("/dev/shm"))
    for position in range(len(handle)):
        bent = bytearray(handle)
        bent[position] ^= 0x41
        with pytest.raises(strata.Error):
            _handles.attach(bytes(bent), "r+")
    for length in range(0, len(handle), 7):
        with pytest.raises(strata.Error):
            _handles.attach(bytes(handle[:length]), "r+")
    good = (bytes(handle), "r+")
    for offset, shape, typestr, strides in [
        (-8, (1,), "<i8", None), (0, (9,), "<i8", None), (60, (1,), "<i8", None),
        (0, (2,), "<i8", (1 << 40,)), (0, (1 << 62, 4), "<i8", None), (0, (1,), "O", None),
        (0, (4,), "<i8", (-8,)),
    ]:  # fmt: skip
        with pytest.raises((ValueError, TypeError)):
            _handles.attach_array(*good, offset, shape, typestr, strides)
    assert set(os.listdir("/dev/shm")) == before


def test_ten_thousand_cycles_keep_no_descriptor(uri):
    strata.create(uri, (8,), "int64").close()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10_000):
        segment = strata.attach(uri)
        segment.array()
        segment.close()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    other = uri + "-again"
    for _ in range(1_000):
        strata.create(other, (8,), "int64", lifetime="last_detach").close()
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(FileNotFoundError):
        strata.stat(other)


def test_the_killed_creator_of_a_segment_that_ends_with_its_users_leaves_nothing(uri):
    child = subprocess.Popen(
        [sys.executable, "-c",
         "import strata, sys; s = strata.create(sys.argv[1], size=4096, lifetime='last_detach');"
         "print('made', flush=True); sys.stdin.read()", uri],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert child.stdout.readline() == b"made\n"
    child.kill()
    child.communicate()
    strata.gc()
    with pytest.raises(FileNotFoundError):
        strata.attach(uri)


def test_attaching_never_owns(uri):
    strata.create(uri, (4,), "int64")
    run_python("import strata, sys; s = strata.attach(sys.argv[1]); s.array()[0] = 3", uri)
    assert strata.attach(uri).array()[0] == 3


def test_the_list_and_the_facts_say_what_it_is(uri):
    segment = strata.create(uri, (4, 2), "int64")
    found = [one for one in strata.ls("shm:*") if one["uri"] == uri]
    assert len(found) == 1
    assert found[0] == strata.stat(uri)
    assert (found[0]["type"], found[0]["dtype"], found[0]["shape"]) == ("array", "<i8", (4, 2))
    assert found[0]["is_attached"]
    assert found[0]["uuid"] == segment.uuid
    assert found[0]["created_unix_s"] <= time.time()
    assert uri in repr(segment) and "(4, 2)" in repr(segment)


def test_import_loads_neither_numpy_nor_pmdk():
    out = run_python(
        "import sys, strata\n"
        "strata.Segment, strata.create, strata.Error\n"
        "maps = open('/proc/self/maps').read()\n"
        "print('numpy' in sys.modules, 'libpmem' in maps, 'libcuda' in maps)"
    )
    assert out.split() == ["False", "False", "False"]
