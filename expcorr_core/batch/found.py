"""The correction of one photo of a run: found by the network, or given in a file; or none, if it is well exposed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..corrections.grid_file import Correction, GridError, load_grid
from ..files import digest
from ..image.report import exposure_change, exposure_error
from ..image.resize import reduce_to
from ..method.weights_file import weights_path
from ..photos.huge import HugePhoto
from ..photos.photo import Photo
from ..photos.reading import ImageError
from ..runtimes import ONNX, identity_grid
from .outcome import Measured
from .sidecars import profile_of

if TYPE_CHECKING:
    from ..bilateral.array_grid import Grid
    from ..corrector import Corrector
    from ..ort.corrector import OnnxCorrector
    from ..series.corrector import Agreement
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
    used: Grid
    unchanged: bool = True
    right: bool = False
    well_exposed: bool = False


def find_correction(
    image: Any, photo: Photo | HugePhoto, job: Job, work: Work, corrector: Corrector | OnnxCorrector | None
) -> Found:
    """Find the correction of a photo, or take the one in a file.

    Args:
        image: the photo, which may be reduced, ``(1, 3, h, w)``, 0..1, a tensor or array as the corrector takes it.
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

    def described(grid: Grid) -> Correction:
        weights = digest(weights_path(work.weights))
        settings = work.settings
        return Correction(grid, height=height, width=width, settings=settings, weights=weights, profile=profile)

    probability: float | None = None
    membership = None if job.exposures else job.membership  # a fused bracket is corrected by itself
    agreement: Agreement | None = None
    grid: Grid
    if work.grid:
        correction = _given(work.grid, work.runtime)
        try:
            correction.check_fits(height, width, profile)
        except GridError as error:
            raise ImageError(f"{job.source} {error}") from error
    elif corrector:
        if membership:
            from ..corrector import Corrector
            from ..series.corrector import SeriesCorrector
            from ..series.looks import load_look

            assert isinstance(corrector, Corrector)
            series = SeriesCorrector(corrector, work.settings)
            seen, *others = (load_look(path) for path in (membership.look, *membership.others))
            grid, agreement = series.correction(seen, others, membership.part, image, photo.space)
            probability = seen.well_exposed
        else:
            small: Any = corrector.reduce(image, work.settings)
            grid, well_exposed = corrector.find(small, work.settings, photo.space)
            probability = None if well_exposed is None else float(well_exposed[0])
        correction = described(grid)
    else:
        correction = described(identity_grid(work.runtime))
    if not work.settings.strength:
        return Found(correction=correction, used=identity_grid(work.runtime), change=0.0)
    used = correction.grid.blend(work.settings.strength)
    small = reduce_to(image, MEASURED_SIDE)
    full = correction.grid.within(None).slice(small)  # what the photo lacks, whatever may be done about it
    found = Found(
        correction=correction,
        used=used,
        exposure=float(exposure_error(small, full)[0]),
        probability=probability,
        change=float(abs(used.slice(small) - small).mean() * 255),
        apart_alone=agreement.before if agreement else None,
        apart=agreement.after if agreement else None,
        unchanged=False,
    )
    if membership and membership.part.right:
        return replace(found, unchanged=True, right=True)
    if work.well_exposed != "correct" and float(exposure_change(small, full)[0]) < work.within:
        grid = identity_grid(work.runtime)
        return replace(found, correction=described(grid), used=grid, change=0.0, unchanged=True, well_exposed=True)
    return found


@cache
def _given(path: Path, runtime: str) -> Correction:
    """The correction in a file, read once per process."""
    return load_grid(path, arrays=runtime == ONNX)
