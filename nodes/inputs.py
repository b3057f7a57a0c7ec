"""Inputs that several nodes share."""

from __future__ import annotations

from comfy_api.latest import io

SOFTNESS = 1.0  # percent of the larger side


def factor(
    name: str, display_name: str, tooltip: str, low: float = 0.0, high: float = 2.0, advanced: bool = False
) -> io.Float.Input:
    """A factor whose neutral or full setting is 1."""
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


def change_inputs() -> list[io.Input]:
    """The strength of the correction, and what is applied after it."""
    return [
        factor("strength", "strength", "0 returns the input unchanged, 1 is the full correction, above 1 exaggerates."),
        io.Boolean.Input(
            "fusion",
            default=False,
            display_name="fuse with input",
            tooltip="Exposure fusion of the correction with the input: keeps what the input showed well.",
        ),
        io.Float.Input(
            "stretch",
            default=0.0,
            min=0.0,
            max=10.0,
            step=0.1,
            display_name="contrast stretch (%)",
            tooltip="Share of the darkest and brightest values that become black and white; 0 is off.",
        ),
    ]


def mask_inputs() -> list[io.Input]:
    """A mask that limits the change, and the softness of its edges."""
    return [
        io.Mask.Input(
            "mask",
            display_name="mask",
            tooltip="Limits the change to its white parts: one mask, or one per frame.",
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
