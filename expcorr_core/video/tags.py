"""What a video file says of itself: which of it is to be kept, and what a format could not hold."""

from __future__ import annotations

import re
from typing import Any

# Of the file as it was written, not of what is in it: muxers write their own.
_TECHNICAL = re.compile(
    r"(major_brand|minor_version|compatible_brands|encoder|duration|handler_name|vendor_id|alpha_mode|rotate|bps|software"
    r"|number_of_\w+|_statistics_\w+|filename|mimetype)(-\w+)?"
)
_PLACE = re.compile(r"location|gps|iso6709|(^|[^a-z])(xyz|geo)|latitude|longitude|altitude|^xmp$")
_PLACE_IN_TEXT = re.compile(rb"(?i)\bgps\b|latitude")
# What QuickTime calls tags that FFmpeg else writes where players look for them, but not beside keys of phones.
_QUICKTIME = ("title", "artist", "album", "comment", "copyright", "description", "genre")
# Languages that ISO 639-2 has two names of, and FFmpeg's list of QuickTime's languages the other one.
_MAC_LANGUAGES = {
    **{"deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "sqi": "alb", "swe": "sve"},
    **{"fre": "fra", "per": "fas", "rum": "ron", "cze": "ces", "slo": "slk"},
}
REFORMATTED = ("creation_time", "location", "location-eng", "timecode", "date", "language")


def _is_technical(key: str) -> bool:
    return bool(_TECHNICAL.fullmatch(key.lower()))


def kept(tags: dict[str, str], metadata: str) -> dict[str, str]:
    """The tags of a file to write again: ``all``, those that tell of no place (``no-gps``), or ``none``."""
    if metadata == "none":
        return {}
    own = {key: value for key, value in tags.items() if not _is_technical(key)}
    if "creation_time" in own:  # newer FFmpeg joins those of header and keys
        own["creation_time"] = own["creation_time"].partition(";")[0]
    return own if metadata == "all" else {key: value for key, value in own.items() if not _PLACE.search(key.lower())}


def kept_of_stream(tags: dict[str, str], metadata: str) -> dict[str, str]:
    """The tags of a stream to write again: with ``none``, its language still."""
    if metadata == "none":
        return {key: value for key, value in tags.items() if key.lower() == "language"}
    named = {key: value for key, value in tags.items() if key == "handler_name"}  # players show it
    return named | kept(tags, metadata)


def kept_chapters(chapters: list[Any], metadata: str) -> list[Any]:
    """The chapters to write again: with ``none``, without titles."""
    return [{**chapter, "metadata": {}} for chapter in chapters] if metadata == "none" else chapters


def tells_place(contents: bytes) -> bool:
    """Whether text tells of a place, as drones' subtitles do."""
    return bool(_PLACE_IN_TEXT.search(contents))


def with_quicktime(tags: dict[str, str]) -> dict[str, str]:
    """Tags with those of players beside them, under the names that they have among the keys of phones."""
    named = {f"com.apple.quicktime.{key}": tags[key] for key in _QUICKTIME if key in tags}
    return {**named, **tags}


def with_mac_language(tags: dict[str, str]) -> dict[str, str]:
    """The tags of a stream with the name of its language that QuickTime's list has, where FFmpeg needs that."""
    language = tags.get("language", "")
    return {**tags, "language": _MAC_LANGUAGES[language]} if language in _MAC_LANGUAGES else tags


def missing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The keys that a written file does not have again, or has with something else."""
    found = {key.lower(): value for key, value in after.items()}
    lost = []
    for key, value in before.items():
        name = key.lower()
        if _is_technical(key) or (name == "language" and value == "und") or not value:
            continue
        if name not in found or (found[name].strip() != value.strip() and name not in REFORMATTED):
            lost.append(key)
    return lost
