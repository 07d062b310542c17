"""`SharedMemoryManager` of strata.shared_memory.

The server of the standard module remembers the names of its blocks. This one also keeps them open:
so a block is in use until the manager has shut down, whoever is killed before, and goes with the
manager where that is killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from multiprocessing import managers, util
from typing import Any

from strata._block import SharedMemory as Block
from strata._shareable_list import ShareableList as List


class _Tracker(managers._SharedMemoryTracker):  # type: ignore[name-defined]
    def __init__(self, name, segment_names=()):
        super().__init__(name, list(segment_names))
        self._blocks = {}

    def register_segment(self, segment_name):
        self._blocks[segment_name] = Block(segment_name)
        super().register_segment(segment_name)

    def destroy_segment(self, segment_name):
        util.debug(f"Destroy segment {segment_name!r} in pid {os.getpid()}")
        self.segment_names.remove(segment_name)
        block = self._blocks.pop(segment_name, None) or Block(segment_name)
        try:
            block.unlink()
        except FileNotFoundError:
            pass  # whoever did that, it is what was asked for
        block.close()


class SharedMemoryServer(managers.SharedMemoryServer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        name = self.shared_memory_context.shared_memory_context_name
        self.shared_memory_context = _Tracker(name)


class SharedMemoryManager(managers.SharedMemoryManager):
    """As `multiprocessing.managers.SharedMemoryManager`; makes blocks of strata.shared_memory.

    SharedMemory(size) and ShareableList(sequence) make a block each, which shutdown(), or leaving
    the `with` statement, unlinks. ValueError where the manager has not been started.
    """

    _Server = SharedMemoryServer
    _block_class = Block
    _list_class = List

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Not by way of the standard class, which starts a resource tracker.
        managers.BaseManager.__init__(self, *args, **kwargs)

    def SharedMemory(self, size: int) -> Block:  # type: ignore[override]
        """A new block of `size` bytes, which this manager unlinks in the end."""
        return self._track(lambda: self._block_class(create=True, size=size))

    def ShareableList(self, sequence: Iterable[Any]) -> List:  # type: ignore[override]
        """A new list with the items of `sequence`, whose block this manager unlinks in the end."""
        return self._track(lambda: self._list_class(sequence))

    def _track(self, make):
        with self._Client(self._address, authkey=self._authkey) as connection:
            made = make()
            block = getattr(made, "shm", made)
            try:
                managers.dispatch(connection, None, "track_segment", (block.name,))
            except BaseException:
                block.unlink()
                raise
            return made
