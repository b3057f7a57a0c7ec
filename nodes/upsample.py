"""Bilateral Upsample."""

from __future__ import annotations

from collections.abc import Callable

from comfy_api.latest import io
from torch import Tensor

from ..expcorr_core.bilateral.grid import FIT_SIZE, BilateralGrid
from ..expcorr_core.bilateral.nodes import DEFAULT_SIZE
from ..expcorr_core.image.resize import resize
from .inputs import factor
from .layout import ceiling, each_frame, to_core


class BilateralUpsample(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ExpCorr_BilateralUpsample",
            display_name="Bilateral Upsample",
            category="image/adjustments",
            description="Carries a change of colour and brightness, made on a small copy by any workflow, over to the "
            "full-size image, with the full-size image's sharpness (bilateral guided upsampling).",
            search_aliases=[
                "guided upsampling",
                "hdrnet",
                "apply at full size",
                "transfer colour",
                "apply look",
                "bilateral grid",
            ],
            inputs=[
                io.Image.Input("source", display_name="small before", tooltip="Small copy before the change."),
                io.Image.Input(
                    "result", display_name="small after", tooltip="The same small copy after the change; any size."
                ),
                io.Image.Input(
                    "guide", display_name="full size", tooltip="Full-size images to change in the same way."
                ),
                factor("strength", "strength", "0 returns the full-size image unchanged, 1 is the full change."),
                io.Int.Input(
                    "grid_size",
                    default=DEFAULT_SIZE[0],
                    min=2,
                    max=32,
                    display_name="grid cells across",
                    tooltip="More cells follow finer local changes; fewer are smoother.",
                    advanced=True,
                ),
                io.Int.Input(
                    "grid_depth",
                    default=DEFAULT_SIZE[2],
                    min=2,
                    max=16,
                    display_name="grid cells in luminance",
                    tooltip="More cells follow steeper tone curves.",
                    advanced=True,
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The full-size images, changed.")],
        )

    @classmethod
    def execute(
        cls, source: Tensor, result: Tensor, guide: Tensor, strength: float, grid_size: int, grid_depth: int
    ) -> io.NodeOutput:
        if strength == 0:
            return io.NodeOutput(guide)
        before, after = to_core(source)[0], to_core(result)[0]
        counts = {len(before), len(after)}
        if counts not in ({1}, {len(guide)}):
            raise ValueError(
                f"the batches do not match: {len(before)} before, {len(after)} after, {len(guide)} full size; "
                "the two small batches must have one image, or as many as the full-size batch"
            )
        size = (grid_size, grid_size, grid_depth)
        fitted: dict[int, BilateralGrid] = {}  # only the last pair's grid, so that one pair is fitted once

        def change(index: int, frame: Tensor, out: Tensor, step: Callable[[], None]) -> None:
            pair = min(index, len(before) - 1)
            if pair not in fitted:
                fitted.clear()
                grid = BilateralGrid.fit_reduced(*_within(before[pair : pair + 1], after[pair : pair + 1]), size=size)
                fitted[pair] = grid.blend(strength)
            step()
            fitted[pair].to(frame.device).slice_beyond(frame, out)

        return io.NodeOutput(each_frame(guide, change, steps=2))


def _within(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """A pair as the grid is to be fitted to it: colours above white divided by their brightest channel, both alike."""
    if ceiling(before) == 1:
        return before, after
    before, after = resize(before, FIT_SIZE), resize(after, FIT_SIZE)
    peak = before.amax(1, keepdim=True).clamp_min(1)
    return before / peak, after / peak
