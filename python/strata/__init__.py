"""Name a piece of memory once; use it from any process.

    import strata

    mesh = strata.create("shm:mesh", (1000, 1000), "float64")
    a = mesh.array()                        # a NumPy array, with no copy

    same = strata.attach("shm:mesh", "r")   # in another process: dtype and shape come along

Nothing is loaded before it is used: neither NumPy nor the libraries of PMDK.
"""

# What each name is in; __getattr__ loads it when it is first asked for.
_WHERE = {
    "strata._core": (
        "Barrier", "BoundedSemaphore", "Cell", "Condition", "Counter", "Event", "List", "Lock",
        "Queue", "RLock", "RWLock", "Segment", "Semaphore", "ShardedCounter", "ShardedLock",
        "__version__", "freeze",
    ),
    "strata._dict": ("Dict",),
    "strata._errors": (
        "AccessError", "CorruptError", "Error", "ExhaustedError", "ExistsError", "InternalError",
        "InvalidArgumentError", "NoDeviceError", "NoDriverError", "NotFoundError", "NotReadyError",
        "StateError", "TimedOutError", "UnsupportedError", "WrongDeviceError",
    ),
    "strata._pool": ("Pool",),
    "strata._segments": (
        "attach", "create", "create_or_attach", "from_array", "gc", "ls", "remove", "stat",
    ),
}  # fmt: skip
_MODULES = ("gpu", "shared_memory")
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = sorted(name for name in _MODULE_OF if not name.startswith("_")) + list(_MODULES)


def __getattr__(name):
    from importlib import import_module

    if name in _MODULES:
        return import_module("strata." + name)
    if name not in _MODULE_OF:
        raise AttributeError("module 'strata' has no attribute %r" % name)
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(set(globals()) | set(__all__) | {"__version__"})
