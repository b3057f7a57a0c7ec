"""Wrong exposures made from well-exposed photos, at random; the camera curve is that of :mod:`..image.exposure`.

All steps work on whole batches, on the device of the photos.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..image.colour import luma
from ..image.exposure import CameraCurve, power
from ..photos.photo import Photo

# Cameras as they were measured over 44 brackets of nine exposures, one stop apart (training/EXPERIMENTS.md): mean,
# spread and limits of the exponent and of the shoulder's logarithm, and the slope that belongs to an exponent.
BRACKET_GAMMA, BRACKET_SHOULDER = (2.3, 0.3, 1.5, 3.0), (2.3, 0.6, 1.0, 4.5)
BRACKET_SLOPE = (0.531, 0.393)
BRACKET_EV = (-4.0, 3.5)
BRACKET_RANGE_SHARE = 0.4
WHITE, HIDDEN_STOPS = 0.985, 2.0  # light above this display value may have been brighter by up to so many stops


def edge_aware_mean(x: Tensor, radius: int, variance: Tensor) -> Tensor:
    """Self-guided filter: local mean where the variance is below ``variance``, else nearly the pixel itself.

    The fast form (He & Sun 2015): its coefficients are computed on a reduced image.

    Args:
        x: ``(B, 1, H, W)``.
        radius: of the box window, pixels.
        variance: threshold, broadcasts against ``x``.
    """
    size = x.shape[2:]
    factor = max(1, radius // 4)
    small = F.interpolate(x, [max(1, side // factor) for side in size], mode="area")
    reach = radius // factor
    window = 2 * reach + 1

    def box(t: Tensor) -> Tensor:
        rows = F.avg_pool2d(t, (window, 1), 1, (reach, 0), count_include_pad=False)
        return F.avg_pool2d(rows, (1, window), 1, (0, reach), count_include_pad=False)

    mean = box(small)
    spread = (box(small * small) - mean * mean).clamp_min(0)
    gain = spread / (spread + variance)
    gain, offset = (
        F.interpolate(box(t), size, mode="bilinear", align_corners=False) for t in (gain, mean - gain * mean)
    )
    return gain * x + offset


class Draws:
    """Random values for each photo of a batch, shaped to broadcast against ``(B, C, H, W)``."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def uniform(self, low: float | Tensor = 0.0, high: float | Tensor = 1.0, channels: int = 1) -> Tensor:
        drawn = torch.rand(self.count, channels, 1, 1, generator=self.generator, device=self.generator.device)
        return low + (high - low) * drawn

    def normal(self, channels: int = 1) -> Tensor:
        return torch.randn(self.count, channels, 1, 1, generator=self.generator, device=self.generator.device)

    def bounded(self, mean: float, spread: float, low: float, high: float) -> Tensor:
        return (mean + spread * self.normal()).clamp(low, high)

    def noise(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator, device=self.generator.device)

    def chance(self, share: float | Tensor) -> Tensor:
        return self.uniform() < share

    def some(self, share: float | Tensor) -> Tensor:
        """Numbers of the photos that an event of this probability happens to."""
        return self.chance(share).flatten().nonzero().flatten()


@dataclass(frozen=True)
class Cameras:
    """One camera for each photo of a batch; the tensors broadcast against ``(B, 3, H, W)``.

    Attributes:
        curve: from light to display values and back.
        measured: whether it is one of those of brackets.
        contrast: exponent of each channel on the display values.
    """

    curve: CameraCurve
    measured: Tensor
    contrast: Tensor


