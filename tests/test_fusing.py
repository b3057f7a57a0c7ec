"""Exposure brackets, aligned and fused: the pictures, and what the command line makes of them."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from measures import psnr
from PIL import Image
from torch import Tensor

from expcorr_core.batch import fused, series
from expcorr_core.batch.bulk import Job, Work, correct_file, journal_of, needs, plan
from expcorr_core.batch.fused import fusing_bytes
from expcorr_core.batch.outcome import REPORT
from expcorr_core.batch.pool import WORKER_BYTES
from expcorr_core.batch.series import Series, fused_jobs
from expcorr_core.cli import main
from expcorr_core.corrector import Corrector
from expcorr_core.files import digest
from expcorr_core.image.colour import linear_to_srgb, srgb_to_linear
from expcorr_core.image.motion import warp
from expcorr_core.method.fusion import fuse_exposures
from expcorr_core.series.fusing import fuse_bracket, reference_of, views_of
from expcorr_core.settings import Settings

HEIGHT, WIDTH = 240, 320
STOPS = (-2.0, 0.0, 2.0)


def landscape() -> Tensor:
    """Patches and texture of all sizes, ``(1, 3, HEIGHT, WIDTH)``."""
    made = torch.Generator().manual_seed(3)
    result = torch.zeros(1, 3, HEIGHT, WIDTH)
    for side, share in ((4, 0.35), (15, 0.3), (40, 0.2), (120, 0.15)):
        noise = torch.rand(1, 3, side * 3 // 4, side, generator=made)
        result += share * F.interpolate(noise, (HEIGHT, WIDTH), mode="bicubic")
    return result.clamp(0, 1)


def exposed(image: Tensor, stops: float) -> Tensor:
    return (linear_to_srgb((srgb_to_linear(image) * 2**stops).clamp(0, 1)) * 255).round() / 255


def turned(degrees: float, zoom: float, across: float, down: float) -> Tensor:
    """A map that turns and zooms a view, and shifts it by pixels."""
    angle = math.radians(degrees)
    along, over = zoom * math.cos(angle), zoom * math.sin(angle)
    aspect = WIDTH / HEIGHT
    return torch.tensor(
        [[along, -over / aspect, 2 * across / WIDTH], [over * aspect, along, 2 * down / HEIGHT], [0, 0, 1]],
        dtype=torch.float64,
    )


VIEWS = (turned(0.8, 1.01, 4.3, -2.6), torch.eye(3, dtype=torch.float64), turned(-0.6, 0.99, -3.2, 3.7))


@pytest.fixture(scope="module")
def still() -> list[Tensor]:
    """A bracket from a tripod."""
    return [exposed(landscape(), stops) for stops in STOPS]


@pytest.fixture(scope="module")
def shaken() -> list[Tensor]:
    """The same, taken by hand: a position in the middle one's view is seen where VIEWS has it."""
    return [
        exposed(warp(landscape(), torch.linalg.inv(view)[None], (HEIGHT, WIDTH), "bicubic")[0].clamp(0, 1), stops)
        for view, stops in zip(VIEWS, STOPS, strict=True)
    ]


def off(found: Tensor, wanted: Tensor) -> float:
    """By how many pixels a map is off, at most, in the view."""
    corners = torch.tensor([[x, y, 1.0] for x in (-1, 0, 1) for y in (-1, 0, 1)], dtype=torch.float64).mT
    apart = ((found - wanted) @ corners)[:2] * torch.tensor([[WIDTH / 2], [HEIGHT / 2]])
    return float(apart.norm(dim=0).max())


# ---- aligned and fused ----


@pytest.mark.slow
def test_exposures_are_aligned_to_a_fraction_of_a_pixel(shaken: list[Tensor]) -> None:
    for found, wanted in zip(views_of(shaken, 1), VIEWS, strict=True):
        assert off(found, wanted) < 0.15


@pytest.mark.slow
def test_a_bracket_taken_by_hand_is_fused_as_if_from_a_tripod(still: list[Tensor], shaken: list[Tensor]) -> None:
    wanted = fuse_exposures(still)
    made, blurred = fuse_bracket(shaken), fuse_exposures(shaken)
    inside = (..., slice(12, -12), slice(12, -12))
    assert psnr(made[inside], wanted[inside]) > psnr(blurred[inside], wanted[inside]) + 10
    assert made.shape == wanted.shape
    assert 0 <= made.min() <= made.max() <= 1


