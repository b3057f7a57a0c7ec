"""Wrong exposures made from well-exposed photos, at random; the camera curve is that of :mod:`..image.exposure`.

All steps work in place on batches, on the device of the photos. On the CPU they do so in parts that stay in its cache,
else most of the time would go into moving numbers; and curves are tables, since powers and logarithms are slow.
"""

from __future__ import annotations

import io
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..image.colour import luma
from ..image.exposure import CameraCurve, power

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
CACHED = 2**16  # pixels that the CPU works on at a time
# Steps of the tables: of display values, those of 8 bits among them, and of the measured curve's stops. The nearest
# entry is less than a tenth of an 8-bit level off, but where an exposure stretches dark values.
DISPLAY_STEPS, STOP_STEPS = 255 * 16, 22 * 256


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

    def near(side: int) -> Tensor:
        place = torch.arange(side, device=x.device)
        counted = ((place[:, None] - place).abs() <= reach).float()
        return counted / counted.sum(1, keepdim=True)

    rows, columns = (near(side) for side in small.shape[2:])

    def box(t: Tensor) -> Tensor:
        return rows @ t @ columns.T  # the image is so small that this is faster than pooling

    mean, square = box(torch.cat((small, small * small), 1)).chunk(2, 1)
    spread = (square - mean * mean).clamp_min(0)
    gain = spread / (spread + variance)
    coefficients = box(torch.cat((gain, mean - gain * mean), 1))
    gain, offset = F.interpolate(coefficients, size, mode="bilinear", align_corners=False).chunk(2, 1)
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

    def noise(self, count: int, like: Tensor) -> Tensor:
        """For so many photos like those of a batch."""
        return torch.randn(count, *like.shape[1:], generator=self.generator, device=self.generator.device)

    def chance(self, share: float | Tensor) -> Tensor:
        return self.uniform() < share

    def some(self, share: float) -> Tensor:
        """Numbers of the photos that an event of this probability happens to."""
        return _numbers(self.chance(share).flatten())


@cache
def _table(places: tuple[float, ...], values: tuple[float, ...], steps: int) -> Tensor:
    even = np.linspace(places[0], places[-1], steps + 1)
    table = np.interp(even, places, values)
    return torch.from_numpy(np.append(table, table[-1])).float()  # the end needs a next one, too


