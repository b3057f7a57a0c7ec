"""Reads HDR pictures as linear light: Radiance .hdr and OpenEXR, photos or panoramas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expcorr_core.photos.reading import ImageError

from .colour import luminance, to_prophoto
from .extras import extra
from .tone import MID_GREY, Floats, Scene

SUFFIXES = (".hdr", ".exr")
# Views of a panorama are spread evenly around, and vary within these ranges.
VIEW_ANGLES = (65.0, 95.0)  # horizontal, degrees
ELEVATIONS = (-18.0, 14.0)  # of the centre, degrees
ASPECT = 4 / 3
DENSEST = 1.5  # pixels of a view per pixel of the panorama, in the middle
DARK, BRIGHT = 0.01, 0.99  # quantiles that count as the ends of a scene's range


def read_radiance(path: Path) -> Floats:
    """Linear light of an HDR file, in ProPhoto RGB primaries, ``(H, W, 3)``, 0 or more, in the file's unit.

    The light of OpenEXR files is in the primaries of their ``chromaticities``, that of others in sRGB's.

    Raises:
        ImageError: the file is missing, damaged, or has no colours.
        ModuleNotFoundError: the ``data`` extra is missing.
    """
    try:
        light, profile = _read_exr(path) if path.suffix.lower() == ".exr" else (_read_hdr(path), None)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ImageError(f"{path} is damaged or not an HDR picture ({error}); copy it again or leave it out") from error
    if not np.isfinite(light).all():
        raise ImageError(f"{path} contains infinite or undefined values; leave it out")
    return to_prophoto(light, profile).clip(0)


def _read_hdr(path: Path) -> Floats:
    light: Floats = extra("imagecodecs").rgbe_decode(path.read_bytes(), header=True)
    return light


def _read_exr(path: Path) -> tuple[Floats, bytes | None]:
    with extra("OpenEXR").File(str(path)) as file:
        channels = file.channels()
        found = next((channels[name].pixels for name in ("RGB", "RGBA") if name in channels), None)
        chromaticities = file.header().get("chromaticities")
    if found is None:
        raise ValueError(f"its channels are {', '.join(sorted(channels))}, not RGB")
    profile = None
    if chromaticities:
        *primaries, white_x, white_y = map(float, chromaticities)
        profile = extra("imagecodecs").cms_profile("rgb", whitepoint=(white_x, white_y), primaries=primaries, gamma=1.0)
    return np.ascontiguousarray(found[..., :3], np.float32), profile


def is_panorama(light: NDArray[np.float32]) -> bool:
    """Whether a picture has the shape of an equirectangular panorama, twice as wide as high."""
    return bool(light.shape[1] == 2 * light.shape[0])


def views(panorama: Floats, count: int, size: int | None, rng: np.random.Generator) -> list[Floats]:
    """Perspective views of an equirectangular panorama.

    Args:
        panorama: ``(H, 2H, 3)``.
        count: number of views.
        size: largest width of a view, pixels; None: as many as the panorama has there, times ``DENSEST``.
        rng: of angles and elevations.

    Returns:
        ``count`` pictures, 4 : 3.
    """
    start = rng.uniform(0, 360)
    pictures = []
    for index in range(count):
        angle, elevation = rng.uniform(*VIEW_ANGLES), rng.uniform(*ELEVATIONS)
        around = (start + 360 * index / count) % 360 - 180
        # Pixels of the panorama over the middle of the view's width, if the whole had the middle's scale.
        sharp = panorama.shape[1] / (2 * np.pi) * 2 * np.tan(np.radians(angle / 2)) * DENSEST
        width = round(min(size or sharp, sharp) / 8) * 8
        height = round(width / ASPECT)
        vertical = 2 * np.degrees(np.arctan(np.tan(np.radians(angle / 2)) / ASPECT))
        view = extra("py360convert").e2p(panorama, (angle, vertical), around, elevation, (height, width))
        pictures.append(view.astype(np.float32).clip(0))
    return pictures


def metered(light: Floats) -> Scene:
    """A scene whose EV 0 is what an exposure meter would choose: the log-average becomes grey.

    How bright the grey is depends on where the average lies in the scene's range, so bright scenes stay bright
    (Reinhard 2003, Parameter Estimation for Photographic Tone Reproduction).

    Raises:
        ImageError: the light is black.
    """
    seen = luminance(light)
    seen = seen[seen > 0]
    if not seen.size:
        raise ImageError("it is black")
    dark, mean, bright = (
        float(x)
        for x in (*np.log2(np.quantile(seen, (DARK,))), np.log2(seen).mean(), np.log2(np.quantile(seen, BRIGHT)))
    )
    key = 4 ** ((2 * mean - dark - bright) / max(bright - dark, 1e-3)) if bright > dark else 1.0
    return Scene(light * np.float32(MID_GREY * key / 2**mean), saturates=False)
