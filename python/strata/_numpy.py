"""NumPy for the modules that need it, or an ImportError that says how to get it."""

try:
    import numpy
except ModuleNotFoundError as error:
    if error.name != "numpy":
        raise
    raise ImportError(
        "arrays need NumPy, which this Python does not have: pip install numpy, or on Debian: "
        "apt-get install python3-numpy. Without it, Segment.view() is a memoryview of the same "
        "bytes",
        name="numpy",
    ) from error

__all__ = ["numpy"]
