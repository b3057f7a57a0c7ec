"""EXIF blocks: read, changed in place, or laid out anew.

Maker notes contain offsets from the beginning of the block, and nobody knows all of their formats. So a block is
changed in place where possible: what is not meant to change stays where it is, byte for byte.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from .directories import (
    BYTE,
    LONG,
    LONG8,
    NUMBERS,
    ORIENTATION,
    RATIONAL,
    SHORT,
    Block,
    Content,
    Directory,
    Entry,
    ExifError,
    Layout,
    Tree,
    Value,
)

XMP, IPTC, PHOTOSHOP, LAYERS, ICC = 700, 33723, 34377, 37724, 34675
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY = 34665, 34853, 40965
MAKER_NOTE, USER_COMMENT = 37500, 37510
_COLOUR_SPACE, _UNCALIBRATED, _ADOBE = 40961, 65535, 2
_INDEX, _OPTIONAL_FILE = 1, b"R03"  # DCF's name for files in Adobe RGB
_DIRECTORIES = (EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY)
_COMPRESSION, _STRIPS, _THUMBNAIL, _THUMBNAIL_LENGTH = 259, 273, 513, 514
# GeoTIFF's tags, and those for GPS positions in GDAL's and Microsoft's notes.
GEOGRAPHIC = (33550, 33920, 33922, 34264, 34735, 34736, 34737, 42112, 50844)
# From here on tags are private, except those of EXIF, of Windows' author fields, and a few others.
_PRIVATE = 32768
_PUBLIC = (
    (33421, 33437), (34665, 34665), (34675, 34675), (34850, 34867), (36864, 37522), (40091, 40095), (40960, 42080),
    (50341, 50341), (59932, 59933),
)  # fmt: skip
# Pairs of width and height that are exchanged by a quarter turn; also those in the EXIF directory.
_SIDES = ((256, 257), (X_RESOLUTION, Y_RESOLUTION), (40962, 40963), (41486, 41487))
_SUBJECT = (37396, 41492)  # position of the subject, in pixels
NAMES = {MAKER_NOTE: "maker notes", USER_COMMENT: "the user's comment", LAYERS: "layers", PHOTOSHOP: "image resources"}


class _Patched(Block):
    """A block to change in place."""

    content: bytearray

    def __init__(self, content: bytes) -> None:
        super().__init__(bytearray(content))

    def put(self, place: int, data: bytes) -> None:
        self.content[place : place + len(data)] = data

    def erase(self, entry: Entry) -> None:
        self.put(entry.data, bytes(entry.size))

    def remove(self, directory: Directory, tags: Collection[int]) -> Directory:
        """A directory without some entries, whose values are overwritten."""
        going = [entry for tag, entry in directory.entries.items() if tag in tags]
        for entry in going:
            self.erase(entry)
        # From last to first, so that the offsets of the others stay valid.
        for entry in sorted(going, key=lambda entry: -entry.place):
            end = directory.link + struct.calcsize(self._word)
            rest = bytes(self.content[entry.place + self._entry : end])
            self.put(entry.place, rest.ljust(end - entry.place, b"\0"))
            count = self._number(self._count, directory.place) - 1
            if count < 0:
                raise ExifError("a value lies where its directory does")
            if not count:  # readers take a directory without entries for damage
                return replace(directory, entries={}, link=directory.link - self._entry)
            self.put(directory.place, struct.pack(self.order + self._count, count))
            directory = replace(directory, link=directory.link - self._entry)
        return self.directory(directory.place)


def turned_upright(block: bytes, sideways: bool) -> bytes:
    """The block for a photo that was turned upright.

    Args:
        block: the block.
        sideways: whether it was turned by a quarter, which exchanges width and height.

    Raises:
        ExifError: it is damaged.
    """
    patched = _Patched(block)
    pages = list(patched.pages())[:2]  # the photo's, and the thumbnail's
    for directory in pages:
        entry = directory.entries.get(ORIENTATION)
        if entry and (kind := NUMBERS.get(entry.kind)):
            patched.put(entry.data, struct.pack(patched.order + kind, 1))
    inner = patched.below(pages[0], EXIF_DIRECTORY)
    for part in (pages[0], inner) if sideways else ():
        for pair in _SIDES if part else ():
            a, b = (part.entries.get(tag) for tag in pair) if part else (None, None)
            if a and b:
                _swap(patched, a, b)
    return bytes(patched.content)


def _swap(block: _Patched, a: Entry, b: Entry) -> None:
    """Exchange type, count and value (or its offset) of two entries."""
    end = block._entry
    first, second = (bytes(block.content[entry.place + 2 : entry.place + end]) for entry in (a, b))
    block.put(a.place + 2, second)
    block.put(b.place + 2, first)


def without_subject(block: bytes) -> bytes:
    """A block without the subject's position in pixels; ExifError if it is damaged."""
    patched = _Patched(block)
    if inner := patched.below(patched.directory(patched.first), EXIF_DIRECTORY):
        patched.remove(inner, _SUBJECT)
    return bytes(patched.content)


