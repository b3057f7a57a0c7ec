"""The metadata of a weights file, read without PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FORMAT = "expcorr"
VALUE_RANGE = "0..1"
NORMALISED, AS_IT_IS = "normalised range", "as it is"  # the network's input; files without this entry: as it is
MAX_HEADER = 2**20  # bytes; ours have a few thousand, and a parser may need many times as much memory
DEFAULT_NAME = "expcorr-global-fp16.safetensors"
# Weights that come with the package, by the name that users choose them by.
BUNDLED = {"default": DEFAULT_NAME, "paper": "expcorr-base-fp16.safetensors"}


class WeightsError(ValueError):
    """A weights file is missing, damaged, or for another network."""


def bundled_weights(name: str = "default") -> Path:
    """Where bundled weights are: beside the package, in a checkout or where a wheel was installed.

    Args:
        name: ``default``, or ``paper`` for the network of the paper.

    Raises:
        WeightsError: they are in neither place.
    """
    root = Path(__file__).resolve().parent.parent.parent
    for folder in (root / "weights", root / "expcorr_weights"):
        if (folder / BUNDLED[name]).is_file():
            return folder / BUNDLED[name]
    raise WeightsError(f"the bundled weights {BUNDLED[name]} are missing; reinstall the package or name a weights file")


def weights_path(weights: str | Path | None = None) -> Path:
    """The file that a choice of weights stands for.

    Args:
        weights: a name of bundled weights, a file, or None for the default.

    Raises:
        WeightsError: bundled weights are missing.
    """
    if weights is None or (isinstance(weights, str) and weights in BUNDLED):
        return bundled_weights(weights or "default")
    return Path(weights)


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a weights file, without reading its tensors.

    Returns:
        ``format``, ``architecture``, ``value_range``, ``input`` and ``training`` (decoded from JSON).

    Raises:
        WeightsError: the file is missing, damaged, or not a weights file of this program.
    """
    from safetensors import SafetensorError, safe_open  # here, so that the command line's help needs no packages

    try:
        with path.open("rb") as raw:
            header = int.from_bytes(raw.read(8), "little")
        if header > MAX_HEADER:
            raise WeightsError(
                f"weights file {path} is damaged or not a safetensors file (it claims a header of {header} bytes); "
                "download or copy it again"
            )
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError as error:
        raise WeightsError(f"weights file {path} does not exist") from error
    except IsADirectoryError as error:
        raise WeightsError(f"weights file {path} is a folder; name the file in it") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"weights file {path} is damaged or not a safetensors file ({error}); download or copy it again"
        ) from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"weights file {path} belongs to another program: its metadata lacks format = {FORMAT!r}; "
            "choose a file made by training/train.py"
        )
    if metadata.get("value_range") != VALUE_RANGE:
        raise WeightsError(
            f"weights file {path} works on values in {metadata.get('value_range')!r}, but this version needs "
            f"{VALUE_RANGE!r}; convert it or choose another file"
        )
    try:
        decoded = {key: json.loads(metadata[key]) for key in ("architecture", "training")}
    except (KeyError, json.JSONDecodeError) as error:
        raise WeightsError(f"weights file {path} has unreadable metadata ({error}); export it again") from error
    kind = metadata.get("input", AS_IT_IS)
    if kind not in (NORMALISED, AS_IT_IS):
        raise WeightsError(f"weights file {path} expects {kind!r} input, which this version cannot make; update it")
    return {"format": FORMAT, "value_range": VALUE_RANGE, "input": kind, **decoded}
