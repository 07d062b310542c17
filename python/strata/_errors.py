"""The exceptions of strata: each is an Error, and the built-in one that says the same."""


class Error(Exception):
    """An operation failed, and nothing was changed.

    code: what can be done about it, as the library and the command spell it ("not_found").
    errno: the number that the kernel gave, or None.
    """

    code: str = "internal"
    errno: int | None = None


class InvalidArgumentError(Error, ValueError):
    """The call can never succeed as written: change it."""

    code = "invalid_argument"


class NotFoundError(Error, FileNotFoundError):
    """Nothing has that name: create it, or check the spelling."""

    code = "not_found"


class ExistsError(Error, FileExistsError):
    """The name is taken: attach to it, or choose another."""

    code = "already_exists"


class AccessError(Error, PermissionError):
    """The operating system, or the mode of the attachment, does not allow it."""

    code = "permission_denied"


class ExhaustedError(Error, MemoryError):
    """Memory, space, slots or a limit ran out: free some, or raise it."""

    code = "exhausted"


class NotReadyError(Error, TimeoutError):
    """Somebody else is still making it: wait and try again."""

    code = "not_ready"


class TimedOutError(Error, TimeoutError):
    """The time passed; nothing was changed."""

    code = "timed_out"


class CorruptError(Error, RuntimeError):
    """Bytes fail their own checks: do not use them; `strata check` or `strata pool repair`."""

    code = "corrupt"


class UnsupportedError(Error, NotImplementedError):
    """This machine, or this kind of memory, cannot do it."""

    code = "unsupported"


class StateError(Error, RuntimeError):
    """In use, sealed, or not in the state for this: change the state first."""

    code = "failed_precondition"


class InternalError(Error, RuntimeError):
    """A fault in strata: please report it."""


class NoDriverError(UnsupportedError):
    """There is no CUDA driver here."""

    code = "no_driver"


class NoDeviceError(UnsupportedError):
    """The CUDA driver has no such device."""

    code = "no_device"


class WrongDeviceError(Error, RuntimeError):
    """The memory is of a device that cannot be reached from this one."""

    code = "wrong_device"


_BY_CODE = {
    kind.code: kind
    for kind in (
        InvalidArgumentError, NotFoundError, ExistsError, AccessError, ExhaustedError, NotReadyError,
        TimedOutError, CorruptError, UnsupportedError, StateError, InternalError, NoDriverError,
        NoDeviceError, WrongDeviceError,
    )
}  # fmt: skip


def make(code: str, message: str, errno: int) -> Error:
    """The exception for a failure of the core."""
    error = _BY_CODE.get(code, InternalError)(message)
    error.code = code
    if errno:
        error.errno = errno
    return error
