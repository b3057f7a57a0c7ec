"""Training losses (paper section 3.4), as sums over pixels and channels, one value per photo.

The paper takes their mean over a batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from ..method.pyramid import gaussian_pyramid, upsample


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 distance between the result and the target (paper equation 3).

    Args:
        output, target: ``(B, 3, H, W)``, 0..1.

    Returns:
        ``(B,)``: sum of absolute differences of each photo.
    """
    return (output - target).abs().sum((1, 2, 3))


def pyramid_loss(outputs: Sequence[Tensor], target: Tensor) -> Tensor:
    """Weighted L1 distance between each coarser output and the target's Gaussian pyramid (paper equation 2).

    ``Y(l)`` is compared with level ``l`` of the target, upsampled by two, with weight ``2 ** (l - 2)``.

    Args:
        outputs: ``Y(2) .. Y(n)``, finest first; ``Y(2)`` has the target's size.
        target: ``(B, 3, H, W)``, 0..1.

    Returns:
        ``(B,)``: weighted sum of absolute differences of each photo.
    """
    gaussian = gaussian_pyramid(target, len(outputs) + 1)
    total = target.new_zeros(target.shape[0])
    for index, output in enumerate(outputs):
        wanted = upsample(gaussian[index + 1], gaussian[index].shape[2:])
        total = total + 2**index * (output - wanted).abs().sum((1, 2, 3))
    return total


def well_exposed_loss(logit: Tensor, image: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the decision that a photo is well exposed, which is true where input and target agree.

    Args:
        logit: ``(B,)``.
        image, target: ``(B, 3, H, W)``, 0..1.

    Returns:
        ``(B,)``: times the number of a photo's values, as the other losses are sums over them.
    """
    kept = (image - target).abs().amax((1, 2, 3)) < 1 / 255
    entropy = F.binary_cross_entropy_with_logits(logit, kept.float(), reduction="none")
    return entropy * target[0].numel()


def consistency_loss(output: Tensor) -> Tensor:
    """L1 distance between the results of two exposures of one photo (not the paper's).

    Args:
        output: ``(2 B, 3, H, W)``, the two results of a photo one after the other.

    Returns:
        ``(2 B,)``: sum of absolute differences, for each of the two.
    """
    return reconstruction_loss(output[0::2], output[1::2]).repeat_interleave(2)


# The paper weighs its adversarial term against sums of differences in 0..255; the values here are 0..1.
REFERENCE_SCALE = 255


def adversarial_loss(logits: Tensor, pixels: int, levels: int) -> Tensor:
    """How far the discriminator is from mistaking results for well-exposed photos (paper equation 4).

    ``-3 * h * w * n * log(sigmoid(D(Y)))``, with ``h * w`` pixels and ``n`` pyramid levels, scaled from the
    reference's 0..255 to the other losses here.

    Args:
        logits: the discriminator's logits of the results, ``(B,)``.
        pixels: ``h * w``.
        levels: ``n``.

    Returns:
        ``(B,)``.
    """
    return 3 * pixels * levels / REFERENCE_SCALE * F.softplus(-logits)


def discriminator_loss(real: Tensor, made: Tensor) -> Tensor:
    """Log loss of the discriminator (paper section 3.4).

    Args:
        real: logits of well-exposed photos, ``(B,)``.
        made: logits of the network's results, ``(B,)``.

    Returns:
        Scalar: the sum of the two means; 2 log 2 for a discriminator that cannot tell them apart.
    """
    return F.softplus(-real).mean() + F.softplus(made).mean()
