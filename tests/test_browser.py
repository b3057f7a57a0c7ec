"""The example workflows in the real interface: opened, run by the Run button, and looked at, in Chromium.

They run where COMFYUI_PATH names a ComfyUI checkout (see test_comfyui.py), Chromium is installed (or CHROMIUM_PATH
names the executable), and PLAYWRIGHT_CORE names a folder ``node_modules`` with playwright-core (``npm install
playwright-core``). SCREENSHOTS=FOLDER writes a picture of each graph there, and one of the template
browser; docs/workflow.jpg is that of the first workflow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import browser
import comfyui_host
import pytest
from browser import in_browser
from comfyui_host import PAINTED, ROOT, WORKFLOWS, Host
from node_search import PLACES, WORDS

SHOWING = (
    "SaveImage", "PreviewImage", "MaskPreview", "LoadImage",
    "ExpCorr_Correct", "ExpCorr_CorrectSeries", "ExpCorr_LaplacianDecompose", "ExpCorr_ExposureReport",
)  # fmt: skip

pytestmark = [comfyui_host.needs_comfyui, browser.needs_browser]
host = comfyui_host.host  # the fixture


@pytest.fixture(scope="module")
def seen(host: Host) -> dict[str, Any]:
    """What browser.mjs saw."""
    host.put_examples()
    return in_browser(
        "browser.mjs",
        host,
        workflows=[path.stem for path in WORKFLOWS],
        unrun=[PAINTED],
        help={"workflow": WORKFLOWS[0].stem, "node": "ExpCorr_Correct", "words": first_words("ExpCorr_Correct")},
    )


def first_words(node: str) -> str:
    """The first line below the heading of a node's help page."""
    return (ROOT / "web" / "nodes" / "docs" / f"{node}.md").read_text().split("\n\n")[1].splitlines()[0]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_opens_and_runs(seen: dict[str, Any], path: Path) -> None:
    graph = seen["graphs"][path.stem]
    assert graph["missing"] == []
    assert graph["error"] is None
    assert graph["overlaps"] == []
    nodes = {str(node["id"]): node["type"] for node in json.loads(path.read_text())["nodes"]}
    assert graph["images"].keys() == nodes.keys()
    for node, kind in nodes.items():
        shows = kind == "LoadImage" if path.stem == PAINTED else kind in SHOWING
        assert (graph["images"][node] > 0) == shows, kind


def test_workflows_open_as_apps(host: Host) -> None:
    """With the inputs that they name, and show what is saved after a run."""
    host.put_examples()
    seen = in_browser("browser_apps.mjs", host, workflows={path.stem: path.stem != PAINTED for path in WORKFLOWS})
    for path in WORKFLOWS:
        workflow = json.loads(path.read_text())
        app = workflow["extra"]["linearData"]
        assert seen[path.stem]["inputs"] == [[str(node), widget] for node, widget in app["inputs"]]
        [end] = [node for node in workflow["nodes"] if node["id"] in app["outputs"]]
        name = Path(end["widgets_values_named"]["filename_prefix"]).name
        files = seen[path.stem]["files"]
        assert bool(files) == (path.stem != PAINTED)
        assert all(file.startswith(name) for file in files)


def test_exposure_finds_all_templates(seen: dict[str, Any]) -> None:
    """Before all others, the main one first."""
    names = [path.stem for path in WORKFLOWS]
    assert sorted(seen["titles"][: len(names)]) == names
    assert seen["titles"][0] == names[0]


def test_help_page_is_shown(seen: dict[str, Any]) -> None:
    assert seen["help"]


def test_words_that_people_search_for_find_the_nodes(host: Host) -> None:
    """Typed into the search of today's interface and of the one before it."""
    for kind, found in in_browser("browser_search.mjs", host, words=WORDS, places=PLACES).items():
        missed = {word: names for word, names in found.items() if WORDS[word] not in names}
        assert not missed, kind
        assert found.keys() == WORDS.keys()
