"""The journal of bulk runs: foreign lines are ignored, and none of our own are lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from expcorr_core.batch import journal
from expcorr_core.batch.journal import JOURNALS, Entry, Journal
from expcorr_core.files import host

ENTRY = Entry(target="a.jpg", source="0" * 64, key="1" * 64, files={"a.jpg": "2" * 64}, exposure=-0.5, change=12.0)
FIELDS = asdict(ENTRY)
DEAD = 4194303  # no process has so high a number


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(JOURNALS))


def of_process(folder: Path, process: int, *entries: Entry, computer: str = "") -> Path:
    path = folder / f".expcorr-journal-{computer or host()}-{process}.jsonl"
    path.write_text("".join(f"\n{entry.line()}\n" for entry in entries))
    return path


def test_what_is_added_is_read(tmp_path: Path) -> None:
    written = Journal(tmp_path / "new")
    other = replace(ENTRY, exposure=None)
    for entry in (ENTRY, other, ENTRY):
        written.add(entry)
    assert written.read() == {"a.jpg": [ENTRY, other]}
    written.add(third := replace(ENTRY, target="b/c.jpg"))
    assert written.read() == {"a.jpg": [ENTRY, other], "b/c.jpg": [third]}
    assert names(tmp_path / "new") == [f".expcorr-journal-{host()}-{os.getpid()}.jsonl"]


@pytest.mark.parametrize(
    "line",
    [
        {**FIELDS, "exposure": "0.5"},
        {**FIELDS, "exposure": [0.5]},
        {**FIELDS, "exposure": float("nan")},
        {**FIELDS, "change": None},
        {**FIELDS, "change": "1"},
        {**FIELDS, "change": 10**400},
        {**FIELDS, "target": 1},
        {**FIELDS, "target": ["a.jpg"]},
        {**FIELDS, "source": None},
        {**FIELDS, "key": {}},
        {**FIELDS, "files": {"a.jpg": 3}},
        {**FIELDS, "files": ["a.jpg"]},
        {**FIELDS, "files": "a.jpg"},
        {key: value for key, value in FIELDS.items() if key != "change"},
        [1],
        "text",
        None,
        "[" * 100_000,
        json.dumps(FIELDS)[:-20],
        "\xff\0",
    ],
    ids=lambda line: str(line)[-24:],
)
def test_lines_that_are_none_of_ours_are_left_out(tmp_path: Path, line: Any) -> None:
    text = line if isinstance(line, str) and line != "text" else json.dumps(line)
    (tmp_path / ".expcorr-journal.jsonl").write_text(f"{text}\n{ENTRY.line()}\n", "latin-1")
    assert Journal(tmp_path).read() == {"a.jpg": [ENTRY]}


def test_journals_of_former_versions_are_read(tmp_path: Path) -> None:
    """One for all processes; with Ray, one per computer."""
    fields = {"target": "b.jpg", "source": "0", "key": "1", "files": {"b.jpg": "2"}, "exposure": 1, "change": 2}
    (tmp_path / ".expcorr-journal.jsonl").write_text(f"\n{json.dumps(fields)}\n")
    (tmp_path / f".expcorr-journal-{host()}.jsonl").write_text(f"\n{ENTRY.line()}\n")
    Journal(tmp_path).gather()
    other = Entry(target="b.jpg", source="0", key="1", files={"b.jpg": "2"}, exposure=1, change=2)
    assert Journal(tmp_path).read() == {"b.jpg": [other], "a.jpg": [ENTRY]}


def test_links_are_neither_read_nor_written(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(f"{ENTRY.line()}\n")
    (tmp_path / "out").mkdir()
    written = Journal(tmp_path / "out")
    written.path.symlink_to(elsewhere)
    assert written.read() == {}
    with pytest.raises(OSError, match="symbolic"):
        written.add(ENTRY)
    written.gather([written.path.name])
    assert elsewhere.read_text() == f"{ENTRY.line()}\n"


def test_lines_of_processes_that_have_ended_are_gathered(tmp_path: Path) -> None:
    entries = {name: replace(ENTRY, target=name) for name in ("dead", "cut", "alive", "other", "named")}
    of_process(tmp_path, DEAD, entries["dead"])
    with of_process(tmp_path, DEAD + 1, entries["cut"]).open("a") as file:
        file.write('\n{"target": "half a li')
    alive = of_process(tmp_path, os.getppid(), entries["alive"])
    other = of_process(tmp_path, DEAD, entries["other"], computer="0123abcd")
    named = of_process(tmp_path, DEAD, entries["named"], computer="4567abcd")
    written = Journal(tmp_path)
    written.gather([named.name])
    assert names(tmp_path) == sorted((alive.name, other.name, written.path.name))
    written.add(ENTRY)
    assert written.read() == {name: [entry] for name, entry in {**entries, "a.jpg": ENTRY}.items()}


def test_a_single_file_stays_as_it_is(tmp_path: Path) -> None:
    path = of_process(tmp_path, DEAD, ENTRY)
    Journal(tmp_path).gather()
    assert names(tmp_path) == [path.name]
    Journal(tmp_path / "none").gather()
    assert not (tmp_path / "none").exists()


def test_nothing_is_lost_while_another_run_gathers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other run removes a file after this one has listed the folder."""
    of_process(tmp_path, DEAD, ENTRY)
    of_process(tmp_path, DEAD + 1, replace(ENTRY, target="b.jpg"))
    listed = Journal._files

    def meanwhile(self: Journal, pattern: str) -> Iterator[Path]:
        found = list(listed(self, pattern))
        monkeypatch.setattr(Journal, "_files", listed)
        command = "import sys, pathlib, expcorr_core.batch.journal as j; j.Journal(pathlib.Path(sys.argv[1])).gather()"
        subprocess.run([sys.executable, "-c", command, tmp_path], check=True)
        return iter(found)

    monkeypatch.setattr(Journal, "_files", meanwhile)
    assert sorted(Journal(tmp_path).read()) == ["a.jpg", "b.jpg"]
    assert len(names(tmp_path)) == 1


def test_a_full_disk_does_not_cost_what_is_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = of_process(tmp_path, DEAD, ENTRY), of_process(tmp_path, DEAD + 1, ENTRY)
    write = os.write
    monkeypatch.setattr(journal.os, "write", lambda handle, data: write(handle, data[:10]))
    written = Journal(tmp_path)
    written.gather()
    assert {first.name, second.name} < set(names(tmp_path))
    with pytest.raises(OSError, match="No space left"):
        written.add(ENTRY)
    assert written.read() == {"a.jpg": [ENTRY, ENTRY]}
