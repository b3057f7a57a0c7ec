"""Wrong exposures made from well-exposed photos, at random; the camera curve is that of :mod:`..image.exposure`."""

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
from ..image.exposure import CameraCurve
from ..photos.photo import Photo


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


@dataclass(frozen=True, kw_only=True)
class ExposureSimulator:
    """Makes a wrongly exposed input from a well-exposed target, at random.

    In this order: the curve undone; the scene's large-scale dynamic range widened, so that both ends clip as in scenes
    that exceed the camera's range; an exposure shift, which may vary over the picture (a part over, another under);
    white balance and sensor noise; the curve; a flatter rendering (less contrast and saturation); JPEG; rounding to
    8 bits. Some inputs equal the target up to rounding: well-exposed photos must stay unchanged.

    Attributes:
        ev_low, ev_high: lowest and highest exposure shift, stops; uniform in between.
        ev_gap: smaller shifts are not drawn, so that a photo is clearly either wrongly or well exposed.
        near_share: share of the shifts that are drawn from a normal distribution of one stop around 0 instead.
        clip_share: share of the cameras that clip hard; the others have a shoulder.
        range_low, range_high: how much the range is widened, as a share of itself; uniform in between.
        kept_share, range_share, local_share, flat_share, jpeg_share: probabilities of the steps above, 0..1.
    """

    ev_low: float = -3.4
    ev_high: float = 2.8
    ev_gap: float = 0.0
    near_share: float = 0.15
    kept_share: float = 0.125
    clip_share: float = 0.3
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

    def __call__(self, target: Tensor, rng: np.random.Generator) -> Tensor:
        """Make the input of one target.

        Args:
            target: ``(3, H, W)``, 0..1.
            rng: source of all randomness.

        Returns:
            Input of the same shape, multiples of 1/255.
        """
        if rng.random() < self.kept_share:
            return _rounded(target)
        curve = self.draw_curve(rng)
        exposed = self._expose(target, curve, rng)
        level = rng.random() if rng.random() < 0.5 else 0.0
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(target.shape, generator=generator) * level * (1e-4 * exposed + 1e-6).sqrt()
        shown = curve.to_display((exposed + noise).clamp_min(0))
        if rng.random() < self.flat_share:
            grey = luma(shown)
            black, white = rng.uniform(0, 0.06), rng.uniform(0.9, 1)
            shown = (black + (white - black) * (grey + (shown - grey) * rng.uniform(0.6, 1.05))).clamp(0, 1)
        if rng.random() < self.jpeg_share:
            shown = _through_jpeg(shown, int(rng.integers(70, 97)))
        return _rounded(shown)

    def draw_curve(self, rng: np.random.Generator) -> CameraCurve:
        """A camera between a hard clip and a long shoulder; the fitted slope applies to long shoulders."""
        shoulder = 0.0 if rng.random() < self.clip_share else math.exp(rng.uniform(math.log(0.5), math.log(60)))
        return CameraCurve(rng.uniform(1.9, 2.4), shoulder, 1 + 0.63 * shoulder / (shoulder + 4))

    def draw_shift(self, rng: np.random.Generator) -> float:
        """An exposure shift, stops."""
        while True:
            ev = rng.uniform(self.ev_low, self.ev_high)
            if rng.random() < self.near_share:
                ev = min(max(rng.standard_normal(), self.ev_low), self.ev_high)
            if abs(ev) >= self.ev_gap:
                return float(ev)

    def _expose(self, target: Tensor, curve: CameraCurve, rng: np.random.Generator) -> Tensor:
        """Scene light as the sensor gets it, ``(3, H, W)``."""
        height, width = target.shape[1:]
        scene = curve.to_scene(target)
        shift = torch.full((1, height, width), self.draw_shift(rng) * float(curve.slope))
        if rng.random() < self.range_share:
            radius = max(1, round(min(height, width) * rng.uniform(0.04, 0.15)))
            variance = torch.tensor(math.exp(rng.uniform(math.log(0.05), math.log(4))))
            base = edge_aware_mean(luma(scene).clamp_min(1e-4).log2()[None], radius, variance)[0]
            shift = shift + rng.uniform(self.range_low, self.range_high) * (base - base.mean())
        if rng.random() < self.local_share:
            knots = torch.from_numpy(rng.uniform(-1, 1, (1, 1, 3, 3))).float()
            varying = F.interpolate(knots, (height, width), mode="bicubic", align_corners=True)[0]
            shift = shift + rng.uniform(0.5, 2) * varying
        if rng.random() < 0.3:
            shift = shift + torch.from_numpy(rng.uniform(-0.075, 0.075, (3, 1, 1))).float()  # white balance
        return scene * shift.exp2()


def _rounded(image: Tensor) -> Tensor:
    return (image * 255).round() / 255


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    """An image after JPEG compression."""
    file = io.BytesIO()
    Image.fromarray(Photo.from_tensor(image[None]).pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as decoded:
        return torch.from_numpy(np.array(decoded)).permute(2, 0, 1).float() / 255
