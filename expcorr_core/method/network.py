"""The coarse-to-fine network: one U-Net for each level of a Laplacian pyramid (paper section 3.3).

With ``X(1..n)`` the pyramid of the input, finest first, ``U(l)`` the U-Net of level ``l`` and ``T(l)`` a
trainable 2x2 transposed convolution that doubles the size::

    Y(n) = T(n)(U(n)(X(n)))
    Y(l) = T(l)(U(l)(Y(l+1) + X(l)) + Y(l+1))        for l = n-1 .. 2
    Y    =      U(1)(Y(2)   + X(1)) + Y(2)

The coarsest U-Net corrects the colours, the finer ones add detail. With ``n = 1`` it is one plain U-Net.
Values are sRGB in 0..1 here (the reference program scales them to 0..255).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Sizes of the reference program, finest level first; 7,015,449 parameters in total.
DEFAULT_DEPTHS = (3, 3, 3, 4)
DEFAULT_CHANNELS = (16, 24, 24, 24)
MOST_HALVINGS = 16  # 65,536 pixels become one
LEAK = 0.2  # slope of LeakyReLU below zero


@dataclass(frozen=True)
class Architecture:
    """Sizes of an :class:`ExposureNetwork`, one value per level, finest level first.

    Attributes:
        depths: number of encoder stages of each U-Net (each halves the size once).
        channels: channels of each U-Net's first stage; they double with every stage.
    """

    depths: tuple[int, ...] = DEFAULT_DEPTHS
    channels: tuple[int, ...] = DEFAULT_CHANNELS

    def __post_init__(self) -> None:
        if not self.depths or len(self.depths) != len(self.channels):
            raise ValueError(
                f"depths and channels must have one entry per level, got {len(self.depths)} and {len(self.channels)}"
            )
        if min(self.depths) < 1 or min(self.channels) < 1:
            raise ValueError(f"depths and channels must be positive, got {self.depths} and {self.channels}")
        if max(level + depth for level, depth in enumerate(self.depths)) > MOST_HALVINGS:
            raise ValueError(
                f"levels and stages may halve a photo {MOST_HALVINGS} times, got {self.levels} levels of up to "
                f"{max(self.depths)} stages"
            )

    @property
    def levels(self) -> int:
        """Number of pyramid levels ``n``."""
        return len(self.depths)

    @property
    def multiple(self) -> int:
        """Height and width of the input must be divisible by this (128 by default)."""
        return max(1 << (level + depth) for level, depth in enumerate(self.depths))

    def to_dict(self) -> dict[str, list[int]]:
        return {key: list(value) for key, value in asdict(self).items()}

    @classmethod
    def of_levels(cls, levels: int) -> Architecture:
        """The paper's ablation (section 4.4): the default sizes with ``levels`` = 1..4 levels.

        The coarsest U-Net keeps its size whatever the level count; ``levels = 1`` is the plain U-Net.
        """
        if not 1 <= levels <= len(DEFAULT_DEPTHS):
            raise ValueError(f"levels must be 1..{len(DEFAULT_DEPTHS)}, got {levels}")
        finer = levels - 1
        return cls(DEFAULT_DEPTHS[:finer] + DEFAULT_DEPTHS[-1:], DEFAULT_CHANNELS[:finer] + DEFAULT_CHANNELS[-1:])

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, Sequence[int]]) -> Architecture:
        """Derive the sizes from the shapes in a state dict.

        Raises:
            ValueError: the keys are not those of an :class:`ExposureNetwork`.
        """
        stages: dict[int, set[int]] = {}
        channels: dict[int, int] = {}
        for key, shape in shapes.items():
            match = re.fullmatch(r"unets\.(\d+)\.encoder\.(\d+)\.0\.weight", key)
            if match and len(shape) == 4:
                level, stage = int(match[1]), int(match[2])
                stages.setdefault(level, set()).add(stage)
                if stage == 0:
                    channels[level] = shape[0]
        gapless = all(sorted(found) == list(range(len(found))) for found in (stages, *stages.values()))
        if not stages or not gapless:
            raise ValueError("the tensors are not those of an exposure correction network")
        order = range(len(stages))
        return cls(tuple(len(stages[i]) for i in order), tuple(channels[i] for i in order))


def _double_conv(inputs: int, outputs: int, ops: Any) -> nn.Sequential:
    return nn.Sequential(
        ops.Conv2d(inputs, outputs, 3, padding=1),
        nn.LeakyReLU(LEAK, inplace=True),
        ops.Conv2d(outputs, outputs, 3, padding=1),
        nn.LeakyReLU(LEAK, inplace=True),
    )


class UNet(nn.Module):
    """U-Net of one pyramid level: no normalisation, no dropout (reference program).

    Args:
        depth: number of encoder stages; height and width must be divisible by ``2 ** depth``.
        channels: channels of the first stage, doubled with every stage.
        operations: namespace that holds ``Conv2d`` and ``ConvTranspose2d`` (``torch.nn`` or ComfyUI's).

    Shape:
        ``(B, 3, H, W)`` to ``(B, 3, H, W)``.
    """

    def __init__(self, depth: int, channels: int, operations: Any = nn) -> None:
        super().__init__()
        widths = [channels * 2**stage for stage in range(depth + 1)]
        self.encoder = nn.ModuleList(
            _double_conv(inputs, outputs, operations)
            for inputs, outputs in zip([3, *widths], widths[:depth], strict=False)
        )
        self.bridge = _double_conv(widths[-2], widths[-1], operations)
        self.up = nn.ModuleList(
            operations.ConvTranspose2d(2 * width, width, 2, stride=2) for width in reversed(widths[:depth])
        )
        self.decoder = nn.ModuleList(_double_conv(2 * width, width, operations) for width in reversed(widths[:depth]))
        self.head = operations.Conv2d(channels, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bridge(x)
        for up, stage in zip(self.up, self.decoder, strict=True):
            x = stage(torch.cat((up(x).relu_(), skips.pop()), 1))
        result: Tensor = self.head(x)
        return result


def _pass_through(unet: nn.Module, detail: bool) -> None:
    """Initialise a U-Net to return its input, or only the input's ``detail``, through its first skip connection.

    LeakyReLU keeps a value only in a pair of channels, one of them negated: ``a(x) - a(-x) = (1 + LEAK) x``.
    """
    encoder, decoder = (unet.get_submodule(name) for name in ("encoder.0", f"decoder.{len(unet.decoder) - 1}"))  # type: ignore[arg-type]
    first, second, third, fourth = (stage.get_parameter(f"{i}.weight") for stage in (encoder, decoder) for i in (0, 2))
    head = unet.get_parameter("head.weight")
    if detail:
        head.zero_()
    if first.shape[0] < 6:
        return
    tap = torch.zeros(3, 3)
    tap[1, 1] = 1
    if detail:
        tap -= torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])) / 16
    keep = torch.zeros(3, 3)
    keep[1, 1] = 1 / (1 + LEAK)
    head.zero_()
    for weight in (first, second, third, fourth):
        weight[:6] = 0
    for colour in range(3):
        for place, sign in ((colour, 1), (colour + 3, -1)):
            first[place, colour] = sign * tap
            for weight, offset in ((second, 0), (third, third.shape[1] // 2), (fourth, 0)):
                weight[place, offset + colour] = sign * keep
                weight[place, offset + colour + 3] = -sign * keep
            head[colour, place] = sign / (1 + LEAK)


class ExposureNetwork(nn.Module):
    """The coarse-to-fine network; 7,015,449 parameters with the default architecture.

    Args:
        architecture: level count, depths and channels.
        operations: namespace that holds ``Conv2d`` and ``ConvTranspose2d``: ``torch.nn`` to train and run,
            ComfyUI's casting layers in its nodes.
        normalised: whether it expects photos with a normalised range (see :func:`~.contrast.normalise_range`).
    """

    def __init__(
        self, architecture: Architecture | None = None, operations: Any = nn, normalised: bool = False
    ) -> None:
        super().__init__()
        self.normalised = normalised
        self.training_record: dict[str, Any] = {}  # how its weights were made
        self.architecture = architecture or Architecture()
        depths, channels = self.architecture.depths, self.architecture.channels
        self.unets = nn.ModuleList(UNet(d, c, operations) for d, c in zip(depths, channels, strict=True))
        # transitions[l - 1] doubles the output of level l (0 is the finest, which needs none).
        self.transitions = nn.ModuleList(operations.ConvTranspose2d(3, 3, 2, stride=2) for _ in depths[1:])

    def initialise(self) -> None:
        """Set the starting values of a training run (draws from torch's global generator).

        He's initialisation, but for the shortest way through each U-Net, which starts as a copy of the input at the
        coarsest level, and of its fine detail at the others; each transition starts as nearest-neighbour doubling.
        So training begins from a network that gives the photo back.
        """
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.kaiming_normal_(module.weight, a=LEAK)
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
            for transition in self.transitions:
                transition.get_parameter("weight").copy_(torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2))
            for level, unet in enumerate(self.unets, 1):
                _pass_through(unet, detail=level < self.architecture.levels)

    def forward(self, pyramid: Sequence[Tensor | None], finest: int = 1) -> list[Tensor]:
        """Run the levels from the coarsest to ``finest``.

        Args:
            pyramid: Laplacian pyramid of the input in 0..1, finest level first, ``n`` tensors ``(B, 3, h, w)``;
                the input's height and width must be divisible by ``architecture.multiple``. Levels finer than
                ``finest`` are not used and may be None.
            finest: last level to run, 1..n; above 1 the result is smaller (coarse-to-fine training).

        Returns:
            The outputs ``Y(n) .. Y(finest)``, coarsest first, not clamped. ``Y(l)`` has the size of level
            ``l - 1``; ``Y(1)`` has full size.

        Raises:
            ValueError: wrong level count or a size that is not divisible.
        """
        levels = self.architecture.levels
        if len(pyramid) != levels or not 1 <= finest <= levels:
            raise ValueError(f"the network has {levels} levels, got {len(pyramid)} bands and finest = {finest}")
        outputs: list[Tensor] = []
        for level in range(levels, finest - 1, -1):
            band = pyramid[level - 1]
            divisor = 2 ** self.architecture.depths[level - 1]
            if band is None or band.shape[2] % divisor or band.shape[3] % divisor:
                size = None if band is None else tuple(band.shape[2:])
                raise ValueError(f"level {level} has size {size}, but it must be divisible by {divisor}")
            unet = self.unets[level - 1]
            y = unet(outputs[-1] + band) + outputs[-1] if outputs else unet(band)
            outputs.append(self.transitions[level - 2](y) if level > 1 else y)
        return outputs

    def parameter_count(self) -> int:
        """Number of trainable values."""
        return sum(p.numel() for p in self.parameters())
