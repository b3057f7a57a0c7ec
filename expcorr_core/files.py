"""Files: listing folders, writing files completely or not at all, and checksums."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def flush(handle: int) -> None:
    """Wait until an open file, or the names in a folder, are on the disk, where the file system supports it."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _flush_at(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        flush(handle)
    finally:
        os.close(handle)


def _place(temporary: Path, path: Path, overwrite: bool) -> None:
    if not overwrite:
        try:
            os.link(temporary, path)  # fails where there is a file, with no gap between checking and placing
            return
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, "File exists", str(temporary), None, str(path)) from None
    temporary.replace(path)


DAY = 24 * 3600  # seconds


def host() -> str:
    """This computer, in eight digits: part, with the process number, of names of files that only one process writes."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _prefix() -> str:
    return f".part-{host()}-"


@contextmanager
def replacing(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Provide a temporary file beside ``path``; move it there when the block succeeds, remove it otherwise.

    Missing parent folders are created; an existing file is replaced, unless ``overwrite`` is False. The file is on the
    disk before it gets its final name.

    Raises:
        OSError: the folder cannot be written to; FileExistsError where a file exists by then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{_prefix()}{os.getpid()}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # Temporary files are private; results get the mode of any new file.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        # Otherwise the file might be empty after a power failure.
        _flush_at(temporary, os.O_RDWR)
        _place(temporary, path, overwrite)
        if os.name == "posix":
            with suppress(OSError):  # for a folder that may be written but not read
                _flush_at(path.parent, os.O_RDONLY)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def scratch() -> Iterator[Path]:
    """Provide a private folder for temporary files, removed afterwards, as are those of processes that were killed."""
    place, prefix = Path(tempfile.gettempdir()), f"expcorr-{host()}-"
    for left in place.glob(f"{prefix}*"):
        with suppress(OSError):  # of another user
            if left.is_dir() and not left.is_symlink() and not is_written(left, prefix):
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=f"{prefix}{os.getpid()}-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def remove_leftovers(folder: Path) -> int:
    """Remove the temporary files below ``folder`` of processes on this computer that were killed; returns how many."""
    leftovers = [path for path in folder.rglob(f"{_prefix()}*") if not is_written(path, _prefix())]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def is_written(path: Path, prefix: str) -> bool:
    """Whether the process whose number follows the prefix in a file's name is, or may be, alive."""
    process = path.stem.removeprefix(prefix).partition("-")[0]
    if not process.isdecimal():
        return True
    if os.name == "nt":  # where the call below would end the process
        return time.time() - path.lstat().st_mtime < DAY
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def files_of(
    folder: Path,
    suffixes: Collection[str],
    *,
    below: bool = True,
    spared: str | None = None,
    onerror: Callable[[OSError], object] | None = None,
) -> Iterator[Path]:
    """The files in a folder and its subfolders that have one of the suffixes, sorted within each folder.

    Hidden files and folders, pipes and devices are left out, and links to folders are not followed. Broken links are
    included, so that reading them reports them.

    Args:
        folder: the folder.
        suffixes: in lower case, with the dot; file names may have them in upper case.
        below: include subfolders.
        spared: real path of a folder to leave out.
        onerror: called for each folder that cannot be read, with an error that has its ``filename``; None ignores it.
    """
    for root, folders, names in os.walk(folder, onerror=onerror):
        folders[:] = sorted(
            name for name in folders if below and name[0] != "." and os.path.realpath(Path(root, name)) != spared
        )
        for name in sorted(names):
            path = Path(root, name)
            if path.suffix.lower() in suffixes and name[0] != "." and (path.is_file() or path.is_symlink()):
                yield path


def digest(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read, or is a pipe or device.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "is not a file but a pipe or device", str(path))
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()
