"""What raw files say beside their pixels: size, metadata, baseline exposure, without LibRaw.

Most raw files are TIFF files, some with a mark of their own (ORF, RW2). RAF files contain a JPEG file with the
metadata, CR3 files contain them in boxes (ISO base media file format).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from . import exif, jpeg, tiff, xmp
from .boxes import boxes
from .directories import LONG, ORIENTATION, Block, Content, Directory, ExifError, Tree, Value
from .metadata import Metadata

# Those that LibRaw opens and whose metadata are found here.
SUFFIXES = (
    ".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".raf", ".orf", ".rw2", ".rwl", ".pef", ".srw",
    ".3fr", ".fff", ".iiq", ".erf", ".mef", ".mos",
)  # fmt: skip
_RAF = b"FUJIFILMCCD-RAW"
_MARKS = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0")  # of ORF and RW2, in place of TIFF's
# Tags of the first directory that describe the photo; the others are about the sensor, or private.
_DESCRIBING = {
    270, 271, 272, 305, 306, 315, 316, 18246, 18249, 33432, 33434, 33437, 34850, 34855, 36867, 36868,
    37378, 37380, 37383, 37384, 37385, 37386, *range(40091, 40096), 50708, 50735, 50736,
    ORIENTATION, exif.EXIF_DIRECTORY, exif.GPS_DIRECTORY,
}  # fmt: skip
# Of the EXIF directory: size and colour space of the camera's JPEG, and what belongs to the latter.
_OF_THE_JPEG = (40961, 40962, 40963, exif.INTEROPERABILITY)
_PANASONIC_SIZE = (2, 3)  # tags of RW2's first directory
_BASELINE_EXPOSURE, _BASELINE_EXPOSURE_OFFSET = 50730, 51109
_CANON = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")  # names of boxes
_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_MOST_BOXES = 1000


class RawHeader(NamedTuple):
    """What a raw file says beside its pixels.

    Attributes:
        metadata: to keep, with the orientation of the sensor's pixels.
        lift: DNG's baseline exposure: stops by which sensor values are too dark; None if it is not specified.
        damaged: whether the metadata cannot be read.
    """

    metadata: Metadata
    lift: float | None = None
    damaged: bool = False


def written_name(path: Path) -> Path:
    """The name of a result in the format of its photo; TIFF for raw files, which cannot be written."""
    return path.with_suffix(".tif") if path.suffix.lower() in SUFFIXES else path


def is_raw(beginning: bytes) -> bool:
    """Whether a file begins like a raw file that is not also a TIFF file."""
    return beginning.startswith((_RAF, *_MARKS)) or beginning[4:11] == b"ftypcrx"


def header_of(content: bytes) -> RawHeader:
    """Metadata and baseline exposure of a raw file; damaged parts are left out and named."""
    try:
        if content.startswith(_RAF):
            return RawHeader(_of_raf(content))
        if content[4:11] == b"ftypcrx":
            return RawHeader(_of_cr3(content))
        block = Block(_as_tiff(content))
        directory = block.directory(block.first)
        return RawHeader(_of_tiff(block, directory), _lift_of(block, directory))
    except (ExifError, struct.error, IndexError):
        return RawHeader(Metadata(kind="TIFF", left_out=("EXIF, which is damaged",)), damaged=True)


def size_of(content: Content) -> tuple[int, int]:
    """Width and height of the largest picture in a raw file; zeros if that cannot be read."""
    beginning = bytes(content[:32])
    try:
        if beginning.startswith(_RAF):
            return _raf_size(content)
        if beginning[4:11] == b"ftypcrx":
            # Width and height of each track, in the description of its samples.
            found = re.finditer(rb"CRAW.{24}(..)(..)", bytes(content[: 2**20]), re.S)
            sizes = [tuple(int.from_bytes(side, "big") for side in match.groups()) for match in found]
        else:
            sizes = list(_tiff_sizes(Block(_as_tiff(content))))
    except (ExifError, struct.error):
        return 0, 0
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    return width, height


def _as_tiff(content: Content) -> Content:
    """The file with TIFF's own mark in place of another."""
    if bytes(content[:4]) not in _MARKS:
        return content
    return (b"II*\0" if content[:2] == b"II" else b"MM\0*") + content[4:]


def _tiff_sizes(block: Block) -> Iterator[tuple[int, int]]:
    for page in block.pages():
        for directory in (page, *tiff.below(block, page)):
            for tags in (tiff.SIZE, _PANASONIC_SIZE):
                width, height = ((*block.numbers(directory.entries.get(tag)), 0)[0] for tag in tags)
                yield width, height


