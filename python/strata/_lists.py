"""Frozen lists as arrays of NumPy."""

import numpy


def array(frozen):
    if frozen.kind in ("int", "float"):
        return numpy.asarray(memoryview(frozen))
    if frozen.kind == "bits":
        bools = numpy.empty(len(frozen), numpy.bool_)
        frozen._unpack_into(bools.view(numpy.uint8))
        return bools
    raise TypeError(
        "a list of %s has no array: NumPy's have items of one length; numpy.array(list(...)) makes "
        "a copy" % frozen.kind
    )
