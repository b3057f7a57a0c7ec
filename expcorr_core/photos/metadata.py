"""A photo's metadata, whatever the file format, and how they change with the pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property

from . import iptc, xmp
from .appended import Video
from .directories import Block, ExifError
from .exif import (
    IPTC,
    MAKER_NOTE,
    NAMES,
    PHOTOSHOP,
    XMP,
    has_maker_notes,
    has_private,
    is_adobe_rgb,
    resolution_of,
    turned_upright,
    without_places,
    without_subject,
)
from .gain_map import GainMap
from .icc import ADOBE_RGB

# Parts of the names of texts that reveal a location.
_PLACES = ("gps", "location", "latitude", "longitude", "city", "country", "place", "geo")
_COLOURS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")  # PNG's chunks on the colour space
_SHAPES = (b"oFFs", b"sTER")  # PNG's chunks on positions and stereo sides


@dataclass(frozen=True)
class Own:
    """Metadata that only their own format can hold, byte for byte.

    Attributes:
        name: for messages.
        mark: the format's own identifier.
        data: the content.
        late: whether it comes after the pixels.
        checked: whether it cannot reveal a location.
    """

    name: str
    mark: bytes
    data: bytes
    late: bool = False
    checked: bool = False


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """A photo's metadata.

    Attributes:
        kind: the format of the file; empty for new photos.
        exif: block, beginning like a TIFF file.
        icc_profile: colour profile.
        xmp, extended_xmp: packets; JPEG files have the second for what does not fit into the first.
        photoshop: image resources, including IPTC records.
        iptc: records that a TIFF file has outside image resources.
        comments: of JPEG and PNG files.
        resolution: pixels per inch, across and down.
        own: what only the file's own format can hold.
        gain_map: what makes an HDR photo of it.
        video: of a motion photo, appended to the file.
        left_out: names of what is not kept.
        container: orientation that a container specifies, which decoders apply and which counts instead of EXIF's; 0
            where there is no such thing.
    """

    kind: str = ""
    exif: bytes = b""
    icc_profile: bytes = b""
    xmp: bytes = b""
    extended_xmp: bytes = b""
    photoshop: bytes = b""
    iptc: bytes = b""
    comments: tuple[bytes, ...] = ()
    resolution: tuple[float, float] | None = None
    own: tuple[Own, ...] = ()
    gain_map: GainMap | None = None
    video: Video | None = None
    left_out: tuple[str, ...] = ()
    container: int = 0

    def without(self, *names: str) -> Metadata:
        """The same, with more names in ``left_out``."""
        return replace(self, left_out=tuple(dict.fromkeys((*self.left_out, *names))))

    @cached_property
    def orientation(self) -> int:
        """Orientation of the pixels in the file, 1 to 8 (1: upright), from the container, EXIF or else XMP."""
        if self.container:
            return self.container
        try:
            found = Block(self.exif).orientation if self.exif else 0
        except ExifError:
            found = 0
        return found or xmp.orientation(self.xmp) or xmp.orientation(self.extended_xmp) or 1

    @property
    def density(self) -> tuple[float, float] | None:
        """The resolution, from EXIF if nothing else specifies it."""
        if self.resolution or not self.exif:
            return self.resolution
        try:
            block = Block(self.exif)
            return resolution_of(block, block.directory(block.first))
        except ExifError:
            return None

    def with_space_of_exif(self) -> Metadata:
        """The same, with a profile where only EXIF tells that the colours are those of Adobe RGB."""
        if self.icc_profile or not self.exif or any(own.mark in _COLOURS for own in self.own):
            return self
        try:
            return replace(self, icc_profile=ADOBE_RGB) if is_adobe_rgb(self.exif) else self
        except ExifError:
            return self

    @property
    def _written_anew(self) -> tuple[str, ...]:
        """What is removed from XMP and written anew for the new file."""
        held = ("the gain map",) if self.gain_map else ()
        return (*held, "the directory of appended files") if self.gain_map or self.video else ()

    def of_upright(self) -> Metadata:
        """The metadata for pixels that were turned upright according to :attr:`orientation`, and changed."""
        orientation = self.orientation
        turned, sideways = orientation != 1, orientation > 4
        left_out = list[str]()
        packets = []
        for packet in (self.xmp, self.extended_xmp):
            changed, gone = xmp.of_upright(packet, turned, sideways) if packet else (b"", [])
            packets.append(changed)
            left_out += [name for name in gone if name not in self._written_anew]
        exif = self.exif
        if exif:
            try:
                exif = turned_upright(exif, sideways)
                rest = without_subject(exif) if turned else exif
                if rest != exif:
                    exif = rest
                    left_out.append("the position of the subject in the picture, which was rotated")
            except ExifError:
                exif = b""
                left_out.append("EXIF, which is damaged")
        photoshop = iptc.without_thumbnails(self.photoshop)
        if photoshop != self.photoshop:
            left_out.append("Photoshop's thumbnail")
        if turned:
            whole = iptc.without_parts_of_the_picture(photoshop)
            if whole != photoshop:
                left_out.append("paths and guides of the picture, which was rotated")
            photoshop = iptc.without_copies(whole)
        resolution = self.resolution[::-1] if self.resolution and sideways else self.resolution
        own = self.own
        if turned:
            left_out += [f"{part.name}, since the picture was rotated" for part in own if part.mark in _SHAPES]
            own = tuple(_turned(part, sideways) for part in own if part.mark not in _SHAPES)
        main, extended = _linked(packets[0], packets[1], self.extended_xmp)
        changed_all = replace(
            self,
            exif=exif,
            xmp=main,
            extended_xmp=extended,
            photoshop=photoshop,
            resolution=resolution,
            own=own,
            container=0,
        )
        return changed_all.without(*left_out)

    def without_places(self) -> Metadata:
        """All metadata except where the photo was taken."""
        left_out = list[str]()
        exif = self.exif
        if exif:
            try:
                if has_maker_notes(exif):
                    left_out.append(f"{NAMES[MAKER_NOTE]}, which may reveal the location")
                if has_private(exif):
                    left_out.append("private tags, which may reveal the location")
                changes = {
                    XMP: xmp.without_places,
                    IPTC: iptc.records_without_places,
                    PHOTOSHOP: iptc.without_places,
                }
                exif = without_places(exif, changes)
            except ExifError:
                exif = b""
                left_out.append("EXIF, which is damaged")
        checked = [own for own in self.own if own.checked and not _tells_place(own)]
        left_out += [f"{own.name}, which may reveal the location" for own in self.own if own not in checked]
        if self.video:
            left_out.append("the video after the picture, which may reveal the location")
        main, extended = (xmp.without_places(packet) if packet else b"" for packet in (self.xmp, self.extended_xmp))
        if (self.xmp and not main) or (self.extended_xmp and not extended):
            left_out.append("XMP, which may reveal the location")
        main, extended = _linked(main, extended, self.extended_xmp)
        records = iptc.records_without_places(self.iptc)
        if self.iptc and not records:
            left_out.append("IPTC records")
        kept = replace(
            self,
            exif=exif,
            xmp=main,
            extended_xmp=extended,
            photoshop=iptc.without_places(self.photoshop),
            iptc=records,
            own=tuple(checked),
            video=None,
        )
        return kept.without(*left_out)

    def only_pixels(self) -> Metadata:
        """Only the colour space, the gain map and the resolution."""
        colours = tuple(own for own in self.own if own.mark in (*_COLOURS, b"sBIT"))
        return Metadata(
            kind=self.kind,
            icc_profile=self.icc_profile,
            resolution=self.density,
            own=colours,
            gain_map=self.gain_map,
        )

    def kept(self, which: str) -> Metadata:
        """``all``, all except where the photo was taken (``no-gps``), or ``none`` except colours and resolution."""
        return {"all": self, "no-gps": self.without_places(), "none": self.only_pixels()}[which]


def _turned(own: Own, sideways: bool) -> Own:
    """PNG's resolution, with across and down exchanged."""
    swapped = own.mark == b"pHYs" and sideways
    return replace(own, data=own.data[4:8] + own.data[:4] + own.data[8:]) if swapped else own


def _tells_place(own: Own) -> bool:
    return any(place in own.name.lower() for place in _PLACES)


def _linked(main: bytes, extended: bytes, before: bytes) -> tuple[bytes, bytes]:
    """An XMP packet and the extended one, with the latter's checksum in the former updated if it changed."""
    if extended == before:
        return main, extended
    new = xmp.guid(extended).encode() if extended else b""
    return re.sub(rb"(HasExtendedXMP\W+)[0-9A-Fa-f]{32}", rb"\g<1>" + new, main), extended
