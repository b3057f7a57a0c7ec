"""Files: those of a folder, those that appear whole or not at all, and their checksums."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def flush(handle: int) -> None:
    """Wait until an open file, or the names in a folder, are on the disk, where the file system can do so."""
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
            os.link(temporary, path)  # fails where there is a file, without a moment between looking and placing
            return
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, "File exists", str(temporary), None, str(path)) from None
    temporary.replace(path)


DAY = 24 * 3600  # seconds


def host() -> str:
    """This computer, in eight digits: files that one process alone writes bear it, and the process."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _prefix() -> str:
    return f".part-{host()}-"


@contextmanager
def replacing(path: Path, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary file beside ``path``; move it there when the block ends well, remove it otherwise.

    Missing parent folders are made; an existing file is replaced, unless ``overwrite`` is False. The file is on the
    disk before it gets its name.

    Raises:
        OSError: the folder cannot be written to; FileExistsError where there is a file by then.
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
        # Else, after a loss of power, the name might stand there with nothing in it.
        _flush_at(temporary, os.O_RDWR)
        _place(temporary, path, overwrite)
        if os.name == "posix":
            with suppress(OSError):  # of a folder that may be written but not read
                _flush_at(path.parent, os.O_RDONLY)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> int:
    """Remove the temporary files below ``folder`` whose processes, on this computer, were killed; returns how many."""
    leftovers = [path for path in folder.rglob(f"{_prefix()}*") if not is_written(path, _prefix())]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def is_written(path: Path, prefix: str) -> bool:
    """Whether the process whose number follows the prefix in a file's name lives, or may."""
    process = path.stem.removeprefix(prefix).partition("-")[0]
    if not process.isdecimal():
        return True
    if os.name == "nt":  # there the call below would end the process
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
    """The files of a folder with one of some suffixes, and of the folders below it; those of each folder sorted.

    Hidden files and folders, pipes and devices are left out, and links to folders are not followed. Links that lead
    nowhere are given, so that reading them names them.

    Args:
        folder: the folder.
        suffixes: in lower case, with their dot; names may have them in upper case.
        below: look into the folders below.
        spared: real path of a folder that is not looked into.
        onerror: told of each folder that cannot be read, whose ``filename`` the error bears; by default nobody is.
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
