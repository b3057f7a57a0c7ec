"""Photos corrected as a series through the command line: one look for each scene, resumable, whole files only."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.batch.bulk import Job, Work
from expcorr_core.batch.journal import JOURNALS
from expcorr_core.batch.outcome import REPORT
from expcorr_core.batch.series import LOOKS, Looked, as_series, look_at
from expcorr_core.cli import main
from expcorr_core.corrector import Corrector
from expcorr_core.files import digest
from expcorr_core.image.exposure import shift_exposure
from expcorr_core.image.resize import reduce_to
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import ImageError, read_photo
from expcorr_core.photos.writing import write_photo
from expcorr_core.series.corrector import SeriesCorrector
from expcorr_core.series.looks import load_look

EXAMPLES = Path(__file__).parent.parent / "examples"
EVS = {"a": -1.5, "b": 0.0, "c": 1.3}
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def run(*args: object) -> int:
    return main([str(arg) for arg in args])


@pytest.fixture
def shoot(tmp_path: Path) -> Path:
    """Three exposures of one scene, the second one of a part of it, and a photo of another scene."""
    folder = tmp_path / "shoot"
    folder.mkdir()
    coffee = shift_exposure(reduce_to(read_photo(EXAMPLES / "coffee_under.jpg").to_tensor(), 320), 2.0)
    for name, ev in EVS.items():
        exposed = shift_exposure(coffee, ev)
        write_photo(folder / f"{name}.png", Photo.from_tensor(exposed[..., 20:, 24:] if name == "b" else exposed))
    rocket = reduce_to(read_photo(EXAMPLES / "rocket_over.jpg").to_tensor(), 320)
    write_photo(folder / "z.png", Photo.from_tensor(rocket))
    return folder


def pixels(path: Path) -> NDArray[np.float64]:
    return np.asarray(Image.open(path), np.float64)


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / REPORT).open(newline="", encoding="utf-8") as file:
        return {Path(row["file"]).name: row for row in csv.DictReader(file)}


def results(out: Path) -> dict[str, str]:
    return {p.name: digest(p) for p in sorted(out.glob("*")) if p.is_file() and p.suffix == ".png"}


def test_photos_of_one_scene_get_one_look(shoot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, single = tmp_path / "out", tmp_path / "single"
    assert run("correct", shoot, "-o", out, "--series") == 0
    said = capsys.readouterr().out
    assert "series: 1 group of 3 photos" in said
    assert "1 by themselves" in said
    assert "of 255 from what they agree on; one by one it would be" in said
    assert run("correct", shoot, "-o", single, "--quiet") == 0
    apart = [np.abs(pixels(folder / "a.png") - pixels(folder / "c.png")).mean() for folder in (single, out)]
    assert apart[1] < 0.7 * apart[0]
    assert digest(out / "z.png") == digest(single / "z.png")  # it has a scene of its own
    found = rows(out)
    assert [found[f"{name}.png"]["group"] for name in "abcz"] == ["0", "0", "0", ""]
    assert all(float(found[f"{name}.png"]["apart"]) < float(found[f"{name}.png"]["apart_alone"]) for name in "ac")
    assert found["z.png"]["apart"] == ""


def test_what_is_done_is_not_done_again(shoot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("correct", shoot, "-o", out, "--series", "--quiet") == 0
    before, looks = results(out), {p: p.stat().st_mtime_ns for p in (out / LOOKS).iterdir()}
    assert len(looks) == 4
    (out / "b.png").unlink()
    (shoot / "a.png").rename(shoot / "d.png")  # known by its content, but its result has another name
    (out / "a.png").unlink()
    assert run("correct", shoot, "-o", out, "--series") == 0
    assert "2 corrected" in (said := capsys.readouterr().out)
    assert "2 done before" in said
    assert {p: p.stat().st_mtime_ns for p in (out / LOOKS).iterdir()} == looks
    assert results(out) == {**{k: v for k, v in before.items() if k != "a.png"}, "d.png": before["a.png"]}


def test_another_photo_of_a_scene_changes_the_results(
    shoot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (held := shoot / "c.png").rename(tmp_path / "c.png")
    assert run("correct", shoot, "-o", out, "--series", "--quiet") == 0
    before = results(out)
    (tmp_path / "c.png").rename(held)
    assert run("correct", shoot, "-o", out, "--series", "--quiet") == 1
    assert "a.png exists; add --overwrite" in capsys.readouterr().err
    assert results(out).items() >= before.items()  # nothing is replaced
    assert run("correct", shoot, "-o", out, "--series", "--quiet", "--overwrite") == 0
    assert results(out)["a.png"] != before["a.png"]
    assert results(out)["z.png"] == before["z.png"]


def test_the_look_of_a_photo_that_is_right(shoot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, liked, outside = (tmp_path / name for name in ("plain", "liked", "outside"))
    assert run("correct", shoot, "-o", plain, "--series", "--quiet") == 0
    assert run("correct", shoot, "-o", liked, "--series", "--like", shoot / "c.png", "--quiet") == 0
    assert (liked / "c.png").read_bytes() == (shoot / "c.png").read_bytes()
    assert rows(liked)["c.png"]["status"] == "right (copied)"
    wanted = pixels(shoot / "c.png")
    errors = [np.abs(pixels(folder / "a.png") - wanted).mean() for folder in (plain, liked)]
    assert errors[1] < 0.6 * errors[0]
    (shoot / "c.png").rename(tmp_path / "c.png")
    like = ("--like", tmp_path / "c.png", "--like", EXAMPLES / "astronaut_under.jpg")
    assert run("correct", shoot, "-o", outside, "--series", *like) == 0
    assert "astronaut_under.jpg, given with --like, shows no scene of the others" in capsys.readouterr().err
    assert sorted(results(outside)) == ["a.png", "b.png", "z.png"]
    assert np.abs(pixels(outside / "a.png") - wanted).mean() < 0.6 * errors[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--like", "shoot/a.png"], "add --series"),
        (["--series", "--like", "gone.png"], "gone.png, given with --like, is no file"),
        (["--series", "--like", "text.png"], "text.png, given with --like, cannot be read as a photo"),
        (["--series", "--dry-run"], "--dry-run cannot be used with --series"),
        (["--series", "--watch"], "--series cannot be used with --watch"),
        (["--series", "-o", "-"], "--series cannot be used with standard output"),
    ],
)
def test_arguments_that_make_no_sense(
    shoot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], told: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("no photo")
    assert run("correct", "shoot", *arguments) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.glob("corrected/*.png"))
    assert run("correct", "shoot/a.png", "--series") == 2
    assert "--series needs several photos" in capsys.readouterr().err


def test_a_damaged_photo_does_not_stop_the_others(
    shoot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shoot / "b.png").write_bytes((shoot / "b.png").read_bytes()[:900])
    assert run("correct", shoot, "-o", tmp_path / "out", "--series", "--quiet") == 1
    assert "b.png is damaged or cut off" in capsys.readouterr().err
    assert sorted(results(tmp_path / "out")) == ["a.png", "c.png", "z.png"]
    assert rows(tmp_path / "out")["a.png"]["group"] == "0"


def test_a_damaged_look_is_told(shoot: Path, tmp_path: Path) -> None:
    work = Work(output=tmp_path / "out", resume=True)
    jobs = [Job(path, work.output / path.name) for path in sorted(shoot.iterdir()) if work.output]
    looked = [look_at(job, work, False) for job in jobs]
    assert look_at(Job(tmp_path / "gone.png", tmp_path), work, False) == Looked(str(tmp_path / "gone.png"), None)
    series = as_series(jobs, [], looked)
    assert [job.group for job in series.jobs] == [0, 0, 0, None]
    look = looked[0].look
    assert look
    look.write_bytes(look.read_bytes()[:5000])
    with pytest.raises(ImageError, match=r"safetensors, which holds a photo of the series, is missing or damaged; run"):
        load_look(look)


@pytest.mark.parametrize("right", [False, True])
def test_looks_are_kept_as_they_are(shoot: Path, tmp_path: Path, right: bool) -> None:
    work = Work(output=tmp_path, resume=True)
    looked = look_at(Job(shoot / "a.png", tmp_path / "a.png"), work, right)
    assert looked.look
    kept = load_look(looked.look)
    photo = read_photo(shoot / "a.png")
    seen = SeriesCorrector(Corrector.load()).look(photo.to_tensor(), photo.metadata, right=right)
    assert np.array_equal(kept.shot.look, seen.shot.look)
    assert np.abs(kept.result.astype(int) - seen.result).max() <= 1
    assert kept.shot.marks and seen.shot.marks
    for found, wanted in zip(kept.shot.marks, seen.shot.marks, strict=True):
        assert np.array_equal(found, wanted)
    for name in ("height", "width", "taken", "stops", "bias", "camera"):
        assert getattr(kept.shot, name) == getattr(seen.shot, name)
    assert np.array_equal(kept.result, kept.shot.look) == right
    assert kept.shot.lift == pytest.approx(seen.shot.lift, abs=0.01)


@pytest.mark.slow
def test_processes_give_the_same_files_and_a_killed_run_goes_on(shoot: Path, tmp_path: Path) -> None:
    for index in range(5):  # some more scenes
        turned = np.roll(np.asarray(Image.open(EXAMPLES / "cat_over.jpg")), 60 * index, 1)[:: 1 + index % 2]
        Image.fromarray(turned).save(shoot / f"m{index}.png")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = ["correct", str(shoot), "--series", "--workers", "2", "--quiet", "-o"]
    assert run(*command, whole) == 0
    process = subprocess.Popen([sys.executable, "-m", "expcorr_core", *command, str(killed)])
    deadline = time.monotonic() + 300
    while not list(killed.glob("*.png")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    time.sleep(1.5)  # its workers end
    assert run(*command, killed) == 0
    assert results(killed) == results(whole)
    assert [p.name for p in killed.rglob("*") if p.is_file()].count(REPORT) == 1
    assert len(list(killed.glob(JOURNALS))) == 1


@pytest.mark.slow
def test_ray_gives_the_same_files(shoot: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the ray extra is missing")
    assert run("correct", shoot, "-o", tmp_path / "here", "--series", "--quiet") == 0
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    assert run("correct", shoot, "-o", tmp_path / "ray", "--series", "--ray", "--quiet") == 0
    for name in results(tmp_path / "here"):
        assert np.abs(pixels(tmp_path / "here" / name) - pixels(tmp_path / "ray" / name)).mean() < 0.3
