"""Files that a run appends lines to, so that a resumed run continues where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from expcorr_core.files import replacing


def check_started(path: Path, description: Mapping[str, object]) -> None:
    """Record in ``path`` what its folder is made from; ValueError if it was started from something else."""
    if path.exists():
        if json.loads(path.read_text("utf-8")) != description:
            raise ValueError(f"{path.parent} was started with other arguments or files; choose another folder")
    else:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(description, indent=2) + "\n", "utf-8")


def complete_lines(path: Path) -> list[str]:
    """The complete lines of a file (a truncated last line is left out); none if there is no file."""
    if not path.exists():
        return []
    text = path.read_text("utf-8")
    return text[: text.rfind("\n") + 1].splitlines()
