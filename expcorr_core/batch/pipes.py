"""One photo through standard input or output, by way of files in a folder of its own that is removed afterwards."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, BinaryIO

from ..files import scratch
from ..photos.reading import ImageError, kind_of, suffix_of
from ..settings import UsageError
from .bulk import Job, Work, correct_file
from .outcome import FAILED, Outcome

PIPE = "-"  # as an input or output: the standard one
INPUT, OUTPUT = "standard input", "standard output"


def correct_piped(source: str, output: str, work: Work, form: str | None = None) -> Outcome:
    """Correct one photo from standard input, or to standard output, or both.

    Standard output gets a complete photo in the format of the input or the one that is asked for, or nothing.

    Args:
        source: the file, or ``-``.
        output: the file to write, or ``-``.
        work: what to do; results outside of an output folder, without a journal.
        form: format of standard output, one of :data:`~.settings.FORMAT_NAMES`; None for that of the input.

    Raises:
        UsageError: standard input or output is a terminal, or closed.
        BrokenPipeError: what read standard output has gone.
        OSError: standard input cannot be read or standard output cannot be written.
    """
    reader, writer = _stream(sys.stdin, INPUT) if source == PIPE else None, None
    if output == PIPE:
        writer = _stream(sys.stdout, OUTPUT)
    with scratch() as folder:
        path, target = Path(source), Path(output)
        if reader:
            path = folder / "input"
            with _explained(INPUT, "read"), path.open("wb") as file:
                shutil.copyfileobj(reader, file)
        if writer:
            try:
                target = folder / f"result{_suffix(path, Path(INPUT) if reader else path, form)}"
            except (ImageError, OSError) as error:
                return Outcome(source, output, FAILED, error=str(error))
        outcome = correct_file(Job(path, target), work)
        if writer and not outcome.error:
            with _explained(OUTPUT, "written"), target.open("rb") as file:
                shutil.copyfileobj(file, writer, 1 << 20)
                writer.flush()
        told = outcome.error
        for name, shown in ((path, INPUT if reader else source), (target, OUTPUT if writer else output)):
            told = told.replace(str(name), shown)
        source, output = INPUT if reader else source, OUTPUT if writer else output
        return replace(outcome, source=source, target=output, error=told)


def _suffix(path: Path, shown: Path, form: str | None) -> str:
    """The suffix of a format, or of the one that a file is in."""
    if not path.is_file():
        return ".png"  # correcting it reports what is wrong
    with path.open("rb") as file:
        kind = kind_of(file.read(32), shown)
    return suffix_of(form.upper() if form else kind)


def _stream(text: IO[str] | None, name: str) -> BinaryIO:
    """The bytes of a standard stream."""
    if text is None:
        raise UsageError(f"{name} is closed; name a file instead of -")
    if text.isatty():
        advice = "pipe a photo into it" if name == INPUT else "redirect it to a file or another program"
        raise UsageError(f"{name} is a terminal; {advice}, or name a file instead of -")
    if os.name == "nt":
        import msvcrt

        msvcrt.setmode(text.fileno(), os.O_BINARY)  # type: ignore[attr-defined]
    buffer = getattr(text, "buffer", None)
    if not isinstance(buffer, io.BufferedIOBase | io.RawIOBase):
        raise UsageError(f"{name} takes text only; name a file instead of -")
    return buffer  # type: ignore[return-value]


@contextmanager
def _explained(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if os.name == "nt" and error.errno == errno.EINVAL and name == OUTPUT:  # what Windows calls a broken pipe
            raise BrokenPipeError(errno.EPIPE, "Broken pipe") from error
        raise OSError(f"{name} cannot be {what}: {error.strerror}") from error
