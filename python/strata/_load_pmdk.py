"""Loads PMDK's libraries, which pools need and nothing else does."""


def functions() -> object:
    """The table of their functions, for strata._core.

    Raises ImportError, with what to install.
    """
    try:
        from strata import _pmdk
    except ImportError as error:
        raise ImportError(
            "pools (pmem:) need the libraries of PMDK, which cannot be loaded: %s; on Debian: "
            "apt-get install libpmem2-1 libpmemobj1 libpmempool1" % error
        ) from error
    return _pmdk.functions
