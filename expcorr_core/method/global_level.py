"""The global level: what the whole photo says, as one tone curve for each channel and one mix of the channels.

In the pyramid's terms this is the level above the coarsest, one pixel wide. The paper's U-Nets paint the answer pixel
by pixel, from what lies around it; but most of an exposure error is the same all over the photo. So here the statistics
of the whole photo and a small picture of it are pooled to some dozens of numbers: increments of monotone curves (as in
CURL and HDRNet's global branch), an exponent before them, and a 3x3 matrix after them. At the start of a training run
they are the identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..image.colour import luminance
from ..image.exposure import power
from ..image.resize import sample
from .contrast import LEAST_RANGE, widened

SAMPLED = 256  # largest side of the grid of pixels that the statistics are taken of
SMALL = 32  # side of the picture that the convolutions see
KNOTS = 24  # increments of a curve
OVERSHOOT = 0.01  # by which curves may leave 0..1 at both ends, so that the mix can reach them
FLAT = (0.02, 0.04)  # a range up to the first is that of a blank frame, in which there is nothing to correct
NEUTRAL = 5  # white gets its value, and with this power of the smallest channel what is nearly white
DARKEST = 1e-4  # exponents are taken of values from here on
BINS = 8  # of luma, for the shares and the chroma among the statistics
# From this confidence on that a photo is well exposed it is left more and more as it is; entirely from the second on.
WELL_EXPOSED = (0.8, 0.95)
# From this confidence on its white is darkened less; from the second on not at all. Over-exposed photos have to give it
# up, since what they show as white was none.
WHITE_STAYS = (0.25, 0.4)
WELL_EXPOSED_PRIOR = -1.4  # logit of a fifth
QUANTILES = (0, 0.001, 0.005, 0.01, 0.02, *(k / 20 for k in range(1, 20)), 0.98, 0.99, 0.995, 0.999, 1)
STATISTICS = 4 * len(QUANTILES) + 6 + 2 * BINS + 4
LOW, HIGH = QUANTILES.index(0.001), QUANTILES.index(0.999)


@dataclass(frozen=True)
class GlobalArchitecture:
    """Sizes of a :class:`GlobalNetwork`.

    Attributes:
        channels: of the first convolution; they double twice.
        hidden: width of the layers that see the statistics; the last ones are twice as wide.
    """

    channels: int = 24
    hidden: int = 128

    def __post_init__(self) -> None:
        if min(self.channels, self.hidden) < 1:
            raise ValueError(f"channels and hidden must be positive, got {self.channels} and {self.hidden}")

    def to_dict(self) -> dict[str, int]:
        return {"channels": self.channels, "hidden": self.hidden}

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Sequence[int]]) -> GlobalArchitecture:
        """Read the sizes off the shapes of a state dict.

        Raises:
            ValueError: the keys are not those of a :class:`GlobalNetwork`.
        """
        try:
            return cls(shapes["blocks.0.convolution.weight"][0], shapes["statistics.0.weight"][0])
        except (KeyError, IndexError):
            raise ValueError("the tensors are not those of a global exposure correction network") from None


@dataclass(frozen=True, kw_only=True, eq=False)  # tensors have no equality that a dataclass could use
class ToneCurves:
    """A change of colours that is the same all over a photo; the first axis of all tensors counts photos.

    Attributes:
        range: ``(B, 2)``, what is stretched to 0..1 first.
        exponent: ``(B,)``, of all values after that.
        curves: ``(B, 3, KNOTS + 1)``, increasing: values of R, G and B at evenly spaced places of 0..1.
        mix: ``(B, 3, 3)``, added to the curves' results: how much of each channel each channel gets.
        white: ``(B,)``, how far white stays as bright as it was, 0..1.
        kept: ``(B,)``, share of the photo as it was, 0..1.
    """

    range: Tensor
    exponent: Tensor
    curves: Tensor
    mix: Tensor
    white: Tensor
    kept: Tensor

    def mean(self, other: ToneCurves) -> ToneCurves:
        """The mean of two changes of the same photos."""
        both = {field.name: (getattr(self, field.name) + getattr(other, field.name)) / 2 for field in fields(self)}
        return ToneCurves(**both)

    def apply(self, image: Tensor) -> Tensor:
        """Change images ``(B, 3, H, W)``, 0..1, of the photos that the curves are of; the result is not clamped."""
        exponent, kept = (t.view(-1, 1, 1, 1) for t in (self.exponent, self.kept))
        stretched = _stretched(image, self.range).clamp_min(DARKEST)
        place = power(stretched, exponent) * KNOTS
        below = place.detach().floor().clamp(max=KNOTS - 1)
        index = below.long().flatten(2)
        first, second = (self.curves.gather(2, index + k).view_as(image) for k in (0, 1))
        toned = torch.lerp(first, second, place - below)
        mixed = toned + torch.einsum("bij,bjhw->bihw", self.mix, toned)
        white = self.curves[..., -1] + torch.einsum("bij,bj->bi", self.mix, self.curves[..., -1])
        neutral = white.amax(1, keepdim=True)
        wanted = neutral + self.white[:, None] * (self.range[:, 1:] - neutral).clamp_min(0)
        mixed = mixed + (wanted - white)[..., None, None] * stretched.amin(1, keepdim=True) ** NEUTRAL
        return torch.lerp(mixed, image, kept)


class _Block(nn.Module):
    """A convolution whose result is scaled and shifted by what the statistics say (FiLM)."""

    def __init__(self, inputs: int, outputs: int, stride: int, hidden: int, ops: Any) -> None:
        super().__init__()
        self.convolution = ops.Conv2d(inputs, outputs, 3, stride, 1)
        self.modulation = ops.Linear(hidden, 2 * outputs)
        self.residual = inputs == outputs and stride == 1

    def forward(self, x: Tensor, statistics: Tensor) -> Tensor:
        scale, shift = self.modulation(statistics)[..., None, None].chunk(2, 1)
        y = F.leaky_relu(self.convolution(x) * (1 + scale) + shift, 0.1)
        return x + y if self.residual else y


class GlobalNetwork(nn.Module):
    """From the whole photo to :class:`ToneCurves`; 0.66 million parameters with the default architecture.

    Args:
        architecture: its sizes.
        operations: namespace that holds ``Conv2d`` and ``Linear``: ``torch.nn`` to train and run, ComfyUI's casting
            layers in its nodes.
    """

    mean: Tensor
    spread: Tensor
    normalised = False  # it stretches the range itself

    def __init__(self, architecture: GlobalArchitecture | None = None, operations: Any = nn) -> None:
        super().__init__()
        self.training_record: dict[str, Any] = {}  # how its weights were made
        self.architecture = architecture or GlobalArchitecture()
        width, hidden = self.architecture.channels, self.architecture.hidden
        self.register_buffer("mean", torch.zeros(STATISTICS))
        self.register_buffer("spread", torch.ones(STATISTICS))
        self.statistics = nn.Sequential(
            operations.Linear(STATISTICS, hidden), nn.SiLU(), operations.Linear(hidden, hidden), nn.SiLU()
        )
        sizes = [(6, 1, 1), (1, 2, 2), (2, 2, 1), (2, 4, 2), (4, 4, 1), (4, 4, 2), (4, 4, 1)]
        self.blocks = nn.ModuleList(
            _Block(inputs if index == 0 else inputs * width, outputs * width, stride, hidden, operations)
            for index, (inputs, outputs, stride) in enumerate(sizes)
        )
        self.summary = nn.Sequential(
            operations.Linear(8 * width + hidden, 2 * hidden), nn.SiLU(),
            operations.Linear(2 * hidden, 2 * hidden), nn.SiLU(),
        )  # fmt: skip
        self.curves = operations.Linear(2 * hidden, 3 * KNOTS)
        self.mix = operations.Linear(2 * hidden, 9)
        self.exponent = operations.Linear(2 * hidden, 1)
        self.well_exposed = operations.Linear(2 * hidden, 1)

    def initialise(self) -> None:
        """Set the starting values of a training run (draws from torch's global generator): those of the identity."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.reset_parameters()
            still = [self.curves, self.mix, self.exponent, self.well_exposed]
            for layer in (*still, *(block.get_submodule("modulation") for block in self.blocks)):
                layer.get_parameter("weight").zero_()
                layer.get_parameter("bias").zero_()
            # The share of well-exposed photos in training. The bias would take a thousand steps to find it, and until
            # then all layers would be pulled towards it.
            self.well_exposed.get_parameter("bias").fill_(WELL_EXPOSED_PRIOR)

    def normalise(self, statistics: Tensor) -> None:
        """Take mean and spread of the statistics of many photos ``(N, STATISTICS)`` for all that follow."""
        self.mean.copy_(statistics.mean(0))
        self.spread.copy_(statistics.std(0) + 1e-3)

    def forward(
        self, image: Tensor, dtype: torch.dtype = torch.float32, values: Tensor | None = None
    ) -> tuple[ToneCurves, Tensor]:
        """Look at photos as they are.

        Args:
            image: ``(B, 3, h, w)`` float32, 0..1, of the size that clipping still shows in: some 512 pixels.
            dtype: precision of convolutions and matrix products.
            values: the photos' statistics where they are known.

        Returns:
            The change of each photo, in float32, with ``white`` 0, and ``kept`` 0 but for blank frames; and ``(B,)``
            how surely it is well exposed, as a logit.
        """
        pixels = _sampled(image)
        values = photo_statistics(pixels) if values is None else values
        bounds = photo_range(values)
        small = F.adaptive_avg_pool2d(pixels, SMALL)
        mean, spread = (t.to(values.device, torch.float32) for t in (self.mean, self.spread))
        known = self.statistics(((values - mean) / spread).clamp(-5, 5).to(dtype))
        seen = (torch.cat((_stretched(small, bounds), small), 1) - 0.5).to(dtype)
        for block in self.blocks:
            seen = block(seen, known)
        summary = self.summary(torch.cat((seen.mean((2, 3)), seen.amax((2, 3)), known), 1))
        increments = self.curves(summary).float().view(-1, 3, KNOTS).softmax(2)
        curves = F.pad(increments.cumsum(2), (1, 0)) * (1 + 2 * OVERSHOOT) - OVERSHOOT
        mix = self.mix(summary).float().view(-1, 3, 3)
        exponent = self.exponent(summary).float().exp().flatten()
        found = ToneCurves(
            range=bounds,
            exponent=exponent,
            curves=curves,
            mix=mix,
            white=torch.zeros_like(exponent),
            kept=blankness(values),
        )
        return found, self.well_exposed(summary).float().flatten()

    def find(self, image: Tensor, flip: bool = False, dtype: torch.dtype = torch.float32) -> tuple[ToneCurves, Tensor]:
        """The change of each photo, of which well-exposed ones are left as they are, and likely ones keep their white.

        Args:
            image, dtype: as in :meth:`forward`.
            flip: average with the mirrored photos (flip self-ensemble).

        Returns:
            The changes, and ``(B,)`` the probability that each photo is well exposed.
        """
        pixels = _sampled(image)  # whose own sample is the same
        values = photo_statistics(pixels)
        found, logit = self.forward(pixels, dtype, values)
        if flip:
            mirrored, other = self.forward(image.flip(3), dtype, values)
            found = found.mean(mirrored)
            logit = (logit + other) / 2
        probability = logit.sigmoid()
        kept, white = (
            ((probability - first) / (last - first)).clamp(0, 1) for first, last in (WELL_EXPOSED, WHITE_STAYS)
        )
        return replace(found, white=white, kept=torch.maximum(found.kept, kept)), probability

    def parameter_count(self) -> int:
        """Number of trainable values."""
        return sum(p.numel() for p in self.parameters())


def _sampled(image: Tensor) -> Tensor:
    return sample(image, *(min(SAMPLED, side) for side in image.shape[2:]))


def photo_statistics(image: Tensor) -> Tensor:
    """What the network is told of the colours of whole photos.

    Args:
        image: ``(B, 3, h, w)``, 0..1.

    Returns:
        ``(B, STATISTICS)``: quantiles of R, G, B and luma; shares of values, of pixels in any and of pixels in all
        channels that are white, and that are black; shares and mean chroma of eight bins of luma; mean and spread of
        chroma and luma.
    """
    batch = len(image)
    red, green, blue = image.flatten(2).unbind(1)
    luma = luminance(image).flatten(1)
    pixels = luma.shape[1]
    brightest = torch.maximum(torch.maximum(red, green), blue)
    darkest = torch.minimum(torch.minimum(red, green), blue)
    # One histogram of each channel, the luma, and the largest and smallest channel tells nearly everything.
    kinds = 6
    levels = (torch.stack((red, green, blue, luma, brightest, darkest), 1) * 255).round_().int()
    levels += torch.arange(0, kinds * 256 * batch, 256, dtype=torch.int32, device=image.device).view(batch, kinds, 1)
    counts = torch.bincount(levels.flatten(), minlength=batch * kinds * 256).view(batch, kinds, 256).float() / pixels
    shares = counts[:, :4].cumsum(2).flatten(0, 1)
    wanted = torch.tensor(QUANTILES, device=image.device).sub(1e-6).clamp_min(1e-9).expand(len(shares), -1)
    quantiles = torch.searchsorted(shares, wanted.contiguous()).clamp_max(255).view(batch, -1) / 255
    ends = [(counts[:, :3, end].mean(1), counts[:, 4, end], counts[:, 5, end]) for end in (255, 0)]
    chroma = brightest - darkest
    bins = (luma * (BINS - 1e-3)).int() + torch.arange(0, batch * BINS, BINS, device=image.device, dtype=torch.int32)[
        :, None
    ]
    filled = torch.bincount(bins.flatten(), minlength=batch * BINS).view(batch, BINS).float()
    coloured = torch.bincount(bins.flatten(), chroma.flatten(), batch * BINS).view(batch, BINS).float()
    moments = [moment for values in (chroma, luma) for moment in (values.mean(1), values.std(1, correction=0))]
    return torch.cat(
        (
            quantiles,
            torch.stack((*ends[0], *ends[1]), 1),
            filled / pixels,
            coloured / (filled + 1),
            torch.stack(moments, 1),
        ),
        1,
    )


def _extremes(statistics: Tensor) -> tuple[Tensor, Tensor]:
    channels = statistics[:, : 3 * len(QUANTILES)].view(len(statistics), 3, -1)
    return channels[..., LOW].amin(1), channels[..., HIGH].amax(1)


def blankness(statistics: Tensor) -> Tensor:
    """``(B,)``: 1 for frames without any range, such as fades and title cards, 0 for photos."""
    low, high = _extremes(statistics)
    return ((FLAT[1] - (high - low)) / (FLAT[1] - FLAT[0])).clamp(0, 1)


def photo_range(statistics: Tensor) -> Tensor:
    """Where each photo's range begins and ends, ``(B, 2)``: 0.1 % of a channel's values lie below and above."""
    return torch.stack(widened(*_extremes(statistics), LEAST_RANGE), 1)


def _stretched(image: Tensor, bounds: Tensor) -> Tensor:
    low, high = bounds.view(-1, 2, 1, 1, 1).unbind(1)
    return ((image - low) / (high - low)).clamp(0, 1)
