"""Many photos: processes, resuming, reports, Ray; nothing lost, nothing overwritten."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.batch import bulk
from expcorr_core.batch.bulk import Job, Work, correct_all, correct_file, needs
from expcorr_core.batch.journal import JOURNALS, Journal
from expcorr_core.batch.outcome import REPORT
from expcorr_core.batch.pool import WORKER_BYTES, Task, spread
from expcorr_core.cli import main
from expcorr_core.files import digest, remove_leftovers, replacing
from expcorr_core.photos.reading import decode_photo
from expcorr_core.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def run(*args: object) -> int:
    return main([str(arg) for arg in args])


@pytest.fixture
def photos(tmp_path: Path, scene: NDArray[np.uint8]) -> Path:
    """Seven photos in two folders, one of them damaged."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for index in range(6):
        path = folder / ("deep" if index % 2 else "") / f"{index:02d}.{('jpg', 'png', 'webp')[index % 3]}"
        Image.fromarray(np.roll(scene, 7 * index, 1)).save(path)
    (folder / "damaged.jpg").write_bytes((folder / "00.jpg").read_bytes()[:900])
    return folder


def results(out: Path) -> dict[str, str]:
    return {
        p.relative_to(out).as_posix(): digest(p)
        for p in sorted(out.rglob("*"))
        if p.is_file() and p.name != REPORT and not p.match(JOURNALS)
    }


def check_alike(out: Path, other: Path) -> None:
    """Two runs wrote the same photos. Their last bits depend on how many threads a process has."""
    found, wanted = ({Path(name).name: folder / name for name in results(folder)} for folder in (out, other))
    assert found.keys() == wanted.keys()
    for name, path in found.items():
        pixels, others = (np.asarray(Image.open(p), np.int16) for p in (path, wanted[name]))
        assert np.abs(pixels - others).mean() < 0.02


