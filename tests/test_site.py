"""The documentation site builds without warnings, and every link in the repository's pages leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(
        path
        for folder in ("docs", "training", "weights", "web/nodes")
        for path in sorted((ROOT / folder).rglob("*.md"))
    ),
]


def test_site_builds_without_warnings(tmp_path: Path) -> None:
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package, reason="the site needs the docs extra")
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    for page in ("index.html", "nodes/ExpCorr_Correct/index.html", "weights/index.html", "training.png"):
        assert (tmp_path / "site" / page).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
        assert re.match(r"https?://", target) or (page.parent / unquote(target)).exists(), target


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 8192
