"""Photo files with everything that files can contain, made from bytes."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"%s/></rdf:RDF></x:xmpmeta>'
)
AUTHOR = "Fotohaus M\u00fc\u00dfig".encode()
PICTURE = b"\xff\xd8\xff\xe0" + b"old picture " * 20 + b"\xff\xd9"  # where a thumbnail was
NOTE = b"MAKER\0\0\0" + struct.pack("<I", 0) + b"lens 34 mm, "


def gradient(height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    """Dark, and different in every channel."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack((x, 2 * y, (x + y) // 2), -1).astype(np.uint8)


def exif_block(order: str = "<", orientation: int = 1, comment: bytes = b"", thumbnail: bytes = PICTURE) -> bytes:
    """An EXIF block with text that is not ASCII, a position, a thumbnail, and maker notes that hold an address.

    The notes contain the position of their text in the block; the text is behind them.
    """
    parts = bytearray(8)

    def put(data: bytes) -> int:
        parts.extend(data + bytes(len(data) % 2))
        return len(parts) - len(data) - len(data) % 2

    def directory(entries: list[tuple[int, int, int, bytes]], following: int = 0) -> int:
        encoded = struct.pack(order + "H", len(entries))
        for tag, kind, count, data in sorted(entries):
            value = data if len(data) <= 4 else struct.pack(order + "I", put(data))
            encoded += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
        return put(encoded + struct.pack(order + "I", following))

    def short(value: int) -> bytes:
        return struct.pack(order + "H", value)

    note = put(bytes(8 + 4 + len(NOTE)))
    text = put(b"Canon EF 34mm")
    parts[note : note + 12] = NOTE[:8] + struct.pack(order + "I", text)
    pointer = struct.pack(order + "I", note)
    inner = [(37500, 7, 20, bytes(20)), (40962, 4, 1, struct.pack(order + "I", 96))]
    inner += [(40963, 4, 1, struct.pack(order + "I", 64))]
    if comment:
        inner.append((37510, 7, len(comment) + 8, b"ASCII\0\0\0" + comment))
    exif = directory(inner)
    at = bytes(parts).index(struct.pack(order + "HHI", 37500, 7, 20), exif)
    parts[at + 8 : at + 12] = pointer
    gps = directory([(1, 2, 2, b"N\0"), (2, 5, 3, struct.pack(order + "6I", 52, 1, 30, 1, 0, 1))])
    second = 0
    if thumbnail:
        place = struct.pack(order + "I", put(thumbnail))
        size = struct.pack(order + "I", len(thumbnail))
        second = directory([(259, 3, 1, short(6)), (513, 4, 1, place), (514, 4, 1, size)])
    first = directory(
        [
            (274, 3, 1, short(orientation)),
            (315, 2, len(AUTHOR) + 1, AUTHOR + b"\0"),
            (34665, 4, 1, struct.pack(order + "I", exif)),
            (34853, 4, 1, struct.pack(order + "I", gps)),
        ],
        second,
    )
    parts[:8] = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", first)
    return bytes(parts)


def iptc(city: bytes = b"") -> bytes:
    """Image resources: IPTC records, a thumbnail, and one with an unknown number."""
    records = b"".join(
        struct.pack(">BBBH", 0x1C, 2, number, len(value)) + value
        for number, value in ((25, b"night"), (25, b"harbour"), (120, "S\u00fcden".encode()), (90, city))
        if value
    )
    found = b""
    for number, data in ((1028, records), (1036, bytes(28) + PICTURE), (4242, b"odd")):
        found += b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + bytes(len(data) % 2)
    return found


def jpeg(path: Path, *segments: tuple[int, bytes], after: bytes = b"") -> Path:
    """A JPEG file with some segments (marker and content), and something after the picture."""
    file = io.BytesIO()
    Image.fromarray(gradient()).save(file, "JPEG", quality=95, subsampling=0)
    path.write_bytes(with_segments(file.getvalue(), *segments) + after)
    return path


ISO_URN = b"urn:iso:std:iso:ts:21496:-1\0"
CONTAINER = b' xmlns:Container="http://ns.google.com/photos/1.0/container/" xmlns:Item="http://ns.google.com/photos/1.0/container/item/"'
# Numbers of a gain map: lowest, highest, gamma, offset of SDR, offset of HDR, for each channel; capacities.
Gains = tuple[list[tuple[float, float, float, float, float]], tuple[float, float]]
GAINS: Gains = ([(0.0, 2.0, 1.0, 1 / 64, 1 / 64)], (0.0, 2.0))


