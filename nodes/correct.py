"""Exposure Correct and Apply Exposure Correction."""

from __future__ import annotations

from collections.abc import Callable

import torch
from comfy_api.latest import io
from torch import Tensor

from ..expcorr_core.bilateral.grid import BilateralGrid
from ..expcorr_core.settings import WORKING_SIZE, Settings
from .correction import Correction, GridType, check_number, grid_of
from .curve import curve_of, curve_output
from .inputs import SOFTNESS, change_inputs, factor, mask_inputs
from .layout import before_and_after, each_frame, seen, to_core, with_preview
from .model import ExposureModel, model_input
from .settings import completed, gain_inputs, hidden, mirror_input, settings_input, settings_of, working_size_input

# What people type who look for it: ComfyUI's search needs all words of a query in one of these.
ALIASES = [
    "auto exposure", "auto levels", "auto contrast", "auto tone", "auto enhance", "exposure correction",
    "fix exposure", "fix overexposed photo", "fix underexposed photo", "overexposure", "underexposure",
    "too dark", "too bright", "fix dark photo", "fix bright photo", "brighten photo", "darken photo", "enhance photo",
    "backlit", "low light photo", "night photo", "washed out", "gamma", "dynamic range", "photo correction",
    "shadows and highlights", "lift shadows", "recover blown highlights",
]  # fmt: skip


class ExposureCorrect(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="ExpCorr_Correct",
            display_name="Exposure Correct",
            category="image/adjustments",
            description="Corrects over-exposed and under-exposed photos at their full size.",
            search_aliases=ALIASES,
            inputs=[
                model_input(),
                io.Image.Input("image", display_name="image", tooltip="Photos of any size; alpha passes through."),
                *change_inputs(),
                *hidden(*gain_inputs(), working_size_input(), mirror_input()),
                *mask_inputs(),
                settings_input(),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The corrected photos, same size."),
                GridType.Output(
                    display_name="correction",
                    tooltip="The correction itself, for Apply Exposure Correction: the same change for other images.",
                ),
                *curve_output(),
            ],
        )
        return with_preview(schema)

    @classmethod
    def execute(
        cls,
        model: ExposureModel,
        image: Tensor,
        strength: float,
        fusion: bool,
        stretch: float,
        gain_1: float = 1,
        gain_2: float = 1,
        gain_3: float = 1,
        gain_4: float = 1,
        working_size: int = WORKING_SIZE,
        mirror: bool = True,
        mask: Tensor | None = None,
        softness: float = SOFTNESS,
        settings: Settings | None = None,
    ) -> io.NodeOutput:
        if strength == 0:
            same = Correction.identity(len(image))
            return io.NodeOutput(image, same, *curve_of(), ui=before_and_after(cls, image, image))
        chosen = settings or settings_of((gain_1, gain_2, gain_3, gain_4), working_size, mirror)
        used = completed(chosen, model, strength, fusion, stretch)
        corrector = model.corrector(used.working_size)
        colours, _ = to_core(image)
        at_once = model.frames_at_once(used.working_size)
        run: dict[int, tuple[Tensor, Tensor, float | None]] = {}  # what the network saw, made, and thinks
        grids: dict[int, BilateralGrid] = {}
        judged: dict[int, float | None] = {}
        curve: list[object] = []

        def network(index: int, shown: Tensor, step: Callable[[], None]) -> tuple[Tensor, Tensor, float | None]:
            """A frame as the network sees it, what it makes of it, and how surely it is well exposed.

            Those that follow run along, where the device takes several.
            """
            nonlocal at_once
            if index not in run:
                count, at_once = at_once, 1  # should memory run out, the second try is with this frame only
                following = (seen(colours[k : k + 1]) for k in range(index + 1, min(index + count, len(image))))
                small = torch.cat([corrector.reduce(part, used) for part in (shown, *following)])
                step()
                found = corrector.examine(small, used)
                judgements = [None] * len(small) if found.well_exposed is None else map(float, found.well_exposed)
                run.clear()
                parts = (torch.split(batch, 1) for batch in (small, found.corrected))
                run.update(enumerate(zip(*parts, judgements, strict=True), index))
                at_once = count
            small, corrected, judgement = run[index]
            return small.to(shown.device), corrected.to(shown.device), judgement

        def correct(index: int, frame: Tensor, out: Tensor, step: Callable[[], None]) -> None:
            shown = seen(frame)
            small, corrected, judged[index] = network(index, shown, step)
            step()
            grid = corrector.fit(small, corrected, used).blend(strength)
            grids[index] = grid.to("cpu")
            if index == 0:
                curve[:] = curve_of(small, grid.slice(small))
            step()
            slice_frame = grid.slice if shown is frame else grid.slice_beyond  # which would look for light once more
            slice_frame(frame, out)

        result = each_frame(image, correct, mask, softness, steps=4)
        order = range(len(image))
        correction = Correction.of([grids[index] for index in order], strength, [judged[index] for index in order])
        return io.NodeOutput(result, correction, *curve, ui=before_and_after(cls, image, result))


class ApplyCorrection(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ExpCorr_ApplyCorrection",
            display_name="Apply Exposure Correction",
            category="image/adjustments",
            description="Applies a correction that Exposure Correct found to other images of the same scene: a larger "
            "copy, another shot of a burst, or all frames of a clip alike.",
            search_aliases=["same correction", "copy correction", "match exposure", "reuse exposure", "bilateral grid"],
            inputs=[
                GridType.Input(
                    "correction", display_name="correction", tooltip="From Exposure Correct: one, or one per frame."
                ),
                io.Image.Input("image", display_name="image", tooltip="Images of any size; alpha passes through."),
                factor("strength", "strength", "0 returns the input unchanged, 1 is the correction as it was found."),
                *mask_inputs(),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The changed images, same size.")],
        )

    @classmethod
    def execute(
        cls,
        correction: BilateralGrid,
        image: Tensor,
        strength: float,
        mask: Tensor | None = None,
        softness: float = SOFTNESS,
    ) -> io.NodeOutput:
        if strength == 0:
            return io.NodeOutput(image)
        return io.NodeOutput(apply_correction(correction.blend(strength), image, mask, softness))


def apply_correction(
    correction: BilateralGrid, image: Tensor, mask: Tensor | None = None, softness: float = SOFTNESS
) -> Tensor:
    """Apply one correction, or one per frame, to an IMAGE; arguments as in :func:`~.layout.each_frame`."""
    check_number(correction, image)

    def change(index: int, frame: Tensor, out: Tensor, _: Callable[[], None]) -> None:
        grid_of(correction, index).to(frame.device).slice_beyond(frame, out)

    return each_frame(image, change, mask, softness)
