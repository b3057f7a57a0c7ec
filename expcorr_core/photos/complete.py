"""Whether a photo's file is complete, or is still being copied."""

from __future__ import annotations

import mmap
import signal
import struct
from contextlib import suppress
from pathlib import Path

from . import jpeg, png, tiff, webp
from .boxes import boxes
from .directories import Block, ExifError
from .reading import kind_of, read_content


def lacks_end(path: Path) -> bool:
    """Whether the end of a photo's file is missing, which decoders do not always find out.

    Raises:
        ImageError: the file cannot be read, or is in no known format.
    """
    with path.open("rb") as file:
        kind = kind_of(file.read(32), path)
    try:
        if kind == "TIFF":  # which may be larger than memory
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                return not tiff.has_end(Block(mapped))
        content = read_content(path)
        if kind == "JPEG":
            return not jpeg.has_end(content)
        if kind == "PNG":
            return all(chunk.kind != b"IEND" for chunk, _ in png.chunks_of(content))
        if kind == "WEBP":
            return not webp.has_end(content)
        if content[4:8] not in (b"ftyp", b"JXL "):
            return False
        *_, (_, _, end) = boxes(content, 0, len(content))
        return end < len(content)
    except (struct.error, IndexError, ValueError, ExifError):  # cut off within a header
        return True


def is_written_to(path: Path) -> bool:
    """Whether a file is open for writing in any process; False where that cannot be known.

    Only Linux tells, of local disks, to the file's owner: it leases a file for reading only while nobody writes.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        try:
            import fcntl

            set_lease = fcntl.F_SETLEASE  # type: ignore[attr-defined,unused-ignore]
        except (ImportError, AttributeError):
            return False
        # Opening the file for writing during the lease sends this signal, which would end the process.
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        try:
            fcntl.fcntl(file, set_lease, fcntl.F_RDLCK)
        except BlockingIOError:
            return True
        except OSError:  # of another user, or on a disk without leases
            return False
        with suppress(OSError):
            fcntl.fcntl(file, set_lease, fcntl.F_UNLCK)
        return False


State = tuple[int, int, int]


def state_of(path: Path) -> State:
    """What changes when a file is written to or replaced.

    Raises:
        OSError: the file does not exist.
    """
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino
