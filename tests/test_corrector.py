"""The corrector on images of any size and content, fusion, contrast stretch, weights files."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from measures import psnr
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from expcorr_core.corrector import Corrector, native_dtype
from expcorr_core.image.exposure import CameraCurve, shift_exposure
from expcorr_core.method.contrast import normalise_range, stretch_contrast
from expcorr_core.method.fusion import fuse_exposures
from expcorr_core.method.network import Architecture, ExposureNetwork
from expcorr_core.method.pyramid import reconstruct
from expcorr_core.method.weights import (
    WeightsError,
    bundled_weights,
    load_weights,
    read_metadata,
    save_weights,
)
from expcorr_core.photos.reading import read_photo
from expcorr_core.settings import Settings
from expcorr_core.video.sequence import SequenceCorrector

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (37, 53), (511, 512), (700, 200), (2, 20000)])
@pytest.mark.slow
def test_any_size(corrector: Corrector, shape: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *shape)
    result = corrector(image)
    assert result.shape == image.shape
    assert result.isfinite().all()
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_images_stay_nearly_constant(corrector: Corrector, value: float) -> None:
    result = corrector(torch.full((1, 3, 96, 128), value))
    assert result.isfinite().all()
    assert result.std() < 0.1


def test_strength_zero_is_the_identity_bit_for_bit(corrector: Corrector) -> None:
    image = torch.rand(2, 3, 30, 40)
    result = corrector(image, Settings(strength=0))
    assert torch.equal(result, image)
    assert result is not image


def test_strength_interpolates(corrector: Corrector) -> None:
    image = shift_exposure(torch.rand(1, 3, 8, 8), 0.0)
    image = torch.nn.functional.interpolate(image, (64, 64), mode="bicubic").clamp(0, 1)
    full, half = (corrector(image, Settings(strength=s)) for s in (1, 0.5))
    inside = (full > 0) & (full < 1)
    assert torch.allclose(half[inside], torch.lerp(image, full, 0.5)[inside], atol=1e-4)


@pytest.mark.slow
def test_a_batch_equals_its_images(corrector: Corrector) -> None:
    images = torch.rand(3, 3, 70, 90)
    together = corrector(images)
    for image, result in zip(images, together, strict=True):
        assert torch.allclose(corrector(image[None])[0], result, atol=1e-5)


def test_values_beyond_the_range_are_clamped(corrector: Corrector) -> None:
    image = torch.rand(1, 3, 40, 40) * 3 - 1
    assert torch.equal(corrector(image), corrector(image.clamp(0, 1)))


@pytest.mark.slow
def test_a_mirrored_photo_is_corrected_alike(corrector: Corrector) -> None:
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 7), (130, 140), mode="bicubic").clamp(0, 1)
    corrected, mirrored = corrector(image), corrector(image.flip(3)).flip(3)
    assert psnr(corrected, mirrored) > 45
    alone, turned = (corrector(x, Settings(flip=False)) for x in (image, image.flip(3)))
    assert psnr(corrected, mirrored) > psnr(alone, turned.flip(3)) + 5


@pytest.mark.slow
def test_the_network_gets_its_device_and_type() -> None:
    """Seen from outside: a network in bfloat16 on the meta device would fail if its input came as it is."""
    seen: list[tuple[torch.device, torch.dtype]] = []

    class Recorder(ExposureNetwork):
        def forward(self, pyramid: list[Tensor], finest: int = 1) -> list[Tensor]:  # type: ignore[override]
            seen.extend((band.device, band.dtype) for band in pyramid)
            return [pyramid[0] * 0 + 0.5]

    image = torch.rand(1, 3, 20, 20)
    result = Corrector(Recorder(), device="cpu", dtype=torch.bfloat16).correct_small(image)
    assert result.dtype == torch.float32
    assert {dtype for _, dtype in seen} == {torch.bfloat16}
    seen.clear()
    with pytest.raises((NotImplementedError, RuntimeError)):  # nothing comes back from the meta device
        Corrector(Recorder(), device="meta").correct_small(image)
    assert {device.type for device, _ in seen} == {"meta"}


def test_layout_and_type_do_not_matter(corrector: Corrector) -> None:
    image = torch.rand(1, 3, 60, 80)
    result = corrector(image)
    interleaved = image.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.allclose(corrector(interleaved), result, atol=1e-5)
    half = corrector(image.half())
    assert half.dtype == torch.float16
    assert (half.float() - result).abs().max() < 0.01


@pytest.mark.slow
def test_bfloat16_is_near_float32(corrector: Corrector, scene: NDArray[np.uint8]) -> None:
    image = torch.from_numpy(scene).permute(2, 0, 1)[None] / 255
    half = Corrector.load("paper", dtype=torch.bfloat16)
    assert half.network.unets[0].get_parameter("head.weight").dtype == torch.bfloat16
    for ev in (-1.5, 0.0, 1.5):
        wrong = shift_exposure(image, ev)
        assert psnr(half.correct_small(wrong), corrector.correct_small(wrong)) > 42  # 44.8 where it is emulated


def test_bfloat16_is_taken_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    for found, wanted in (
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx512_f": True}, torch.float32),
        ({}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        assert native_dtype("cpu") == wanted
        assert Corrector.load("paper").dtype == wanted
        assert Corrector.load().dtype == torch.float32  # the global network takes no time
    assert native_dtype("meta") == torch.float32
    # A limit that oneDNN is given takes the instructions away.
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    for limit, wanted in (("AVX2", torch.float32), ("sse41", torch.float32), ("AVX512_CORE_BF16", torch.bfloat16)):
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        assert native_dtype("cpu") == wanted


def test_results_are_ordinary_tensors(corrector: Corrector) -> None:
    image = torch.rand(1, 3, 20, 30)
    results = [corrector(image), corrector(image, Settings(strength=0)), corrector.estimate(image).slice(image)]
    results += [frame[None] for frame in SequenceCorrector(corrector)(image)]
    for result in results:
        result[0, 0, 0, 0] = 0.5
        scale = torch.ones(1, requires_grad=True)
        (result * scale).sum().backward()
        assert scale.grad == pytest.approx(float(result.sum()), rel=1e-4)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(1, 4, 8, 8), "3 channels"),
        (torch.rand(3, 8, 8), "shape"),
        (torch.rand(1, 3, 0, 8), "empty"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "floating-point"),
        (torch.full((1, 3, 8, 8), math.nan), "NaN"),
        (torch.full((1, 3, 8, 8), math.inf), "NaN or infinite"),
    ],
)
def test_bad_images(corrector: Corrector, image: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        corrector(image)
    assert "\n" not in str(caught.value)


def test_bad_settings(corrector: Corrector) -> None:
    for arguments, message in (
        ({"strength": -1}, "strength"),
        ({"strength": math.nan}, "strength"),
        ({"stretch": 50}, "stretch"),
        ({"working_size": 0}, "working_size"),
        ({"gains": (1, 1, 1, math.nan)}, "gains must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            Settings(**arguments)
    assert hash(Settings(gains=[1, 2])) == hash(Settings(gains=(1, 2)))
    with pytest.raises(TypeError):
        Settings(0.5)  # type: ignore[misc]
    with pytest.raises(ValueError, match="4 levels, but 2 gains"):
        corrector(torch.rand(1, 3, 8, 8), Settings(gains=(1, 1)))


def test_gains_reach_the_network(corrector: Corrector) -> None:
    image = torch.rand(1, 3, 128, 128)
    plain = corrector(image)
    assert torch.equal(corrector(image, Settings(gains=(1, 1, 1, 1))), plain)
    assert (corrector(image, Settings(gains=(1, 1, 1, 0.5))) - plain).abs().mean() > 0.01


def test_fusion_and_stretch_change_the_result(corrector: Corrector) -> None:
    image = shift_exposure(torch.rand(1, 3, 128, 128), -1.5)
    plain = corrector(image)
    assert (corrector(image, Settings(fusion=True)) - plain).abs().mean() > 1e-3
    assert (corrector(image, Settings(stretch=5)) - plain).abs().mean() > 1e-3


def test_fusion_of_equal_images_is_the_image() -> None:
    image = torch.rand(2, 3, 45, 60)
    assert torch.allclose(fuse_exposures((image, image)), image, atol=1e-5)
    assert torch.allclose(fuse_exposures((image,)), image, atol=1e-5)


def test_fusion_prefers_the_well_exposed_image() -> None:
    good = 0.5 + 0.2 * (torch.rand(1, 3, 64, 64) - 0.5)
    assert psnr(fuse_exposures((good, good * 0.02)), good) > psnr(fuse_exposures((good * 0.02,)), good) + 10


def test_bad_fusion() -> None:
    with pytest.raises(ValueError, match="at least one"):
        fuse_exposures(())
    with pytest.raises(ValueError, match="one shape"):
        fuse_exposures((torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9)))


def test_stretch() -> None:
    image = 0.3 + 0.2 * torch.rand(1, 3, 100, 100)
    result = stretch_contrast(image, 1)
    assert result.min() == 0
    assert result.max() == 1
    assert (result == 0).float().mean() == pytest.approx(0.01, abs=2e-3)
    constant = torch.full((1, 3, 4, 4), 0.3)
    assert torch.equal(stretch_contrast(constant, 1), constant)
    assert torch.allclose(stretch_contrast(image, 0), (image - image.min()) / (image.max() - image.min()), atol=1e-6)
    with pytest.raises(ValueError, match="percent"):
        stretch_contrast(image, 50)


def test_normalised_range() -> None:
    image = torch.rand(1, 3, 50, 60)
    image = (image - image.min()) / (image.max() - image.min())
    darkened = normalise_range(shift_exposure(image, -1.5, CameraCurve(2.2, 0.0, 1.0)))
    assert psnr(darkened, normalise_range(image)) > 60  # a gain is undone
    flat = normalise_range(torch.cat([image * 0.4 + 0.3, image * 0.6]))
    assert torch.allclose(flat[0], flat[1], atol=1e-5)  # each photo by itself
    for level in (0.0, 0.5, 1.0):
        constant = torch.full((1, 3, 4, 4), level)
        assert torch.allclose(normalise_range(constant), constant, atol=1e-5)
    noise = 0.02 * image
    assert torch.allclose(normalise_range(noise), noise * 10, atol=1e-2)  # no more than that


def test_normalised_networks_get_normalised_photos() -> None:
    class Mean(ExposureNetwork):
        def forward(self, pyramid: list[Tensor], finest: int = 1) -> list[Tensor]:  # type: ignore[override]
            return [reconstruct(pyramid)]

    image = torch.rand(1, 3, 128, 128) * 0.4 + 0.1
    for normalised, wanted in ((False, image), (True, normalise_range(image))):
        result = Corrector(Mean(normalised=normalised)).correct_small(image)
        assert torch.allclose(result, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "architecture", "parameters", "most"),
    [
        ("default", {"channels": 24, "hidden": 128}, 657_355, 4e6),
        ("paper", {"depths": [3, 3, 3, 4], "channels": [16, 24, 24, 24]}, 7_015_449, 15e6),
    ],
)
def test_bundled_weights(name: str, architecture: dict[str, object], parameters: int, most: float) -> None:
    path = bundled_weights(name)
    metadata = read_metadata(path)
    assert metadata["value_range"] == "0..1"
    assert metadata["architecture"] == architecture
    assert {"arguments", "commit", "data", "metrics"} <= metadata["training"].keys()
    assert path.stat().st_size < most
    assert load_weights(name).parameter_count() == parameters


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ev", "least"),
    [
        *(("default", ev, least) for ev, least in ((-1.5, 3), (-1.0, 0.7), (1.0, 0.7), (1.5, 5))),
        *(("paper", ev, 1.5) for ev in (-1.5, -1.0, 1.0, 1.5)),
    ],
)
def test_bundled_weights_improve_a_photo(name: str, ev: float, least: float) -> None:
    """A photograph of free licence, exposed wrongly with the camera curve, comes closer to the original.

    With one stop it half passes for well exposed.
    """
    data = pytest.importorskip("skimage.data", reason="the photographs ship with scikit-image")
    target = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255
    image = shift_exposure(target, ev)
    assert psnr(Corrector.load(name)(image), target) > psnr(image, target) + least


# 8 x 8 pixels of the corrected example coffee_under, evenly spaced: R, G, B, a byte each.
COFFEE = (
    "2d2315372a1bab5f2bfbefe8c06d3cbe6d35c37841c391662f2111d07938fbe6d9cd915be1c1a2d3b48ec07346c5885d"
    "9c4412b4401bfdefecca6c26a34f1c671802c07443d59d6da65f2db22f13831d02e89c43e9a852b33413c0733ebf8153"
    "bc7b48ad300d6d1a0763150a934925b63314b87042c27449c27b4ba52d12470f052e0d08724a2eae401ca65e37ba6c3c"
    "c492612704037e1c07350d082a140eba3112a8633d974b24e4b98acca1801c0502962406e18b59220903c07b4ba85727"
)


@pytest.mark.parametrize(
    ("example", "figure"),
    [("astronaut_under", 24.35), ("cat_over", 24.35), ("coffee_under", 28.57), ("rocket_over", 19.35)],
)
def test_what_the_bundled_weights_make_of_the_examples(corrector: Corrector, example: str, figure: float) -> None:
    """PSNR against the photographs that they were made from; the same to 0.001 dB on processors old and new."""
    data = pytest.importorskip("skimage.data", reason="the photographs ship with scikit-image")
    photograph = torch.from_numpy(getattr(data, example.partition("_")[0])().copy()).permute(2, 0, 1)[None] / 255
    result = corrector(read_photo(EXAMPLES / f"{example}.jpg").to_tensor())
    assert psnr(result, photograph) == pytest.approx(figure, abs=0.1)
    if example == "coffee_under":
        pixels = result[0, :, 25::50, 37::75].permute(1, 2, 0).mul(255)
        wanted = torch.tensor(list(bytes.fromhex(COFFEE))).view(8, 8, 3)
        assert (pixels - wanted).abs().max() < 2


@pytest.mark.parametrize(
    ("example", "figure"),
    [("astronaut_under", 31.15), ("cat_over", 23.59), ("coffee_under", 28.68), ("rocket_over", 16.00)],
)
def test_what_the_default_weights_make_of_the_examples(
    default_corrector: Corrector, example: str, figure: float
) -> None:
    """As above. The rocket, in the evening, passes for well exposed."""
    data = pytest.importorskip("skimage.data", reason="the photographs ship with scikit-image")
    photograph = torch.from_numpy(getattr(data, example.partition("_")[0])().copy()).permute(2, 0, 1)[None] / 255
    result = default_corrector(read_photo(EXAMPLES / f"{example}.jpg").to_tensor())
    assert psnr(result, photograph) == pytest.approx(figure, abs=0.1)


def test_save_and_load(tmp_path: Path, small_network: ExposureNetwork) -> None:
    path = tmp_path / "new" / "w.safetensors"
    save_weights(path, small_network, {"seed": 1}, torch.float32)
    loaded = load_weights(path)
    assert loaded.architecture == small_network.architecture
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, small_network.state_dict()[key])
    assert read_metadata(path)["training"] == {"seed": 1}
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("normalised", [False, True])
def test_weights_say_what_their_input_is(tmp_path: Path, normalised: bool) -> None:
    network = ExposureNetwork(Architecture((1, 1), (4, 4)), normalised=normalised)
    save_weights(tmp_path / "w.safetensors", network, {})
    assert load_weights(tmp_path / "w.safetensors").normalised is normalised


def test_bad_weights_files(tmp_path: Path, small_network: ExposureNetwork) -> None:
    good = tmp_path / "good.safetensors"
    save_weights(good, small_network, {})
    state = load_file(good)
    metadata = {"format": "expcorr", "value_range": "0..1", "architecture": "{}", "training": "{}"}

    def variant(name: str, tensors: dict[str, Tensor], **changes: str) -> Path:
        save_file(tensors, tmp_path / name, metadata | changes)
        return tmp_path / name

    key = "unets.0.head.weight"
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes(good.read_bytes()[:-100])
    header = tmp_path / "header.safetensors"
    header.write_bytes(b"\xff" * 64)
    empty = tmp_path / "empty.safetensors"
    empty.write_bytes(b"")
    cases = {
        tmp_path / "nowhere.safetensors": "does not exist",
        tmp_path: "damaged|is no|No such|is a folder",
        truncated: "damaged",
        header: "damaged",
        empty: "damaged",
        variant("foreign.safetensors", {"conv.weight": torch.zeros(3)}, format="pt"): "another program",
        variant("range.safetensors", state, value_range="0..255"): "0..255",
        variant("input.safetensors", state, input="logarithms"): "expects 'logarithms' input",
        variant("json.safetensors", state, training="{"): "unreadable metadata",
        variant("keys.safetensors", {"conv.weight": torch.zeros(3)}): "does not fit",
        variant("missing.safetensors", {k: v for k, v in state.items() if k != key}): f"missing, first {key}",
        variant("more.safetensors", state | {"other": torch.zeros(1)}): "do not belong to it, first other",
        variant("shape.safetensors", state | {key: torch.zeros(2, 2, 1, 1)}): rf"{key} has shape \(2, 2, 1, 1\)",
        variant("nan.safetensors", state | {key: torch.full_like(state[key], math.nan)}): "not finite",
    }
    for path, message in cases.items():
        with pytest.raises(WeightsError, match=message) as caught:
            load_weights(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


CLAIMS = """
import json, resource, struct, sys
from pathlib import Path
from expcorr_core.method.weights import WeightsError, load_weights