def has_maker_notes(block: bytes) -> bool:
    """Whether a block has maker notes; ExifError if it is damaged."""
    found = Block(block)
    inner = found.below(found.directory(found.first), EXIF_DIRECTORY)
    return bool(inner and MAKER_NOTE in inner.entries)


def is_adobe_rgb(block: bytes) -> bool:
    """Whether a block tells that colours are those of Adobe RGB; ExifError if it is damaged.

    DCF's way is an uncalibrated space and the interoperability index R03; some cameras number the space 2.
    """
    found = Block(block)
    inner = found.below(found.directory(found.first), EXIF_DIRECTORY)
    space = found.numbers(inner.entries.get(_COLOUR_SPACE)) if inner else ()
    if not inner or space != (_UNCALIBRATED,):
        return space == (_ADOBE,)
    below = found.below(inner, INTEROPERABILITY)
    index = below.entries.get(_INDEX) if below else None
    return index is not None and found.values(index).startswith(_OPTIONAL_FILE)


def thumbnail_size(block: bytes) -> int:
    """Bytes of the JPEG thumbnail; 0 if there is none. ExifError if the block is damaged."""
    found = Block(block)
    pages = list(found.pages())
    if len(pages) < 2:
        return 0
    length = found.numbers(pages[1].entries.get(_THUMBNAIL_LENGTH))
    place = found.numbers(pages[1].entries.get(_THUMBNAIL))
    whole = place and length and place[0] + length[0] <= len(block)
    return length[0] if whole else 0


def has_thumbnail(block: bytes) -> bool:
    """Whether there is a thumbnail of any kind; ExifError if the block is damaged."""
    pages = list(Block(block).pages())
    return len(pages) > 1 and bool(pages[1].entries.keys() & {_THUMBNAIL, _STRIPS})


def with_thumbnail(block: bytes, thumbnail: bytes) -> bytes:
    """A block with a new thumbnail, at the end if it does not fit in place; without one if it is empty.

    Raises:
        ExifError: it is damaged.
    """
    patched = _Patched(block)
    pages = list(patched.pages())
    if len(pages) < 2:
        return block
    if size := thumbnail_size(block):
        at, length = (pages[1].entries[tag] for tag in (_THUMBNAIL, _THUMBNAIL_LENGTH))
        place = patched.numbers(at)[0]
        if place + size == len(block):  # nothing follows it: so the block does not grow each time
            del patched.content[place:]
            size = 0
        elif len(thumbnail) > size:
            patched.put(place, bytes(size))
            place = len(block) + len(block) % 2
            patched.content.extend(bytes(place - len(block)))
        patched.put(place, thumbnail.ljust(size, b"\0"))
        for entry, value in ((at, place), (length, len(thumbnail))):
            patched.put(entry.place + 2, struct.pack(patched.order + "HII", LONG, 1, value))
    if not thumbnail:
        for page in pages[1:]:
            patched.remove(page, page.entries.keys())
        patched.put(pages[0].link, bytes(struct.calcsize(patched._word)))
    return bytes(patched.content)


