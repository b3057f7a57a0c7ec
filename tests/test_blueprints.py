"""The blueprints (`subgraphs`): graphs of a few nodes that ComfyUI offers in its node search like one node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import comfyui_host
import numpy as np
import pytest
import torch
from browser import in_browser, needs_browser
from comfyui_host import PACK, ROOT, Host, inputs_of
from comfyui_stub import loaded
from numpy.typing import NDArray
from PIL import Image
from video_files import pictures

from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.corrector import Corrector
from expcorr_core.method.fusion import fuse_exposures

host = comfyui_host.host  # the fixture
FILES = sorted((ROOT / "subgraphs").glob("*.json"), key=lambda path: path.stem)
LOW = "Low-Resolution Operator"
# By name: inputs and outputs with their types, and the widgets that are shown.
WANTED: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]], list[str]]] = {
    "Auto Exposure": (
        [("image", "IMAGE"), ("mask", "MASK")],
        [("image", "IMAGE"), ("correction", "EXPCORR_GRID")],
        ["strength", "fusion", "stretch", "weights"],
    ),
    "Auto Exposure (Video)": (
        [("video", "VIDEO")],
        [("video", "VIDEO")],
        ["strength", "fusion", "stretch", "smoothing", "one_correction", "weights"],
    ),
    "Bracket Fusion": ([("dark", "IMAGE"), ("middle", "IMAGE"), ("bright", "IMAGE")], [("image", "IMAGE")], []),
    LOW: (
        [("image", "IMAGE")],
        [("image", "IMAGE"), ("small", "IMAGE")],
        ["largest_size", "blend_factor", "blend_mode", "strength"],
    ),
}
by_name = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The node that stands for a blueprint, and what is in it."""
    content = json.loads(path.read_text("utf-8"))
    [node], [inside] = content["nodes"], content["definitions"]["subgraphs"]
    assert node["type"] == inside["id"]
    return node, inside


def test_every_blueprint_is_there() -> None:
    assert [path.stem for path in FILES] == sorted(WANTED)
    assert len({read(path)[1]["id"] for path in FILES}) == len(FILES)


@by_name
def test_blueprint_is_whole(path: Path) -> None:
    """Its name, place and explanation; the links and what they connect name each other; the widgets exist."""
    node, inside = read(path)
    assert node["title"] == inside["name"] == path.stem
    assert inside["category"] in ("Image Tools/Color adjust", "Video Tools")  # where ComfyUI's own are
    assert inside["description"]
    inputs, outputs, shown = WANTED[path.stem]
    for part in (node, inside):
        assert [(port["name"], port["type"]) for port in part["inputs"]] == inputs
        assert [(port["name"], port["type"]) for port in part["outputs"]] == outputs
    nodes = {part["id"]: part for part in inside["nodes"]}
    widgets = node["properties"]["proxyWidgets"]
    assert [name for _, name in widgets] == shown
    assert all(name in nodes[int(number)]["widgets_values_named"] for number, name in widgets)
    for link in inside["links"]:
        source, target = link["origin_id"], link["target_id"]
        start = inside["inputs"] if source == -10 else nodes[source]["outputs"]
        end = inside["outputs"] if target == -20 else nodes[target]["inputs"]
        origin, goal = start[link["origin_slot"]], end[link["target_slot"]]
        assert origin["type"] == goal["type"] == link["type"]
        assert link["id"] in origin["linkIds" if source == -10 else "links"]
        assert link["id"] in goal["linkIds"] if target == -20 else link["id"] == goal["link"]


@by_name
def test_blueprint_sets_the_nodes_widgets(path: Path, tmp_path: Path) -> None:
    """All of them, in their order, to their defaults; so a new input must be saved with it."""
    with loaded(tmp_path) as schemas:
        for node in read(path)[1]["nodes"]:
            if node["type"].startswith("ExpCorr_"):
                ports = schemas[node["type"]].define_schema().inputs
                defaults = {port.id: port.default for port in ports if hasattr(port, "default")}
                assert node["widgets_values_named"] == defaults
                assert list(node["widgets_values_named"]) == list(defaults)
                assert node["widgets_values"] == list(defaults.values())


