"""The nodes without a ComfyUI: schemas against signatures, and what they do, over a stand-in of what they import.

The stand-in records and computes nothing; whether ComfyUI takes the nodes as they are, `test_comfyui.py` says.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import re
import sys
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from comfyui_stub import Interrupted, Progress, VideoFromComponents, VideoFromFile, loaded
from node_search import PLACES, WORDS
from numpy.typing import NDArray
from pretend_device import Elsewhere, PretendDevice
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from video_files import make_video, pictures, sound

from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.corrector import Corrector
from expcorr_core.image.exposure import gain_exposure, shift_exposure
from expcorr_core.image.masking import limit_change
from expcorr_core.method.fusion import fuse_exposures
from expcorr_core.series.corrector import Agreement, Part, SeriesCorrector
from expcorr_core.settings import Settings
from expcorr_core.video.sequence import SequenceCorrector

ROOT = Path(__file__).parent.parent


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.setattr(Progress, "cancel_after", None)
    with loaded(tmp_path) as found:
        yield found


@pytest.fixture
def photo() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(1, 3, 8, 10, generator=generator)
    image = torch.nn.functional.interpolate(small, (96, 120), mode="bicubic").clamp(0, 1) * 0.4
    return image.permute(0, 2, 3, 1).contiguous()


def run(nodes: dict[str, Any], name: str, **inputs: Any) -> Any:
    """Execute a node with its schema's defaults."""
    node = nodes[f"ExpCorr_{name}"]
    defaults = {port.id: port.default for port in node.define_schema().inputs if hasattr(port, "default")}
    return node.execute(**{**defaults, **inputs})


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of tensors that are made and not yet freed; the peak holds the most at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}  # by address
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor) and tensor.untyped_storage().nbytes():
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self.sizes:
                    self.sizes[storage.data_ptr()] = storage.nbytes()
                    weakref.finalize(storage, self.sizes.pop, storage.data_ptr())
        self.peak = max(self.peak, sum(self.sizes.values()))
        return result


def core(image: Tensor) -> Tensor:
    return image.permute(0, 3, 1, 2)


def test_schemas_match_what_is_executed(nodes: dict[str, Any]) -> None:
    assert len(nodes) == 14
    for name, node in nodes.items():
        schema = node.define_schema()
        parameters = inspect.signature(node.execute).parameters
        assert [port.id for port in schema.inputs] == list(parameters), name
        for port in schema.inputs:
            assert port.optional == (parameters[port.id].default is not inspect.Parameter.empty), (name, port.id)
            assert port.tooltip, (name, port.id)
        assert all(port.tooltip for port in schema.outputs), name
        assert schema.search_aliases
        assert schema.description
        assert schema.category in ("image/adjustments", "model/loaders")


def test_nodes_have_the_words_that_people_search_for(nodes: dict[str, Any]) -> None:
    """ComfyUI's search needs all words of a query in the display name or in one alias."""
    schemas = [node.define_schema() for node in nodes.values()]
    texts = {path.stem: [path.stem] for path in (ROOT / "subgraphs").glob("*.json")}  # they have no aliases
    texts |= {schema.display_name: [schema.display_name, *schema.search_aliases] for schema in schemas}
    for query, name in WORDS.items():
        assert any(all(word in text.lower() for word in query.lower().split()) for text in texts[name]), query


@pytest.mark.parametrize("path", sorted((ROOT / "example_workflows").glob("*.json")), ids=lambda path: path.stem)
def test_example_workflows_are_apps_whose_inputs_and_outputs_exist(path: Path) -> None:
    """As ComfyUI's interface saves them: nodes with widgets as inputs, nodes as outputs."""
    workflow = json.loads(path.read_text())
    assert workflow["extra"]["linearMode"] is True
    app = workflow["extra"]["linearData"]
    widgets = {node["id"]: node.get("widgets_values_named") or {} for node in workflow["nodes"]}
    for node, widget in app["inputs"]:
        assert widget in widgets[node]
    types = {node["id"]: node["type"] for node in workflow["nodes"]}
    assert [types[node] for node in app["outputs"]] in (["SaveImage"], ["SaveVideo"])
    assert types[app["inputs"][0][0]].startswith("Load")  # what a user chooses first
    assert widgets[app["inputs"][0][0]]


def test_the_documentation_lists_the_words() -> None:
    """With the node of each, and the place that test_browser.py asks for."""
    page = (ROOT / "docs" / "comfyui.md").read_text("utf-8")
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (?:\d+|not found) \| (\d+) \|$", page, re.M)
    assert {word: name for word, name, _ in rows} == WORDS
    assert all(int(place) <= PLACES for *_, place in rows)


def test_exposure_finds_the_correction_first(nodes: dict[str, Any]) -> None:
    """Of names that begin with what was typed, ComfyUI's search puts the shortest first."""
    names = [node.define_schema().display_name for node in nodes.values()]
    assert min((name for name in names if name.startswith("Exposure")), key=len) == "Exposure Correct"


def test_corrections_are_the_cores(nodes: dict[str, Any], photo: Tensor) -> None:
    [model] = run(nodes, "LoadModel").values
    result, grid, _ = run(nodes, "Correct", model=model, image=photo).values
    wanted = Corrector.load()(core(photo), Settings())
    assert (core(result) - wanted).abs().max() < 1e-5
    [again] = run(nodes, "ApplyCorrection", correction=grid, image=photo).values
    assert (again - result).abs().max() < 1e-5
    [large] = run(nodes, "ApplyCorrection", correction=grid, image=photo.repeat(3, 2, 2, 1)).values
    assert large.shape == (3, 192, 240, 3)


