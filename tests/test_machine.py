"""Cores and memory, also where a container has fewer than the computer."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from expcorr_core import machine
from expcorr_core.machine import cores, memory
from training import options

NONE_V1, MANY_CORES, GIB = str(2**63 - 4096), 64, 2**30


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer of 64 cores and 256 GiB."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(MANY_CORES)), raising=False)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**26}[name])


def in_groups(folder: Path, own: str, files: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the process were in these control groups."""
    monkeypatch.setattr(machine, "GROUPS", folder / "groups")
    monkeypatch.setattr(machine, "OWN_GROUPS", folder / "own")
    (folder / "own").write_text(own)
    for name, content in files.items():
        (folder / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "groups" / name).write_text(f"{content}\n")


@pytest.mark.parametrize(
    ("own", "files", "wanted"),
    [
        ("0::/\n", {}, MANY_CORES),
        ("0::/\n", {"cpu.max": "max 100000"}, MANY_CORES),
        ("0::/\n", {"cpu.max": "200000 100000"}, 2),  # docker --cpus=2
        ("0::/\n", {"cpu.max": "250000 100000"}, 3),
        ("0::/\n", {"cpu.max": "1000 100000"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "400000 100000", "cpu.max": "800000 100000"}, 4),
        ("0::/a\n", {"a/cpu.max": "12800000 100000"}, MANY_CORES),
        ("0::/../other\n", {"cpu.max": "300000 100000"}, 3),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, MANY_CORES),
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        # The host's path, where the container sees its own group as the root.
        ("4:cpu:/docker/0a\n", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ("4:cpu:/a\n0::/\n", {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"}, 3),
        ("0::/a\n1:memory:/\n", {"unified/a/cpu.max": "100000 50000"}, 2),
    ],
)  # fmt: skip
def test_a_containers_quota_of_cores_counts(
    tmp_path: Path, large: None, monkeypatch: pytest.MonkeyPatch, own: str, files: Mapping[str, str], wanted: int
) -> None:
    in_groups(tmp_path, own, files, monkeypatch)
    assert cores() == wanted


@pytest.mark.parametrize(("quota", "workers"), [("600000 100000", 3), ("100000 100000", 1), ("max 100000", 8)])
def test_training_prepares_data_on_what_the_container_has(
    tmp_path: Path, large: None, monkeypatch: pytest.MonkeyPatch, quota: str, workers: int
) -> None:
    in_groups(tmp_path, "0::/\n", {"cpu.max": quota}, monkeypatch)
    assert options.build_parser(None).get_default("workers") == workers


@pytest.mark.parametrize(
    ("own", "files", "wanted"),
    [
        ("0::/\n", {}, 256),
        ("0::/\n", {"memory.max": "max"}, 256),
        ("0::/\n", {"memory.max": str(2 * GIB)}, 2),
        ("0::/a/b\n", {"a/b/memory.max": str(8 * GIB), "a/memory.max": str(4 * GIB)}, 4),
        ("5:memory:/\n", {"memory/memory.limit_in_bytes": NONE_V1}, 256),
        ("5:memory:/docker/0a\n", {"memory/memory.limit_in_bytes": str(3 * GIB)}, 3),
        ("5:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": str(3 * GIB)}, 3),
    ],
)
def test_a_containers_limit_of_memory_counts(
    tmp_path: Path, large: None, monkeypatch: pytest.MonkeyPatch, own: str, files: Mapping[str, str], wanted: int
) -> None:
    in_groups(tmp_path, own, files, monkeypatch)
    assert memory() == wanted * GIB


def test_this_computer_is_known() -> None:
    assert memory() > 2**30
    assert 1 <= cores() <= (os.cpu_count() or 1)


class Kernel32:
    """Of a Windows computer with 6 GiB."""

    answers = True

    def GlobalMemoryStatusEx(self, argument: object) -> int:
        status = argument._obj  # type: ignore[attr-defined]
        # length, load and seven sizes, as the system lays them out
        assert ctypes.sizeof(status) == status.length == 64
        ctypes.c_uint64.from_buffer(status, 8).value = 6 * GIB
        return self.answers


@pytest.mark.parametrize("answers", [True, False])
def test_windows_says_how_much_memory_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    windows = type("windll", (), {"kernel32": Kernel32()})
    windows.kernel32.answers = answers
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "none")
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(ctypes, "windll", windows, raising=False)
    assert memory() == (6 if answers else 16) * GIB


def test_a_system_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "none")
    monkeypatch.setattr(os, "sysconf", lambda name: -1)
    assert memory() == machine.UNKNOWN_MEMORY
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
