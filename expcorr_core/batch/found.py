"""The correction of one photo of a run: found by the network, or given in a file; or none, if it is well exposed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

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
from ..series.corrector import Agreement, SeriesCorrector
from ..series.looks import load_look
from .outcome import Measured
from .sidecars import profile_of

if TYPE_CHECKING:
    from .bulk import Job, Work

MEASURED_SIDE = 256  # larger side at which exposure and change are measured


@dataclass(frozen=True, kw_only=True)
class Found(Measured):
    """The correction of a photo.

    Attributes:
        correction: in full.
        used: the grid at the chosen strength.
        unchanged: whether the photo's pixels stay as they are.
        right: whether it was said to be right as it is.
        well_exposed: whether it needs no correction; judged only where that was asked.
    """

    correction: Correction
    used: BilateralGrid
    unchanged: bool = True
    right: bool = False
    well_exposed: bool = False


def find_correction(
    image: Tensor, photo: Photo | HugePhoto, job: Job, work: Work, corrector: Corrector | None
) -> Found:
    """Find the correction of a photo, or take the one in a file.

    Args:
        image: the photo, which may be reduced, ``(1, 3, h, w)``, 0..1.
        photo: the same as it was read.
        job: its files, and its part in a series.
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

    probability: float | None = None
    agreement: Agreement | None = None
    if work.grid:
        correction = _given(work.grid)
        try:
            correction.check_fits(height, width, profile)
        except GridError as error:
            raise ImageError(f"{job.source} {error}") from error
    elif corrector:
        small = corrector.reduce(image, work.settings)
        if job.membership:
            series = SeriesCorrector(corrector, work.settings)
            seen, *others = (load_look(path) for path in (job.membership.look, *job.membership.others))
            grid, agreement = series.correction(seen, others, job.membership.part, small, photo.space)
            probability = seen.well_exposed
        else:
            examined = corrector.examine(small, work.settings, photo.space)
            grid = corrector.fit(small, examined.corrected, work.settings)
            probability = None if examined.well_exposed is None else float(examined.well_exposed)
        correction = described(grid)
    else:
        correction = described(BilateralGrid.identity())
    if not work.settings.strength:
        return Found(correction=correction, used=BilateralGrid.identity(), change=0.0)
    used = correction.grid.blend(work.settings.strength)
    small = reduce_to(image, MEASURED_SIDE)
    full = replace(correction.grid, limits=None).slice(small)  # what the photo lacks, whatever may be done about it
    found = Found(
        correction=correction,
        used=used,
        exposure=float(exposure_error(small, full)),
        probability=probability,
        change=float((used.slice(small) - small).abs().mean() * 255),
        apart_alone=agreement.before if agreement else None,
        apart=agreement.after if agreement else None,
        unchanged=False,
    )
    if job.membership and job.membership.part.right:
        return replace(found, unchanged=True, right=True)
    if work.well_exposed != "correct" and float(exposure_change(small, full)) < work.within:
        grid = BilateralGrid.identity()
        return replace(found, correction=described(grid), used=grid, change=0.0, unchanged=True, well_exposed=True)
    return found


@cache
def _given(path: Path) -> Correction:
    """The correction in a file, read once per process."""
    return load_grid(path)
