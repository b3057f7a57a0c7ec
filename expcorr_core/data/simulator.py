"""Wrong exposures made from well-exposed photos, at random; the camera curve is that of :mod:`..image.exposure`.

All steps work on whole batches, on the device of the photos.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..image.colour import luma
from ..image.exposure import CameraCurve, power
from ..photos.photo import Photo

# How a camera shows light: display values (0..255) at so many stops from light that it shows as 128. Medians over 44
# brackets of nine exposures, one stop apart (training/EXPERIMENTS.md).
MEASURED_STOPS = (
    -14, -10, -8, -7.5, -7, -6.5, -6, -5.5, -5, -4.5, -4, -3.5, -3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 2.25,
    2.5, 2.75, 3, 3.25, 3.5, 3.75, 4.25, 8,
)  # fmt: skip
MEASURED_VALUES = (
    0, 0.4, 1.3, 1.9, 2.8, 4.2, 6.6, 9.8, 14, 18, 22, 27, 33, 41.5, 53, 66, 83.5, 103.5, 128, 154, 180, 203, 223.5, 232,
    240, 246, 250, 252.6, 254, 254.7, 255.3, 256,
)  # fmt: skip
DARKEST_STOPS = -9.0  # what is black in a photo is taken for this: it shows once it is exposed longer
BRACKET_EV = (-4.0, 3.5)
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


@cache
def _table(places: tuple[float, ...], values: tuple[float, ...], steps: int) -> Tensor:
    even = np.linspace(places[0], places[-1], steps + 1)
    return torch.from_numpy(np.interp(even, places, values)).float()


def _interpolated(x: Tensor, places: tuple[float, ...], values: tuple[float, ...], steps: int) -> Tensor:
    """The piecewise linear function through these points at ``x``, by a table of so many even steps."""
    table = _table(places, values, steps).to(x.device)
    place = ((x - places[0]) / (places[-1] - places[0])).clamp(0, 1) * steps
    below = place.floor().clamp(max=steps - 1)
    index = below.long()
    return torch.lerp(table[index], table[index + 1], place - below)


def measured_stops(display: Tensor) -> Tensor:
    """Light of display values in 0..1 by the measured curve, stops from that of 128 / 255."""
    return _interpolated(display * 255, MEASURED_VALUES, MEASURED_STOPS, 1024).clamp_min_(DARKEST_STOPS)


def measured_display(stops: Tensor) -> Tensor:
    """Display values in 0..1 of light by the measured curve."""
    return (_interpolated(stops, MEASURED_STOPS, MEASURED_VALUES, 352) / 255).clamp_(0, 1)


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
        bracket_share: share of the photos that are exposed wrongly by the curve that was measured over brackets of a
            real camera instead, a little varied, from -4 to 3.5 stops: it has a toe and a shoulder, and hides up to two
            stops in what a photo shows as white, and shades in what it shows as black.
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

    def __call__(self, target: Tensor, generator: torch.Generator, exposures: int = 1) -> Tensor:
        """Make inputs for each target.

        Args:
            target: ``(B, 3, H, W)``, 0..1.
            generator: source of all randomness, on the targets' device.
            exposures: inputs of each target, by one kind of camera.

        Returns:
            ``(B * exposures, 3, H, W)``, those of a target one after the other, multiples of 1/255.
        """
        measured = Draws(len(target), generator).chance(self.bracket_share).flatten().repeat_interleave(exposures)
        result = target.repeat_interleave(exposures, 0)
        wrong = Draws(len(result), generator).some(1 - self.kept_share)
        result[wrong] = self._wrongly_exposed(result[wrong], measured[wrong], Draws(len(wrong), generator))
        return result.mul_(255).round_().div_(255)

    def _wrongly_exposed(self, target: Tensor, measured: Tensor, draws: Draws) -> Tensor:
        shown = torch.empty_like(target)
        for members, expose in ((~measured, self._by_curve), (measured, self._by_measured_curve)):
            if members.any():
                shown[members] = expose(target[members], Draws(int(members.sum()), draws.generator))
        # Each step on the photos that it is drawn for only: most of them cost as much as the exposure itself.
        flat = draws.some(self.flat_share)
        black, white, colour = (draws.uniform(*ends)[flat] for ends in ((0, 0.06), (0.9, 1), (0.6, 1.05)))
        shown[flat] = black + (white - black) * _coloured(shown[flat], colour)
        shown.clamp_(0, 1)
        qualities = draws.uniform(70, 97).flatten().tolist()
        for index in draws.some(self.jpeg_share).tolist():
            shown[index] = _through_jpeg(shown[index], int(qualities[index]))
        return shown

    def draw_curves(self, draws: Draws) -> CameraCurve:
        """Cameras between a hard clip and a long shoulder; the fitted slope belongs to long ones."""
        shoulder = draws.uniform(math.log(0.5), math.log(60)).exp() * ~draws.chance(self.clip_share)
        return CameraCurve(draws.uniform(1.9, 2.4), shoulder, 1 + 0.63 * shoulder / (shoulder + 4))

    def draw_shifts(self, draws: Draws, low: float, high: float) -> Tensor:
        """Exposure shifts between ``low`` and ``high``, stops, ``(B, 1, 1, 1)``."""
        below, above = (max(0.0, side - self.ev_gap) for side in (-low, high))
        if self.ev_gap:
            place = draws.uniform(0, below + above)
            shift = torch.where(place < below, -self.ev_gap - place, self.ev_gap + place - below)
        else:
            shift = draws.uniform(low, high)
        near = draws.normal().clamp(low, high)
        near = torch.where(near.abs() < self.ev_gap, shift, near)
        return torch.where(draws.chance(self.near_share), near, shift)

    def _by_curve(self, target: Tensor, draws: Draws) -> Tensor:
        curve = self.draw_curves(draws)
        light = curve.to_scene(target)
        shift = self.draw_shifts(draws, self.ev_low, self.ev_high) * curve.slope
        shift = shift + draws.uniform(-0.075, 0.075, 3) * draws.chance(0.3)  # white balance
        varying = self._varying(light, self.range_share, self.range_low, draws)
        light *= (shift + varying).exp2() if varying is not None else shift.exp2()
        noisy = draws.some(0.5)
        level = draws.uniform()[noisy]
        light[noisy] += draws.noise(light[noisy]) * level * (1e-4 * light[noisy] + 1e-6).sqrt()
        return curve.to_display(light.clamp_min_(0))

    def expose_scenes(self, stops: Tensor, target: Tensor, generator: torch.Generator, exposures: int = 1) -> Tensor:
        """Make inputs of scenes whose true light is known, by the measured curve: what is clipped was really there.

        Args:
            stops: ``(B, 3, H, W)``, light, stops from that of middle grey.
            target: ``(B, 3, H, W)``, 0..1: how each scene should look.
            generator, exposures: as for photos.

        Returns:
            As for photos.
        """
        result = target.repeat_interleave(exposures, 0)
        wrong = Draws(len(result), generator).some(1 - self.kept_share)
        draws = Draws(len(wrong), generator)
        contrast, scale = self._draw_cameras(draws)
        shift = self.draw_shifts(draws, *BRACKET_EV) + self._draw_tints(draws)
        light = stops.repeat_interleave(exposures, 0)[wrong] + shift
        result[wrong] = self._developed(light, contrast, scale, draws).clamp_(0, 1)
        return result.mul_(255).round_().div_(255)

    def _by_measured_curve(self, target: Tensor, draws: Draws) -> Tensor:
        contrast, scale = self._draw_cameras(draws)
        stops = measured_stops(power(target, 1 / contrast)) * scale
        stops += torch.where(target > WHITE, draws.uniform(0, HIDDEN_STOPS) * draws.chance(0.5), 0.0)
        shift = self.draw_shifts(draws, *BRACKET_EV) + self._draw_tints(draws)
        varying = self._varying(stops.exp2(), 0.4, 0.0, draws)
        stops += shift if varying is None else shift + varying
        return self._developed(stops, contrast, scale, draws)

    @staticmethod
    def _draw_cameras(draws: Draws) -> tuple[Tensor, Tensor]:
        """Contrast, a little different in each channel, and scale of the light of cameras like the measured one."""
        return (0.12 * draws.normal() + 0.03 * draws.normal(3)).exp(), (0.15 * draws.normal()).exp()

    @staticmethod
    def _draw_tints(draws: Draws) -> Tensor:
        """Errors of the white balance, stops."""
        return draws.uniform(-0.1, 0.1, 3) * draws.chance(0.4)

    @staticmethod
    def _developed(stops: Tensor, contrast: Tensor, scale: Tensor, draws: Draws) -> Tensor:
        """What a camera like the measured one shows of light, with noise, saturation and black level of its own."""
        shown = power(measured_display(stops / scale), contrast)
        noisy = draws.some(0.5)
        shown[noisy] += draws.noise(shown[noisy]) * draws.uniform(0, 0.008)[noisy]
        shown = _coloured(shown, (0.08 * draws.normal()).exp())
        black = draws.uniform(0, 0.02) * draws.chance(0.3)
        return black + (1 - black) * shown

    def _varying(self, light: Tensor, share: float, low: float, draws: Draws) -> Tensor | None:
        """What is added to the shifts from place to place, ``(B, 1, H, W)`` stops: wider range, local errors."""
        size = light.shape[2:]
        widened, local = draws.some(share), draws.some(self.local_share)
        amount = draws.uniform(low, self.range_high)
        radius = (min(size) * draws.uniform(0.04, 0.15)).round().clamp_min(1).int().flatten().tolist()
        variance = draws.uniform(math.log(0.05), math.log(4)).exp()
        knots, most = draws.uniform(-1, 1, 9).view(-1, 1, 3, 3), draws.uniform(0.5, 2)
        if not len(widened) + len(local):
            return None
        shift = light.new_zeros(len(light), 1, *size)
        for index in widened.tolist():
            part = slice(index, index + 1)
            base = edge_aware_mean(luma(light[part]).clamp_min(1e-4).log2(), radius[index], variance[part])
            shift[part] += amount[part] * (base - base.mean())
        if len(local):
            shift[local] += most[local] * F.interpolate(knots[local], size, mode="bicubic", align_corners=True)
        return shift


def _coloured(image: Tensor, saturation: Tensor) -> Tensor:
    grey = luma(image)
    return grey + (image - grey) * saturation


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    """What is left of an image ``(3, H, W)`` after it has been a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(Photo.from_tensor(image[None].cpu()).pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as decoded:
        return (torch.from_numpy(np.array(decoded)).permute(2, 0, 1).float() / 255).to(image.device)
