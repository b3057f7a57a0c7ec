"""What ComfyUI shows of the nodes: translations and help pages have every node, input and output, and say the same.

`locales/en` repeats the nodes' own texts. They are read from the nodes themselves, with a stand-in for ComfyUI.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from comfyui_stub import hidden, loaded

ROOT = Path(__file__).parent.parent
LANGUAGES = ("de", "en", "es", "fr", "ja", "zh")
TRANSLATIONS = tuple(language for language in LANGUAGES if language != "en")

Definitions = dict[str, dict[str, Any]]


def texts(schema: SimpleNamespace) -> dict[str, Any]:
    """A node's texts in the form of ``nodeDefs.json``, without those of hidden inputs."""
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": {
            part.id: {"name": part.display_name, "tooltip": part.tooltip} for part in schema.inputs if not hidden(part)
        },
        "outputs": {
            str(place): {"name": part.display_name, "tooltip": part.tooltip}
            for place, part in enumerate(schema.outputs)
        },
    }


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    """The texts of all nodes, from the nodes."""
    with loaded(tmp_path_factory.mktemp("models")) as nodes:
        return {name: texts(node.define_schema()) for name, node in nodes.items()}


def file_of(language: str) -> Path:
    return ROOT / "locales" / language / "nodeDefs.json"


def load(language: str) -> Definitions:
    definitions: Definitions = json.loads(file_of(language).read_text("utf-8"))
    return definitions


def strings(tree: dict[str, Any], path: str = "") -> dict[str, str]:
    """All strings of nested dictionaries, each under its keys, joined by slashes."""
    found: dict[str, str] = {}
    for key, value in tree.items():
        found |= strings(value, f"{path}/{key}") if isinstance(value, dict) else {f"{path}/{key}": value}
    return found


def test_english_says_what_the_nodes_say(declared: Definitions) -> None:
    assert load("en") == declared


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_needs_the_papers_network_says_so(language: str) -> None:
    """Its choice and the default are explained where they are chosen, and named at each band gain."""
    definitions = load(language)
    loader = definitions["ExpCorr_LoadModel"]
    explained = loader["inputs"]["weights"]["tooltip"]
    assert "bundled" in explained and "paper" in explained
    for level in range(1, 5):
        tooltip = definitions["ExpCorr_Settings"]["inputs"][f"gain_{level}"]["tooltip"]
        assert "paper" in tooltip and loader["display_name"] in tooltip


def test_no_other_languages() -> None:
    assert sorted(path.name for path in (ROOT / "locales").iterdir()) == sorted(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_files_are_in_one_form(language: str) -> None:
    """This also finds duplicate keys."""
    assert file_of(language).read_text("utf-8") == json.dumps(load(language), indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_there(language: str) -> None:
    found = strings(load(language))
    assert list(found) == list(strings(load("en")))
    for path, text in found.items():
        assert isinstance(text, str) and text and text == text.strip(), path
        assert not re.search(r"[{}@|]", text), path  # ComfyUI's interface takes these for its message syntax


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_translations_keep_figures_and_choices(language: str) -> None:
    """Choices and folders, in single quotes in English, are called the same in every language."""
    translated = strings(load(language))
    for path, text in strings(load("en")).items():
        kept = re.findall(r"\d+", text) + re.findall(r"(?<!\w)'([^']+)'(?!\w)", text)
        assert all(word in translated[path] for word in kept), path


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_translations_call_nodes_and_their_parts_by_one_name(language: str) -> None:
    english, translated = strings(load("en")), strings(load(language))
    names = {text: translated[path] for path, text in english.items() if path.endswith("/display_name")}
    assert len(set(names.values())) == len(names)
    for path, text in english.items():
        for name, here in names.items():
            if path.endswith(("/description", "/tooltip")) and re.search(rf"\b{name}\b", text):
                assert here in translated[path], path
    for node in load(language).values():
        for parts in (node["inputs"], node["outputs"]):
            shown = [part["name"] for part in parts.values()]
            assert len(set(shown)) == len(shown)


def test_help_pages_are_the_nodes() -> None:
    assert {path.stem for path in (ROOT / "web" / "nodes" / "docs").glob("*.md")} == set(load("en"))


@pytest.mark.parametrize("node", sorted(load("en")))
def test_help_page_has_every_input_and_output(node: str) -> None:
    page = (ROOT / "web" / "nodes" / "docs" / f"{node}.md").read_text("utf-8")
    definition = load("en")[node]
    assert page.startswith(f"# {definition['display_name']}\n")
    for heading, parts in (("Inputs", "inputs"), ("Outputs", "outputs")):
        section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        listed = re.findall(r"^- \*\*(.+?)\*\* \(", section, re.M)
        assert listed == [part["name"] for part in definition[parts].values()]
    assert page.isascii() and page.endswith("\n") and max(map(len, page.splitlines())) <= 120