def test_band_gains_are_for_the_papers_network(nodes: dict[str, Any], photo: Tensor) -> None:
    """Which the choice 'paper' loads; with the default network, an error says to choose it."""
    [model] = run(nodes, "LoadModel", weights="paper").values
    result, *_ = run(nodes, "Correct", model=model, image=photo, gain_4=1.5).values
    wanted = Corrector.load("paper", dtype=model.dtype)(core(photo), Settings(gains=(1, 1, 1, 1.5)))
    assert (core(result) - wanted).abs().max() < 1e-5
    [plain, *_] = run(nodes, "Correct", model=model, image=photo).values
    assert (result - plain).abs().max() > 0.01
    [model] = run(nodes, "LoadModel").values
    advice = "^band gains need the paper's network: choose 'paper' in Load Exposure Model"
    for level in range(1, 5):
        with pytest.raises(ValueError, match=advice):
            run(nodes, "Correct", model=model, image=photo, **{f"gain_{level}": 1.5})


def test_exposure_settings(nodes: dict[str, Any], photo: Tensor, shots: list[Tensor]) -> None:
    """They count in all nodes that correct, instead of the hidden inputs; what does not fit the network is refused."""
    [paper] = run(nodes, "LoadModel", weights="paper").values
    gains = {f"gain_{level}": gain for level, gain in enumerate((1.5, 0.8, 1.1, 0.9), 1)}
    [settings] = run(nodes, "Settings", working_size=128, mirror=False, **gains).values
    used = Settings(gains=(1.5, 0.8, 1.1, 0.9), working_size=128, flip=False)
    hidden = {"working_size": 256, "gain_2": 3.0}
    result, *_ = run(nodes, "Correct", model=paper, image=photo, settings=settings, **hidden).values
    corrector = Corrector.load("paper", dtype=paper.dtype)
    assert (core(result) - corrector(core(photo), used)).abs().max() < 1e-5
    result, _ = run(nodes, "CorrectFrames", model=paper, image=photo, settings=settings, working_size=256).values
    [wanted] = SequenceCorrector(corrector, used)(core(photo))
    assert (core(result) - wanted).abs().max() < 1e-5
    video = VideoFromComponents(SimpleNamespace(images=photo, audio=None, frame_rate=Fraction(25)))
    [made] = run(nodes, "CorrectVideo", model=paper, video=video, settings=settings).values
    assert torch.equal(made.get_components().images, result)
    [result], _ = in_series(nodes, [photo], model=[paper], settings=[settings]).values
    assert (core(result) - corrector(core(photo), used)).abs().max() < 1e-5
    [model] = run(nodes, "LoadModel").values
    inputs: dict[str, dict[str, Any]] = {
        "Correct": {"image": photo}, "CorrectFrames": {"image": photo}, "CorrectVideo": {"video": video}
    }  # fmt: skip
    for name, given in inputs.items():
        with pytest.raises(ValueError, match=r"^band gains need the paper's network"):
            run(nodes, name, model=model, settings=settings, **given)
    with pytest.raises(ValueError, match=r"^band gains need the paper's network"):
        in_series(nodes, shots, settings=[settings])


def test_weights_to_choose(nodes: dict[str, Any]) -> None:
    """The bundled networks, the default first, then the safetensors files of the models folder."""
    choice = nodes["ExpCorr_LoadModel"].define_schema().inputs[0]
    assert choice.options == ["bundled", "paper", "mine.safetensors"]
    assert choice.default == "bundled"


