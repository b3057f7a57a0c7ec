"""HEIC, HEIF and AVIF files as boxes: their header, their metadata, and adding metadata to encoded ones."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from .boxes import boxes
from .icc import PRIMARIES, profile_of
from .metadata import Metadata
from .png import GAMMAS

_AVIF = (b"avif", b"avis")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1")
CODED = (b"hvc1", b"av01", b"avc1", b"vvc1", b"jpeg", b"j2k1", b"unci", b"grid", b"iden", b"iovl", b"tmap")
_XMP = b"application/rdf+xml"
_ALPHA = ("urn:mpeg:hevc:2015:auxid:1", "urn:mpeg:mpegB:cicp:systems:auxiliary:alpha")
_DEPTH = ("urn:mpeg:hevc:2015:auxid:2", "urn:mpeg:mpegB:cicp:systems:auxiliary:depth")
_CREDENTIALS = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")  # C2PA's UUID
# Orientation as EXIF counts it, by quarter turns (anticlockwise) and the following mirroring: 0 exchanges top and
# bottom, 1 left and right.
_ORIENTATIONS = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6, (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7,
    (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip


@dataclass
class _Item:
    kind: bytes = b""
    content_type: bytes = b""
    hidden: bool = False
    method: int = 0  # extents count from the beginning of 0: the file, 1: the box idat
    extents: list[tuple[int, int]] = field(default_factory=list)  # offset, length
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass
class _Parsed:
    primary: int = 0
    items: dict[int, _Item] = field(default_factory=dict)
    references: list[tuple[bytes, int, tuple[int, ...]]] = field(default_factory=list)  # kind, from, to
    idat: tuple[int, int] = (0, 0)
    listed: tuple[int, int] = (0, 0)  # where the items' kinds are

    def property(self, number: int, kind: bytes) -> bytes:
        found = self.items[number].properties if number in self.items else ()
        return next((data for name, data in found if name == kind), b"")

    def targets(self, kind: bytes, source: int) -> list[int]:
        return [to for name, start, ends in self.references if (name, start) == (kind, source) for to in ends]


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of its picture, which is the primary one of several.

    Attributes:
        width, height: in pixels, as stored: before turning.
        bits: per channel.
        grey: there is no colour.
        coding: of the pixels, such as ``hvc1`` and ``av01``.
        cropped: only a part of the stored pixels is shown.
        transfer: transfer characteristic of ITU-T H.273; 0 if none is specified.
    """

    width: int
    height: int
    bits: int
    grey: bool
    coding: bytes
    cropped: bool
    transfer: int


class NoPictureError(ValueError):
    """A file has frames of a sequence, but no still picture."""


def sniffed(beginning: bytes) -> str:
    """``HEIC`` or ``AVIF`` by the first bytes of a file, empty if it is neither."""
    if beginning[4:8] != b"ftyp":
        return ""
    end = min(len(beginning), int.from_bytes(beginning[:4], "big"))
    brands = [beginning[8:12], *(beginning[at : at + 4] for at in range(16, end - 3, 4))]
    if brands[0] in _AVIF or (brands[0] in _HEIC and any(brand in _AVIF for brand in brands)):
        return "AVIF"
    return "HEIC" if brands[0] in _HEIC else ""


