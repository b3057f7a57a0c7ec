"""XMP packets: removing some properties, and splitting packets too long for one segment of a JPEG file."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

LONGEST = 2**26  # bytes; longer packets are not parsed
_BEGIN = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_END = b'<?xpacket end="w"?>'
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_XMP, _NOTE = "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/xmp/note/"
_GAIN_MAPS = ("http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.apple.com/HDRGainMap/1.0/")
APPENDED = re.compile("MotionPhoto|MicroVideo|VideoLength")
_WGS84 = "http://www.w3.org/2003/01/geo/wgs84_pos#"
_SETTINGS = ("http://ns.adobe.com/camera-raw-settings/1.0/", "http://ns.adobe.com/camera-raw-defaults/1.0/")
_CREDENTIALS = ("http://purl.org/dc/terms/", "provenance")
# What refers to positions in the picture: regions with faces, depth maps.
_PLACED = (
    "http://www.metadataworkinggroup.com/schemas/regions/",
    "http://ns.microsoft.com/photo/1.2/",
    "http://ns.google.com/photos/1.0/depthmap/",
    "http://ns.google.com/photos/1.0/image/",
    "http://ns.google.com/photos/1.0/focus/",
)
# Names of properties that reveal where a photo was taken, in lower case: whole names, and parts of names.
_PLACES = frozenset(("state", "absolutealtitude", "relativealtitude", "coverage", "worldregion"))
_PLACE = re.compile(
    "gps|latitude|longt?itude|city|country|county|province|location|locality|address|^place|place$|placename|^geo"
)
_SWAPPED = {
    (_TIFF, "ImageWidth"): "ImageLength",
    (_TIFF, "ImageLength"): "ImageWidth",
    (_TIFF, "XResolution"): "YResolution",
    (_TIFF, "YResolution"): "XResolution",
    (_EXIF, "PixelXDimension"): "PixelYDimension",
    (_EXIF, "PixelYDimension"): "PixelXDimension",
}
_ORIENTATION = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]""")

# Descriptions of which nothing is left but declarations.
_EMPTY = re.compile(
    rb"""<(\w+):Description(?:\s+(?:xmlns(?::[\w.-]+)?|\1:about)\s*=\s*(?:"[^"]*"|'[^']*'))*\s*></\1:Description>"""
)
_NOTHING = re.compile(rb"<rdf:RDF[^<>]*>\s*</rdf:RDF>")

Unwanted = Callable[[str, str], bool]


def orientation(xmp: bytes) -> int:
    """The orientation in a packet, 1 to 8; 0 if it has none."""
    if b"Orientation" not in xmp and b"\0" not in xmp[:64]:  # UTF-16
        return 0
    reading = _Orientation()
    if _parse(xmp, reading):
        return int(reading.found) if reading.found in set("12345678") else 0
    found = _ORIENTATION.search(xmp)
    return int(found[1]) if found else 0


def of_upright(xmp: bytes, turned: bool, sideways: bool) -> tuple[bytes, list[str]]:
    """The packet for a photo whose pixels were turned upright and changed, and names of what is left out of it.

    Orientation, thumbnails, and references to gain maps, appended videos and signatures are removed; if the photo was
    rotated, so is what refers to positions in the picture, and width and height are exchanged.

    Args:
        xmp: the packet; returned as it is if nothing changes.
        turned: whether pixels were moved.
        sideways: whether by a quarter turn.
    """
    said: dict[str, None] = {}
    others = orientation(xmp) not in (0, 1)

    def unwanted(space: str, name: str) -> bool:
        reason = None
        if (space, name) == (_TIFF, "Orientation"):
            return others
        if (space, name) == (_XMP, "Thumbnails"):
            reason = "the XMP's thumbnail"
        elif space in _GAIN_MAPS:
            reason = "the gain map"
        elif "/container/" in space or APPENDED.match(name):
            reason = "the directory of appended files"
        elif (space, name) == _CREDENTIALS:
            reason = "content credentials"
        elif turned and space in _PLACED:
            reason = "regions of the picture, which was rotated"
        if reason and name:  # an unused namespace is not a loss
            said[reason] = None
        return bool(reason)

    wanted = (
        others
        or re.search(
            rb"Thumbnails|HDRGainMap|hdr-gain-map|/container/|MotionPhoto|MicroVideo|VideoLength|dc/terms|^.{0,64}\0",
            xmp,
            re.S,
        )
        or (turned and re.search(rb"schemas/regions|photo/1.2|photos/1.0/|ImageWidth|PixelXDimension|XResolution", xmp))
    )
    if not wanted:
        return xmp, []
    copied = _copied(xmp, _Copy(unwanted, _SWAPPED if sideways else None))
    if copied:
        if copied != xmp:
            copied = _EMPTY.sub(b"", copied)
            copied = b"" if _NOTHING.search(copied) else copied
        return copied, list(said)
    if re.search(rb"gain-map|GainMap|/container/|MotionPhoto|MicroVideo", xmp):
        return b"", ["XMP, which is damaged"]
    # A parser cannot read it, but a person may.
    return _ORIENTATION.sub(lambda found: found[0].replace(found[1], b"1"), xmp), []


