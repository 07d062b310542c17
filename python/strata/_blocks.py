"""Who made which block of shared memory, and which blocks nobody needs any more.

A block is a plain file in /dev/shm, as `multiprocessing.shared_memory` makes it: there is no room
in it for a word about its creator. So each process that creates blocks keeps a *note file* beside
them, `strata-blocks.TREE.RANDOM`, with one record for each block that it made and that has its name
still. A note file gets its name last and has an open-file lock from before that until its process
ends, however it ends; a forked child inherits the lock. TREE is the same in all processes that
`multiprocessing` starts for one program. From this follows when a block may go:

* nobody has it open or mapped, be it by this module, by the standard one or by hand. The kernel
  says so, exactly and for all processes: it grants a write lease (F_SETLEASE) only then;
* and its record stands in a note file whose process is gone: as `OPEN`, which means that the
  creator was killed while it used the block; or as `LEFT`, closed for others to find, and no
  process of the tree is alive. That is how long the resource tracker of the standard module waits.

What has no record is never touched.
    Threads:  any.
    Fork:     a child gets a note file of its own with its first block.
    Errors:   OSError where a note file cannot be made; sweeping raises nothing.
"""

import atexit
import errno
import fcntl
import os
import signal
import stat
import struct
import sys
import threading
import time
from multiprocessing import process

DIRECTORY = "/dev/shm"
PREFIX = "strata-blocks."

OPEN = 1  # its creator uses it
LEFT = 2  # closed by its creator, without unlink(): for others to find

# State, device, inode, name. Zeros: a free record.
_RECORD = struct.Struct("<QQQ256s")
_STATE = struct.Struct("<Q")
# Locked in a note file: by its process, and by who looks for what that process has left.
_OWNER_BYTE = 1 << 48
_SWEEPER_BYTE = _OWNER_BYTE + 1
_TREE_KEY = "strata_blocks"
_SWEEP_EVERY_S = 1.0
_PATIENCE_S = 1.0  # with another sweeper, which may have been stopped


class _Tree(str):
    """The name of a process tree; whoever hands it to a child makes sure that the tree is alive."""

    def __reduce__(self):
        join()
        return str, (str(self),)


def tree():
    # multiprocessing gives each child a copy of this dictionary, whatever the start method.
    config = process.current_process()._config
    if _TREE_KEY not in config:
        config[_TREE_KEY] = _Tree(os.urandom(8).hex())
    return config[_TREE_KEY]


def _lock_of(byte):
    # struct flock, for one byte.
    return struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)


def _has_owner(fd):
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _lock_of(_OWNER_BYTE))
    return struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK


def _become_sweeper(fd, deadline):
    """False if another process is it beyond the deadline. Two at once would be in each other's way:
    each has the block open that the other wants to be alone with."""
    while True:
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _lock_of(_SWEEPER_BYTE))
            return os.fstat(fd).st_nlink != 0
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.001)


def link_unnamed(fd, name):
    """Gives a file that has no name the one it shall have. Raises FileExistsError."""
    # With no src_dir_fd Python calls link(), which does not follow the symbolic link.
    os.link(f"/proc/self/fd/{fd}", f"{DIRECTORY}/{name}", src_dir_fd=fd, follow_symlinks=True)


def open_unnamed(mode=0o600):
    return os.open(DIRECTORY, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)


def _lease(fd):
    """Whether this is the only open file, in any process, of what it leads to; False if in doubt.

    On success, who opens the file waits until the lease is given back, or `fd` is closed.
    """
    try:
        # An opener that waits is told to us by a signal. That of the default, SIGIO, kills.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        return True
    except OSError:
        # EAGAIN: somebody has. EACCES, EINVAL: another user's, or no leases here.
        return False


def _give_lease_back(fd):
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def nobody_else_has(fd):
    """Whether `fd`, with all that is forked or duplicated from it, alone has its block open."""
    alone = _lease(fd)
    if alone:
        _give_lease_back(fd)
    return alone


