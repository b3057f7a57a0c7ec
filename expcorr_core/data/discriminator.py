"""The discriminator of the adversarial loss (paper section 3.4; sizes of the reference program)."""

from __future__ import annotations

from torch import Tensor, nn

from ..image.resize import resize

INPUT_SIZE = 256  # images of any size are resized to it
CHANNELS = (8, 16, 32, 64, 128, 128, 256)
NORMALISED = 1  # the one convolution that batch normalisation follows
SLOPE = 0.01  # of LeakyReLU


class Discriminator(nn.Module):
    """Tells well-exposed photos (a positive logit) from corrected ones (a negative one).

    Seven 4x4 convolutions of stride 2, then a 2x2 one of stride 2 to a single logit.

    Shape:
        ``(B, 3, H, W)`` in 0..1, any size, to ``(B,)``; several images give several results, so that one
        call handles real and corrected photos under ``DistributedDataParallel``.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(zip((3, *CHANNELS), CHANNELS, strict=False)):
            layers.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1))
            if index == NORMALISED:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(SLOPE))
        self.layers = nn.Sequential(*layers, nn.Conv2d(CHANNELS[-1], 1, 2, stride=2))

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self._logit(image) for image in images)

    def _logit(self, image: Tensor) -> Tensor:
        size = (INPUT_SIZE, INPUT_SIZE)
        if image.shape[2:] != size:
            image = resize(image, size)
        logit: Tensor = self.layers(image).flatten()
        return logit
