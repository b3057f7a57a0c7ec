"""What JPEG files contain after their picture: gain maps, further pictures, and the video of a motion photo.

Two directories list it: that of CIPA's Multi-Picture Format, and Google's container in XMP. They are written anew,
since lengths change.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass

from . import xmp
from .boxes import boxes
from .gain_map import SPACE

MPF = b"MPF\0"
PADDING = b"\0\r\n "
_CAMERA, _CONTAINER = "http://ns.google.com/photos/1.0/camera/", "http://ns.google.com/photos/1.0/container/"
_SAMSUNG, _SAMSUNG_DIRECTORY = b"SEFT", b"SEFH"
_MOST_BLOCKS = 64
_PICTURES_BYTES = 86  # of a directory of two pictures


@dataclass(frozen=True)
class Video:
    """The video of a motion photo.

    Attributes:
        content: what is appended, byte for byte.
        start: where the video begins in it.
        properties: Google's XMP properties of it, with their values.
        listed: whether Google's container lists it.
    """

    content: bytes
    start: int = 0
    properties: tuple[tuple[str, str], ...] = ()
    listed: bool = False

    @property
    def length(self) -> int:
        """Bytes from the beginning of the video to the end of the file."""
        return len(self.content) - self.start


def video_of(content: bytes, packet: bytes) -> Video | None:
    """The video that follows the pictures; None if there is none.

    Args:
        content: all that follows them.
        packet: the photo's XMP.
    """
    start = _of_samsung(content)
    if start is None:
        start = max(0, content.find(b"ftyp") - 4)
        content = content[: _end_of_boxes(content, start)]
        if content[:start].strip(PADDING) or content[start + 4 : start + 8] != b"ftyp":
            return None
    found = xmp.properties(packet, _CAMERA)
    kept = {name: values[0] for name, values in found.items() if xmp.APPENDED.match(name) and _is_number(*values)}
    return Video(content, start, tuple(kept.items()), b"/container/" in packet)


def _is_number(*values: str) -> bool:
    return len(values) == 1 and len(values[0]) <= 20 and values[0].lstrip("-").isdecimal()


def _end_of_boxes(content: bytes, place: int) -> int:
    """Where the boxes of a video end that begin at a place."""
    with suppress(ValueError):
        for kind, _, stop in boxes(content, place, len(content)):
            if not kind.isalnum():
                break
            place = stop
    return place


def _of_samsung(content: bytes) -> int | None:
    """Where the video begins in blocks as Samsung appends them; None if there is none, or a picture among them."""
    if not content.endswith(_SAMSUNG) or len(content) < 20:
        return None
    (size,) = struct.unpack_from("<I", content, len(content) - 8)
    directory = len(content) - 8 - size
    if directory < 0 or content[directory : directory + 4] != _SAMSUNG_DIRECTORY or size < 12:
        return None
    (count,) = struct.unpack_from("<I", content, directory + 8)
    if count > _MOST_BLOCKS or 12 + 12 * count > size:
        return None
    start, first = None, directory
    for at in range(directory + 12, directory + 12 + 12 * count, 12):
        behind, length = struct.unpack_from("<II", content, at + 4)
        block = directory - behind
        if block < 0 or length < 8 or block + length > directory:
            return None
        first = min(first, block)
        (name,) = struct.unpack_from("<I", content, block + 4)
        data = block + 8 + name
        if content[data : data + 2] == b"\xff\xd8":
            return None
        if content[data + 4 : data + 8] == b"ftyp" and data + 8 <= block + length:
            start = data
    if content[:first].strip(PADDING):  # what no block contains could be anything
        return None
    return start


def listing(gain_map: int | None, video: Video | None) -> bytes:
    """An XMP packet that lists what is appended; empty if XMP need not list it.

    Args:
        gain_map: bytes of the gain map's file; None if XMP does not describe one.
        video: the video.
    """
    if gain_map is None and not (video and (video.properties or video.listed)):
        return b""
    items = [("Primary", "image/jpeg", "")]
    described = f'xmlns:Container="{_CONTAINER}" xmlns:Item="{_CONTAINER}item/"'
    if gain_map is not None:
        described += f' xmlns:hdrgm="{SPACE}" hdrgm:Version="1.0"'
        items.append(("GainMap", "image/jpeg", f' Item:Length="{gain_map}"'))
    if video:
        values = {**dict(video.properties), "MicroVideoOffset": str(video.length)}
        described += f' xmlns:GCamera="{_CAMERA}"'
        described += "".join(f' GCamera:{name}="{values[name]}"' for name, _ in video.properties)
        if video.listed:
            items.append(("MotionPhoto", "video/mp4", f' Item:Length="{video.length}"'))
    if len(items) == 1:
        return xmp.packet_of(described)
    listed = "".join(
        f'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{name}" Item:Mime="{kind}"{length}/></rdf:li>'
        for name, kind, length in items
    )
    return xmp.packet_of(described, f"<Container:Directory><rdf:Seq>{listed}</rdf:Seq></Container:Directory>")


def pictures(place: int, rest: int, second: int) -> bytes:
    """The content of a segment with the Multi-Picture Format's directory of two pictures, one right after the other.

    Args:
        place: where this content begins in the first picture.
        rest: bytes of the first picture that follow it.
        second: bytes of the second picture.
    """
    first = place + _PICTURES_BYTES + rest
    entries = struct.pack(">III4x", 0x030000, first, 0)
    entries += struct.pack(">III4x", 0, second, first - place - len(MPF))  # counted from the directory
    directory = struct.pack(">HHHI4s", 3, 0xB000, 7, 4, b"0100")
    directory += struct.pack(">HHII", 0xB001, 4, 1, 2) + struct.pack(">HHIII", 0xB002, 7, len(entries), 50, 0)
    return MPF + b"MM\0*" + struct.pack(">I", 8) + directory + entries
