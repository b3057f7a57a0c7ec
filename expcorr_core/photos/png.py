"""PNG files as chunks: their metadata."""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from .iptc import resource
from .metadata import Metadata, Own

SIGNATURE = b"\x89PNG\r\n\x1a\n"
METRE = 0.0254  # of an inch
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_XMP = b"XML:com.adobe.xmp"
_FRAMES = (b"acTL", b"fcTL", b"fdAT")
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_COLOURS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"sBIT")
_SHAPES = (b"oFFs", b"pCAL", b"sCAL", b"sTER", b"bKGD")  # refer to a position or an axis of the picture
_REASONS = {
    b"tIME": "the time of the last change",
    b"caBX": "content credentials",
    b"dSIG": "the signature",
    b"hIST": "the palette's histogram",
    b"sPLT": "a suggested palette",
}
_STRUCTURE = (b"iDOT",)  # of the compressed pixels
_MOST_TEXT = 2**26  # most bytes of a text or a profile
_PROFILES = {"exif": "exif", "APP1": "app1", "xmp": "xmp", "iptc": "photoshop", "8bim": "photoshop"}
PQ, HLG, LINEAR = 16, 18, 8  # transfer characteristics of ITU-T H.273
GAMMAS = {4: 2.2, 5: 2.8, LINEAR: 1.0}


@dataclass(frozen=True)
class Chunk:
    """A chunk; ``sound``: whether its checksum is correct."""

    kind: bytes
    data: bytes
    sound: bool


def chunks_of(content: bytes) -> Iterator[tuple[Chunk, int]]:
    """The chunks of a file, each with its end offset, up to where the file is cut off."""
    place = len(SIGNATURE)
    while place + 12 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        end = place + 12 + size
        if end > len(content):
            return
        if kind in _PIXELS:
            data, sound = b"", True  # the decoder looks at these
        else:
            data = content[place + 8 : end - 4]
            sound = zlib.crc32(kind + data) == struct.unpack_from(">I", content, end - 4)[0]
        yield Chunk(kind, data, sound), end
        place = end


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _inflated(data: bytes) -> bytes:
    """Raises zlib.error if it is damaged or too long."""
    inflater = zlib.decompressobj()
    result = inflater.decompress(data, _MOST_TEXT)
    if not inflater.eof:
        raise zlib.error("cut off or too long")
    return result


def _text_of(kind: bytes, data: bytes) -> tuple[str, bytes]:
    """Keyword and text; ValueError, zlib.error or IndexError if it is damaged."""
    keyword, _, rest = data.partition(b"\0")
    name = keyword.decode("latin-1")
    if kind == b"tEXt":
        return name, rest
    if kind == b"zTXt":
        return name, _inflated(rest[1:])
    compressed = rest[0]
    text = rest[2:].split(b"\0", 2)[2]
    return name, _inflated(text) if compressed else text


def _raw_profile(text: bytes) -> bytes:
    """The bytes of a profile that ImageMagick wrote as hexadecimal digits."""
    *_, length, digits = text.lstrip(b"\n").split(b"\n", 2)
    return bytes.fromhex(digits.decode("ascii"))[: int(length)]


