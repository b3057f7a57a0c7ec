"""What every function requires of the images it takes."""

from __future__ import annotations

import torch
from torch import Tensor

NOT_FINITE = "{} must not hold NaN or infinite values"


def check_shape(image: Tensor, name: str = "image") -> None:
    """Check for a non-empty, floating-point ``(B, 3, H, W)``.

    Raises:
        TypeError, ValueError: it is not; one sentence that names the argument.
    """
    if not isinstance(image, Tensor):
        kind = type(image).__name__
        raise TypeError(f"{name} must be a tensor (B, 3, H, W), not {kind}; expcorr_core.correct takes other kinds")
    if image.ndim != 4 or image.shape[1] != 3:
        raise ValueError(f"{name} must have 3 channels and shape (B, 3, H, W), got shape {tuple(image.shape)}")
    if 0 in image.shape:
        raise ValueError(f"{name} must not be empty, got shape {tuple(image.shape)}")
    if not image.is_floating_point():
        raise ValueError(f"{name} must be floating-point in 0..1, got {image.dtype}")


def check_image(image: Tensor, name: str = "image") -> None:
    """Check for a finite, non-empty, floating-point ``(B, 3, H, W)``.

    Raises:
        ValueError: it is not; one sentence that names the argument.
    """
    check_shape(image, name)
    # NaN and infinity survive a sum, which is cheaper than testing each value.
    if not torch.isfinite(image.sum(dtype=torch.float32)):
        raise ValueError(NOT_FINITE.format(name))


def check_same_shape(first: Tensor, name: str, second: Tensor, other: str) -> None:
    """Raise ValueError where two tensors differ in shape."""
    if first.shape != second.shape:
        raise ValueError(f"{name} has shape {tuple(first.shape)}, but {other} has {tuple(second.shape)}")
