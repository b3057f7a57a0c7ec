"""ONNX graphs against PyTorch: those that come with the package, and those of other networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.corrector import PAIR_SIZE, Corrector
from expcorr_core.image.resize import resize
from expcorr_core.method.global_level import GlobalArchitecture, GlobalNetwork
from expcorr_core.method.network import Architecture, ExposureNetwork
from expcorr_core.method.weights import bundled_weights, read_metadata
from expcorr_core.ort.sessions import require_onnxruntime
from expcorr_core.settings import Settings
from training import export

pytest.importorskip("onnxruntime", reason="ONNX Runtime comes with the onnx extra")
pytest.importorskip("onnxscript", reason="ONNX comes with the export extra")

import onnx
import onnx_ir as ir

from training.onnx_check import largest_difference
from training.onnx_graphs import traced

BUNDLED = bundled_weights().parent / "onnx"
SIZES = ((96, 128), (300, 512), (37, 53), (5, 2), (1, 1))  # the exporter sees pictures of the first


def run(file: Path, **inputs: Tensor) -> dict[str, np.ndarray[Any, Any]]:
    session = require_onnxruntime().InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {key: value.numpy() for key, value in inputs.items()}), strict=True))


def picture(height: int, width: int) -> Tensor:
    """Dark, smooth and coloured."""
    small = torch.rand(1, 3, min(height, 7), min(width, 9))
    return (resize(small, (height, width)) ** 2).clamp(0, 1)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "cat", "rocket"])
def test_photos_of_full_size(default_corrector: Corrector, name: str) -> None:
    data = pytest.importorskip("skimage.data", reason="the photographs come with scikit-image")
    image = torch.from_numpy(getattr(data, name)().astype(np.float32) / 255).permute(2, 0, 1)[None]
    assert largest_difference(BUNDLED, "model_fp16.onnx", default_corrector, image) <= 1


@pytest.mark.parametrize("size", SIZES)
def test_a_photo_of_any_size(default_corrector: Corrector, size: tuple[int, int]) -> None:
    photo = picture(*size)
    found = run(BUNDLED / "model_fp16.onnx", photo=photo)
    wanted = default_corrector.examine(photo, Settings())
    assert wanted.well_exposed is not None
    np.testing.assert_allclose(found["corrected"], wanted.corrected, atol=1e-5)
    np.testing.assert_allclose(found["well_exposed"], wanted.well_exposed, atol=1e-5)
    grid = BilateralGrid.fit_reduced(photo, wanted.corrected, PAIR_SIZE)
    np.testing.assert_allclose(found["grid"], grid.coefficients, atol=2e-3)
    fitted = run(BUNDLED / "fit.onnx", before=photo, after=wanted.corrected)
    np.testing.assert_allclose(fitted["grid"], grid.coefficients, atol=2e-3)


@pytest.mark.parametrize("size", [(1, 1), (40, 61)])
def test_rows_are_sliced_as_of_the_whole_photo(size: tuple[int, int]) -> None:
    photo = torch.rand(1, 3, *size) * 1.2 - 0.1
    grid = BilateralGrid(torch.eye(3, 4) + 0.1 * torch.randn(1, 22, 22, 8, 3, 4))
    wanted = grid.slice(photo)
    for first, end in ((0, size[0]), (size[0] // 3, size[0] // 3 + 1)):
        place = torch.tensor([first, size[0]])
        rows = run(BUNDLED / "slice.onnx", photo=photo[:, :, first:end], grid=grid.coefficients, place=place)
        np.testing.assert_allclose(rows["corrected"], wanted[:, :, first:end], atol=1e-5)


def test_the_bundled_graphs_are_of_the_bundled_weights() -> None:
    model = onnx.load(BUNDLED / "model_fp16.onnx")
    held = {entry.key: entry.value for entry in model.metadata_props}
    metadata = read_metadata(bundled_weights())
    assert {**held, **{key: json.loads(held[key]) for key in ("architecture", "training")}} == metadata
    shapes = {value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
              for value in (*model.graph.input, *model.graph.output)}  # fmt: skip
    assert shapes == {
        "photo": [1, 3, "height", "width"],
        "grid": [1, 22, 22, 8, 3, 4],
        "corrected": [1, 3, "height", "width"],
        "well_exposed": [1],
    }


@pytest.mark.slow
def test_another_network(tmp_path: Path) -> None:
    network = GlobalNetwork(GlobalArchitecture(channels=4, hidden=8))
    network.initialise()
    for layer in (network.curves, network.mix):
        nn.init.normal_(layer.weight, std=0.5)
    Corrector(network)._save_pretrained(tmp_path)
    [weights] = tmp_path.glob("*.safetensors")
    export.main([str(weights), str(tmp_path / "graphs"), "--onnx"])
    corrector = Corrector.load(weights, dtype=torch.float32)
    assert largest_difference(tmp_path / "graphs", "model.onnx", corrector, picture(240, 320)) <= 1
    assert largest_difference(tmp_path / "graphs", "model_fp16.onnx", corrector, picture(240, 320)) <= 1
    whole, halved = (onnx.load(tmp_path / "graphs" / f"model{kind}.onnx") for kind in ("", "_fp16"))
    assert halved.ByteSize() < whole.ByteSize()


@pytest.mark.slow
def test_a_network_of_u_nets_at_any_size(tmp_path: Path) -> None:
    class Painted(nn.Module):
        def __init__(self, corrector: Corrector) -> None:
            super().__init__()
            self.corrector = corrector

        def forward(self, photo: Tensor) -> Tensor:
            return self.corrector.examine(photo, Settings()).corrected

    network = ExposureNetwork(Architecture((1, 1), (4, 4)), normalised=True)
    network.initialise()
    corrector = Corrector(network).eval()
    file = tmp_path / "painted.onnx"
    ir.save(traced(Painted(corrector), {"photo": picture(*SIZES[0])}, ("corrected",)), file)
    for size in SIZES:
        photo = picture(*size)
        wanted = corrector.examine(photo, Settings()).corrected
        np.testing.assert_allclose(run(file, photo=photo)["corrected"], wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.pt", "new", "--onnx"], "nothing.pt"),
        (["nothing.safetensors", "new", "--onnx"], "does not exist"),
        (["default", "full", "--onnx"], "not an empty folder"),
    ],
)
def test_what_cannot_be_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match=words):
        export.main(arguments)
    assert {path.name for path in tmp_path.rglob("*")} == {"full", "mine.txt"}


def test_check_is_for_onnx(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        export.main(["last.pt", "weights.safetensors", "--check", "photo.jpg"])
    assert "--check is for --onnx" in capsys.readouterr().err
