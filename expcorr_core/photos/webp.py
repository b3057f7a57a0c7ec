"""WebP files as chunks: their metadata."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .metadata import Metadata

_PIXELS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM")
_FIELDS = {b"EXIF": "exif", b"XMP ": "xmp", b"ICCP": "icc_profile"}


def _chunks_of(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each chunk."""
    place, end = 12, min(len(content), struct.unpack_from("<I", content, 4)[0] + 8)
    while place + 8 <= end:
        name, size = struct.unpack_from("<4sI", content, place)
        yield name, place + 8, min(end, place + 8 + size)
        place += 8 + size + size % 2


def has_end(content: bytes) -> bool:
    """Whether the file is as long as it says; struct.error if it is cut off before that."""
    return len(content) >= int(struct.unpack_from("<I", content, 4)[0]) + 8


def read(content: bytes) -> Metadata:
    """The metadata of a file."""
    found, left_out, frames = dict[str, bytes](), list[str](), 0
    for name, start, end in _chunks_of(content):
        if field := _FIELDS.get(name):
            if field in found:
                left_out.append(f"a second {name.decode().strip()}")
            found.setdefault(field, content[start:end])
        elif name == b"ANMF":
            frames += 1
        elif name not in _PIXELS:
            left_out.append(f"WebP's chunk {name.decode('latin-1').strip()}")
    if frames > 1:
        left_out.append("further frames")
    if "exif" in found:
        found["exif"] = found["exif"].removeprefix(b"Exif\0\0")
    if content[struct.unpack_from("<I", content, 4)[0] + 8 :].strip(b"\0\r\n "):
        left_out.append("data after the picture")
    return Metadata(kind="WEBP", left_out=tuple(dict.fromkeys(left_out)), **found)  # type: ignore[arg-type]


def is_lossless(content: bytes) -> bool:
    """Whether the pixels, or those of the first frame, are losslessly compressed."""
    for name, start, end in _chunks_of(content):
        if name == b"VP8L":
            return True
        if name == b"ANMF":
            return b"VP8L" in content[start : min(end, start + 24 + 8)]
        if name == b"VP8 ":
            return False
    return False
