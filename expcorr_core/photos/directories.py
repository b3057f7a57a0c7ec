"""The directories of TIFF files and EXIF blocks: reading them, and laying out new ones."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Content: TypeAlias = "bytes | bytearray | mmap.mmap"

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q", 13: "I", 18: "Q", 6: "b", 8: "h", 9: "i"}  # of ``struct``
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
ORIENTATION = 274
_MOST_ENTRIES, _MOST_DIRECTORIES = 4096, 1024  # in a directory, in a chain: more means damage


class ExifError(ValueError):
    """A block is damaged."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A value of a directory.

    Attributes:
        tag, kind, count: the tag, TIFF's number of the type, and how many values there are.
        place: offset of the entry.
        data: offset of its values.
        size: bytes of all values.
    """

    tag: int
    kind: int
    count: int
    place: int
    data: int
    size: int


@dataclass(frozen=True)
class Directory:
    """A list of values, and the offset of the next directory (0: none), which is stored at ``link``."""

    place: int
    entries: Mapping[int, Entry]
    link: int
    following: int


class Block:
    """A TIFF structure in memory or in a memory-mapped file; classic or BigTIFF.

    Raises:
        ExifError: it does not begin like one.
    """

    def __init__(self, content: Content) -> None:
        self.content = content
        marks: dict[bytes, str] = {b"II": "<", b"MM": ">"}
        self.order = marks.get(bytes(content[:2]), "")
        version = self._number("H", 2) if self.order and len(content) >= 8 else 0
        if version not in (42, 43):
            raise ExifError("it does not begin like TIFF")
        self.big = version == 43
        self._count, self._entry, self._word = ("Q", 20, "Q") if self.big else ("H", 12, "I")
        self.first = self._number(self._word, 8 if self.big else 4)
        if not self.first:
            raise ExifError("it has no directory")

    def _number(self, kind: str, place: int) -> int:
        try:
            return int(struct.unpack_from(self.order + kind, self.content, place)[0])
        except struct.error as error:
            raise ExifError("it is cut off") from error

    def directory(self, place: int) -> Directory:
        """The directory at an offset; values outside the block are left out.

        Raises:
            ExifError: there is none.
        """
        count = self._number(self._count, place)
        start = place + struct.calcsize(self._count)
        link = start + count * self._entry
        if count > _MOST_ENTRIES or link > len(self.content):
            raise ExifError("a directory is cut off")
        entries: dict[int, Entry] = {}
        word = struct.calcsize(self._word)
        for at in range(start, link, self._entry):
            tag, kind = self._number("H", at), self._number("H", at + 2)
            values = self._number(self._word, at + 4)
            size = _SIZES.get(kind, 0) * values
            data = at + 4 + word if size <= word else self._number(self._word, at + 4 + word)
            if size and data + size <= len(self.content):
                entry = Entry(tag=tag, kind=kind, count=values, place=at, data=data, size=size)
                entries.setdefault(tag, entry)
        following = self._number(self._word, link) if link + word <= len(self.content) else 0
        return Directory(place, entries, link, following)

    def pages(self) -> Iterator[Directory]:
        """The directories of the chain, up to the first damaged one."""
        place, seen = self.first, set[int]()
        while place and place not in seen and len(seen) < _MOST_DIRECTORIES:
            seen.add(place)
            try:
                page = self.directory(place)
            except ExifError:
                if len(seen) == 1:
                    raise
                return
            yield page
            place = page.following

    def values(self, entry: Entry) -> bytes:
        return bytes(self.content[entry.data : entry.data + entry.size])

    def numbers(self, entry: Entry | None) -> tuple[int, ...]:
        """The values of an entry of integers; empty for other types."""
        if entry is None or entry.kind not in NUMBERS:
            return ()
        return struct.unpack(f"{self.order}{entry.count}{NUMBERS[entry.kind]}", self.values(entry))

    def below(self, directory: Directory, tag: int) -> Directory | None:
        """The directory that an entry points to; None if there is none or it is damaged."""
        places = self.numbers(directory.entries.get(tag))
        try:
            return self.directory(places[0]) if places else None
        except ExifError:
            return None

    @property
    def orientation(self) -> int:
        """1 to 8; 0 if the block does not specify it."""
        found = self.numbers(self.directory(self.first).entries.get(ORIENTATION))
        return found[0] if found and 1 <= found[0] <= 8 else 0


@dataclass(frozen=True)
class Value:
    """A value outside any block.

    Attributes:
        kind, count: TIFF's number of the type, and how many values there are.
        data: the bytes of the values, or the directory that the entry points to.
        pin: offset where the values must stay, since they contain offsets of their own; None: anywhere.
    """

    kind: int
    count: int
    data: bytes | Tree
    pin: int | None = None


Tree = dict[int, Value]


class Layout:
    """The layout of values in a new block.

    Args:
        order: ``<`` or ``>``.
        start: lowest offset for values.
        big: whether it is a BigTIFF.
        base: bytes to keep at the beginning, from offset 0: a block with maker notes, whose offsets may point
            anywhere in it.
    """

    def __init__(self, order: str, start: int, big: bool = False, base: bytes = b"") -> None:
        self.order, self.start, self.big = order, start, big
        self.area = bytearray(base[start:])
        self.lost = False  # whether maker notes were lost because the base does not contain them
        self._word, self._count = ("Q", "Q") if big else ("I", "H")

    def put(self, data: bytes) -> int:
        """Place some bytes; returns their offset."""
        self.area.extend(bytes(len(self.area) % 2))
        self.area.extend(data)
        return self.start + len(self.area) - len(data)

    def directory(self, tree: Tree) -> bytes:
        """The bytes of a directory, after placing its values; it ends with the offset of the next one, 0."""
        word = struct.calcsize(self._word)
        entries = []
        for tag, value in sorted(tree.items()):
            kind = value.kind
            if isinstance(value.data, dict):
                if not value.data:
                    continue
                kind = LONG8 if self.big else LONG
                data = struct.pack(self.order + self._word, self.put(self.directory(value.data)))
            elif len(value.data) <= word:
                data = value.data
            elif value.pin is None:
                data = struct.pack(self.order + self._word, self.put(value.data))
            elif self._holds(value.pin, value.data):
                data = struct.pack(self.order + self._word, value.pin)
            else:
                self.lost = True
                continue
            head = struct.pack(self.order + "HH" + self._word, tag, kind, value.count)
            entries.append(head + data.ljust(word, b"\0"))
        return struct.pack(self.order + self._count, len(entries)) + b"".join(entries) + bytes(word)

    def _holds(self, place: int, data: bytes) -> bool:
        first = place - self.start
        return first >= 0 and self.area[first : first + len(data)] == data