first = "unets.0.encoder.0.0.weight"
claims = (
    {first: [4000, 0, 3, 3]},
    {first: [2**62, 0, 3, 3]},
    {f"unets.0.encoder.{stage}.0.weight": [1, 0, 3, 3] for stage in range(3000)},
    {f"unets.{level}.encoder.0.0.weight": [1, 0, 3, 3] for level in range(3000)},
    {first: [1, 0, 3, 3], "unets.0.encoder.999999.0.weight": [1, 0, 3, 3]},
)
before = resource.getrusage(resource.RUSAGE_SELF)
for claim in claims:
    header = {key: {"dtype": "F16", "shape": shape, "data_offsets": [0, 0]} for key, shape in claim.items()}
    header["__metadata__"] = {"format": "expcorr", "value_range": "0..1", "architecture": "{}", "training": "{}"}
    text = json.dumps(header).encode()
    path = Path(sys.argv[1])
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    try:
        load_weights(path)
    except WeightsError as error:
        print("does not fit the exposure correction network" in str(error), len(str(error)) < 300)
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_maxrss - before.ru_maxrss < 100 * 1024)
"""


@pytest.mark.slow
def test_a_weights_file_cannot_claim_memory(tmp_path: Path) -> None:
    """Tensors of size zero cost a file nothing, and the network that they would belong to may have any size."""
    done = subprocess.run(
        [sys.executable, "-c", CLAIMS, str(tmp_path / "claim.safetensors")], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["True"] * 11, done.stdout + done.stderr


def test_metadata_are_json(tmp_path: Path, small_network: ExposureNetwork) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, small_network, {"arguments": {"lr": 1e-4}})
    assert json.loads(json.dumps(read_metadata(path)))["training"]["arguments"]["lr"] == 1e-4
