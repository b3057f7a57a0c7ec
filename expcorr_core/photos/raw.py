"""Raw files, developed with LibRaw (rawpy, the ``raw`` extra) so that what the sensor saw above white is still there.

A camera's JPEG clips at a white that is one to three stops below what its sensor can hold. Here nothing clips: the
light is brought to the brightness of the camera's own picture, and what is then above white is compressed into the
highlights by a shoulder, as strong as this photo needs; where nothing is above white, there is none. Such a photo is
corrected like any other, and where the correction darkens it, the highlights come back.
"""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ..image.colour import linear_to_srgb, luma, srgb_to_linear
from .photo import Photo
from .raw_metadata import header_of
from .reading import ImageError, check_claim, module_for

KNEE = 0.65  # display value at which the shoulder begins
TOP = 0.999  # quantile of the pixels' largest channels that becomes white, where it is above
STEP = 4  # statistics are taken of every so many pixels across and down
MOST_LIFT = 4.0  # stops
_ROWS = 256  # of a block, limits the memory for intermediate values
_ENTRIES = 2**16
_PREVIEW_SIDE = 256


def libraw_reason(error: Exception) -> str:
    """What LibRaw says of a file in an exception of rawpy."""
    reason = error.args[0] if error.args else type(error).__name__
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


def develop(content: bytes, path: Path) -> Photo:
    """Develop a raw file to 16-bit sRGB, upright.

    White balance as shot (daylight if the file has none), the camera's matrix, black and white levels of the file,
    demosaicing by AHD. The brightness is that of DNG's baseline exposure, or else of the preview that the camera
    stored in the file; it is never below the sensor's own, so that where the sensor is saturated, there is white.

    Args:
        content: the bytes of the file.
        path: the file, for messages.

    Raises:
        ImageError: LibRaw does not know its kind, it claims more than it can hold, or rawpy is missing.
        ValueError: the file is damaged; the message says in what way.
    """
    rawpy = module_for("RAW", path)
    header = header_of(content)
    try:
        with rawpy.imread(io.BytesIO(content)) as raw:
            width, height = raw.sizes.raw_width, raw.sizes.raw_height
            check_claim(path, len(content), width, height, 2 * width * height)
            preview = _preview_of(rawpy, raw)
            balance = _balance_of(raw)
            light = raw.postprocess(
                output_bps=16,
                gamma=(1, 1),
                user_wb=balance,
                no_auto_bright=True,
                adjust_maximum_thr=0.0,  # the file's white level, not one guessed from the picture
                highlight_mode=rawpy.HighlightMode.Blend,
            )
    except rawpy.LibRawFileUnsupportedError as error:
        name = f"LibRaw {'.'.join(map(str, rawpy.libraw_version))}"
        if header.damaged:
            raise ValueError(f"{name} does not find a raw photo in it") from error
        raise ImageError(
            f"{path} holds a raw photo of a kind that {name} cannot read; convert it to DNG first"
        ) from error
    except rawpy.LibRawIOError as error:
        raise ValueError("it ends too early") from error
    except rawpy.LibRawError as error:
        raise ValueError(libraw_reason(error)) from error
    grey = light.ndim == 2 or light.shape[2] == 1
    if grey:
        light = np.repeat(light.reshape(*light.shape[:2], 1), 3, 2)
    # LibRaw scales so that the channel with the largest gain just holds its saturation. White is where the first one
    # saturates, which has the smallest.
    peak = max(balance) / min(balance)
    few = light[::STEP, ::STEP] * np.float32(peak / (_ENTRIES - 1))
    lift = header.lift
    if lift is None:
        lift = _lift_to(preview, few) if preview is not None else 0.0
    gain = 2.0 ** min(max(lift, 0.0), MOST_LIFT)
    table = _table(peak * gain, float(np.quantile(few.max(2), TOP)) * gain)
    metadata = header.metadata if preview is None else header.metadata.without("the camera's preview")
    metadata = replace(metadata.of_upright(), icc_profile=srgb_profile())
    return Photo(_mapped(light, table), None, grey, metadata)


def _balance_of(raw: Any) -> list[float]:
    """Gains of R, G, B and the second G: as shot, or for daylight, or none."""
    for given in (raw.camera_whitebalance, raw.daylight_whitebalance):
        red, green, blue, second = (*given, 0.0)[:4]
        if all(0 < gain < np.inf for gain in (red, green, blue)):
            return [red, green, blue, second if 0 < second < np.inf else green]
    return [1.0, 1.0, 1.0, 1.0]


def _preview_of(rawpy: Any, raw: Any) -> NDArray[np.float32] | None:
    """The camera's picture, ``(h, w, 3)`` reduced, 0..1; None if there is none that can be read."""
    try:
        found = raw.extract_thumb()
        image = Image.fromarray(found.data) if found.format == rawpy.ThumbFormat.BITMAP else _jpeg(found.data)
        image.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
        return np.asarray(image.convert("RGB"), np.float32) / np.float32(255)
    except Exception:  # damaged ones make decoders raise almost anything, and the photo does not need it
        return None


def _jpeg(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    image.draft("RGB", (_PREVIEW_SIDE, _PREVIEW_SIDE))
    return image


def _lift_to(preview: NDArray[np.float32], light: NDArray[np.float32]) -> float:
    """Stops by which light, ``(h, w, 3)``, is darker than in the preview, in its middle tones."""
    at = np.linspace(0.05, 0.95, 19)
    wanted = np.quantile(_luma(srgb_to_linear(preview)), at)
    found = np.quantile(_luma(light), at)
    counted = (wanted > 0.02) & (wanted < 0.5) & (found > 1e-4)
    return float(np.median(np.log2(wanted[counted] / found[counted]))) if counted.any() else 0.0


def _luma(light: NDArray[np.float32]) -> NDArray[np.float32]:
    return luma(light.transpose(2, 0, 1))


def _table(peak: float, top: float) -> NDArray[np.uint16]:
    """The 16-bit display value of each 16-bit value of light.

    Args:
        peak: light of the largest value; 1 is white.
        top: light that becomes white, if it is above.
    """
    display = linear_to_srgb(np.linspace(0, peak, _ENTRIES))
    highest = float(linear_to_srgb(np.array(max(top, 1.0))))
    reach = (highest - KNEE) / (1 - KNEE)
    above = ((display - KNEE) / (1 - KNEE)).clip(0)
    # A hyperbola: slope 1 at the knee, and white at the highest value.
    display = np.minimum(display, KNEE) + (1 - KNEE) * above / (1 + (1 - 1 / reach) * above)
    table: NDArray[np.uint16] = (display.clip(0, 1) * (_ENTRIES - 1)).round().astype(np.uint16)
    return table


def _mapped(light: NDArray[np.uint16], table: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """``(H, W, 3)`` through a table."""
    pixels = np.empty_like(light)
    for top in range(0, len(light), _ROWS):
        pixels[top : top + _ROWS] = table[light[top : top + _ROWS]]
    return pixels


def srgb_profile() -> bytes:
    """LittleCMS's sRGB profile, with a fixed date: equal photos give equal files."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]