def ultra_hdr(
    path: Path,
    values: NDArray[np.uint8] | None = None,
    gains: Gains = GAINS,
    *segments: tuple[int, bytes],
    pixels: NDArray[np.uint8] | None = None,
    forms: str = "xmp iso",
    after: bytes = b"",
    listed: bytes = b"",
    camera: bytes = b"",
) -> Path:
    """A JPEG file with a gain map, in Adobe's form (XMP), in ISO's, or in both.

    Args:
        path: the file.
        values: of the map; by default they rise from left to right.
        gains: what they mean.
        segments: further ones of the photo.
        pixels: of the photo.
        forms: which of ``xmp`` and ``iso`` to write.
        after: what follows the map.
        listed: further items of the container.
        camera: further attributes of the photo's XMP.
    """
    if values is None:
        values = np.tile(np.linspace(0, 255, 24, dtype=np.uint8), (16, 1))
    channels, capacity = gains
    parts = []
    if "xmp" in forms:
        held = b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
        held += b' hdrgm:HDRCapacityMin="%f" hdrgm:HDRCapacityMax="%f"' % capacity
        rows = list(zip(*channels, strict=True))
        names = (b"GainMapMin", b"GainMapMax", b"Gamma", b"OffsetSDR", b"OffsetHDR")
        lists = b""
        for name, row in zip(names, rows, strict=True):
            if len(row) == 1:
                held += b' hdrgm:%s="%f"' % (name, row[0])
            else:
                items = b"".join(b"<rdf:li>%f</rdf:li>" % value for value in row)
                lists += b"<hdrgm:%s><rdf:Seq>%s</rdf:Seq></hdrgm:%s>" % (name, items, name)
        packet = (XMP % held).replace(b"/></rdf:RDF>", b">" + lists + b"</rdf:Description></rdf:RDF>")
        parts.append((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet))
    if "iso" in forms:
        numbers = [*capacity, *(number for channel in channels for number in channel)]
        flags = 0x40 | 0x80 * (len(channels) == 3)
        fractions = b"".join(struct.pack(">iI", round(number * 2**20), 2**20) for number in numbers)
        parts.append((0xE2, ISO_URN + struct.pack(">HHB", 0, 0, flags) + fractions))
    appended = with_segments(encoded_jpeg(values), *parts)
    if "xmp" in forms or listed:
        items = container_item(b"Primary", b"image/jpeg", 0) + container_item(b"GainMap", b"image/jpeg", len(appended))
        held = b' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"' + CONTAINER + camera
        directory = (
            b"><Container:Directory><rdf:Seq>" + items + b"</rdf:Seq></Container:Directory></rdf:Description></rdf:RDF>"
        )
        packet = (XMP % held).replace(b"/></rdf:RDF>", directory)
        segments = (*segments, (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet))
    if "iso" in forms:
        segments = (*segments, (0xE2, ISO_URN + bytes(4)))
    photo = with_segments(encoded_jpeg(gradient() if pixels is None else pixels), *segments)
    at = photo.index(b"\xff\xdb\0\x43")  # where the pixels' segments begin
    size = len(photo) + 90
    directory = struct.pack("<HHHI4sHHII", 3, 0xB000, 7, 4, b"0100", 0xB001, 4, 1, 2)
    directory += struct.pack("<HHIII", 0xB002, 7, 32, 50, 0)
    directory += struct.pack("<IIIIIII4x", 0x20030000, size, 0, 0, 0, len(appended), size - at - 8)
    listing = b"MPF\0II*\0" + struct.pack("<I", 8) + directory
    photo = photo[:at] + struct.pack(">BBH", 0xFF, 0xE2, len(listing) + 2) + listing + photo[at:]
    assert len(photo) == size
    path.write_bytes(photo + appended + after)
    return path


def container_item(name: bytes, kind: bytes, size: int) -> bytes:
    """An item of Google's directory of appended files."""
    described = b'<Container:Item Item:Semantic="%s" Item:Mime="%s" Item:Length="%d"/>' % (name, kind, size)
    return b'<rdf:li rdf:parseType="Resource">%s</rdf:li>' % described


def encoded_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=98, subsampling=0)
    return file.getvalue()


def with_segments(data: bytes, *segments: tuple[int, bytes]) -> bytes:
    held = b"".join(struct.pack(">BBH", 0xFF, marker, len(part) + 2) + part for marker, part in segments)
    return data[:2] + held + data[2:]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path: Path, before: bytes = b"", after: bytes = b"", pixels: NDArray[np.generic] | None = None) -> Path:
    """A PNG file, 8 or 16 bits, with some chunks before and after its pixels."""
    values = gradient() if pixels is None else pixels
    depth = 8 * values.dtype.itemsize
    rows = b"".join(b"\0" + row.astype(values.dtype.newbyteorder(">")).tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows)) + after + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def tiff(
    path: Path, *tags: tuple[int, int, int, bytes], order: str = "<", big: bool = False, following: int = 0
) -> Path:
    """An uncompressed TIFF or BigTIFF file of 8 bits with some tags (number, type, count, values)."""
    pixels = gradient()
    start = 16 if big else 8
    word, count = ("Q", "Q") if big else ("I", "H")
    width = struct.calcsize(word)
    body = bytearray(pixels.tobytes())

    def short(*values: int) -> bytes:
        return struct.pack(f"{order}{len(values)}H", *values)

    entries = [
        (256, 3, 1, short(pixels.shape[1])),
        (257, 3, 1, short(pixels.shape[0])),
        (258, 3, 3, short(8, 8, 8)),
        (259, 3, 1, short(1)),
        (262, 3, 1, short(2)),
        (273, 4, 1, struct.pack(order + "I", start)),
        (277, 3, 1, short(3)),
        (278, 3, 1, short(pixels.shape[0])),
        (279, 4, 1, struct.pack(order + "I", len(body))),
        *tags,
    ]
    encoded = struct.pack(order + count, len(entries))
    for tag, kind, number, data in sorted(entries):
        value = data
        if len(data) > width:
            value = struct.pack(order + word, start + len(body))
            body += data + bytes(len(data) % 2)
        encoded += struct.pack(order + "HH" + word, tag, kind, number) + value.ljust(width, b"\0")
    place = start + len(body)
    mark = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    mark += struct.pack(order + "HHQ", 8, 0, place) if big else struct.pack(order + "I", place)
    path.write_bytes(mark + bytes(body) + encoded + struct.pack(order + word, following))
    return path
