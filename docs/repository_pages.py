"""MkDocs hook: pages and pictures that stand elsewhere in the repository become part of the site.

Links in all pages are written as they work in the repository; here they are rewritten for the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "training/EXPERIMENTS.md": "experiments.md",
    "weights/README.md": "weights.md",
    "weights/paper.md": "weights_paper.md",
}
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")


def outside() -> dict[str, str]:
    """Files outside of ``docs``, from the repository's root, and where the site has them."""
    found = dict(PAGES)
    for path in sorted((ROOT / "web" / "nodes" / "docs").glob("*.md")):
        found[f"web/nodes/docs/{path.name}"] = f"nodes/{path.name}"
    for path in sorted((ROOT / "example_workflows").glob("*.jpg")):
        found[f"example_workflows/{path.name}"] = f"example_workflows/{path.name}"
    return found


def on_files(files: Files, config: Any) -> Files:
    for path, address in outside().items():
        files.append(File.generated(config, address, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    places = outside()
    here = page.file.src_uri
    source = next((path for path, address in places.items() if address == here), f"docs/{here}")

    def rewritten(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), unquote(link[0])))
        address = places.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
        return quote(posixpath.relpath(address, posixpath.dirname(here) or ".")) if address else link[0]

    return LINK.sub(rewritten, markdown)
