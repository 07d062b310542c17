"""NumPy arrays over segments."""

from strata._numpy import numpy

try:
    from numpy.lib.array_utils import byte_bounds
except ImportError:  # before NumPy 2
    from numpy import byte_bounds  # type: ignore[attr-defined,no-redef]


class Array(numpy.ndarray):
    """An array that lies in a segment. Where it (or a slice of it) is pickled, the other process
    attaches to the same bytes; copies, and what is computed of it, are plain arrays."""

    _segment = None

    def __array_finalize__(self, source):
        self._segment = getattr(source, "_segment", None)

    def __array_wrap__(self, array, context=None, return_scalar=False):
        if array is self:
            return array
        plain = numpy.asarray(array).view(numpy.ndarray)
        return plain[()] if return_scalar or plain.ndim == 0 else plain

    def __reduce_ex__(self, protocol):
        place = self._place()
        if place is None:
            return numpy.asarray(self).view(numpy.ndarray).__reduce_ex__(protocol)
        from strata import _handles

        segment, offset = place
        where = (segment._handle(), segment.mode, offset, self.shape, self.dtype.str, self.strides)
        return _handles.attach_array, where

    def _place(self):
        """The segment, and where in it the first element is; None for what lies elsewhere."""
        segment = self._segment
        if segment is None or self.size == 0 or self.dtype.fields is not None:
            return None
        base = self
        while isinstance(base, numpy.ndarray) and base.base is not None:
            base = base.base
        # The bottom of all views is the memoryview that NumPy asked the segment for.
        if not isinstance(base, memoryview) or base.obj is not segment:
            return None
        whole = numpy.frombuffer(base, numpy.uint8)
        begin = whole.__array_interface__["data"][0]
        first, last = byte_bounds(self)
        if first < begin or last > begin + whole.nbytes:
            return None
        return segment, self.__array_interface__["data"][0] - begin


def view_of(segment):
    """All of a segment, with its dtype and shape."""
    array = numpy.asarray(memoryview(segment)).view(Array)
    array._segment = segment
    return array


def view_at(segment, offset, shape, typestr, strides):
    """A part of a segment. Raises ValueError for what would leave it."""
    whole = numpy.frombuffer(memoryview(segment), numpy.uint8)
    dtype = numpy.dtype(typestr)
    if dtype.hasobject:
        raise ValueError("dtype %s cannot be in shared memory" % (dtype,))
    # numpy.ndarray checks shape and strides against the buffer, and lets it begin before it.
    if offset < 0:
        raise ValueError("a view cannot begin %d bytes before its segment" % -offset)
    array = numpy.ndarray(shape, dtype, buffer=whole, offset=offset, strides=strides)
    array = array.view(Array)
    array._segment = segment
    return array
