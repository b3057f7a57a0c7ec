"""A correction as a CURVE of ComfyUI's own, to go on with by hand; ComfyUI 0.18 has none that nodes could read."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..expcorr_core.corrections.curves import tone_points
from ..expcorr_core.corrections.lut import pixels_of

try:
    from comfy_api.input import CurveInput
except ImportError:
    CurveInput = None

SIDE = 128  # height and width of the grid of pixels that a curve is fitted to


def curve_output() -> list[io.Output]:
    """The output for a curve, where ComfyUI has it."""
    if CurveInput is None:
        return []
    return [
        io.Curve.Output(
            display_name="curve",
            tooltip="The first photo's correction as one tone curve for all channels: to go on by hand in nodes that "
            "take a curve, such as GLSL Shader.",
        )
    ]


def curve_of(before: Tensor | None = None, after: Tensor | None = None) -> list[object]:
    """The value of :func:`curve_output`.

    Args:
        before, after: images ``(B, 3, H, W)``, 0..1, before and after, of which the first counts; None for no change.
    """
    if CurveInput is None:
        return []
    points = [(0.0, 0.0), (1.0, 1.0)]
    if before is not None and after is not None:
        points = tone_points(*pixels_of(before[:1], after[:1], SIDE))
    return [CurveInput.from_raw({"points": points, "interpolation": "monotone_cubic"})]
