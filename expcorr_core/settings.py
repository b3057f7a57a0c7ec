"""What users choose, in a module without PyTorch: the command line checks its arguments before it loads that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WORKING_SIZE = 512  # longer side of the network's copy (paper section 4.1)
WELL_EXPOSED = 0.15  # stops of brightness up to which a correction counts as none
TIME_LIMIT = 300.0  # seconds that a photo may take in a bulk run
FORMAT_NAMES = ("jpeg", "png", "tiff", "webp", "heic", "avif", "jxl")  # of photos, as the command line takes them
REACH = 3.0  # smoothing times that keyframes count for, in both directions


class UsageError(ValueError):
    """The arguments ask for something that cannot be done."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to correct a photo.

    Attributes:
        strength: 0 returns the photo bit for bit, 1 is the full correction; up to 2 exaggerates.
        gains: factors S1..Sn on the pyramid's levels before the network, finest first; None leaves all at 1.
        fusion: fuse the corrected photo with the input (Mertens et al. 2007).
        stretch: contrast stretch after the correction, percent clipped at each end; 0 for none.
        working_size: longer side of the network's copy, pixels; smaller photos are not enlarged.
        flip: average the result with that of the mirrored photo (flip self-ensemble): more consistent, twice the time.
        max_stops: by how many stops a pixel may get brighter or darker, in linear light; None for no limit.
        keep_highlights: do not clip what was below white.
    """

    strength: float = 1.0
    gains: Sequence[float] | None = None
    fusion: bool = False
    stretch: float = 0.0
    working_size: int = WORKING_SIZE
    flip: bool = True
    max_stops: float | None = None
    keep_highlights: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 2:
            raise ValueError(f"strength must be from 0 to 2, got {self.strength}")
        if not 0 <= self.stretch < 50:
            raise ValueError(f"stretch must be from 0 to below 50 percent, got {self.stretch}")
        if self.working_size < 1:
            raise ValueError(f"working_size must be at least 1 pixel, got {self.working_size}")
        if self.max_stops is not None and not 0 <= self.max_stops < math.inf:
            raise ValueError(f"max_stops must be a number of stops from 0 up, got {self.max_stops}")
        if self.gains is not None:
            if not all(math.isfinite(gain) for gain in self.gains):
                raise ValueError(f"gains must be finite, got {self.gains}")
            object.__setattr__(self, "gains", tuple(self.gains))  # settings are hashed, which lists cannot be


@dataclass(frozen=True)
class Smoothing:
    """How corrections change over time.

    Attributes:
        frames: number of frames to smooth over; 0 corrects each frame (or every k-th) on its own.
        every: frames from one keyframe to the next.
        lookahead: also use later keyframes, up to three smoothing times ahead; False for live use.
        threshold: a scene begins where the previous frame leaves this share of a frame's contrast unexplained.
    """

    frames: float = 60.0
    every: int = 4
    lookahead: bool = True
    threshold: float = 0.45

    def __post_init__(self) -> None:
        if not 0 <= self.frames <= 1000:
            raise ValueError(f"the smoothing time must be from 0 to 1000 frames, got {self.frames}")
        if not 1 <= self.every <= 1000:
            raise ValueError(f"keyframes must be 1 to 1000 frames apart, got {self.every}")
        if not self.threshold > 0:
            raise ValueError(f"the scene threshold must be above 0, got {self.threshold}")

    @property
    def time(self) -> float:
        """Smoothing time, at least long enough to bridge the frames between two keyframes."""
        return max(self.frames, self.every / 2 if self.every > 1 else 0.0)

    @property
    def reach(self) -> int:
        """Frames that count on each side."""
        return max(round(REACH * self.time), self.every - 1)
