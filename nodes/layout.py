"""Conversion between ComfyUI's image layout and the core's; the only place that does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, islice
from typing import TypeVar

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..expcorr_core.image.arrays import empty_tensor
from ..expcorr_core.image.masking import limit_change
from ..expcorr_core.image.resize import reduce_to, resize

PREVIEW_SIDE = 512  # larger side of the pictures in the nodes
PREVIEW_IMAGES, ROW_HEIGHT = 6, 256  # of many images: how many are shown, and their height in pixels
OVERSHOOT = 1.5  # resizing a photo without light above white gives no more

T = TypeVar("T")


def to_core(image: Tensor) -> tuple[Tensor, Tensor | None]:
    """``(B, H, W, 3 or 4)`` to colours ``(B, 3, H, W)`` and alpha ``(B, H, W, 1)`` or None, both views."""
    if image.ndim != 4 or image.shape[-1] not in (3, 4):
        raise ValueError(f"an IMAGE must have shape (B, H, W, 3) or (B, H, W, 4), got {tuple(image.shape)}")
    if not len(image):
        raise ValueError("the IMAGE batch is empty")
    alpha = image[..., 3:] if image.shape[-1] == 4 else None
    return image[..., :3].permute(0, 3, 1, 2), alpha


def to_comfy(colours: Tensor, alpha: Tensor | None = None) -> Tensor:
    """``(B, 3, H, W)`` and alpha to ``(B, H, W, 3 or 4)``, clamped, on ComfyUI's device and in its type for results."""
    image = colours.permute(0, 2, 3, 1).clamp(0, 1)
    if alpha is not None:
        image = torch.cat((image, alpha.to(image)), -1)
    return image.to(comfy.model_management.intermediate_device(), comfy.model_management.intermediate_dtype())


def ceiling(frame: Tensor) -> float:
    """The highest value that a change of a frame may give.

    1 for white; the frame's own highest value where resizing may have given that; no end where it has light above
    white.
    """
    highest = float(frame.amax())
    return float("inf") if highest > OVERSHOOT else max(1.0, highest)


def seen(frame: Tensor) -> Tensor:
    """What a display shows of a frame, and a network should see: without light above white."""
    return frame.clamp(max=1) if ceiling(frame) > 1 else frame


def new_image(shape: Sequence[int], alpha: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """An IMAGE to write into, on ComfyUI's device and in its type for results.

    Args:
        shape: shape of its colours, ``(B, 3, H, W)``.
        alpha: its alpha ``(B, H, W, 1)``, or None.

    Returns:
        The IMAGE, and its colours ``(B, 3, H, W)``, a view.
    """
    batch, channels, height, width = shape
    image = empty_tensor(
        (batch, height, width, channels + (alpha is not None)),
        comfy.model_management.intermediate_dtype(),
        comfy.model_management.intermediate_device(),
    )
    if alpha is not None:
        image[..., channels:] = alpha
    return image, image[..., :channels].permute(0, 3, 1, 2)


class Steps:
    """ComfyUI's progress bar; each step also checks for Cancel."""

    def __init__(self, count: int) -> None:
        self.bar = comfy.utils.ProgressBar(count)
        self.done = 0

    def __call__(self, done: int | None = None) -> None:
        """Report one more step done, or ``done`` steps in total."""
        self.done = self.done + 1 if done is None else done
        self.bar.update_absolute(self.done)
        comfy.model_management.throw_exception_if_processing_interrupted()


def each_frame(
    image: Tensor,
    function: Callable[[int, Tensor, Tensor, Callable[[], None]], None],
    mask: Tensor | None = None,
    softness: float = 0.0,
    steps: int = 1,
    step: Steps | None = None,
) -> Tensor:
    """Apply a function frame by frame: bounded memory, progress, and Cancel within one step.

    Args:
        image: IMAGE, ``(B, H, W, 3 or 4)``; alpha passes through.
        function: takes a frame's number, its colours ``(1, 3, H, W)``, a tensor for the result, 0 and up (same shape,
            same device), and a function to call between steps. When memory runs out it is called once more, with the
            frame on the CPU: so it must not store anything twice, or on a device.
        mask: MASK ``(1 or B, h, w)`` that limits the change, or None.
        softness: softness of the mask's edges, percent of the larger side.
        steps: number of steps that the function takes for a frame.
        step: the progress of a larger task that this is a part of; None where it is all of it.

    Returns:
        IMAGE of the same shape.
    """
    colours, alpha = to_core(image)
    if mask is not None and len(mask) not in (1, len(image)):
        raise ValueError(f"{len(mask)} masks do not match {len(image)} images; give one mask, or one per image")
    result, changed = new_image(colours.shape, alpha)
    step = step or Steps(len(image) * steps)
    before = step.done

    def change(index: int, frame: Tensor) -> None:
        target = changed[index : index + 1]
        out = target if frame.device == target.device else torch.empty_like(frame, dtype=target.dtype)
        function(index, frame, out, step)
        if mask is not None:
            place = min(index, len(mask) - 1)
            limited = limit_change(frame, out, mask[place : place + 1, None], softness / 100)
            out.copy_(limited).clamp_(0, ceiling(frame))  # the frame itself may have values outside 0..1
        if out is not target:
            target.copy_(out)

    for index in range(len(image)):
        with_memory(partial(change, index), colours[index : index + 1])
        step(before + (index + 1) * steps)
    return result


def with_memory(function: Callable[[Tensor], T], frame: Tensor) -> T:
    """Call a function; if memory runs out, once more with the caches emptied and the frame on the CPU."""
    try:
        return function(frame)
    except Exception as error:
        comfy.model_management.raise_non_oom(error)
    comfy.model_management.soft_empty_cache()
    return function(frame.cpu())


def before_and_after(cls: type[io.ComfyNode], before: Tensor, after: Tensor) -> ui.PreviewImage:
    """A node's preview: the first image before and after, side by side."""
    parts = [_thinned(to_core(image[:1])[0], max(image.shape[1:3]), PREVIEW_SIDE) for image in (before, after)]
    small = [reduce_to(seen(part), PREVIEW_SIDE).cpu() for part in parts]
    return ui.PreviewImage(to_comfy(torch.cat(small, 3)), cls=cls)


def rows_before_and_after(
    cls: type[io.ComfyNode], before: Sequence[Tensor], after: Sequence[Tensor]
) -> ui.PreviewImage:
    """A node's preview: the first of many images of several sizes in a row at one height, and their results below."""

    def row(images: Sequence[Tensor]) -> Tensor:
        frames = islice(chain.from_iterable(torch.split(image, 1) for image in images), PREVIEW_IMAGES)
        return torch.cat([_at_height(to_core(frame)[0], ROW_HEIGHT).cpu() for frame in frames], 3)

    return ui.PreviewImage(to_comfy(torch.cat((row(before), row(after)), 2)), cls=cls)


def _at_height(image: Tensor, height: int) -> Tensor:
    size = (height, max(1, round(height * image.shape[3] / image.shape[2])))
    return resize(_thinned(image, image.shape[2], height), size)


def _thinned(image: Tensor, side: int, wanted: int) -> Tensor:
    """Every n-th pixel of ``(B, C, H, W)``, a view, with twice as many as wanted left: the filter of a large photo's
    preview takes as long as its correction."""
    every = max(1, side // (2 * wanted))
    return image[..., ::every, ::every]


def with_preview(schema: io.Schema) -> io.Schema:
    """Show a node's preview again where its result comes from the cache, which ComfyUI 0.18 cannot do yet."""
    if hasattr(schema, "has_intermediate_output"):
        schema.has_intermediate_output = True
    return schema
