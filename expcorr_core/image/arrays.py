"""Images as PyTorch's tensors or as NumPy's arrays, so that what is done to them is written once for both.

Both are ``(B, 3, H, W)``. Without PyTorch there are only arrays; nothing here loads it for them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Image = TypeVar("Image", Tensor, NDArray[Any])
    AnyImage = Tensor | NDArray[Any]

Floats = NDArray[np.float32]


def library_of(image: object) -> Any:
    """The module whose functions are for an image: NumPy for arrays, PyTorch for tensors."""
    if isinstance(image, np.ndarray | np.generic):
        return np
    import torch

    return torch


def single(image: Image) -> Image:
    """An image in float32, not copied if it is so already."""
    if isinstance(image, np.ndarray):
        found: Floats = image.astype(np.float32, copy=False)
        return found
    return image.float()


def lerp(first: Image, second: Image, share: Any) -> Image:
    """From the first, where the share is 0, to the second, where it is 1."""
    if isinstance(first, np.ndarray):
        mixed: Floats = first + share * (second - first)
        return mixed
    found: Image = library_of(first).lerp(first, second, share)
    return found


def array_of(image: AnyImage) -> Floats:
    """An image as an array, float32; a tensor on the CPU shares its memory."""
    if isinstance(image, np.ndarray):
        return single(image)
    found: Floats = image.detach().float().cpu().numpy()
    return found


def tensor_of(array: NDArray[Any]) -> Tensor:
    """An array as a tensor on the CPU that shares its memory."""
    import torch

    return torch.from_numpy(array)


def empty_tensor(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """An uninitialised tensor.

    On CPUs its memory comes from NumPy, which asks Linux for huge pages: a large tensor is filled three times as fast
    there.
    """
    import torch

    if torch.device(device).type != "cpu":
        return torch.empty(*shape, dtype=dtype, device=device)
    return tensor_of(np.empty(math.prod(shape) * dtype.itemsize, np.uint8)).view(dtype).view(*shape)


def like(array: NDArray[Any], image: Image) -> Image:
    """An array as what an image is: an array, or a tensor on its device."""
    return array if isinstance(image, np.ndarray) else tensor_of(array).to(image.device)
