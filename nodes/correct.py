"""Exposure Correct and Apply Exposure Correction."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from comfy_api.latest import io
from torch import Tensor

from ..expcorr_core.bilateral.grid import BilateralGrid
from ..expcorr_core.settings import Settings
from .curve import curve_of, curve_output
from .inputs import SOFTNESS, change_inputs, factor, mask_inputs, working_size_input
from .layout import before_and_after, each_frame, seen, to_core, with_preview
from .model import ExposureModel, model_input

GridType = io.Custom("EXPCORR_GRID")
# What people type who look for it: ComfyUI's search needs all words of a query in one of these.
ALIASES = [
    "auto exposure", "auto levels", "auto contrast", "auto tone", "auto enhance", "exposure correction",
    "fix exposure", "fix overexposed photo", "fix underexposed photo", "overexposure", "underexposure",
    "too dark", "too bright", "fix dark photo", "fix bright photo", "brighten photo", "darken photo", "enhance photo",
    "backlit", "low light photo", "night photo", "washed out", "gamma", "dynamic range", "photo correction",
    "shadows and highlights", "lift shadows", "recover blown highlights",
]  # fmt: skip
BANDS = ("finest band", "second band", "third band", "coarsest band (colour and brightness)")


class ExposureCorrect(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        gains = [
            factor(
                f"gain_{level}",
                f"band gain {level}",
                f"Factor on the pyramid's {name}, before the network runs. Only with the paper's network: 'paper' in "
                "Load Exposure Model.",
                high=4.0,
                advanced=True,
            )
            for level, name in enumerate(BANDS, 1)
        ]
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
                *gains,
                working_size_input(),
                io.Boolean.Input(
                    "mirror",
                    default=True,
                    display_name="average with mirrored",
                    tooltip="Averages with the mirrored photo's correction: more consistent, twice the network's time.",
                    optional=True,  # so that workflows older than this input still work
                    advanced=True,
                ),
                *mask_inputs(),
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
        gain_1: float,
        gain_2: float,
        gain_3: float,
        gain_4: float,
        working_size: int,
        mirror: bool = True,
        mask: Tensor | None = None,
        softness: float = SOFTNESS,
    ) -> io.NodeOutput:
        if strength == 0:
            same = BilateralGrid.identity(len(image))
            return io.NodeOutput(image, same, *curve_of(), ui=before_and_after(cls, image, image))
        gains = (gain_1, gain_2, gain_3, gain_4)
        changed = gains != (1, 1, 1, 1)
        if changed and not model.has_bands:
            raise ValueError(
                "band gains need the paper's network: choose 'paper' in Load Exposure Model, or set all of them to 1"
            )
        settings = Settings(
            strength=strength,
            gains=gains if changed else None,
            fusion=fusion,
            stretch=stretch,
            working_size=working_size,
            flip=mirror,
        )
        corrector = model.corrector(working_size)
        colours, _ = to_core(image)
        at_once = model.frames_at_once(working_size)
        run: dict[int, tuple[Tensor, Tensor]] = {}  # frames as the network sees them, and what it made of them
        grids: dict[int, BilateralGrid] = {}
        curve: list[object] = []

        def network(index: int, shown: Tensor, step: Callable[[], None]) -> Iterator[Tensor]:
            """A frame as the network sees it, and what it makes of it.

            Those that follow run along, where the device takes several.
            """
            nonlocal at_once
            if index not in run:
                count, at_once = at_once, 1  # should memory run out, the second try is with this frame only
                following = (seen(colours[k : k + 1]) for k in range(index + 1, min(index + count, len(image))))
                small = torch.cat([corrector.reduce(part, settings) for part in (shown, *following)])
                step()
                corrected = corrector.correct_reduced(small, settings)
                run.clear()
                run.update(enumerate(zip(small.split(1), corrected.split(1), strict=True), index))
                at_once = count
            return (part.to(shown.device) for part in run[index])

        def correct(index: int, frame: Tensor, out: Tensor, step: Callable[[], None]) -> None:
            shown = seen(frame)
            small, corrected = network(index, shown, step)
            step()
            grid = corrector.fit(small, corrected, settings).blend(strength)
            grids[index] = grid.to("cpu")
            if index == 0:
                curve[:] = curve_of(small, grid.slice(small))
            step()
            slice_frame = grid.slice if shown is frame else grid.slice_beyond  # which would look for light once more
            slice_frame(frame, out)

        result = each_frame(image, correct, mask, softness, steps=4)
        correction = grids[0].having(torch.cat([grids[index].coefficients for index in range(len(image))]))
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
    grids = correction.coefficients
    if len(grids) not in (1, len(image)):
        raise ValueError(
            f"the correction is for {len(grids)} frames, but {len(image)} images were given; "
            "give as many images, or a correction of a single image"
        )

    def change(index: int, frame: Tensor, out: Tensor, _: Callable[[], None]) -> None:
        place = min(index, len(grids) - 1)
        correction.having(grids[place : place + 1]).to(frame.device).slice_beyond(frame, out)

    return each_frame(image, change, mask, softness)