@dataclass(frozen=True, kw_only=True)
class ExposureSimulator:
    """Makes wrongly exposed inputs from well-exposed targets, at random.

    In this order: the curve undone; the scene's large-scale dynamic range widened, so that both ends clip as in scenes
    that exceed the camera's range; an exposure shift, which may vary over the picture (a part over, another under);
    white balance and sensor noise; the curve; a flatter rendering (less contrast and saturation); JPEG; rounding to
    8 bits. Some inputs equal the target but for the rounding: well-exposed photos must pass untouched.

    Attributes:
        ev_low, ev_high: lowest and highest exposure shift, stops; uniform in between.
        ev_gap: smaller shifts than this are not drawn, so that a photo counts as exposed wrongly or as well exposed.
        near_share: share of the shifts that are drawn from a normal distribution of one stop around 0 instead.
        clip_share: share of the cameras that clip hard; the others have a shoulder.
        bracket_share: share of the photos that a camera like those of measured brackets exposes wrongly instead, from
            -4 to 3.5 stops: it has a toe and a shoulder, small differences between channels, and hides up to two stops
            in what a photo shows as white.
        range_low, range_high: by how much the range is widened, as a share of itself; uniform in between.
        kept_share, range_share, local_share, flat_share, jpeg_share: probabilities of the steps above, 0..1.
    """

    ev_low: float = -3.4
    ev_high: float = 2.8
    ev_gap: float = 0.0
    near_share: float = 0.15
    kept_share: float = 0.125
    clip_share: float = 0.3
    bracket_share: float = 0.0
    range_share: float = 0.5
    range_low: float = 0.0
    range_high: float = 1.0
    local_share: float = 0.2
    flat_share: float = 0.1
    jpeg_share: float = 0.3

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_share") and not 0 <= value <= 1:
                raise ValueError(f"{field.name} is a probability, 0..1; got {value}")
        for kind in ("ev", "range"):
            low, high = (getattr(self, f"{kind}_{end}") for end in ("low", "high"))
            if low > high:
                raise ValueError(f"{kind}_low {low} is above {kind}_high {high}")
        if self.ev_gap and self.ev_gap > max(-self.ev_low, self.ev_high):
            raise ValueError(f"ev_gap {self.ev_gap} leaves nothing between {self.ev_low} and {self.ev_high}")

    def __call__(self, target: Tensor, generator: torch.Generator) -> Tensor:
        """Make one input for each target.

        Args:
            target: ``(B, 3, H, W)``, 0..1.
            generator: source of all randomness, on the targets' device.

        Returns:
            Inputs of the same shape, multiples of 1/255.
        """
        draws = Draws(len(target), generator)
        wrong = draws.some(1 - self.kept_share)
        result = target.clone()
        result[wrong] = self._wrongly_exposed(target[wrong], Draws(len(wrong), generator))
        return result.mul_(255).round_().div_(255)

    def _wrongly_exposed(self, target: Tensor, draws: Draws) -> Tensor:
        cameras = self.draw_cameras(draws)
        light = self._expose(target, cameras, draws)
        # Each step on the photos that it is drawn for only: most of them cost as much as the exposure itself.
        noisy = draws.some(0.5)
        level = draws.uniform()[noisy]
        light[noisy] += draws.noise(light[noisy]) * level * (1e-4 * light[noisy] + 1e-6).sqrt()
        shown = cameras.curve.to_display(light.clamp_min_(0))
        measured = cameras.measured.flatten().nonzero().flatten()
        colour = (0.08 * draws.normal()).exp()[measured]
        shown[measured] = _coloured(power(shown[measured], 1 / cameras.contrast[measured]), colour)
        flat = draws.some(self.flat_share)
        black, white, colour = (draws.uniform(*ends)[flat] for ends in ((0, 0.06), (0.9, 1), (0.6, 1.05)))
        shown[flat] = black + (white - black) * _coloured(shown[flat], colour)
        shown.clamp_(0, 1)
        qualities = draws.uniform(70, 97).flatten().tolist()
        for index in draws.some(self.jpeg_share).tolist():
            shown[index] = _through_jpeg(shown[index], int(qualities[index]))
        return shown

    def draw_cameras(self, draws: Draws) -> Cameras:
        """Between a hard clip and a long shoulder, for which the fitted slope holds; or as measured."""
        measured = draws.chance(self.bracket_share)
        shoulder = draws.uniform(math.log(0.5), math.log(60)).exp() * ~draws.chance(self.clip_share)
        shoulder = torch.where(measured, draws.bounded(*BRACKET_SHOULDER).exp(), shoulder)
        gamma = torch.where(measured, draws.bounded(*BRACKET_GAMMA), draws.uniform(1.9, 2.4))
        slope = torch.where(
            measured, BRACKET_SLOPE[0] * gamma + BRACKET_SLOPE[1], 1 + 0.63 * shoulder / (shoulder + 4)
        )
        contrast = (measured * (0.12 * draws.normal() + 0.03 * draws.normal(3))).exp()
        return Cameras(CameraCurve(gamma, shoulder, slope), measured, contrast)

    def draw_shifts(self, draws: Draws, measured: Tensor) -> Tensor:
        """Exposure shifts, stops, ``(B, 1, 1, 1)``; ``measured`` as in :class:`Cameras`."""
        low = torch.where(measured, BRACKET_EV[0], self.ev_low)
        high = torch.where(measured, BRACKET_EV[1], self.ev_high)
        below, above = (-low - self.ev_gap).clamp_min(0), (high - self.ev_gap).clamp_min(0)
        if self.ev_gap:
            place = draws.uniform() * (below + above)
            shift = torch.where(place < below, -self.ev_gap - place, self.ev_gap + place - below)
        else:
            shift = draws.uniform(low, high)
        near = draws.normal().clamp(self.ev_low, self.ev_high)
        near = torch.where(near.abs() < self.ev_gap, shift, near)
        return torch.where(draws.chance(self.near_share), near, shift)

    def _expose(self, target: Tensor, cameras: Cameras, draws: Draws) -> Tensor:
        """Scene light as the sensors get it, ``(B, 3, H, W)``."""
        size = target.shape[2:]
        measured, curve = cameras.measured, cameras.curve
        own = measured.flatten().nonzero().flatten()
        shown = target.clone()
        shown[own] = power(shown[own], cameras.contrast[own])
        scene = curve.to_scene(shown)
        hidden = (draws.uniform(0, HIDDEN_STOPS) * draws.chance(0.5) * curve.slope).exp2()
        scene[own] *= torch.where(target[own] > WHITE, hidden[own], 1.0)
        shift = self.draw_shifts(draws, measured) * curve.slope
        shift = shift + torch.where(measured, 0.15, 0.075) * draws.uniform(-1, 1, 3) * draws.chance(0.3)  # balance
        amount = draws.uniform(torch.where(measured, 0.0, self.range_low), self.range_high)
        radius = (min(size) * draws.uniform(0.04, 0.15)).round().clamp_min(1).int().flatten().tolist()
        variance = draws.uniform(math.log(0.05), math.log(4)).exp()
        gain = shift.exp2()
        for index in draws.some(torch.where(measured, BRACKET_RANGE_SHARE, self.range_share)).tolist():
            part = slice(index, index + 1)
            base = edge_aware_mean(luma(scene[part]).clamp_min(1e-4).log2(), radius[index], variance[part])
            scene[part] *= (amount[part] * (base - base.mean())).exp2()
        varied = draws.some(self.local_share)
        knots, most = draws.uniform(-1, 1, 9).view(-1, 1, 3, 3)[varied], draws.uniform(0.5, 2)[varied]
        if len(varied):
            scene[varied] *= (most * F.interpolate(knots, size, mode="bicubic", align_corners=True)).exp2()
        return scene.mul_(gain)


def _coloured(image: Tensor, saturation: Tensor) -> Tensor:
    grey = luma(image)
    return grey + (image - grey) * saturation


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    """What is left of an image ``(3, H, W)`` after it has been a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(Photo.from_tensor(image[None].cpu()).pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as decoded:
        return (torch.from_numpy(np.array(decoded)).permute(2, 0, 1).float() / 255).to(image.device)
