"""Exposure Shift, Exposure Fusion, Exposure Report and Exposure Mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import comfy.model_management
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..expcorr_core.bilateral.grid import BilateralGrid
from ..expcorr_core.image.exposure import gain_exposure, shift_exposure
from ..expcorr_core.image.report import (
    BRIGHT,
    DIM,
    above_white,
    clipped_highlights,
    clipped_shadows,
    exposure_error,
    exposure_in_words,
    histogram,
    histogram_picture,
    over_exposed,
    under_exposed,
)
from ..expcorr_core.image.resize import reduce_to
from ..expcorr_core.method.fusion import fuse_exposures
from ..expcorr_core.settings import WELL_EXPOSED, WORKING_SIZE, Settings
from .correction import Correction, GridType, check_number
from .inputs import SOFTNESS, mask_inputs
from .layout import Steps, ceiling, each_frame, new_image, seen, to_comfy, to_core
from .model import ExposureModel, ExposureModelType

LINEAR, CAMERA = "linear light", "camera curve"
HISTOGRAM = (200, 400)  # height and width, pixels
HISTOGRAMS = hasattr(io, "Histogram")  # ComfyUI 0.18 has no such type

# Of an image, by its number and its copy at the network's size: its full correction, and how surely it is well exposed.
Found: TypeAlias = Callable[[int, Tensor], tuple[BilateralGrid, float | None]]


class ExposureShift(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ExpCorr_ExposureShift",
            display_name="Exposure Shift (EV Stops)",
            category="image/adjustments",
            description="Renders images as if they had been exposed longer or shorter, in stops (EV).",
            search_aliases=["exposure compensation", "exposure value", "manual exposure", "brightness"],
            inputs=[
                io.Image.Input("image", display_name="image", tooltip="Images of any size; alpha passes through."),
                io.Float.Input(
                    "ev",
                    default=1.0,
                    min=-6.0,
                    max=6.0,
                    step=0.1,
                    display_name="EV",
                    tooltip="Stops: 1 is twice the light, -1 is half of it, 0 returns the input unchanged.",
                ),
                io.Combo.Input(
                    "curve",
                    options=[LINEAR, CAMERA],
                    default=LINEAR,
                    display_name="curve",
                    tooltip=f"'{LINEAR}' multiplies the sRGB values' light and clips it; '{CAMERA}' rolls highlights "
                    "off as raw converters do.",
                ),
                *mask_inputs(),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The images at the other exposure.")],
        )

    @classmethod
    def execute(
        cls, image: Tensor, ev: float, curve: str, mask: Tensor | None = None, softness: float = SOFTNESS
    ) -> io.NodeOutput:
        if ev == 0:
            return io.NodeOutput(image)
        shift = gain_exposure if curve == LINEAR else shift_exposure

        def change(_: int, frame: Tensor, out: Tensor, __: Callable[[], None]) -> None:
            highest = ceiling(frame)
            out.copy_(shift(frame.float(), ev, clip=highest == 1)).clamp_(0, highest)

        return io.NodeOutput(each_frame(image, change, mask, softness))


class ExposureFusion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ExpCorr_ExposureFusion",
            display_name="Exposure Fusion (HDR Tone Mapping)",
            category="image/adjustments",
            description="Makes one image from a batch of exposures of one scene: of each it takes what is well "
            "exposed, rich in contrast and colour (Mertens et al. 2007). The exposures must be aligned.",
            search_aliases=["merge exposures", "merge hdr", "exposure bracketing", "blend exposures", "mertens"],
            inputs=[
                io.Image.Input(
                    "images", display_name="exposures", tooltip="A batch: the exposures of one scene, of one size."
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="One image.")],
        )

    @classmethod
    def execute(cls, images: Tensor) -> io.NodeOutput:
        colours, alpha = to_core(images)
        fused = fuse_exposures(torch.split(colours, 1), Steps(4 * len(images)))
        return io.NodeOutput(to_comfy(fused, None if alpha is None else alpha[:1]))


class ExposureReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ExpCorr_ExposureReport",
            display_name="Exposure Report (Histogram)",
            category="image/adjustments",
            description="Says how images are exposed: histograms, where shadows and highlights are lost, and, with a "
            "model or a correction, by how many stops the exposure is off.",
            search_aliases=["clipping", "zebra", "exposure meter", "light meter", "check exposure", "ev error"],
            inputs=[
                io.Image.Input("image", display_name="image", tooltip="Images of any size."),
                ExposureModelType.Input(
                    "model",
                    display_name="exposure model",
                    tooltip="For the error in stops: the median difference to the corrected image, in linear light.",
                    optional=True,
                ),
                GridType.Input(
                    "correction",
                    display_name="correction",
                    tooltip="From Exposure Correct, of the same images: the network need not run once more.",
                    optional=True,
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="histogram", tooltip="Histograms of red, green and blue, one picture per image."
                ),
                io.Mask.Output(display_name="lost shadows", tooltip="White where all channels are black."),
                io.Mask.Output(display_name="lost highlights", tooltip="White where a channel is clipped to white."),
                io.Float.Output(
                    display_name="EV error",
                    tooltip="Mean over the batch, stops; above 0 is too bright. 0 without a model or a correction.",
                ),
                io.String.Output(display_name="text", tooltip="All of it as text, one line per image."),
                *_histogram_outputs(),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, image: Tensor, model: ExposureModel | None = None, correction: Correction | None = None
    ) -> io.NodeOutput:
        colours, _ = to_core(image)
        full: Found | None = None
        if correction and correction.strength:  # at strength 0 the network did not run
            check_number(correction, image)
            full = lambda index, _: correction.full(index)
        elif model:
            full = _of_model(model)
        device = comfy.model_management.intermediate_device()
        shadows, highlights = (torch.empty(image.shape[:3], device=device) for _ in range(2))
        pictures, drawn = new_image((len(image), 3, *HISTOGRAM))
        errors: list[float] = []
        lines = []
        counts: list[list[int] | None] = [None, None]  # of the first image, before and after
        step = Steps(len(image))
        for index, frame in enumerate(torch.split(colours, 1)):
            shadows[index], highlights[index] = clipped_shadows(frame)[0], clipped_highlights(frame)[0]
            drawn[index] = histogram_picture(frame[0], *HISTOGRAM)
            line = f"shadows lost: {shadows[index].mean():.1%}, highlights lost: {highlights[index].mean():.1%}"
            if index == 0:
                counts[0] = histogram(frame[0]).tolist()
            if beyond := float(above_white(frame).float().mean()):
                line += f", above white and still there: {beyond:.1%}"
            if full:
                small = reduce_to(seen(frame), WORKING_SIZE).clamp(0, 1)
                grid, judged = full(index, small)
                corrected = grid.to(small.device).slice(small)
                errors.append(float(exposure_error(small, corrected)))
                if index == 0:
                    counts[1] = histogram(corrected[0]).tolist()
                line += f", {exposure_in_words(errors[-1], WELL_EXPOSED, judged)}"
            lines.append(line)
            step()
        shown = {**ui.PreviewImage(pictures[:1], cls=cls).as_dict(), **ui.PreviewText(lines[0]).as_dict()}
        error = sum(errors) / max(1, len(errors))
        made = counts if HISTOGRAMS else []
        return io.NodeOutput(pictures, shadows, highlights, error, "\n".join(lines), *made, ui=shown)


def _of_model(model: ExposureModel) -> Found:
    corrector, settings = model.corrector(WORKING_SIZE), Settings()

    def found(_: int, small: Tensor) -> tuple[BilateralGrid, float | None]:
        examined = corrector.examine(small, settings)
        judged = examined.well_exposed
        return corrector.fit(small, examined.corrected, settings), None if judged is None else float(judged)

    return found


class ExposureMask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ExpCorr_ExposureMask",
            display_name="Exposure Mask (Lost Highlights)",
            category="image/adjustments",
            description="Soft masks of what is lost in images, too dark or too bright: to inpaint a clipped sky, or to "
            "limit a change to shadows or highlights.",
            search_aliases=[
                "clipped highlights mask", "blown highlights mask", "overexposed mask", "underexposed mask",
                "highlights mask", "shadows mask", "luminosity mask", "inpaint lost highlights", "sky mask",
            ],
            inputs=[
                io.Image.Input("image", display_name="image", tooltip="Images of any size."),
                io.Float.Input(
                    "dark",
                    default=DIM,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    display_name="under up to",
                    tooltip="Value of the brightest channel at which the mask of shadows ends, 0 is black and 1 white. "
                    "Higher takes in more.",
                    advanced=True,
                ),
                io.Float.Input(
                    "bright",
                    default=BRIGHT,
                    min=0.0,
                    max=0.99,
                    step=0.01,
                    display_name="over from",
                    tooltip="Value of the darkest channel at which the mask of highlights begins, 0 is black and 1 "
                    "white. Lower takes in more.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="under-exposed", tooltip="White where all channels are black, fading out around it."
                ),
                io.Mask.Output(
                    display_name="over-exposed",
                    tooltip="White where all channels are clipped to white, fading out around it.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, image: Tensor, dark: float, bright: float) -> io.NodeOutput:
        colours, _ = to_core(image)
        device = comfy.model_management.intermediate_device()
        under, over = (torch.empty(image.shape[:3], device=device) for _ in range(2))
        step = Steps(len(image))
        for index, frame in enumerate(torch.split(colours, 1)):
            under[index], over[index] = under_exposed(frame, dark)[0], over_exposed(frame, bright)[0]
            step()
        return io.NodeOutput(under, over)


def _histogram_outputs() -> list[io.Output]:
    """Histograms as ComfyUI's own nodes take them, where it has them."""
    if not HISTOGRAMS:
        return []
    return [
        io.Histogram.Output(
            display_name="histogram values",
            tooltip="The first image's histogram, 256 counts, for nodes that take one, such as Curve Editor.",
        ),
        io.Histogram.Output(
            display_name="corrected histogram values",
            tooltip="The same of the corrected image. Empty without a model or a correction.",
        ),
    ]
