"""The nodes in a real ComfyUI: a server on loopback, graphs through its API.

They run where COMFYUI_PATH names a ComfyUI checkout whose requirements are installed beside pytest.
"""

from __future__ import annotations

import json
import re
import shutil
import urllib.parse
import urllib.request
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import comfyui_host
import numpy as np
import pytest
import torch
from comfyui_host import PACK, PAINTED, ROOT, WORKFLOWS, Graph, Host, inputs_of, widgets_of
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from video_files import make_video, pictures, sound

from expcorr_core import cli
from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.corrector import Corrector
from expcorr_core.image.exposure import gain_exposure, shift_exposure
from expcorr_core.image.masking import limit_change
from expcorr_core.method.fusion import fuse_exposures
from expcorr_core.method.pyramid import laplacian_pyramid, reconstruct, scale_bands
from expcorr_core.method.weights import bundled_weights
from expcorr_core.series.corrector import SeriesCorrector
from expcorr_core.settings import Settings

pytestmark = comfyui_host.needs_comfyui
host = comfyui_host.host  # the fixture

NODES = {
    "ExpCorr_LoadModel": "Load Exposure Model",
    "ExpCorr_Correct": "Exposure Correct",
    "ExpCorr_CorrectFrames": "Exposure Correct (Frames)",
    "ExpCorr_CorrectVideo": "Exposure Correct (Video)",
    "ExpCorr_CorrectSeries": "Exposure Correct (Series)",
    "ExpCorr_Settings": "Exposure Settings",
    "ExpCorr_LaplacianDecompose": "Laplacian Decompose",
    "ExpCorr_LaplacianReconstruct": "Laplacian Reconstruct",
    "ExpCorr_BilateralUpsample": "Bilateral Upsample",
    "ExpCorr_ApplyCorrection": "Apply Exposure Correction",
    "ExpCorr_ExposureShift": "Exposure Shift (EV Stops)",
    "ExpCorr_ExposureFusion": "Exposure Fusion (HDR Tone Mapping)",
    "ExpCorr_ExposureReport": "Exposure Report (Histogram)",
    "ExpCorr_ExposureMask": "Exposure Mask (Lost Highlights)",
}
CORRECT_DEFAULTS = {"strength": 1.0, "fusion": False, "stretch": 0.0}
UPSAMPLE_DEFAULTS = {"strength": 1.0, "grid_size": 22, "grid_depth": 8}
GAINS = {"gain_1": 1.0, "gain_2": 1.0, "gain_3": 1.0, "gain_4": 1.0, "gain_rest": 1.0}


def graph_of(**nodes: tuple[str, dict[str, Any]]) -> Graph:
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def save(node: str) -> tuple[str, dict[str, Any]]:
    return "SaveImage", {"images": [node, 0], "filename_prefix": "t"}


def test_every_node_is_offered_and_explained(host: Host) -> None:
    offered = host.get("/object_info")
    for node, name in NODES.items():
        info = offered[node]
        assert info["display_name"] == name
        assert info["description"]
        assert info["category"] in ("image/adjustments", "model/loaders")
        assert all(info["output_tooltips"])
        for kind, *options in inputs_of(info).values():
            assert options, (node, kind)
            assert options[0].get("tooltip"), (node, kind)
    weights = offered["ExpCorr_LoadModel"]["input"]["required"]["weights"]
    assert '["bundled", "paper"' in json.dumps(weights)