def properties(xmp: bytes, space: str) -> dict[str, list[str]]:
    """The values of all properties of a namespace, by name; empty if the packet cannot be read."""
    if space.encode() not in xmp and b"\0" not in xmp[:64]:  # UTF-16
        return {}
    reading = _Properties(space)
    return reading.found if _parse(xmp, reading) else {}


def packet_of(attributes: str, elements: str = "") -> bytes:
    """A packet of one description with these attributes and elements."""
    return packet(f'<rdf:Description rdf:about="" {attributes}>{elements}</rdf:Description>')


def without_places(xmp: bytes) -> bytes:
    """A packet that does not reveal where the photo was taken; empty if that cannot be ensured."""

    def unwanted(space: str, name: str) -> bool:
        low = name.lower()
        return space == _WGS84 or low in _PLACES or bool(_PLACE.search(low))

    return _copied(xmp, _Copy(unwanted, comments=False))


def without_settings(xmp: bytes) -> bytes:
    """A raw file's packet without the settings of a raw converter, which would apply them again to the result.

    Empty if the packet cannot be read.
    """
    return _copied(xmp, _Copy(lambda space, _: space in _SETTINGS))


def split(xmp: bytes) -> tuple[bytes, bytes]:
    """A packet for one segment, and the extended packet with the properties."""
    return packet_of(f'xmlns:xmpNote="{_NOTE}" xmpNote:HasExtendedXMP="{guid(xmp)}"'), xmp


def guid(extended: bytes) -> str:
    """The name by which the main packet refers to an extended one: its MD5, as the format requires."""
    return hashlib.md5(extended, usedforsecurity=False).hexdigest().upper()


def joined(xmp: bytes, other: bytes, linked: bool = False) -> bytes:
    """One packet with the properties of two; empty if one is damaged.

    Args:
        xmp: a packet.
        other: its extended packet, or further properties.
        linked: keep the reference to an extended packet.
    """
    first, second = (_descriptions(packet, linked) for packet in (xmp, other))
    if first is None or second is None:
        return b""
    return packet(first + second)


def packet(descriptions: str) -> bytes:
    """A packet of descriptions, elements ``rdf:Description`` that declare their own namespaces."""
    opening = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{_RDF}">'
    return _BEGIN + f"{opening}{descriptions}</rdf:RDF></x:xmpmeta>".encode() + _END


def replaced(xmp: bytes, space: str, other: bytes) -> bytes:
    """A packet with what another says in place of all its own properties of a namespace; empty if one is damaged."""
    rest = joined(_copied(xmp, _Copy(lambda uri, name: uri == space)), other)
    return _EMPTY.sub(b"", rest)


class _Copy:
    """Writes what a parser reads, with its own prefixes, except instructions and what is unwanted.

    Args:
        unwanted: decides from the namespace and name of an element or attribute whether it is left out.
        renamed: new names, by namespace and name.
        comments: keep comments.
    """

    def __init__(
        self, unwanted: Unwanted, renamed: dict[tuple[str, str], str] | None = None, comments: bool = True
    ) -> None:
        self.unwanted, self.renamed, self.comments = unwanted, renamed or {}, comments
        self.written: list[str] = []
        self.changed = False
        self._spaces: defaultdict[str, list[str]] = defaultdict(lambda: [""])  # by prefix, the innermost last
        self._declared: list[list[str]] = []  # prefixes, by open element
        self._skipped = 0  # open elements that are left out

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        spaces = {name.partition(":")[2]: uri for name, uri in attributes.items() if _is_declaration(name)}
        for prefix, uri in spaces.items():
            self._spaces[prefix].append(uri)
        self._declared.append(list(spaces))
        if self._skipped or self._goes(tag):
            self._skipped += 1
            return
        kept = "".join(
            f" {self._name(name)}={quoteattr(value)}"
            for name, value in attributes.items()
            if not self._goes(name, value)
        )
        self.written.append(f"<{self._name(tag)}{kept}>")

    def end(self, tag: str) -> None:
        name = self._name(tag)
        for prefix in self._declared.pop():
            self._spaces[prefix].pop()
        if self._skipped:
            self._skipped -= 1
        else:
            self.written.append(f"</{name}>")

    def text(self, text: str) -> None:
        if not self._skipped:
            self.written.append(escape(text, {"\r": "&#13;"}))

    def comment(self, text: str) -> None:
        if self.comments and not self._skipped:
            self.written.append(f"<!--{text}-->")
        self.changed |= not self.comments

    def instruction(self, target: str, _: str) -> None:
        self.changed |= not self.comments and target != "xpacket"

    def space_of(self, name: str) -> tuple[str, str]:
        prefix, _, local = name.rpartition(":")
        return self._spaces[prefix][-1], local

    def _goes(self, name: str, value: str = "") -> bool:
        goes = self.unwanted(value, "") if _is_declaration(name) else self.unwanted(*self.space_of(name))
        self.changed |= goes
        return goes

    def _name(self, name: str) -> str:
        space, local = self.space_of(name)
        other = self.renamed.get((space, local))
        self.changed |= bool(other)
        return name[: -len(local)] + other if other else name


