"""Makes the training pairs of one raw file or one HDR picture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from expcorr_core.data.pairs import EXPERTS, photos_by_stem, suffix_of
from expcorr_core.method.fusion import fuse_exposures
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import ImageError, read_photo

from .align import Alignment, Box, Misaligned, align
from .build import TRAINING_EXPERT, Made, Pixels
from .colour import to_srgb
from .radiance import is_panorama, metered, read_radiance, views
from .raw import raw_pixels, read_raw
from .scenes import perceptual_hash
from .tone import Scene, expose, fitting, render, resize, tone_map

FUSED_EVS = (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)  # the bracket that HDR targets are fused from
# Memory needed while a raw file is rendered: whole, and at half its size; without targets and with them.
BYTES_A_PIXEL = {False: (36.0, 16.0), True: (91.0, 34.0)}
HDR_BYTES_A_BYTE = 40.0  # memory per byte of an HDR file
LEAST_SIDE = 64  # pixels; smaller pictures are of no use for training


def find_targets(folder: Path) -> dict[str, dict[str, Path]]:
    """Targets by expert and stem.

    Args:
        folder: photos named like the raw files, or folders of them whose names end with an expert's letter after an
            underscore (``tiff16_a`` .. ``tiff16_e``). Those of a plain folder count as expert C's.

    Raises:
        ImageError: there are none, none of expert C, or two with the same name or expert.
    """
    folders: dict[str, Path] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else []):
        match = re.search(rf"(?:^|_)([{EXPERTS}])$", path.name, re.IGNORECASE) if path.is_dir() else None
        if match and (other := folders.setdefault(match[1].lower(), path)) != path:
            raise ImageError(
                f"{other} and {path} would both be expert {match[1].upper()}'s targets; rename one of them"
            )
    if not folders:
        folders = {TRAINING_EXPERT: folder}
    elif TRAINING_EXPERT not in folders:
        raise ImageError(
            f"{folder} has no folder for expert {TRAINING_EXPERT.upper()}, whose targets are used for training"
        )
    return {expert: photos_by_stem(path) for expert, path in folders.items()}


class _Placed(NamedTuple):
    """A target's file, its height and width, and its place in the rendering."""

    path: Path
    sides: tuple[int, ...]
    alignment: Alignment


@dataclass(frozen=True)
class RawMaker:
    """Renders a raw file at several exposures; the target is a retouched photo, or the rendering at EV 0.

    Attributes:
        evs: relative exposures, stops.
        size: larger side of the pictures, pixels; None keeps the camera's.
        targets: by expert and stem (:func:`find_targets`); None takes the rendering at EV 0.
    """

    evs: tuple[float, ...]
    size: int | None
    targets: Mapping[str, Mapping[str, Path]] | None

    def parts(self, source: Path) -> list[Path]:
        missing = [expert for expert, paths in (self.targets or {}).items() if source.stem not in paths]
        if missing:
            raise ImageError(f"{source} has no target from expert {', '.join(missing).upper()}")
        return [source, *(paths[source.stem] for paths in (self.targets or {}).values())]

    def cost(self, source: Path) -> float:
        """Measured with 45 megapixels and 16-bit targets."""
        whole, half = BYTES_A_PIXEL[bool(self.targets)]
        return raw_pixels(source) * (half if self.size else whole)

    def make(self, source: Path) -> list[Made]:
        scene = read_raw(source, self.size)
        height, width = scene.light.shape[:2]
        box = Box(0, 0, height, width)
        preview = _preview(scene) if self.targets else None
        placed: dict[str, _Placed] = {}
        for expert, paths in (self.targets or {}).items():
            assert preview is not None
            placed[expert] = _place(preview, scene.scale, paths[source.stem])
            box = box.meet(placed[expert].alignment.box(height, width))
        tall, wide = box.bottom - box.top, box.right - box.left
        if min(tall, wide) < LEAST_SIDE:
            raise ImageError(f"{source} and its targets have too small a part in common")
        # No picture is larger than its target.
        sharp = min((p.sides[1] / p.alignment.size[1] for p in placed.values()), default=1.0)
        size = fitting(tall, wide, min(self.size or max(tall, wide), round(max(tall, wide) * sharp)))
        part = replace(scene, light=np.ascontiguousarray(box.of(scene.light)))
        inputs = {suffix_of(ev): render(part, ev, size) for ev in self.evs}
        neutral = inputs[suffix_of(0)] if 0 in self.evs else render(part, 0, size)
        targets = {expert: _cut(p, box, size) for expert, p in placed.items()} or {TRAINING_EXPERT: neutral}
        return [Made(source.stem, inputs, targets, perceptual_hash(neutral), _note(placed, box, scene))]


