"""A device that does not exist: its tensors claim to be on it, and do not mix with those on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

DEVICE = torch.device("meta")  # one that PyTorch knows everywhere
COPIES = {"aten::copy_", "aten::_to_copy", "aten::to"}  # these may take tensors of both


class Elsewhere(Tensor):
    """A tensor that claims to be on :data:`DEVICE`; its data is on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), dtype=held.dtype, device=DEVICE
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _compute(function, args, kwargs or {})


class PretendDevice(TorchDispatchMode):
    """While it is on, tensors can be made on, and moved to, :data:`DEVICE`."""

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _compute(function, args, kwargs or {})


def _compute(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call a function with the data of its tensors; the results claim the device that they would be on."""
    name = function._schema.name
    tensors: list[Tensor] = []
    devices: list[torch.device] = []

    def take(value: Any) -> Any:
        if isinstance(value, torch.device):
            devices.append(value)
            return torch.device("cpu")
        if isinstance(value, Tensor):
            tensors.append(value)
        return value.held if isinstance(value, Elsewhere) else value

    args, kwargs = tree_map(take, (args, kwargs))
    there = any(isinstance(tensor, Elsewhere) for tensor in tensors)
    indexed = name == "aten::index" and isinstance(tensors[0], Elsewhere)  # indices may be on the CPU
    single = name in COPIES or indexed or all(isinstance(tensor, Elsewhere) or not tensor.ndim for tensor in tensors)
    if there and not single:
        raise RuntimeError(f"{name}: expected all tensors to be on the same device")
    if devices:
        there = devices[0] == DEVICE
    elif name == "aten::copy_":
        there = isinstance(tensors[0], Elsewhere)
    result = function(*args, **kwargs)
    return tree_map(lambda value: Elsewhere(value) if there and isinstance(value, Tensor) else value, result)
