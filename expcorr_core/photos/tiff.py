"""TIFF files: their metadata, and a writer that keeps these where they must stay."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from . import exif
from .directories import (
    BYTE,
    LONG,
    LONG8,
    ORIENTATION,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Block,
    Directory,
    ExifError,
    Layout,
    Tree,
    Value,
)
from .metadata import Metadata

# Tags for how pixels are stored in a file; in an EXIF block of another format, some of them are about its own pixels.
STRUCTURE = (
    *range(254, 260), 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291, 292, 293, 317,
    *range(320, 326), 330, 332, 333, 334, 336, 338, 339, 340, 341, 342, 347, *range(512, 533),
)  # fmt: skip
# Those of them that a decoder needs.
_DECODING = (
    *range(256, 260), 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, *range(322, 326), 332, 334, 338, 339, 347,
    *range(512, 522), *range(529, 533),
)  # fmt: skip
_CONTAINERS = (exif.XMP, exif.IPTC, exif.PHOTOSHOP, exif.ICC)
_MOST_BELOW = 64
_POINTERS = (400, 33424, 65024)  # to other directories
_OLD_SUBFILE, _DNG = 255, 50706
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _ROWS, _STRIP_SIZES, _PLANAR = 273, 277, 278, 279, 284
_PREDICTOR, _TILE_PLACES, _TILE_SIZES, _SUB_IMAGES, _EXTRA, _FORMAT = 317, 324, 325, 330, 338, 339
SIZE = (_WIDTH, _HEIGHT)
COMPRESSIONS = {
    6: "old JPEG", 9: "JBIG", 10: "JBIG", 32766: "NeXT", 32809:
    "ThunderScan", 33003: "JPEG 2000", 33005: "JPEG 2000", 34676: "SGI Log", 34677: "SGI Log", 34712: "JPEG 2000",
    34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546:
    "JPEG XL",
}  # fmt: skip
_OF_SENSORS = (32803, 34892)  # photometrics of raw files
_LIGHT = {32844: "LogL", 32845: "LogLuv"}
_GREY, _RGB, _DEFLATE, _HORIZONTAL, _ALPHA = 1, 2, 8, 2, 2
_ORDERS: dict[str, Literal["<", ">"]] = {"<": "<", ">": ">"}
_STRIP_BYTES = 2**18
_LEVEL = 4  # of Deflate: twice as fast as the usual 6, and 2 % longer
_MOST_CLASSIC = 2**32 - 2**26  # bytes


@dataclass(frozen=True, kw_only=True)
class Page:
    """How the pixels of a TIFF file are stored.

    Attributes:
        raw: whether the file has raw sensor values.
        number: of the page, from 0: the first that is not a reduced copy.
        bits: per sample.
        sample_format: 1: unsigned integers, 2: signed, 3: floating-point.
        compression, photometric: TIFF's codes.
        width, height: pixels.
        samples: per pixel.
        extra: kinds of the samples beyond the colours: 1 is premultiplied alpha, 2 is alpha.
        planes: whether samples are stored in separate planes.
        tiled: whether stored in tiles, not strips.
    """

    raw: bool
    number: int
    bits: int
    sample_format: int
    compression: int
    photometric: int
    width: int
    height: int
    samples: int
    extra: tuple[int, ...]
    planes: bool
    tiled: bool

    @property
    def refusal(self) -> str:
        """Why it cannot be read, to follow its name in a message; empty if it can."""
        if self.raw:
            return "is a raw photo with the name of a TIFF file; give it its own suffix"
        if kind := _LIGHT.get(self.photometric):
            return f"holds light in {kind}; convert it to 8 or 16 bits first"
        if self.sample_format == 3:
            return f"holds floating-point samples of {self.bits} bits; convert it to 8 or 16 bits first"
        if not self.width or not self.height:
            return "has no width or height; copy it again or leave it out"
        if self.sample_format == 2 or self.bits > 16:
            sign = " with a sign" if self.sample_format == 2 else ""
            return f"holds samples of {self.bits} bits{sign}; convert it to 8 or 16 bits first"
        if self.bits not in (1, 2, 4, 8, 16):
            return f"holds samples of {self.bits} bits; convert it to 8 or 16 bits first"
        if self.photometric == 5 and self.bits == 16:
            return "is a 16-bit CMYK file; convert it to RGB first"
        if self.photometric in (8, 9, 10) and self.bits == 16:
            return "is a 16-bit Lab file; convert it to RGB first"
        return ""

    @property
    def unusual(self) -> str:
        """Why a decoder may fail, to follow its name in a message; empty if all decoders support it."""
        if name := COMPRESSIONS.get(self.compression):
            return f"cannot be read: it is compressed with {name}, which is not supported; convert it"
        usual = self.photometric in (0, 1, 2, 3, 6) and len(self.extra) <= (self.photometric == 2) and not self.planes
        if usual and self.sample_format == 1:
            return ""
        kind = f"photometric {self.photometric}, {self.samples} samples, {len(self.extra)} of them extra"
        return f"cannot be read: no decoder supports its kind ({kind}); convert it, or copy it again if it is damaged"

    @property
    def claimed(self) -> int:
        """Bytes of its pixels."""
        return self.width * self.height * self.samples * self.bits // 8

    @property
    def colours(self) -> int:
        """Colour samples of a displayed pixel."""
        return 1 if self.photometric in (0, 1) else 3

    @property
    def alpha(self) -> int | None:
        """Index of the first extra sample that is alpha; None if there is none."""
        return next((number for number, kind in enumerate(self.extra) if kind in (1, 2)), None)


def page_of(block: Block) -> tuple[Page, Directory, int]:
    """The page with the photo, its directory, and the number of further pages.

    Raises:
        ExifError: the file is damaged.
    """
    pages = list(block.pages())

    def numbers(directory: Directory, tag: int, default: int) -> tuple[int, ...]:
        return block.numbers(directory.entries.get(tag)) or (default,)

    def is_reduced(page: Directory) -> bool:
        return bool(numbers(page, _SUBFILE, 0)[0] & 1) or numbers(page, _OLD_SUBFILE, 1)[0] == 2

    whole = (n for n, page in enumerate(pages) if not is_reduced(page))
    number = next(whole, 0)
    directory = pages[number]
    inner = below(block, directory)
    raw = _DNG in pages[0].entries or any(numbers(d, _PHOTOMETRIC, 0)[0] in _OF_SENSORS for d in (*pages, *inner))
    if is_reduced(directory):  # the photo is below its preview
        directory = next((part for part in inner if not is_reduced(part)), directory)
    if directory is not pages[0]:  # the metadata are in the first directory
        held = {tag: entry for tag, entry in pages[0].entries.items() if tag not in STRUCTURE}
        directory = replace(directory, entries={**held, **directory.entries})
    page = Page(
        raw=raw or bytes(block.content[8:10]) == b"CR",
        number=number,
        bits=max(numbers(directory, _BITS, 1)),
        sample_format=max(numbers(directory, _FORMAT, 1)),
        compression=numbers(directory, _COMPRESSION, 1)[0],
        photometric=numbers(directory, _PHOTOMETRIC, 1)[0],
        width=numbers(directory, _WIDTH, 0)[0],
        height=numbers(directory, _HEIGHT, 0)[0],
        samples=numbers(directory, _SAMPLES, 1)[0],
        extra=block.numbers(directory.entries.get(_EXTRA)),
        planes=numbers(directory, _PLANAR, 1)[0] == 2,
        tiled=_TILE_PLACES in directory.entries,
    )
    return page, directory, len(pages) - 1


def has_end(block: Block) -> bool:
    """Whether a file has all pixels of its photo; ExifError if it is cut off before their directory."""
    page, directory, _ = page_of(block)
    if page.raw:  # where its pixels are is the camera's secret
        return True
    for tags in ((_STRIPS, _STRIP_SIZES), (_TILE_PLACES, _TILE_SIZES)):
        places, sizes = (block.numbers(directory.entries.get(tag)) for tag in tags)
        if places:
            return all(place + size <= len(block.content) for place, size in zip(places, sizes, strict=False))
    return False


def below(block: Block, directory: Directory) -> list[Directory]:
    """The directories of further pictures of a page."""
    found = []
    for place in block.numbers(directory.entries.get(_SUB_IMAGES))[:_MOST_BELOW]:
        try:
            found.append(block.directory(place))
        except ExifError:
            continue
    return found


def read(block: Block, page: Page, directory: Directory, further: int) -> Metadata:
    """The metadata of a file."""
    left_out = list[str]()
    if further:
        left_out.append("further pages" if further > 1 else "a further page")
    if _SUB_IMAGES in directory.entries:
        left_out.append("further pictures of the page")
    if exif.LAYERS in directory.entries:
        left_out.append(exif.NAMES[exif.LAYERS])
    if len(page.extra) > (page.alpha is not None):
        left_out.append("further channels")
    skipped = {*STRUCTURE, *_CONTAINERS, exif.LAYERS}
    resolution = exif.resolution_of(block, directory)
    given = [directory.entries.get(tag) for tag in (exif.X_RESOLUTION, exif.Y_RESOLUTION)]
    if any(entry and entry.kind == RATIONAL and not any(block.values(entry)[4:8]) for entry in given):
        skipped |= {exif.X_RESOLUTION, exif.Y_RESOLUTION, exif.RESOLUTION_UNIT}
        left_out.append("the resolution, which is not a number")
    if directory.entries.keys() & set(_POINTERS):
        skipped |= set(_POINTERS)
        left_out.append("fax and maker directories")
    tree = exif.tree_of(block, directory, skipped)
    base = _without_pixels(exif.base_of(block.content, tree), block, directory)
    encoded, lost = exif.block_of(tree, block.order, base) if tree else (b"", False)
    if lost:
        left_out.append(f"{exif.NAMES[exif.MAKER_NOTE]}, which are valid only at their original position")
    found = {
        name: block.values(directory.entries[tag])
        for name, tag in (
            ("xmp", exif.XMP),
            ("iptc", exif.IPTC),
            ("photoshop", exif.PHOTOSHOP),
            ("icc_profile", exif.ICC),
        )
        if tag in directory.entries
    }
    return Metadata(kind="TIFF", exif=encoded, resolution=resolution, left_out=tuple(left_out), **found)  # type: ignore[arg-type]


def _without_pixels(base: bytes, block: Block, directory: Directory) -> bytes:
    """The beginning of a file, with zeros in place of pixels."""
    changed = bytearray(base)
    for tags in ((_STRIPS, _STRIP_SIZES), (_TILE_PLACES, _TILE_SIZES)):
        places, sizes = (block.numbers(directory.entries.get(tag)) for tag in tags)
        for place, size in zip(places, sizes, strict=False):
            part = slice(place, min(place + size, len(changed)))
            changed[part] = bytes(len(changed[part]))
    return bytes(changed)


def bare(content: bytes, block: Block, directory: Directory) -> bytes:
    """A classic file of one page, with only what is needed to decode its pixels.

    Decoders have trouble with the rest: Pillow rotates pixels, and not all support BigTIFF.
    """
    return _with_directory(content, block, exif.tree_of(block, directory, directory.entries.keys() - set(_DECODING)))


def planes_of(content: bytes, block: Block, directory: Directory, bits: int) -> list[bytes]:
    """One such file for each sample of a page whose samples are in separate planes."""
    samples = (*block.numbers(directory.entries.get(_SAMPLES)), 1)[0]
    places = next(tag for tag in (_TILE_PLACES, _STRIPS) if tag in directory.entries)
    whole = exif.tree_of(block, directory, directory.entries.keys() - set(_DECODING))

    def numbers(*values: int) -> Value:
        return Value(LONG, len(values), struct.pack(f"{block.order}{len(values)}I", *values))

    files = []
    for sample in range(samples):
        tree = {**whole, _BITS: numbers(bits), _SAMPLES: numbers(1), _PHOTOMETRIC: numbers(_GREY), _PLANAR: numbers(1)}
        for tag in (places, _TILE_SIZES if places == _TILE_PLACES else _STRIP_SIZES):
            values = block.numbers(directory.entries.get(tag))
            share = len(values) // samples
            tree[tag] = numbers(*values[sample * share : (sample + 1) * share])
        files.append(_with_directory(content, block, {k: v for k, v in tree.items() if k not in (_EXTRA, _FORMAT)}))
    return files


def _with_directory(content: bytes, block: Block, tree: Tree) -> bytes:
    layout = Layout(block.order, len(content) + len(content) % 2)
    place = layout.put(layout.directory(tree))
    mark = (b"II*\0" if block.order == "<" else b"MM\0*") + struct.pack(block.order + "I", place)
    return b"".join((mark, content[8:], bytes(len(content) % 2), layout.area))


def write(
    file: BinaryIO,
    strips: Iterable[NDArray[Any]],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    metadata: Metadata,
) -> list[str]:
    """Write a file with Deflate, as classic TIFF or, where it may become too large, BigTIFF.

    Args:
        file: what to write to, from its beginning.
        strips: ``(rows, W, C)`` each, from top to bottom, of any height.
        shape: ``(H, W, C)`` of the whole; C is 1 or 3 colours, and alpha.
        dtype: uint8 or uint16.
        metadata: its metadata.

    Returns:
        Names of what could not be written.
    """
    height, width, samples = shape
    row = width * samples * dtype.itemsize
    big = height * row > _MOST_CLASSIC
    tree, order, left_out = _tree(metadata)
    # Where maker notes must stay in place, the whole block is at the beginning of the file.
    layout = Layout(order, 16 if big else 8, big, exif.base_of(metadata.exif, tree))
    rows = max(1, _STRIP_BYTES // row)
    entries = _placed(layout, tree)
    if layout.lost:
        left_out.append(exif.NAMES[exif.MAKER_NOTE])
    places, sizes = list[int](), list[int]()
    file.write(bytes(layout.start) + bytes(layout.area))
    for data in _compressed(strips, rows, dtype.newbyteorder(_ORDERS[order])):
        places.append(file.tell())
        sizes.append(len(data))
        file.write(data)
    end = file.tell()
    own = _structure(order, shape, dtype, rows, places, sizes, big)
    last = Layout(order, end + end % 2, big)
    encoded = last.directory({**own, **entries})
    place = last.put(encoded)
    file.write(bytes(end % 2) + bytes(last.area))
    file.seek(0)
    mark = b"II" if order == "<" else b"MM"
    file.write(mark + (struct.pack(order + "HHHQ", 43, 8, 0, place) if big else struct.pack(order + "HI", 42, place)))
    return left_out


def _tree(metadata: Metadata) -> tuple[Tree, str, list[str]]:
    """The file directory's values except those for the pixels, their byte order, and names of what is left out."""
    tree, order, left_out = Tree(), "<", list[str]()
    if metadata.exif:
        try:
            block = Block(metadata.exif)
            directory = block.directory(block.first)
            tree, order = exif.tree_of(block, directory, {*STRUCTURE, *_CONTAINERS, ORIENTATION}), block.order
        except ExifError:
            left_out.append("EXIF, which is damaged")
    for tag, kind, data in (
        (exif.XMP, BYTE, metadata.xmp),
        (exif.IPTC, UNDEFINED, metadata.iptc),
        (exif.PHOTOSHOP, BYTE, metadata.photoshop),
        (exif.ICC, UNDEFINED, metadata.icc_profile),
    ):
        if data:
            tree[tag] = Value(kind, len(data), data)
    if metadata.resolution and exif.X_RESOLUTION not in tree:
        tree[exif.RESOLUTION_UNIT] = Value(SHORT, 1, struct.pack(order + "H", 2))
        for tag, value in zip((exif.X_RESOLUTION, exif.Y_RESOLUTION), metadata.resolution, strict=True):
            tree[tag] = Value(RATIONAL, 1, exif.rational(value, order))
    return tree, order, left_out