class _Notes:
    """The note file of this process."""

    def __init__(self):
        self.file_name = f"{PREFIX}{tree()}.{os.urandom(8).hex()}"
        self.fd = open_unnamed()
        try:
            fcntl.fcntl(self.fd, fcntl.F_OFD_SETLK, _lock_of(_OWNER_BYTE))
            link_unnamed(self.fd, self.file_name)
        except BaseException:
            os.close(self.fd)
            raise
        self.lock = threading.Lock()
        self.records = {}  # slot -> (name, device, inode)
        self.free = []

    def add(self, name, facts):
        with self.lock:
            slot = self.free.pop() if self.free else len(self.records)
            self.records[slot] = name, facts.st_dev, facts.st_ino
            packed = _RECORD.pack(OPEN, facts.st_dev, facts.st_ino, os.fsencode(name))
            os.pwrite(self.fd, packed, slot * _RECORD.size)
        return slot

    def mark(self, slot, state):
        with self.lock:
            if slot in self.records:
                os.pwrite(self.fd, _STATE.pack(state), slot * _RECORD.size)

    def drop(self, slot):
        with self.lock:
            if self.records.pop(slot, None):
                os.pwrite(self.fd, bytes(_RECORD.size), slot * _RECORD.size)
                self.free.append(slot)

    def drop_what_is_gone(self):
        for slot, (name, device, inode) in list(self.records.items()):
            if not _leads_to(name, device, inode):
                self.drop(slot)


_notes = None
# The note files of the processes that this one was forked from: they keep them alive.
_inherited: list = []
_making = threading.Lock()
_next_sweep = 0.0


def join():
    """The note file of this process, made at the first call."""
    global _notes
    with _making:
        if _notes is None:
            _notes = _Notes()
            if process.parent_process() is None:
                atexit.register(_leave)
            else:
                # A child of multiprocessing ends by os._exit: atexit is not run.
                from multiprocessing import util

                util.Finalize(None, _leave, exitpriority=-100)
        return _notes


def _forget_after_fork():
    global _notes, _making, _next_sweep
    if _notes is not None:
        _inherited.append(_notes.fd)
    _notes = None
    _making = threading.Lock()
    _next_sweep = 0.0


def _before_fork():
    try:
        join()
    except OSError:
        pass  # no more than that what the child leaves lives no longer than the child


os.register_at_fork(before=_before_fork, after_in_child=_forget_after_fork)
tree()  # children that are started before the first block belong to it too


def _leads_to(name, device, inode):
    try:
        facts = os.lstat(f"{DIRECTORY}/{name}")
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENAMETOOLONG)
    return (facts.st_dev, facts.st_ino) == (device, inode) and stat.S_ISREG(facts.st_mode)


def _take_name_away(name, device, inode, aside):
    # The name first goes aside: between a look and an unlink it could have become another block's.
    try:
        os.rename(f"{DIRECTORY}/{name}", f"{DIRECTORY}/{aside}")
    except OSError:
        return
    _settle_aside(name, device, inode, aside)


def _settle_aside(name, device, inode, aside):
    """Removes what went aside, or gives it its name back if it is another block."""
    try:
        facts = os.lstat(f"{DIRECTORY}/{aside}")
        is_meant = (facts.st_dev, facts.st_ino) == (device, inode)
        if not is_meant and not _leads_to(name, facts.st_dev, facts.st_ino):
            os.link(f"{DIRECTORY}/{aside}", f"{DIRECTORY}/{name}", follow_symlinks=False)
        os.unlink(f"{DIRECTORY}/{aside}")
    except OSError:
        pass  # nothing is aside: the usual case. Or the name is another's again: then it stays