def report(out: Path) -> list[dict[str, str]]:
    with (out / REPORT).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def statuses(out: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in report(out):
        found[row["status"]] = found.get(row["status"], 0) + 1
    return found


@pytest.mark.slow
def test_workers_give_the_same_files_and_a_report(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("correct", photos, "-o", tmp_path / "a", "--workers", 2, "--quiet") == 1
    assert run("correct", *sorted(photos.rglob("*.*")), "-o", tmp_path / "flat", "--workers", 1, "--quiet") == 1
    told = capsys.readouterr().err
    assert "damaged.jpg is damaged or cut off" in told
    assert "1 of 7 photos failed" in told
    assert len(results(tmp_path / "a")) == 6
    check_alike(tmp_path / "a", tmp_path / "flat")
    rows = {Path(row["file"]).name: row for row in report(tmp_path / "a")}
    assert len(rows) == 7
    assert rows["damaged.jpg"]["status"] == "failed"
    assert "damaged or cut off" in rows["damaged.jpg"]["error"]
    row = rows["00.jpg"]
    assert (row["status"], row["error"]) == ("corrected", "")
    assert row["result"] == str(tmp_path / "a" / "00.jpg")
    assert all(abs(float(row[column])) < 100 for column in ("exposure_ev", "change", "seconds"))


@pytest.mark.slow
def test_what_is_done_is_known_by_content_and_settings(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (photos / "damaged.jpg").unlink()
    arguments = ("correct", photos, "-o", out, "--quiet")
    assert run(*arguments) == 0
    before = {name: (out / name).stat().st_mtime_ns for name in results(out)}
    # Touched, moved to another time: done. Changed, removed or edited results: not.
    os.utime(photos / "00.jpg", (0, 0))
    os.utime(out / "00.jpg", ns=(before["00.jpg"], before["00.jpg"]))
    assert run(*arguments) == 0
    assert statuses(out) == {"done before": 6}
    assert {name: (out / name).stat().st_mtime_ns for name in results(out)} == before
    (out / "deep/01.png").unlink()
    assert run(*arguments) == 0
    assert statuses(out) == {"done before": 5, "corrected": 1}
    # Other settings, or another photo: an existing result is not replaced unasked.
    assert run(*arguments, "--strength", 0.5) == 1
    assert statuses(out) == {"failed": 6}
    assert run(*arguments, "--strength", 0.5, "--overwrite") == 0
    assert statuses(out) == {"corrected": 6}
    (photos / "00.jpg").write_bytes((photos / "deep/03.jpg").read_bytes())
    (out / "02.webp").write_bytes(b"edited")
    assert run(*arguments, "--strength", 0.5) == 1
    assert statuses(out) == {"failed": 2, "done before": 4}
    assert capsys.readouterr().err.count("exists; add --overwrite") == 8


def test_dry_run_says_what_would_be_done(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("correct", photos, "-o", out, "--dry-run") == 0
    assert not out.exists()
    assert "7 to do" in capsys.readouterr().out
    run("correct", photos / "deep", "-o", out / "deep", "--quiet")
    (out / "04.png").parent.mkdir(exist_ok=True)
    (out / "04.png").write_bytes(b"mine")
    capsys.readouterr()
    assert run("correct", photos / "deep", "-o", out / "deep", "--dry-run") == 0
    assert "3 done before" in capsys.readouterr().out
    assert run("correct", photos, "-o", out, "--dry-run") == 1
    told = capsys.readouterr().out
    assert "04.png exists; add --overwrite" in told
    assert (out / "04.png").read_bytes() == b"mine"


def start(*args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "expcorr_core", *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(out: Path, count: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and (len(results(out)) if out.exists() else 0) < count:
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_is_completed_by_the_next(photos: Path, tmp_path: Path, how: signal.Signals) -> None:
    (photos / "damaged.jpg").unlink()
    out, whole = tmp_path / "out", tmp_path / "whole"
    process = start("correct", photos, "-o", out, "--workers", 2, "--compare", "--quiet")
    wait_for(out, 3, process)
    process.send_signal(how)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode in ((-9,) if how == signal.SIGKILL else (130,)), errors
    assert how == signal.SIGKILL or "interrupted; finished photos are kept" in errors
    time.sleep(1.5 if how == signal.SIGKILL else 0)  # orphaned workers notice
    (out / ".part-other").write_bytes(b"of another computer")
    assert run("correct", photos, "-o", out, "--compare", "--quiet") == 0
    (out / ".part-other").unlink()
    assert run("correct", photos, "-o", whole, "--compare", "--quiet") == 0
    check_alike(out, whole)
    assert len(results(out)) == 12
    assert sum(statuses(out).values()) == 6
    assert statuses(out)["done before"] >= 1


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(photos: Path, tmp_path: Path) -> None:
    (photos / "damaged.jpg").unlink()
    out = tmp_path / "out"
    process = start("correct", photos, "-o", out, "--workers", 2, "--quiet")
    wait_for(out, 2, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]
    os.kill(random.Random(0).choice(workers), signal.SIGKILL)
    assert process.wait(timeout=120) == 0, process.stderr
    assert statuses(out) == {"corrected": 6}


@pytest.mark.slow
def test_photos_that_take_too_long_fail_and_the_next_run_corrects_them(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("correct", photos / "deep", "-o", out, "--strength", 0, "--workers", 1, "--quiet")
    assert run(*arguments, "--time-limit", 1e-6) == 1
    assert statuses(out) == {"failed": 3}
    assert {row["error"].partition(" ")[2] for row in report(out)} == {
        "took more than 0 s and was abandoned; allow more with --time-limit, or leave it out"
    }
    assert not list(out.rglob(".part-*"))
    assert run(*arguments) == 0
    assert sum(statuses(out).values()) == len(results(out)) == 3


@pytest.mark.parametrize("text", ["-1", "inf", "nan", "soon"])
def test_a_time_limit_is_seconds(photo: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("correct", photo, "--time-limit", text)
    assert "give seconds, or 0 for no limit" in capsys.readouterr().err


def test_limits_grow_with_the_photo() -> None:
    assert Work(time_limit=60).seconds(0) == 60
    assert Work(time_limit=60).seconds(100_000_000) == 180
    assert Work(time_limit=0).seconds(10**9) == float("inf")


def test_workers_are_as_many_as_memory_holds(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[Any, ...]] = []

    def spread_none(function: object, tasks: Iterable[Task[object]], *numbers: float) -> Iterable[object]:
        called.append((*tasks, *numbers))
        return ()

    monkeypatch.setattr(bulk, "spread", spread_none)
    monkeypatch.setattr(bulk, "cores", lambda: 64)
    for gigabytes, workers, threads in ((0.1, 1, 64), (8, 11, 5), (64, 64, 1)):
        monkeypatch.setattr(bulk, "memory", lambda size=gigabytes: int(size * 2**30))
        list(correct_all([Job(photo, tmp_path / "a.jpg")], Work(), 64))
        task, *numbers = called.pop()
        assert numbers == [workers, threads, int(gigabytes * 2**30) / 2]
        assert task.cost == WORKER_BYTES + 50 * 97 * 143 + photo.stat().st_size
        assert task.limit == pytest.approx(300, rel=1e-3)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("pipe.jpg", "pipe.tif"):
        os.mkfifo(tmp_path / name)
        assert needs(tmp_path / name)[0] == 0


def test_leftovers_of_dead_processes_alone_are_removed(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.jpg") as alive:
        dead = alive.with_name(alive.name.replace(f"-{os.getpid()}-", "-4194303-"))
        dead.touch()
        foreign = tmp_path / ".part-0123abcd-4194303-x.jpg"
        foreign.touch()
        assert remove_leftovers(tmp_path) == 1
        assert alive.exists()
        assert foreign.exists()
        assert not dead.exists()


@pytest.mark.slow
def test_a_journal_that_was_cut_off_costs_its_last_line_alone(photos: Path, tmp_path: Path) -> None:
    (photos / "damaged.jpg").unlink()
    out = tmp_path / "out"
    run("correct", photos, "-o", out, "--quiet")
    [journal] = out.glob(JOURNALS)
    journal.write_bytes(journal.read_bytes().rstrip()[:-20] + b"\xff")
    last = json.loads(journal.read_bytes().splitlines()[-3] or journal.read_bytes().splitlines()[-4])["target"]
    assert run("correct", photos, "-o", out, "--quiet") == 1  # the file of the lost line is taken for the user's own
    assert statuses(out) == {"done before": 5, "failed": 1}
    assert run("correct", photos, "-o", out, "--quiet", "--overwrite") == 0
    assert statuses(out) == {"done before": 5, "corrected": 1}
    assert last in results(out)


def test_the_same_command_again_with_the_results_among_the_photos(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With * expanded by the shell, ** expanded by us, and folders searched."""
    monkeypatch.chdir(photo.parent)
    (photo.parent / ".thumbnails").mkdir()
    (photo.parent / ".thumbnails/a.jpg").write_bytes(photo.read_bytes())
    (photo.parent / "empty").mkdir()
    for arguments in (("scene.jpg", "empty"), ("scene.jpg", "corrected", "empty"), ("**/*.jpg",), (".",), ("*",)):
        assert run("correct", *arguments, "--quiet") == 0, capsys.readouterr().err
        assert list(results(Path("corrected"))) == ["scene.jpg"]
    assert run("correct", "corrected", "-o", "corrected", "--quiet") == 2
    assert "is an input and would be replaced" in capsys.readouterr().err
    (photo.parent / "sub").mkdir()
    photo.rename(photo.parent / "sub" / "scene.jpg")
    assert run("correct", "sub", "-o", ".", "--quiet") == 0
    assert Path("scene.jpg").is_file()


def test_reports_replace_reports_alone(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, out = tmp_path / "mine.csv", tmp_path / "out"
    mine.write_text("my own")
    assert run("correct", photo.parent, "-o", out, "--report", mine, "--quiet") == 2
    assert "mine.csv exists and is not a report" in capsys.readouterr().err
    assert mine.read_text() == "my own"
    assert run("correct", photo.parent, "-o", out, "--quiet") == 0
    before = (out / REPORT).read_bytes()
    assert run("correct", tmp_path / "nope.jpg", "-o", out, "--quiet") == 1
    assert (out / REPORT).read_bytes() == before


def test_a_file_that_appears_meanwhile_is_not_replaced(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, work = Job(photo, tmp_path / "out" / "a.jpg"), Work(output=tmp_path / "out", resume=True)
    save = bulk.save_photo

    def meanwhile(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type]
        job.target.write_bytes(b"the user's")

    monkeypatch.setattr(bulk, "save_photo", meanwhile)
    outcome = correct_file(job, work)
    assert outcome.error == f"{job.target} exists; add --overwrite, or choose another output with -o"
    assert job.target.read_bytes() == b"the user's"
    assert correct_file(job, replace(work, overwrite=True)).status == "corrected"


def test_a_photo_that_is_replaced_meanwhile_is_not_recorded_as_another(
    photo: Path, tmp_path: Path, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was corrected is what the journal says, whenever the file is replaced."""
    job = Job(photo, tmp_path / "out" / "a.png")
    work = Work(settings=Settings(strength=0), output=tmp_path / "out", resume=True)
    original = photo.read_bytes()
    others = iter((photo.with_name("b.png"), photo.with_name("c.png")))
    for other in ("b.png", "c.png"):
        Image.fromarray(255 - scene).save(photo.with_name(other))
    opened = Path.open

    def meanwhile(path: Path, *arguments: Any, **options: Any) -> Any:
        file = opened(path, *arguments, **options)
        if path == photo and (other := next(others, None)):
            other.replace(path)
        return file

    monkeypatch.setattr(Path, "open", meanwhile)
    assert correct_file(job, work).status == "corrected"
    monkeypatch.undo()
    [[entry]] = Journal(tmp_path / "out").read().values()
    assert entry.source == hashlib.sha256(original).hexdigest()
    assert np.array_equal(decode_photo(original, photo).pixels, decode_photo(job.target.read_bytes(), photo).pixels)
    assert "exists; add --overwrite" in correct_file(job, work).error  # the next run sees another photo


def test_a_result_is_known_whichever_journal_says_so(photo: Path, tmp_path: Path) -> None:
    """A line with other settings, in a file that is read later, does not hide it."""
    out = tmp_path / "out"
    arguments = ("correct", photo.parent, "-o", out, "--quiet", "--strength", 0)
    assert run(*arguments) == 0
    assert run(*arguments, "--metadata", "none", "--overwrite") == 0
    [journal] = out.glob(JOURNALS)
    first, second = filter(None, journal.read_text().splitlines())
    journal.write_text(f"{second}\n")
    (out / ".expcorr-journal-zzzzzzzz.jsonl").write_text(f"{first}\n")
    assert run(*arguments, "--metadata", "none") == 0
    assert statuses(out) == {"done before": 1}


def test_a_line_of_other_types_does_not_cost_the_report(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("correct", photo.parent, "-o", out, "--quiet", "--strength", 0)
    assert run(*arguments) == 0
    [journal] = out.glob(JOURNALS)
    journal.write_text(json.dumps(json.loads(journal.read_text()) | {"exposure": "0.5"}) + "\n")
    assert run(*arguments) == 1  # the file is taken for the user's own
    assert statuses(out) == {"failed": 1}


def test_foreign_and_linked_journals_do_no_harm(photo: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    (out / ".expcorr-journal.jsonl").write_text('{"target": "scene.jpg"}\n[1]\nnull\n{"target": []}\n')
    assert run("correct", photo.parent, "-o", out, "--quiet") == 0
    assert statuses(out) == {"corrected": 1}
    assert run("correct", photo.parent, "-o", out, "--quiet") == 0
    assert statuses(out) == {"done before": 1}
    elsewhere.write_text("not to be written to")
    (tmp_path / "linked").mkdir()
    linked = Journal(tmp_path / "linked").path
    linked.symlink_to(elsewhere)
    assert run("correct", photo.parent, "-o", tmp_path / "linked", "--quiet") == 1
    assert elsewhere.read_text() == "not to be written to"
    linked.unlink()
    assert not results(tmp_path / "linked")


@pytest.mark.slow
def test_whatever_a_photo_does_the_others_go_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def odd(content: bytes, path: Path) -> object:
        if path.name == "00.jpg":
            raise KeyError("odd")
        return decode_photo(content, path)

    monkeypatch.setattr(bulk, "decode_photo", odd)
    assert run("correct", photos, "-o", tmp_path / "out", "--quiet") == 1
    assert "00.jpg could not be corrected: 'odd'" in capsys.readouterr().err
    assert statuses(tmp_path / "out") == {"corrected": 5, "failed": 2}


@pytest.mark.slow
def test_a_few_photos_stop_in_good_order(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("correct", photos, "-o", out, "--quiet")
    wait_for(out, 1, process)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "interrupted; finished photos are kept" in errors
    assert 1 <= len(report(out)) < 7


# ---- names, links, permissions ----


def test_links_do_not_lead_out_of_the_output(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (photo.parent / "sub").mkdir()
    (photo.parent / "sub" / "b.jpg").write_bytes(photo.read_bytes())
    (out / "sub").symlink_to(elsewhere)
    (out / "scene.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert run("correct", photo.parent, "-o", out, "--quiet") == 1
    told = capsys.readouterr().err
    assert f"sub/b.jpg is outside {out} because of a symbolic link" in told
    assert "scene.jpg exists; add --overwrite" in told
    assert not list(elsewhere.iterdir())
    assert not (tmp_path / "nowhere.jpg").exists()


def test_links_among_the_photos(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A link to a photo is a photo; a link to a folder is not followed, so circles do no harm."""
    folder = photo.parent
    (folder / "link.jpg").symlink_to(photo)
    (folder / "dangling.jpg").symlink_to(folder / "nothing.jpg")
    (folder / "circle").symlink_to(folder)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    assert run("correct", folder, "-o", tmp_path / "out", "--quiet") == 1
    told = capsys.readouterr().err
    assert "dangling.jpg does not exist" in told
    assert "loop.jpg" in told
    assert "2 of 3 photos failed" in told
    assert list(results(tmp_path / "out")) == ["link.jpg"]
    os.mkfifo(folder / "pipe.jpg")
    assert run("correct", str(folder / "*.jpg"), "-o", tmp_path / "out", "--quiet") == 1
    assert "is not a file but a pipe or device" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["f\u00fcnf L\u00f6ffel \u5199\u771f \U0001f305.jpg", "a" * 251 + ".jpg", "-o.jpg", "a\nb.jpg", "%s{0}.jpg"]
)
def test_unusual_names(photo: Path, tmp_path: Path, name: str) -> None:
    photo.rename(photo.with_name(name))
    assert run("correct", photo.parent, "-o", tmp_path / "out", "--quiet") == 0
    assert list(results(tmp_path / "out")) == [name]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are text")
def test_names_that_are_no_text(photo: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    photo.rename(photo.with_name(name))
    photo.with_name(os.fsdecode(b"b\xff.jpg")).write_bytes(b"damaged")
    process = start("correct", photo.parent, "-o", tmp_path / "out")
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "b\\udcff.jpg is not a photo" in errors
    assert (tmp_path / "out" / name).is_file()
    assert b"caf\xe9.jpg,corrected" in (tmp_path / "out" / REPORT).read_bytes().replace(b"\r", b"").replace(b'"', b"")
    again = start("correct", photo.parent, "-o", tmp_path / "out", "--dry-run")
    assert "1 done before" in again.communicate(timeout=60)[0].replace("\n", " ")


def test_a_name_that_grows_too_long_is_one_sentence(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo.rename(photo.with_name("a" * 251 + ".jpg"))
    assert run("correct", photo.parent, "-o", tmp_path / "out", "--compare", "--quiet") == 1
    assert "File name too long" in capsys.readouterr().err
    assert results(tmp_path / "out") == {}


def limit_file_size(job: Job, work: Work, size: int) -> str:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return correct_file(job, work).error


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_written(photo: Path, tmp_path: Path) -> None:
    """The system does not let a file grow, as on a full disk."""
    job = Job(photo, tmp_path / "out" / "a.jpg")
    [error] = spread(limit_file_size, [Task((job, Work(output=tmp_path / "out"), 2000), "crashed")], 1)
    assert "a.jpg cannot be written" in error
    assert "nothing was left behind" in error
    assert results(tmp_path / "out") == {}


# ---- Ray ----


@pytest.mark.slow
def test_ray_gives_the_same_files_and_survives_its_workers(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the ray extra is missing")
    psutil = pytest.importorskip("psutil", reason="the test ends a worker with it")
    (photos / "damaged.jpg").unlink()
    assert run("correct", photos, "-o", tmp_path / "local", "--quiet") == 0
    process = start("correct", photos, "-o", tmp_path / "ray", "--ray", "--quiet")
    wait_for(tmp_path / "ray", 1, process)
    # What follows differs by Ray's version.
    killed = [p for p in psutil.Process(process.pid).children(recursive=True) if "ray::Map" in " ".join(p.cmdline())]
    for worker in killed[:1]:
        worker.kill()
    assert process.wait(timeout=300) == 0, process.stderr.read() if process.stderr else ""
    check_alike(tmp_path / "ray", tmp_path / "local")
    assert sum(statuses(tmp_path / "ray").values()) == 6
    assert killed


@pytest.mark.slow
def test_ray_gives_up_what_takes_too_long(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray", reason="the ray extra is missing")
    assert run("correct", photo.parent, "-o", tmp_path, "--ray", "--time-limit", 0.001, "--quiet") == 1
    assert "scene.jpg crashes the program that corrects it, or takes longer than --time-limit allows" in (
        capsys.readouterr().err
    )
    assert statuses(tmp_path) == {"failed": 1}
