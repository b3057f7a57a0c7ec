"""PSNR and SSIM of the corrector over a folder of pairs, by group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .corrector import Corrector, Settings
from .image_io import ImageError, read_photo
from .metrics import psnr, ssim
from .pairs import Pair


class Score(NamedTuple):
    """Figures of one pair."""

    pair: Pair
    psnr: float
    ssim: float


def evaluate(corrector: Corrector, pairs: Iterable[Pair], settings: Settings | None = None) -> Iterator[Score]:
    """Correct each input and hold it against its target, on 8-bit RGB.

    Raises:
        ImageError: a file cannot be read, or a pair's sizes differ.
    """
    for pair in pairs:
        photo, target = read_photo(pair.input), read_photo(pair.target)
        if photo.pixels.shape != target.pixels.shape:
            raise ImageError(f"{pair.input} and {pair.target} differ in size; resize one of them")
        result = photo.with_tensor(corrector(photo.to_tensor(), settings))
        values = (result.eight_bit(), target.eight_bit())
        yield Score(pair, psnr(*values), ssim(*values))


def summarise(scores: Iterable[Score]) -> dict[str, tuple[int, float, float]]:
    """Count, mean PSNR and mean SSIM of all pairs and of each group; equal pairs (infinite dB) count as 100 dB."""
    members: dict[str, list[Score]] = {}
    for score in scores:
        for group in ("all", *score.pair.groups):
            members.setdefault(group, []).append(score)
    return {
        group: (
            len(part),
            sum(min(s.psnr, 100.0) for s in part) / len(part),
            sum(s.ssim for s in part) / len(part),
        )
        for group, part in members.items()
    }
