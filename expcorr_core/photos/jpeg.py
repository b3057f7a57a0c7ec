"""JPEG files as segments: their metadata."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import appended
from .directories import ExifError
from .exif import shortened
from .gain_map import ISO, GainMap, GainMapError
from .metadata import Metadata, Own
from .xmp import guid, joined, split

_JFIF, _JFXX, _EXIF, _ICC = b"JFIF\0", b"JFXX\0", b"Exif\0\0", b"ICC_PROFILE\0"
_XMP, _EXTENDED = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_PHOTOSHOP, _ADOBE = b"Photoshop 3.0\0", b"Adobe"
_DIRECTORY, _MAP = "the directory of further pictures", "the gain map"
# Segments that describe the original pixels, with their names.
_OF_THE_PIXELS = {
    _JFXX: "the thumbnail",
    appended.MPF: _DIRECTORY,
    ISO[:-1]: _MAP,
    b"JP": "content credentials",
    b"HDR_RI": _MAP,
}
_APP0, _APP1, _APP2, _APP13, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF, 0xFE
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)  # markers of pictures
_SOI, _EOI, _SOS = b"\xff\xd8", 0xD9, 0xDA
_MOST_PICTURES = 16  # that are looked at
_MOST = 65_533  # bytes in a segment
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xda-\xfe]")
_NEXT = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # in compressed pixels, a marker
UNITS = {1: 1.0, 2: 2.54}  # JFIF's: pixels per inch, per centimetre


@dataclass(frozen=True)
class Segments:
    """A JPEG file.

    Attributes:
        places: marker, start and end of each segment before the pixels.
        pixels: where they begin, with their own segment.
        trailer: what follows the picture.
    """

    places: Sequence[tuple[int, int, int]]
    pixels: int
    trailer: bytes


def _segments_of(content: bytes) -> Segments:
    """Raises struct.error if the file is cut off before its pixels."""
    places, place = list[tuple[int, int, int]](), 2
    while found := _MARKER.search(content, place):  # there may be useless bytes before it
        place, marker = found.start(), content[found.start() + 1]
        if marker == _SOS:
            break
        (size,) = struct.unpack_from(">H", content, place + 2)
        places.append((marker, place, place + 2 + size))
        place += 2 + size
    return Segments(places, place, _trailer(content, place))


def _trailer(content: bytes, place: int) -> bytes:
    """What follows the end of the picture; empty if the end is missing."""
    while place + 4 <= len(content):
        marker = content[place + 1]
        if marker == _EOI:
            return content[place + 2 :]
        (size,) = struct.unpack_from(">H", content, place + 2)
        found = _NEXT.search(content, place + 2 + size) if content[place] == 0xFF else None
        if found is None:
            return b""
        place = found.start()
    return content[place + 2 :] if content[place : place + 2] == bytes((0xFF, _EOI)) else b""


def has_end(content: bytes) -> bool:
    """Whether the picture's end is there; struct.error if the file is cut off before its pixels."""
    found = _segments_of(content)
    end = bytes((0xFF, _EOI))
    return bool(found.trailer) or (content.endswith(end) and content.rfind(end) >= found.pixels > 2)


def read(content: bytes) -> tuple[Metadata, bytes]:
    """The metadata of a file, and the file without them but with all that decoding needs."""
    found = _segments_of(content)
    exif, xmp, extended, photoshop, profile = b"", b"", dict[bytes, dict[int, bytes]](), b"", dict[int, bytes]()
    comments, own, left_out = list[bytes](), list[Own](), list[str]()
    resolution, pieces = None, 0
    for marker, start, end in found.places:
        if not _is_metadata(marker):
            continue
        data = content[start + 4 : end]
        reason = next((name for mark, name in _OF_THE_PIXELS.items() if data.startswith(mark)), "")
        if marker == _APP0 and data.startswith(_JFIF) and len(data) >= 12:
            unit, across, down = struct.unpack_from(">BHH", data, 7)
            if across and down and unit in UNITS:
                resolution = (across * UNITS[unit], down * UNITS[unit])
            elif across != down:
                left_out.append("the aspect ratio of its pixels, which are not square")
        elif marker == _APP1 and data[:5] == _EXIF[:5] and data[6:8] in (b"II", b"MM", *([data[6:8]] if exif else [])):
            if exif and data[6:8] in (b"II", b"MM") and data[6:10] in (b"II*\0", b"MM\0*"):
                left_out.append("a second EXIF block")
            else:
                exif += data[6:]
        elif marker == _APP1 and data.startswith(_XMP):
            if xmp:
                left_out.append("a second XMP packet")
            xmp = xmp or data[len(_XMP) :]
        elif marker == _APP1 and data.startswith(_EXTENDED) and len(data) >= len(_EXTENDED) + 40:
            name, place = data[len(_EXTENDED) :][:32], struct.unpack_from(">I", data, len(_EXTENDED) + 36)[0]
            extended.setdefault(name, {})[place] = data[len(_EXTENDED) + 40 :]
        elif marker == _APP2 and data.startswith(_ICC) and len(data) >= 14:
            profile.setdefault(data[12], data[14:])
            pieces = data[13]
        elif marker == _APP13 and data.startswith(_PHOTOSHOP):
            photoshop += data[len(_PHOTOSHOP) :]
        elif marker == _COMMENT:
            comments.append(data)
        elif reason and marker in (_APP0, _APP2, 0xEB):
            left_out.append(reason)
        elif _APP0 <= marker <= _APP15 and not (marker == _APP14 and data.startswith(_ADOBE)):
            own.append(Own(_name(marker, data), bytes((marker,)), data))
    if len(profile) < pieces:
        profile.clear()
        left_out.append("the colour profile, of which a part is missing")
    gain_map, video = _appended(found.trailer, xmp, left_out)
    metadata = Metadata(
        kind="JPEG",
        exif=exif,
        xmp=xmp,
        extended_xmp=_whole(xmp, extended, left_out),
        photoshop=photoshop,
        icc_profile=b"".join(profile[number] for number in sorted(profile)),
        comments=tuple(comments),
        resolution=resolution,
        own=tuple(own),
        gain_map=gain_map,
        video=video,
        left_out=tuple(left_out),
    )
    return metadata, _SOI + _needed(content, found)


