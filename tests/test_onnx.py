"""Correcting through ONNX Runtime, without PyTorch: the same results, and the same sentences."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from expcorr_core.batch.bulk import Job, Work, correct_file
from expcorr_core.bilateral import array_grid
from expcorr_core.bilateral.array_grid import ArrayGrid
from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.cli import main
from expcorr_core.correcting import correct
from expcorr_core.corrections.grid_file import load_grid
from expcorr_core.corrector import Corrector
from expcorr_core.image.colour import linear_to_srgb, luma, luminance, srgb_to_linear
from expcorr_core.image.limits import Limits
from expcorr_core.image.report import exposure_change, exposure_error
from expcorr_core.image.resize import reduce_to, resize, sample
from expcorr_core.ort.corrector import OnnxCorrector
from expcorr_core.photos.icc import ADOBE_RGB, PRIMARIES, profile_of
from expcorr_core.photos.metadata import Metadata
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import read_photo
from expcorr_core.photos.writing import write_photo
from expcorr_core.runtimes import ONNX, TORCH
from expcorr_core.settings import Settings, UsageError

pytest.importorskip("onnxruntime", reason="ONNX Runtime comes with the onnx extra")
data = pytest.importorskip("skimage.data", reason="scikit-image comes with the eval extra")

ROOT = Path(__file__).parent.parent
PICTURES = ("astronaut", "coffee", "cat", "rocket")
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def onnx() -> OnnxCorrector:
    return OnnxCorrector()


@pytest.fixture
def without_torch(no_torch: Path) -> Any:
    """Runs the command in a process that cannot import PyTorch."""

    def call(*arguments: object, code: int = 0, start: tuple[str, ...] = ("-m", "expcorr_core")) -> str:
        command = [sys.executable, *start, *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(no_torch)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return call


def picture(name: str, light: float = 0.35) -> Pixels:
    return (getattr(data, name)()[..., :3] * light).astype(np.uint8)


def assert_close(found: Photo, wanted: Photo, most: int = 1) -> None:
    difference = np.abs(found.pixels.astype(int) - wanted.pixels.astype(int))
    assert difference.max() <= most
    assert difference.mean() <= 0.1 * most


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("size", [None, (1, 1), (1, 9), (700, 2), (2000, 1400)])
def test_corrects_as_pytorch_does(
    default_corrector: Corrector, onnx: OnnxCorrector, name: str, size: tuple[int, int] | None
) -> None:
    pixels = picture(name)
    if size:
        pixels = np.array(Image.fromarray(pixels).resize(size))
    photo = Photo(pixels)
    assert_close(onnx.correct_photo(photo), default_corrector.correct_photo(photo))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(strength=0.5),
        Settings(strength=1.7),
        Settings(strength=0),
        Settings(max_stops=0.5),
        Settings(max_stops=1, keep_highlights=False),
        Settings(keep_highlights=False),
        Settings(working_size=200),
    ],
    ids=repr,
)
def test_settings_do_the_same(default_corrector: Corrector, onnx: OnnxCorrector, settings: Settings) -> None:
    photo = Photo(picture("coffee", 0.6))
    assert_close(onnx.correct_photo(photo, settings), default_corrector.correct_photo(photo, settings))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("profile", [profile_of(*PRIMARIES[12]), ADOBE_RGB, b""], ids=["P3", "Adobe RGB", "sRGB"])
def test_other_spaces_and_depths(
    default_corrector: Corrector, onnx: OnnxCorrector, profile: bytes, dtype: type[np.unsignedinteger[Any]]
) -> None:
    pixels = picture("cat").astype(dtype) * (257 if dtype is np.uint16 else 1)
    photo = Photo(pixels.astype(dtype), metadata=Metadata(icc_profile=profile))
    most = 1 if dtype is np.uint8 else 257
    assert_close(onnx.correct_photo(photo), default_corrector.correct_photo(photo), most)


def test_a_photo_is_corrected_where_torch_cannot_be_imported(
    default_corrector: Corrector, tmp_path: Path, without_torch: Any
) -> None:
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    write_photo(source, Photo(picture("rocket")))
    without_torch("correct", source, "-o", target)
    assert_close(read_photo(target), default_corrector.correct_photo(read_photo(source)))


@pytest.mark.slow
def test_programs_correct_photos_where_torch_cannot_be_imported(tmp_path: Path, without_torch: Any) -> None:
    write_photo(tmp_path / "a.png", Photo(picture("cat")))
    code = "import sys, expcorr_core; print(expcorr_core.correct(sys.argv[1]))"
    assert "a_corrected.png" in without_torch(tmp_path / "a.png", start=("-c", code))
    assert (tmp_path / "a_corrected.png").is_file()


@pytest.mark.slow
def test_a_folder_is_corrected_where_torch_cannot_be_imported(tmp_path: Path, without_torch: Any) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in PICTURES:
        write_photo(folder / f"{name}.png", Photo(picture(name)))
    (folder / "broken.jpg").write_bytes(b"no photo")
    options = ("--compare", "--lut", "cube", "--xmp", "--grid", "--workers", "2")
    assert "to do" in without_torch("correct", folder, "-o", out, "--dry-run")
    without_torch("correct", folder, "-o", out, *options, code=1)
    with (out / "expcorr-report.csv").open(newline="") as file:
        rows = {Path(row["file"]).stem: row for row in csv.DictReader(file)}
    assert "is not a photo in a known format" in rows.pop("broken")["error"]
    assert {row["status"] for row in rows.values()} == {"corrected"}
    assert all(float(row["lut_db"]) > 25 and float(row["well_exposed"]) < 1 for row in rows.values())
    endings = ("png", "cube", "xmp", "safetensors")
    assert all((out / f"{name}.{ending}").is_file() for name in PICTURES for ending in endings)
    assert "4 done before" in without_torch("correct", folder, "-o", out, *options, code=1)
    # What it wrote is what PyTorch reads, and applies to another rendition.
    grid = load_grid(out / "cat.safetensors").grid
    assert isinstance(grid, BilateralGrid)
    without_torch("apply", out / "cat.safetensors", folder / "cat.png", "-o", tmp_path / "again.png")
    assert_close(read_photo(tmp_path / "again.png"), read_photo(out / "cat.png"), 0)


@pytest.mark.slow
@pytest.mark.parametrize("command", [("video", "a.mp4", "b.mp4"), ("serve",), ("info",)], ids=lambda c: c[0])
def test_what_needs_torch_says_so(without_torch: Any, command: tuple[str, ...]) -> None:
    assert "torch is not installed; pip install 'expcorr[standalone]'" in without_torch(*command, code=1)


def run(*arguments: object) -> int:
    return main([*map(str, arguments)])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--fusion",), "ONNX Runtime cannot do this: fusion; use PyTorch"),
        (("--stretch", "1"), "ONNX Runtime cannot do this: stretch; use PyTorch"),
        (("--gains", "1,1"), "ONNX Runtime cannot do this: gains; use PyTorch"),
        (("--no-flip",), "ONNX Runtime cannot do this: correcting without the mirrored photo; use PyTorch"),
        (("--working-size", "900"), "ONNX Runtime cannot do this: a working size above 512; use PyTorch"),
        (("--series",), "--series cannot be used with ONNX Runtime; pip install 'expcorr[standalone]'"),
        (("--weights", "other.safetensors"), "cannot read other.safetensors; export it"),
        (("--device", "mps"), "device 'mps' is unknown to ONNX Runtime; use auto, cpu, cuda"),
        (("--device", "directml"), "cannot use directml (pip install onnxruntime-directml)"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_refused(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, ...], message: str
) -> None:
    assert run("correct", photo.parent, "-o", tmp_path / "out", "--runtime", "onnx", *option) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("absent", "option", "message"),
    [
        (("onnxruntime",), ("--runtime", "onnx"), "ONNX Runtime is not installed; pip install 'expcorr[onnx]'"),
        (("torch",), ("--runtime", "torch"), "PyTorch is not installed; pip install 'expcorr[standalone]'"),
        (("torch", "onnxruntime"), (), "neither PyTorch nor ONNX Runtime is installed; pip install"),
    ],
)
def test_missing_runtimes_are_named(
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    absent: tuple[str, ...],
    option: tuple[str, ...],
    message: str,
) -> None:
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)
    assert run("correct", photo, *option) == 2
    assert message in capsys.readouterr().err


def test_weights_that_the_other_runtime_reads_are_named(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = tmp_path / "mine.onnx"
    for options, message in (
        (("--weights", "paper", "--runtime", "onnx"), "export it (python training/export.py"),
        (("--weights", exported, "--runtime", "torch"), "PyTorch cannot read"),
        (("--weights", exported), "there is no file"),
    ):
        assert run("correct", photo, "-o", tmp_path / "out", *options) == 2
        assert message in capsys.readouterr().err
    exported.write_bytes(b"no graph")
    assert run("correct", photo, "-o", tmp_path / "out", "--weights", exported) == 1
    assert "ONNX Runtime cannot load" in capsys.readouterr().err
    with pytest.raises(ValueError, match="is no network of exposure correction"):
        OnnxCorrector(ROOT / "weights/onnx/fit.onnx")


def test_exported_weights_are_used_by_name(photo: Path, tmp_path: Path) -> None:
    for name, options in (("a", ()), ("b", ("--weights", ROOT / "weights/onnx/model_fp16.onnx"))):
        assert run("correct", photo, "-o", tmp_path / f"{name}.png", "--runtime", "onnx", *options) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_missing_network_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expcorr_core.ort.corrector.DEFAULT", "none.onnx")
    with pytest.raises(UsageError, match=r"the bundled network none\.onnx is missing"):
        OnnxCorrector()


@pytest.mark.parametrize("content", [b"", b"words", b"GIF89a", b"\xff\xd8\xff\xe0 cut", None], ids=str)
def test_hostile_files_give_the_same_sentences(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    told = [correct_file(Job(path, tmp_path / "b.jpg"), Work(runtime=runtime)).error for runtime in (TORCH, ONNX)]
    assert told[0] == told[1] != ""


def test_nothing_is_reported_to_the_runtimes_makers(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_torch: Any
) -> None:
    """Where it is, ONNX Runtime leaves an identifier in these folders."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(folder))
    for name in ("CI", "GITHUB_ACTIONS", "TF_BUILD"):  # where it holds back by itself
        monkeypatch.delenv(name, raising=False)
    without_torch("correct", photo, "-o", tmp_path / "out.png")
    assert [path for path in folder.rglob("*") if "numba" not in path.as_posix()] == []