@pytest.mark.parametrize("weights", ["bundled", "paper"])
def test_memory_is_asked_for_as_the_network_needs_it(
    nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    """The tensors that are live while it runs fit into what is asked for, and are not far less."""
    [model] = run(nodes, "LoadModel", weights=weights).values
    asked: list[int] = []
    management = sys.modules["comfy.model_management"]
    monkeypatch.setattr(management, "load_models_gpu", lambda models, memory_required: asked.append(memory_required))
    corrector, image = model.corrector(256), torch.rand(1, 3, 256, 256)
    with LiveTensors() as live, torch.no_grad():
        corrector.correct_small(image, flip=True)
    assert live.peak < asked[0] < 3 * live.peak


@pytest.mark.slow
def test_the_other_nodes_are_the_cores(nodes: dict[str, Any], photo: Tensor) -> None:
    [shifted] = run(nodes, "ExposureShift", image=photo, ev=1.2).values
    assert torch.allclose(core(shifted), gain_exposure(core(photo), 1.2), atol=1e-5)
    [fused] = run(nodes, "ExposureFusion", images=torch.cat((photo, shifted))).values
    assert torch.allclose(core(fused), fuse_exposures([core(photo), core(shifted)]), atol=1e-5)
    [pyramid, preview] = run(nodes, "LaplacianDecompose", image=photo).values
    assert len(preview) == 4
    assert torch.allclose(run(nodes, "LaplacianReconstruct", pyramid=pyramid).values[0], photo, atol=1e-5)
    small = photo[:, ::2, ::2]
    [carried] = run(nodes, "BilateralUpsample", source=small, result=small * 0.5 + 0.1, guide=photo).values
    grid = BilateralGrid.fit_reduced(core(small), core(small * 0.5 + 0.1))
    assert torch.allclose(core(carried), grid.slice(core(photo)), atol=1e-5)


def test_a_report(nodes: dict[str, Any], photo: Tensor) -> None:
    [model] = run(nodes, "LoadModel").values
    photo[:, :24] = 0
    photo[:, 24:36] = 1
    output = run(nodes, "ExposureReport", image=photo.repeat(2, 1, 1, 1), model=model)
    histogram, shadows, highlights, error, text, *_ = output.values
    assert histogram.shape[0] == shadows.shape[0] == highlights.shape[0] == 2
    assert shadows[:, :24].min() == 1
    assert shadows[:, 24:].max() == 0
    assert highlights[:, 24:36].min() == 1
    assert text.count("shadows lost: 25.0%, highlights lost: 12.5%, ") == 2
    assert text.count(" % sure)") == 2
    assert output.ui["text"] == (text.splitlines()[0],)
    assert isinstance(error, float)


def test_a_report_of_a_correction_needs_no_network(
    nodes: dict[str, Any], photo: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its strength, it says what the model says, which runs once for each image."""
    [model] = run(nodes, "LoadModel").values
    batch = torch.cat((photo, (photo * 3).clamp(0, 1)))
    runs: list[int] = []
    once = Corrector.examine
    monkeypatch.setattr(
        sys.modules[type(model).__module__].Corrector, "examine", lambda *args: runs.append(1) or once(*args)
    )
    *_, error, text, before, after = run(nodes, "ExposureReport", image=batch, model=model).values
    assert len(runs) == 2
    assert " % sure)" in text
    for strength in (0.3, 1, 1.7):
        [_, correction, _] = run(nodes, "Correct", model=model, image=batch, strength=strength).values
        runs.clear()
        *_, same, told, first, second = run(nodes, "ExposureReport", image=batch, correction=correction).values
        assert not runs
        assert same == pytest.approx(error, abs=1e-4)
        assert told == text
        assert first == before
        assert sum(abs(a - b) for a, b in zip(second, after, strict=True)) < 0.01 * sum(after)
    with pytest.raises(ValueError, match=r"^the correction is for 2 frames, but 3 images were given"):
        run(nodes, "ExposureReport", image=batch[[0, 0, 1]], correction=correction)


def test_a_report_where_the_network_has_not_run(nodes: dict[str, Any], photo: Tensor) -> None:
    """At strength 0, it needs a model; corrections of frames do not say how sure they are."""
    [model] = run(nodes, "LoadModel").values
    _, nothing, _ = run(nodes, "Correct", model=model, image=photo, strength=0).values
    *_, error, text, _, after = run(nodes, "ExposureReport", image=photo, correction=nothing).values
    assert (error, after) == (0, None)
    assert "stops" not in text
    *_, text, _, _ = run(nodes, "ExposureReport", image=photo, correction=nothing, model=model).values
    assert " stops too dark (" in text
    _, grids = run(nodes, "CorrectFrames", model=model, image=photo).values
    *_, text, _, _ = run(nodes, "ExposureReport", image=photo, correction=grids).values
    assert text.endswith(" stops too dark")


def test_histograms_as_comfyui_takes_them(nodes: dict[str, Any], photo: Tensor) -> None:
    """Of the first image, and of its correction where there is a model."""
    flat = torch.tensor([0.2, 0.2, 0.4]).expand_as(photo)
    *_, before, after = run(nodes, "ExposureReport", image=torch.cat((flat, photo))).values
    assert len(before) == 256
    assert (before[51], before[102], sum(before)) == (96 * 120 * 2 // 3, 96 * 120 // 3, 96 * 120)
    assert after is None
    [model] = run(nodes, "LoadModel").values
    *_, before, after = run(nodes, "ExposureReport", image=photo, model=model).values
    assert len(after) == 256
    mean = lambda counts: sum(value * count for value, count in enumerate(counts)) / sum(counts)
    assert mean(after) > mean(before) + 20


def test_masks_of_what_is_lost(nodes: dict[str, Any], photo: Tensor) -> None:
    """One for each image, also with alpha."""
    photo[:, :30], photo[:, 60:] = 0, 1
    under, over = run(nodes, "ExposureMask", image=torch.cat((photo, photo[..., :1]), -1).repeat(2, 1, 1, 1)).values
    assert under.shape == over.shape == (2, 96, 120)
    assert under[:, :30].min() == 1 and under[:, 60:].max() == 0
    assert over[:, 60:].min() == 1 and over[:, :60].max() == 0
    _, wide = run(nodes, "ExposureMask", image=photo, bright=0.1).values
    assert 0 < wide[:, 30:60].mean() < 1


def test_a_correction_as_a_curve(nodes: dict[str, Any], photo: Tensor) -> None:
    """The first photo's, with the strength; without any, the straight line."""
    [model] = run(nodes, "LoadModel").values
    batch = torch.cat((photo, torch.rand_like(photo)))
    for strength, line in ((0, True), (0.5, False), (1, False)):
        result, _, curve = run(nodes, "Correct", model=model, image=batch, strength=strength).values
        x, y = np.array(curve.points).T
        assert curve.interpolation == "monotone_cubic"
        assert (x[0], x[-1]) == (0, 1) and (np.diff(x) > 0).all() and (np.diff(y) >= 0).all()
        assert np.array_equal(x, y) == line
        assert np.abs(np.interp(photo, x, y) - result[:1].numpy()).mean() < 0.02
    assert (result[:1] - photo).mean() > 0.1


def test_comfyui_without_curves_and_histograms(tmp_path: Path, photo: Tensor) -> None:
    """The oldest that the pack supports: the outputs are those that it had before, and so are the results."""
    with loaded(tmp_path, oldest=True) as nodes:
        [model] = run(nodes, "LoadModel").values
        for name, count in (("Correct", 2), ("ExposureReport", 5)):
            assert len(nodes[f"ExpCorr_{name}"].define_schema().outputs) == count
            assert len(run(nodes, name, model=model, image=photo).values) == count
        assert len(run(nodes, "Correct", model=model, image=photo, strength=0).values) == 2


@pytest.mark.parametrize(
    "name", ["Correct", "CorrectFrames", "CorrectVideo", "ApplyCorrection", "BilateralUpsample", "ExposureShift"]
)
def test_neutral_settings_give_the_input_back(nodes: dict[str, Any], photo: Tensor, name: str) -> None:
    settings: dict[str, Any] = {
        "Correct": {"model": None, "image": photo, "strength": 0},
        "CorrectFrames": {"model": None, "image": photo, "strength": 0},
        "CorrectVideo": {"model": None, "video": photo, "strength": 0},
        "ApplyCorrection": {"correction": BilateralGrid.identity(), "image": photo, "strength": 0},
        "BilateralUpsample": {"source": photo, "result": photo, "guide": photo, "strength": 0},
        "ExposureShift": {"image": photo, "ev": 0},
    }[name]
    assert run(nodes, name, **settings).values[0] is photo


@pytest.mark.parametrize("name", ["Correct", "CorrectFrames"])
def test_neutral_settings_show_what_is_given_back(nodes: dict[str, Any], photo: Tensor, name: str) -> None:
    """Not the pictures of an earlier strength."""
    shown = run(nodes, name, model=None, image=photo, strength=0).ui.image
    assert torch.equal(shown, torch.cat((photo, photo), 2))


def test_previews_of_large_photos_look_at_a_part_of_them(
    nodes: dict[str, Any], photo: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And show about the same: filtering all of 12 megapixels takes as long as correcting them."""
    large = torch.nn.functional.interpolate(core(photo), (2400, 3000), mode="bilinear").permute(0, 2, 3, 1)
    layout = sys.modules[nodes["ExpCorr_Correct"].__module__.removesuffix("correct") + "layout"]
    original, sides = layout.reduce_to, []

    def reduce_to(image: Tensor, side: int) -> Tensor:
        sides.append(max(image.shape))
        return original(image, side)

    monkeypatch.setattr(layout, "reduce_to", reduce_to)
    shown = run(nodes, "Correct", model=None, image=large, strength=0).ui.image
    assert len(sides) == 2
    assert max(sides) <= 3000 / 2
    assert max(shown.shape[1:3]) == 2 * 512
    assert (core(shown[:, :, :512]) - original(core(large), 512)).abs().mean() < 0.01


def test_alpha_half_precision_and_batches(nodes: dict[str, Any], photo: Tensor) -> None:
    [model] = run(nodes, "LoadModel").values
    rgba = torch.cat((photo, torch.rand_like(photo[..., :1])), -1).repeat(3, 1, 1, 1).half()
    result, grid, _ = run(nodes, "Correct", model=model, image=rgba).values
    assert result.shape == rgba.shape
    assert torch.equal(result[..., 3], rgba[..., 3].float())
    assert len(grid.coefficients) == 3
    [plain, *_] = run(nodes, "Correct", model=model, image=photo).values
    assert (result[1, ..., :3] - plain[0]).abs().max() < 0.01


def test_frames_are_corrected_as_the_core_does(nodes: dict[str, Any], photo: Tensor) -> None:
    [model] = run(nodes, "LoadModel").values
    batch = torch.cat([photo * gain for gain in (1, 0.9, 0.7)])
    result, correction = run(nodes, "CorrectFrames", model=model, image=batch).values
    wanted = torch.stack(list(SequenceCorrector(Corrector.load())(core(batch))))
    assert (core(result) - wanted).abs().max() < 1e-5
    [again] = run(nodes, "ApplyCorrection", correction=correction, image=batch).values
    assert torch.equal(again, result)
    result, correction = run(nodes, "CorrectFrames", model=model, image=batch, one_correction=True, every=2).values
    assert len(correction.coefficients) == 1
    assert result.shape == batch.shape
    with pytest.raises(ValueError, match="the IMAGE batch is empty"):
        run(nodes, "CorrectFrames", model=model, image=batch[:0])


@pytest.fixture
def shots(scene: NDArray[np.uint8]) -> list[Tensor]:
    """Three photos of one scene, of several sizes and exposures, ``(1, H, W, 3)``."""
    parts = (scene[:80, :120] * 0.3, scene[10:, 15:135] * 1.0, (scene[5:95, 10:130] * 1.3).clip(0, 255))
    return [torch.from_numpy(part.round().astype(np.float32))[None] / 255 for part in parts]


@pytest.fixture
def other() -> Tensor:
    """A photo of another scene."""
    y, x = np.mgrid[0:90, 0:120]
    rings = 0.5 + 0.4 * np.sin(np.hypot(x - 70, y - 30) / 3)
    return torch.from_numpy(np.stack((rings, 1 - rings, 0.5 * rings), -1).astype(np.float32))[None]


def in_series(nodes: dict[str, Any], images: list[Tensor], **inputs: list[Any]) -> Any:
    """Execute Exposure Correct (Series); ComfyUI gives it lists of everything."""
    node = nodes["ExpCorr_CorrectSeries"]
    ports = node.define_schema().inputs
    defaults = {port.id: [port.default] for port in ports if hasattr(port, "default")}
    return node.execute(**{**defaults, "model": list(run(nodes, "LoadModel").values), "images": images, **inputs})


def test_a_series_is_corrected_as_the_core_does(nodes: dict[str, Any], shots: list[Tensor], other: Tensor) -> None:
    """Photos of several sizes, in their order; the text says which belong together and how far they were apart."""
    images = [*shots[:2], other, shots[2]]
    results, text = in_series(nodes, images).values
    corrector = Corrector.load()
    wanted = list(SeriesCorrector(corrector)([core(image) for image in images]))
    for result, image, by_the_core in zip(results, images, wanted, strict=True):
        assert result.shape == image.shape
        assert (core(result) - by_the_core).abs().max() < 1e-5
    assert (core(results[2]) - corrector(core(other))).abs().max() < 1e-5  # by itself
    told = re.fullmatch(
        r"images 1-2, 4: one scene, (.+) apart before, (.+) after\nimage 3: no other photo of the scene", text
    )
    assert told
    before, after = map(float, told.groups())
    assert after < before / 2


def test_a_series_keeps_batches_alpha_and_precision(nodes: dict[str, Any], shots: list[Tensor]) -> None:
    alpha = torch.rand(2, *shots[2].shape[1:3], 1)
    batch = torch.cat((torch.cat((shots[2], shots[2] * 0.4)), alpha), -1).half()
    listed = [shots[0], batch[:1, ..., :3], batch[1:, ..., :3]]
    wanted, text = in_series(nodes, listed).values
    results, same = in_series(nodes, [shots[0], batch]).values
    assert [result.shape for result in results] == [shots[0].shape, batch.shape]
    assert torch.equal(results[1][..., 3:], batch[..., 3:].float())
    assert torch.allclose(results[1][..., :3], torch.cat(wanted[1:]), atol=1e-6)
    assert text == same
    [alone], text = in_series(nodes, [batch]).values
    assert alone.shape == batch.shape
    assert text.startswith("images 1-2: one scene, ")


def test_photos_that_are_right_give_their_look(nodes: dict[str, Any], shots: list[Tensor], other: Tensor) -> None:
    """And are no part of the output."""
    right = shots[1] * torch.tensor([1.0, 0.7, 0.5])  # a warm look
    plain, _ = in_series(nodes, [shots[0], shots[2]]).values
    results, text = in_series(nodes, [shots[0], shots[2]], like=[torch.cat((right, right)), other]).values
    assert [result.shape for result in results] == [shots[0].shape, shots[2].shape]
    assert text.startswith("images 1-2 and like 1-2: one scene, ")
    assert text.endswith("\nlike 3: no photo of the scene among the images")
    for result, before in zip(results, plain, strict=True):
        warm, usual, wanted = (float(i[..., 0].mean() / i[..., 2].mean()) for i in (result, before, right))
        assert abs(warm - wanted) < 0.2 * abs(usual - wanted)


def test_a_series_at_strength_zero_is_given_back(nodes: dict[str, Any], shots: list[Tensor]) -> None:
    """Bit for bit, and that is what is shown."""
    output = in_series(nodes, shots, model=[None], strength=[0.0, 1.0])
    assert all(result is image for result, image in zip(output.values[0], shots, strict=True))
    before, after = output.ui.image.split(256, 1)
    assert torch.equal(before, after)


def test_a_series_shows_its_first_photos(nodes: dict[str, Any], shots: list[Tensor]) -> None:
    """At one height, their results below."""
    output = in_series(nodes, [shots[0].repeat(5, 1, 1, 1), *shots])
    before, after = output.ui.image.split(256, 1)
    assert before.shape[2] == 5 * round(256 * 120 / 80) + round(256 * 120 / 80)
    assert after.mean() > before.mean() + 0.1
    for shown, image in ((before, shots[0]), (after, output.values[0][0])):
        assert abs(shown[:, :, :384].mean() - image[:1].mean()) < 0.01


def test_a_series_shows_progress_and_heeds_cancel(
    nodes: dict[str, Any], shots: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step for each photo that is looked at, and one for each that is corrected, in one bar."""
    images = [shots[0].repeat(2, 1, 1, 1), shots[2]]
    in_series(nodes, images, like=[shots[1]])
    assert Progress.total == 7
    assert Progress.shown == (1, 2, 3, 4, 5, 6, 7)
    for steps in (2, 6):
        monkeypatch.setattr(Progress, "cancel_after", steps)
        with pytest.raises(Interrupted):
            in_series(nodes, images, like=[shots[1]])
        assert Progress.shown == tuple(range(1, steps + 1))


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True])
def test_a_series_on_another_device(
    nodes: dict[str, Any], shots: list[Tensor], monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    """It gives the same results as on the CPU, also if that device has too little memory."""
    wanted, text = in_series(nodes, shots).values
    if full:
        pack = nodes["ExpCorr_Correct"].__module__.removesuffix(".nodes.correct")
        found = sys.modules[f"{pack}.expcorr_core.corrector"].Corrector
        reduce = found.reduce

        def failing(self: Corrector, image: Tensor, settings: Settings) -> Tensor:
            if isinstance(image, Elsewhere):
                raise torch.OutOfMemoryError("full")
            return reduce(self, image, settings)  # type: ignore[no-any-return]

        monkeypatch.setattr(found, "reduce", failing)
    with torch.inference_mode(), PretendDevice():  # as in ComfyUI
        results, same = in_series(nodes, [Elsewhere(shot) for shot in shots]).values
    assert same == text
    for result, expected in zip(results, wanted, strict=True):
        assert not isinstance(result, Elsewhere)
        assert (result - expected).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"images": []}, "^images: the list is empty; give at least one photo$"),
        ({"images": [torch.zeros(0, 8, 8, 3)]}, "the IMAGE batch is empty"),
        ({"like": [torch.zeros(8, 8, 3)]}, "an IMAGE must have shape"),
        ({"model": []}, "^exposure model: the list is empty; give one$"),
        ({"model": ["bundled"]}, "^exposure model: connect Load Exposure Model; str is no exposure model$"),
        ({"strength": []}, "^strength: the list is empty; give one$"),
    ],
)
def test_series_that_cannot_be_corrected(
    nodes: dict[str, Any], shots: list[Tensor], inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        in_series(nodes, **{"images": shots, **inputs})


def test_groups_in_words(nodes: dict[str, Any]) -> None:
    in_words = sys.modules[nodes["ExpCorr_CorrectSeries"].__module__].in_words
    parts = [Part(group=group, size=2, time_lapse=group == 1) for group in (0, 1, 1, 2, 1, 0)]
    agreements = {0: Agreement(10, 2), 5: Agreement(20, 1), 1: Agreement(4, 0.25), 2: None, 4: None}
    assert in_words(parts, agreements, 6) == (
        "images 1, 6: one scene, 15.0 apart before, 1.5 after\n"
        "images 2-3, 5: one time-lapse, 4.0 apart before, 0.2 after\n"
        "image 4: no other photo of the scene"
    )
    assert in_words(parts, {}, 5).splitlines()[0] == "image 1 and like 1: one scene"


def test_a_video_in_memory_keeps_its_sound_and_rate(nodes: dict[str, Any], photo: Tensor) -> None:
    [model] = run(nodes, "LoadModel").values
    batch = photo.repeat(3, 1, 1, 1)
    video = VideoFromComponents(SimpleNamespace(images=batch, audio="sound", frame_rate=Fraction(24)))
    [corrected] = run(nodes, "CorrectVideo", model=model, video=video).values
    parts = corrected.get_components()
    assert (parts.audio, parts.frame_rate) == ("sound", 24)
    assert torch.equal(parts.images, run(nodes, "CorrectFrames", model=model, image=batch).values[0])


@pytest.mark.parametrize("start", [0.0, 0.1])
def test_a_video_in_a_file_becomes_another_file(
    nodes: dict[str, Any], photo: Tensor, tmp_path: Path, start: float
) -> None:
    [model] = run(nodes, "LoadModel").values
    frame = (photo[0] * 255).byte().numpy()
    source = make_video(tmp_path / "clip.mp4", [frame] * 6)
    [corrected] = run(nodes, "CorrectVideo", model=model, video=VideoFromFile(str(source), start)).values
    assert Path(corrected.file).parent == tmp_path / "temp"
    before, after = pictures(source), pictures(Path(corrected.file))
    assert len(after) == len(before)
    assert after[0].to_ndarray(format="gray").mean() > before[0].to_ndarray(format="gray").mean() + 20
    assert sound(Path(corrected.file)) == sound(source)


def test_a_cancelled_video_leaves_nothing(
    nodes: dict[str, Any], photo: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [model] = run(nodes, "LoadModel").values
    source = make_video(tmp_path / "clip.mp4", [(photo[0] * 255).byte().numpy()] * 6)
    monkeypatch.setattr(Progress, "cancel_after", 8)
    with pytest.raises(Interrupted):
        run(nodes, "CorrectVideo", model=model, video=VideoFromFile(str(source)))
    assert not list((tmp_path / "temp").iterdir())
    with pytest.raises(Interrupted):
        run(nodes, "CorrectFrames", model=model, image=photo.repeat(9, 1, 1, 1))


def test_masks_limit_changes(nodes: dict[str, Any], photo: Tensor) -> None:
    mask = torch.zeros(1, 48, 60)
    mask[:, :, 30:] = 1
    batch = photo.repeat(2, 1, 1, 1)
    [whole] = run(nodes, "ExposureShift", image=batch, ev=1.0).values
    [limited] = run(nodes, "ExposureShift", image=batch, ev=1.0, mask=mask, softness=2.0).values
    assert torch.equal(core(limited), limit_change(core(batch), core(whole), mask[:, None], 0.02))
    assert torch.equal(limited[:, :, :50], batch[:, :, :50])
    with pytest.raises(ValueError, match="3 masks do not match 2 images"):
        run(nodes, "ExposureShift", image=batch, ev=1.0, mask=mask.repeat(3, 1, 1))


@pytest.fixture
def sky(photo: Tensor) -> Tensor:
    """The photo with a sky whose light goes up to 4, in display values."""
    bright = photo.clone()
    bright[:, :40] = 1.2 + 2.8 * torch.rand(1, 40, 120, 3, generator=torch.Generator().manual_seed(1))
    return bright


@pytest.mark.parametrize("curve", ["linear light", "camera curve"])
def test_a_shift_brings_a_bright_sky_back(nodes: dict[str, Any], photo: Tensor, sky: Tensor, curve: str) -> None:
    """And takes it there again; a photo without light above white is clipped as ever."""
    shift = gain_exposure if curve == "linear light" else shift_exposure
    [darker] = run(nodes, "ExposureShift", image=sky, ev=-2.0, curve=curve).values
    assert torch.equal(core(darker), shift(core(sky), -2.0, clip=False))
    assert darker[:, :40].std() > 0.2  # no flat grey
    [again] = run(nodes, "ExposureShift", image=darker, ev=2.0, curve=curve).values
    assert torch.allclose(again, sky, atol=1e-3)
    [brighter] = run(nodes, "ExposureShift", image=photo, ev=5.0, curve=curve).values
    assert 0.99 < brighter.max() <= 1


def test_overshoot_of_resizing_is_not_light_above_white(nodes: dict[str, Any], photo: Tensor) -> None:
    """A photo that was enlarged stays clipped where it gets brighter."""
    photo[:, :8] = 1.1
    [brighter] = run(nodes, "ExposureShift", image=photo, ev=4.0).values
    assert brighter.max() == 1.1


@pytest.mark.parametrize("name", ["Correct", "CorrectFrames"])
def test_corrections_keep_light_above_white(nodes: dict[str, Any], sky: Tensor, name: str) -> None:
    """In proportion to white; what is not above it becomes the same as without that light."""
    [model] = run(nodes, "LoadModel").values
    result, correction, *_ = run(nodes, name, model=model, image=sky).values
    plain, same, *_ = run(nodes, name, model=model, image=sky.clamp(max=1)).values
    assert torch.equal(result[:, 40:], plain[:, 40:])
    assert torch.equal(correction.coefficients, same.coefficients)
    peak = sky[:, :40].amax(-1, keepdim=True)
    scaled = sky.clone()
    scaled[:, :40] /= peak
    wanted = same.slice(core(scaled)).permute(0, 2, 3, 1)[:, :40] * peak
    assert torch.allclose(result[:, :40], wanted, atol=1e-5)
    assert result.max() > 2
    [again] = run(nodes, "ApplyCorrection", correction=correction, image=sky).values
    assert torch.equal(again, result)
    [none] = run(nodes, "ApplyCorrection", correction=BilateralGrid.identity(), image=sky).values
    assert torch.allclose(none, sky, atol=1e-5)


def test_masks_keep_light_above_white(nodes: dict[str, Any], sky: Tensor) -> None:
    mask = torch.zeros(1, 96, 120)
    mask[:, :, 60:] = 1
    [half] = run(nodes, "ExposureShift", image=sky, ev=-1.0, mask=mask, softness=0.0).values
    [whole] = run(nodes, "ExposureShift", image=sky, ev=-1.0).values
    assert torch.equal(half[:, :, :60], sky[:, :, :60])
    assert torch.allclose(half[:, :, 60:], whole[:, :, 60:], atol=1e-6)


def test_pyramids_and_upsampling_keep_light_above_white(nodes: dict[str, Any], photo: Tensor, sky: Tensor) -> None:
    batch = torch.cat((photo, sky))
    pyramid = run(nodes, "LaplacianDecompose", image=batch).values[0]
    assert torch.allclose(run(nodes, "LaplacianReconstruct", pyramid=pyramid).values[0], batch, atol=1e-5)
    brighter = run(nodes, "LaplacianReconstruct", pyramid=pyramid, gain_1=8.0).values[0]
    assert brighter[0].max() <= 1 < brighter[1].max()
    small = sky[:, ::2, ::2]
    [same] = run(nodes, "BilateralUpsample", source=small, result=small, guide=sky).values
    assert torch.allclose(same, sky, atol=1e-3)
    [half] = run(nodes, "BilateralUpsample", source=small, result=small * 0.5, guide=sky).values
    assert torch.allclose(half, sky * 0.5, atol=0.02)


def test_fusion_takes_light_above_white_for_white(nodes: dict[str, Any], sky: Tensor) -> None:
    """And of a darker exposure, what that brought back."""
    darker = run(nodes, "ExposureShift", image=sky, ev=-5.0).values[0]
    exposures = torch.cat((sky, darker))
    [fused] = run(nodes, "ExposureFusion", images=exposures).values
    assert torch.equal(fused, run(nodes, "ExposureFusion", images=exposures.clamp(max=1)).values[0])
    assert fused[:, :40].std() > 0.1


def test_a_report_counts_light_above_white(nodes: dict[str, Any], photo: Tensor, sky: Tensor) -> None:
    """As what can come back, not as lost; the stops are those of what a display shows."""
    [model] = run(nodes, "LoadModel").values
    _, _, highlights, error, text, *_ = run(nodes, "ExposureReport", image=sky, model=model).values
    assert highlights.max() == 0
    assert "highlights lost: 0.0%, above white and still there: 41.7%, " in text
    _, _, highlights, same, text, *_ = run(nodes, "ExposureReport", image=sky.clamp(max=1), model=model).values
    assert highlights[:, :40].min() == 1
    assert "above white" not in text
    assert error == pytest.approx(same)


def test_too_little_memory_is_tried_again(
    nodes: dict[str, Any], photo: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[nodes["ExpCorr_ExposureShift"].__module__]
    shift, calls = module.gain_exposure, [torch.OutOfMemoryError("full"), None, ValueError("other")]

    def failing(image: Tensor, ev: float, clip: bool) -> Tensor:
        if error := calls.pop(0):
            raise error
        return shift(image, ev, clip=clip)  # type: ignore[no-any-return]

    monkeypatch.setattr(module, "gain_exposure", failing)
    [result] = run(nodes, "ExposureShift", image=photo, ev=1.0).values
    assert torch.allclose(core(result), shift(core(photo), 1.0), atol=1e-6)
    with pytest.raises(ValueError, match="other"):
        run(nodes, "ExposureShift", image=photo, ev=1.0)


@pytest.mark.parametrize("full", ["never", "in the change", "in the mask"])
@pytest.mark.parametrize("name", ["Correct", "CorrectFrames", "ApplyCorrection", "BilateralUpsample", "ExposureShift"])
@pytest.mark.slow
def test_images_on_another_device(
    nodes: dict[str, Any], photo: Tensor, monkeypatch: pytest.MonkeyPatch, name: str, full: str
) -> None:
    """They give the same results as images on the CPU, also if that device has too little memory."""
    [model] = run(nodes, "LoadModel").values
    batch, mask = torch.cat((photo, photo * 0.8)), torch.rand(1, 48, 60)
    grids = BilateralGrid.identity(2).coefficients * torch.tensor([0.5, 0.9]).view(2, 1, 1, 1, 1, 1)
    inputs: dict[str, Any] = {
        "Correct": {"model": model, "mask": mask},
        "CorrectFrames": {"model": model, "mask": mask},
        "ApplyCorrection": {"correction": BilateralGrid(grids), "mask": mask},
        "BilateralUpsample": {"source": photo, "result": photo * 0.5 + 0.1, "grid_size": 4, "grid_depth": 4},
        "ExposureShift": {"ev": 1.0, "mask": mask},
    }[name]
    images = "guide" if name == "BilateralUpsample" else "image"
    wanted = run(nodes, name, **inputs, **{images: batch}).values

    def fill(owner: Any, function: str) -> None:
        original = getattr(owner, function)

        def failing(*arguments: Any, **options: Any) -> Any:
            if any(isinstance(argument, Elsewhere) for argument in arguments):
                raise torch.OutOfMemoryError("full")
            return original(*arguments, **options)

        monkeypatch.setattr(owner, function, failing)

    pack = nodes["ExpCorr_Correct"].__module__.removesuffix(".nodes.correct")
    if full == "in the change":
        fill(sys.modules[f"{pack}.expcorr_core.bilateral.grid"].BilateralGrid, "slice")
        fill(sys.modules[f"{pack}.nodes.exposure"], "gain_exposure")
    elif full == "in the mask":
        fill(sys.modules[f"{pack}.nodes.layout"], "limit_change")
    with torch.inference_mode(), PretendDevice():  # as in ComfyUI
        got = run(nodes, name, **inputs, **{images: Elsewhere(batch)}).values
    assert not isinstance(got[0], Elsewhere)
    assert (got[0] - wanted[0]).abs().max() < 1e-5
    if name in ("Correct", "CorrectFrames"):
        assert len(got[1].coefficients) == 2  # one an image, though one was found twice
        assert torch.allclose(got[1].coefficients, wanted[1].coefficients, atol=1e-4)


def test_frames_that_the_network_takes_together(nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as half of the free memory holds, on a device that is not the CPU."""
    [model] = run(nodes, "LoadModel").values
    assert model.frames_at_once(512) == 1
    monkeypatch.setattr(model.patcher, "load_device", torch.device("cuda"))
    for free, size, count in ((2**40, 512, 16), (2**28, 512, 2), (2**28, 256, 10), (0, 512, 1)):
        monkeypatch.setattr("comfy.model_management.get_free_memory", {torch.device("cuda"): free}.get)
        assert model.frames_at_once(size) == count


@pytest.mark.parametrize(("together", "runs"), [(16, [5]), (2, [2, 2, 1]), (1, [1] * 5)])
def test_frames_run_together_with_the_same_results(
    nodes: dict[str, Any], photo: Tensor, monkeypatch: pytest.MonkeyPatch, together: int, runs: list[int]
) -> None:
    """One by one where memory runs out nevertheless; images on that device or not."""
    [model] = run(nodes, "LoadModel").values
    batch = torch.cat([photo * (0.5 + place / 10) for place in range(5)])
    wanted = run(nodes, "Correct", model=model, image=batch).values
    monkeypatch.setattr(type(model), "frames_at_once", lambda model, size: together)
    original, counts, most = model.patcher.model.find, [], 16

    def find(image: Tensor, *options: Any) -> Any:
        counts.append(len(image))
        if len(image) > most:
            raise torch.OutOfMemoryError("full")
        return original(image, *options)

    monkeypatch.setattr(model.patcher.model, "find", find)
    for limit, expected in ((16, runs), (1, runs[: runs[0] > 1] + [1] * 5)):
        most = limit
        for there in (False, True):
            counts.clear()
            with torch.inference_mode(), PretendDevice():  # as in ComfyUI
                got = run(nodes, "Correct", model=model, image=Elsewhere(batch) if there else batch).values
            assert counts == expected
            assert (got[0] - wanted[0]).abs().max() < 1e-5
            assert torch.allclose(got[1].coefficients, wanted[1].coefficients, atol=1e-4)


def test_cancel_answers_within_a_frame(nodes: dict[str, Any], photo: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Progress, "cancel_after", 2)
    with pytest.raises(Interrupted):
        run(nodes, "ExposureShift", image=photo.repeat(9, 1, 1, 1), ev=1.0)
    assert Progress.steps == 2


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("Correct", 4),
        ("BilateralUpsample", 2),
        ("ExposureFusion", 4),
        ("LaplacianDecompose", 3 + 4),
        ("LaplacianReconstruct", 3),
    ],
)
def test_one_image_shows_progress_and_heeds_cancel(
    nodes: dict[str, Any], photo: Tensor, monkeypatch: pytest.MonkeyPatch, name: str, steps: int
) -> None:
    [model] = run(nodes, "LoadModel").values
    pyramid = run(nodes, "LaplacianDecompose", image=photo).values[0]
    inputs: dict[str, Any] = {
        "Correct": {"model": model, "image": photo},
        "BilateralUpsample": {"source": photo, "result": photo, "guide": photo, "grid_size": 4, "grid_depth": 4},
        "ExposureFusion": {"images": photo},
        "LaplacianDecompose": {"image": photo},
        "LaplacianReconstruct": {"pyramid": pyramid},
    }[name]
    run(nodes, name, **inputs)
    assert Progress.total == steps
    assert Progress.shown == tuple(range(1, steps + 1))
    monkeypatch.setattr(Progress, "cancel_after", 1)
    with pytest.raises(Interrupted):
        run(nodes, name, **inputs)
    assert Progress.shown == (1,)


def test_a_report_heeds_cancel(nodes: dict[str, Any], photo: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[nodes["ExpCorr_ExposureReport"].__module__]
    find, looked_at = module.clipped_shadows, []
    monkeypatch.setattr(module, "clipped_shadows", lambda images: (looked_at.extend(images), find(images))[1])
    monkeypatch.setattr(Progress, "cancel_after", 2)
    with pytest.raises(Interrupted):
        run(nodes, "ExposureReport", image=photo.repeat(9, 1, 1, 1))
    assert len(looked_at) == Progress.steps == 2


def test_changed_weights_are_noticed(nodes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the file's content; nothing is downloaded."""
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"one")
    monkeypatch.setattr(sys.modules["folder_paths"], "get_full_path_or_raise", lambda folder, name: str(path))
    fingerprint = nodes["ExpCorr_LoadModel"].fingerprint_inputs
    first = fingerprint(weights=path.name, repository="")
    path.touch()
    assert fingerprint(weights=path.name) == first
    path.write_bytes(b"two")
    assert fingerprint(weights=path.name) != first
    assert fingerprint(weights="bundled") == fingerprint(weights="bundled") != first
    for inputs in ({"weights": path.name, "repository": "owner/name"}, {"weights": None, "repository": None}):
        assert fingerprint(**inputs) == ""


def test_names_of_repositories_are_checked_at_once(nodes: dict[str, Any]) -> None:
    validate = nodes["ExpCorr_LoadModel"].validate_inputs
    for name in ("", " ", "owner/name", " owner/a.name-of_it ", None):
        assert validate(repository=name) is True
    assert validate() is True
    for name in ("justaname", "owner/name/more", "https://huggingface.co/owner/name", "owner/", "own er/name"):
        assert validate(repository=name) == f"{name!r} cannot be the name of a repository; name one as owner/name"


def test_bad_batches_are_named(nodes: dict[str, Any], photo: Tensor) -> None:
    for call, message in (
        (lambda: run(nodes, "ExposureShift", image=photo[0]), "an IMAGE must have shape"),
        (lambda: run(nodes, "ExposureShift", image=photo[:0]), "the IMAGE batch is empty"),
        (
            lambda: run(nodes, "ApplyCorrection", correction=BilateralGrid.identity(2), image=photo),
            "for 2 frames, but 1 images",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def held(name: str) -> int:
    """A value of this process's memory status, bytes (Linux)."""
    return int(Path("/proc/self/status").read_text("ascii").partition(f"{name}:")[2].split()[0]) * 1024


def peak(work: Callable[[], Any]) -> float:
    """The most memory that some work takes beyond its results, bytes."""
    ctypes.CDLL(None).malloc_trim(0)  # what has been freed is given back
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak counts from here
    before = held("VmRSS")
    results = work().values
    return held("VmHWM") - before - sum(result.nbytes for result in results)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_frames(nodes: dict[str, Any]) -> None:
    """Beyond the result, which takes 467 MB here; the input is one frame, repeated without a copy."""
    frame = torch.rand(1, 270, 480, 3)
    run(nodes, "ExposureShift", image=frame, ev=1.0)
    assert peak(lambda: run(nodes, "ExposureShift", image=frame.expand(300, -1, -1, -1), ev=1.0)) < 150e6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_image_is_held_once(nodes: dict[str, Any]) -> None:
    """A correction needs its result, and no copy of it; pyramids are made one channel at a time."""
    image = torch.rand(1, 2000, 3000, 3)
    apply = lambda: run(nodes, "ApplyCorrection", correction=BilateralGrid.identity(), image=image)
    apply()  # what is compiled and loaded once is not of this image
    assert peak(apply) < image.nbytes
    fuse = lambda: run(nodes, "ExposureFusion", images=image.expand(2, -1, -1, -1))
    assert peak(fuse) < 6.5 * image.nbytes
    pyramid = run(nodes, "LaplacianDecompose", image=image, levels=3).values[0]
    assert peak(lambda: run(nodes, "LaplacianReconstruct", pyramid=pyramid)) < 4 * image.nbytes
