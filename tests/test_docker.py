"""The Dockerfile, as far as it can be read without Docker."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "Dockerfile").read_text("ascii")


def copied() -> list[str]:
    """What comes from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.M)
    return [name for line in lines for name in line.split()]


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    lines = (ROOT / ".dockerignore").read_text("ascii").splitlines()
    assert lines[1] == "*"
    spared = [line[1:] for line in lines if line.startswith("!")]
    assert sorted(spared) == sorted(copied())
    assert all((ROOT / name).exists() for name in copied())


def test_all_that_the_wheel_is_built_from_is_copied() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    section = project.split("[tool.hatch.build.targets.wheel.force-include]")[1].split("\n[")[0]
    needed = [*re.findall(r'^"?([\w/.-]+)"? = ', section, re.M), "expcorr_core", "README.md", "LICENSE"]
    assert len(needed) > 5
    for name in needed:
        assert any(fnmatch(name, f"{part}*") for part in copied()), name


def test_extras_exist_and_the_user_is_ordinary() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    [extras] = re.findall(r'"/src\[(.*)\]"', TEXT)
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", project, re.M), extra
    last = TEXT.rsplit("FROM ", 1)[1]
    assert re.findall(r"^USER (.*)$", last, re.M) == ["expcorr"]
    assert last.index("USER") < last.index("ENTRYPOINT")
    assert 'ENTRYPOINT ["expcorr"]' in last
