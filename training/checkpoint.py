"""The checkpoint of a training run, and what it and the weights say of their making."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import torch

from expcorr_core.files import replacing


def commit() -> str:
    """The revision of this checkout, or 'unknown'."""
    try:
        return subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def describe(files: list[tuple[Path, ...]]) -> dict[str, Any]:
    """Identifies the training data: their count, and a digest of names, sizes and first bytes."""
    digest = hashlib.sha256()
    for path in sorted({path for entry in files for path in entry}):
        with path.open("rb") as file:
            head = file.read(4096)
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + head)
    return {"photos": len(files), "pairs": len(files[0]) == 2, "sha256": digest.hexdigest()}


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write last.pt completely or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch's archive writer hides the system's error
            raise error.__context__ if isinstance(error.__context__, OSError) else OSError(str(error)) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read last.pt.

    Raises:
        ValueError: it is missing or damaged.
    """
    if not path.exists():
        raise ValueError(f"{path} does not exist; start without --resume")
    anew = f"start a new run with --init {path.parent / 'weights.safetensors'}"
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}); {anew}") from error
    if "arguments" not in checkpoint or "levels" not in checkpoint["arguments"]:
        raise ValueError(f"{path} was written by another version; {anew}")
    return checkpoint
