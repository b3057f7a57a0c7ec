"""The one place where ComfyUI's image layout meets the core's."""

from __future__ import annotations

from collections.abc import Callable

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..expcorr_core.corrector import reduce_to
from ..expcorr_core.masking import limit_change

PREVIEW_SIDE = 512  # larger side of the pictures in the nodes


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


def to_mask(mask: Tensor) -> Tensor:
    """Bool or figures ``(B, H, W)`` to a MASK, where and as the host wants results."""
    return mask.to(comfy.model_management.intermediate_device(), torch.float32)


def each_frame(
    image: Tensor, function: Callable[[int, Tensor], Tensor], mask: Tensor | None = None, softness: float = 0.0
) -> Tensor:
    """Apply a function frame by frame: bounded memory, progress, and Cancel within one frame.

    Args:
        image: IMAGE, ``(B, H, W, 3 or 4)``; alpha passes through.
        function: takes the frame's number and its colours ``(1, 3, H, W)``; gives the same shape.
        mask: MASK ``(1 or B, h, w)`` that limits the change, or None.
        softness: of the mask's edges, percent of the larger side.

    Returns:
        IMAGE of the same shape.
    """
    colours, alpha = to_core(image)
    if mask is not None and len(mask) not in (1, len(image)):
        raise ValueError(f"{len(mask)} masks do not match {len(image)} images; give one mask, or one an image")
    progress = comfy.utils.ProgressBar(len(image))
    result: Tensor | None = None
    for index in range(len(image)):
        comfy.model_management.throw_exception_if_processing_interrupted()
        part = slice(index, index + 1)
        changed = _with_memory(function, index, colours[part])
        if mask is not None:
            place = min(index, len(mask) - 1)
            changed = limit_change(colours[part], changed, mask[place : place + 1, None], softness / 100)
        frame = to_comfy(changed, None if alpha is None else alpha[part])
        if result is None:
            result = frame.new_empty((len(image), *frame.shape[1:]))
        result[part] = frame
        progress.update(1)
    if result is None:
        raise ValueError("the IMAGE batch is empty")
    return result


def _with_memory(function: Callable[[int, Tensor], Tensor], index: int, frame: Tensor) -> Tensor:
    """Call the function; where memory does not suffice, once more with the caches emptied and the frame on the CPU."""
    try:
        return function(index, frame)
    except Exception as error:
        comfy.model_management.raise_non_oom(error)
    comfy.model_management.soft_empty_cache()
    return function(index, frame.cpu())


def before_and_after(cls: type[io.ComfyNode], before: Tensor, after: Tensor) -> ui.PreviewImage:
    """What a node shows in itself: the first image before and after, side by side."""
    small = [reduce_to(to_core(image[:1])[0], PREVIEW_SIDE).cpu() for image in (before, after)]
    return ui.PreviewImage(to_comfy(torch.cat(small, 3)), cls=cls)


def with_preview(schema: io.Schema) -> io.Schema:
    """Let a node's pictures be shown again where its result comes from the cache; ComfyUI 0.18 cannot do it yet."""
    if hasattr(schema, "has_intermediate_output"):
        schema.has_intermediate_output = True
    return schema
