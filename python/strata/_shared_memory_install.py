"""What strata.shared_memory.install() does: the classes of the drop-in in the standard module."""

import os
from multiprocessing import managers, shared_memory, spawn

from strata._block import SharedMemory
from strata._shareable_list import ShareableList
from strata._shared_memory_manager import SharedMemoryManager

# What belongs to the class as an object, not to what it does.
_NOT_TAKEN_OVER = {"__dict__", "__weakref__", "__module__", "__qualname__", "__slotnames__"}


def _take_over(old, new, **attributes):
    """The old class itself gets the new behaviour: others have imported it, and derived from it."""
    for name, value in {**vars(new), **attributes}.items():
        if name not in _NOT_TAKEN_OVER:
            setattr(old, name, value)


class _InstallInChild:
    """Pickled into what multiprocessing sends first to a child that it starts anew."""

    def __reduce__(self):
        # By exec, since the child's path is not yet that of its parent.
        folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        source = (
            "import sys\n"
            f"sys.path.append({folder!r})\n"
            "try:\n"
            "    import strata.shared_memory\n"
            "finally:\n"
            f"    sys.path.remove({folder!r})\n"
            "strata.shared_memory.install()\n"
        )
        return exec, (source, {})


def _hand_over_to_children():
    original = spawn.get_preparation_data
    if getattr(original, "installs_strata", False):
        return

    def get_preparation_data(name):
        return {"strata.shared_memory": _InstallInChild(), **original(name)}

    get_preparation_data.installs_strata = True
    spawn.get_preparation_data = get_preparation_data


def _make_filename():
    return shared_memory._make_filename()  # looked up anew each time, for whoever patches it


def install():
    block = shared_memory.SharedMemory
    _take_over(block, SharedMemory, _new_name=staticmethod(_make_filename))
    _take_over(shared_memory.ShareableList, ShareableList, _block_class=block)
    _take_over(
        managers.SharedMemoryManager,
        SharedMemoryManager,
        _block_class=block,
        _list_class=shared_memory.ShareableList,
    )
    _hand_over_to_children()