def refusal(content: bytes) -> str:
    """Why decoders may not be able to read a file, to follow its name in a message; empty if it is a usual one."""
    for marker, start, _ in _segments_of(content).places:
        if marker in (0xC3, 0xC7, 0xCB, 0xCF):
            return "is a lossless JPEG, which is not supported; convert it first"
        if marker in (0xC5, 0xC6, 0xCD, 0xCE):
            return "is a hierarchical JPEG, which is not supported; convert it first"
        if marker == 0xF7:
            return "is a JPEG-LS picture, which is not supported; convert it first"
        if marker in _FRAMES and content[start + 4 : start + 5] not in (b"\x08", b""):
            return f"is a JPEG of {content[start + 4]} bits per sample, which is not supported; convert it first"
    return ""


def _is_metadata(marker: int) -> bool:
    return _APP0 <= marker <= _APP15 or marker == _COMMENT


def _needed(content: bytes, found: Segments) -> bytes:
    """A file without metadata segments, except Adobe's and JFIF's, which the decoder needs for the colours."""
    parts = [
        content[start:end]
        for marker, start, end in found.places
        if not _is_metadata(marker) or content.startswith((_ADOBE, _JFIF), start + 4)
    ]
    return b"".join(parts) + content[found.pixels : len(content) - len(found.trailer)]


def _whole(xmp: bytes, extended: dict[bytes, dict[int, bytes]], left_out: list[str]) -> bytes:
    """The extended packet that the main one names."""
    for name, parts in extended.items():
        packet = b"".join(parts[place] for place in sorted(parts))
        ends = [place + len(parts[place]) for place in sorted(parts)]
        whole = [0, *ends[:-1]] == sorted(parts)
        if whole and name.upper() in xmp.upper():
            return packet
        left_out.append("extended XMP, which is damaged or belongs to no XMP")
    return b""


def _name(marker: int, data: bytes) -> str:
    text = re.match(rb"[ -~]{2,40}", data)
    return f"APP{marker - _APP0}" + (f" ({text[0].decode().strip()})" if text else "")


def _appended(trailer: bytes, xmp: bytes, left_out: list[str]) -> tuple[GainMap | None, appended.Video | None]:
    """The gain map and the video that follow a picture; ``left_out`` names what else does."""
    gain_map, others, rest = None, False, trailer
    for _ in range(_MOST_PICTURES):
        begins = rest.lstrip(appended.PADDING)
        if not begins.startswith(_SOI):
            break
        try:
            rest = _segments_of(begins).trailer
            picture = begins[: len(begins) - len(rest)]
            found = _gain_map_of(picture)
        except (struct.error, IndexError):  # cut off
            others, rest = True, b""
            break
        except GainMapError as error:
            left_out.append(f"{_MAP}, {error}")
            continue
        gain_map, others = gain_map or found, others or not found or bool(gain_map)
    if gain_map:
        kept = {_MAP} if others else {_MAP, _DIRECTORY}
        left_out[:] = [name for name in left_out if name not in kept]
    if others:
        left_out.append("further pictures of the file")
    video = appended.video_of(rest, xmp)
    rest = rest[len(video.content) :] if video else rest
    if rest.strip(appended.PADDING):
        left_out.append(_trailing(rest))
    return gain_map, video


