"""Develops raw files to linear light, with LibRaw (rawpy)."""

from __future__ import annotations

import logging
from pathlib import Path

from expcorr_core.photos import raw_metadata
from expcorr_core.photos.raw import libraw_reason
from expcorr_core.photos.reading import ImageError

from .extras import extra
from .tone import Scene, ToneCurve

# What LibRaw opens and cameras write; TIFF and JPEG files are not raw files.
SUFFIXES = (
    *raw_metadata.SUFFIXES, ".bay", ".cap", ".crw", ".dcr", ".dcs", ".gpr", ".k25", ".kdc", ".mrw", ".ptx", ".raw",
    ".x3f",
)  # fmt: skip
# DNG tags
_BASELINE_EXPOSURE, _BASELINE_EXPOSURE_OFFSET, _PROFILE_TONE_CURVE = 50730, 51109, 50940


def read_raw(path: Path, size: int | None = None) -> Scene:
    """Develop a raw file to linear light.

    White balance as shot (daylight, if the file has none), the camera's matrices, black and white levels of the
    file, demosaicing by AHD; each channel clips at the sensor's saturation. Nothing is brightened. The tone curve and
    the baseline exposure are the file's own where a DNG has them.

    Args:
        path: the file.
        size: the wanted larger side; if the file has twice that or more, each block of the mosaic becomes a pixel.

    Raises:
        ImageError: the file is damaged, not a raw file, or does not have three colours.
        ModuleNotFoundError: the ``data`` extra is missing.
    """
    rawpy = extra("rawpy")
    try:
        with rawpy.imread(str(path)) as raw:
            larger = max(raw.sizes.width, raw.sizes.height)
            half = size is not None and larger >= 2 * size
            light = raw.postprocess(
                output_color=rawpy.ColorSpace.ProPhoto,
                output_bps=16,
                gamma=(1, 1),
                use_camera_wb=True,
                no_auto_bright=True,
                adjust_maximum_thr=0.0,  # the file's white level, not one guessed from the picture
                highlight_mode=rawpy.HighlightMode.Clip,
                half_size=half,
            )
    except rawpy.LibRawError as error:
        reason = libraw_reason(error)
        raise ImageError(f"{path} is damaged or not a raw file ({reason}); copy it again or leave it out") from error
    if light.ndim != 3 or light.shape[2] != 3:
        raise ImageError(f"{path} does not have three colours; leave it out")
    # LibRaw does not halve files without a mosaic.
    scale = max(light.shape[:2]) / larger if half else 1.0
    ev, curve = _dng_rendering(path) if path.suffix.lower() == ".dng" else (0.0, None)
    return Scene(light, ev, curve or ToneCurve.camera(), scale=scale)


def raw_pixels(path: Path) -> int:
    """Number of pixels of a raw file, from its header; 0 if it cannot be read."""
    rawpy = extra("rawpy")
    try:
        with rawpy.imread(str(path)) as raw:
            return int(raw.sizes.width) * int(raw.sizes.height)
    except (rawpy.LibRawError, OSError):
        return 0


def _dng_rendering(path: Path) -> tuple[float, ToneCurve | None]:
    """Baseline exposure (in stops) and tone curve of a DNG."""
    tifffile = extra("tifffile")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # LibRaw reports other damage
    try:
        with tifffile.TiffFile(path) as file:
            tags = {tag.code: tag.value for tag in file.pages.first.tags}
        stops = [tags.get(code, (0, 1)) for code in (_BASELINE_EXPOSURE, _BASELINE_EXPOSURE_OFFSET)]
        # Some cameras' programs write 0/0.
        ev = sum(numerator / denominator if denominator else 0.0 for numerator, denominator in stops)
        points = tags.get(_PROFILE_TONE_CURVE)
        curve = ToneCurve(points[::2], points[1::2]) if points else None
    except (tifffile.TiffFileError, ValueError, TypeError) as error:
        raise ImageError(f"{path} has damaged tags ({error}); copy it again or leave it out") from error
    return ev, curve
