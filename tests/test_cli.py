"""The command line as a user calls it."""

from __future__ import annotations

import argparse
import csv
import errno
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from expcorr_core import cli
from expcorr_core.batch.journal import JOURNALS
from expcorr_core.batch.outcome import REPORT
from expcorr_core.corrector import Corrector
from expcorr_core.data.pairs import EXPOSURES
from expcorr_core.image.exposure import shift_exposure
from expcorr_core.image.metrics import Look, kept_whites
from expcorr_core.image.report import exposure_in_words
from expcorr_core.method.network import ExposureNetwork
from expcorr_core.method.weights import bundled_weights, load_weights
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import read_photo
from expcorr_core.runtimes import corrector_of

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*arguments: object) -> int:
    return cli.main([str(a) for a in arguments])


def test_a_photo_is_corrected_with_a_comparison(photo: Path, tmp_path: Path) -> None:
    assert run("correct", photo, "-o", tmp_path / "out", "--compare", "--quiet") == 0
    with (
        Image.open(tmp_path / "out" / "scene.jpg") as result,
        Image.open(tmp_path / "out" / "scene_compare.jpg") as pair,
    ):
        assert result.size == (143, 97)
        assert pair.size == (143 * 2 + 4, 97)


def test_output_may_be_a_file_of_another_format(photo: Path, tmp_path: Path) -> None:
    assert run("correct", photo, "-o", tmp_path / "x.webp", "--quiet") == 0
    with Image.open(tmp_path / "x.webp") as image:
        assert image.format == "WEBP"


