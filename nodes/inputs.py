"""Inputs that several nodes share."""

from __future__ import annotations

from comfy_api.latest import io

SOFTNESS = 1.0  # percent of the larger side


def factor(
    name: str, display_name: str, tooltip: str, low: float = 0.0, high: float = 2.0, advanced: bool = False
) -> io.Float.Input:
    """A factor of which 1 is the neutral or full setting."""
    return io.Float.Input(
        name,
        default=1.0,
        min=low,
        max=high,
        step=0.05,
        display_name=display_name,
        tooltip=tooltip,
        advanced=advanced,
    )


def mask_inputs() -> list[io.Input]:
    """A mask that limits the change, and the softness of its edges."""
    return [
        io.Mask.Input(
            "mask",
            display_name="mask",
            tooltip="Limits the change to its white parts: one mask, or one a frame.",
            optional=True,
        ),
        io.Float.Input(
            "softness",
            default=SOFTNESS,
            min=0.0,
            max=20.0,
            step=0.1,
            display_name="mask softness (%)",
            tooltip="How soft the mask's edges become, percent of the image's larger side.",
            optional=True,
            advanced=True,
        ),
    ]
