"""Turns scene light into a picture: exposure, highlights, tone curve.

A :class:`Scene` is linear light. Exposure is a gain of ``2 ** EV`` on it (:func:`expose`) and nothing else; what a
camera or a raw converter does after it is the tone stage of :func:`render`:

1. Highlights. Light above white clips. Where the sensor saturated, there is no detail; such areas stay white at
   negative EVs too, as in raw converters (the gain by itself would make them grey): from half of the sensor's range
   on, a parabola leads to white. Light that no sensor has clipped (HDR pictures) gets only the gain.
2. The tone curve, on the largest and the smallest channel; the middle one keeps its relative position between them,
   which keeps the hue (as in the reference renderer of the DNG specification).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from expcorr_core.image.colour import srgb_to_linear

from .colour import ROMM_GAMMA, prophoto_profile, to_srgb
from .extras import extra

Floats = NDArray[np.float32]

MID_GREY = 0.09  # share of the sensor's range that becomes mid-grey: 3.5 stops below saturation
# Stops from mid-grey, and sRGB display values there; fitted to renderings at EV -1.5..+1.5 by
# training/fit_curve.py, which makes the other exposures from EV 0 with them at 34.0 dB.
CAMERA_STOPS = (-5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
CAMERA_VALUES = (0.0543, 0.0759, 0.1114, 0.1811, 0.2941, 0.461, 0.6744, 0.845, 0.9571)
KNEE = 0.5  # share of the sensor's range above which highlights are spared at negative EVs
_ENTRIES = 2**16
_ROWS = 256  # of a block: limits the memory for intermediate values


class ToneCurve:
    """A monotone curve from scene light to display light, both linear, 0..1.

    Args:
        light, display: coordinates of its points; both increase from 0 to 1.

    Raises:
        ValueError: the points do not form such a curve.
    """

    def __init__(self, light: Sequence[float], display: Sequence[float]) -> None:
        x, y = np.asarray(light, float), np.asarray(display, float)
        if len(x) != len(y) or len(x) < 2 or not ((np.diff(x) > 0).all() and (np.diff(y) >= 0).all()):
            raise ValueError("the points of a tone curve must increase")
        if (x[0], y[0], x[-1], y[-1]) != (0, 0, 1, 1):
            raise ValueError("a tone curve must lead from 0 to 1")
        # Even steps of the square root: even steps of light would be too coarse in the shadows.
        roots = extra("scipy.interpolate").PchipInterpolator(np.sqrt(x), np.sqrt(y))(np.linspace(0, 1, _ENTRIES))
        self._table: Floats = np.square(roots.clip(0, 1)).astype(np.float32)

    def __call__(self, light: Floats) -> Floats:
        """Display light of scene light, any shape; 0..1."""
        return self._table[(np.sqrt(light) * (_ENTRIES - 1) + 0.5).astype(np.uint16)]

    @classmethod
    def camera(cls, values: Sequence[float] = CAMERA_VALUES) -> ToneCurve:
        """The curve through sRGB display values at CAMERA_STOPS; the default is close to that of raw converters."""
        display = srgb_to_linear(torch.tensor(values, dtype=torch.float64)).tolist()
        return cls((0.0, *(MID_GREY * 2**stops for stops in CAMERA_STOPS), 1.0), (0.0, *display, 1.0))


@dataclass(frozen=True)
class Scene:
    """Linear light in ProPhoto RGB primaries.

    Attributes:
        light: ``(H, W, 3)``; 1 is white at EV 0: the sensor's saturation, where there was a sensor.
        ev: stops that EV 0 adds (the baseline exposure of a DNG).
        curve: the tone curve.
        saturates: whether 1 is where the sensor saturated (rather than just a convention).
        scale: pixels per pixel of the full-size picture, along a side.
    """

    light: NDArray[Any]
    ev: float = 0.0
    curve: ToneCurve = field(default_factory=ToneCurve.camera)
    saturates: bool = True
    scale: float = 1.0


def expose(light: Floats, ev: float) -> Floats:
    """Linear light at an exposure of ``ev`` stops more; neither clipped nor otherwise changed."""
    exposed: Floats = light * np.float32(2**ev)
    return exposed


def spare_highlights(light: Floats, ev: float) -> Floats:
    """At negative ``ev``, keep saturated light white, with a smooth transition; the identity below the knee.

    Args:
        light: after :func:`expose` by ``ev``, any shape.
        ev: stops.
    """
    if ev >= 0:
        return light
    gain = np.float32(2**ev)
    above = np.maximum(0, (light / gain - KNEE) / (1 - KNEE))
    spared: Floats = light + (1 - gain) * above * above
    return spared


def tone_map(light: Floats, scene: Scene, ev: float) -> Floats:
    """The tone stage: exposed light of a scene to linear display light, ``(..., 3)``, 0..1."""
    if scene.saturates:
        light = spare_highlights(light, ev)
    light = light.clip(0, 1)
    top, bottom = light.max(-1, keepdims=True), light.min(-1, keepdims=True)
    high, low = scene.curve(top), scene.curve(bottom)
    place = (light - bottom) / np.maximum(top - bottom, 1e-9)
    shown: Floats = low + (high - low) * place
    return shown


def render(scene: Scene, ev: float, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """An 8-bit sRGB picture of a scene, exposed by ``ev`` stops.

    It is exposed and clipped at the scene's size, as a camera does, and resized afterwards.

    Args:
        scene: the light.
        ev: exposure relative to the scene's own, stops.
        size: height and width of the result; None keeps the scene's.

    Returns:
        ``(H, W, 3)``.
    """
    total = scene.ev + ev
    coded = np.empty(scene.light.shape, np.uint16)
    for top in range(0, len(coded), _ROWS):
        light = scene.light[top : top + _ROWS]
        scaled = light.astype(np.float32) * np.float32(1 / 65535) if light.dtype == np.uint16 else light
        shown = tone_map(expose(scaled, total), scene, total)
        coded[top : top + _ROWS] = (shown ** np.float32(1 / ROMM_GAMMA)) * 65535 + 0.5
    return to_srgb(resize(coded, size or coded.shape[:2]), prophoto_profile())


def fitting(height: int, width: int, size: int | None) -> tuple[int, int]:
    """Height and width of a picture whose larger side is reduced to ``size``."""
    ratio = min(1.0, size / max(height, width)) if size else 1.0
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def resize(pixels: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """Resample a picture, ``(H, W, 3)``, uint8 or uint16, to another height and width."""
    if pixels.shape[:2] == tuple(size):
        return pixels
    values = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
    small = F.interpolate(values, list(size), mode="bicubic", antialias=True, align_corners=False)
    peak = np.iinfo(pixels.dtype).max
    result: NDArray[Any] = small[0].permute(1, 2, 0).round().clamp(0, peak).numpy().astype(pixels.dtype)
    return result