def _gain_map_of(picture: bytes) -> GainMap | None:
    """The gain map that a further picture is, if it is one; GainMapError if it cannot be used."""
    metadata, values = read(picture)
    places = _segments_of(picture).places
    found = (picture[start + 4 : end] for marker, start, end in places if marker == _APP2)
    iso = next((data[len(ISO) :] for data in found if data.startswith(ISO)), b"")
    return GainMap.of(values, metadata.xmp, iso, metadata.icc_profile)


def _trailing(rest: bytes) -> str:
    if b"ftyp" in rest[:4096]:
        return "a video after the picture"
    return "further pictures of the file" if _SOI in rest else "data after the picture"


def write(encoded: bytes, metadata: Metadata) -> tuple[bytes, list[str]]:
    """An encoded picture with its metadata, and names of what does not fit."""
    left_out = list[str]()
    segments = list[tuple[int, bytes]]()
    exif, xmp, extended = metadata.exif, metadata.xmp, metadata.extended_xmp
    if exif:
        try:
            exif, gone = shortened(exif, _MOST - len(_EXIF))
            segments.append((_APP1, _EXIF + exif))
            left_out += gone
        except ExifError:
            left_out.append("EXIF, which is damaged")
    gain_map, video = metadata.gain_map, metadata.video
    mapped = _encoded_map(gain_map) if gain_map else b""
    listed = appended.listing(len(mapped) if gain_map and gain_map.in_xmp else None, video)
    if len(xmp) + 2 * len(listed) > _MOST - len(_XMP):  # joining repeats declarations
        xmp, extended = split((joined(xmp, extended) if extended else b"") or xmp)
    if listed:
        both = joined(xmp, listed, linked=bool(extended)) if xmp else listed
        if not both:
            left_out.append("XMP, which is damaged")
            extended = b""
        xmp = both or listed
    if xmp:
        segments.append((_APP1, _XMP + xmp))
        head = _EXTENDED + guid(extended).encode() + struct.pack(">I", len(extended))
        for place in range(0, len(extended), 65_000):
            segments.append((_APP1, head + struct.pack(">I", place) + extended[place : place + 65_000]))
    profile = _cut(metadata.icc_profile, _MOST - 14)
    if len(profile) < 256:
        segments += [(_APP2, _ICC + bytes((n, len(profile))) + part) for n, part in enumerate(profile, 1)]
    else:
        left_out.append("the colour profile, which is too long")
    segments += [(_APP13, _PHOTOSHOP + part) for part in _cut(metadata.photoshop, _MOST - len(_PHOTOSHOP))]
    segments += [(own.mark[0], own.data) for own in metadata.own]
    segments += [(_COMMENT, part) for comment in metadata.comments for part in _cut(comment, _MOST) or [b""]]
    head, rest = _dense(encoded, metadata.resolution)
    if gain_map and gain_map.in_iso:
        segments.append((_APP2, ISO + bytes(4)))  # versions; the rest is in the map's file
    parts = [head, *_encoded(segments)]
    if gain_map:
        place = sum(map(len, parts)) + 4
        parts += _encoded([(_APP2, appended.pictures(place, len(rest), len(mapped)))])
    return b"".join((*parts, rest, mapped, video.content if video else b"")), left_out


def _encoded_map(gain_map: GainMap) -> bytes:
    """The file of a gain map, with its metadata."""
    metadata = Metadata(
        xmp=gain_map.recipe.to_xmp() if gain_map.in_xmp else b"",
        icc_profile=gain_map.icc_profile,
        own=(Own("", bytes((_APP2,)), ISO + gain_map.recipe.to_iso()),) if gain_map.in_iso else (),
    )
    return write(gain_map.picture, metadata)[0]


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[place : place + size] for place in range(0, len(data), size)]


def _encoded(segments: Iterable[tuple[int, bytes]]) -> Iterable[bytes]:
    for marker, data in segments:
        yield struct.pack(">BBH", 0xFF, marker, len(data) + 2)
        yield data


def _dense(encoded: bytes, resolution: tuple[float, float] | None) -> tuple[bytes, bytes]:
    """A picture's beginning with the JFIF segment, which specifies the resolution, and the rest."""
    (size,) = struct.unpack_from(">H", encoded, 4)
    end = 4 + size if encoded[3] == _APP0 else 2
    head = bytearray(encoded[:end])
    if resolution:
        for unit in (1, 2) if all(value == int(value) for value in resolution) else (2, 1):
            values = [round(value / UNITS[unit]) for value in resolution]
            if all(abs(v * UNITS[unit] - value) < 0.01 for v, value in zip(values, resolution, strict=True)):
                break
        else:
            values, unit = [round(value) for value in resolution], 1
        if all(0 < value < 65536 for value in values):
            struct.pack_into(">BHH", head, 13, unit, *values)
    return bytes(head), encoded[end:]
