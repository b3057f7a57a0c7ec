"""Photoshop's image resources and the IPTC records among them, and removing some of them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import numpy as np

IPTC, THUMBNAILS = 1028, (1033, 1036)
_COPIES = (1058, 1059, 1060)  # of EXIF and XMP
_DIGEST = 1061  # of the IPTC records
# Of record 2: content location, town, part of it, state, country.
_PLACES = (26, 27, 90, 92, 95, 100, 101)
_MARKER = 0x1C


def _resources(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, values and all bytes of each resource, up to the first damaged one."""
    place = 0
    while place + 12 <= len(data):
        if data[place : place + 4] not in (b"8BIM", b"PHUT", b"DCSR", b"AgHg", b"MeSa"):
            return
        (number,) = struct.unpack_from(">H", data, place + 4)
        name = 1 + data[place + 6]
        at = place + 6 + name + name % 2
        if at + 4 > len(data):
            return
        (size,) = struct.unpack_from(">I", data, at)
        end = at + 4 + size
        if end > len(data):
            return
        yield number, data[at + 4 : end], data[place : end + size % 2]
        place = end + size % 2


def resource(number: int, values: bytes) -> bytes:
    """A resource without a name."""
    return b"8BIM" + struct.pack(">HHI", number, 0, len(values)) + values + bytes(len(values) % 2)


def records_of(resources: bytes) -> bytes:
    """The IPTC records among some resources; empty if there are none."""
    return next((values for number, values, _ in _resources(resources) if number == IPTC), b"")


def _changed(resources: bytes, change: Callable[[int, bytes], bytes]) -> bytes:
    """Resources, each with what ``change`` makes of its values; without those that become empty."""
    parts = []
    for number, values, whole in _resources(resources):
        new = change(number, values)
        if new == values:
            parts.append(whole)
        elif new:
            parts.append(resource(number, new))
    return b"".join(parts)


def without_thumbnails(resources: bytes) -> bytes:
    """Resources without thumbnails; unchanged if there are none."""
    if all(number not in THUMBNAILS for number, _, _ in _resources(resources)):
        return resources
    return _changed(resources, lambda number, values: b"" if number in THUMBNAILS else values)


def without_parts_of_the_picture(resources: bytes) -> bytes:
    """Resources without paths, guides and resolution, which no longer apply to a rotated picture."""
    gone = (1005, 1032, *range(2000, 2998))
    if all(number not in gone for number, _, _ in _resources(resources)):
        return resources
    return _changed(resources, lambda number, values: b"" if number in gone else values)


def without_copies(resources: bytes) -> bytes:
    """Resources without copies of EXIF and XMP; unchanged if there are none."""
    if all(number not in _COPIES for number, _, _ in _resources(resources)):
        return resources
    return _changed(resources, lambda number, values: b"" if number in _COPIES else values)


def without_places(resources: bytes) -> bytes:
    """Resources that do not reveal where the photo was taken."""

    def change(number: int, values: bytes) -> bytes:
        if number in (*_COPIES, _DIGEST):
            return b""
        return records_without_places(values) if number == IPTC else values

    return _changed(resources, change)


def records_without_places(records: bytes) -> bytes:
    """IPTC records that do not reveal where the photo was taken, up to the first damaged one."""
    if records[3:4] == bytes((_MARKER,)) and records[:1] != records[3:4]:  # some programs swap the bytes of words
        swapped = np.frombuffer(records[: len(records) // 4 * 4], np.uint32).byteswap().tobytes()
        return np.frombuffer(_padded(records_without_places(swapped)), np.uint32).byteswap().tobytes()
    parts, place = [], 0
    while place + 5 <= len(records) and records[place] == _MARKER:
        record, number, size = struct.unpack_from(">BBH", records, place + 1)
        start = place + 5
        if size & 0x8000:  # the size of the length field
            width = size & 0x7FFF
            size, start = int.from_bytes(records[start : start + width], "big"), start + width
        end = start + size
        if end > len(records):
            break
        if record != 2 or number not in _PLACES:
            parts.append(records[place:end])
        place = end
    return b"".join(parts)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
