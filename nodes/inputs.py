"""Inputs that several nodes share."""

from __future__ import annotations

from comfy_api.latest import io


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
