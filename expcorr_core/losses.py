"""Training losses (paper section 3.4), as sums over pixels and channels, divided by the batch size."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .pyramid import gaussian_pyramid, upsample


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 distance between the result and the target (paper equation 3).

    Args:
        output, target: ``(B, 3, H, W)``, 0..1.

    Returns:
        Scalar: sum of absolute differences, divided by B.
    """
    return (output - target).abs().sum() / output.shape[0]


def pyramid_loss(outputs: Sequence[Tensor], target: Tensor) -> Tensor:
    """Weighted L1 distance between each coarser output and the target's Gaussian pyramid (paper equation 2).

    ``Y(l)`` is held against level ``l`` of the target, upsampled by two, with weight ``2 ** (l - 2)``.

    Args:
        outputs: ``Y(2) .. Y(n)``, finest first; ``Y(2)`` has the target's size.
        target: ``(B, 3, H, W)``, 0..1.

    Returns:
        Scalar: weighted sum of absolute differences, divided by B.
    """
    gaussian = gaussian_pyramid(target, len(outputs) + 1)
    total = target.new_zeros(())
    for index, output in enumerate(outputs):
        wanted = upsample(gaussian[index + 1], gaussian[index].shape[2:])
        total = total + 2**index * (output - wanted).abs().sum()
    return total / target.shape[0]
