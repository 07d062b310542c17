"""What pickle carries instead of bytes: handles, which attach or fail, and never make anything."""

import weakref

from strata import _core

# By (uuid, mode), so that many views share a mapping.
_attached: weakref.WeakValueDictionary[tuple[str, str], _core.Segment]
_attached = weakref.WeakValueDictionary()


def attach(handle, mode):
    """The segment of a handle, attached once in this process.

    Raises NotFoundError where it is gone, also if another one has its name by now.
    """
    key = (_core.handle_uuid(handle), mode)
    segment = _attached.get(key)
    if segment is None or segment.closed:
        segment = _core.attach_handle(handle, mode, 1.0)
        _attached[key] = segment
    return segment


def reduce_segment(segment):
    return attach, (segment._handle(), segment.mode)


def reopen(kind, *where):
    """A primitive (a Lock, a Queue, …) of another process, by the handle of its segment."""
    return kind._from_handle(*where)


def attach_array(handle, mode, offset, shape, typestr, strides):
    """A view into a segment, as another process had it."""
    from strata import _array

    return _array.view_at(attach(handle, mode), offset, shape, typestr, strides)
