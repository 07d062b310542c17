"""Element types as people write them, with and without NumPy."""

from __future__ import annotations

import sys

from strata import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Python's own types, as NumPy understands them.
_BUILT_IN = {float: "<f8", int: "<i8", bool: "|b1", complex: "<c16"}


def typestr(dtype: Any) -> str:
    """How headers spell it: "<f8" for "float64", float, numpy.float64, torch.float64 and so on.

    Raises ValueError for what a segment cannot have: objects, structures, sizes that vary.
    """
    if isinstance(dtype, type) and dtype in _BUILT_IN:
        return _BUILT_IN[dtype]
    if isinstance(dtype, str):
        return _core.spell_element(dtype)
    numpy = sys.modules.get("numpy")
    if numpy is not None and (
        isinstance(dtype, numpy.dtype)
        or (isinstance(dtype, type) and issubclass(dtype, numpy.generic))
    ):
        dtype = numpy.dtype(dtype)
        if dtype.fields is not None or dtype.hasobject or dtype.subdtype is not None:
            raise ValueError(
                "dtype %s cannot be shared: it has to be one number, bool, bytes, str or void of a "
                "fixed size; make the segment of bytes, and view it: "
                "numpy.frombuffer(segment, dtype)" % (dtype,)
            )
        return _core.spell_element(dtype.str)
    name = str(dtype)
    if name.startswith("torch."):
        return _core.spell_element(name[len("torch.") :])
    raise TypeError(
        'dtype %r: write it as "float64", "<f8", float or numpy.float64' % (dtype,)
    )


def as_dtype(text: str) -> Any:
    """numpy.dtype where NumPy is loaded; else the text."""
    numpy = sys.modules.get("numpy")
    return text if numpy is None else numpy.dtype(text)
