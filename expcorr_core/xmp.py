"""XMP packets without some of their properties."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from xml.etree import ElementTree

LONGEST = 2**20  # bytes; longer packets, and those that are no XML, are dropped as a whole
_BEGIN = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_END = b'<?xpacket end="w"?>'
_GAIN_MAP = "http://ns.adobe.com/hdr-gain-map/1.0/"
_CONTAINER = "http://ns.google.com/photos/1.0/container/"
# Properties that tell where a photo was taken, in lower case; and all that begin with gps.
_PLACES = frozenset((
    "city", "country", "countrycode", "countryname", "location", "locationcreated", "locationshown", "provincestate",
    "state", "sublocation", "worldregion",
))  # fmt: skip


def without_places(xmp: bytes) -> bytes:
    """A packet that does not tell where the photo was taken; empty where that cannot be made sure of."""
    return _without(xmp, lambda space, name: name.lower().startswith("gps") or name.lower() in _PLACES)


def without_gain_map(xmp: bytes) -> bytes:
    """A packet that does not speak of a gain map."""
    return _without(xmp, lambda space, name: space == _GAIN_MAP or (space, name) == (_CONTAINER, "Directory"))


def _without(xmp: bytes, unwanted: Callable[[str, str], bool]) -> bytes:
    if len(xmp) > LONGEST:
        return b""

    def goes(tag: str) -> bool:
        space, _, name = tag.rpartition("}")
        return unwanted(space[1:], name)

    try:
        for _, (prefix, uri) in ElementTree.iterparse(io.BytesIO(xmp.strip(b"\0 \r\n\t")), ["start-ns"]):
            with contextlib.suppress(ValueError):  # of a reserved form; another prefix says the same
                ElementTree.register_namespace(prefix, uri)
        root = ElementTree.fromstring(xmp.strip(b"\0 \r\n\t"))
        for element in list(root.iter()):
            for child in list(element):
                if isinstance(child.tag, str) and goes(child.tag):
                    element.remove(child)
            for name in [name for name in element.attrib if goes(name)]:
                del element.attrib[name]
        packet: bytes = ElementTree.tostring(root, "utf-8")
        return _BEGIN + packet + _END
    except (ElementTree.ParseError, RecursionError, ValueError, LookupError):
        return b""
