"""Standard input and output: `expcorr correct - -o -`."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import photo_files as make
import pytest
from PIL import Image

from expcorr_core import cli
from expcorr_core.files import host, scratch


class Stream(io.TextIOWrapper):
    """A standard stream over bytes; perhaps a terminal."""

    def __init__(self, content: bytes = b"", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content))
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    @property
    def content(self) -> bytes:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue()


@pytest.fixture
def pipe() -> Stream:
    """What standard output gets."""
    return Stream()


def run(pipe: Stream, content: bytes, *arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdin", Stream(content))
        patched.setattr(sys, "stdout", pipe)
        return cli.main(["correct", *map(str, arguments)])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_from_input_to_output_in_its_own_format(
    photo: Path, pipe: Stream, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    file = io.BytesIO()
    Image.open(photo).save(file, kind)
    assert run(pipe, file.getvalue(), "-", "-o", "-") == 0
    with Image.open(io.BytesIO(pipe.content)) as image, Image.open(photo) as before:
        assert (image.format, image.size) == (kind, before.size)
        assert not np.array_equal(np.asarray(image), np.asarray(before))
    assert capsys.readouterr().err == ""


def test_from_a_file_and_to_a_file(photo: Path, pipe: Stream, tmp_path: Path) -> None:
    assert run(pipe, b"", photo, "-o", "-") == 0
    assert run(pipe, photo.read_bytes(), "-", "-o", tmp_path / "a.jpg") == 0
    assert pipe.content == (tmp_path / "a.jpg").read_bytes()
    assert run(pipe, photo.read_bytes(), "-", "-o", tmp_path / "a.png") == 0
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"


def test_what_is_left_out_is_told_on_standard_error(
    tmp_path: Path, pipe: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    content = make.jpeg(tmp_path / "a.jpg", (0xFE, b"a comment"), after=b"and more" * 9).read_bytes()
    assert run(pipe, content, "-", "-o", "-") == 0
    assert b"a comment" in pipe.content
    assert capsys.readouterr().err.startswith("expcorr: standard output: left out: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "standard input is empty"),
        (b"Hello, this is a letter", "standard input is not a photo in a known format"),
        (b"GIF89a" + bytes(40), "standard input is a GIF picture"),
        (None, "standard input is damaged or cut off"),
    ],
)
def test_what_is_no_photo_is_told_in_one_sentence(
    photo: Path,
    pipe: Stream,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    message: str,
) -> None:
    assert run(pipe, photo.read_bytes()[:2000] if content is None else content, "-", "-o", "-") == 1
    told = capsys.readouterr().err
    assert told.startswith(f"expcorr: {message}")
    assert told.count("\n") == 1
    assert "expcorr-" not in told  # no name of a temporary file
    assert pipe.content == b""


def test_files_that_cannot_be_piped(
    photo: Path, pipe: Stream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(pipe, b"", tmp_path / "no.jpg", "-o", "-") == 1
    assert f"{tmp_path / 'no.jpg'} does not exist" in capsys.readouterr().err
    content = photo.read_bytes()
    assert run(pipe, content, "-", "-o", photo) == 1
    assert "scene.jpg exists; add --overwrite" in capsys.readouterr().err
    assert photo.read_bytes() == content
    assert pipe.content == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-", "-o", "-", "--compare"), "--compare cannot be used with standard output"),
        (("-", "-o", "-", "--report", "a.csv"), "--report cannot be used"),
        (("-", "-o", "-", "--ray"), "--ray cannot be used"),
        (("-", "-o", "-", "--workers", "2"), "--workers cannot be used"),
        (("-", "-o", "a.jpg", "--dry-run"), "--dry-run cannot be used with standard input"),
        (("-", "b.jpg", "-o", "a.jpg"), "standard input (-) takes one photo, but there are 2 inputs"),
        (("-",), "has no name, and corrected names no photo"),
        (("-", "-o", "a.heic2"), "a.heic2 names no photo"),
        ((".", "-o", "-"), ". is more than one photo; standard output (-) takes one"),
    ],
)
def test_what_makes_no_sense_is_refused(
    pipe: Stream, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run(pipe, b"", *arguments) == 2
    assert message in capsys.readouterr().err


def test_terminals_and_closed_streams_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, stream, message in (
        ("stdin", Stream(terminal=True), "standard input is a terminal; pipe a photo into it"),
        ("stdin", None, "standard input is closed"),
        ("stdout", Stream(terminal=True), "standard output is a terminal; redirect it"),
        ("stdout", None, "standard output is closed"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdin", Stream())
            patched.setattr(sys, name, stream)
            assert cli.main(["correct", "-", "-o", "-"]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="/dev/full is Linux's")
def test_as_a_process(photo: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "expcorr_core", "correct", "-", "-o", "-"]
    content = photo.read_bytes()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(command, input=content, capture_output=True, check=True, env=environment)
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.size == (143, 97)
    assert done.stderr == b""
    # The reader goes away before anything is written.
    reading, writing = os.pipe()
    os.close(reading)
    broken = subprocess.run(
        command, input=content, stdout=writing, stderr=subprocess.PIPE, check=False, env=environment
    )
    os.close(writing)
    assert (broken.returncode, broken.stderr) == (141, b"")
    if Path("/dev/full").exists():
        with Path("/dev/full").open("wb") as full:
            failed = subprocess.run(
                command, input=content, stdout=full, stderr=subprocess.PIPE, check=False, env=environment
            )
        assert failed.returncode == 1
        assert failed.stderr == b"expcorr: standard output cannot be written: No space left on device\n"
    assert list((tmp_path / "temporary").iterdir()) == []


def test_folders_of_dead_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"expcorr-{host()}-4194303-x"
    left.mkdir()
    (left / "input").touch()
    with scratch() as alive:
        assert not left.exists()
        with scratch():
            assert alive.exists()
    assert not alive.exists()
