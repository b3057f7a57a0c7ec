"""The tags of a video file: which to keep, and which ones a format could not hold."""

from __future__ import annotations

import re
from typing import Any

# Tags about the file itself, not its content: muxers write their own.
_TECHNICAL = re.compile(
    r"(major_brand|minor_version|compatible_brands|encoder|duration|handler_name|vendor_id|alpha_mode|rotate|bps|software"
    r"|number_of_\w+|_statistics_\w+|filename|mimetype)(-\w+)?"
)
_PLACE = re.compile(r"location|gps|iso6709|(^|[^a-z])(xyz|geo)|latitude|longitude|altitude|^xmp$")
_PLACE_IN_TEXT = re.compile(rb"(?i)\bgps\b|latitude")
# Tags that FFmpeg writes where players look for them, but beside the keys of phones only under QuickTime's names.
_QUICKTIME = ("title", "artist", "album", "comment", "copyright", "description", "genre")
# Languages with two ISO 639-2 codes, of which FFmpeg's list of QuickTime languages has the other one.
_MAC_LANGUAGES = {
    **{"deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "sqi": "alb", "swe": "sve"},
    **{"fre": "fra", "per": "fas", "rum": "ron", "cze": "ces", "slo": "slk"},
}
REFORMATTED = ("creation_time", "location", "location-eng", "timecode", "date", "language")


def _is_technical(key: str) -> bool:
    return bool(_TECHNICAL.fullmatch(key.lower()))


def kept(tags: dict[str, str], metadata: str) -> dict[str, str]:
    """The tags of a file to keep: ``all``, those that reveal no location (``no-gps``), or ``none``."""
    if metadata == "none":
        return {}
    own = {key: value for key, value in tags.items() if not _is_technical(key)}
    if "creation_time" in own:  # newer FFmpeg joins those of header and keys
        own["creation_time"] = own["creation_time"].partition(";")[0]
    return own if metadata == "all" else {key: value for key, value in own.items() if not _PLACE.search(key.lower())}


def kept_of_stream(tags: dict[str, str], metadata: str) -> dict[str, str]:
    """The tags of a stream to keep; with ``none``, still its language."""
    if metadata == "none":
        return {key: value for key, value in tags.items() if key.lower() == "language"}
    named = {key: value for key, value in tags.items() if key == "handler_name"}  # players show it
    return named | kept(tags, metadata)


def kept_chapters(chapters: list[Any], metadata: str) -> list[Any]:
    """The chapters to keep; with ``none``, without titles."""
    return [{**chapter, "metadata": {}} for chapter in chapters] if metadata == "none" else chapters


def tells_place(contents: bytes) -> bool:
    """Whether text reveals a location, as drones' subtitles do."""
    return bool(_PLACE_IN_TEXT.search(contents))


def with_quicktime(tags: dict[str, str]) -> dict[str, str]:
    """Tags, plus those for players under the names that they have among the keys of phones."""
    named = {f"com.apple.quicktime.{key}": tags[key] for key in _QUICKTIME if key in tags}
    return {**named, **tags}


def with_mac_language(tags: dict[str, str]) -> dict[str, str]:
    """The tags of a stream, with the language code of QuickTime's list where FFmpeg needs that."""
    language = tags.get("language", "")
    return {**tags, "language": _MAC_LANGUAGES[language]} if language in _MAC_LANGUAGES else tags


def missing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The keys that a written file lacks, or has with another value."""
    found = {key.lower(): value for key, value in after.items()}
    lost = []
    for key, value in before.items():
        name = key.lower()
        if _is_technical(key) or (name == "language" and value == "und") or not value:
            continue
        if name not in found or (found[name].strip() != value.strip() and name not in REFORMATTED):
            lost.append(key)
    return lost
