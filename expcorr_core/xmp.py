"""XMP packets without some of their properties."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

LONGEST = 2**20  # bytes; longer packets, and those that are no XML or declare entities, are dropped as a whole
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


class _Copy:
    """What a parser reads, written again with its own prefixes, but for comments, instructions and what is unwanted.

    Args:
        unwanted: tells from the namespace and the name of an element or attribute whether it is left out.
    """

    def __init__(self, unwanted: Callable[[str, str], bool]) -> None:
        self.unwanted = unwanted
        self.written: list[str] = []
        self._spaces: defaultdict[str, list[str]] = defaultdict(lambda: [""])  # by prefix, the innermost last
        self._declared: list[list[str]] = []  # prefixes, by element that is open
        self._skipped = 0  # elements that are open and left out

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        spaces = {name.partition(":")[2]: uri for name, uri in attributes.items() if _is_declaration(name)}
        for prefix, uri in spaces.items():
            self._spaces[prefix].append(uri)
        self._declared.append(list(spaces))
        if self._skipped or self._goes(tag):
            self._skipped += 1
            return
        kept = "".join(
            f" {name}={quoteattr(value)}"
            for name, value in attributes.items()
            if not (self.unwanted(value, "") if _is_declaration(name) else self._goes(name))
        )
        self.written.append(f"<{tag}{kept}>")

    def end(self, tag: str) -> None:
        for prefix in self._declared.pop():
            self._spaces[prefix].pop()
        if self._skipped:
            self._skipped -= 1
        else:
            self.written.append(f"</{tag}>")

    def text(self, text: str) -> None:
        if not self._skipped:
            self.written.append(escape(text, {"\r": "&#13;"}))

    def _goes(self, name: str) -> bool:
        prefix, _, local = name.rpartition(":")
        return self.unwanted(self._spaces[prefix][-1], local)


def _is_declaration(name: str) -> bool:
    return name == "xmlns" or name.startswith("xmlns:")


def _refuse(*_: object) -> None:
    raise ValueError("document types may declare entities that grow without end")


def _without(xmp: bytes, unwanted: Callable[[str, str], bool]) -> bytes:
    if len(xmp) > LONGEST:
        return b""
    copy, parser = _Copy(unwanted), expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = copy.begin, copy.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = copy.text, _refuse
    try:
        parser.Parse(xmp.strip(b"\0 \r\n\t"), True)
    except (expat.ExpatError, ValueError, LookupError):  # of another encoding
        return b""
    return _BEGIN + "".join(copy.written).encode() + _END if copy.written else b""
