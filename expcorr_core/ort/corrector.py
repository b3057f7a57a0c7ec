"""From a photo of any size to the corrected photo with ONNX Runtime and NumPy: what ``Corrector`` does with PyTorch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from ..bilateral.array_grid import ArrayGrid
from ..image.arrays import Floats, single
from ..image.checks import check_image, check_shape
from ..image.limits import Limits
from ..image.resize import reduce_to
from ..photos.icc import ColourSpace
from ..photos.photo import Photo
from ..settings import WORKING_SIZE, Settings, UsageError
from .sessions import DEFAULT, FIT, Session, model_file, pick_device


class OnnxCorrector:
    """Corrects the exposure of photos.

    Args:
        weights: a ``model.onnx`` or ``model_fp16.onnx`` that ``training/export.py --onnx`` wrote; None for the bundled
            default network.
        device: ``auto``, ``cpu``, ``cuda``, ``directml``, ``coreml`` or ``openvino``.

    Attributes:
        device: where the network computes.

    Raises:
        UsageError: ONNX Runtime, the device or the network is missing.
        ValueError: the file is damaged, or of another network.

    Example:
        >>> corrected = OnnxCorrector()(image)  # (1, 3, H, W) float32, 0..1
    """

    runtime = "onnx"  # what it is computed by

    def __init__(self, weights: str | Path | None = None, device: str = "auto") -> None:
        path = Path(weights) if weights else model_file(DEFAULT)
        self.device = pick_device(device, Path(weights) if weights else None)
        self._network = Session(path, self.device)
        if not {"grid", "corrected"} <= set(self._network.outputs):
            raise ValueError(f"{path} is no network of exposure correction; name one that export.py --onnx wrote")

    @cached_property
    def _fit(self) -> Session:
        """Fits grids; only photos that are not sRGB need it, and it is small."""
        return Session(model_file(FIT), "cpu")

    def __call__(self, image: Floats, settings: Settings | None = None, space: ColourSpace | None = None) -> Floats:
        """Correct an image of any size and content.

        Args:
            image: ``(1, 3, H, W)`` floating-point, 0..1 (values beyond are clamped), any strides.
            settings: how to correct.
            space: colour space of the image and the result; None for sRGB.

        Returns:
            The corrected image: same shape and strides, float32, 0..1.

        Raises:
            ValueError: wrong shape or type, NaN or infinite values, or settings that need PyTorch.
        """
        settings = settings or Settings()
        if settings.strength == 0:
            check_image(image, arrays=True)
            return single(image).copy("K")
        grid, _ = self.find(self.reduce(image, settings), settings, space)
        return grid.blend(settings.strength).slice(single(image))

    def correct_photo(self, photo: Photo, settings: Settings | None = None) -> Photo:
        """Correct a decoded photo in its own colour space and tone curve; errors as in calling this."""
        return photo.with_array(self(photo.to_array(), settings, photo.space))

    def reduce(self, image: Floats, settings: Settings) -> Floats:
        """An image at the size that the network sees, ``(1, 3, h, w)`` float32, 0..1; errors as in calling this."""
        check_settings(settings)
        check_shape(image, arrays=True)
        if len(image) > 1:
            raise ValueError(f"image must be one, (1, 3, H, W), got shape {image.shape}; give them one by one")
        small = reduce_to(image, settings.working_size)
        check_image(small, arrays=True)  # every pixel contributes to it
        return small.clip(0, 1)

    def find(
        self, small: Floats, settings: Settings, space: ColourSpace | None = None
    ) -> tuple[ArrayGrid, Floats | None]:
        """The full correction of what :meth:`reduce` returns, and how surely the photo is well exposed.

        The latter is a probability, where as many photos are well exposed as are not; None from the paper's network.
        """
        found = self._network(photo=space.to_srgb(small) if space else small)
        grid = found["grid"]
        if space:
            grid = self._fit(before=small, after=space.carry_back(small, found["corrected"]))["grid"]
        limits = Limits.of(settings.max_stops, settings.keep_highlights)
        return ArrayGrid(grid, limits), found.get("well_exposed")


def check_settings(settings: Settings) -> None:
    """Raise UsageError for settings that the exported networks were not made for."""
    asked = {
        "gains": settings.gains is not None,
        "fusion": settings.fusion,
        "stretch": settings.stretch != 0,
        "correcting without the mirrored photo": not settings.flip,
        f"a working size above {WORKING_SIZE}": settings.working_size > WORKING_SIZE,
    }
    if names := [name for name, wanted in asked.items() if wanted]:
        raise UsageError(
            f"ONNX Runtime cannot do this: {', '.join(names)}; use PyTorch: pip install 'expcorr[standalone]'"
        )