def _placed(layout: Layout, tree: Tree) -> Tree:
    """Values, with directories already placed and replaced by their offsets."""
    kept: Tree = {}
    for tag, value in tree.items():
        if isinstance(value.data, dict):
            if value.data:
                place = layout.put(layout.directory(value.data))
                kind, form = (LONG8, "Q") if layout.big else (LONG, "I")
                kept[tag] = Value(kind, 1, struct.pack(layout.order + form, place))
        else:
            kept[tag] = value
    return kept


def _structure(
    order: str,
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    rows: int,
    places: list[int],
    sizes: list[int],
    big: bool,
) -> Tree:
    height, width, samples = shape
    colours = 3 if samples >= 3 else 1

    def numbers(kind: int, *values: int) -> Value:
        form = {SHORT: "H", LONG: "I", LONG8: "Q"}[kind]
        return Value(kind, len(values), struct.pack(f"{order}{len(values)}{form}", *values))

    tree: Tree = {
        _WIDTH: numbers(LONG, width),
        _HEIGHT: numbers(LONG, height),
        _BITS: numbers(SHORT, *[8 * dtype.itemsize] * samples),
        _COMPRESSION: numbers(SHORT, _DEFLATE),
        _PHOTOMETRIC: numbers(SHORT, _RGB if colours == 3 else _GREY),
        _STRIPS: numbers(LONG8 if big else LONG, *places),
        _SAMPLES: numbers(SHORT, samples),
        _ROWS: numbers(LONG, rows),
        _STRIP_SIZES: numbers(LONG, *sizes),
        _PLANAR: numbers(SHORT, 1),
        _PREDICTOR: numbers(SHORT, _HORIZONTAL),
    }
    if samples > colours:
        tree[_EXTRA] = numbers(SHORT, _ALPHA)
    return tree


def _compressed(strips: Iterable[NDArray[Any]], rows: int, dtype: np.dtype[Any]) -> Iterator[bytes]:
    """Strips of ``rows`` rows, compressed."""
    for pixels in _regrouped(strips, rows):
        differences = pixels.copy()
        differences[:, 1:] -= pixels[:, :-1]
        yield zlib.compress(differences.astype(dtype, copy=False).tobytes(), _LEVEL)


def _regrouped(strips: Iterable[NDArray[Any]], rows: int) -> Iterator[NDArray[Any]]:
    held: list[NDArray[Any]] = []
    for strip in strips:
        held.append(strip)
        if sum(map(len, held)) >= rows:
            joined = np.concatenate(held) if len(held) > 1 else strip
            whole = len(joined) - len(joined) % rows
            for top in range(0, whole, rows):
                yield joined[top : top + rows]
            held = [joined[whole:]] if whole < len(joined) else []
    if held:
        yield np.concatenate(held)
