"""A correction as a three-dimensional look-up table (LUT), for programs that know nothing of this one.

A LUT changes equal colours equally, wherever they are. It holds what a correction does to the whole photo; of what it
does to one place only, the mean over all places.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..image.checks import check_image, check_same_shape
from ..image.resize import sample
from ..photos.png import SIGNATURE, chunk
from .curves import apply_curves, ascending, fit_curves

NODES = 33  # along each of red, green and blue
HALD_LEVEL = 8  # a HaldCLUT of 512 x 512 pixels, with 64 values along each of red, green and blue
SIDE = 256  # height and width of the grid of pixels that a table is fitted to
OTHER_SIDE = 219  # and of those that its error is measured on
# Weights, relative to the mean squared error, of the squared differences between neighbouring nodes and of the squared
# distance from the curves: they decide where the photo has no colours.
FLATNESS, NEARNESS = 3e-6, 1e-8
ITERATIONS = 30


@dataclass(frozen=True, eq=False)  # tensors have no equality that a dataclass could use
class Lut:
    """A table of colours; display-referred sRGB before and after.

    Attributes:
        table: ``(N, N, N, 3)`` float32, 0..1, by red, green and blue.
    """

    table: Tensor

    @classmethod
    def fit(cls, before: Tensor, after: Tensor, nodes: int = NODES) -> Lut:
        """The table that comes closest to a change of a photo, by least squares over its pixels.

        Colours that the photo does not have go on from those that it has: smoothly, towards tone curves that are fitted
        to the whole photo. More red never gives less red, and likewise for green and blue.

        Args:
            before, after: the photo before and after, ``(1, 3, H, W)``, sRGB, 0..1; some 65,000 pixels are used.
            nodes: along each of red, green and blue, at least 2.

        Raises:
            ValueError: the shapes differ, or a value is not finite.
        """
        colours, wanted = pixels_of(before, after, SIDE)
        curves = fit_curves(colours, wanted, nodes).float()
        axes = [curve.view([-1 if axis == k else 1 for k in range(3)]) for axis, curve in enumerate(curves)]
        base = torch.stack([axis.expand(nodes, nodes, nodes) for axis in axes], 3)
        rest = wanted - apply_curves(curves, colours)
        change = _fit_rest(colours, rest, nodes)
        table = base + change.view_as(base)
        return cls(torch.stack([ascending(table[..., axis], axis) for axis in range(3)], 3).clamp(0, 1))

    def apply(self, image: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)``, 0..1, with their colours changed, by tetrahedral interpolation."""
        colours = image.movedim(1, 3)
        index, weight = _corners(colours.reshape(-1, 3).float(), len(self.table))
        found = (self.table.view(-1, 3)[index] * weight[..., None]).sum(1)
        return found.view(colours.shape).movedim(3, 1).to(image.dtype)

    def error(self, before: Tensor, after: Tensor) -> float:
        """PSNR in dB between this table's result and another, of other pixels than the fit's; 100 where they are equal.

        Args and errors as in :meth:`fit`.
        """
        colours, wanted = pixels_of(before, after, OTHER_SIDE)
        return decibels(self.apply(colours.T[None, :, None])[0, :, 0].T, wanted)

    def cube(self, title: str, comments: Sequence[str] = ()) -> bytes:
        """The content of a ``.cube`` file.

        Args:
            title: what programs may show.
            comments: lines, plain text.
        """
        plain = [re.sub(r"[^ !#-~]", "_", text) for text in (title, *comments)]
        lines = [f'TITLE "{plain[0]}"', *(f"# {comment}" for comment in plain[1:])]
        lines += [f"LUT_3D_SIZE {len(self.table)}", "DOMAIN_MIN 0.0 0.0 0.0", "DOMAIN_MAX 1.0 1.0 1.0"]
        rows = self.table.permute(2, 1, 0, 3).reshape(-1, 3).tolist()
        lines += [f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in rows]
        return "\n".join((*lines, "")).encode("ascii")

    def hald(self, level: int = HALD_LEVEL) -> bytes:
        """The content of a HaldCLUT: a PNG file with 16 bits per channel, ``level ** 3`` pixels high and wide."""
        side, values = level**3, torch.linspace(0, 1, level**2)
        blue, green, red = torch.meshgrid(values, values, values, indexing="ij")
        colours = self.apply(torch.stack((red, green, blue)).view(1, 3, side, side))[0].permute(1, 2, 0)
        rows = colours.mul(65535).round().flatten(1).int().numpy().astype(">u2")
        header = struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)
        content = b"".join(b"\0" + row.tobytes() for row in rows)
        parts = ((b"IHDR", header), (b"sRGB", b"\0"), (b"IDAT", zlib.compress(content)), (b"IEND", b""))
        return SIGNATURE + b"".join(chunk(*part) for part in parts)


