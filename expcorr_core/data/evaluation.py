"""Evaluation of the corrector: PSNR and SSIM over pairs, by group; consistency between exposures of a scene."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..corrector import Corrector
from ..image.metrics import EQUAL_PSNR, Look, kept_whites, psnr, ssim
from ..image.resize import reduce_to
from ..photos.photo import Photo
from ..photos.reading import ImageError, read_photo
from ..settings import WORKING_SIZE, Settings
from .pairs import Pair


@dataclass(frozen=True, kw_only=True)
class Score:
    """Metrics of one pair.

    Attributes:
        pair: the files.
        psnr, ssim: of the result.
        result: the corrected photo, ``(H, W, 3)``.
        look, wanted: of the result, and of the target.
        whites: see :func:`~.metrics.kept_whites`.
    """

    pair: Pair
    psnr: float
    ssim: float
    result: NDArray[np.uint8]
    look: Look
    wanted: Look
    whites: float | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Metrics of a group of pairs.

    Attributes:
        pairs: number of pairs.
        psnr, ssim: means.
        brightness, chroma: of the results, as a share of the targets'.
        whites, least_whites: mean and smallest share of the targets' whites; None where there are none.
    """

    pairs: int
    psnr: float
    ssim: float
    brightness: float
    chroma: float
    whites: float | None
    least_whites: float | None


def evaluate(corrector: Corrector, pairs: Iterable[Pair], settings: Settings | None = None) -> Iterator[Score]:
    """Correct each input and compare it with its target, on 8-bit RGB.

    Consecutive pairs with the same input share its correction.

    Raises:
        ImageError: a file cannot be read, or a pair's sizes differ.
    """
    last: Path | None = None
    for pair in pairs:
        if pair.input != last:
            photo = read_photo(pair.input)
            result = photo.with_tensor(corrector(photo.to_tensor(), settings)).eight_bit()
            last = pair.input
        target = read_photo(pair.target).eight_bit()
        if result.shape != target.shape:
            raise ImageError(f"{pair.input} and {pair.target} differ in size; resize one of them")
        yield Score(
            pair=pair,
            psnr=psnr(result, target),
            ssim=ssim(result, target),
            result=result,
            look=Look.of(result),
            wanted=Look.of(target),
            whites=kept_whites(result, target),
        )


def summarise(scores: Iterable[Score]) -> dict[str, Summary]:
    """Metrics of all pairs and of each group; equal pairs (infinite dB) count as EQUAL_PSNR."""
    members: dict[str, list[Score]] = {}
    for score in scores:
        for group in ("all", *score.pair.groups):
            members.setdefault(group, []).append(score)
    return {group: _summary(part) for group, part in members.items()}


def _summary(scores: list[Score]) -> Summary:
    whites = [s.whites for s in scores if s.whites is not None]
    return Summary(
        pairs=len(scores),
        psnr=sum(min(s.psnr, EQUAL_PSNR) for s in scores) / len(scores),
        ssim=sum(s.ssim for s in scores) / len(scores),
        brightness=_share([(s.look.brightness, s.wanted.brightness) for s in scores]),
        chroma=_share([(s.look.chroma, s.wanted.chroma) for s in scores]),
        whites=sum(whites) / len(whites) if whites else None,
        least_whites=min(whites, default=None),
    )


def _share(values: list[tuple[float, float]]) -> float:
    """The sum of the first values, as a share of that of the second."""
    found, wanted = map(sum, zip(*values, strict=True))
    return found / wanted if wanted else 1.0


def consistency(
    corrector: Corrector, scene: dict[str, Path], settings: Settings | None = None, larger_side: int = WORKING_SIZE
) -> dict[tuple[str, str], tuple[float, float]]:
    """How similar the renderings of one scene are, before and after correction.

    Args:
        scene: the file of each exposure, as returned by :func:`~expcorr_core.data.pairs.find_scenes`.
        larger_side: the renderings are first reduced to this, pixels.

    Returns:
        PSNR of the inputs and PSNR of the results for every two exposures, on 8-bit RGB.

    Raises:
        ImageError: a file cannot be read, or the renderings differ in size.
    """
    pictures = {}
    for exposure, path in scene.items():
        small = reduce_to(read_photo(path).to_tensor(), larger_side)
        pictures[exposure] = [Photo.from_tensor(x).eight_bit() for x in (small, corrector(small, settings))]
    found = {}
    for first, second in combinations(pictures, 2):
        if pictures[first][0].shape != pictures[second][0].shape:
            raise ImageError(f"{scene[first]} and {scene[second]} differ in size; render them at one size")
        before, after = (min(psnr(a, b), EQUAL_PSNR) for a, b in zip(pictures[first], pictures[second], strict=True))
        found[first, second] = before, after
    return found
