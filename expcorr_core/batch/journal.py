"""The journal of a bulk run: lines in the output folder with checksums of photo, settings and results.

Each process writes a file of its own: lines that several processes append to one file may get lost, on Windows and
over networks. At the end of a run one process gathers the lines of those that have ended.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar

from ..files import flush, host, is_written
from .outcome import Measured, measured

JOURNALS = ".expcorr-journal*.jsonl"  # also those of earlier versions


@dataclass(frozen=True, kw_only=True)
class Entry(Measured):
    """A line: a photo that was corrected.

    Attributes:
        target: the result's path relative to the output folder.
        source: SHA-256 of the photo.
        key: checksum of everything else that the result depends on.
        files: SHA-256 of each file written, by name.
    """

    target: str
    source: str
    key: str
    files: dict[str, str]

    @classmethod
    def of(cls, line: bytes | str) -> Entry | None:
        """The entry in a line; None where it was cut off, or is not one of ours."""
        try:
            found = json.loads(line)
            entry = cls(**{field.name: found[field.name] for field in fields(cls) if field.name in found})
            texts = (entry.target, entry.source, entry.key, *entry.files, *entry.files.values())
            numbers = [0.0 if value is None else value for value in measured(entry).values()]
            sound = (
                entry.change is not None
                and all(isinstance(text, str) for text in texts)
                and all(map(math.isfinite, numbers))
            )
        except (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError):
            return None
        return entry if sound else None

    def line(self) -> str:
        return json.dumps(asdict(self))


class Journal:
    """The entries of an output folder; a result may have several, from other photos or settings."""

    _known: ClassVar[dict[tuple[Path, int], tuple[int, dict[str, list[Entry]]]]] = {}  # how far each file has been read

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._prefix = f".expcorr-journal-{host()}-"
        self.path = folder / f"{self._prefix}{os.getpid()}.jsonl"  # the file that this process writes to

    def read(self) -> dict[str, list[Entry]]:
        """All entries, by their targets."""
        while True:
            found: dict[str, list[Entry]] = {}
            try:
                for path in self._files(JOURNALS):
                    for target, entries in self._read(path).items():
                        found.setdefault(target, []).extend(entries)
            except FileNotFoundError:  # another run has gathered it: its lines are elsewhere now
                continue
            return found

    def _files(self, pattern: str) -> Iterator[Path]:
        """Files that match; links, which others may have placed there, are left out."""
        return (path for path in sorted(self.folder.glob(pattern)) if stat.S_ISREG(path.lstat().st_mode))

    def _read(self, path: Path) -> dict[str, list[Entry]]:
        """The entries of one file; what was read before is not read again."""
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            file_id = path.resolve(), state.st_ino
            start, known = self._known.get(file_id, (0, {}))
            if state.st_size < start:  # another file by now
                start, known = 0, {}
            file.seek(start)
            new = file.read()
        end = new.rfind(b"\n") + 1
        for line in new[:end].splitlines():
            entry = Entry.of(line)
            if entry and entry not in known.setdefault(entry.target, []):
                known[entry.target].append(entry)
        self._known[file_id] = (start + end, known)
        return known

    def add(self, entry: Entry) -> None:
        """Append a line.

        Raises:
            OSError: it cannot be written, or the file is a link.
        """
        self._append(entry.line().encode())

    def _append(self, lines: bytes) -> None:
        """Add whole lines, even if one before was cut off."""
        self.folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        handle = os.open(self.path, flags, 0o666)
        try:
            if os.write(handle, b"\n" + lines + b"\n") < len(lines) + 2:
                raise OSError(errno.ENOSPC, "No space left for the journal", str(self.path))
            flush(handle)  # before results get their names, and before gathered files go
        finally:
            os.close(handle)

    def gather(self, ended: Collection[str] = ()) -> None:
        """Take over the lines of processes that have ended, so that their files do not pile up.

        If this is killed, lines may be duplicated, but never lost.

        Args:
            ended: names of files that no process writes to any more; those of dead processes on this computer are found
                without this.
        """
        with suppress(OSError):  # what is left stays as it is
            found = [path for path in self._files(JOURNALS) if path.name in ended or self._is_left(path)]
            if len(found) + self.path.exists() < 2:
                return
            for path in found:
                self._append(path.read_bytes())
                path.unlink()

    def _is_left(self, path: Path) -> bool:
        """Whether a file belongs to a process on this computer that has ended."""
        return path != self.path and path.name.startswith(self._prefix) and not is_written(path, self._prefix)
