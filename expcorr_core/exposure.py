"""Wrong exposures made from well-exposed photos, through a parametric camera curve.

A camera turns scene light ``x`` into display values ``v`` by ``v ** gamma = x * (1 + k) / (1 + k * x)``: a power
law with a shoulder of strength ``k``. ``k = 0`` clips hard at 1; large ``k`` rolls highlights off as raw converters
do. To change the exposure of a finished photo, undo the curve, multiply the light by ``2 ** (slope * EV)``, and
apply the curve again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709


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
        x = display.clamp(0, 1) ** self.gamma
        return x / (1 + self.shoulder * (1 - x))

    def to_display(self, scene: Tensor) -> Tensor:
        """Relative scene light, 0 and up, to display values, clipped to 0..1."""
        x = scene * (1 + self.shoulder) / (1 + self.shoulder * scene)
        return x.clamp(0, 1) ** (1 / self.gamma)


def shift_exposure(image: Tensor, ev: float | Tensor, curve: CameraCurve | None = None) -> Tensor:
    """Render a photo as if it had been exposed ``ev`` stops more.

    Args:
        image: display values, ``(..., H, W)``, 0..1.
        ev: exposure change in stops, a figure or a tensor that broadcasts.
        curve: the camera's curve; by default the fitted one.

    Returns:
        Display values of the same shape, clipped to 0..1.
    """
    curve = curve or CameraCurve()
    return curve.to_display(curve.to_scene(image) * 2 ** (curve.slope * torch.as_tensor(ev)))


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
    window = 2 * (radius // factor) + 1

    def box(t: Tensor) -> Tensor:
        return F.avg_pool2d(t, window, 1, window // 2, count_include_pad=False)

    mean = box(small)
    spread = (box(small * small) - mean * mean).clamp_min(0)
    gain = spread / (spread + variance)
    gain, offset = (
        F.interpolate(box(t), size, mode="bilinear", align_corners=False) for t in (gain, mean - gain * mean)
    )
    return gain * x + offset


class ExposureSimulator:
    """Makes a wrongly exposed input from each well-exposed target, at random.

    In this order: the curve undone; in ``range_share`` of the photos the scene's large-scale dynamic range widened
    (so that both ends clip, as in scenes that exceed the camera's range); an exposure shift, in ``local_share``
    varying over the picture; white balance and sensor noise; the curve; rounding to 8 bits. A ``kept_share`` of the
    inputs equals the target but for the rounding: well-exposed photos must pass untouched.

    Args:
        ev: lowest and highest exposure shift, stops.
        kept_share, range_share, local_share: probabilities, 0..1.
    """

    def __init__(
        self,
        ev: tuple[float, float] = (-3.4, 2.8),
        kept_share: float = 0.125,
        range_share: float = 0.5,
        local_share: float = 0.2,
    ) -> None:
        self.ev = ev
        self.kept_share = kept_share
        self.range_share = range_share
        self.local_share = local_share

    def __call__(self, target: Tensor, generator: torch.Generator) -> Tensor:
        """Make the inputs of a batch.

        Args:
            target: ``(B, 3, H, W)``, 0..1.
            generator: source of all randomness, on the CPU.

        Returns:
            Inputs of the same shape, multiples of 1/255.
        """
        count, _, height, width = target.shape

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            shape = shape or (1, 1, 1)
            return (torch.rand(count, *shape, generator=generator) * (high - low) + low).to(target.device)

        def chosen(share: float) -> Tensor:
            return uniform(0, 1) < share

        shoulder = torch.where(chosen(0.3), torch.zeros(()), uniform(math.log(0.5), math.log(60)).exp())
        curve = CameraCurve(uniform(1.9, 2.4), shoulder, 1 + 0.63 * shoulder / (shoulder + 4))
        scene = curve.to_scene(target)

        luma = (scene * torch.tensor(LUMA, device=scene.device).view(3, 1, 1)).sum(1, keepdim=True)
        stops = luma.clamp_min(1e-4).log2()
        radius = max(1, round(min(height, width) * float(uniform(0.04, 0.15)[0])))
        base = edge_aware_mean(stops, radius, uniform(math.log(0.05), math.log(4)).exp())
        stretch = torch.where(chosen(self.range_share), uniform(0, 1.0), torch.zeros(()))
        shift = stretch * (base - base.mean((2, 3), keepdim=True)) + uniform(*self.ev) * curve.slope

        field = F.interpolate(uniform(-1, 1, 1, 3, 3), (height, width), mode="bicubic", align_corners=True)
        shift = shift + torch.where(chosen(self.local_share), uniform(0.5, 2), torch.zeros(())) * field

        balance = torch.where(chosen(0.3), 0.15 * (uniform(0, 1, 3, 1, 1) - 0.5), torch.zeros(()))
        exposed = scene * (shift + balance).exp2()

        normal = torch.randn(target.shape, generator=generator).to(target.device)
        level = torch.where(chosen(0.5), uniform(0, 1), torch.zeros(()))
        noisy = exposed + normal * level * (1e-4 * exposed + 1e-6).sqrt()
        result = torch.where(chosen(self.kept_share), target, curve.to_display(noisy.clamp_min(0)))
        return (result * 255).round() / 255
