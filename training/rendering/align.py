"""Finds which part of a rendering a target shows.

Raw converters crop differently, and retouchers crop and export at other sizes. Both pictures are turned into
edge maps, which do not depend on exposure and tone. Their cross-correlation gives the shift; then windows all over the
picture are compared pixel by pixel. This refines the shift, and detects what no shift can fix: rotation, lens
correction, another scale.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .extras import extra
from .tone import resize

Floats = NDArray[np.float64]

COARSE = 384  # larger side at which the shift is searched, pixels
OVERLAP = 0.5  # smallest share of the smaller picture that both must show
LEAST_CORRELATION = 0.35  # of edge maps: 141 pairs of differing exposures have 0.61 and more, unrelated photos 0.16
LEAST_DETAIL = 0.5  # windows with less than this share of the mean edge are not compared
WINDOWS, WINDOW = 4, 192  # a side of the picture, pixels
ROUNDING = 1.0  # pixels by which the sides of a resized picture may be off
TOLERANCE = 1.5  # pixels by which windows may disagree


class Misaligned(ValueError):
    """No shift aligns target and rendering; the message says why."""


class Box(NamedTuple):
    """Rows ``top .. bottom``, columns ``left .. right``, ends excluded; pixels."""

    top: int
    left: int
    bottom: int
    right: int

    def of(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """This part of a picture."""
        return pixels[self.top : self.bottom, self.left : self.right]

    def meet(self, other: Box) -> Box:
        """The intersection."""
        return Box(*(max(a, b) for a, b in zip(self[:2], other[:2], strict=True)),
                   *(min(a, b) for a, b in zip(self[2:], other[2:], strict=True)))  # fmt: skip


class Alignment(NamedTuple):
    """Where the target lies.

    Attributes:
        shift: row and column of the rendering where the (resized) target begins; may be negative.
        size: height and width of the target in the rendering; pixels.
        correlation: of the edge maps where they overlap.
    """

    shift: tuple[int, int]
    size: tuple[int, int]
    correlation: float

    def box(self, height: int, width: int) -> Box:
        """The part of a ``height`` by ``width`` rendering that the target shows."""
        top, left = self.shift
        return Box(max(0, top), max(0, left), min(height, top + self.size[0]), min(width, left + self.size[1]))

    def in_target(self, box: Box) -> Box:
        """Converts a part of the rendering to the same part of the resized target."""
        top, left = self.shift
        return Box(box.top - top, box.left - left, box.bottom - top, box.right - left)


def edge_map(pixels: NDArray[np.uint8]) -> Floats:
    """Strength of edges relative to that of their neighbourhood, ``(H, W)``, about 1 on average."""
    filters, ndimage = extra("skimage.filters"), extra("scipy.ndimage")
    grey = pixels.mean(2) / 255
    edges = filters.sobel(ndimage.gaussian_filter(grey, 1))
    radius = max(8.0, max(grey.shape) / 24)
    strength: Floats = np.minimum(edges / (ndimage.gaussian_filter(edges, radius) + 0.002), 6)
    return strength


def align(rendering: NDArray[np.uint8], target: NDArray[np.uint8], scale: float = 1.0) -> Alignment:
    """Find the target in a rendering.

    Args:
        rendering: ``(H, W, C)``.
        target: ``(h, w, C)``: a crop of the camera's scale, or the whole picture at another size.
        scale: pixels of the rendering per pixel of the camera, along a side.

    Raises:
        Misaligned: no shift aligns them.
    """
    best: Alignment | None = None
    for size in _sizes(rendering.shape[:2], target.shape[:2], scale):
        found = _search(rendering, resize(target, size), size)
        if best is None or found.correlation > best.correlation:
            best = found
        if best.correlation > 2 * LEAST_CORRELATION:
            break
    assert best is not None
    if best.correlation < LEAST_CORRELATION:
        raise Misaligned(f"no shift aligns it with the rendering (correlation {best.correlation:.2f})")
    return _refine(rendering, resize(target, best.size), best)


def _sizes(rendering: tuple[int, ...], target: tuple[int, ...], scale: float) -> list[tuple[int, int]]:
    """Sizes that the target may have in the rendering: at the camera's scale, and those that fill the rendering."""
    (height, width), (own_height, own_width) = rendering, target
    sizes = [(round(own_height * scale), round(own_width * scale))]
    if abs(own_height - height * own_width / width) <= ROUNDING:
        sizes.append((height, width))  # the whole picture, resized
    else:
        ratios = (height / own_height, width / own_width)
        sizes += [(round(own_height * ratio), round(own_width * ratio)) for ratio in ratios]
    return list(dict.fromkeys(sizes))


def _search(rendering: NDArray[np.uint8], target: NDArray[np.uint8], size: tuple[int, int]) -> Alignment:
    """The shift with the highest correlation, precise to one pixel of pictures reduced to ``COARSE``."""
    ratio = min(1.0, COARSE / max(*rendering.shape[:2], *size))
    maps = [edge_map(resize(p, [max(1, round(side * ratio)) for side in p.shape[:2]])) for p in (rendering, target)]
    # On a common canvas: with two sizes the meaning of the shift would change.
    canvas = np.maximum(*(m.shape for m in maps))
    padded, masks = (
        [np.pad(m, [(0, whole - side) for whole, side in zip(canvas, m.shape, strict=True)]) for m in arrays]
        for arrays in (maps, [np.ones(m.shape, bool) for m in maps])
    )
    # Masked normalised cross-correlation (Padfield, 2012).
    shift, _, _ = extra("skimage.registration").phase_cross_correlation(
        *padded, reference_mask=masks[0], moving_mask=masks[1], overlap_ratio=OVERLAP
    )
    top, left = (round(float(s)) for s in shift)
    placed = Alignment((top, left), maps[1].shape, 0.0)
    box = placed.box(*maps[0].shape)
    correlation = float(np.corrcoef(box.of(maps[0]).ravel(), placed.in_target(box).of(maps[1]).ravel())[0, 1])
    return Alignment((round(top / ratio), round(left / ratio)), size, np.nan_to_num(correlation))


def _refine(rendering: NDArray[np.uint8], target: NDArray[np.uint8], found: Alignment) -> Alignment:
    """The shift, precise to one pixel, if windows all over the picture agree on it."""
    registration = extra("skimage.registration")
    box = found.box(*rendering.shape[:2])
    side = min(WINDOW, box.bottom - box.top, box.right - box.left)
    tops, lefts = (
        np.linspace(low, high - side, WINDOWS).astype(int)
        for low, high in ((box.top, box.bottom), (box.left, box.right))
    )
    moves, details = [], []
    for top in tops:
        for left in lefts:
            window = Box(top, left, top + side, left + side)
            maps = [edge_map(part) for part in (window.of(rendering), found.in_target(window).of(target))]
            moves.append(
                registration.phase_cross_correlation(
                    *(m - m.mean() for m in maps), upsample_factor=4, normalization=None
                )[0]
            )
            details.append(min(float(m.std()) for m in maps))
    useful = np.array(moves)[np.array(details) >= LEAST_DETAIL * np.median(details)]
    shift = np.median(useful, axis=0)
    apart = float(np.quantile(np.abs(useful - shift).max(1), 0.75))
    if apart > TOLERANCE:
        raise Misaligned(
            f"its parts are misaligned by up to {apart:.1f} pixels (rotation, lens correction or another scale)"
        )
    top, left = (round(a + float(b)) for a, b in zip(found.shift, shift, strict=True))
    return found._replace(shift=(top, left))
