"""PyAV, which reads and writes videos: whether it is installed, and its error messages."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

try:
    import av as pyav
except ImportError:
    pyav = None  # type: ignore[assignment]

av: Any = pyav  # its stubs do not distinguish a stream's type from its codec's


class VideoError(ValueError):
    """A video cannot be read or written; the message names it."""


def require_pyav() -> None:
    """Raise VideoError where PyAV is missing or too old."""
    if av is None or int(av.__version__.partition(".")[0]) < 16:  # as in pyproject.toml
        found = av.__version__ if av else "none"
        hint = "install it with: pip install 'av>=16' (the extra video of expcorr)"
        raise VideoError(f"video needs PyAV 16 or newer, but found {found}; {hint}")


def fraction(value: Any) -> Fraction:
    """A rate, time base or aspect, which PyAV 19 gives in a type of its own."""
    return Fraction(int(value.numerator), int(value.denominator))


def reason(error: BaseException) -> str:
    """The message of an error, in one line."""
    return str(getattr(error, "strerror", None) or error).partition("\n")[0]


DEMUXERS = {"mp4": "mov", "mov": "mov", "matroska": "matroska", "webm": "matroska", "avi": "avi", "mpegts": "mpegts"}


def open_video(
    file: str | io.BytesIO, mode: str, form: str | None = None, options: dict[str, str] | None = None
) -> Any:
    """Open a file to read ("r") or write ("w") it; tags that are not UTF-8 are read and written unchanged.

    Args:
        file: its name, or its contents.
        mode: "r" or "w".
        form: FFmpeg's name of the format; None to detect it from the contents.
        options: of the format.
    """
    # PyAV 19 does so by default, and has no such option.
    errors = {"metadata_errors": "surrogateescape"} if int(av.__version__.partition(".")[0]) < 19 else {}
    return av.open(file, mode, format=form, container_options=options, **errors)


def opened(contents: io.BytesIO, form: str) -> Any:
    """Open what was written in the format ``form``; it may be too short for its format to be detected."""
    return open_video(io.BytesIO(contents.getvalue()), "r", DEMUXERS[form])


@contextmanager
def ffmpegs_errors() -> Iterator[list[str]]:
    """Collect FFmpeg's own error messages: its error codes, such as "Invalid argument", say little."""
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    said: list[str] = []
    try:
        with av.logging.Capture() as logs:
            yield said
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)
        said += [line for _, _, text in logs if (line := text.strip().partition("\n")[0].rstrip(":. "))]
