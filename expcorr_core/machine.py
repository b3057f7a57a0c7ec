"""What this process may use of the computer: processor cores and memory, also where a container limits them."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")  # of Linux; containers are control groups
OMP_THREADS = "OMP_NUM_THREADS"
UNKNOWN_MEMORY = 16 * 2**30  # bytes assumed where the system does not say


def cores() -> int:
    """Processor cores that this process may use: those it may run on, up to its containers' quotas."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _groups("cpu"):
        with suppress(OSError, ValueError):  # from the other version, or "max"
            quota, period = map(int, (group / "cpu.max").read_text("ascii").split())
            found = min(found, math.ceil(quota / period))
        with suppress(OSError, ValueError):
            quota, period = (int((group / f"cpu.cfs_{name}_us").read_text("ascii")) for name in ("quota", "period"))
            if quota > 0:  # -1 means no quota
                found = min(found, math.ceil(quota / period))
    return max(1, found)


def threads() -> int:
    """Threads that this process may compute on: as many as ``OMP_NUM_THREADS`` says, or one for each core."""
    said = os.environ.get(OMP_THREADS, "")
    return int(said) if said.isdecimal() and int(said) else cores()


def limit_threads(count: int) -> None:
    """Let this process compute on so many threads: with PyTorch, if it is or will be loaded, and without."""
    os.environ[OMP_THREADS] = str(count)  # which PyTorch reads when it is loaded
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)


def memory() -> int:
    """Bytes of memory of this computer or container; 16 GiB where that is not known."""
    found = _physical_memory()
    for group in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # from the other version, or "max"
                found = min(found, int((group / name).read_text("ascii")))
    return found


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the control groups that limit this process: its own and all above it, of both versions."""
    try:
        lines = OWN_GROUPS.read_text("utf-8", "replace").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, own = line.split(":", 2)
        if controller in controllers.split(","):
            root = GROUPS / controller
        elif not controllers:
            root = GROUPS / "unified" if (GROUPS / "unified").is_dir() else GROUPS
        else:
            continue
        # Inside a container the path may be the host's, which is not there: then the root is the container's own.
        place = root / own.lstrip("/")
        yield place
        yield from (folder for folder in place.parents if folder.is_relative_to(root))


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of Windows."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("physical", ctypes.c_uint64),
        *((name, ctypes.c_uint64) for name in ("free", "paged", "free_paged", "virtual", "free_virtual", "extended")),
    )


def _physical_memory() -> int:
    if hasattr(os, "sysconf"):
        with suppress(ValueError, OSError):
            if (pages := os.sysconf("SC_PHYS_PAGES")) > 0:
                return os.sysconf("SC_PAGE_SIZE") * pages
    elif windows := getattr(ctypes, "windll", None):
        status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
        if windows.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return int(status.physical)
    return UNKNOWN_MEMORY
