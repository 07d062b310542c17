"""What strata.shared_memory.install() does: the classes of the drop-in in the standard module."""

import os
import sys
from multiprocessing import managers, shared_memory, spawn

from strata import _block, _shareable_list, _shared_memory_manager

# What belongs to the class as an object, not to what it does.
_NOT_TAKEN_OVER = {"__dict__", "__weakref__", "__module__", "__qualname__", "__slotnames__"}


def _replace(module, name, new):
    """Also for whoever has imported the old class already: that one behaves as the new one."""
    old = getattr(module, name)
    if old is new:
        return
    setattr(module, name, new)
    for attribute, value in vars(new).items():
        if attribute not in _NOT_TAKEN_OVER:
            setattr(old, attribute, value)


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


def install():
    make_filename = lambda: shared_memory._make_filename()  # noqa: E731: looked up anew each time
    _block.SharedMemory._new_name = staticmethod(make_filename)
    _replace(shared_memory, "SharedMemory", _block.SharedMemory)
    _replace(shared_memory, "ShareableList", _shareable_list.ShareableList)
    # The subclass's methods that call super() stay its own; those of the manager do not call it.
    _replace(managers, "SharedMemoryManager", _shared_memory_manager.SharedMemoryManager)
    _hand_over_to_children()
