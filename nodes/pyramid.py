"""Laplacian Decompose and Laplacian Reconstruct."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from comfy_api.latest import io, ui
from torch import Tensor

from ..expcorr_core.image.checks import check_image
from ..expcorr_core.image.resize import reduce_to
from ..expcorr_core.method.pyramid import laplacian_pyramid, reconstruct, scale_bands
from .inputs import factor
from .layout import PREVIEW_SIDE, Steps, ceiling, new_image, to_comfy, to_core, with_preview

PyramidType = io.Custom("EXPCORR_PYRAMID")
FINE_GAINS = 4
GAIN_LIMITS = (-2.0, 8.0)


@dataclass(frozen=True, eq=False)  # tensors have no equality that a dataclass could use
class Pyramid:
    """Bands ``(B, 3, h, w)`` float32, finest first, residual last; alpha ``(B, H, W, 1)`` or None.

    The ceilings are the highest values of each image's changes.
    """

    bands: list[Tensor]
    alpha: Tensor | None
    ceilings: list[float]


class LaplacianDecompose(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="ExpCorr_LaplacianDecompose",
            display_name="Laplacian Decompose",
            category="image/adjustments",
            description="Splits images into the bands of a Laplacian pyramid: details of each size, and the colours "
            "and large shapes that remain. Laplacian Reconstruct puts them together again.",
            search_aliases=["laplacian pyramid", "frequency separation", "bands", "detail"],
            inputs=[
                io.Image.Input("image", display_name="image", tooltip="Images of any size."),
                io.Int.Input(
                    "levels",
                    default=4,
                    min=1,
                    max=12,
                    display_name="levels",
                    tooltip="Number of levels; each is half the size of the one before, the last is the residual.",
                ),
            ],
            outputs=[
                PyramidType.Output(display_name="pyramid", tooltip="Signed bands for Laplacian Reconstruct."),
                io.Image.Output(
                    display_name="preview",
                    tooltip="All levels of the first image, enlarged to full size, finest first. Bands are signed: "
                    "mid-grey is zero.",
                ),
            ],
        )
        return with_preview(schema)

    @classmethod
    def execute(cls, image: Tensor, levels: int) -> io.NodeOutput:
        colours, alpha = to_core(image)
        size = colours.shape[2:]
        bands: list[Tensor] = []
        ceilings = [ceiling(frame) for frame in colours]
        step = Steps(3 * len(image) + levels)
        for index, frame in enumerate(torch.split(colours, 1)):
            check_image(frame)
            for channel in range(3):  # one by one, in a third of the memory
                pyramid = laplacian_pyramid(frame[:, channel : channel + 1].float(), levels)
                bands = bands or [part.new_empty((len(image), 3, *part.shape[2:])) for part in pyramid]
                for band, part in zip(bands, pyramid, strict=True):
                    band[index, channel] = part[0, 0]
                step()
        preview, shown = new_image((levels, 3, *size))
        small = []
        for level, band in enumerate(bands):
            zero = 0.5 if level < levels - 1 else 0.0  # the residual has no sign
            picture = F.interpolate(band[:1] + zero, size, mode="nearest-exact").clamp_(0, 1)
            shown[level] = picture[0]
            small.append(reduce_to(picture, PREVIEW_SIDE))
            step()
        pictures = ui.PreviewImage(to_comfy(torch.cat(small)), cls=cls)
        return io.NodeOutput(Pyramid(bands, alpha, ceilings), preview, ui=pictures)


class LaplacianReconstruct(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        gains = [
            factor(
                f"gain_{level}",
                f"gain {level}",
                f"Factor on band {level}{' (finest)' if level == 1 else ''}; 1 leaves it, 0 removes it.",
                *GAIN_LIMITS,
            )
            for level in range(1, FINE_GAINS + 1)
        ]
        return io.Schema(
            node_id="ExpCorr_LaplacianReconstruct",
            display_name="Laplacian Reconstruct",
            category="image/adjustments",
            description="Puts a Laplacian pyramid together again; gains strengthen or soften details of each size.",
            search_aliases=["laplacian pyramid", "frequency separation", "sharpen", "local contrast", "clarity"],
            inputs=[
                PyramidType.Input("pyramid", display_name="pyramid", tooltip="From Laplacian Decompose."),
                *gains,
                factor(
                    "gain_rest",
                    "gain of the rest",
                    f"Factor on all bands coarser than band {FINE_GAINS}. The residual is never scaled.",
                    *GAIN_LIMITS,
                    advanced=True,
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="With all gains 1, the decomposed image.")],
        )

    @classmethod
    def execute(
        cls, pyramid: Pyramid, gain_1: float, gain_2: float, gain_3: float, gain_4: float, gain_rest: float
    ) -> io.NodeOutput:
        count = len(pyramid.bands) - 1
        gains = [*[gain_1, gain_2, gain_3, gain_4, *[gain_rest] * count][:count], 1.0]
        result, changed = new_image(pyramid.bands[0].shape, pyramid.alpha)
        step = Steps(3 * len(result))
        for index, channel in product(range(len(result)), range(3)):
            bands = [band[index : index + 1, channel : channel + 1] for band in pyramid.bands]
            changed[index, channel] = reconstruct(scale_bands(bands, gains))[0, 0].clamp_(0, pyramid.ceilings[index])
            step()
        return io.NodeOutput(result)
