"""PSNR and SSIM of the corrector over a folder of pairs, by group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .corrector import Corrector, Settings
from .image_io import ImageError, read_photo
from .metrics import EQUAL_PSNR, psnr, ssim
from .pairs import Pair


class Score(NamedTuple):
    """Figures of one pair, and the corrected photo, ``(H, W, 3)``."""

    pair: Pair
    psnr: float
    ssim: float
    result: NDArray[np.uint8]


def evaluate(corrector: Corrector, pairs: Iterable[Pair], settings: Settings | None = None) -> Iterator[Score]:
    """Correct each input and hold it against its target, on 8-bit RGB.

    Pairs of one input that follow each other share its correction.

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
        yield Score(pair, psnr(result, target), ssim(result, target), result)


def summarise(scores: Iterable[Score]) -> dict[str, tuple[int, float, float]]:
    """Count, mean PSNR and mean SSIM of all pairs and of each group; equal pairs (infinite dB) count as EQUAL_PSNR."""
    members: dict[str, list[Score]] = {}
    for score in scores:
        for group in ("all", *score.pair.groups):
            members.setdefault(group, []).append(score)
    return {
        group: (
            len(part),
            sum(min(s.psnr, EQUAL_PSNR) for s in part) / len(part),
            sum(s.ssim for s in part) / len(part),
        )
        for group, part in members.items()
    }