def _remove_if_unused(name, device, inode, aside):
    """Whether the name leads to that block no more."""
    _settle_aside(name, device, inode, aside)
    if not _leads_to(name, device, inode):
        return True
    try:
        fd = os.open(f"{DIRECTORY}/{name}", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        facts = os.fstat(fd)
        if (facts.st_dev, facts.st_ino) == (device, inode) and _lease(fd):
            _take_name_away(name, device, inode, aside)
    finally:
        os.close(fd)
    return not _leads_to(name, device, inode)


def _records_of(fd):
    content = os.pread(fd, os.fstat(fd).st_size, 0)
    whole = len(content) - len(content) % _RECORD.size
    for slot, record in enumerate(_RECORD.iter_unpack(content[:whole])):
        state, device, inode, name = record
        name = os.fsdecode(name.rstrip(b"\0"))
        if state in (OPEN, LEFT) and name not in ("", ".", "..") and "/" not in name:
            yield slot, state, name, device, inode


def _sweep_note_file(fd, file_name, tree_is_alive):
    rest = False
    for slot, state, name, device, inode in _records_of(fd):
        if state == LEFT and tree_is_alive:
            gone = not _leads_to(name, device, inode)
        else:
            gone = _remove_if_unused(name, device, inode, f"{file_name}.{slot}")
        if gone:
            os.pwrite(fd, bytes(_RECORD.size), slot * _RECORD.size)
        rest = rest or not gone
    if not rest:
        os.unlink(f"{DIRECTORY}/{file_name}")


def _note_file_of_the_dead(file_name):
    """The note file, open, if its process is gone; None if that lives. OSError if neither."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(f"{DIRECTORY}/{file_name}", flags)
    try:
        facts = os.fstat(fd)
        if facts.st_uid != os.geteuid() or not stat.S_ISREG(facts.st_mode):
            raise PermissionError(errno.EPERM, "not a note file of this user", file_name)
        if _has_owner(fd):
            os.close(fd)
            return None
        return fd
    except OSError:
        os.close(fd)
        raise


def _sweep_tree(file_names, deadline):
    dead, is_alive = {}, False
    try:
        for file_name in file_names:
            try:
                fd = _note_file_of_the_dead(file_name)
            except OSError:
                continue
            if fd is None:
                is_alive = True
            else:
                dead[file_name] = fd
        for file_name, fd in dead.items():
            try:
                if _become_sweeper(fd, deadline):
                    _sweep_note_file(fd, file_name, is_alive)
            except OSError:
                pass
    finally:
        for fd in dead.values():
            os.close(fd)


def sweep() -> None:
    """Removes the blocks of this user that nobody needs any more; after another who is at it."""
    _sweep(time.monotonic() + _PATIENCE_S)


def _sweep(deadline):
    trees = {}
    try:
        for file_name in os.listdir(DIRECTORY):
            # PREFIX TREE . RANDOM, and no more: what is aside has a further part.
            if file_name.startswith(PREFIX) and file_name.count(".") == 2:
                trees.setdefault(file_name.split(".")[1], []).append(file_name)
    except OSError:
        return
    for file_names in trees.values():
        _sweep_tree(file_names, deadline)


def sweep_now_and_then():
    global _next_sweep
    now = time.monotonic()
    if now >= _next_sweep:
        _next_sweep = now + _SWEEP_EVERY_S
        if _notes is not None:
            _notes.drop_what_is_gone()
        _sweep(deadline=now)


def _leave():
    """At a regular end of the process: what it made is left to the others of its tree, if any."""
    global _notes
    notes = _notes
    if notes is None:
        return
    _notes = None
    notes.drop_what_is_gone()
    for slot in list(notes.records):
        notes.mark(slot, LEFT)
    while _inherited:
        os.close(_inherited.pop())
    os.close(notes.fd)
    try:
        # Where a forked child lives this fails: it has the lock too, and perhaps the blocks.
        fd = _note_file_of_the_dead(notes.file_name)
        if fd is not None:
            if not _others_of_the_tree_live(notes.file_name):
                _remove_what_only_we_have(notes)
            os.close(fd)
    except OSError:
        pass
    sweep()


def _others_of_the_tree_live(file_name):
    mine = file_name[: file_name.rindex(".") + 1]
    for other in os.listdir(DIRECTORY):
        if other.startswith(mine) and other != file_name and other.count(".") == 2:
            try:
                fd = _note_file_of_the_dead(other)
            except OSError:
                continue
            if fd is None:
                return True
            os.close(fd)
    return False


def _remove_what_only_we_have(notes):
    # Blocks that this process still has open. That no forked child shares an open file with it is
    # known here, so that a lease on the file itself tells.
    for slot, (name, device, inode) in notes.records.items():
        fds = sys.modules["strata._block"].open_files_of(name)
        if len(fds) == 1 and _lease(fds[0]):
            _take_name_away(name, device, inode, f"{notes.file_name}.{slot}")
            _give_lease_back(fds[0])