def pixels_of(before: Tensor, after: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Up to ``side`` x ``side`` pixels of a photo before and after, each ``(P, 3)`` float32.

    Raises:
        ValueError: the shapes differ, or a value is not finite.
    """
    check_same_shape(after, "after", before, "before")
    size = min(side, before.shape[2]), min(side, before.shape[3])
    chosen = [sample(image.detach().float().cpu(), *size) for image in (before, after)]
    check_image(chosen[0], "before")
    check_image(chosen[1], "after")
    first, second = (image.movedim(1, 3).reshape(-1, 3).clamp(0, 1) for image in chosen)
    return first, second


def decibels(result: Tensor, wanted: Tensor) -> float:
    """PSNR of values in 0..1; at most 100."""
    return min(100.0, -10 * float((result - wanted).double().square().mean().clamp_min(1e-10).log10()))


def _corners(colours: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """The four nodes of the tetrahedron around each colour ``(P, 3)``: their places in the table and their weights."""
    place = colours.clamp(0, 1) * (nodes - 1)
    below = place.floor().clamp(max=nodes - 2)
    share, order = (place - below).sort(1, descending=True)
    strides = torch.tensor((nodes * nodes, nodes, 1))
    steps = torch.cat(((below.long() @ strides)[:, None], strides[order]), 1)
    edges = torch.cat((torch.ones_like(share[:, :1]), share, torch.zeros_like(share[:, :1])), 1)
    return steps.cumsum(1), edges[:, :-1] - edges[:, 1:]


def _fit_rest(colours: Tensor, rest: Tensor, nodes: int) -> Tensor:
    """The table ``(N ** 3, 3)`` that comes closest to what the curves leave, by conjugate gradients."""
    index, weight = _corners(colours, nodes)
    flat, count = index.flatten(), nodes**3

    def spread(values: Tensor) -> Tensor:
        return torch.zeros(count, 3).index_add_(0, flat, (values[:, None] * weight[..., None]).flatten(0, 1))

    def matrix(table: Tensor) -> Tensor:
        result = spread((table[index] * weight[..., None]).sum(1))
        cube, smooth = table.view(nodes, nodes, nodes, 3), torch.zeros(nodes, nodes, nodes, 3)
        for axis in range(3):
            step = cube.diff(dim=axis)
            smooth.narrow(axis, 1, nodes - 1).add_(step)
            smooth.narrow(axis, 0, nodes - 1).sub_(step)
        return result + len(colours) * (FLATNESS * smooth.view(-1, 3) + NEARNESS * table)

    data = torch.zeros(count).index_add_(0, flat, weight.square().flatten())
    scale = 1 / (data + len(colours) * (6 * FLATNESS + NEARNESS))[:, None]
    found = torch.zeros(count, 3)
    left = spread(rest)
    direction = scale * left
    size = (left * direction).sum(0)
    for _ in range(ITERATIONS):
        moved = matrix(direction)
        step = size / (direction * moved).sum(0).clamp_min(1e-30)
        found += step * direction
        left -= step * moved
        scaled = scale * left
        size, before = (left * scaled).sum(0), size
        direction = scaled + size / before.clamp_min(1e-30) * direction
    return found