def _tops(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The outermost boxes; the decoder reports what is cut off after those that the header needs."""
    try:
        yield from boxes(content, 0, len(content))
    except ValueError:
        return


def _number(content: bytes, place: int, size: int) -> int:
    if place + size > len(content):
        raise ValueError("a number is cut off")
    return int.from_bytes(content[place : place + size], "big")


def _parsed(content: bytes) -> _Parsed:
    """The items of a file. ValueError, struct.error or IndexError if it is damaged."""
    found = _Parsed()
    tops = {kind: (start, end) for kind, start, end in _tops(content)}
    if b"meta" not in tops:
        if b"moov" in tops:
            raise NoPictureError("it has no still picture")
        raise ValueError("its header is missing")
    meta = tops[b"meta"]
    parts = {kind: (start, end) for kind, start, end in boxes(content, meta[0] + 4, meta[1])}
    found.idat, found.listed = parts.get(b"idat", (0, 0)), parts.get(b"iinf", (0, 0))
    start, _ = parts.get(b"pitm", (0, 0))
    found.primary = _number(content, start + 4, 4 if content[start] else 2)
    for name, read in ((b"iinf", _read_items), (b"iloc", _read_places), (b"iref", _read_references)):
        if name in parts:
            read(found, content, *parts[name])
    if b"iprp" in parts:
        _read_properties(found, content, *parts[b"iprp"])
    if found.primary not in found.items:
        raise ValueError("its main picture is missing")
    return found


def _read_items(found: _Parsed, content: bytes, start: int, end: int) -> None:
    for kind, place, stop in boxes(content, start + (8 if content[start] else 6), end):
        if kind != b"infe" or content[place] not in (2, 3):
            continue
        wide = 4 if content[place] == 3 else 2
        number, at = _number(content, place + 4, wide), place + 4 + wide + 2
        texts = content[at + 4 : stop].split(b"\0")
        item = found.items.setdefault(number, _Item())
        item.kind, item.hidden = content[at : at + 4], bool(content[place + 3] & 1)
        item.content_type = texts[1] if len(texts) > 1 else b""


def _read_places(found: _Parsed, content: bytes, start: int, end: int) -> None:
    version, sizes = content[start], _number(content, start + 4, 2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    if version == 0:
        index_size = 0
    wide = 4 if version == 2 else 2
    count, at = _number(content, start + 6, wide), start + 6 + wide
    for _ in range(count):
        number, at = _number(content, at, wide), at + wide
        method = 0
        if version:
            method, at = _number(content, at, 2) & 15, at + 2
        base, at = _number(content, at + 2, base_size), at + 2 + base_size
        extents, at = _number(content, at, 2), at + 2
        if at > end or extents * (offset_size + length_size) > end - at:
            raise ValueError("the places of its items are cut off")
        item = found.items.setdefault(number, _Item())
        item.method = method
        for _ in range(extents):
            at += index_size
            offset = base + _number(content, at, offset_size)
            item.extents.append((offset, _number(content, at + offset_size, length_size)))
            at += offset_size + length_size


def _read_references(found: _Parsed, content: bytes, start: int, end: int) -> None:
    wide = 4 if content[start] else 2
    for kind, place, stop in boxes(content, start + 4, end):
        count = _number(content, place + wide, 2)
        if place + wide + 2 + count * wide > stop:
            raise ValueError("a reference is cut off")
        ends = tuple(_number(content, place + wide + 2 + wide * n, wide) for n in range(count))
        found.references.append((kind, _number(content, place, wide), ends))


def _read_properties(found: _Parsed, content: bytes, start: int, end: int) -> None:
    kinds: list[tuple[bytes, bytes]] = []
    for kind, place, stop in boxes(content, start, end):
        if kind == b"ipco":
            kinds = [(name, content[first:last]) for name, first, last in boxes(content, place, stop)]
        elif kind == b"ipma":
            wide, long = (4 if content[place] else 2), content[place + 3] & 1
            count, at = _number(content, place + 4, 4), place + 8
            for _ in range(count):
                number, links, at = _number(content, at, wide), _number(content, at + wide, 1), at + wide + 1
                if at + links * (1 + long) > stop:
                    raise ValueError("the properties of its items are cut off")
                for _ in range(links):
                    index = _number(content, at, 1 + long) & (0x7FFF if long else 0x7F)
                    at += 1 + long
                    if 0 < index <= len(kinds) and number in found.items:
                        found.items[number].properties.append(kinds[index - 1])


def _data_of(found: _Parsed, content: bytes, number: int) -> bytes:
    item = found.items[number]
    start, end = found.idat if item.method == 1 else (0, len(content))
    if item.method > 1 or sum(length for _, length in item.extents) > len(content):
        return b""
    return b"".join(
        content[start + at : min(end, start + at + length) if length else end] for at, length in item.extents
    )


def header_of(content: bytes) -> Header:
    """The header of a file's picture.

    Raises:
        ValueError, struct.error, IndexError: it is damaged, or has no still picture.
    """
    return _header_of(_parsed(content))


def _header_of(found: _Parsed) -> Header:
    size = found.property(found.primary, b"ispe")
    width, height = struct.unpack_from(">II", size, 4)
    # A picture of tiles has the coding of its tiles, which may have tiles themselves.
    part, seen = found.primary, {found.primary}
    while below := [number for number in found.targets(b"dimg", part) if number not in seen]:
        part = below[0]
        seen.add(part)
    bits, grey = 8, False
    if hevc := found.property(part, b"hvcC"):
        bits, grey = (hevc[17] & 7) + 8, hevc[16] & 3 == 0
    elif av1 := found.property(part, b"av1C"):
        bits, grey = 8 + (av1[2] >> 6 & 1) * (2 + 2 * (av1[2] >> 5 & 1)), bool(av1[2] >> 4 & 1)
    elif channels := found.property(found.primary, b"pixi")[5:]:
        bits, grey = max(channels), len(channels) == 1
    nclx = _colours(found)[1]
    return Header(
        width=width,
        height=height,
        bits=bits,
        grey=grey,
        coding=found.items[part].kind if part in found.items else b"",
        cropped=bool(found.property(found.primary, b"clap")),
        transfer=struct.unpack_from(">H", nclx, 2)[0] if nclx else 0,
    )


def _colours(found: _Parsed) -> tuple[bytes, bytes]:
    """The ICC profile of the primary picture, and its coded colours; both may be empty."""
    profile, nclx = b"", b""
    for number in (found.primary, *found.targets(b"dimg", found.primary)[:1]):
        for kind, data in found.items[number].properties if number in found.items else ():
            if kind == b"colr" and data[:4] in (b"prof", b"rICC"):
                profile = profile or data[4:]
            elif kind == b"colr" and data[:4] == b"nclx" and len(data) >= 10:
                nclx = nclx or data[4:]
    return profile, nclx


def _orientation(found: _Parsed) -> int:
    angle, axis = found.property(found.primary, b"irot"), found.property(found.primary, b"imir")
    return _ORIENTATIONS[angle[0] & 3 if angle else 0, axis[0] & 1 if axis else None]


def read(content: bytes, kind: str) -> tuple[Header, Metadata]:
    """Header and metadata of a file of a kind, ``HEIC`` or ``AVIF``; raises as :func:`header_of` does.

    Colours that are specified by a code become an ICC profile, where they are not those of sRGB.
    """
    found = _parsed(content)
    header = _header_of(found)
    left_out = _others(found, content)
    held = dict[str, bytes]()
    for number, item in found.items.items():
        about = found.targets(b"cdsc", number)
        if about and found.primary not in about:
            continue
        if item.kind == b"Exif":
            data = _data_of(found, content, number)
            name, data = "exif", data[4 + int.from_bytes(data[:4], "big") :].removeprefix(b"Exif\0\0")
        elif item.kind == b"mime" and item.content_type == _XMP:
            name, data = "xmp", _data_of(found, content, number)
        else:
            continue
        if held.setdefault(name, data) != data:
            left_out.append("a second EXIF block" if name == "exif" else "a second XMP packet")
    profile, nclx = _colours(found)
    metadata = Metadata(
        kind=kind,
        exif=held.get("exif", b""),
        xmp=held.get("xmp", b""),
        icc_profile=profile or _profile_of(nclx),
        left_out=tuple(dict.fromkeys(left_out)),
        container=_orientation(found),
    )
    return header, metadata


def _profile_of(nclx: bytes) -> bytes:
    """The profile of coded colours; empty for sRGB's, and those that are not known."""
    if not nclx:
        return b""
    primaries, transfer = struct.unpack_from(">HH", nclx)
    exponent = GAMMAS.get(transfer)
    if exponent is None and (primaries == 1 or primaries not in PRIMARIES):
        return b""
    return profile_of(*PRIMARIES.get(primaries, PRIMARIES[1]), exponent)


def _others(found: _Parsed, content: bytes) -> list[str]:
    """Names of what there is beside the primary picture."""
    names = list[str]()
    tops = list(_tops(content))
    if any(kind == b"moov" for kind, _, _ in tops):
        names.append("further frames")
    if any(kind == b"uuid" and content[start : start + 16] == _CREDENTIALS for kind, start, _ in tops):
        names.append("content credentials")
    parts = {to for kind, _, ends in found.references if kind == b"dimg" for to in ends} - {found.primary}
    aside = {start for kind, start, _ in found.references if kind in (b"thmb", b"auxl")}
    for number, item in found.items.items():
        kind = found.property(number, b"auxC")[4:].partition(b"\0")[0].decode("latin-1")
        if number == found.primary or (kind in _ALPHA and found.primary in found.targets(b"auxl", number)):
            continue
        if found.targets(b"thmb", number):
            if found.primary in found.targets(b"thmb", number):
                names.append("the thumbnail")
        elif item.kind == b"tmap" or "hdrgainmap" in kind:
            names.append("the gain map")
        elif kind in _DEPTH:
            names.append("the depth map")
        elif kind and kind not in _ALPHA:
            names.append(f"an auxiliary picture ({kind.rpartition(':')[2]})")
        elif item.kind in CODED and number not in parts | aside and not item.hidden:
            names.append("further pictures of the file")
        elif item.kind == b"uri " or (item.kind == b"mime" and item.content_type != _XMP):
            names.append(f"metadata of another kind ({(item.content_type or b'URI').decode('latin-1')[:60]})")
    return names


def without_exif(content: bytes) -> bytes:
    """A file whose EXIF block readers do not find, so that damage in it does not matter."""
    start, end = _parsed(content).listed
    return content[:start] + content[start:end].replace(b"Exif", b"free") + content[end:]


def _box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I4s", len(data) + 8, kind) + data


def with_metadata(encoded: bytes, metadata: Metadata) -> bytes:
    """An encoded file, as the encoders write it, with the EXIF block and the XMP packet, byte for byte."""
    added = [(b"Exif", b"\0", bytes(4) + metadata.exif)] if metadata.exif else []
    added += [(b"mime", b"\0" + _XMP + b"\0", metadata.xmp)] if metadata.xmp else []
    if not added:
        return encoded
    found = _parsed(encoded)
    tops = list(boxes(encoded, 0, len(encoded)))
    _, start, end = next(box for box in tops if box[0] == b"meta")
    inner = [(kind, encoded[first:last]) for kind, first, last in boxes(encoded, start + 4, end)]
    numbers = range(max(found.items) + 1, max(found.items) + 1 + len(added))
    entries = [
        _box(b"infe", b"\2\0\0\0", struct.pack(">HH", number, 0), kind, rest)
        for number, (kind, rest, _) in zip(numbers, added, strict=True)
    ]
    links = [_box(b"cdsc", struct.pack(">HHH", number, 1, found.primary)) for number in numbers]
    references = next((data for kind, data in inner if kind == b"iref"), bytes(4))
    items = next(data for kind, data in inner if kind == b"iinf")
    count = len(found.items) + len(added)
    changed = {
        b"iinf": _box(b"iinf", bytes(4), struct.pack(">H", count), items[8 if items[0] else 6 :], *entries),
        b"iref": _box(b"iref", references, *links),
    }
    kept = [changed.get(kind) or _box(kind, data) for kind, data in inner if kind not in (b"iloc", b"iref")]
    head, rest = encoded[: start - 8], encoded[end:]

    def whole(shift: int) -> bytes:
        place = len(encoded) + shift + 8
        places = [_place(number, _moved(item, shift, end)) for number, item in found.items.items()]
        for number, (_, _, data) in zip(numbers, added, strict=True):
            places.append(_place(number, _Item(extents=[(place, len(data))])))
            place += len(data)
        iloc = _box(b"iloc", b"\1\0\0\0\x44\0", struct.pack(">H", len(places)), *places)
        meta = _box(b"meta", bytes(4), *kept, changed[b"iref"], iloc)
        return head + meta + rest + _box(b"mdat", *(data for _, _, data in added))

    tail = 8 + sum(len(data) for _, _, data in added)
    return whole(len(whole(0)) - tail - len(encoded))


def _moved(item: _Item, shift: int, end: int) -> _Item:
    """An item whose content, where it lies beyond ``end`` in the file, has moved by ``shift``."""
    if item.method:
        return item
    return replace(item, extents=[(at + shift if at >= end else at, length) for at, length in item.extents])


def _place(number: int, item: _Item) -> bytes:
    extents = b"".join(struct.pack(">II", *extent) for extent in item.extents)
    return struct.pack(">HHHH", number, item.method, 0, len(item.extents)) + extents
