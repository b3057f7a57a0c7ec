"""What is known of one photo of a shoot: a small copy, and what its EXIF says of when and how it was exposed."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..image.checks import check_image
from ..image.resize import resize
from ..photos.directories import ASCII, RATIONAL, Block, Directory, ExifError
from ..photos.exif import EXIF_DIRECTORY
from ..photos.metadata import Metadata

SIDE = 96  # of looks, pixels
_SIGNED_RATIONAL = 10
_MAKE, _MODEL = 271, 272
_EXPOSURE_TIME, _F_NUMBER, _BIAS = 33434, 33437, 37380
_SHUTTER, _APERTURE = 37377, 37378  # in stops, where the two above are missing
# ISO has 16 bits in the first; where it needs more, that is 65535 and one of the others holds it.
_ISO = (34855, 34867, 34866, 34865)
_ISO_IS_ELSEWHERE = 65535
# When the photo was taken, then when it was digitised: date and time, fraction of a second, offset from UTC.
_TIMES = ((36867, 37521, 36881), (36868, 37522, 36882))
_DATE = re.compile(r"(\d{4})[:\-/.](\d\d)[:\-/.](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What EXIF says; None where it does not.

    Attributes:
        taken: seconds since 1970 in UTC, or in the camera's own time where the offset is not specified.
        stops: the exposure, log2(seconds * ISO / f-number ** 2): higher is brighter. An unknown f-number counts as 1.
        bias: exposure compensation, stops.
        camera: make and model; empty if unknown.
    """

    taken: float | None = None
    stops: float | None = None
    bias: float | None = None
    camera: str = ""


class Marks(NamedTuple):
    """What photos are compared by, float16; see :class:`.likeness.Features`.

    Attributes:
        descriptors: of the whole photo, first, and its parts, unit vectors, ``(16, 72)``.
        field: gradient directions, ``(2, 16, 16)``.
        detail: fine detail, locally of unit variance, ``(1, SIDE, SIDE)``.
    """

    descriptors: NDArray[np.float16]
    field: NDArray[np.float16]
    detail: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shot(Facts):
    """A photo of a shoot, small.

    Attributes:
        look: display values of the whole photo, reduced without keeping its aspect ratio, uint8, ``(3, 96, 96)``.
        height, width: of the photo, upright, pixels.
        marks: what it is compared by; None where that was not found yet.
        lift: stops by which its own correction brightens it.
    """

    look: NDArray[np.uint8]
    height: int
    width: int
    marks: Marks | None = None
    lift: float = 0.0

    @classmethod
    def of(cls, image: Tensor, metadata: Metadata | None = None) -> Shot:
        """What is known of a photo.

        Args:
            image: upright display values, ``(1, 3, H, W)``, 0..1; reduced copies do if they have kept the aspect ratio.
            metadata: of its file.

        Raises:
            TypeError, ValueError: no such image.
        """
        check_image(image)
        facts = read_facts(metadata) if metadata else Facts()
        small = resize(image[:1], (SIDE, SIDE))[0].clamp(0, 1).mul(255).round().byte().cpu().numpy()
        height, width = image.shape[2:]
        return cls(look=small, height=height, width=width, **vars(facts))


def picture_of(look: NDArray[np.uint8]) -> Tensor:
    """A look, or a result of the same kind, as display values ``(1, 3, h, w)``, 0..1."""
    return torch.from_numpy(look)[None].float() / 255


def read_facts(metadata: Metadata) -> Facts:
    """What a photo's EXIF says of its exposure; what is missing or damaged is None."""
    try:
        block = Block(metadata.exif)
        first = block.directory(block.first)
    except ExifError:
        return Facts()
    # Raw files may have the tags of the EXIF directory in the first.
    places = [place for place in (block.below(first, EXIF_DIRECTORY), first) if place]
    names = (_text(block, [first], tag) for tag in (_MAKE, _MODEL))
    return Facts(
        taken=_taken(block, places),
        stops=_stops(block, places),
        bias=_number(block, places, _BIAS),
        camera=" ".join(name for name in names if name),
    )


def _text(block: Block, places: list[Directory], tag: int) -> str:
    for place in places:
        entry = place.entries.get(tag)
        if entry and entry.kind == ASCII:
            return block.values(entry).partition(b"\0")[0].decode("latin-1").strip()
    return ""


def _number(block: Block, places: list[Directory], tag: int) -> float | None:
    """The first value of a tag, if it is a finite number."""
    for place in places:
        entry = place.entries.get(tag)
        if entry is None:
            continue
        if entry.kind in (RATIONAL, _SIGNED_RATIONAL):
            kind = "II" if entry.kind == RATIONAL else "ii"
            above, below = struct.unpack(block.order + kind, block.values(entry)[:8])
            return above / below if below else None
        found = block.numbers(entry)
        return float(found[0]) if found else None
    return None


def _stops(block: Block, places: list[Directory]) -> float | None:
    seconds, f_number = (_number(block, places, tag) for tag in (_EXPOSURE_TIME, _F_NUMBER))
    shutter, aperture = (_number(block, places, tag) for tag in (_SHUTTER, _APERTURE))
    sensitivities = (_number(block, places, tag) for tag in _ISO)
    iso = next((value for value in sensitivities if value and value != _ISO_IS_ELSEWHERE), None)
    if not iso or iso < 0:
        return None
    time = math.log2(seconds) if seconds and seconds > 0 else None if shutter is None else -shutter
    # Lenses without contacts tell no aperture; they are taken for f/1, which is right for differences.
    opening = 2 * math.log2(f_number) if f_number and f_number > 0 else aperture or 0.0
    return None if time is None else time + math.log2(iso) - opening


def _taken(block: Block, places: list[Directory]) -> float | None:
    for date_tag, fraction_tag, offset_tag in _TIMES:
        date = _DATE.match(_text(block, places, date_tag))
        if not date:
            continue
        digits = re.match(r"\d+", _text(block, places, fraction_tag))
        offset = _OFFSET.match(_text(block, places, offset_tag))
        try:
            moment = datetime(*map(int, date.groups()), tzinfo=timezone.utc)  # type: ignore[arg-type,misc]
        except ValueError:  # such as the zeros of cameras whose clock is not set
            continue
        seconds = (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)).total_seconds()
        if offset:
            ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3])).total_seconds()
            seconds += ahead if offset[1] == "-" else -ahead
        return seconds + (float(f"0.{digits[0]}") if digits else 0.0)
    return None
