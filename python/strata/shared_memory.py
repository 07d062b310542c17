"""A drop-in for `multiprocessing.shared_memory`, without the resource tracker.

The names, the signatures and the bytes are those of the standard module, in both directions: a
process that uses that one attaches the blocks of this one, and the other way round. What differs is
who owns a block. Attaching never does: a reader's exit, or its death, destroys nothing. A creator
that is killed leaves nothing: its block goes once nobody has it open, at the next call of this
module in any process of the same user, or by `sweep()`. docs/guides/coming-from-shared-memory.md
has the table of all that differs.

    from strata.shared_memory import SharedMemory, ShareableList, SharedMemoryManager

or, for a program that shall stay as it is, `strata.shared_memory.install()` at its start, or

    python3 -m strata.shared_memory PROGRAM [ARGUMENT...]
"""

from __future__ import annotations

import sys

from strata._block import SharedMemory
from strata._blocks import sweep
from strata._shareable_list import ShareableList

TYPE_CHECKING = False
if TYPE_CHECKING:
    from strata._shared_memory_manager import SharedMemoryManager

__all__ = ["SharedMemory", "ShareableList", "SharedMemoryManager", "install", "sweep"]

# Pickles and messages name the module that users import.
SharedMemory.__module__ = ShareableList.__module__ = __name__


def __getattr__(name: str) -> object:
    # Managers bring queues, pools and sockets along: only for those who use them.
    if name == "SharedMemoryManager":
        from strata._shared_memory_manager import SharedMemoryManager

        return SharedMemoryManager
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def install() -> None:
    """Puts these classes into `multiprocessing.shared_memory` and `multiprocessing.managers`.

    At the start of a program, before it makes blocks. It holds for code that has imported the
    standard classes before, and for all children that multiprocessing starts, by fork, spawn and
    forkserver. Not for other programs that this one starts.
    """
    from strata import _shared_memory_install

    _shared_memory_install.install()


def _main(arguments: list[str]) -> None:
    import os
    import runpy

    if arguments == ["--sweep"]:
        sweep()
        return
    if not arguments or arguments[0].startswith("-"):
        sys.exit(
            "usage: python3 -m strata.shared_memory PROGRAM [ARGUMENT...]   run it with install()\n"
            "       python3 -m strata.shared_memory --sweep                 remove what was left"
        )
    install()
    sys.argv[:] = arguments
    # As python3 PROGRAM does it: the program's folder, instead of that of -m.
    sys.path[0] = os.path.dirname(os.path.abspath(arguments[0]))
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    from strata.shared_memory import _main as main

    main(sys.argv[1:])