@pytest.mark.parametrize(
    "image",
    [np.zeros((2, 3, 4, 4), np.float32), np.zeros((3, 4, 4), np.float32), np.zeros((1, 3, 4, 4), np.uint8)],
    ids=["two", "no batch", "integers"],
)
def test_images_of_other_kinds_are_refused(onnx: OnnxCorrector, image: Any) -> None:
    with pytest.raises(ValueError, match="image must"):
        onnx(image)


def test_values_that_are_not_finite_are_refused(onnx: OnnxCorrector) -> None:
    image = np.full((1, 3, 20, 30), 0.5, np.float32)
    image[0, 1, 7, 9] = np.nan
    for call in (onnx, ArrayGrid.identity().slice):
        with pytest.raises(ValueError, match="image must not hold NaN or infinite values"):
            call(image)


@pytest.fixture(params=["numba", "numpy"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(array_grid, "_numba", lambda: None)
    else:
        pytest.importorskip("numba", reason="numba comes with the fast extra")
    return str(request.param)


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 5), (131, 97)])
def test_arrays_are_sliced_as_tensors_are(path: str, size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    coefficients = random.normal(size=(1, 5, 7, 4, 3, 4)).astype(np.float32)
    image = random.uniform(-0.1, 1.1, (1, *size, 3)).astype(np.float32).transpose(0, 3, 1, 2)
    for limits in (None, Limits(max_stops=1.0)):
        found = ArrayGrid(coefficients, limits).blend(0.7)
        wanted = BilateralGrid(torch.from_numpy(coefficients), limits).blend(0.7)
        result = found.slice(image)
        assert min(size) == 1 or result.strides == image.strides  # an axis of one pixel may have any
        assert np.abs(result - wanted.slice(torch.from_numpy(image), path="torch").numpy()).max() < 2e-5
        for top, bottom, part in found.strips(size[0], 50):
            assert np.abs(part.slice(image[:, :, top:bottom]) - result[:, :, top:bottom]).max() < 2e-5


def test_what_is_written_for_both_does_the_same_to_both() -> None:
    before, after = (np.random.default_rng(seed).random((2, 3, 90, 130), np.float32) for seed in (0, 1))
    functions: list[Any] = [
        srgb_to_linear,
        linear_to_srgb,
        luma,
        luminance,
        lambda image: resize(image, (31, 200)),
        lambda image: reduce_to(image, 40),
        lambda image: sample(image, 17, 200),
        lambda image: exposure_error(image, image**0.7),
        lambda image: exposure_change(image, image**0.7),
        lambda image: exposure_change(image * 0, image).clip(0, 9),  # infinite
    ]
    for function in functions:
        array, tensor = function(before), function(torch.from_numpy(before)).numpy()
        assert array.dtype == tensor.dtype == np.float32
        assert array == pytest.approx(tensor, abs=2e-5)
    for limits in (Limits(), Limits(0.5), Limits(0.5, False)):
        results = after.copy(), torch.from_numpy(after.copy())
        limits.apply(before, results[0])
        limits.apply(torch.from_numpy(before), results[1])
        assert np.abs(results[0] - results[1].numpy()).max() < 2e-6


def test_the_threads_of_a_worker_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    from expcorr_core.machine import limit_threads, threads

    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    try:
        limit_threads(3)
        assert threads() == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_work_of_both_runtimes_is_the_same_work() -> None:
    """A run may be resumed with the other one."""
    assert Work(runtime=ONNX).key == replace(Work(), runtime=TORCH).key


def test_photos_of_any_kind(onnx: OnnxCorrector, tmp_path: Path) -> None:
    pixels = picture("cat")
    wanted = onnx.correct_photo(Photo(pixels)).pixels
    write_photo(tmp_path / "a.png", Photo(pixels))
    assert correct(str(tmp_path / "a.png"), corrector=onnx) == str(tmp_path / "a_corrected.png")
    assert np.array_equal(read_photo(tmp_path / "a_corrected.png").pixels, wanted)
    assert_close(Photo(correct(pixels, corrector=onnx)), Photo(wanted))
    assert np.array_equal(np.asarray(correct(Image.fromarray(pixels), corrector=onnx)), wanted)
    with pytest.raises(TypeError, match="give the photo as an array"):
        correct(torch.rand(1, 3, 8, 8), corrector=onnx)
