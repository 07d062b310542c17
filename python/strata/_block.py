"""`SharedMemory` of strata.shared_memory: one block, seen from one process."""

import errno
import mmap
import os
import stat
import weakref

from strata import _blocks

_SHM_NAME_PREFIX = "/psm_"

_live: weakref.WeakSet = weakref.WeakSet()


def _make_filename():
    return _SHM_NAME_PREFIX + os.urandom(4).hex()


def open_files_of(file_name):
    """The descriptors that this process has of a block."""
    return [one._fd for one in list(_live) if one._fd >= 0 and one._file_name() == file_name]


def _error(number, why, name):
    # OSError makes the subclass that belongs to the number.
    return OSError(number, f"{os.strerror(number)} ({why})", name)


class SharedMemory:
    """A named block of memory that several processes share.

    SharedMemory(name=None, create=True, size=N) makes one of N bytes, under a random name if none
    is given; SharedMemory(name) attaches to one that exists, whatever its size. `track=False`, of a
    creator: nobody but unlink() ever removes the block; of an attacher: no difference, since
    attaching owns nothing.

    Raises FileExistsError, FileNotFoundError, PermissionError; ValueError for a size that is no
    positive number; OSError (EINVAL, ENAMETOOLONG) for what cannot be a name.
    """

    # What a subclass may change, and what close() and unlink() need after a failed __init__.
    _name: str | None = None
    _fd = -1
    _mmap: mmap.mmap | None = None
    _buf: memoryview | None = None
    _size = 0
    _flags = os.O_RDWR
    _mode = 0o600
    _prepend_leading_slash = True
    _record: tuple[_blocks._Notes, int] | None = (
        None  # of a creator: its notes, and the slot of the block there
    )
    # Once installed this is the standard module's, for whoever patches that.
    _new_name = staticmethod(_make_filename)

    def __init__(
        self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool = True
    ) -> None:
        if not size >= 0:
            raise ValueError(f"'size' must be a positive integer, not {size}")
        if create:
            self._flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
            if size == 0:
                raise ValueError("'size' must be a positive number different from zero")
        if name is None and not self._flags & os.O_EXCL:
            raise ValueError("'name' can only be None if create=True: say which block to attach to")
        if name is not None:
            self._name = "/" + name if self._prepend_leading_slash else name
            self._check_name()
        if create:
            _blocks.sweep_now_and_then()
            self._create(size, track)
        else:
            self._attach()
        self._buf = memoryview(self._mmap)  # type: ignore[arg-type]  # both have set it
        _live.add(self)

    def _file_name(self):
        return self._name.lstrip("/")

    def _path(self):
        return f"{_blocks.DIRECTORY}/{self._file_name()}"

    def _check_name(self):
        file_name = self._file_name()
        if file_name in ("", ".", "..") or "/" in file_name or "\0" in file_name:
            raise _error(errno.EINVAL, "the name of a block is one file name", self._name)
        if len(os.fsencode(file_name)) > 255:
            raise _error(
                errno.ENAMETOOLONG, "the name of a block has at most 255 bytes", self._name
            )

    def _create(self, size, track):
        # The file gets its size, its mapping and its record first and its name last: nobody
        # attaches to one that is still empty, and no kill leaves one that is not known.
        self._fd = _blocks.open_unnamed(self._mode)
        try:
            os.ftruncate(self._fd, size)
            self._mmap = mmap.mmap(self._fd, size)
            self._size = size
            if self._name is not None:
                self._give_name(track)
            while self._name is None:
                self._name = self._new_name()
                try:
                    self._give_name(track)
                except FileExistsError:
                    self._name = None
        except BaseException:
            self._mmap = None
            os.close(self._fd)
            self._fd = -1
            raise

    def _give_name(self, track):
        file_name = self._file_name()
        if track:
            notes = _blocks.join()
            self._record = notes, notes.add(file_name, os.fstat(self._fd))
        try:
            try:
                _blocks.link_unnamed(self._fd, file_name)
            except FileExistsError:
                _blocks.sweep()  # perhaps what is left of somebody who was killed
                _blocks.link_unnamed(self._fd, file_name)
        except FileExistsError:
            self._forget_record()
            why = "attach to it with create=False, or take another name"
            raise _error(errno.EEXIST, why, self._name) from None
        except BaseException:
            self._forget_record()
            raise

    def _attach(self):
        self._fd = self._open()
        try:
            facts = os.fstat(self._fd)
            if not stat.S_ISREG(facts.st_mode):
                raise _error(errno.EINVAL, "no regular file, so no block", self._name)
            if facts.st_size == 0:
                raise ValueError(
                    f"cannot attach to {self._name!r}: its file is empty. Either its "
                    "creator is about to give it a size, or it is no block"
                )
            self._mmap = mmap.mmap(self._fd, facts.st_size)
            self._size = facts.st_size
        except BaseException:
            os.close(self._fd)
            self._fd = -1
            raise

    def _open(self):
        while True:
            fd = self._open_once()
            if not _blocks.nobody_else_has(fd):
                if os.fstat(fd).st_nlink:
                    return fd
                os.close(fd)  # its name was taken away just now: look whether it is there again
                continue
            # Nobody has it: perhaps a killed creator's, which then is to be gone.
            os.close(fd)
            _blocks.sweep()
            return self._open_once()

    def _open_once(self):
        flags = self._flags | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._path(), flags, self._mode)
        except FileNotFoundError:
            why = "no such block: it was unlinked, or its creator was killed, or it never was"
            raise _error(errno.ENOENT, why, self._name) from None
        except OSError as error:
            number = errno.EINVAL if error.errno == errno.EISDIR else error.errno
            raise OSError(number, os.strerror(number), self._name) from None

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # at the end of the interpreter, what close() calls may be gone already
            pass

    def __reduce__(self) -> tuple:
        return self.__class__, (self.name, False, self.size)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.name!r}, size={self.size})"

    @property
    def buf(self) -> memoryview:
        """A memoryview of the bytes; None once closed."""
        return self._buf  # type: ignore[return-value]  # as in the standard module's types

    @property
    def name(self) -> str:
        """The name by which other processes attach."""
        if self._prepend_leading_slash and self._name and self._name.startswith("/"):
            return self._name[1:]
        return self._name  # type: ignore[return-value]  # None only where __init__ has failed

    @property
    def size(self) -> int:
        """In bytes."""
        return self._size

    def close(self) -> None:
        """Ends the access through this object. The block stays.

        Views of `buf` that live on, such as NumPy arrays, stay valid: the memory is unmapped with
        the last of them.
        """
        # No release() and no mmap.close(): they would raise BufferError for some kinds of views,
        # and for the others, such as numpy.ndarray(buffer=...), unmap the memory that they show.
        self._buf = None
        self._mmap = None
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        if self._record is not None:
            notes, slot = self._record
            if notes is _blocks._notes:  # not in a forked child: the creator may still use it
                notes.mark(slot, _blocks.LEFT)
        was_last = self._record is None and _blocks.nobody_else_has(fd)
        os.close(fd)
        if was_last:
            _blocks.sweep()

    def unlink(self) -> None:
        """Takes the name away; the memory goes with the last process that has it.

        Once for each block, in whichever process. Raises FileNotFoundError where it is gone.
        """
        if not self._name:
            return
        try:
            os.unlink(self._path())
        except FileNotFoundError:
            self._forget_record()
            raise _error(
                errno.ENOENT, "no such block: it is unlinked already", self._name
            ) from None
        self._forget_record()

    def _forget_record(self):
        if self._record is not None:
            notes, slot = self._record
            self._record = None
            if notes is _blocks._notes:
                notes.drop(slot)