def test_what_an_exposure_does_not_show_is_taken_from_the_others() -> None:
    red, grey = (torch.full((1, 3, 16, 16), 0.5) for _ in range(2))
    red[:, 1:] = 0
    shown = torch.zeros(1, 1, 16, 16)
    everywhere = torch.ones(1, 1, 16, 16)
    assert torch.allclose(fuse_exposures((red, grey), weights=(shown, everywhere)), grey, atol=1e-4)
    assert not torch.allclose(fuse_exposures((red, grey)), grey, atol=0.1)


def test_the_middle_exposure_is_the_reference(still: list[Tensor]) -> None:
    assert reference_of(still) == 1
    assert reference_of([still[1], still[2], still[0]]) == 0
    assert reference_of(still[:2]) == 1  # the other is nearly black
    assert reference_of([still[0] * 0.1, *still[:2]]) == 1


def test_an_exposure_that_shows_nothing_lies_as_its_neighbour(still: list[Tensor]) -> None:
    white = torch.ones_like(still[1])
    views = views_of([still[1], white], 0)
    assert torch.equal(views[1], views[0])
    assert psnr(fuse_bracket([still[1], white], 0), still[1]) > 40


def test_brackets_are_of_one_size(still: list[Tensor]) -> None:
    for images in (still[:1], [still[0], still[1][..., 1:]]):
        with pytest.raises(ValueError, match="two or more images"):
            fuse_bracket(images)
    with pytest.raises(ValueError, match="image 2 must not hold NaN"):
        fuse_bracket([still[0], still[1] * math.nan])


# ---- the command line ----


def run(*args: object) -> int:
    return main([str(arg) for arg in args])


