"""The example workflows in the real interface: opened, run by the Run button, and looked at, in Chromium.

They run where COMFYUI_PATH names a ComfyUI checkout (see test_comfyui.py), Chromium is installed (or CHROMIUM_PATH
names the executable), and PLAYWRIGHT_CORE names a folder ``node_modules`` with playwright-core (``npm install
playwright-core``). SCREENSHOTS=FOLDER writes a picture of each graph there, and one of the template
browser; docs/workflow.jpg is that of the first workflow.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import comfyui_host
import pytest
from comfyui_host import PACK, ROOT, WORKFLOWS, Host
from node_search import PLACES, WORDS

CHROMIUM = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium")
PLAYWRIGHT = os.environ.get("PLAYWRIGHT_CORE")
SECONDS = 1800
SHOWING = (
    "SaveImage", "PreviewImage", "MaskPreview", "LoadImage",
    "ExpCorr_Correct", "ExpCorr_LaplacianDecompose", "ExpCorr_ExposureReport",
)  # fmt: skip

pytestmark = [
    comfyui_host.needs_comfyui,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed, and CHROMIUM_PATH names none"),
    pytest.mark.skipif(not PLAYWRIGHT, reason="PLAYWRIGHT_CORE names no node_modules with playwright-core"),
    pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed"),
]
host = comfyui_host.host  # the fixture


def in_browser(script: str, host: Host, **order: Any) -> dict[str, Any]:
    """Run a script with Chromium on the server's interface; gives what it saw."""
    order |= {"url": host.url, "chromium": CHROMIUM, "playwright": PLAYWRIGHT}
    command = ["node", str(ROOT / "tests" / script), json.dumps(order)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    return dict(json.loads(result.stdout))


@pytest.fixture(scope="module")
def seen(host: Host) -> dict[str, Any]:
    """What browser.mjs saw."""
    host.put_examples()
    pictures = os.environ.get("SCREENSHOTS")
    return in_browser(
        "browser.mjs",
        host,
        pack=PACK,
        workflows=[path.stem for path in WORKFLOWS],
        help={"workflow": WORKFLOWS[0].stem, "node": "ExpCorr_Correct", "words": first_words("ExpCorr_Correct")},
        screenshots=pictures and str(Path(pictures).resolve()),
    )


def first_words(node: str) -> str:
    """The first line below the heading of a node's help page."""
    return (ROOT / "web" / "docs" / f"{node}.md").read_text().split("\n\n")[1].splitlines()[0]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_opens_and_runs(seen: dict[str, Any], path: Path) -> None:
    graph = seen["graphs"][path.stem]
    assert graph["missing"] == []
    assert graph["error"] is None
    assert graph["overlaps"] == []
    nodes = {str(node["id"]): node["type"] for node in json.loads(path.read_text())["nodes"]}
    assert graph["images"].keys() == nodes.keys()
    for node, kind in nodes.items():
        assert (graph["images"][node] > 0) == (kind in SHOWING), kind


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
