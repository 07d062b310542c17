"""What a process does at its end, when it ends as it should."""

import atexit
import os
import sys
import weakref

_barriers: weakref.WeakSet = weakref.WeakSet()  # that this process has waited at
_registered_by = None


def leave_barrier(barrier):
    """The others wait for this process no more once it has ended: that of a killed one is told."""
    global _registered_by
    _barriers.add(barrier)
    pid = os.getpid()
    if _registered_by == pid:
        return
    if _registered_by is None:
        atexit.register(_leave)
    _registered_by = pid
    # Its forked children end without atexit, and begin without what their parent had registered.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, _leave, exitpriority=0)


def _leave():
    for barrier in list(_barriers):
        barrier._leave()
