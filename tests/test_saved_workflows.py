"""Workflows saved with earlier states of the pack: they load, and give the pixels that their values ask for.

`workflows/0.1.0.json` was saved by ComfyUI's interface with version 0.1.0 and has all nodes of that version;
`before_settings.json` with the state before Exposure Settings. Values go by place in them: the names that newer
interfaces add to them were taken out. Since nothing was renamed, ComfyUI's node replacement is not needed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import comfyui_host
import numpy as np
import pytest
import torch
from browser import in_browser, needs_browser
from comfyui_host import ROOT, Graph, Host, inputs_of, needs_comfyui, widgets_of
from comfyui_stub import loaded
from numpy.typing import NDArray

from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.corrector import Corrector
from expcorr_core.image.masking import limit_change
from expcorr_core.method.pyramid import laplacian_pyramid, reconstruct, scale_bands
from expcorr_core.settings import Settings

host = comfyui_host.host  # the fixture
FIRST, BEFORE = "0.1.0", "before_settings"
MOVED = ("working_size", "mirror", "gain_1", "gain_2", "gain_3", "gain_4")  # into Exposure Settings
of_each = pytest.mark.parametrize("name", [FIRST, BEFORE])


def read(name: str) -> dict[str, Any]:
    return dict(json.loads((ROOT / "tests" / "workflows" / f"{name}.json").read_text("utf-8")))


def ours(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in workflow["nodes"] if node["type"].startswith("ExpCorr_")]


def prompt_of(workflow: dict[str, Any], offered: dict[str, Any]) -> Graph:
    """What the interface queues for a graph whose values have only places; what it has no value for is the default."""
    links = {number: [str(node), slot] for number, node, slot, *_ in workflow["links"]}
    graph: Graph = {}
    for node in workflow["nodes"]:
        inputs = inputs_of(offered[node["type"]])
        widgets = widgets_of(inputs)
        saved = dict(zip(widgets, node.get("widgets_values") or [], strict=False))  # an upload button has a value, too
        values = {name: saved[name] if name in saved else inputs[name][1]["default"] for name in widgets}
        wired = {part["name"]: links[part["link"]] for part in node["inputs"] if part["link"] is not None}
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": values | wired}
    return graph


@of_each
def test_nothing_was_renamed_or_moved(name: str, tmp_path: Path) -> None:
    """Nodes, inputs and outputs have their names, widgets and outputs their places; nothing new is required."""
    saved = ours(read(name))
    with loaded(tmp_path) as nodes:
        for node in saved:
            schema = nodes[node["type"]].define_schema()
            names = [part["name"] for part in node["inputs"]]
            widgets = [part["name"] for part in node["inputs"] if "widget" in part]
            assert len(widgets) == len(node.get("widgets_values") or [])
            assert {*names} <= {part.id for part in schema.inputs}
            assert [part.id for part in schema.inputs if hasattr(part, "default")][: len(widgets)] == widgets
            assert all(part.optional for part in schema.inputs if part.id not in names)
            outputs = [part["name"] for part in node["outputs"]]
            assert [part.display_name for part in schema.outputs][: len(outputs)] == outputs


def test_the_first_versions_nodes_are_all_there() -> None:
    parts = ("LoadModel", "Correct", "BilateralUpsample", "LaplacianDecompose", "LaplacianReconstruct")
    assert {node["type"] for node in ours(read(FIRST))} == {f"ExpCorr_{part}" for part in parts}


@pytest.fixture
def dark(host: Host, scene: NDArray[np.uint8]) -> torch.Tensor:
    """The photo that the workflows name, ``(1, 3, H, W)``, 0..1."""
    pixels = (scene * 0.3).astype(np.uint8)
    host.put_image("scene.png", pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255


def is_near(got: NDArray[np.uint8], wanted: torch.Tensor) -> bool:
    return float(np.abs(got - (wanted[0].permute(1, 2, 0) * 255).numpy()).max()) <= 1.01


@needs_comfyui
def test_workflows_of_the_first_version(host: Host, dark: torch.Tensor) -> None:
    """Sockets have their types; the results are what the core makes of the saved values."""
    workflow, offered = read(FIRST), host.get("/object_info")
    for node in ours(workflow):
        types = inputs_of(offered[node["type"]])
        assert all(types[part["name"]][0] == part["type"] for part in node["inputs"])
        kinds = [part["type"] for part in node["outputs"]]
        assert offered[node["type"]]["output"][: len(kinds)] == kinds
    corrected, upsampled, details = host.saved(prompt_of(workflow, offered), "4", "6", "9")
    settings = Settings(strength=0.8, fusion=True, stretch=1.0, working_size=256, flip=False)
    wanted = Corrector.load()(dark, settings)
    assert is_near(corrected, wanted)
    assert is_near(upsampled, BilateralGrid.fit_reduced(dark, wanted, size=(16, 16, 6)).blend(0.9).slice(dark))
    bands = laplacian_pyramid(dark, 5)
    assert is_near(details, reconstruct(scale_bands(bands, [1.5, 0.5, 1.2, 0.9, 1])).clamp(0, 1))


@needs_comfyui
def test_workflows_from_before_exposure_settings(host: Host, dark: torch.Tensor) -> None:
    """Their hidden values count, and Exposure Settings with the same values gives the same pixels."""
    graph = prompt_of(read(BEFORE), host.get("/object_info"))
    kept = host.saved(graph, "5", "7", "9")
    gains = (1.5, 0.8, 1.1, 0.9)
    settings = Settings(strength=0.9, stretch=0.5, gains=gains, working_size=256, flip=False)
    wanted = Corrector.load("paper")(dark, settings)
    assert is_near(kept[0], limit_change(dark, wanted, torch.full((1, 1, 64, 64), 0.5), 0.02))
    defaults = {"working_size": 512, "mirror": True, **{f"gain_{level}": 1.0 for level in range(1, 5)}}
    for node in [graph[number] for number in graph if "working_size" in graph[number]["inputs"]]:
        values = {name: node["inputs"].pop(name) for name in MOVED if name in node["inputs"]}
        number = str(100 + len(graph))
        graph[number] = {"class_type": "ExpCorr_Settings", "inputs": defaults | values}
        node["inputs"]["settings"] = [number, 0]
    assert len(graph) == 13
    now = host.saved(graph, "5", "7", "9")
    assert all(np.array_equal(a, b) for a, b in zip(kept, now, strict=True))


@needs_comfyui
@needs_browser
def test_saved_workflows_in_the_interface(host: Host, dark: torch.Tensor) -> None:
    """In both renderers: every value arrives where it was, and what Exposure Settings has is not shown."""
    workflows = {name: read(name) for name in (FIRST, BEFORE)}
    offered = host.get("/object_info")
    seen = in_browser("browser_saved.mjs", host, workflows=workflows)
    for renderer, found in seen.items():
        for name, workflow in workflows.items():
            wanted = prompt_of(workflow, offered)
            for node in ours(workflow):
                number = str(node["id"])
                assert found[name]["prompt"][number]["inputs"] == wanted[number]["inputs"], (renderer, name, number)
                shown = found[name]["shown"][number]
                assert not {"working size", "average with mirrored", "band gain 1", "band gain 4"} & {*shown}
                if node["type"] == "ExpCorr_Correct":
                    assert {"strength", "fuse with input", "contrast stretch (%)"} <= {*shown}
                    assert renderer == "nodes2" or len(shown) == 4
