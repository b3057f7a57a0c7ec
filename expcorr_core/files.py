"""Files that appear whole or not at all, and their checksums."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAY = 24 * 3600  # seconds


def _prefix() -> str:
    """Temporary files bear the computer and the process that write them."""
    return f".part-{hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]}-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file beside ``path``; move it there when the block ends well, remove it otherwise.

    Missing parent folders are made; an existing file is replaced.

    Raises:
        OSError: the folder cannot be written to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{_prefix()}{os.getpid()}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # Temporary files are private; results get the mode that any new file would have.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> int:
    """Remove the temporary files below ``folder`` whose processes, on this computer, were killed; returns how many."""
    leftovers = [path for path in folder.rglob(f"{_prefix()}*") if not _is_written(path)]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def _is_written(path: Path) -> bool:
    """Whether the process of a temporary file lives, or may."""
    process = path.name.removeprefix(_prefix()).partition("-")[0]
    if not process.isdecimal():
        return True
    if os.name == "nt":  # there the call below would end the process
        return time.time() - path.lstat().st_mtime < DAY
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def digest(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()
