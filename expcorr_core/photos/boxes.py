"""Boxes of the ISO base media file format, in which HEIC, AVIF, JPEG XL, CR3 and appended videos are stored."""

from __future__ import annotations

import struct
from collections.abc import Iterator


def boxes(content: bytes, start: int, end: int, *, cut: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each box.

    Args:
        content: the file.
        start, end: the part of it that the boxes fill.
        cut: it may be cut off: the last box ends where the part does, and one without a valid length ends the walk.

    Raises:
        ValueError: a box does not fit, and nothing may be cut off.
    """
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", content, start)
        head = 8
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack_from(">Q", content, start + 8)
            head = 16
        stop = start + size if size else end
        if stop < start + head or (stop > end and not cut):
            if cut:
                return
            raise ValueError(f"the box {kind.decode('latin-1')!r} is cut off")
        yield kind, start + head, min(stop, end)
        start = stop
