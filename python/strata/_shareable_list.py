"""`ShareableList` of strata.shared_memory: a list of fixed length in one block.

The bytes are those of the standard module:

    i64         number of items, N
    i64[N + 1]  where the slot of each item begins after this head, and where the last one ends
    slots       multiples of 8 bytes
    char[8][N]  the `struct` format of each item, zero padded
    i8[N]       0 int, float, bool; 1 str; 2 bytes; 3 None

The standard module pads bytes and str with zeros to the end of the slot, "8s", and takes all zeros
at the end away again, also those that were given. Here a value that ends with a zero has a format
that says its length: "3s0x", which is as valid for `struct`. The standard module reads such a value
as it reads its own, and what it writes in its place is read here as it would read it.
"""

from __future__ import annotations

import re
import struct
import types
from functools import partial

from strata._block import SharedMemory

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes as long to import as all of this
    from collections.abc import Iterable, Iterator
    from typing import Any

Item = int | float | bool | str | bytes | None

_FORMATS = {int: "q", float: "d", bool: "xxxxxxx?", type(None): "xxxxxx?x"}
_TEXT_FORMAT = re.compile(r"([0-9]{1,8})s(0x|x)?\Z")
_FORMAT_BYTES = 8
_MAX_TEXT_BYTES = 9_999_992  # the slot of which still has a format of 8 characters