class _Orientation(_Copy):
    """Finds the orientation in the description of the photo itself, not of others within it."""

    def __init__(self) -> None:
        super().__init__(lambda space, name: False)
        self.found = ""
        self._above: list[tuple[str, str]] = []
        self._reads = False

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        super().begin(tag, attributes)
        self.written.clear()
        name, above = self.space_of(tag), self._above[-2:]
        if name == (_RDF, "Description") and above[-1:] == [(_RDF, "RDF")]:
            found = (value for key, value in attributes.items() if self.space_of(key) == (_TIFF, "Orientation"))
            self.found = self.found or next(found, "").strip()
        self._reads = name == (_TIFF, "Orientation") and above == [(_RDF, "RDF"), (_RDF, "Description")]
        self._above.append(name)

    def end(self, tag: str) -> None:
        super().end(tag)
        self._above.pop()
        self._reads = False

    def text(self, text: str) -> None:
        if self._reads:
            self.found = self.found or text.strip()


class _Properties(_Copy):
    """Collects the values of a namespace's attributes and elements, several from lists."""

    def __init__(self, space: str) -> None:
        super().__init__(lambda space, name: False)
        self.found: dict[str, list[str]] = {}
        self._space = space
        self._open: list[str] = []  # by open element: the name, for those of the namespace and all within

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        super().begin(tag, attributes)
        self.written.clear()
        for key, value in attributes.items():
            space, name = self.space_of(key)
            if space == self._space and not _is_declaration(key):
                self.found.setdefault(name, []).append(value.strip())
        space, name = self.space_of(tag)
        self._open.append(name if space == self._space else self._open[-1] if self._open else "")

    def end(self, tag: str) -> None:
        super().end(tag)
        self._open.pop()

    def text(self, text: str) -> None:
        if self._open[-1:] != [""] and text.strip():
            self.found.setdefault(self._open[-1], []).append(text.strip())


class _Inside(_Copy):
    """Copies the content of ``rdf:RDF``, each child with all namespace declarations in effect there."""

    def __init__(self, linked: bool) -> None:
        super().__init__(lambda space, name: not linked and (space, name) == (_NOTE, "HasExtendedXMP"))
        self.found: str | None = None
        self._depth = self._top = 0  # of the current element, and of rdf:RDF

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._top and self._depth == self._top + 1:
            spaces = {prefix: uris[-1] for prefix, uris in self._spaces.items() if uris[-1]}
            held = {f"xmlns:{prefix}" if prefix else "xmlns": uri for prefix, uri in spaces.items()}
            attributes = {**held, **attributes}
        super().begin(tag, attributes)
        if not self._top:
            self.written.clear()
            if self.space_of(tag) == (_RDF, "RDF"):
                self._top = self._depth

    def end(self, tag: str) -> None:
        if self._depth == self._top and self.found is None:
            self.found = "".join(self.written)
        super().end(tag)
        self._depth -= 1


def _is_declaration(name: str) -> bool:
    return name == "xmlns" or name.startswith("xmlns:")


def _refuse(*_: object) -> None:
    raise ValueError("document types may declare entities that grow without end")


def _parse(xmp: bytes, copy: _Copy) -> bool:
    """Parse a packet; returns whether it could be read."""
    if len(xmp) > LONGEST:
        return False
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = copy.begin, copy.end
    parser.CharacterDataHandler, parser.CommentHandler = copy.text, copy.comment
    parser.StartDoctypeDeclHandler, parser.ProcessingInstructionHandler = _refuse, copy.instruction
    try:
        parser.Parse(xmp if b"\0" in xmp[:64] else xmp.strip(b"\0 \r\n\t"), True)
    except (expat.ExpatError, ValueError, LookupError):  # an unknown encoding
        return False
    return True


def _copied(xmp: bytes, copy: _Copy) -> bytes:
    """A packet without what is unwanted; as it is if nothing is, and empty if it cannot be read."""
    if not _parse(xmp, copy) or not copy.written:
        return b""
    return _BEGIN + "".join(copy.written).encode() + _END if copy.changed else xmp


def _descriptions(xmp: bytes, linked: bool) -> str | None:
    copy = _Inside(linked)
    return copy.found if _parse(xmp, copy) else None
