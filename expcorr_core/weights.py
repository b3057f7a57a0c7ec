"""Weights files: safetensors whose metadata say what they hold and how they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from .files import replacing
from .network import Architecture, ExposureNetwork

FORMAT = "expcorr"
VALUE_RANGE = "0..1"
NORMALISED, AS_IT_IS = "normalised range", "as it is"  # what the network's input is; files without it: as it is
MAX_HEADER = 2**20  # bytes; ours have some thousand, and a parser may need many times as much memory
DEFAULT_NAME = "expcorr-base-fp16.safetensors"


class WeightsError(ValueError):
    """A weights file is missing, damaged, or of another network."""


def default_weights_path() -> Path:
    """Where the bundled weights lie: beside the package, in a checkout or where a wheel was installed.

    Raises:
        WeightsError: they are in neither place.
    """
    root = Path(__file__).resolve().parent.parent
    for folder in (root / "weights", root / "expcorr_weights"):
        if (folder / DEFAULT_NAME).is_file():
            return folder / DEFAULT_NAME
    raise WeightsError(f"the bundled weights {DEFAULT_NAME} are missing; reinstall the package or name a weights file")


def save_weights(
    path: Path, network: ExposureNetwork, training: Mapping[str, Any], dtype: torch.dtype = torch.float16
) -> None:
    """Write a network's weights atomically.

    Args:
        path: file to write; an existing one is replaced.
        network: the network.
        training: how the weights were made (arguments, data, commit, metrics); JSON values.
        dtype: stored precision.
    """
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in network.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "architecture": json.dumps(network.architecture.to_dict()),
        "value_range": VALUE_RANGE,
        "input": NORMALISED if network.normalised else AS_IT_IS,
        "training": json.dumps(training),
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata)


def read_metadata(path: Path) -> dict[str, Any]:
    """What a weights file says of itself, without reading its tensors.

    Returns:
        ``format``, ``architecture``, ``value_range``, ``input`` and ``training`` (decoded from JSON).

    Raises:
        WeightsError: the file is missing, damaged, or not one of this program.
    """
    try:
        with path.open("rb") as raw:
            header = int.from_bytes(raw.read(8), "little")
        if header > MAX_HEADER:
            raise WeightsError(
                f"weights file {path} is damaged or no safetensors file (it claims a header of {header} bytes); "
                "download or copy it again"
            )
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError as error:
        raise WeightsError(f"weights file {path} does not exist") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"weights file {path} is damaged or no safetensors file ({error}); download or copy it again"
        ) from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"weights file {path} belongs to another program: its metadata lack format = {FORMAT!r}; "
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
        raise WeightsError(f"weights file {path} wants its input {kind!r}, which this version cannot make; update it")
    return {"format": FORMAT, "value_range": VALUE_RANGE, "input": kind, **decoded}


def _misfit(network: ExposureNetwork, shapes: Mapping[str, Sequence[int]]) -> str:
    """What is wrong with the tensors of a file; empty if nothing is."""
    wanted = network.state_dict()
    if missing := sorted(wanted.keys() - shapes.keys()):
        return f"{len(missing)} tensors are missing, first {missing[0]}"
    if foreign := sorted(shapes.keys() - wanted.keys()):
        return f"{len(foreign)} tensors do not belong to it, first {foreign[0]}"
    for key, value in wanted.items():
        if tuple(shapes[key]) != tuple(value.shape):
            return f"{key} has shape {tuple(shapes[key])} instead of {tuple(value.shape)}"
    return ""


def load_weights(path: Path | None = None, operations: Any = nn) -> ExposureNetwork:
    """Build the network that a weights file describes and load it, strictly.

    Args:
        path: safetensors file; None takes the bundled one.
        operations: see :class:`~expcorr_core.network.ExposureNetwork`.

    Returns:
        The network in float32 and channels_last, in evaluation mode, on the CPU.

    Raises:
        WeightsError: see :func:`read_metadata`; or tensors are missing, superfluous, misshapen or not finite.
    """
    path = path or default_weights_path()
    normalised = read_metadata(path)["input"] == NORMALISED
    unfit = f"weights file {path} does not fit the exposure correction network"
    try:
        with safe_open(path, framework="pt") as file:
            # Sizes first, on a device without memory: a file of a few bytes may claim any.
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 (no mapping)
            with torch.device("meta"):
                network = ExposureNetwork(Architecture.from_shapes(shapes), operations, normalised)
            if misfit := _misfit(network, shapes):
                raise WeightsError(f"{unfit}: {misfit}")
            state = {key: file.get_tensor(key).float() for key in shapes}
    except WeightsError:
        raise
    except (SafetensorError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise WeightsError(f"{unfit}: {str(error).partition(chr(10))[0]}") from error
    network.load_state_dict(state, assign=True)
    broken = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise WeightsError(f"weights file {path} holds values that are not finite, first in {broken[0]}")
    # channels_last halves the time of the convolutions on CPUs.
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
