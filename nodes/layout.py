"""The one place where ComfyUI's image layout meets the core's."""

from __future__ import annotations

from collections.abc import Callable

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor


def to_core(image: Tensor) -> tuple[Tensor, Tensor | None]:
    """``(B, H, W, 3 or 4)`` to colours ``(B, 3, H, W)``, a view, and alpha ``(B, H, W, 1)`` or None."""
    if image.ndim != 4 or image.shape[-1] not in (3, 4):
        raise ValueError(f"an IMAGE must have shape (B, H, W, 3) or (B, H, W, 4), got {tuple(image.shape)}")
    alpha = image[..., 3:] if image.shape[-1] == 4 else None
    return image[..., :3].permute(0, 3, 1, 2), alpha


def to_comfy(colours: Tensor, alpha: Tensor | None = None) -> Tensor:
    """``(B, 3, H, W)`` and alpha to ``(B, H, W, 3 or 4)``, clamped, on the host's device for results, in its type."""
    image = colours.permute(0, 2, 3, 1).clamp(0, 1)
    if alpha is not None:
        image = torch.cat((image, alpha.to(image)), -1)
    return image.to(comfy.model_management.intermediate_device(), comfy.model_management.intermediate_dtype())


def each_frame(image: Tensor, function: Callable[[int, Tensor], Tensor]) -> Tensor:
    """Apply a function frame by frame: bounded memory, progress, and Cancel within one frame.

    Args:
        image: IMAGE, ``(B, H, W, 3 or 4)``; alpha passes through.
        function: takes the frame's number and its colours ``(1, 3, H, W)``; gives the same shape.

    Returns:
        IMAGE of the same shape.
    """
    colours, alpha = to_core(image)
    progress = comfy.utils.ProgressBar(len(image))
    result: Tensor | None = None
    for index in range(len(image)):
        comfy.model_management.throw_exception_if_processing_interrupted()
        part = slice(index, index + 1)
        frame = to_comfy(function(index, colours[part]), None if alpha is None else alpha[part])
        if result is None:
            result = frame.new_empty((len(image), *frame.shape[1:]))
        result[part] = frame
        progress.update(1)
    if result is None:
        raise ValueError("the IMAGE batch is empty")
    return result
