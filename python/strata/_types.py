"""The types of arguments, for type checkers alone: nothing imports it at run time."""

from collections.abc import Sequence
from typing import Literal, SupportsIndex

Size = SupportsIndex | str
Shape = SupportsIndex | Sequence[SupportsIndex]
Node = SupportsIndex | Sequence[SupportsIndex]
Mode = Literal["r"] | Literal["r+"] | Literal["c"]
