"""A watched folder: each photo once, whole, also after a kill."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.batch import watching
from expcorr_core.batch.bulk import Job, Work
from expcorr_core.batch.outcome import Outcome
from expcorr_core.batch.watching import Watch, correct_complete
from expcorr_core.cli import main
from expcorr_core.photos.complete import is_written_to, lacks_end
from expcorr_core.photos.metadata import Metadata
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.writing import write_photo
from expcorr_core.settings import UsageError

KINDS = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "webp": "WEBP"}


def encoded(scene: NDArray[np.uint8], index: int) -> tuple[str, bytes]:
    """A name and the content of a photo."""
    suffix = list(KINDS)[index % 4]
    file = io.BytesIO()
    Image.fromarray(np.roll(scene, 3 * index, 1)).save(file, KINDS[suffix])
    return f"{index:03d}.{suffix}", file.getvalue()


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("missing", [1, 2, 12, 200])
def test_files_whose_end_is_missing_fail(tmp_path: Path, scene: NDArray[np.uint8], index: int, missing: int) -> None:
    name, content = encoded(scene, index)
    path = tmp_path / name
    path.write_bytes(content)
    assert not lacks_end(path)
    path.write_bytes(content[:-missing])
    outcome = correct_complete(Job(path, tmp_path / "out" / name), Work(output=tmp_path / "out"), [])
    assert outcome.status == "failed"
    assert "cut off" in outcome.error
    assert not (tmp_path / "out" / name).exists()


@pytest.mark.parametrize("suffix", ["heic", "avif", "jxl"])
def test_newer_formats_have_an_end_too(tmp_path: Path, scene: NDArray[np.uint8], suffix: str) -> None:
    pytest.importorskip("pillow_heif", reason="HEIC needs the heif extra")
    pytest.importorskip("pyjpegxl", reason="JPEG XL needs the heif extra")
    path = tmp_path / f"a.{suffix}"
    write_photo(path, Photo(scene, metadata=Metadata(xmp=b"<x/>")))
    assert not lacks_end(path)
    content = path.read_bytes()
    for missing in (1, 9, len(content) - 40):
        path.write_bytes(content[:-missing])
        assert lacks_end(path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_files_that_are_open_for_writing_are_known(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with path.open("wb"):
        assert is_written_to(path)
    assert not is_written_to(path)


def test_wrong_arguments(tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photo.parent
    for arguments, message in (
        ([photo], "scene.jpg is not a folder; name a folder to watch"),
        ([folder, "-o", folder], "results would be watched"),
        ([folder, "-o", tmp_path], "results would be watched"),
        ([folder, "-o", photo], "scene.jpg is a file, not a folder"),
        ([folder, folder], "--watch takes one folder, but there are 2 inputs"),
        ([folder, "--dry-run"], "--dry-run cannot be used with --watch"),
        ([folder, "--report", "a.csv"], "--report cannot be used with --watch"),
    ):
        assert main(["correct", "--watch", *map(str, arguments)]) == 2
        assert message in capsys.readouterr().err


class Here:
    """A pool that works in this process; the watch ends when it has nothing to do for a while."""

    def __init__(self, function: Callable[..., Outcome], *_: object) -> None:
        self._function, self._tasks = function, list[tuple[object, ...]]()

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    @property
    def running(self) -> bool:
        return bool(self._tasks)

    def begin(self, task: watching.Task[Outcome]) -> bool:  # type: ignore[name-defined]
        self._tasks.append(task.arguments)
        return True

    def retry(self) -> bool:
        return True

    def results(self) -> Iterator[Outcome]:
        while self._tasks:
            yield self._function(*self._tasks.pop(0))


def watch(
    monkeypatch: pytest.MonkeyPatch, folder: Path, out: Path, seconds: float, overwrite: bool = False
) -> tuple[list[Outcome], list[str]]:
    """What comes of watching a folder for some time, in this process."""
    monkeypatch.setattr(watching, "Pool", Here)
    said = list[str]()
    timer = threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGTERM))
    timer.start()
    work = Work(output=out, resume=True, overwrite=overwrite)
    found = list(Watch(folder, work, settle=0.3, give_up=1.0, poll=0.2, say=said.append).run())
    timer.join()
    return found, said


@pytest.mark.slow
def test_results_inside_are_not_watched_and_nothing_is_done_twice(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = photo.parent
    out = folder / "out"
    (folder / ".hidden.jpg").write_bytes(photo.read_bytes())
    (folder / "bad.jpg").write_bytes(b"\xff\xd8 not much")
    found, _ = watch(monkeypatch, folder, out, 4)
    assert sorted((Path(o.source).name, o.status) for o in found) == [("bad.jpg", "failed"), ("scene.jpg", "corrected")]
    assert sorted(p.name for p in out.iterdir() if p.name[0] != ".") == ["scene.jpg"]
    (folder / "bad.jpg").unlink()
    os.utime(photo)
    assert [outcome.status for outcome in watch(monkeypatch, folder, out, 2)[0]] == ["done before"]
    # A photo that has changed is told of, or corrected again where that is asked for.
    before = (out / "scene.jpg").read_bytes()
    Image.open(photo).rotate(180).save(photo)
    [outcome] = watch(monkeypatch, folder, out, 4)[0]
    assert "scene.jpg exists; add --overwrite" in outcome.error
    assert (out / "scene.jpg").read_bytes() == before
    assert [outcome.status for outcome in watch(monkeypatch, folder, out, 3, overwrite=True)[0]] == ["corrected"]
    assert (out / "scene.jpg").read_bytes() != before


@pytest.mark.slow
def test_a_folder_that_goes_is_waited_for(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, away = photo.parent, tmp_path / "away"
    threading.Timer(1.0, lambda: folder.rename(away)).start()
    threading.Timer(2.0, lambda: (away.rename(folder), (folder / "b.jpg").write_bytes(photo.read_bytes()))).start()
    found, said = watch(monkeypatch, folder, tmp_path / "out", 6)
    assert sorted(Path(outcome.source).name for outcome in found) == ["b.jpg", "scene.jpg"]
    assert said == [f"watching {folder}", f"{folder} is gone; waiting for it to come back", f"watching {folder}"]


def test_a_folder_inside_the_output_is_refused(photo: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="results would be watched"):
        Watch(photo.parent, Work(output=tmp_path, resume=True))


@contextmanager
def watching_process(folder: Path, out: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "expcorr_core", "correct", "--watch", folder, "-o", out, "--settle", "0.5"]
    with log.open("ab") as file:
        process = subprocess.Popen([*command, "--workers", "2"], stdout=file, stderr=file)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def copy_in(folder: Path, photos: dict[str, bytes], seconds: float) -> None:
    """Copy photos at random times: at once, in pieces with pauses into an open file, or reopened, or by renaming."""
    chance = random.Random(0)

    def slowly(path: Path, content: bytes, reopened: bool) -> None:
        pieces = [
            content[start : start + len(content) // 3 + 1] for start in range(0, len(content), len(content) // 3 + 1)
        ]
        file = path.open("wb")
        for piece in pieces:
            if reopened:
                file.close()
                file = path.open("ab")
            file.write(piece)
            file.flush()
            time.sleep(chance.uniform(0.1, 2.0))  # at times longer than --settle
        file.close()

    threads = []
    for index, (name, content) in enumerate(photos.items()):
        time.sleep(chance.uniform(0, 2 * seconds / len(photos)))
        path = folder / ("sub" if index % 3 else "") / f"d{index % 5}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if index % 2:
            threads.append(threading.Thread(target=slowly, args=(path, content, index % 4 == 1)))
            threads[-1].start()
        elif index % 4:
            hidden = path.with_name(f".{name}.part")
            hidden.write_bytes(content)
            hidden.rename(path)
        else:
            path.write_bytes(content)
    for thread in threads:
        thread.join()


def check_whole(folder: Path, out: Path) -> None:
    """Every photo has a whole result, and nothing else is there."""
    wanted = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert {p.relative_to(out) for p in out.rglob("*") if p.is_file() and p.suffix != ".jsonl"} == wanted
    for name in wanted:
        with Image.open(folder / name) as before, Image.open(out / name) as after:
            assert after.size == before.size
            difference = np.asarray(before.resize((8, 8))).astype(float) - np.asarray(after.resize((8, 8)))
            assert np.abs(difference[-2:] - difference[:2].mean()).max() < 150, name  # no grey lower part


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_each_photo_is_corrected_once_and_whole_also_after_kills(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    count = int(os.environ.get("EXPCORR_WATCHED", "24"))
    folder, out, log = tmp_path / "in", tmp_path / "out", tmp_path / "log"
    folder.mkdir()
    first = dict(encoded(scene, index) for index in range(3))  # there before the start
    for name, content in first.items():
        (folder / name).write_bytes(content)
    photos = dict(encoded(scene, index) for index in range(3, count))
    copying = threading.Thread(target=copy_in, args=(folder, photos, max(20.0, count / 4)))
    with watching_process(folder, out, log) as process:
        copying.start()
        patience = time.monotonic() + 120 + 4 * count
        while len([*out.rglob("*.*")]) < count // 3 and time.monotonic() < patience:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    with watching_process(folder, out, log) as process:
        copying.join()
        while time.monotonic() < patience:
            done = [p for p in out.rglob("*") if p.is_file() and p.name[0] != "."]
            if len(done) == count:
                break
            time.sleep(0.2)
        time.sleep(2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    told = log.read_text()
    print(told)
    check_whole(folder, out)
    assert "cut off" not in told
    lines = [line.split(" -> ")[0] for line in told.splitlines() if line.startswith("corrected ")]
    assert len(lines) == len(set(lines))  # none twice
    assert len(lines) >= count - 2  # those whose lines the kill swallowed
