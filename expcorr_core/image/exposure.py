"""Exposure of finished photos, through a parametric camera curve.

A camera turns scene light ``x`` into display values ``v`` by ``v ** gamma = x * (1 + k) / (1 + k * x)``: a power
law with a shoulder of strength ``k``. ``k = 0`` clips hard at 1; large ``k`` rolls highlights off as raw converters
do. To change the exposure of a finished photo, undo the curve, multiply the light by ``2 ** (slope * EV)``, and
apply the curve again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .colour import linear_to_srgb, srgb_to_linear


def power(values: Tensor, exponent: float | Tensor) -> Tensor:
    """``values ** exponent`` of values from 0 up: four times as fast as the operator, and 0 stays below 1e-9."""
    return (exponent * values.clamp_min(1e-30).log2()).exp2()


@dataclass(frozen=True)
class CameraCurve:
    """Tone curve between relative scene light and display values; figures or tensors that broadcast.

    The defaults were fitted to raw-converter renderings of three scenes at EV -1.5..+1.5. Over these and three more
    they make the other exposures from EV 0 at 33.6 dB on average (a gain in linear sRGB: 24.0 dB).
    """

    gamma: float | Tensor = 2.131
    shoulder: float | Tensor = 61.5
    slope: float | Tensor = 1.630

    def to_scene(self, display: Tensor) -> Tensor:
        """Display values in 0..1 to relative scene light, 0..1."""
        x = power(display.clamp(0, 1), self.gamma)
        return x / (1 + self.shoulder * (1 - x))

    def to_display(self, scene: Tensor) -> Tensor:
        """Relative scene light, 0 and up, to display values, clipped to 0..1."""
        x = scene * (1 + self.shoulder) / (1 + self.shoulder * scene)
        return power(x.clamp(0, 1), 1 / self.gamma)


def gain_exposure(image: Tensor, ev: float | Tensor, clip: bool = True) -> Tensor:
    """Multiply the linear light of sRGB values by ``2 ** ev``.

    Args:
        image: display values, any shape, 0 and up; what is above 1 is light above white.
        ev: exposure change in stops, a figure or a tensor that broadcasts.
        clip: clip the result to 0..1, as a sensor does.

    Returns:
        Display values of the same shape, 0 and up.
    """
    light = srgb_to_linear(image.clamp_min(0)) * 2.0 ** torch.as_tensor(ev)
    return linear_to_srgb(light.clamp(0, 1) if clip else light)


def shift_exposure(image: Tensor, ev: float | Tensor, curve: CameraCurve | None = None, clip: bool = True) -> Tensor:
    """Render a photo as if it had been exposed ``ev`` stops more.

    The camera's curve ends at white. Above it goes on by stops: a value is as many stops above white as its linear
    light is, before and after the change.

    Args:
        image: display values, ``(..., H, W)``, 0 and up; what is above 1 is light above white.
        ev: exposure change in stops, a figure or a tensor that broadcasts.
        curve: the camera's curve; by default the fitted one.
        clip: clip the result to 0..1.

    Returns:
        Display values of the same shape, 0 and up.
    """
    curve = curve or CameraCurve()
    scene = curve.to_scene(image)
    if (above := image > 1).any():
        scene = torch.where(above, power(srgb_to_linear(image), curve.slope), scene)
    scene = scene * 2 ** (curve.slope * torch.as_tensor(ev))
    shown = curve.to_display(scene)
    if clip:
        return shown
    return torch.where(scene > 1, linear_to_srgb(power(scene, 1 / curve.slope)), shown)
