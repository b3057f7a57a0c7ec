"""A photo of any kind, corrected, by PyTorch or ONNX Runtime."""

from __future__ import annotations

import sys
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .image.arrays import array_of
from .photos.icc import tone_of
from .photos.metadata import Metadata
from .photos.photo import Photo
from .photos.raw_metadata import written_name
from .photos.reading import decode_photo, kind_of, read_photo
from .photos.writing import encode_photo, write_photo
from .runtimes import ONNX, choose_runtime, corrector_of, image_for
from .settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from .corrector import Corrector
    from .ort.corrector import OnnxCorrector

    PhotoLike = TypeVar("PhotoLike", Path, str, bytes, Image.Image, NDArray[Any], Tensor)


@cache
def _bundled() -> Corrector | OnnxCorrector:
    return corrector_of(None, "cpu", choose_runtime(None))


def correct(
    photo: PhotoLike,
    output: str | Path | None = None,
    *,
    settings: Settings | None = None,
    corrector: Corrector | OnnxCorrector | None = None,
    overwrite: bool = False,
) -> PhotoLike:
    """Correct a photo of any kind, and return the same kind.

    Args:
        photo: the name of a file, the bytes of a file, a PIL image, a NumPy array, ``(H, W)`` or ``(H, W, 1, 3 or 4)``,
            uint8, uint16 or floating-point in 0..1, or a tensor ``(B, 3, H, W)``, 0..1. Files and PIL images are turned
            upright according to their EXIF and corrected in the space of their ICC profile; all else is taken as sRGB.
        output: for a named file, the file to write; by default its name with ``_corrected`` before the suffix, which is
            ``.tif`` for raw files.
        settings: how to correct.
        corrector: one with other weights or on another device; by default the bundled weights on the CPU, computed by
            PyTorch, or by ONNX Runtime where that is missing.
        overwrite: replace the output.

    Returns:
        The corrected photo: the name of the written file, bytes in the same format, an image of the same mode (RGB
        for palettes and CMYK), an array or tensor of the same shape and type.

    Raises:
        ImageError: a file cannot be read or written.
        ValueError: an array or tensor has another shape or type, or values above 2 or not finite.
        TypeError: the photo is not of one of these kinds.

    Example:
        >>> correct("photo.jpg")
        'photo_corrected.jpg'
    """
    result: PhotoLike = _corrected(photo, output, settings, corrector or _bundled(), overwrite)
    return result


def _corrected(photo: Any, output: str | Path | None, settings: Settings | None, used: Any, overwrite: bool) -> Any:
    if output is not None and not isinstance(output, str | Path):
        raise TypeError(f"output is the name of a file, not {type(output).__name__}; settings are given by name")
    if output is not None and not isinstance(photo, str | Path):
        raise ValueError("an output can only be given for a photo that is given by its file name")
    if isinstance(photo, str | Path):
        source = Path(photo)
        named = written_name(source)
        target = named.with_stem(f"{source.stem}_corrected") if output is None else Path(output)
        write_photo(target, used.correct_photo(read_photo(source), settings), overwrite)
        return type(photo)(target) if isinstance(photo, str) else target
    if isinstance(photo, bytes):
        name = Path("the photo")
        file = BytesIO()
        read, kind = decode_photo(photo, name), kind_of(photo[:32], name)
        encode_photo(file, used.correct_photo(read, settings), "TIFF" if kind == "RAW" else kind)
        return file.getvalue()
    if isinstance(photo, Image.Image):
        return _correct_image(photo, used, settings)
    if (torch := sys.modules.get("torch")) and isinstance(photo, torch.Tensor):
        if photo.is_floating_point() and photo.numel():
            _check_range(float(photo.amax()))
        if used.runtime == ONNX:
            raise TypeError("tensors are corrected by PyTorch's Corrector only; give the photo as an array")
        return used(photo, settings)
    if isinstance(photo, np.ndarray):
        return _correct_array(photo, used, settings)
    raise TypeError(f"a photo must be a name, bytes, a PIL image, an array or a tensor, not {type(photo).__name__}")


def _check_range(largest: float) -> None:
    """Raise ValueError for floating-point values on the scale of 8 or 16 bits, which would all be clamped to white."""
    if largest > 2:  # resizing overshoots 1 by less
        raise ValueError(f"floating-point values must be in 0..1, got up to {largest:g}; divide them first")


def _correct_image(image: Image.Image, corrector: Any, settings: Settings | None) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    profile = upright.info.get("icc_profile") or b""
    alpha = upright.has_transparency_data
    grey = upright.mode in ("1", "L", "LA")
    pixels = np.array(upright.convert("RGBA" if alpha else "RGB"))
    if upright.mode == "CMYK":
        profile = b""
    held = Photo(
        pixels[..., :3], grey=grey, metadata=Metadata(icc_profile=profile), tone=tone_of(profile, pixels.dtype)
    )
    result = Image.fromarray(np.ascontiguousarray(corrector.correct_photo(held, settings).pixels))
    if grey:
        result = result.convert("L")
    if alpha:
        result.putalpha(Image.fromarray(np.ascontiguousarray(pixels[..., 3])))
    result.info = {key: value for key, value in upright.info.items() if key != "icc_profile" or profile}
    return result


def _correct_array(array: NDArray[Any], corrector: Any, settings: Settings | None) -> NDArray[Any]:
    shaped = array[..., None] if array.ndim == 2 else array
    if shaped.ndim != 3 or shaped.shape[2] not in (1, 3, 4):
        raise ValueError(f"an array must have shape (H, W) or (H, W, 1, 3 or 4), got {array.shape}")
    if array.dtype.kind not in "uf":
        raise ValueError(f"an array must be uint8, uint16 or floating-point in 0..1, got {array.dtype}")
    if array.dtype.kind == "f" and array.size:
        _check_range(float(array.max()))
    peak = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    colours = shaped[..., :3] if shaped.shape[2] > 1 else np.repeat(shaped, 3, 2)
    image = (colours.astype(np.float32) / np.float32(peak)).transpose(2, 0, 1)[None]
    result = array_of(corrector(image_for(image, corrector.runtime), settings))[0].transpose(1, 2, 0) * np.float32(peak)
    if shaped.shape[2] == 1:
        result = result.mean(2, keepdims=True)
    if peak > 1:
        result = result.round()
    changed = np.array(shaped)
    changed[..., : result.shape[2]] = result.astype(array.dtype)
    return changed.reshape(array.shape)