def save(path: Path, image: Tensor) -> None:
    path.parent.mkdir(exist_ok=True)
    pixels = (image[0].permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


@pytest.fixture
def shoot(tmp_path: Path, shaken: list[Tensor]) -> Path:
    """A bracket of three."""
    for name, image in zip("abc", shaken, strict=True):
        save(tmp_path / "shoot" / f"{name}.png", image)
    return tmp_path / "shoot"


@pytest.fixture
def bracket(shoot: Path, tmp_path: Path) -> tuple[Job, Work]:
    """The job of fusing it without correcting the result."""
    out = tmp_path / "out"
    exposures = tuple(shoot / f"{name}.png" for name in "abc")
    work = Work(settings=Settings(strength=0), output=out, resume=True)
    return Job(shoot / "b.png", out / "b_fused.png", None, exposures=exposures), work


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / REPORT).open(newline="", encoding="utf-8") as file:
        return {Path(row["result"]).name: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_the_brackets_of_a_series_are_fused(
    shoot: Path, tmp_path: Path, shaken: list[Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ("correct", shoot, "-o", out, "--series", "--fuse")
    assert run(*arguments) == 0, capsys.readouterr().err
    assert "3 corrected, 1 fused" in capsys.readouterr().out
    row = rows(out)["b_fused.png"]
    assert row["file"] == "; ".join(str(shoot / f"{name}.png") for name in "abc")
    assert (row["status"], row["error"], row["group"]) == ("fused", "", "0")
    assert {path.name for path in out.glob("*.png")} == {"a.png", "b.png", "c.png", "b_fused.png"}
    written = torch.from_numpy(np.array(Image.open(out / "b_fused.png"))).permute(2, 0, 1)[None] / 255
    assert psnr(written, Corrector.load()(fuse_bracket(shaken))) > 50
    # Again: done. With another photo in it, or other settings: not replaced unasked.
    before = digest(out / "b_fused.png")
    assert run(*arguments) == 0
    assert {row["status"] for row in rows(out).values()} == {"done before"}
    assert run(*arguments, "--strength", 0.5) == 1
    assert "b_fused.png exists; add --overwrite" in capsys.readouterr().err
    assert digest(out / "b_fused.png") == before
    assert run(*arguments, "--strength", 0.5, "--overwrite", "--workers", 2) == 0
    assert rows(out)["b_fused.png"]["status"] == "fused"
    assert digest(out / "b_fused.png") != before


@pytest.mark.slow
def test_a_file_of_that_name_is_not_replaced(shoot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "b_fused.png").write_bytes(b"mine")
    assert run("correct", shoot, "-o", out, "--series", "--fuse", "--quiet") == 1
    assert "b_fused.png exists; add --overwrite" in capsys.readouterr().err
    assert (out / "b_fused.png").read_bytes() == b"mine"
    assert [rows(out)[f"{name}.png"]["status"] for name in "abc"] == ["corrected"] * 3


@pytest.mark.slow
def test_a_damaged_exposure_is_one_sentence_and_the_others_are_fused(
    shoot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (shoot / "c.png").write_bytes((shoot / "c.png").read_bytes()[:9000])
    assert run("correct", shoot, "-o", out, "--series", "--fuse", "--quiet") == 1
    assert capsys.readouterr().err.count("c.png is damaged or cut off") == 1
    assert rows(out)["b_fused.png"]["file"] == f"{shoot / 'a.png'}; {shoot / 'b.png'}"
    assert [rows(out)[f"{name}.png"]["status"] for name in "abc"] == ["corrected", "corrected", "failed"]


def test_an_exposure_that_cannot_be_fused_is_one_sentence(bracket: tuple[Job, Work], still: list[Tensor]) -> None:
    job, work = bracket
    last = job.exposures[-1]
    content = last.read_bytes()
    last.write_bytes(content[:9000])
    assert correct_file(job, work).error.startswith(f"{last} is damaged or cut off")
    last.unlink()
    assert correct_file(job, work).error == f"{last} does not exist; check the name"
    save(last, still[2][..., 1:])
    wanted = f"{last} cannot be fused with {job.source}: their sizes are 319 x 240 and 320 x 240; leave one out"
    outcome = correct_file(job, work)
    assert (outcome.error, outcome.status, outcome.source) == (wanted, "failed", job.name)
    assert work.output
    assert not list(work.output.rglob("*.png"))


def test_a_fused_bracket_is_known_by_all_its_photos(bracket: tuple[Job, Work], still: list[Tensor]) -> None:
    job, work = bracket
    for path, image in zip(job.exposures, still, strict=True):
        save(path, image[..., :64, :64])
    assert correct_file(job, work).status == "fused"
    assert correct_file(job, work, journal_of([job], work)[0]).status == "done before"
    assert plan(job, work, journal_of([job], work)[0]).status == "done before"
    save(job.exposures[0], still[0][..., :64, 64:128])
    assert correct_file(job, work, journal_of([job], work)[0]).error.endswith(
        "b_fused.png exists; add --overwrite, or choose another output with -o"
    )


def test_a_bracket_needs_the_memory_of_all_its_photos(
    bracket: tuple[Job, Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, work = bracket
    pixels = HEIGHT * WIDTH
    held = fusing_bytes([pixels] * 3) + sum(path.stat().st_size for path in job.exposures)
    assert needs(*job.sources) == (3 * pixels, WORKER_BYTES + held)
    assert fusing_bytes([pixels] * 9) > fusing_bytes([pixels] * 3) > 3 * 20 * pixels
    monkeypatch.setattr(fused, "memory", lambda: held - 1)
    error = correct_file(job, work).error
    assert error.startswith(f"the bracket of {job.source} needs 0 GiB of memory to be fused, and this computer has 0")


def test_names_that_are_taken_are_refused(bracket: tuple[Job, Work], monkeypatch: pytest.MonkeyPatch) -> None:
    fusing, work = bracket
    assert work.output
    jobs = [Job(path, work.output / path.name) for path in fusing.exposures]
    monkeypatch.setattr(series, "_middle_of", lambda bracket: bracket[1])
    [job] = fused_jobs(Series(jobs=jobs, brackets=[jobs]))
    assert (job.target, job.exposures, job.refusal) == (fusing.target, fusing.exposures, "")
    other = Job(fusing.source.with_name("b_fused.png"), fusing.target)
    [job] = fused_jobs(Series(jobs=[*jobs, other], brackets=[jobs]))
    assert job.refusal.endswith(f"where the result of {other.source} goes; rename one of the two")
    [job] = fused_jobs(Series(jobs=[*jobs, replace(other, source=fusing.target)], brackets=[jobs]))
    assert job.refusal.endswith("b_fused.png, which is an input; choose another output with -o")
    assert correct_file(job, work).error == job.refusal


@pytest.mark.slow
def test_a_series_without_brackets_says_so(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("correct", photo.parent, "-o", tmp_path / "out", "--series", "--fuse", "--quiet") == 0
    assert "no exposure brackets were found, so nothing is fused" in capsys.readouterr().err


@pytest.mark.slow
def test_a_photo_named_as_right_alone_is_not_fused(shoot: Path, tmp_path: Path) -> None:
    """Its bracket has the others; the result is beside theirs, not beside the photo itself."""
    right, out = tmp_path / "right" / "b.png", tmp_path / "out"
    right.parent.mkdir()
    (shoot / "b.png").rename(right)
    assert run("correct", shoot, "-o", out, "--series", "--fuse", "--like", right, "--quiet") == 0
    assert [path.name for path in right.parent.iterdir()] == ["b.png"]
    [row] = (row for row in rows(out).values() if row["status"] == "fused")
    assert row["file"] == f"{shoot / 'a.png'}; {shoot / 'c.png'}"


def test_fuse_is_for_series(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("correct", photo.parent, "--fuse") == 2
    assert "--fuse is for photos that are corrected as a series; add --series" in capsys.readouterr().err