def _raf_size(content: Content) -> tuple[int, int]:
    (place,) = struct.unpack_from(">I", content, 92)
    (count,) = struct.unpack_from(">I", content, place)
    place += 4
    for _ in range(min(count, 255)):
        tag, size = struct.unpack_from(">HH", content, place)
        if tag == 0x100:  # size of the whole sensor
            height, width = struct.unpack_from(">HH", content, place + 4)
            return width, height
        place += 4 + size
    return 0, 0


def _lift_of(block: Block, directory: Directory) -> float | None:
    stops = None
    for tag in (_BASELINE_EXPOSURE, _BASELINE_EXPOSURE_OFFSET):
        entry = directory.entries.get(tag)
        if entry and entry.kind == 10:  # signed rational
            above, below = struct.unpack(block.order + "ii", block.values(entry)[:8])
            if below:  # some programs write 0/0
                stops = (stops or 0.0) + above / below
    return stops


def _of_tiff(block: Block, directory: Directory, **more: bytes) -> Metadata:
    kept = {tag: entry for tag, entry in directory.entries.items() if tag in _DESCRIBING}
    tree = exif.tree_of(block, replace(directory, entries=kept), _OF_THE_JPEG)
    found = {
        name: block.values(directory.entries[tag])
        for name, tag in (("xmp", exif.XMP), ("iptc", exif.IPTC), ("photoshop", exif.PHOTOSHOP))
        if tag in directory.entries
    }
    return _metadata(tree, block, {**found, **more})


def _metadata(tree: Tree, block: Block, found: dict[str, bytes], lost: tuple[str, ...] = ()) -> Metadata:
    """Metadata of EXIF values and other containers; maker notes stay in place, with nothing before them."""
    base = exif.base_of(block.content, tree)
    if base:
        inner = tree[exif.EXIF_DIRECTORY].data
        assert isinstance(inner, dict)
        place = inner[exif.MAKER_NOTE].pin or 0
        base = bytes(place) + base[place:]
    encoded, gone = exif.block_of(tree, block.order, base) if tree else (b"", False)
    names = [*lost, "what describes the sensor's values"]
    if gone:
        names.append(f"{exif.NAMES[exif.MAKER_NOTE]}, which are valid only at their original position")
    packet = found.get("xmp", b"")
    if packet and (without := xmp.without_settings(packet)) != packet:
        found = {**found, "xmp": without}
        names.append("a raw converter's settings")
    return Metadata(kind="TIFF", exif=encoded, left_out=tuple(names), **found)  # type: ignore[arg-type]


def _of_raf(content: bytes) -> Metadata:
    place, size = struct.unpack_from(">II", content, 84)
    held, _ = jpeg.read(content[place : place + size])
    block = Block(held.exif)
    return _of_tiff(block, block.directory(block.first), xmp=held.xmp)


def _of_cr3(content: bytes) -> Metadata:
    """Four TIFF structures: the first directory, EXIF, maker notes, GPS."""
    outer = dict(_named_boxes(content, 0, len(content)))
    start, end = outer.get(b"moov", (0, 0))
    inner = dict(_named_boxes(content, start, end))
    parts = {name: content[slice(*place)] for name, place in _named_boxes(content, *inner.get(_CANON, (0, 0)))}
    if b"CMT1" not in parts:
        raise ExifError("it has no metadata")
    block = Block(parts[b"CMT1"])
    first = block.directory(block.first)
    kept = {tag: entry for tag, entry in first.entries.items() if tag in _DESCRIBING}
    tree = exif.tree_of(block, replace(first, entries=kept))
    for tag, name in ((exif.EXIF_DIRECTORY, b"CMT2"), (exif.GPS_DIRECTORY, b"CMT4")):
        tree.pop(tag, None)
        if name in parts:
            below = Block(parts[name])
            if below.order != block.order:
                raise ExifError("its byte orders differ")
            values = exif.tree_of(below, below.directory(below.first), _OF_THE_JPEG)
            tree[tag] = Value(LONG, 1, values)
    lost = (exif.NAMES[exif.MAKER_NOTE],) if b"CMT3" in parts else ()
    packet = {"xmp": content[slice(*outer[_XMP])]} if _XMP in outer else {}
    return _metadata(tree, block, packet, lost)


def _named_boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Name (of a box with a name of its own: that), and start and end of the content of each box."""
    for kind, begin, stop in islice(boxes(content, start, end, cut=True), _MOST_BOXES):
        own = 16 * (kind == b"uuid")
        if begin + own > stop:
            return
        yield content[begin : begin + own] or kind, (begin + own, stop)