_MOST_BASE, _BEHIND = 2**20, 2**12  # bytes


def tree_of(block: Block, directory: Directory, left_out: Collection[int] = (), above: Collection[int] = ()) -> Tree:
    """The values of a directory, and of the EXIF, GPS and interoperability directories below it.

    Args:
        block: the block that contains them.
        directory: the directory.
        left_out: tags to leave out.
        above: offsets of the directories above this one: damaged blocks may be circular.
    """
    found: Tree = {}
    above = {*above, directory.place}
    for tag, entry in directory.entries.items():
        if tag in left_out:
            continue
        if tag in _DIRECTORIES:
            inner = block.below(directory, tag)
            if inner and inner.place not in above:
                found[tag] = Value(LONG, 1, tree_of(block, inner, left_out, above))
        elif entry.kind in (LONG8, 17, 18, 13) and tag != MAKER_NOTE:
            # EXIF blocks do not have these types: 8-byte numbers, and offsets of other directories.
            numbers = block.numbers(entry)
            if entry.kind == LONG8 and max(numbers, default=0) < 2**32:
                found[tag] = Value(LONG, entry.count, struct.pack(f"{block.order}{entry.count}I", *numbers))
        else:
            pin = entry.data if tag == MAKER_NOTE else None
            found[tag] = Value(entry.kind, entry.count, block.values(entry), pin)
    return found


def base_of(content: Content, tree: Tree, most: int = _MOST_BASE) -> bytes:
    """The beginning of a block or file, up to the end of its maker notes; empty if that is longer than ``most``."""
    inner = tree[EXIF_DIRECTORY].data if EXIF_DIRECTORY in tree else {}
    note = inner.get(MAKER_NOTE) if isinstance(inner, dict) else None
    if note is None or note.pin is None:
        return b""
    # Some notes contain offsets to data after them.
    end = note.pin + len(note.data) + _BEHIND
    return bytes(content[:end]) if end <= most else b""


def block_of(tree: Tree, order: str, base: bytes) -> tuple[bytes, bool]:
    """An EXIF block of these values, and whether maker notes are lost because the base does not contain them."""
    layout = Layout(order, 8, base=base)
    # Readers expect the directory first, then its values, unless something else is there.
    place = layout.put(bytes(2 + 12 * len(tree) + 4))
    directory = layout.directory(tree)
    layout.area[place - 8 : place - 8 + len(directory)] = directory
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "I", place) + bytes(layout.area), layout.lost


def is_known(tag: int) -> bool:
    """Whether the meaning of a tag is public, and not a location."""
    return tag < _PRIVATE or any(first <= tag <= last for first, last in _PUBLIC)


def has_private(block: bytes) -> bool:
    """Whether a block has private tags; ExifError if it is damaged."""
    found = Block(block)
    tags = found.directory(found.first).entries.keys() - {IPTC, PHOTOSHOP, *GEOGRAPHIC}
    return not all(map(is_known, tags))


def without_places(block: bytes, changes: Mapping[int, Callable[[bytes], bytes]]) -> bytes:
    """A block that does not reveal where the photo was taken, laid out anew since old values may be left in gaps.

    Removes the position, geographic tags, and maker notes (whose formats are secret; some contain towns or positions).

    Args:
        block: the block.
        changes: by tag, what removes locations from values of other containers (XMP, IPTC); empty ones are removed.

    Raises:
        ExifError: it is damaged.
    """
    found = Block(block)
    tree = tree_of(found, found.directory(found.first), (GPS_DIRECTORY, MAKER_NOTE, *GEOGRAPHIC))
    tree = {tag: value for tag, value in tree.items() if tag in changes or is_known(tag)}
    for tag, change in changes.items():
        if tag in tree and isinstance(old := tree[tag].data, bytes):
            kind = BYTE if tree[tag].kind in (BYTE, LONG, SHORT) else tree[tag].kind  # some declare bytes as numbers
            new = change(old)
            tree[tag] = Value(kind, len(new), new)
    result, _ = block_of({tag: value for tag, value in tree.items() if value.data}, found.order, b"")
    return _with_second(result, block)


