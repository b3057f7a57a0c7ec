"""Exposure correction of photos after "Learning Multi-Scale Photo Exposure Correction" (CVPR 2021).

>>> import expcorr_core as ec
>>> ec.correct("photo.jpg")
'photo_corrected.jpg'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .bilateral.grid import BilateralGrid
    from .correcting import correct
    from .corrections.camera_raw import camera_raw_settings
    from .corrections.grid_file import Correction, GridError, load_grid, save_grid
    from .corrections.lut import Lut
    from .corrector import Corrector
    from .hub import download_weights
    from .image.report import exposure_error
    from .method.fusion import fuse_exposures
    from .method.network import Architecture, ExposureNetwork
    from .method.pyramid import laplacian_pyramid, reconstruct
    from .method.weights import load_weights, save_weights
    from .method.weights_file import WeightsError
    from .ort.corrector import OnnxCorrector
    from .photos.photo import Photo
    from .photos.reading import ImageError, read_photo
    from .photos.writing import write_photo
    from .series.corrector import SeriesCorrector
    from .settings import Settings, Smoothing
    from .video.sequence import SequenceCorrector

# The module that defines each name. Names are imported on first use, so the command line starts without PyTorch.
_PLACES = {
    "Architecture": "method.network",
    "BilateralGrid": "bilateral.grid",
    "Correction": "corrections.grid_file",
    "Corrector": "corrector",
    "GridError": "corrections.grid_file",
    "ExposureNetwork": "method.network",
    "ImageError": "photos.reading",
    "Lut": "corrections.lut",
    "OnnxCorrector": "ort.corrector",
    "Photo": "photos.photo",
    "SequenceCorrector": "video.sequence",
    "SeriesCorrector": "series.corrector",
    "Settings": "settings",
    "Smoothing": "settings",
    "WeightsError": "method.weights_file",
    "camera_raw_settings": "corrections.camera_raw",
    "correct": "correcting",
    "download_weights": "hub",
    "exposure_error": "image.report",
    "fuse_exposures": "method.fusion",
    "laplacian_pyramid": "method.pyramid",
    "load_grid": "corrections.grid_file",
    "load_weights": "method.weights",
    "read_photo": "photos.reading",
    "reconstruct": "method.pyramid",
    "save_grid": "corrections.grid_file",
    "save_weights": "method.weights",
    "write_photo": "photos.writing",
}

__all__ = [
    "Architecture",
    "BilateralGrid",
    "Correction",
    "Corrector",
    "ExposureNetwork",
    "GridError",
    "ImageError",
    "Lut",
    "OnnxCorrector",
    "Photo",
    "SequenceCorrector",
    "SeriesCorrector",
    "Settings",
    "Smoothing",
    "WeightsError",
    "__version__",
    "camera_raw_settings",
    "correct",
    "download_weights",
    "exposure_error",
    "fuse_exposures",
    "laplacian_pyramid",
    "load_grid",
    "load_weights",
    "read_photo",
    "reconstruct",
    "save_grid",
    "save_weights",
    "write_photo",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