@comfyui_host.needs_comfyui
def test_blueprints_are_served(host: Host) -> None:
    """Whole, and of nodes that ComfyUI has, whose inputs and outputs have these names and types."""
    offered = host.get("/object_info")
    served = {
        entry["name"]: number
        for number, entry in host.get("/global_subgraphs").items()
        if entry["info"]["node_pack"] == f"custom_nodes.{PACK}"
    }
    assert sorted(served) == sorted(WANTED)
    for path in FILES:
        assert host.get(f"/global_subgraphs/{served[path.stem]}")["data"] == path.read_text("utf-8")
        for node in read(path)[1]["nodes"]:
            info = offered[node["type"]]
            known = inputs_of(info)
            for port in node["inputs"]:
                kind = known[port["name"].partition(".")[0]][0]
                assert kind in (port["type"], "COMFY_AUTOGROW_V3"), (path.stem, port["name"])
            # The interface adds outputs that came later.
            assert [port["type"] for port in node["outputs"]] == info["output"][: len(node["outputs"])]


@pytest.fixture(scope="module")
def used(host: Host) -> dict[str, Any]:
    """What browser_blueprints.mjs saw."""
    host.put_examples()
    still = np.array(Image.open(ROOT / "examples" / "coffee_under.jpg"))
    for name, light in {"dark": 0.5, "middle": 1.0, "bright": 2.0}.items():
        host.put_image(f"{name}.png", (still * light).clip(0, 255).astype(np.uint8))
    loads = {
        "Auto Exposure": [["image", "LoadImage", "image", "coffee_under.jpg"]],
        "Auto Exposure (Video)": [["video", "LoadVideo", "file", "clip.mp4"]],
        "Bracket Fusion": [[name, "LoadImage", "image", f"{name}.png"] for name in ("dark", "middle", "bright")],
        LOW: [["image", "LoadImage", "image", "astronaut_under.jpg"]],
    }
    uses = {
        name: {"loads": load, "save": ["SaveVideo", "video"] if "Video" in name else ["SaveImage", "images"]}
        for name, load in loads.items()
    }
    return in_browser("browser_blueprints.mjs", host, uses=uses)


def result(name: str, host: Host) -> NDArray[np.float32]:
    """What a blueprint should give by the core, whole photos."""

    def photo(file: str) -> torch.Tensor:
        return torch.from_numpy(np.array(Image.open(host.base / "input" / file))).permute(2, 0, 1)[None] / 255

    match name:
        case "Auto Exposure":
            image = Corrector.load()(photo("coffee_under.jpg"))
        case "Bracket Fusion":
            image = fuse_exposures([photo(f"{part}.png") for part in ("dark", "middle", "bright")])
        case _:
            whole = photo("astronaut_under.jpg")
            image = BilateralGrid.fit_reduced(whole, 1 - (1 - whole) ** 2).slice(whole)
    return np.asarray((image[0].permute(1, 2, 0) * 255).numpy())


@needs_browser
@comfyui_host.needs_comfyui
def test_blueprints_are_found_dropped_and_run(used: dict[str, Any], host: Host) -> None:
    saved = sorted((host.base / "output").glob("*.png"))
    wanted = [name for name in used if "Video" not in name]
    assert len(saved) == len(wanted)
    for name, seen in used.items():
        inputs, outputs, widgets = WANTED[name]
        assert seen["error"] is None, name
        assert [tuple(port) for port in seen["inputs"]] == inputs
        assert [tuple(port) for port in seen["outputs"]] == outputs
        assert seen["widgets"] == widgets
    for name, path in zip(wanted, saved, strict=True):
        assert np.abs(np.array(Image.open(path)) - result(name, host)).max() <= (4 if name == LOW else 1.01), name
    [video] = (host.base / "output").rglob("*.mp4")
    before = pictures(host.base / "input" / "clip.mp4")[0].to_ndarray(format="rgb24")
    assert pictures(video)[0].to_ndarray(format="rgb24").mean() > before.mean() + 20