def _preview(scene: Scene) -> Pixels:
    """The green channel at EV 0, ``(H, W, 1)``: enough for alignment."""
    light = scene.light[..., 1:2].astype(np.float32) / np.float32(65535)
    preview: Pixels = (tone_map(expose(light, scene.ev), scene, scene.ev) ** 0.45 * 255 + 0.5).astype(np.uint8)
    return preview


def _place(preview: Pixels, scale: float, path: Path) -> _Placed:
    green = Photo(read_photo(path).pixels[..., 1:2]).eight_bit()
    try:
        return _Placed(path, green.shape[:2], align(preview, green, scale))
    except Misaligned as error:
        raise ImageError(f"{path} cannot be aligned: {error}") from error


def _cut(placed: _Placed, box: Box, size: tuple[int, int]) -> Pixels:
    """The part of a target that a part of the rendering shows, resized, in sRGB."""
    photo = read_photo(placed.path)  # again: all experts' targets at once would take much memory
    ratios = [side / taken for side, taken in zip(placed.sides, placed.alignment.size, strict=True)] * 2
    own = Box(*(round(edge * ratio) for edge, ratio in zip(placed.alignment.in_target(box), ratios, strict=True)))
    try:
        return to_srgb(resize(own.of(photo.pixels), size), photo.metadata.icc_profile)
    except ImageError as error:
        raise ImageError(f"{placed.path} cannot be used: {error}") from error


def _note(placed: Mapping[str, _Placed], box: Box, scene: Scene) -> str:
    """What the alignment did; empty where rendering and targets had the same size and place."""
    height, width = scene.light.shape[:2]
    if box == Box(0, 0, height, width) and all(p.alignment.size == (height, width) for p in placed.values()):
        return ""
    moves = (
        f"target {expert.upper()} at row {p.alignment.shift[0]}, column {p.alignment.shift[1]}"
        for expert, p in placed.items()
    )
    kept = f"rows {box.top}-{box.bottom} of {height}, columns {box.left}-{box.right} of {width} kept"
    return "; ".join((*moves, kept))


@dataclass(frozen=True)
class HdrMaker:
    """Exposes an HDR picture, or views of a panorama; the target is fused from a bracket of eight exposures.

    Attributes:
        evs: exposures relative to the metered one, stops.
        size: larger side of the pictures, pixels; None keeps the source's.
        count: number of views of a panorama.
        seed: of the views.
        flat: treat 2 : 1 pictures as plain pictures, not as panoramas.
    """

    evs: tuple[float, ...]
    size: int | None
    count: int
    seed: int
    flat: bool = False

    def parts(self, source: Path) -> list[Path]:
        return [source]

    def cost(self, source: Path) -> float:
        return source.stat().st_size * HDR_BYTES_A_BYTE

    def make(self, source: Path) -> list[Made]:
        light = read_radiance(source)
        if self.flat or not is_panorama(light):
            return [self._expose(source.stem, light, source)]
        # Views depend only on the file's name, not on the order of the files.
        rng = np.random.default_rng([self.seed, *source.stem.encode()])
        pictures = views(light, self.count, self.size, rng)
        return [self._expose(f"{source.stem}-{index:02d}", picture, source) for index, picture in enumerate(pictures)]

    def _expose(self, name: str, light: NDArray[np.float32], source: Path) -> Made:
        try:
            scene = metered(light)
        except ImageError as error:
            raise ImageError(f"{source} cannot be exposed: {error}") from error
        size = fitting(light.shape[0], light.shape[1], self.size)
        if min(size) < LEAST_SIDE:
            raise ImageError(f"{source} gives pictures of only {size[1]}x{size[0]} pixels")
        bracket = {ev: render(scene, ev, size) for ev in {*FUSED_EVS, *self.evs}}
        fused = fuse_exposures([Photo(bracket[ev]).to_tensor() for ev in FUSED_EVS])
        inputs = {suffix_of(ev): bracket[ev] for ev in self.evs}
        return Made(
            name, inputs, {TRAINING_EXPERT: Photo.from_tensor(fused).eight_bit()}, perceptual_hash(bracket[0.0])
        )