def _interpolated(x: Tensor, places: tuple[float, ...], values: tuple[float, ...], steps: int) -> Tensor:
    """The piecewise linear function through these points at ``x``, by a table of so many even steps."""
    table = _table(places, values, steps).to(x.device)
    place = ((x - places[0]) / (places[-1] - places[0])).clamp_(0, 1).mul_(steps).flatten()
    index = place.long()
    below = table.index_select(0, index)
    above = table[1:].index_select(0, index)
    return below.lerp_(above, place.frac_()).view(x.shape)


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
        draws = Draws(len(wrong), generator)
        for chosen, expose in ((~measured, self._by_curve), (measured, self._by_measured_curve)):
            members = wrong[chosen[wrong]]
            if len(members):
                expose(result, members, Draws(len(members), generator))
        # Each step on the photos that it is drawn for only: most of them cost as much as the exposure itself.
        flat = draws.some(self.flat_share)
        black, white, colour = (draws.uniform(*ends)[flat] for ends in ((0, 0.06), (0.9, 1), (0.6, 1.05)))
        for rows, photos in _photos(result, wrong[flat]):
            for (part,) in _strips(photos):
                _recolour(part, colour[rows], black[rows], white[rows])
        qualities = draws.uniform(70, 97).flatten().tolist()
        packed = draws.some(self.jpeg_share)
        for index, place in zip(packed.tolist(), wrong[packed].tolist(), strict=True):
            _compress(result[place], int(qualities[index]))
        return _round(result)

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

    def _by_curve(self, batch: Tensor, members: Tensor, draws: Draws) -> None:
        curve = self.draw_curves(draws)
        shift = self.draw_shifts(draws, self.ev_low, self.ev_high) * curve.slope
        gain = (shift + draws.uniform(-0.075, 0.075, 3) * draws.chance(0.3)).exp2()  # white balance
        variation = self._draw_variation(draws, self.range_share, self.range_low)
        noisy, level = draws.chance(0.5).flatten(), draws.uniform()
        noise, place = draws.noise(int(noisy.sum()), batch), noisy.cumsum(0) - 1
        light = curve.to_scene(_display_values(batch)) * gain
        for varied, grainy in itertools.product((False, True), repeat=2):
            chosen = _numbers((variation.concerned == varied) & (noisy == grainy))
            for rows, photos in _photos(batch, members[chosen]):
                own = chosen[rows]
                camera = CameraCurve(*(torch.as_tensor(figures)[own] for figures in (curve.gamma, curve.shoulder)))
                if not (varied or grainy):
                    _look_up(photos, camera.to_display(_some(light, own)), DISPLAY_STEPS)
                    continue
                _look_up(photos, _some(light, own), DISPLAY_STEPS)
                varying = variation.of(photos, own, gain[own].reciprocal().mul) if varied else None
                for part, more, grain in _strips(photos, varying, _some(noise, place[own]) if grainy else None):
                    if more is not None:
                        part.mul_(more.exp2())
                    if grain is not None:
                        part.addcmul_(grain, (1e-4 * part).add_(1e-6).sqrt_().mul_(level[own])).clamp_min_(0)
                    part.copy_(camera.to_display(part))

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
        shift = self._draw_bracket_shifts(draws)
        for rows, photos in _photos(result, wrong):
            photos.copy_(_some(stops, wrong[rows] // exposures))
            self._show(photos, shift[rows], contrast[rows], scale[rows])
        self._finish(result, wrong, draws)
        return _round(result)

    def _by_measured_curve(self, batch: Tensor, members: Tensor, draws: Draws) -> None:
        contrast, scale = self._draw_cameras(draws)
        hidden = draws.uniform(0, HIDDEN_STOPS) * draws.chance(0.5)
        shift = self._draw_bracket_shifts(draws)
        variation = self._draw_variation(draws, 0.4, 0.0)
        levels = _display_values(batch)
        stops = measured_stops(power(levels, 1 / contrast)) * scale + (levels > WHITE) * hidden
        for varied in (False, True):
            chosen = _numbers(variation.concerned == varied)
            for rows, photos in _photos(batch, members[chosen]):
                own = chosen[rows]
                if not varied:
                    shown = power(measured_display((_some(stops, own) + shift[own]) / scale[own]), contrast[own])
                    _look_up(photos, shown, DISPLAY_STEPS)
                    continue
                _look_up(photos, _some(stops, own), DISPLAY_STEPS)
                photos.add_(variation.of(photos, own, torch.exp2))
                self._show(photos, shift[own], contrast[own], scale[own])
        self._finish(batch, members, draws)

    @staticmethod
    def _draw_cameras(draws: Draws) -> tuple[Tensor, Tensor]:
        """Contrast, a little different in each channel, and scale of the light of cameras like the measured one."""
        return (0.12 * draws.normal() + 0.03 * draws.normal(3)).exp(), (0.15 * draws.normal()).exp()

    def _draw_bracket_shifts(self, draws: Draws) -> Tensor:
        """Exposure shifts and errors of the white balance, stops."""
        return self.draw_shifts(draws, *BRACKET_EV) + draws.uniform(-0.1, 0.1, 3) * draws.chance(0.4)

    @staticmethod
    def _show(stops: Tensor, shift: Tensor, contrast: Tensor, scale: Tensor) -> None:
        """Turn light, in stops, into what a camera like the measured one shows of it when it is shifted."""
        low, high = MEASURED_STOPS[0], MEASURED_STOPS[-1]
        table = power(measured_display(torch.linspace(low, high, STOP_STEPS + 1, device=stops.device)), contrast)
        fine = STOP_STEPS / (high - low)
        _look_up(stops, table, fine / scale, fine * (shift / scale - low))

    @staticmethod
    def _finish(batch: Tensor, members: Tensor, draws: Draws) -> None:
        """Noise, saturation and black level of cameras like the measured one."""
        noisy = draws.chance(0.5).flatten()
        noise, level = draws.noise(int(noisy.sum()), batch), draws.uniform(0, 0.008)
        saturation, black = (0.08 * draws.normal()).exp(), draws.uniform(0, 0.02) * draws.chance(0.3)
        for grainy in (False, True):
            chosen = _numbers(noisy == grainy)
            for rows, photos in _photos(batch, members[chosen]):
                own = chosen[rows]
                for part, grain in _strips(photos, noise[rows] if grainy else None):
                    if grain is not None:
                        part.add_(grain * level[own])
                    _recolour(part, saturation[own], black[own])

    def _draw_variation(self, draws: Draws, share: float, low: float) -> _Variation:
        widened, local = (draws.chance(chance).flatten() for chance in (share, self.local_share))
        amount, radius = draws.uniform(low, self.range_high), draws.uniform(0.04, 0.15)
        variance = draws.uniform(math.log(0.05), math.log(4)).exp()
        knots, most = draws.uniform(-1, 1, 9).view(-1, 3, 3), draws.uniform(0.5, 2)
        return _Variation(widened, local, amount, radius, variance, knots, most)


@dataclass(frozen=True)
class _Variation:
    """How exposure shifts vary from place to place, per photo: wider range, local errors."""

    widened: Tensor
    local: Tensor
    amount: Tensor
    radius: Tensor
    variance: Tensor
    knots: Tensor
    most: Tensor

    @property
    def concerned(self) -> Tensor:
        """Which photos vary at all, ``(B,)``."""
        return self.widened | self.local

    def of(self, photos: Tensor, members: Tensor, to_light: Callable[[Tensor], Tensor]) -> Tensor:
        """What is added to the shifts of these photos ``(n, C, H, W)``, ``(n, 1, H, W)`` stops."""
        size = photos.shape[2:]
        bases = photos.new_empty(len(photos), 1, *size)
        for part, base in _strips(photos, bases):
            base.copy_(luma(to_light(part)).clamp_min_(1e-4).log2_())
        shift = torch.zeros_like(bases)
        radius = (min(size) * self.radius[members]).round().clamp_min(1).int().flatten().tolist()
        for row, number in enumerate(members.tolist()):
            part = shift[row : row + 1]
            if self.widened[number]:
                base = edge_aware_mean(bases[row : row + 1], radius[row], self.variance[number])
                part += self.amount[number] * (base - base.mean())
            if self.local[number]:
                part += self.most[number] * _between(self.knots[number], size)
        return shift


def _between(knots: Tensor, size: Sequence[int]) -> Tensor:
    """Bicubic interpolation, one axis after the other, which is many times as fast as both at once."""
    straight = torch.eye(len(knots), device=knots.device)[None, None]
    rows, columns = (
        F.interpolate(straight, (side, len(knots)), mode="bicubic", align_corners=True)[0, 0] for side in size
    )
    return rows @ knots @ columns.T


def _numbers(chosen: Tensor) -> Tensor:
    return chosen.nonzero().flatten()


def _some(batch: Tensor, members: Tensor) -> Tensor:
    """These photos of a batch; without a copy if it is one."""
    return batch.narrow(0, int(members), 1) if len(members) == 1 else batch.index_select(0, members)


def _photos(batch: Tensor, members: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Some photos of a batch, as many at a time as the cache holds, at least one; what is done to them is kept.

    Yields:
        Their places among ``members``, and the photos.
    """
    count = max(1, _room(batch) // batch[0, 0].numel())
    for start in range(0, len(members), count):
        rows = slice(start, start + count)
        photos = _some(batch, members[rows])
        yield rows, photos
        if len(photos) > 1:
            batch.index_copy_(0, members[rows], photos)


def _strips(*images: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Photos ``(n, C, H, W)``, and what belongs to them, as views ``(n, C, 1, pixels)`` that fit into the cache."""
    photos = images[0]
    assert photos is not None
    size = max(1, _room(photos) // len(photos))
    strips = (
        itertools.repeat(None) if x is None else torch.split(x.view(*x.shape[:2], 1, -1), size, 3) for x in images
    )
    return zip(*strips, strict=False)


def _room(batch: Tensor) -> int:
    return CACHED if batch.device.type == "cpu" else sys.maxsize


def _display_values(like: Tensor) -> Tensor:
    return torch.linspace(0, 1, DISPLAY_STEPS + 1, device=like.device)


def _look_up(photos: Tensor, table: Tensor, factor: float | Tensor, first: float | Tensor = 0.0) -> None:
    """Replace each value by the entry nearest to ``factor * value + first`` of its table, ``(n, C, 1, N)``."""
    last = table.shape[3] - 1
    starts = torch.arange(0, table.numel(), last + 1, device=table.device, dtype=torch.int32).view(-1, 3, 1, 1)
    for (part,) in _strips(photos):
        place = (part * factor).add_(first + 0.5).clamp_(0, last).int().add_(starts)
        part.copy_(table.view(-1).index_select(0, place.view(-1)).view(part.shape))


def _round(image: Tensor) -> Tensor:
    """Clipped to 0..1 and rounded to multiples of 1/255, in place."""
    for part in torch.split(image.view(-1), _room(image)):
        part.mul_(255).round_().clamp_(0, 255).div_(255)
    return image


def _recolour(image: Tensor, saturation: Tensor, black: Tensor, white: float | Tensor = 1.0) -> None:
    """Change the saturation, and show what was black and white at these levels; in place."""
    contrast = white - black
    grey = luma(image).mul_((1 - saturation) * contrast).add_(black)
    image.mul_(saturation * contrast).add_(grey)


def _compress(image: Tensor, quality: int) -> None:
    """Make of an image ``(3, H, W)`` what is left of it after it has been a JPEG file."""
    file = io.BytesIO()
    planes = [Image.fromarray(plane) for plane in (image * 255).round_().clamp_(0, 255).byte().cpu().numpy()]
    Image.merge("RGB", planes).save(file, "JPEG", quality=quality)
    with Image.open(file) as decoded:
        for channel, plane in zip(image, decoded.split(), strict=True):
            channel.copy_(torch.from_numpy(np.array(plane)))
    image.div_(255)
