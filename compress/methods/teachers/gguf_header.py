"""What a GGUF file says before its weights, read so that no number in it is believed before it is compared.

The package `gguf` counts as far as a file tells it to: an array of 2^60 entries in a file of 100 bytes is waited for.
Here everything that is counted must have room in the file first.
Source: the format's specification, ggml's docs/gguf.md.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"GGUF"
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
# Of every other type of value: how it is unpacked.
PLAIN = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
ALIGNMENT = 32
MOST_DIMENSIONS = 4
# Models that are read have tens of settings, hundreds of tensors, and a few entries for each of 152,000 tokens.
MOST_NAMES = 1 << 16
MOST_ENTRIES = 1 << 22
LONGEST_NAME = 1 << 16


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """settings: by their names; of an array its length alone. tensors: of each its sizes, the innermost first."""

    settings: Mapping[str, Any]
    tensors: Mapping[str, tuple[int, ...]]


def read_gguf_header(path: Path, blocks: Mapping[int, tuple[int, int]]) -> GgufHeader:
    """What stands before the weights of the file `path`, whose weights are not read.

    blocks: of each type of tensor, by its number, the values in one block and its bytes. Raises ValueError, with what
    is wrong, where a count, a length or a size has no room in the file, a name is there twice, or a number is not
    finite.
    """
    if not path.stat().st_size:
        raise ValueError("it is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _Reader(data).header(blocks)


class _Reader:
    """A place in a file, which is moved by reading."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._place, self._entries = data, 0, 0

    def header(self, blocks: Mapping[int, tuple[int, int]]) -> GgufHeader:
        if self._bytes(len(MAGIC), "its beginning") != MAGIC:
            raise ValueError("it does not begin as GGUF does")
        version = self._number("<I")
        if version not in VERSIONS:
            raise ValueError(f"it is of version {version}; {VERSIONS[0]} and {VERSIONS[1]} can be read")
        # A tensor has at least a name's length, a number of sizes, one of them, a type and a place; a setting less.
        tensors = self._count("tensors", 32, MOST_NAMES)
        settings = self._settings(self._count("settings", 13, MOST_NAMES))
        return GgufHeader(settings=settings, tensors=self._tensors(tensors, settings, blocks))

    def _settings(self, count: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in range(count):
            name = self._name("a setting")
            if name in found:
                raise ValueError(f"the setting {name[:60]!r} is there twice")
            found[name] = self._value(name, self._number("<I"))
        return found

    def _value(self, name: str, kind: int) -> Any:
        if kind == STRING:
            return self._text(f"the setting {name[:60]!r}")
        if kind == ARRAY:
            return self._skip_array(name)
        if kind not in PLAIN:
            raise ValueError(f"the setting {name[:60]!r} is of the type {kind}, which there is not")
        value = self._number(PLAIN[kind])
        if not math.isfinite(value):
            raise ValueError(f"the setting {name[:60]!r} is {value}")
        return value

    def _skip_array(self, name: str) -> int:
        kind = self._number("<I")
        if kind != STRING and kind not in PLAIN:
            raise ValueError(f"the setting {name[:60]!r} is an array of the type {kind}, which is not read")
        size = 8 if kind == STRING else struct.calcsize(PLAIN[kind])
        count = self._count(f"entries of {name[:60]!r}", size, MOST_ENTRIES - self._entries)
        self._entries += count
        if kind != STRING:
            self._skip(count * size, f"the setting {name[:60]!r}")
            return count
        for _ in range(count):
            self._skip(self._number("<Q"), f"the setting {name[:60]!r}")
        return count

    def _tensors(
        self, count: int, settings: Mapping[str, Any], blocks: Mapping[int, tuple[int, int]]
    ) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        ends: dict[str, int] = {}
        for _ in range(count):
            name = self._name("a tensor")
            if name in found:
                raise ValueError(f"the tensor {name[:60]!r} is there twice")
            found[name], ends[name] = self._tensor(name, blocks)
        alignment = settings.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
            raise ValueError(f"general.alignment is {str(alignment)[:60]}, no power of two")
        start = -(-self._place // alignment) * alignment
        for name, end in ends.items():
            if start + end > len(self._data):
                raise ValueError(
                    f"the tensor {name[:60]!r} would end at byte {start + end}, and the file has {len(self._data)}"
                )
        return found

    def _tensor(self, name: str, blocks: Mapping[int, tuple[int, int]]) -> tuple[tuple[int, ...], int]:
        """Its sizes, and where it ends after the first byte of all weights."""
        count = self._number("<I")
        if not 1 <= count <= MOST_DIMENSIONS:
            raise ValueError(f"the tensor {name[:60]!r} has {count} dimensions; 1 to {MOST_DIMENSIONS} can be read")
        shape = tuple(self._number("<Q") for _ in range(count))
        kind, offset = self._number("<I"), self._number("<Q")
        if kind not in blocks:
            raise ValueError(f"the tensor {name[:60]!r} is of the type {kind}, which is not read")
        values, size = blocks[kind]
        if 0 in shape or shape[0] % values:
            raise ValueError(f"the tensor {name[:60]!r} has the sizes {shape}, in blocks of {values} values")
        return shape, offset + math.prod(shape) // values * size

    def _count(self, what: str, smallest: int, most: int) -> int:
        """A number of things that have at least `smallest` bytes each."""
        count = self._number("<Q")
        room = (len(self._data) - self._place) // smallest
        if count > room:
            raise ValueError(f"it says that it has {count} {what}, and has room for {room}")
        if count > most:
            raise ValueError(f"it has {count} {what}; {most} are read at most")
        return count

    def _name(self, what: str) -> str:
        return self._text(f"the name of {what}", LONGEST_NAME)

    def _text(self, what: str, most: int | None = None) -> str:
        length = self._number("<Q")
        if most is not None and length > most:
            raise ValueError(f"{what} has {length} bytes; {most} are read at most")
        try:
            return self._bytes(length, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{what} is not UTF-8") from error

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._bytes(struct.calcsize(form), "a number"))[0]

    def _bytes(self, length: int, what: str) -> bytes:
        start = self._place
        self._skip(length, what)
        return self._data[start : self._place]

    def _skip(self, length: int, what: str) -> None:
        if self._place + length > len(self._data):
            raise ValueError(f"it ends inside {what}, which would have {length} bytes")
        self._place += length
