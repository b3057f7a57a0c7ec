"""Bilateral guided upsampling: carry an image operator from low to full resolution (Chen et al., SIGGRAPH Asia 2016).

A grid of affine colour transforms over (y, x, luminance) is fitted to a low-resolution pair, before and after the
operator, and then sliced by a full-size image: each pixel gets the transform interpolated at its position and
luminance. Any operator that is locally an affine change of colour can be carried over; sharpness comes from the
full-size image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..image.arrays import Floats, array_of, empty_tensor
from ..image.checks import NOT_FINITE, check_image, check_same_shape, check_shape
from ..image.limits import Limits
from ..image.resize import resize
from .direct import MOST_PIXELS, fit_directly
from .iterative import FIT_BYTES, fit_bytes, fit_iteratively
from .nodes import DEFAULT_SIZE, strips_of
from .slicing import slice_image

FIT_SIZE = (200, 200)  # height and width of the pair that a grid is fitted to (reference program)


@dataclass(frozen=True, eq=False)  # tensors have no equality that a dataclass could use
class BilateralGrid:
    """Affine colour transforms over (y, x, luminance).

    Attributes:
        coefficients: ``(B, GH, GW, GD, 3, 4)`` float32; the last axis weighs R, G, B and 1.
        limits: what slicing may not do to any pixel; None for no limits.
    """

    coefficients: Tensor
    limits: Limits | None = None

    @classmethod
    def fit(
        cls,
        source: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        size: tuple[int, int, int] = DEFAULT_SIZE,
    ) -> BilateralGrid:
        """Fit a grid to image pairs: the exact minimum of the weighted least squares problem, up to a tiny ridge.

        The ridge pulls towards the identity, which is the result where the pair gives no information. The energy is the
        squared error of the sliced transforms over all pixels, plus squared first differences along x and y and second
        differences along luminance, with the reference program's weights. It is solved in float64 on the CPU (see
        :mod:`~expcorr_core.bilateral.energy`).

        Args:
            source: images before the operator, ``(B, 3, h, w)``, 0..1; about 200 x 200 pixels are enough.
            target: the same images after it, same shape.
            weight: of each pixel, ``(B, 1, h, w)``, 0 or more; None weights all equally.
            size: grid cells along y, x and luminance, at least 2 each.

        Returns:
            The grid, on ``source``'s device.

        Raises:
            ValueError: shapes do not match, the size is too small or too large, or a value is not finite.
        """
        check_image(source, "source")
        check_image(target, "target")
        check_same_shape(target, "target", source, "source")
        batch, _, height, width = source.shape
        if weight is not None and weight.shape != (batch, 1, height, width):
            raise ValueError(f"weight must have shape {(batch, 1, height, width)}, got {tuple(weight.shape)}")
        if min(size) < 2:
            raise ValueError(f"a grid needs at least 2 cells along every axis, got {size}")
        needed = fit_bytes(size)
        if needed > FIT_BYTES:
            raise ValueError(f"a grid of {size} cells would need {needed / 2**30:.0f} GiB to fit; use fewer cells")
        source64 = source.detach().cpu().double()
        change = target.detach().cpu().double() - source64
        if weight is None:
            weight64 = torch.ones_like(source64[:, :1])
        else:
            weight64 = weight.detach().cpu().double()
            if not (weight64.isfinite() & (weight64 >= 0)).all():
                raise ValueError("weight must be finite and not negative")
        solve = fit_directly if height * width <= MOST_PIXELS else fit_iteratively
        # Smoothness ignores the identity, so only the difference from it is fitted, towards zero.
        grids = [solve(*images, size) for images in zip(source64, change, weight64, strict=True)]
        identity = torch.eye(3, 4, dtype=torch.float64)
        return cls((torch.stack(grids) + identity).to(source.device, torch.float32))

    @classmethod
    def fit_reduced(
        cls,
        source: Tensor,
        target: Tensor,
        pair_size: tuple[int, int] = FIT_SIZE,
        size: tuple[int, int, int] = DEFAULT_SIZE,
    ) -> BilateralGrid:
        """Fit a grid to image pairs of any size, both resized to ``pair_size`` first.

        Args and errors as in :meth:`fit`; a pair's two images may differ in size. Fewer pixels give a smoother grid
        that is less disturbed by a target blurrier or noisier than its source.
        """
        check_image(source, "source")
        check_image(target, "target")
        return cls.fit(resize(source, pair_size), resize(target, pair_size), size=size)

    @classmethod
    def identity(cls, batch: int = 1, size: tuple[int, int, int] = DEFAULT_SIZE) -> BilateralGrid:
        """The grid that changes nothing."""
        return cls(torch.eye(3, 4).expand(batch, *size, 3, 4).clone())

    def blend(self, strength: float) -> BilateralGrid:
        """Interpolate between the identity (0) and this grid (1); slicing is linear in the grid."""
        identity = torch.eye(3, 4, device=self.coefficients.device)
        return self.having(torch.lerp(identity.expand_as(self.coefficients), self.coefficients, strength))

    def to(self, device: torch.device | str) -> BilateralGrid:
        """The same grid on another device."""
        return self.having(self.coefficients.to(device))

    def within(self, limits: Limits | None) -> BilateralGrid:
        """The same grid with other limits."""
        return replace(self, limits=limits)

    def having(self, coefficients: Tensor) -> BilateralGrid:
        """A grid of other coefficients with the same limits."""
        return replace(self, coefficients=coefficients)

    def slice(self, image: Tensor, out: Tensor | None = None, clamp: bool = True, path: str | None = None) -> Tensor:
        """Apply the grid to images of any size, in bounded memory.

        Differentiable in the image and the grid where one of them requires gradients.

        Args:
            image: ``(B, 3, H, W)`` floating-point, 0..1 (values beyond are clamped), any strides (a permuted
                ``(B, H, W, 3)`` is not copied), on the grid's device.
            out: tensor of the same shape to write into; None makes one with ``image``'s strides and type.
            clamp: limit the result to 0..1; affine transforms can leave it. A grid with limits always does.
            path: ``numba``, ``triton`` or ``torch``; None takes the fastest available. They agree within 1e-5.

        Returns:
            ``out``.

        Raises:
            ValueError: shapes do not match, the path is not available, or a value is not finite (``out`` is then
                undefined).
        """
        check_shape(image)
        grid = self.coefficients
        if image.shape[0] != grid.shape[0]:
            raise ValueError(f"the grid is for {grid.shape[0]} images, but {image.shape[0]} were given to slice")
        if out is None:
            out = _empty_like(image)
        else:
            check_same_shape(out, "out", image, "image")
        if self.limits:
            clamp = True
            image = image.clone() if out is image else image  # which the limits are compared with
        # Indexed, not unbound: autograd tracks writes into the former, not into the latter.
        if not all(slice_image(grid[i], image[i], out[i], clamp, path) for i in range(len(image))):
            raise ValueError(NOT_FINITE.format("image"))
        if self.limits:
            self.limits.apply(image, out)
        return out

    def slice_array(self, image: Floats) -> Floats:
        """The same as :meth:`slice` for an array, which it is written over."""
        shown = torch.from_numpy(image)
        return array_of(self.slice(shown, out=shown))

    def slice_beyond(self, image: Tensor, out: Tensor) -> Tensor:
        """Apply the grid to images that may have values above 1: light above white, which stays.

        A pixel with a channel above 1 is changed as if it were divided by its brightest channel, so that this is white,
        and the result is multiplied by it again: what is twice as bright as white gets twice as bright as what white
        becomes, in the same hue. All else is as in :meth:`slice`.

        Args:
            image: ``(B, 3, H, W)`` floating-point, 0 and up.
            out: tensor of the same shape to write into.

        Returns:
            ``out``, 0 and up.

        Raises:
            ValueError: as :meth:`slice`.
        """
        if not image.amax() > 1:
            return self.slice(image, out)
        peak = image.amax(1, keepdim=True).float().clamp_min_(1)
        return self.slice(image / peak, out).mul_(peak)

    def strips(self, height: int, most_rows: int) -> Iterator[tuple[int, int, BilateralGrid]]:
        """The grid in parts, for images that are not entirely in memory.

        Args:
            height: rows of the images.
            most_rows: most rows of a part; a part begins at each multiple of this and at every row of nodes.

        Yields:
            First row and end row of a part, and the grid that slices just these rows as this grid slices the whole
            image.
        """
        for top, bottom, node, edges in strips_of(height, self.coefficients.shape[1], most_rows):
            below, above = self.coefficients[:, node], self.coefficients[:, node + 1]
            yield top, bottom, self.having(torch.stack([torch.lerp(below, above, edge) for edge in edges], 1))


def _empty_like(image: Tensor) -> Tensor:
    """An uninitialised tensor of the same shape, strides and type."""
    if image.device.type != "cpu":
        return torch.empty_like(image, requires_grad=False)
    layout = torch.empty_like(image, device="meta", requires_grad=False)
    memory = empty_tensor((layout.nbytes // image.dtype.itemsize,), image.dtype)
    return memory.as_strided(layout.shape, layout.stride())
