"""The correction of one photo of a run: found by the network, or given in a file; or none, if it is well exposed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from ..bilateral.grid import BilateralGrid
from ..corrections.grid_file import Correction, GridError, load_grid
from ..corrector import Corrector
from ..files import digest
from ..image.report import exposure_change, exposure_error
from ..image.resize import reduce_to
from ..method.weights import weights_path
from ..photos.huge import HugePhoto
from ..photos.photo import Photo
from ..photos.reading import ImageError
from .sidecars import profile_of

if TYPE_CHECKING:
    from .bulk import Work

MEASURED_SIDE = 256  # larger side at which exposure and change are measured


class Found(NamedTuple):
    """The correction of a photo: in full, and as a grid at the chosen strength; exposure and change as in Outcome."""

    correction: Correction
    used: BilateralGrid
    exposure: float | None
    change: float
    unchanged: bool = True
    well_exposed: bool = False


def find_correction(
    image: Tensor, photo: Photo | HugePhoto, source: Path, work: Work, corrector: Corrector | None
) -> Found:
    """Find the correction of a photo, or take the one in a file.

    Args:
        image: the photo, which may be reduced, ``(1, 3, h, w)``, 0..1.
        photo: the same as it was read.
        source: its file.
        work: what to do.
        corrector: what finds it; None where nothing has to be found.

    Raises:
        ImageError: the correction in the file does not fit the photo.
        GridError: the file holds no correction.
    """
    height, width = (photo.height, photo.width) if isinstance(photo, HugePhoto) else photo.pixels.shape[:2]
    profile = profile_of(photo.metadata.icc_profile, photo.space)

    def described(grid: BilateralGrid) -> Correction:
        weights = digest(weights_path(work.weights))
        settings = work.settings
        return Correction(grid, height=height, width=width, settings=settings, weights=weights, profile=profile)

    if work.grid:
        correction = _given(work.grid)
        try:
            correction.check_fits(height, width, profile)
        except GridError as error:
            raise ImageError(f"{source} {error}") from error
    elif corrector:
        correction = described(corrector.estimate(image, work.settings, photo.space))
    else:
        correction = described(BilateralGrid.identity())
    if not work.settings.strength:
        return Found(correction, BilateralGrid.identity(), None, 0.0)
    used = correction.grid.blend(work.settings.strength)
    small = reduce_to(image, MEASURED_SIDE)
    full = correction.grid.slice(small)
    exposure = float(exposure_error(small, full))
    if work.well_exposed != "correct" and float(exposure_change(small, full)) < work.within:
        grid = BilateralGrid.identity()
        return Found(described(grid), grid, exposure, 0.0, well_exposed=True)
    change = float((used.slice(small) - small).abs().mean() * 255)
    return Found(correction, used, exposure, change, unchanged=False)


@cache
def _given(path: Path) -> Correction:
    """The correction in a file, read once per process."""
    return load_grid(path)