def test_correction_equals_the_command_line(host: Host, tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    dark = (scene * 0.3).astype(np.uint8)
    source = host.put_image("dark.png", dark)
    assert cli.main(["correct", str(source), "-o", str(tmp_path), "--quiet", "--device", "cpu"]) == 0
    wanted = np.array(Image.open(tmp_path / "dark.png"))
    [got] = host.saved(
        graph_of(
            load=("LoadImage", {"image": "dark.png"}),
            model=("ExpCorr_LoadModel", {"weights": "bundled"}),
            correct=("ExpCorr_Correct", {"model": ["model", 0], "image": ["load", 0], **CORRECT_DEFAULTS}),
            save=save("correct"),
        )
    )
    assert np.abs(got.astype(int) - wanted).max() <= 1
    assert got.mean() > dark.mean() + 20


def test_strength_zero_gives_the_input_back(host: Host, scene: NDArray[np.uint8]) -> None:
    host.put_image("scene.png", scene)
    [got] = host.saved(
        graph_of(
            load=("LoadImage", {"image": "scene.png"}),
            model=("ExpCorr_LoadModel", {"weights": "bundled"}),
            correct=(
                "ExpCorr_Correct",
                {"model": ["model", 0], "image": ["load", 0], **CORRECT_DEFAULTS, "strength": 0.0},
            ),
            save=save("correct"),
        )
    )
    assert np.array_equal(got, scene)


def test_alpha_and_batches_pass_through(host: Host, scene: NDArray[np.uint8]) -> None:
    """JoinImageWithAlpha makes RGBA images of ComfyUI's own; RepeatImageBatch a batch."""
    host.put_image("scene.png", scene)
    images = host.saved(
        graph_of(
            load=("LoadImage", {"image": "scene.png"}),
            mask=("SolidMask", {"value": 0.25, "width": scene.shape[1], "height": scene.shape[0]}),
            join=("JoinImageWithAlpha", {"image": ["load", 0], "alpha": ["mask", 0]}),
            repeat=("RepeatImageBatch", {"image": ["join", 0], "amount": 3}),
            model=("ExpCorr_LoadModel", {"weights": "bundled"}),
            correct=("ExpCorr_Correct", {"model": ["model", 0], "image": ["repeat", 0], **CORRECT_DEFAULTS}),
            save=save("correct"),
        )
    )
    assert len(images) == 3
    assert all(image.shape == (*scene.shape[:2], 4) for image in images)
    assert all(np.array_equal(image, images[0]) for image in images)
    assert np.abs(images[0][..., 3].astype(int) - 191).max() <= 1  # 0.75: ComfyUI inverts masks


@pytest.mark.parametrize("levels", [1, 4, 9])
def test_decompose_and_reconstruct(host: Host, scene: NDArray[np.uint8], levels: int) -> None:
    host.put_image("scene.png", scene)
    graph = graph_of(
        load=("LoadImage", {"image": "scene.png"}),
        split=("ExpCorr_LaplacianDecompose", {"image": ["load", 0], "levels": levels}),
        join=("ExpCorr_LaplacianReconstruct", {"pyramid": ["split", 0], **GAINS}),
        save=save("join"),
    )
    entry = host.run(graph)
    assert entry["status"]["status_str"] == "success", entry["status"]
    assert len(entry["outputs"]["split"]["images"]) == levels  # previews
    [got] = host.saved(graph | graph_of(save=("SaveImage", {"images": ["join", 0], "filename_prefix": "again"})))
    # SaveImage truncates, so that float rounding may cost one step.
    assert np.abs(got.astype(int) - scene).max() <= 1


def test_bilateral_upsample_carries_a_core_nodes_change(host: Host, scene: NDArray[np.uint8]) -> None:
    host.put_image("scene.png", scene)
    [got] = host.saved(
        graph_of(
            load=("LoadImage", {"image": "scene.png"}),
            small=("ImageScaleBy", {"image": ["load", 0], "upscale_method": "area", "scale_by": 0.5}),
            invert=("ImageInvert", {"image": ["small", 0]}),
            upsample=(
                "ExpCorr_BilateralUpsample",
                {"source": ["small", 0], "result": ["invert", 0], "guide": ["load", 0], **UPSAMPLE_DEFAULTS},
            ),
            save=save("upsample"),
        )
    )
    assert np.abs(got.astype(int) - (255 - scene.astype(int))).max() <= 3


def test_batches_that_do_not_match_are_refused(host: Host, scene: NDArray[np.uint8]) -> None:
    host.put_image("scene.png", scene)
    entry = host.run(
        graph_of(
            load=("LoadImage", {"image": "scene.png"}),
            two=("RepeatImageBatch", {"image": ["load", 0], "amount": 2}),
            three=("RepeatImageBatch", {"image": ["load", 0], "amount": 3}),
            upsample=(
                "ExpCorr_BilateralUpsample",
                {"source": ["two", 0], "result": ["two", 0], "guide": ["three", 0], **UPSAMPLE_DEFAULTS},
            ),
            save=save("upsample"),
        )
    )
    assert "the batches do not match: 2 before, 2 after, 3 full size" in json.dumps(entry["status"])


def test_weights_of_the_models_folder(host: Host, scene: NDArray[np.uint8]) -> None:
    """Files appear by name; a damaged one is named in the error."""
    folder = host.base / "models" / "exposure_correction"
    folder.mkdir(exist_ok=True)
    (folder / "broken.safetensors").write_bytes(b"\xff" * 64)
    options = json.dumps(host.get("/object_info/ExpCorr_LoadModel"))
    assert "broken.safetensors" in options
    host.put_image("scene.png", scene)
    entry = host.run(
        graph_of(
            load=("LoadImage", {"image": "scene.png"}),
            model=("ExpCorr_LoadModel", {"weights": "broken.safetensors"}),
            correct=("ExpCorr_Correct", {"model": ["model", 0], "image": ["load", 0], **CORRECT_DEFAULTS}),
            save=save("correct"),
        )
    )
    assert "is damaged or not a safetensors file" in json.dumps(entry["status"])


def test_weights_that_have_changed_are_loaded_again(host: Host, scene: NDArray[np.uint8]) -> None:
    folder = host.base / "models" / "exposure_correction"
    folder.mkdir(exist_ok=True)
    shutil.copy(bundled_weights(), folder / "mine.safetensors")
    host.put_image("scene.png", scene)
    graph = correction() | graph_of(model=("ExpCorr_LoadModel", {"weights": "mine.safetensors"}))
    assert host.run(graph)["status"]["status_str"] == "success"
    (folder / "mine.safetensors").write_bytes(b"\xff" * 64)
    assert "is damaged or not a safetensors file" in json.dumps(host.run(graph)["status"])


def test_what_is_no_repository_is_refused_before_anything_runs(host: Host) -> None:
    graph = correction() | graph_of(model=("ExpCorr_LoadModel", {"weights": "bundled", "repository": "justaname"}))
    with pytest.raises(AssertionError, match="'justaname' cannot be the name of a repository; name one as owner/name"):
        host.queue(graph)


def correction(**inputs: Any) -> Graph:
    """LoadImage, the model, and Exposure Correct."""
    return graph_of(
        load=("LoadImage", {"image": "scene.png"}),
        model=("ExpCorr_LoadModel", {"weights": "bundled"}),
        correct=("ExpCorr_Correct", {"model": ["model", 0], "image": ["load", 0], **CORRECT_DEFAULTS, **inputs}),
        save=save("correct"),
    )


def test_strength_zero_shows_what_it_gives_back(host: Host, scene: NDArray[np.uint8]) -> None:
    """Not the result of the earlier strength."""
    host.put_image("scene.png", (scene * 0.3).astype(np.uint8))
    changes = []
    for strength in (1.0, 0.0):
        [shown] = host.images(host.run(correction(strength=strength)), "correct")
        before, after = np.split(shown.astype(int), 2, 1)
        changes.append(np.abs(after - before).max())
    assert changes[0] > 20
    assert changes[1] == 0


def test_band_gains_are_for_the_papers_network(host: Host, scene: NDArray[np.uint8]) -> None:
    """With the default network, the error says what to choose."""
    host.put_image("scene.png", scene)
    advice = "band gains need the paper's network: choose 'paper' in Load Exposure Model"
    assert advice in json.dumps(host.run(correction(gain_4=1.5))["status"])
    paper = graph_of(model=("ExpCorr_LoadModel", {"weights": "paper"}))
    [got] = host.saved(correction(gain_4=1.5) | paper)
    photo = torch.from_numpy(scene).permute(2, 0, 1)[None] / 255
    wanted = Corrector.load("paper")(photo, Settings(gains=(1, 1, 1, 1.5)))
    assert np.abs(got - pixels(wanted)).max() <= 1.01


def test_a_mask_limits_the_correction(host: Host, scene: NDArray[np.uint8]) -> None:
    dark = (scene * 0.3).astype(np.uint8)
    host.put_image("scene.png", dark)
    [whole] = host.saved(correction())
    height, width = dark.shape[:2]
    half = np.zeros((height, width, 3), np.uint8)
    half[:, width // 2 :] = 255
    host.put_image("mask.png", half)
    mask = graph_of(mask=("LoadImageMask", {"image": "mask.png", "channel": "red"}))
    [got] = host.saved(correction(mask=["mask", 0], softness=2.0) | mask)
    edge = round(0.03 * max(height, width))
    assert np.array_equal(got[:, : width // 2 - edge], dark[:, : width // 2 - edge])
    assert np.array_equal(got[:, width // 2 + edge :], whole[:, width // 2 + edge :])
    middle = got[:, width // 2].astype(int)
    assert (middle.mean() > dark[:, width // 2].mean() + 5) and (middle.mean() < whole[:, width // 2].mean() - 5)


def test_a_correction_is_used_again(host: Host, scene: NDArray[np.uint8]) -> None:
    """On a larger copy, and as it was on the image itself."""
    host.put_image("scene.png", (scene * 0.3).astype(np.uint8))
    apply = graph_of(
        apply=("ExpCorr_ApplyCorrection", {"correction": ["correct", 1], "image": ["load", 0], "strength": 1.0}),
        large=("ImageScaleBy", {"image": ["load", 0], "upscale_method": "bicubic", "scale_by": 2.0}),
        other=("ExpCorr_ApplyCorrection", {"correction": ["correct", 1], "image": ["large", 0], "strength": 1.0}),
        again=save("apply"),
        bigger=save("other"),
    )
    graph = correction() | apply
    wanted, got, large = host.saved(graph, "save", "again", "bigger")
    assert np.array_equal(got, wanted)
    assert abs(large.mean() - wanted.mean()) < 1
    assert large.shape[0] == 2 * wanted.shape[0]


def test_shift_and_fusion_are_the_cores(host: Host, scene: NDArray[np.uint8]) -> None:
    host.put_image("scene.png", scene)
    graph = graph_of(
        load=("LoadImage", {"image": "scene.png"}),
        dark=("ExpCorr_ExposureShift", {"image": ["load", 0], "ev": -1.5, "curve": "linear light"}),
        bright=("ExpCorr_ExposureShift", {"image": ["load", 0], "ev": 1.5, "curve": "camera curve"}),
        batch=("ImageBatch", {"image1": ["dark", 0], "image2": ["bright", 0]}),
        fusion=("ExpCorr_ExposureFusion", {"images": ["batch", 0]}),
        shifted=save("batch"),
        fused=save("fusion"),
    )
    photo = torch.from_numpy(scene).permute(2, 0, 1)[None] / 255
    exposures = [gain_exposure(photo, -1.5), shift_exposure(photo, 1.5)]
    wanted = [*exposures, fuse_exposures(exposures)]
    got = host.saved(graph, "shifted", "fused")
    for a, b in zip(got, wanted, strict=True):
        assert np.abs(a.astype(int) - (b[0].permute(1, 2, 0) * 255).numpy()).max() <= 1.01


def exr_of(image: NDArray[np.float32]) -> bytes:
    """An EXR file of 32-bit floats, ``(H, W, 3)``."""
    codec = av.CodecContext.create("exr", "w")
    codec.height, codec.width = image.shape[:2]
    codec.pix_fmt, codec.time_base = "gbrpf32le", Fraction(1)
    frame = av.VideoFrame.from_ndarray(image, format="gbrpf32le")
    frame.pts, frame.time_base = 0, codec.time_base
    return b"".join(bytes(packet) for packet in (*codec.encode(frame), *codec.encode(None)))


def save_deep(node: str, kind: str, depth: str, space: str) -> tuple[str, dict[str, Any]]:
    options = {"format": kind, "format.bit_depth": depth, "format.input_color_space": space}
    return "SaveImageAdvanced", {"images": [node, 0], "filename_prefix": "deep", **options}


def deep(host: Host, entry: dict[str, Any], node: str, form: str) -> tuple[str, NDArray[Any]]:
    """The name of what Save Image (Advanced) wrote, and its pixels."""
    assert entry["status"]["status_str"] == "success", entry["status"]
    [saved] = entry["outputs"][node]["images"]
    with av.open(str(host.base / "output" / saved["filename"])) as file:
        return saved["filename"], next(file.decode(video=0)).to_ndarray(format=form)


def test_more_than_8_bits_and_light_above_white(host: Host) -> None:
    """A smooth EXR ramp up to 4: darker and back without a loss; corrected, to EXR and PNG, as the core does it."""
    if "SaveImageAdvanced" not in host.get("/object_info"):
        pytest.skip("this ComfyUI has no Save Image (Advanced)")
    ramp = np.ones((96, 1024, 3), np.float32) * np.linspace(0, 1, 1024, dtype=np.float32)[:, None] * [1, 0.9, 0.8]
    ramp[:32] *= 4
    (host.base / "input" / "ramp.exr").write_bytes(exr_of(ramp.astype(np.float32)))
    inputs = {"model": ["model", 0], "image": ["load", 0], **CORRECT_DEFAULTS}
    entry = host.run(
        graph_of(
            load=("LoadImage", {"image": "ramp.exr"}),
            dark=("ExpCorr_ExposureShift", {"image": ["load", 0], "ev": -2.0, "curve": "linear light"}),
            darker=save_deep("dark", "exr", "32-bit float", "linear"),
            model=("ExpCorr_LoadModel", {"weights": "bundled"}),
            correct=("ExpCorr_Correct", inputs),
            exr=save_deep("correct", "exr", "32-bit float", "linear"),
            png=save_deep("correct", "png", "16-bit", "sRGB"),
        )
    )
    photo = torch.from_numpy(ramp).float().permute(2, 0, 1)[None]
    name, darker = deep(host, entry, "darker", "gbrpf32le")
    assert np.abs(darker - pixels(gain_exposure(photo, -2.0, clip=False)) / 255).max() < 1e-5
    back = host.run(
        graph_of(
            load=("LoadImage", {"image": f"{name} [output]"}),
            bright=("ExpCorr_ExposureShift", {"image": ["load", 0], "ev": 2.0, "curve": "linear light"}),
            brighter=save_deep("bright", "exr", "32-bit float", "linear"),
        )
    )
    assert np.abs(deep(host, back, "brighter", "gbrpf32le")[1] - ramp).max() < 1e-4
    wanted = torch.empty_like(photo)
    Corrector.load().estimate(photo.clamp(max=1)).slice_beyond(photo, wanted)
    corrected = deep(host, entry, "exr", "gbrpf32le")[1]
    assert np.abs(corrected - pixels(wanted) / 255).max() < 1e-4
    assert corrected.max() > 2
    stored = deep(host, entry, "png", "rgb48le")[1].astype(int)
    assert np.abs(stored - corrected.clip(0, 1) * 65535).max() <= 1.01
    assert len(np.unique(stored[64])) > 2000  # of 3 x 1024 values; 8 bits would leave 256


SHADER = """#version 300 es
precision highp float;
uniform sampler2D u_image0;
uniform sampler2D u_curve0;
in vec2 v_texCoord;
layout(location = 0) out vec4 fragColor0;
float curved(float value) { return texture(u_curve0, vec2(value, 0.5)).r; }
void main() {
    vec4 colour = texture(u_image0, v_texCoord);
    fragColor0 = vec4(curved(colour.r), curved(colour.g), curved(colour.b), 1.0);
}
"""


def test_a_correction_and_histograms_in_comfyuis_curve_nodes(host: Host) -> None:
    """The curve, through Curve Editor and applied by GLSL Shader, comes near the correction; histograms are shown."""
    if "CurveEditor" not in host.get("/object_info"):
        pytest.skip("this ComfyUI has no Curve Editor")
    host.put_examples()
    entry = host.run(
        correction()
        | graph_of(
            load=("LoadImage", {"image": "coffee_under.jpg"}),
            report=("ExpCorr_ExposureReport", {"image": ["load", 0], "model": ["model", 0]}),
            edit=("CurveEditor", {"curve": ["correct", 2], "histogram": ["report", 5]}),
            after=("CurveEditor", {"curve": ["edit", 0], "histogram": ["report", 6]}),
            shader=(
                "GLSLShader",
                {
                    "fragment_shader": SHADER,
                    "size_mode": "from_input",
                    "images.image0": ["load", 0],
                    "curves.u_curve0": ["after", 0],
                },
            ),
            curved=save("shader"),
        )
    )
    assert entry["status"]["status_str"] == "success", entry["status"]
    corrected, curved = host.images(entry, "save", "curved")
    dark = np.array(Image.open(ROOT / "examples" / "coffee_under.jpg"))
    assert np.abs(curved[..., :3].astype(int) - corrected).mean() < 3
    assert np.abs(dark.astype(int) - corrected).mean() > 30
    before, after = (np.array(entry["outputs"][node]["histogram"]) for node in ("edit", "after"))
    counts = np.stack([np.bincount(dark[..., channel].ravel(), minlength=256) for channel in range(3)])
    assert np.array_equal(before, counts.sum(0) // 3)
    assert (after * np.arange(256)).sum() / after.sum() == pytest.approx(corrected.mean(), abs=2)


def test_a_report_says_what_is_lost(host: Host, scene: NDArray[np.uint8]) -> None:
    dark = (scene * 0.25).astype(np.uint8)
    dark[: len(dark) // 4] = 0
    host.put_image("scene.png", dark)
    graph = graph_of(
        load=("LoadImage", {"image": "scene.png"}),
        model=("ExpCorr_LoadModel", {"weights": "bundled"}),
        report=("ExpCorr_ExposureReport", {"image": ["load", 0], "model": ["model", 0]}),
        shown=("MaskToImage", {"mask": ["report", 1]}),
        save=save("shown"),
    )
    entry = host.run(graph)
    assert entry["status"]["status_str"] == "success", entry["status"]
    [text] = entry["outputs"]["report"]["text"]
    shadows, highlights, error = map(float, re.findall(r"[0-9]+\.[0-9]", text))
    assert shadows == pytest.approx(25, abs=1)
    assert highlights == 0
    assert error > 0.5
    assert "stops too dark" in text
    assert len(entry["outputs"]["report"]["images"]) == 1
    [mask] = host.images(entry, "save")
    assert mask[: len(dark) // 4].min() == 255


def prompt_of(workflow: dict[str, Any], offered: dict[str, Any]) -> Graph:
    """What the interface queues for a graph that it saved."""
    links = {number: [str(node), slot] for number, node, slot, *_ in workflow["links"]}
    graph: Graph = {}
    for node in workflow["nodes"]:
        if node["type"].endswith("Note"):
            continue
        inputs = inputs_of(offered[node["type"]])  # a KeyError is a missing node
        views = {name: "" for name, (kind, *_) in inputs.items() if kind == "IMAGECOMPARE"}  # a widget without a value
        named = node.get("widgets_values_named", {})
        values = {name: value for name, value in named.items() if name.partition(".")[0] in inputs}  # no upload buttons
        wired = {i["name"]: links[i["link"]] for i in node.get("inputs", []) if i["link"] is not None}
        assert wired.keys() <= inputs.keys(), node["type"]
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": views | values | wired}
    return graph


def pixels(image: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray((image[0].permute(1, 2, 0) * 255).numpy())


def by_the_core(name: str, host: Host, entry: dict[str, Any]) -> list[tuple[torch.Tensor, str, float]]:
    """What an example workflow should give: each result, its node, and the largest error from 8-bit steps."""

    def shown(node: str) -> torch.Tensor:
        image = torch.from_numpy(host.images(entry, node)[0])[..., :3]
        return image.permute(2, 0, 1)[None] / 255

    def photo(file: Path) -> torch.Tensor:
        return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None] / 255

    examples = ROOT / "examples"
    coffee = photo(examples / "coffee_under.jpg")
    correct = Corrector.load()
    match name.partition(" - ")[2]:
        case "":
            return [(correct(coffee), "6", 1.01)]
        case "Folder of Photos":
            listed = (host.base / "input" / "examples").iterdir()  # in the order in which ComfyUI lists them
            return [(correct(photo(file)), "6", 1.01) for file in listed]
        case "Series of Photos":
            listed = (host.base / "input" / "series").iterdir()
            return [(result, "6", 1.01) for result in SeriesCorrector(correct)([photo(file) for file in listed])]
        case "Part of a Photo":
            mask = shown("9")[:, :1]
            return [(limit_change(coffee, correct(coffee), mask, 0.01), "6", 2.01)]
        case "Local Details":
            bands = laplacian_pyramid(photo(examples / "cat_over.jpg"), 5)
            return [(reconstruct(scale_bands(bands, [1.5, 1.5, 1.3, 1.1, 1])).clamp(0, 1), "6", 1.01)]
        case "Full Size":
            whole = photo(examples / "astronaut_under.jpg")
            small = torch.nn.functional.interpolate(whole, (256, 256), mode="area")
            return [(BilateralGrid.fit_reduced(small, shown("9")).slice(whole), "12", 4)]
        case _:
            return []  # a video


@pytest.mark.parametrize("path", [path for path in WORKFLOWS if path.stem != PAINTED], ids=lambda path: path.stem)
def test_example_workflows_run(host: Host, path: Path) -> None:
    """And give the same results as the core; Compare Images shows the photo and what is saved of it."""
    host.put_examples()
    workflow = json.loads(path.read_text())
    offered = host.get("/object_info")
    entry = host.run(prompt_of(workflow, offered))
    assert entry["status"]["status_str"] == "success", entry["status"]
    [compare] = [str(node["id"]) for node in workflow["nodes"] if node["type"] == "ImageCompare"]
    before, after = (host.images(entry, compare, kind=kind) for kind in ("a_images", "b_images"))
    [end] = [node for node in workflow["nodes"] if node["type"] in ("SaveImage", "SaveVideo")]
    if end["type"] == "SaveVideo":
        assert len(before) == len(after) > 0
        assert after[0].mean() > before[0].mean() + 20
    else:
        saved = host.images(entry, str(end["id"]))
        assert all(np.array_equal(a, b) for a, b in zip(after, saved, strict=True))
        assert not any(np.array_equal(a, b) for a, b in zip(after, before, strict=True))
    wanted = by_the_core(path.stem, host, entry)
    assert wanted or end["type"] == "SaveVideo"
    for node in {node for _, node, _ in wanted}:
        expected = [(image, allowed) for image, shown, allowed in wanted if shown == node]
        for got, (image, allowed) in zip(host.images(entry, node), expected, strict=True):
            assert np.abs(got[..., :3] - pixels(image)).max() <= allowed


def test_lost_highlights_are_masked_and_painted(host: Host) -> None:
    """Without a checkpoint, ComfyUI asks for it only, and shows the mask; a negative stands in for what is painted."""
    host.put_examples()
    [path] = [path for path in WORKFLOWS if path.stem == PAINTED]
    graph = prompt_of(json.loads(path.read_text()), host.get("/object_info"))
    reply = json.loads(host.post("/prompt", {"prompt": graph}))
    assert list(reply["node_errors"]) == ["10"]
    assert [error["details"].partition(":")[0] for error in reply["node_errors"]["10"]["errors"]] == ["ckpt_name"]
    [shown] = host.images(host.wait(reply["prompt_id"]), "9")
    painted = {name: graph[name] for name in ("2", "3", "4", "5", "6", "7", "8", "9", "18", "20")}
    [got] = host.saved(painted | graph_of(**{"17": ("ImageInvert", {"image": ["3", 0]})}), "20")
    photo = np.array(Image.open(ROOT / "examples" / "cat_over.jpg"))
    mask = np.array(Image.fromarray(shown[..., 0]).resize(photo.shape[1::-1], Image.Resampling.BOX))
    lost = photo.min(2) >= 254
    assert lost.any()
    assert mask[lost].mean() > 250
    around = np.array(Image.fromarray(mask).filter(ImageFilter.MaxFilter(9)))  # what 8 bits show of the soft mask
    assert (around == 0).mean() > 0.5
    assert np.array_equal(got[around == 0], photo[around == 0])
    assert got[lost].mean() < 30


def test_example_workflows_set_every_widget(host: Host) -> None:
    """So a new input must be saved with them, and cannot shift the value of another."""
    offered = host.get("/object_info")
    for path in WORKFLOWS:
        for node in json.loads(path.read_text())["nodes"]:
            if node["type"].startswith("ExpCorr_"):
                widgets = widgets_of(inputs_of(offered[node["type"]]))
                named = node.get("widgets_values_named", {})
                assert list(named) == widgets, (path.stem, node["type"])
                assert list(named.values()) == (node.get("widgets_values") or []), (path.stem, node["type"])


def test_example_workflows_are_offered_with_pictures(host: Host) -> None:
    """ComfyUI shows a file's name as the title and as the description, in one line."""
    names = [path.stem for path in WORKFLOWS]
    assert sorted(host.get("/workflow_templates")[PACK]) == names
    assert names[0] == "Auto Exposure"  # the shortest, which the search puts first, too
    assert all("Exposure" in name and len(name) <= 32 for name in names)
    assert "Auto Exposure - Video" in names
    for path in WORKFLOWS:
        address = f"{host.url}/api/workflow_templates/{PACK}/{urllib.parse.quote(path.stem)}"
        with urllib.request.urlopen(address + ".json", timeout=60) as reply:
            assert json.load(reply) == json.loads(path.read_text())
        with urllib.request.urlopen(address + ".jpg", timeout=60) as reply, Image.open(reply) as picture:
            assert picture.format == "JPEG"
            assert picture.size == (512, 512)
        assert path.stat().st_size + path.with_suffix(".jpg").stat().st_size < 100_000


def many(count: int) -> Graph:
    """A batch of equal frames, corrected."""
    return correction(image=["repeat", 0]) | graph_of(
        repeat=("RepeatImageBatch", {"image": ["load", 0], "amount": count})
    )


def test_a_batch_of_64_frames(host: Host, scene: NDArray[np.uint8]) -> None:
    host.put_image("scene.png", scene)
    [one] = host.saved(correction())
    frames = host.saved(many(64))
    assert len(frames) == 64
    assert all(np.array_equal(frame, one) for frame in frames)


def test_cancel_in_the_middle(host: Host, scene: NDArray[np.uint8]) -> None:
    """The server is free again long before a batch of thousands of frames could be done."""
    host.put_image("scene.png", scene[::2, ::2])
    host.cancel(host.queue(many(4096)), after=2)


def test_a_graph_that_is_late_leaves_the_server_free(host: Host, scene: NDArray[np.uint8]) -> None:
    """So that a test that times out does not break the next one."""
    host.put_image("scene.png", scene[::2, ::2])
    with pytest.raises(AssertionError, match="the graph did not end in time"):
        host.wait(host.queue(many(4096)), 2)
    assert not host.running()


@pytest.mark.parametrize("name", ["ExposureFusion", "LaplacianDecompose"])
def test_cancel_among_large_images(host: Host, name: str) -> None:
    """These nodes take seconds per image, and must react themselves, not only before the next node."""
    empty = graph_of(empty=("EmptyImage", {"width": 3000, "height": 2000, "batch_size": 8, "color": 0}))
    first = graph_of(
        one=("ImageFromBatch", {"image": ["empty", 0], "batch_index": 0, "length": 1}),
        show=("PreviewImage", {"images": ["one", 0]}),
    )
    host.run(empty | first)  # so that the batch is there
    inputs = {"images": ["empty", 0]} if name == "ExposureFusion" else {"image": ["empty", 0], "levels": 4}
    work = graph_of(
        work=(f"ExpCorr_{name}", inputs),
        show=("PreviewImage", {"images": ["work", int(name == "LaplacianDecompose")]}),
    )
    assert host.cancel(host.queue(empty | work), after=2) == "work"


SERIES_DEFAULTS = {"strength": 1.0, "fusion": False, "stretch": 0.0, "working_size": 512}


def series_of(host: Host, shots: dict[str, NDArray[np.uint8]], **inputs: Any) -> Graph:
    """LoadImage for each photo, one list of them, the model, and Exposure Correct (Series)."""
    for name, shot in shots.items():
        host.put_image(f"{name}.png", shot)
    images = {f"inputs.input{place}": [name, 0] for place, name in enumerate(shots)}
    return graph_of(
        **{name: ("LoadImage", {"image": f"{name}.png"}) for name in shots},
        list=("CreateList", images),
        model=("ExpCorr_LoadModel", {"weights": "bundled"}),
        correct=(
            "ExpCorr_CorrectSeries",
            {"model": ["model", 0], "images": ["list", 0], **SERIES_DEFAULTS, **inputs},
        ),
        text=("PreviewAny", {"source": ["correct", 1]}),
        save=save("correct"),
    )


@pytest.fixture
def shots(scene: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Three photos of one scene, of several sizes and exposures."""
    parts = {"dark": scene[:80, :120] * 0.3, "middle": scene[10:, 15:135] * 1.0, "bright": scene[5:95, 10:130] * 1.3}
    return {name: part.clip(0, 255).astype(np.uint8) for name, part in parts.items()}


def of_the_core(*shots: NDArray[np.uint8], right: tuple[int, ...] = ()) -> list[NDArray[np.float32]]:
    """What the core makes of a series."""
    photos = [torch.from_numpy(shot).permute(2, 0, 1)[None] / 255 for shot in shots]
    return [pixels(result) for result in SeriesCorrector(Corrector.load())(photos, right=right)]


def test_a_list_of_photos_is_corrected_as_a_series(host: Host, shots: dict[str, NDArray[np.uint8]]) -> None:
    """In its order, each photo at its size; a preview of all of them, and which belong together."""
    entry = host.run(series_of(host, shots))
    assert entry["status"]["status_str"] == "success", entry["status"]
    for got, wanted in zip(host.images(entry, "save"), of_the_core(*shots.values()), strict=True):
        assert got.shape == wanted.shape
        assert np.abs(got - wanted).max() <= 1.01
    [text] = entry["outputs"]["text"]["text"]
    assert re.fullmatch(r"images 1-3: one scene, [0-9.]+ apart before, [0-9.]+ after", text)
    [shown] = host.images(entry, "correct")
    assert shown.shape[0] == 2 * 256


def test_a_series_of_batches(host: Host, shots: dict[str, NDArray[np.uint8]]) -> None:
    """With alpha; other nodes see one batch where one was given."""
    height, width = shots["dark"].shape[:2]
    batches = graph_of(
        mask=("SolidMask", {"value": 0.25, "width": width, "height": height}),
        join=("JoinImageWithAlpha", {"image": ["dark", 0], "alpha": ["mask", 0]}),
        lighter=("ExpCorr_ExposureShift", {"image": ["join", 0], "ev": 1.0, "curve": "linear light"}),
        batch=("ImageBatch", {"image1": ["join", 0], "image2": ["lighter", 0]}),
        last=("ImageFromBatch", {"image": ["correct", 0], "batch_index": 1, "length": 1}),
        show=("PreviewImage", {"images": ["last", 0]}),
    )
    entry = host.run(series_of(host, shots, images=["batch", 0]) | batches)
    assert entry["status"]["status_str"] == "success", entry["status"]
    images = host.images(entry, "save")
    assert [image.shape for image in images] == 2 * [(height, width, 4)]
    assert np.abs(images[0][..., 3].astype(int) - 191).max() <= 1  # 0.75: ComfyUI inverts masks
    assert np.array_equal(host.images(entry, "show")[0], images[1])
    assert "images 1-2: one scene" in entry["outputs"]["text"]["text"][0]
    difference = images[0][..., :3].astype(float) - images[1][..., :3]
    assert np.abs(difference).mean() < 3  # though one was a stop brighter


def test_a_series_gets_the_look_of_a_photo_that_is_right(host: Host, shots: dict[str, NDArray[np.uint8]]) -> None:
    right = shots.pop("middle")
    host.put_image("right.png", right)
    graph = series_of(host, shots, like=["right", 0]) | graph_of(right=("LoadImage", {"image": "right.png"}))
    entry = host.run(graph)
    assert entry["status"]["status_str"] == "success", entry["status"]
    wanted = of_the_core(*shots.values(), right, right=(2,))[:2]
    for got, by_the_core in zip(host.images(entry, "save"), wanted, strict=True):
        assert np.abs(got - by_the_core).max() <= 1.01
    assert entry["outputs"]["text"]["text"][0].startswith("images 1-2 and like 1: one scene, ")


def test_a_series_at_strength_zero_is_given_back(host: Host, shots: dict[str, NDArray[np.uint8]]) -> None:
    images = host.saved(series_of(host, shots, strength=0.0))
    assert all(np.array_equal(got, shot) for got, shot in zip(images, shots.values(), strict=True))


def test_a_series_is_cancelled_in_the_middle(host: Host, shots: dict[str, NDArray[np.uint8]]) -> None:
    many = graph_of(many=("RepeatImageBatch", {"image": ["dark", 0], "amount": 4096}))
    assert host.cancel(host.queue(series_of(host, shots, images=["many", 0]) | many), after=3) == "correct"


VIDEO_DEFAULTS = {
    "strength": 1.0, "fusion": False, "stretch": 0.0, "smoothing": 60.0, "one_correction": False, "every": 4,
    "threshold": 0.45, "working_size": 512,
}  # fmt: skip


def save_video(node: str) -> tuple[str, dict[str, Any]]:
    return "SaveVideo", {"video": [node, 0], "filename_prefix": "t", "format": "auto", "codec": "auto"}


def video_graph(name: str, **more: tuple[str, dict[str, Any]]) -> Graph:
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "load": ("LoadVideo", {"file": name}),
        "model": ("ExpCorr_LoadModel", {"weights": "bundled"}),
        "correct": ("ExpCorr_CorrectVideo", {"model": ["model", 0], "video": ["load", 0], **VIDEO_DEFAULTS}),
        "save": save_video("correct"),
    }
    return graph_of(**(nodes | more))


def test_a_video_is_corrected_with_its_sound(host: Host, scene: NDArray[np.uint8]) -> None:
    dark = np.ascontiguousarray((scene[:96, :142] * 0.3).astype(np.uint8))
    source = make_video(host.base / "input" / "clip.mp4", [dark] * 10, gap=3000)
    before = set((host.base / "output").glob("*.mp4"))
    entry = host.run(video_graph("clip.mp4"))
    assert entry["status"]["status_str"] == "success", entry["status"]
    [saved] = set((host.base / "output").glob("*.mp4")) - before
    assert [frame.time for frame in pictures(saved)] == [frame.time for frame in pictures(source)]
    assert sound(saved) == sound(source)
    seen = torch.from_numpy(pictures(source)[5].to_ndarray(format="rgb24"))
    wanted = Corrector.load()(seen.permute(2, 0, 1)[None] / 255) * 255
    got = pictures(saved)[5].to_ndarray(format="rgb24")
    assert abs(float(got.mean()) - float(wanted.mean())) < 4
    assert got.mean() > dark.mean() + 20


def test_frames_and_videos_in_memory_are_corrected_alike(host: Host, scene: NDArray[np.uint8]) -> None:
    dark = np.ascontiguousarray((scene[:96, :142] * 0.3).astype(np.uint8))
    make_video(host.base / "input" / "clip.mp4", [dark] * 6)
    entry = host.run(
        video_graph(
            "clip.mp4",
            parts=("GetVideoComponents", {"video": ["load", 0]}),
            frames=("ExpCorr_CorrectFrames", {"model": ["model", 0], "image": ["parts", 0], **VIDEO_DEFAULTS}),
            create=("CreateVideo", {"images": ["parts", 0], "audio": ["parts", 1], "fps": 30.0}),
            correct=("ExpCorr_CorrectVideo", {"model": ["model", 0], "video": ["create", 0], **VIDEO_DEFAULTS}),
            again=("GetVideoComponents", {"video": ["correct", 0]}),
            save=("SaveImage", {"images": ["frames", 0], "filename_prefix": "t"}),
            other=("SaveImage", {"images": ["again", 0], "filename_prefix": "t"}),
        )
    )
    assert entry["status"]["status_str"] == "success", entry["status"]
    frames, others = host.images(entry, "save"), host.images(entry, "other")
    assert len(frames) == len(others) == 6
    assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(frames, others, strict=True))
    assert frames[0].mean() > dark.mean() + 20
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() < 1


def test_a_video_is_cancelled_in_the_middle(host: Host, scene: NDArray[np.uint8]) -> None:
    dark = np.ascontiguousarray((scene[:96, :142] * 0.3).astype(np.uint8))
    make_video(host.base / "input" / "long.mp4", [dark] * 3000, sound=False)
    host.cancel(host.queue(video_graph("long.mp4")), after=4)


def test_half_precision_between_nodes(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    with comfyui_host.running(tmp_path, "--fp16-intermediates") as server:
        server.put_image("scene.png", scene)
        [halved] = server.saved(correction())
    wanted = Corrector.load()(torch.from_numpy(scene).permute(2, 0, 1)[None] / 255)
    assert np.abs(halved.astype(int) - (wanted[0].permute(1, 2, 0) * 255).numpy()).max() <= 3.01
