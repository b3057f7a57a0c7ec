"""Weights files: safetensors whose metadata describe the network and how it was trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..files import replacing
from .global_level import GlobalArchitecture, GlobalNetwork
from .network import Architecture, ExposureNetwork
from .weights_file import (
    AS_IT_IS,
    DEFAULT_NAME,
    FORMAT,
    NORMALISED,
    VALUE_RANGE,
    WeightsError,
    bundled_weights,
    read_metadata,
    weights_path,
)  # fmt: skip

__all__ = [
    "DEFAULT_NAME", "Network", "WeightsError", "bundled_weights", "load_weights", "read_metadata", "save_weights",
    "weights_path",
]  # fmt: skip

Network: TypeAlias = ExposureNetwork | GlobalNetwork


def save_weights(
    path: str | Path, network: Network, training: Mapping[str, Any], dtype: torch.dtype = torch.float16
) -> None:
    """Write a network's weights atomically.

    Args:
        path: file to write; an existing one is replaced.
        network: the network.
        training: how the weights were trained (arguments, data, commit, metrics); JSON values.
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
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, metadata)


def _misfit(network: Network, shapes: Mapping[str, Sequence[int]]) -> str:
    """What is wrong with the tensors of a file; empty if nothing."""
    wanted = network.state_dict()
    if missing := sorted(wanted.keys() - shapes.keys()):
        return f"{len(missing)} tensors are missing, first {missing[0]}"
    if foreign := sorted(shapes.keys() - wanted.keys()):
        return f"{len(foreign)} tensors do not belong to it, first {foreign[0]}"
    for key, value in wanted.items():
        if tuple(shapes[key]) != tuple(value.shape):
            return f"{key} has shape {tuple(shapes[key])} instead of {tuple(value.shape)}"
    return ""


def network_of(shapes: Mapping[str, Sequence[int]], operations: Any = nn, normalised: bool = False) -> Network:
    """A network of the kind and the sizes that the shapes of a state dict belong to.

    Raises:
        ValueError: they belong to none.
    """
    if "curves.weight" in shapes:
        return GlobalNetwork(GlobalArchitecture.from_shapes(shapes), operations)
    return ExposureNetwork(Architecture.from_shapes(shapes), operations, normalised)


def load_weights(weights: str | Path | None = None, operations: Any = nn) -> Network:
    """Build the network that a weights file describes and load it, strictly.

    Args:
        weights: safetensors file, ``paper`` for the bundled ones of the paper's network, or None for the default.
        operations: see :class:`~expcorr_core.method.network.ExposureNetwork`.

    Returns:
        The network in float32 and channels_last, in evaluation mode, on the CPU.

    Raises:
        WeightsError: see :func:`read_metadata`; or tensors are missing, unexpected, of the wrong shape or not finite.
    """
    path = weights_path(weights)
    described = read_metadata(path)
    normalised = described["input"] == NORMALISED
    unfit = f"weights file {path} does not fit the exposure correction network"
    try:
        with safe_open(path, framework="pt") as file:
            # Sizes first, on a device without memory: a file of a few bytes may claim any size.
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 (no mapping)
            with torch.device("meta"):
                network = network_of(shapes, operations, normalised)
            if misfit := _misfit(network, shapes):
                raise ValueError(misfit)
            state = {key: file.get_tensor(key).float() for key in shapes}
    except (SafetensorError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise WeightsError(f"{unfit}: {str(error).partition(chr(10))[0]}") from error
    network.load_state_dict(state, assign=True)
    broken = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise WeightsError(f"weights file {path} contains values that are not finite, first in {broken[0]}")
    network.training_record = described["training"]
    # channels_last halves the time of the convolutions on CPUs.
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