def _slot_bytes(item, encoded):
    # The standard module counts characters, not bytes, and cuts off what then does not fit.
    slot_bytes = max(8 * (len(item) // 8 + 1), -(-len(encoded) // 8) * 8)
    return slot_bytes if _format_of(encoded, slot_bytes) else slot_bytes + 8


def _format_of(encoded, slot_bytes):
    """The format that keeps the exact bytes; None where there is none for such a length."""
    if not encoded.endswith(b"\0"):
        return f"{slot_bytes}s"
    exact = [f"{len(encoded)}s0x"]
    if len(encoded) < slot_bytes:
        # An x more than the text still is in the slot. Without: shorter than the slot says it too.
        exact += [f"{len(encoded)}sx", f"{len(encoded)}s"]
    return next((text for text in exact if len(text) <= _FORMAT_BYTES), None)


def _encode(value):
    return value.encode() if isinstance(value, str) else bytes(value)


def _code_of(value):
    if isinstance(value, str):
        return 1
    if isinstance(value, bytes):
        return 2
    return 3 if value is None else 0


def _format_of_plain(value):
    try:
        return _FORMATS[type(value)]
    except KeyError:
        raise KeyError(
            f"a ShareableList holds int, float, bool, str, bytes and None, "
            f"not {type(value).__name__}"
        ) from None


class ShareableList:
    """A list of fixed length in shared memory, of int (64 bits), float, bool, str, bytes and None.

    ShareableList(sequence) makes one; ShareableList(name=NAME) attaches. An item can later be
    replaced by any other that fits into its slot: 8 bytes, and for str and bytes the least multiple
    of 8 above the length at creation. Not synchronised.

    Raises what SharedMemory does; KeyError for other types; struct.error for an int beyond 64 bits;
    ValueError for an item of more than 9,999,992 bytes, and where the block holds no such list.
    """

    _block_class = SharedMemory

    def __init__(self, sequence: Iterable[Item] | None = None, *, name: str | None = None) -> None:
        if name is None or sequence is not None:
            self._create(list(sequence or ()), name)
        else:
            self.shm = self._block_class(name)
            try:
                self._read_head()
            except BaseException:
                self.shm.close()
                raise

    def _create(self, items, name):
        slots, formats, values = [0], [], []
        for item in items:
            if isinstance(item, (str, bytes)):
                value = _encode(item)
                if len(value) > _MAX_TEXT_BYTES:
                    raise ValueError(
                        f"an item of {len(value)} bytes: the format of a ShareableList "
                        f"has room for {_MAX_TEXT_BYTES}"
                    )
                slot_bytes = _slot_bytes(item, value)
                formats.append(_format_of(value, slot_bytes))
            else:
                value, slot_bytes = item, 8
                formats.append(_format_of_plain(item))
            values.append(value)
            slots.append(slots[-1] + slot_bytes)
        self._list_len = len(items)
        self._allocated_offsets = slots
        head = struct.pack(f"{len(slots) + 1}q", len(items), *slots)
        data = bytearray(slots[-1])
        for text, slot, value in zip(formats, slots, values):
            struct.pack_into(text, data, slot, value)
        tail = b"".join(text.encode().ljust(_FORMAT_BYTES, b"\0") for text in formats)
        codes = bytes(_code_of(item) for item in items)
        size = len(head) + len(data) + len(tail) + len(codes)
        self.shm = self._block_class(name, create=True, size=size)
        self.shm.buf[len(head) : size] = bytes(data) + tail + codes
        self.shm.buf[: len(head)] = head

    def _read_head(self):
        # Whoever may write to the block may have written anything.
        size = self.shm.size
        count = struct.unpack_from("q", self.shm.buf)[0] if size >= 16 else -1
        if not 0 <= count <= (size - 16) // 25:
            raise ValueError(
                f"block {self.shm.name!r} of {size} bytes holds no ShareableList: it "
                f"would have {count} items"
            )
        self._list_len = count
        self._allocated_offsets = slots = list(struct.unpack_from(f"{count + 1}q", self.shm.buf, 8))
        good = slots[0] == 0 and all(low < high for low, high in zip(slots, slots[1:]))
        if not good or self._offset_back_transform_codes + count > size:
            raise ValueError(
                f"block {self.shm.name!r} of {size} bytes holds no ShareableList: its "
                "items do not lie one behind the other"
            )

    def _position(self, position, what="index"):
        if position < 0:
            position += self._list_len
        if not 0 <= position < self._list_len:
            raise IndexError(f"{what} out of range")
        return position

    def _slot(self, position):
        return self._allocated_offsets[position + 1] - self._allocated_offsets[position]

    def _stored_format(self, position):
        where = self._offset_packing_formats + position * _FORMAT_BYTES
        stored = bytes(self.shm.buf[where : where + _FORMAT_BYTES]).rstrip(b"\0")
        text = stored.decode("ascii", "replace")
        size = self._slot(position)
        match = _TEXT_FORMAT.match(text)
        if (match and int(match[1]) <= size) or (text in _FORMATS.values() and size >= 8):
            return text, match
        raise ValueError(
            f"item {position} of the ShareableList {self.shm.name!r} has the format "
            f"{text!r}: it is damaged"
        )

    def _get_packing_format(self, position):
        position = self._position(position, "Requested position")
        text, match = self._stored_format(position)
        return f"{self._slot(position)}s" if match else text

    def __getitem__(self, position: int) -> Any:
        position = self._position(position)
        text, match = self._stored_format(position)
        where = self._offset_data_start + self._allocated_offsets[position]
        (value,) = struct.unpack_from(text, self.shm.buf, where)
        code = self.shm.buf[self._offset_back_transform_codes + position]
        if code == 3:
            return None
        if code == 0 and not match:
            return value
        if code not in (1, 2) or not match:
            raise ValueError(
                f"item {position} of the ShareableList {self.shm.name!r} has the type "
                f"{code} and the format {text!r}: it is damaged"
            )
        if not match[2] and len(value) == self._slot(position):
            value = value.rstrip(b"\0")
        return value.decode() if code == 1 else value

    def __setitem__(self, position: int, value: Item) -> None:
        position = self._position(position, "assignment index")
        stored, slot_bytes = value, self._slot(position)
        if isinstance(value, (str, bytes)):
            stored = _encode(value)
            if len(stored) > slot_bytes:
                raise ValueError(
                    f"bytes/str item exceeds available storage: {len(stored)} bytes "
                    f"into a slot of {slot_bytes}"
                )
            text = _format_of(stored, slot_bytes)
            if text is None:
                raise ValueError(
                    f"bytes/str item exceeds available storage: {len(stored)} bytes "
                    f"that end with a zero need a slot of {len(stored) + 1}"
                )
        else:
            text = _format_of_plain(value)
        # Packed before anything is written: a value that cannot be packed changes nothing.
        packed = struct.pack(text, stored)
        where = self._offset_packing_formats + position * _FORMAT_BYTES
        self.shm.buf[where : where + _FORMAT_BYTES] = text.encode().ljust(_FORMAT_BYTES, b"\0")
        self.shm.buf[self._offset_back_transform_codes + position] = _code_of(value)
        where = self._offset_data_start + self._allocated_offsets[position]
        self.shm.buf[where : where + len(packed)] = packed

    def __reduce__(self) -> tuple:
        return partial(self.__class__, name=self.shm.name), ()

    def __len__(self) -> int:
        return self._list_len

    def __iter__(self) -> Iterator[Any]:
        return (self[position] for position in range(self._list_len))

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({list(self)}, name={self.shm.name!r})"

    @property
    def format(self) -> str:
        """The `struct` formats of all items, in a row; those of text with their slots."""
        return "".join(self._get_packing_format(position) for position in range(self._list_len))

    @property
    def _offset_data_start(self):
        return (self._list_len + 2) * 8

    @property
    def _offset_packing_formats(self):
        return self._offset_data_start + self._allocated_offsets[-1]

    @property
    def _offset_back_transform_codes(self):
        return self._offset_packing_formats + self._list_len * _FORMAT_BYTES

    def count(self, value: object) -> int:
        """How many items equal `value`."""
        return sum(value == item for item in self)

    def index(self, value: object) -> int:
        """Where the first item is that equals `value`. Raises ValueError if none does."""
        for position, item in enumerate(self):
            if value == item:
                return position
        raise ValueError(f"{value!r} not in this container")

    __class_getitem__ = classmethod(types.GenericAlias)  # type: ignore[var-annotated]