def _with_second(block: bytes, other: bytes) -> bytes:
    """A block with the thumbnail of another one."""
    size = thumbnail_size(other)
    if not size:
        return block
    patched, source = _Patched(block), Block(other)
    entry = list(source.pages())[1].entries[_THUMBNAIL]
    place = source.numbers(entry)[0]
    layout = Layout(patched.order, len(block) + len(block) % 2)
    at = layout.put(other[place : place + size])
    words = {_COMPRESSION: (SHORT, "H", 6), _THUMBNAIL: (LONG, "I", at), _THUMBNAIL_LENGTH: (LONG, "I", size)}
    tree = {tag: Value(kind, 1, struct.pack(patched.order + f, v)) for tag, (kind, f, v) in words.items()}
    second = layout.put(layout.directory(tree))
    patched.put(patched.directory(patched.first).link, struct.pack(patched.order + "I", second))
    return bytes(patched.content) + bytes(len(block) % 2) + bytes(layout.area)


def shortened(block: bytes, most: int) -> tuple[bytes, list[str]]:
    """A block of at most ``most`` bytes, and the names of the values that were removed for this: the largest.

    Raises:
        ExifError: it is damaged.
    """
    if len(block) <= most:
        return block, []
    found = Block(block)
    tree, gone = tree_of(found, found.directory(found.first)), list[str]()
    base = base_of(block, tree, most // 2)
    if has_thumbnail(block):
        gone.append("the thumbnail")
    while True:
        result, lost = block_of(tree, found.order, base)
        if lost:
            gone.append(NAMES[MAKER_NOTE])
        if len(result) <= most:
            return result, list(dict.fromkeys(gone))
        tag, tree = _without_largest(tree)
        base = base if tag != MAKER_NOTE else b""
        gone.append(NAMES.get(tag, f"EXIF tag {tag}"))


def _without_largest(tree: Tree) -> tuple[int, Tree]:
    """The tag of the longest value of a tree, and the tree without it."""

    def longest(branch: Tree) -> tuple[int, int]:
        sizes = ((longest(v.data)[0] if isinstance(v.data, dict) else len(v.data), tag) for tag, v in branch.items())
        return max(sizes, default=(0, 0))

    _, tag = longest(tree)
    value = tree[tag]
    if isinstance(value.data, dict) and value.data:
        inner, rest = _without_largest(value.data)
        return inner, {**tree, tag: replace(value, data=rest)}
    return tag, {key: kept for key, kept in tree.items() if key != tag}


def rational(value: float, order: str) -> bytes:
    """A positive value as numerator and denominator."""
    denominator = 1 if value == int(value) else 10_000
    return struct.pack(order + "II", round(value * denominator), denominator)


def resolution_of(block: Block, directory: Directory) -> tuple[float, float] | None:
    """Pixels per inch across and down; None if a directory does not specify them validly."""
    entries = [directory.entries.get(tag) for tag in (X_RESOLUTION, Y_RESOLUTION)]
    unit = (*block.numbers(directory.entries.get(RESOLUTION_UNIT)), 2)[0]
    values = []
    for entry in entries:
        if entry is None or entry.kind != RATIONAL:
            return None
        above, below = struct.unpack(block.order + "II", block.values(entry)[:8])
        values.append(above / below if below else math.nan)
    if unit not in (2, 3) or not all(0 < value < math.inf for value in values):
        return None
    scale = 2.54 if unit == 3 else 1.0
    return values[0] * scale, values[1] * scale
