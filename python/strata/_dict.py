"""A dict that processes share."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, MutableMapping, ValuesView
from typing import Any, Literal, Union

from strata import _core

Key = Union[str, bytes, int]

_MISSING: Any = object()
_RAISE: Any = object()


# Each iteration is over a copy, as all of it was at one moment.
class _Keys(KeysView):
    def __iter__(self):
        return iter(self._mapping._keys())


class _Values(ValuesView):
    def __iter__(self):
        return iter([value for _, value in self._mapping._items()])

    def __contains__(self, value):
        return any(value is other or value == other for other in self)


class _Items(ItemsView):
    def __iter__(self):
        return iter(self._mapping._items())


class DictTransaction:
    """What Dict.transaction() returns."""

    __slots__ = ("_dict", "_timeout")

    def __init__(self, shared: Dict, timeout: float | None) -> None:
        self._dict = shared
        self._timeout = timeout

    def __enter__(self) -> Dict:
        self._dict._begin(self._timeout)
        return self._dict

    def __exit__(self, kind: object, error: object, trace: object) -> Literal[False]:
        if kind is None:
            self._dict._commit()
        else:
            self._dict._abort()
        return False


class Dict(_core.Dict):
    """A dict in shared memory, which every process may read and change at any time.

        words = strata.Dict("shm:words")
        words["answer"] = 42
        words.add("count", 1)
        with words.transaction():       # all of it or nothing, also when killed
            words["a"] -= 10
            words["b"] += 10

    Keys are str, bytes or int of 64 bits. Values are None, bool, int of 64 bits, float, str and
    bytes, stored as they are; with pickle=True also whatever pickle takes. What it gives is a copy:
    to change a list that is a value, set it anew.

    Reading takes no lock. A change takes the lock of the dict; who holds it may be killed at any
    moment, and then the next one finishes or undoes what it was doing. Iteration, keys(), values()
    and items() show all of it as it was at one moment.

    uri: "shm:NAME" is made, or attached to where it exists; "pmem:..." survives the machine;
        None: without a name, for processes that get it by fork or pickle, and gone with the last.
    size, max_size: of the memory in bytes or as "64M": what it begins with, and what it may grow
        to: by default 1G, and in a pool no more than it begins with. One value takes 60M at most
        where both differ.
    transaction_size: what one transaction may write to its log: some 100 bytes for each key.
    pickle: values may be pickles. To read one runs what its writer says: for those alone who trust
        everybody who may write.
    timeout: seconds that any call waits for the lock; None waits for ever.
    permissions: as 0o660; by default for this user alone.

    Raises ValueError where the name is of something else.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]
    ABSENT: Any = _MISSING  # for compare_and_set

    def __init__(
        self,
        uri: str | None = None,
        *,
        size: int | str = "4M",
        max_size: int | str | None = None,
        transaction_size: int | str | None = "256K",
        pickle: bool = False,
        timeout: float | None = None,
        permissions: int | None = None,
    ) -> None:
        super().__init__(uri, size, max_size, transaction_size, pickle, timeout, permissions)

    @classmethod
    def attach(
        cls,
        uri: str,
        mode: str = "r+",
        *,
        wait: float = 0.0,
        pickle: bool = False,
        timeout: float | None = None,
    ) -> Dict:
        """One that exists. mode "r": to read alone. wait: seconds for a creator that is not done.

        Raises NotFoundError; ValueError where it is something else.
        """
        self = cls.__new__(cls)
        self._init_attached(uri, mode, wait, pickle, timeout)
        return self

    @classmethod
    def _from_handle(cls, handle, mode, pickle):
        self = cls.__new__(cls)
        self._init_from_handle(handle, mode, pickle, None)
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _reopen, (type(self), self._handle(), self.mode, self.pickle)

    def transaction(self, timeout: float | None = None) -> DictTransaction:
        """All changes of this thread until the end of the `with` happen, or none: where an
        exception leaves it, and where it is killed. Others see none of it before the end, and wait
        with changes of their own; this thread sees what it has changed, through this object. One
        within another is a part of it. timeout: seconds for the lock; by default the dict's.
        """
        return DictTransaction(self, timeout)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._keys())

    def keys(self) -> KeysView[Any]:
        mapping: Any = self
        return _Keys(mapping)

    def values(self) -> ValuesView[Any]:
        mapping: Any = self
        return _Values(mapping)

    def items(self) -> ItemsView[Any, Any]:
        mapping: Any = self
        return _Items(mapping)

    def pop(self, key: Key, default: Any = _RAISE) -> Any:
        """Removes a key and returns its value; the default, or KeyError, where it is absent."""
        value = self._pop(key, _MISSING)
        if value is not _MISSING:
            return value
        if default is _RAISE:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[Any, Any]:
        """Removes some key and returns it with its value. Raises KeyError where there is none."""
        while True:
            for key in self._keys():
                value = self._pop(key, _MISSING)
                if value is not _MISSING:
                    return key, value
                # Another process was faster: look again where it took the last.
            if not self:
                raise KeyError("popitem(): the Dict is empty")

    def setdefault(self, key: Key, default: Any = None) -> Any:
        """The value of a key, which is set where it is absent."""
        while True:
            value = self.get(key, _MISSING)
            if value is not _MISSING:
                return value
            if self._insert(key, default):
                return default

    def compare_and_set(self, key: Key, expected: Any, desired: Any) -> bool:
        """Sets a key to `desired` where it is `expected`, of the same type, as one step; returns
        whether it was. Dict.ABSENT stands for a key that is not there, before or afterwards.
        """
        return self._compare_and_set(key, expected, desired, _MISSING)

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Sets many keys: all of them, or none where that fails. What transaction_size does not
        hold raises ExhaustedError.
        """
        with self.transaction():
            pairs = other.items() if hasattr(other, "items") else other
            if not hasattr(other, "items") and hasattr(other, "keys"):
                pairs = ((key, other[key]) for key in other.keys())
            for key, value in pairs:
                self[key] = value
            for key, value in more.items():
                self[key] = value

    def copy(self) -> dict[Any, Any]:
        """A plain dict with all of it as it was at one moment."""
        return dict(self._items())

    def __ior__(self, other: Any) -> Dict:
        self.update(other)
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Dict):
            return self.copy() == other.copy()
        if isinstance(other, (dict, MutableMapping)):
            return self.copy() == dict(other.items())
        return NotImplemented

    def __repr__(self) -> str:
        return "<strata.Dict %s, %d keys>" % (self.uri, len(self))


MutableMapping.register(Dict)


def _reopen(cls, handle, mode, pickle):
    return cls._from_handle(handle, mode, pickle)
