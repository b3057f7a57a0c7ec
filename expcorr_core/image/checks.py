"""What every function requires of the images it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .arrays import library_of

if TYPE_CHECKING:
    from .arrays import AnyImage

NOT_FINITE = "{} must not hold NaN or infinite values"


def check_shape(image: AnyImage, name: str = "image", arrays: bool = False) -> None:
    """Check for a non-empty, floating-point ``(B, 3, H, W)``: a tensor, or where ``arrays`` are taken, one of these.

    Raises:
        TypeError, ValueError: it is not; one sentence that names the argument.
    """
    is_array = isinstance(image, np.ndarray)
    if not (arrays and is_array):
        # Without PyTorch there are no tensors, and nothing that takes only these.
        from torch import Tensor

        if not isinstance(image, Tensor):
            kind = type(image).__name__
            raise TypeError(f"{name} must be a tensor (B, 3, H, W), not {kind}; expcorr_core.correct takes other kinds")
    if image.ndim != 4 or image.shape[1] != 3:
        raise ValueError(f"{name} must have 3 channels and shape (B, 3, H, W), got shape {tuple(image.shape)}")
    if 0 in image.shape:
        raise ValueError(f"{name} must not be empty, got shape {tuple(image.shape)}")
    if not (image.dtype.kind == "f" if isinstance(image, np.ndarray) else image.is_floating_point()):
        raise ValueError(f"{name} must be floating-point in 0..1, got {image.dtype}")


def check_image(image: AnyImage, name: str = "image", arrays: bool = False) -> None:
    """Check for a finite, non-empty, floating-point ``(B, 3, H, W)``, as :func:`check_shape` does.

    Raises:
        ValueError: it is not; one sentence that names the argument.
    """
    check_shape(image, name, arrays)
    library = library_of(image)
    # NaN and infinity survive a sum, which is cheaper than testing each value.
    if not library.isfinite(image.sum(dtype=library.float32)):
        raise ValueError(NOT_FINITE.format(name))


def check_same_shape(first: AnyImage, name: str, second: AnyImage, other: str) -> None:
    """Raise ValueError where two images differ in shape."""
    if first.shape != second.shape:
        raise ValueError(f"{name} has shape {tuple(first.shape)}, but {other} has {tuple(second.shape)}")