class _Reading:
    """Collects the metadata from the chunks of a file."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}
        self.comments: list[bytes] = []
        self.resolution: tuple[float, float] | None = None
        self.own: list[Own] = []
        self.left_out: list[str] = []

    def take(self, part: Chunk, late: bool) -> None:
        kind, data = part.kind, part.data
        name = kind.decode("latin-1")
        if not part.sound:
            self.left_out.append(f"a damaged chunk ({name})")
        elif kind == b"iCCP":
            self._take_profile(data)
        elif kind == b"eXIf":
            self._find("exif", data.removeprefix(b"Exif\0\0"), "a second EXIF block")
        elif kind in _TEXTS:
            self._take_text(part, late)
        elif kind in _FRAMES:
            self.left_out.append("further frames")
        elif kind in _REASONS:
            self.left_out.append(_REASONS[kind])
        elif kind in _STRUCTURE:
            pass
        else:
            if kind == b"pHYs" and len(data) == 9 and data[8] == 1:
                across, down = struct.unpack_from(">II", data)
                if across and down:
                    self.resolution = (across * METRE, down * METRE)
            known = kind in (*_COLOURS, *_SHAPES, b"pHYs")
            # Lower case means that a chunk stays valid when the pixels change.
            if known or kind[3:4].islower():
                self.own.append(Own(f"PNG's {name}", kind, data, late, known))
            else:
                self.left_out.append(f"PNG's {name}, which applies only to the original pixels")

    def _find(self, field: str, data: bytes, second: str) -> None:
        if field in self.found and self.found[field] != data:
            self.left_out.append(second)
        self.found.setdefault(field, data)

    def _take_profile(self, data: bytes) -> None:
        try:
            profile = zlib.decompressobj().decompress(data.partition(b"\0")[2][1:], _MOST_TEXT)
            # Some writers omit the end of the compressed data.
            if len(profile) < max(132, int.from_bytes(profile[:4], "big")):
                raise ValueError("cut off")
            self.found["icc_profile"] = profile
        except (zlib.error, ValueError):
            self.left_out.append("the colour profile, which is damaged")

    def _take_text(self, part: Chunk, late: bool) -> None:
        try:
            keyword = part.data.partition(b"\0")[0].decode("latin-1")
            read = keyword == _XMP.decode() or keyword.lower() == "comment" or keyword.startswith("Raw profile type ")
            # Others are kept as they are: they may be of any length when unpacked.
            keyword, text = _text_of(part.kind, part.data) if read else (keyword[:79], part.data)
            if keyword == _XMP.decode():
                self._find("xmp", text, "a second XMP packet")
                return
            if keyword.startswith("Raw profile type ") and (field := _PROFILES.get(keyword[17:])):
                self._take_raw(field, _raw_profile(text))
                return
        except (ValueError, zlib.error, IndexError):
            keyword = part.data.partition(b"\0")[0].decode("latin-1")[:79]
            if keyword == _XMP.decode():
                self.left_out.append("XMP, which is damaged")
                return
            text = b""
        if keyword.lower() == "comment":
            self.comments.append(text if part.kind == b"iTXt" else text.decode("latin-1").encode())
        unread = keyword.startswith("Raw profile") or b"<rdf:RDF" in text or not text
        self.own.append(Own(f"the text {keyword!r}", part.kind, part.data, late, checked=not unread))

    def _take_raw(self, field: str, data: bytes) -> None:
        if field == "app1":  # EXIF or XMP
            field = "xmp" if data.startswith(b"http:") else "exif"
            data = data.partition(b"\0")[2] if field == "xmp" else data
        if field == "exif":
            data = data.removeprefix(b"Exif\0\0")
        if field == "photoshop":
            data = data.removeprefix(b"Photoshop 3.0\0")
            if data[:1] == b"\x1c":
                data = resource(1028, data)
        self._find(field, data, "a second EXIF block" if field == "exif" else "a second XMP packet")


def read(content: bytes) -> tuple[Metadata, bytes]:
    """The metadata of a file, and the file without them."""
    found, kept, end = _Reading(), [SIGNATURE], len(SIGNATURE)
    late = False
    for part, following in chunks_of(content):
        if part.kind in _PIXELS:
            kept.append(
                _for_pillow(content[end:following], content) if part.kind == b"tRNS" else content[end:following]
            )
            late |= part.kind == b"IDAT"
        else:
            found.take(part, late)
        end = following
        if part.kind == b"IEND":
            break
    else:
        kept.append(content[end:])  # so that the decoder finds that it is cut off
        end = len(content)
    if content[end:].strip(b"\0\r\n "):
        found.left_out.append("data after the picture")
    depth, colours = _header(content)
    if colours == 3 or any(part.startswith(b"tRNS", 4) for part in kept) or depth < 8:  # the result has others
        gone = [own for own in found.own if own.mark in (b"sBIT", b"bKGD")]
        found.own = [own for own in found.own if own not in gone]
        found.left_out += [f"{own.name}, since the channels have changed" for own in gone]
    metadata = Metadata(
        kind="PNG",
        **found.found,  # type: ignore[arg-type]
        comments=tuple(found.comments),
        resolution=found.resolution,
        own=tuple(found.own),
        left_out=tuple(dict.fromkeys(found.left_out)),
    )
    return metadata, b"".join(kept)


def _header(content: bytes) -> tuple[int, int]:
    """Bits per sample, and colour type."""
    depth, colours = content[24:26].ljust(2, b"\0")
    return depth, colours


def _for_pillow(transparency: bytes, content: bytes) -> bytes:
    """Scale a transparent grey of 2 or 4 bits: Pillow compares it with pixels that it has converted to 8 bits."""
    depth, colours = _header(content)
    if colours or depth not in (2, 4) or len(transparency) != 14:
        return transparency
    (value,) = struct.unpack_from(">H", transparency, 8)
    return chunk(b"tRNS", struct.pack(">H", (value & (1 << depth) - 1) * (255 // ((1 << depth) - 1))))


def transfer_of(metadata: Metadata) -> tuple[int, float | None]:
    """The file's transfer function, apart from a colour profile.

    Returns:
        The transfer characteristic of ITU-T H.273 that the file specifies (0: none), and the exponent from its values
        to light (None: sRGB's curve).
    """
    chunks = {own.mark: own.data for own in metadata.own}
    if len(cicp := chunks.get(b"cICP", b"")) == 4:
        return cicp[1], GAMMAS.get(cicp[1])
    if b"sRGB" in chunks or metadata.icc_profile or len(chunks.get(b"gAMA", b"")) != 4:
        return 0, None
    (gamma,) = struct.unpack(">I", chunks[b"gAMA"])
    exponent = 100_000 / gamma if gamma else 2.2
    return 0, None if math.isclose(exponent, 2.2, rel_tol=0.05) or not 0.1 < exponent < 10 else exponent


def narrow(metadata: Metadata) -> bool:
    """Whether the file specifies narrow range, 16 to 235."""
    return any(own.mark == b"cICP" and own.data[3:4] == b"\0" for own in metadata.own)


def _itxt(text: bytes) -> bytes:
    return chunk(b"iTXt", _XMP + b"\0\0\0\0\0" + text)


def _comment(text: bytes) -> bytes:
    """A comment as a Latin-1 text chunk, or as UTF-8 where it is that."""
    try:
        plain = text.decode("utf-8").isascii()
    except UnicodeDecodeError:
        plain = True
    return chunk(b"tEXt", b"Comment\0" + text) if plain else chunk(b"iTXt", b"Comment\0\0\0\0\0" + text)


def _raw(name: str, data: bytes) -> bytes:
    digits = re.sub(r"(.{72})", r"\1\n", data.hex())
    text = f"\n{name}\n{len(data):8d}\n{digits}\n".encode()
    return chunk(b"zTXt", f"Raw profile type {name}".encode() + b"\0\0" + zlib.compress(text))


def write(encoded: bytes, metadata: Metadata) -> bytes:
    """An encoded picture with its metadata."""
    early, late = list[bytes](), list[bytes]()
    if metadata.icc_profile:
        early.append(chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc_profile)))
    if metadata.resolution and not any(own.mark == b"pHYs" for own in metadata.own):
        across, down = (round(value / METRE) for value in metadata.resolution)
        if max(across, down) < 2**31:
            early.append(chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    if metadata.exif:
        early.append(chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        early.append(_itxt(metadata.xmp))
    if metadata.photoshop:
        early.append(_raw("iptc", metadata.photoshop))
    if metadata.kind != "PNG":
        early += [_comment(comment.replace(b"\0", b"")) for comment in metadata.comments]
    for own in metadata.own:
        (late if own.late else early).append(chunk(own.mark, own.data))
    end = encoded.rindex(b"IEND") - 4
    head = len(SIGNATURE) + 25  # including IHDR
    return b"".join((encoded[:head], *early, encoded[head:end], *late, encoded[end:]))