def test_nothing_is_overwritten_unless_told(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("correct", photo, "-o", out, "--quiet") == 0
    before = (out / "scene.jpg").read_bytes()
    assert run("correct", photo, "-o", out, "--quiet", "--strength", 0) == 1
    assert (out / "scene.jpg").read_bytes() == before
    assert "add --overwrite" in capsys.readouterr().err
    assert run("correct", photo, "-o", out, "--quiet", "--strength", 0, "--overwrite") == 0
    assert (out / "scene.jpg").read_bytes() != before


def results(out: Path) -> list[str]:
    """What a run wrote, except for its journal and report."""
    return sorted(
        str(p.relative_to(out)) for p in out.rglob("*") if p.is_file() and p.name != REPORT and not p.match(JOURNALS)
    )


@pytest.mark.slow
def test_folders_globs_and_failures(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photo.parent
    (folder / "deep").mkdir()
    (folder / "deep" / "second.png").write_bytes(b"")
    Image.open(photo).save(folder / "deep" / "third.PNG")
    out = tmp_path / "out"
    assert run("correct", folder, folder / "nowhere.jpg", "-o", out, "--quiet") == 1
    error = capsys.readouterr().err
    assert "second.png is empty" in error
    assert "nowhere.jpg does not exist" in error
    assert "2 of 4 photos failed" in error
    assert "Traceback" not in error
    assert results(out) == [str(Path("deep", "third.PNG")), "scene.jpg"]
    assert run("correct", folder / "deep" / "*.PNG", "-o", tmp_path / "globbed", "--quiet") == 0
    assert (tmp_path / "globbed" / "third.PNG").is_file()


def test_strength_zero_keeps_the_pixels(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    Image.fromarray(scene).save(tmp_path / "a.png")
    assert run("correct", tmp_path / "a.png", "-o", tmp_path / "out", "--strength", 0, "--quiet") == 0
    assert np.array_equal(read_photo(tmp_path / "out" / "a.png").pixels, scene)


@pytest.mark.parametrize("size", [(1, 1), (20000, 1), (1, 300)])
def test_extreme_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (40, 30, 20)).save(tmp_path / "a.png")
    assert run("correct", tmp_path / "a.png", "-o", tmp_path / "out", "--quiet", "--compare") == 0
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.size == size


def test_grey_stays_grey(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    Image.fromarray(scene).convert("L").save(tmp_path / "a.jpg")
    assert run("correct", tmp_path / "a.jpg", "-o", tmp_path / "out", "--quiet") == 0
    with Image.open(tmp_path / "out" / "a.jpg") as image:
        assert image.mode == "L"


def test_wrong_arguments(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = tmp_path / "other" / "scene.jpg"
    second.parent.mkdir()
    second.write_bytes(photo.read_bytes())
    cases: list[tuple[list[object], str]] = [
        (["correct", photo, "-o", photo.parent], "is an input and would be replaced"),
        (["correct", photo, second, "-o", tmp_path / "out"], "would both be written"),
        (["correct", photo, second, "-o", tmp_path / "a.jpg"], "is one file, but there are 2 inputs"),
        (["correct", photo, "--strength", "3"], "strength must be from 0 to 2"),
        (["correct", photo, "--gains", "1,1", "--weights", "paper"], "--gains needs 4 numbers"),
        (["correct", photo, "--gains", "1,1,1,1"], "add --weights paper"),
        (["correct", photo, "--gains", "nan,1,1,1"], "gains must be finite"),
        (["correct", photo, "--device", "nonsense"], "device 'nonsense' is unknown; use auto, cpu, cuda"),
        (["correct", photo, "-o", tmp_path / "a.gif"], "a.gif names a format that is not written"),
        (["correct", photo, "--report", photo, "--overwrite"], "scene.jpg is an input and would be replaced"),
        (["decompose", photo, "-o", photo], "scene.jpg is a file, not a folder"),
        (["video", photo, photo], "scene.jpg exists; add --overwrite or choose another name"),
        (["correct", photo, "--working-size", "0"], "working_size"),
        (["video", photo, tmp_path / "a.mp4", "--every", "0"], "keyframes must be 1 to 1000 frames apart"),
    ]
    (tmp_path / "empty").mkdir()
    cases.append((["correct", tmp_path / "empty"], "no photos found"))
    for arguments, message in cases:
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    for arguments in (["decompose", photo, "--levels", 0], ["agree", tmp_path, "--larger-side", "x"]):
        with pytest.raises(SystemExit, match="2"):
            run(*arguments)
        assert "is not a whole number of at least 1" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run("correct", photo, "--strenght", "0.6")
    assert "unrecognized arguments: --strenght 0.6; see: expcorr correct --help" in capsys.readouterr().err


def test_other_errors_are_no_wrong_arguments(
    photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stray(*args: object) -> None:
        raise ValueError("something is odd\nwith details")

    monkeypatch.setattr("expcorr_core.method.pyramid.laplacian_pyramid", stray)
    assert run("decompose", photo) == 1
    assert capsys.readouterr().err == "expcorr: something is odd\n"


HEAVY = ("PIL", "av", "huggingface_hub", "numba", "numpy", "safetensors", "scipy", "torch", "tqdm")


@pytest.mark.parametrize(
    "line",
    [
        "--version",
        "--help",
        "video --help",
        "correct",
        "correct x.jpg --strength 3",
        "video a.mp4 b.mp4 --every 0",
        "download",
        "download nameless",
    ],
)
def test_what_needs_no_package_loads_none(line: str) -> None:
    """It is quick, and works without any package installed."""
    code = f"""
import sys
from expcorr_core import __main__
sys.argv[1:] = {line.split()!r}
try:
    __main__.main()
finally:
    assert not set({HEAVY}) & set(sys.modules), set({HEAVY}) & set(sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "AssertionError" not in result.stderr
    assert "expcorr" in result.stdout + result.stderr


@pytest.mark.parametrize("photos", [1, 2])
def test_weights_are_loaded_once(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: int) -> None:
    count = 0

    def counted(*args: Any) -> ExposureNetwork:
        nonlocal count
        count += 1
        return load_weights(*args)

    monkeypatch.setattr("expcorr_core.corrector.load_weights", counted)
    corrector_of.cache_clear()
    if photos == 2:
        photo.with_name("second.jpg").write_bytes(photo.read_bytes())
    assert run("correct", photo.parent, "-o", tmp_path / "out", "--quiet") == 0
    assert len(results(tmp_path / "out")) == photos
    assert count == 1


def test_bad_weights(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "w.safetensors"
    broken.write_bytes(bundled_weights().read_bytes()[:1000])
    for arguments in (["correct", photo, "--weights", broken], ["info", broken]):
        assert run(*arguments) == 1
        assert "is damaged" in capsys.readouterr().err


def test_output_folder_that_may_not_be_written(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")  # as for a user who is not root

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert run("correct", photo, "-o", tmp_path / "out", "--quiet") == 1
    error = capsys.readouterr().err
    assert "scene.jpg cannot be written" in error
    assert "Permission denied" in error


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from expcorr_core import __main__ as entry

    monkeypatch.delitem(sys.modules, "expcorr_core.commands")
    monkeypatch.delattr("expcorr_core.commands")
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys, "argv", ["expcorr", "info"])
    assert entry.main() == 1
    assert "tqdm is not installed; pip install 'expcorr[standalone]'" in capsys.readouterr().err


def test_output_folder_that_is_a_file(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run("correct", photo, "-o", tmp_path / "file", "--quiet") == 2
    assert "file is a file, not a folder; choose another output with -o" in capsys.readouterr().err


def test_decompose(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("decompose", photo, "-o", tmp_path / "bands", "--levels", 3) == 0
    sizes = {p.name: Image.open(p).size for p in (tmp_path / "bands").iterdir()}
    assert sizes == {
        "scene_band1.png": (143, 97),
        "scene_band2.png": (72, 49),
        "scene_residual3.png": (36, 25),
    }
    finest = np.array(Image.open(tmp_path / "bands" / "scene_band1.png"))
    assert abs(finest.mean() - 127.5) < 2
    (tmp_path / "bands" / "scene_band1.png").unlink()
    assert run("decompose", photo, "-o", tmp_path / "bands", "--levels", 3) == 2
    assert "scene_band2.png exists; add --overwrite" in capsys.readouterr().err
    assert not (tmp_path / "bands" / "scene_band1.png").exists()  # nothing is written where not all can be


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    for name, parameters in (((), 657_355), (("paper",), 7_015_449)):
        assert run("info", *name) == 0
        description = json.loads(capsys.readouterr().out)
        assert description["parameters"] == parameters
    assert description["value_range"] == "0..1"


def test_evaluate(tmp_path: Path, scene: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skimage", reason="SSIM needs the eval extra")
    for folder in ("input", "gt"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            Image.fromarray(scene).save(tmp_path / folder / f"{name}.png")
    (tmp_path / "pairs.csv").write_text("name,group,exposure\na,synthetic,over\nb,camera,under\n")
    arguments = ("evaluate", tmp_path / "input", tmp_path / "gt", "--quiet", "--csv", tmp_path / "scores.csv")
    assert run(*arguments, "--strength", 0) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1][:6] == ["all", "2", "100.00", "1.000", "1.000", "1.000"]
    assert {line[0] for line in lines[1:7]} == {"all", "synthetic", "over", "real", "camera", "under"}
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["a", "b"]
    assert [row["chroma"] for row in rows] == ["1.0000", "1.0000"]
    assert run(*arguments) == 2
    (tmp_path / "gt" / "b.png").unlink()
    assert run(*arguments, "--overwrite") == 1
    assert "lacks targets for 1 of 2 inputs" in capsys.readouterr().err


def test_what_was_found_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for error, words in ((1.62, "1.6 stops too bright"), (-0.2, "0.2 stops too dark"), (-0.1, "well exposed on")):
        assert exposure_in_words(error, 0.15).startswith(words)
    for error, probability, sure in ((1.62, 0.1, 90), (-0.2, 0.7, 30), (-0.1, 0.7, 70), (2, 0.0, 99)):
        assert exposure_in_words(error, 0.15, probability).endswith(f" ({sure} % sure)")
    assert run("correct", EXAMPLES / "coffee_under.jpg", "-o", tmp_path / "a.jpg") == 0
    assert re.search(r"1 corrected: \S+; the photo was 2\.\d stops too dark \(9\d % sure\)", capsys.readouterr().out)
    assert run("correct", EXAMPLES / "coffee_under.jpg", "-o", tmp_path / "b.jpg", "--max-stops", 0.5) == 0
    assert re.search(r"the photo was 2\.\d stops too dark", capsys.readouterr().out)  # whatever may be done about it


def test_look_of_known_pictures() -> None:
    grey = np.full((20, 20, 3), 100, np.uint8)
    assert Look.of(grey) == pytest.approx((100, 0), abs=1e-4)
    red = np.array([[[255, 0, 0]]], np.uint8)
    assert Look.of(red).chroma == pytest.approx((255 * (1 - 0.2126) + 2 * 255 * 0.2126) / 3, abs=0.01)
    white = grey.copy()
    white[0, :4] = 250
    assert kept_whites(white, white) == pytest.approx(1)
    assert kept_whites((white * 0.9).astype(np.uint8), white) == pytest.approx(0.9, abs=1e-3)
    assert kept_whites(grey, grey) is None


def test_evaluate_asks_for_its_package_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    assert run("evaluate", tmp_path / "none", tmp_path / "none") == 1
    assert capsys.readouterr().err == "expcorr: SSIM needs scikit-image: pip install 'expcorr[eval]'\n"


def test_every_argument_has_help() -> None:
    parser = cli.build_parser()
    commands_of = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in commands_of.choices.items():
        for action in command._actions:
            assert action.help, (name, action.dest)


@pytest.mark.slow
def test_agreement_of_a_scenes_exposures(
    tmp_path: Path, scene: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    for exposure, step in (("P1", 10), ("N1.5", 0), ("0", 20)):
        Image.fromarray(scene // 2 + step).save(tmp_path / f"a_0_{exposure}.png")
    assert run("consistency", tmp_path, "--quiet", "--strength", 0) == 0
    lines = capsys.readouterr().out.splitlines()
    # Levels that differ by d are 20 log10(255 / d) dB apart.
    for line, names, step in ((lines[1], "-1.5 +0", 20), (lines[2], "-1.5 +1", 10), (lines[3], "+0 +1", 10)):
        figure = f"{20 * np.log10(255 / step):.2f}"
        assert line.split() == [*names.split(), "1", figure, figure]
    assert lines[4].split()[:2] == ["all", "3"]
    image = torch.from_numpy(scene).permute(2, 0, 1) / 255
    for exposure, ev in EXPOSURES.items():
        pixels = Photo.from_tensor(shift_exposure(image, ev)[None]).pixels
        Image.fromarray(pixels).save(tmp_path / f"a_0_{exposure}.png")
    assert run("agree", tmp_path, "--quiet") == 0
    before, after = capsys.readouterr().out.splitlines()[-1].split()[-2:]
    assert float(after) > float(before) + 2
    Image.fromarray(scene[:50]).save(tmp_path / "a_0_0.png")
    assert run("agree", tmp_path, "--quiet") == 1
    assert "differ in size" in capsys.readouterr().err
    for path in tmp_path.glob("*_*.png"):
        path.rename(tmp_path / f"{path.stem[-1]}.png")
    assert run("agree", tmp_path, "--quiet") == 1
    assert "holds no scene at two exposures; name photos SCENE_EXPOSURE, with N1.5, N1, 0" in capsys.readouterr().err


def test_metrics_are_those_of_the_definition() -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="SSIM needs the eval extra")
    from expcorr_core.image.metrics import psnr, ssim

    first = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    second = (first // 2 + 60).astype(np.uint8)
    assert psnr(first, second) == pytest.approx(metrics.peak_signal_noise_ratio(first, second))
    wanted = metrics.structural_similarity(
        first, second, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(first, second) == pytest.approx(wanted)
    assert ssim(first, first) == 1
    assert psnr(first, first) == float("inf")


def test_a_second_run_does_not_correct_the_first_ones_results(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photo.parent)
    (photo.parent / "._scene.jpg").write_bytes(b"hidden files are not photos")
    assert run("correct", ".", "--overwrite") == 0
    assert run("correct", ".", "--overwrite") == 0
    printed = capsys.readouterr().out
    assert "1 corrected" in printed
    assert "1 done before" in printed
    assert results(Path("corrected")) == ["scene.jpg"]


def test_a_photo_named_twice_is_corrected_once(photo: Path, tmp_path: Path) -> None:
    relative = Path(os.path.relpath(photo))
    assert run("correct", photo, relative, photo.parent, "-o", tmp_path / "out", "--quiet") == 0
    assert results(tmp_path / "out") == ["scene.jpg"]


def test_comparisons_are_part_of_the_plan(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = photo.with_name("scene_compare.jpg")
    other.write_bytes(photo.read_bytes())
    assert run("correct", photo, other, "-o", tmp_path / "out", "--compare", "--quiet") == 2
    assert "would both be written" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scene_compare.jpg").touch()
    assert run("correct", photo, "-o", tmp_path / "out", "--compare", "--quiet") == 1
    assert not (tmp_path / "out" / "scene.jpg").exists()


def test_lack_of_memory_is_said_and_the_rest_goes_on(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter((MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory\ndetails")))
    original = Corrector.reduce

    def scarce(self: Corrector, *args: Any) -> Any:
        for error in errors:
            raise error
        return original(self, *args)

    monkeypatch.setattr(Corrector, "reduce", scarce)
    for name in ("second.jpg", "third.jpg"):
        photo.with_name(name).write_bytes(photo.read_bytes())
    assert run("correct", photo.parent, "-o", tmp_path / "out", "--quiet") == 1
    lines = capsys.readouterr().err.splitlines()
    assert "scene.jpg could not be corrected: not enough memory" in lines[0]
    assert "second.jpg could not be corrected: DefaultCPUAllocator: can't allocate memory" in lines[1]
    assert lines[2] == "expcorr: 2 of 3 photos failed"
    assert results(tmp_path / "out") == ["third.jpg"]


@pytest.mark.slow
def test_as_a_process(photo: Path, tmp_path: Path) -> None:
    """Exit codes reach the shell, and no traceback is printed."""
    command = [sys.executable, "-m", "expcorr_core"]
    good = subprocess.run(
        [*command, "correct", photo, "-o", tmp_path / "out"], check=False, capture_output=True, text=True
    )
    assert good.returncode == 0, good.stderr
    assert "1 corrected" in good.stdout
    bad = subprocess.run(
        [*command, "correct", tmp_path / "no.jpg"], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert bad.returncode == 1
    assert "Traceback" not in bad.stderr
    assert subprocess.run(command, check=False, capture_output=True).returncode == 2
