"""Training batches from a folder of well-exposed photos, or from pairs, made while training runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..image.resize import resize, sample
from ..method.contrast import normalise_range
from ..photos.reading import ImageError, find_photos, read_photo
from .pairs import find_exposure_pairs, find_split
from .simulator import ExposureSimulator

# Whole photos come in one of these shapes (height, width as shares of the size): all divisible as the network needs.
ASPECTS = ((1.0, 1.0), (0.75, 1.0), (1.0, 0.75))
CHUNK = 256 * 2**20  # bytes of one block of the cache
# Rejection of patches (reference program): nearly black or white, or nearly flat by the mean Sobel magnitude.
DARKEST, BRIGHTEST, FLATTEST, TRIALS = 0.02, 0.98, 0.06, 200
GREY = (0.2989, 0.587, 0.114)  # Rec. 601, as the reference's rgb2gray
YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


class Batch(NamedTuple):
    """Wrongly exposed inputs and their targets, both ``(B, 3, H, W)``, 0..1."""

    input: Tensor
    target: Tensor


def find_training_files(folder: Path) -> tuple[list[tuple[Path, ...]], list[str]]:
    """Find the photos or pairs to train on.

    Args:
        folder: laid out as the paper's data set (see :mod:`expcorr_core.data.pairs`), or with well-exposed photos in it
            and its subfolders.

    Returns:
        ``(input, target)`` files of pairs or ``(target,)`` files of photos; and problems found, one sentence each.

    Raises:
        ImageError: the folder is missing or holds no photos.
    """
    if split := find_split(folder):
        pairs, reports = find_exposure_pairs(*split)
        return [(pair.input, pair.target) for pair in pairs], reports
    return [(path,) for path in find_photos(folder, recursive=True)], []


def load_photo(path: Path, larger_side: int | None = None) -> Tensor:
    """Decode one photo, reduced so that its larger side is at most ``larger_side``.

    Returns:
        ``(3, H, W)`` uint8.

    Raises:
        ImageError: the file cannot be decoded.
    """
    image = Image.fromarray(read_photo(path, at_least=larger_side).eight_bit())
    if larger_side:
        image.thumbnail((larger_side, larger_side), Image.Resampling.LANCZOS, reducing_gap=3)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


class _Decoder(Dataset[Tensor | ImageError]):
    def __init__(self, files: Sequence[tuple[Path, ...]], larger_side: int | None) -> None:
        self.files = files
        self.larger_side = larger_side

    def __getitem__(self, index: int) -> Tensor | ImageError:
        try:
            photos = [load_photo(path, self.larger_side) for path in self.files[index]]
            if photos[0].shape != photos[-1].shape:
                first, last = self.files[index][0], self.files[index][-1]
                raise ImageError(f"{first} and {last} differ in size; remove the pair or render it again")
        # An exception raised in another process would not arrive as an ImageError.
        except ImageError as error:
            return error
        return torch.cat(photos)


class PhotoStore:
    """Decoded photos, as many in memory as a budget allows; the others are decoded each time they are requested.

    Args:
        files: the photo, or input and target, of each entry.
        larger_side: photos are reduced to this; None keeps their size.
        budget: bytes to keep in memory.
        workers: processes that decode at the start.
        quiet: no progress bar.

    Raises:
        ImageError: a photo cannot be decoded, or a pair differs in size.
    """

    def __init__(
        self,
        files: Sequence[tuple[Path, ...]],
        larger_side: int | None = None,
        budget: int = 4 * 2**30,
        workers: int = 0,
        quiet: bool = False,
    ) -> None:
        self._decoder = _Decoder(files, larger_side)
        # A few large blocks instead of many tensors: each is one handle where workers do not fork.
        self._blocks: list[Tensor] = []
        self._places: list[tuple[int, int, tuple[int, ...]]] = []
        self.ratios: list[float] = []  # height by width
        end, used = 0, 0
        decoded = DataLoader(self._decoder, None, sampler=range(len(files)), num_workers=workers)
        for photo in tqdm(decoded, "reading photos", leave=False, disable=quiet, mininterval=1):
            if isinstance(photo, ImageError):
                raise photo
            self.ratios.append(photo.shape[1] / photo.shape[2])
            used += photo.numel()
            if used > budget:
                continue
            if not self._blocks or end + photo.numel() > self._blocks[-1].numel():
                self._blocks.append(torch.empty(max(CHUNK, photo.numel()), dtype=torch.uint8))
                end = 0
            self._blocks[-1][end : end + photo.numel()] = photo.flatten()
            self._places.append((len(self._blocks) - 1, end, tuple(photo.shape)))
            end += photo.numel()

    @property
    def kept(self) -> int:
        """Number of photos in memory."""
        return len(self._places)

    def __len__(self) -> int:
        return len(self.ratios)

    def __getitem__(self, index: int) -> Tensor:
        """``(3, H, W)``, or ``(6, H, W)`` of input and target; uint8."""
        if index >= len(self._places):
            photo = self._decoder[index]
            if isinstance(photo, ImageError):
                raise photo
            return photo
        block, start, shape = self._places[index]
        return self._blocks[block][start : start + int(np.prod(shape))].view(shape)


class Scenes(NamedTuple):
    """Scenes whose light is known, as from HDR pictures.

    Attributes:
        stops: ``(N, 3, S, S)`` float16, stops from the light of middle grey.
        target: ``(N, 3, S, S)`` uint8, how each scene should look.
    """

    stops: Tensor
    target: Tensor


class TrainingBatches(Dataset[Batch]):
    """Batch number ``i`` depends only on the seed and ``i``, so a resumed run sees the same batches.

    Args:
        photos: well-exposed photos, or pairs.
        size: larger side of whole photos, or side of the patches; pixels.
        batch_size: photos per batch, over all processes.
        seed: for all random choices.
        patches: patches per photo and epoch; 0 uses whole photos.
        simulator: makes the inputs of photos that are not pairs.
        smallest_crop: whole photos are cropped to at least this share of their sides, 0..1.
        recolour_share: probability that the target's hue and saturation are changed before it is wrongly exposed.
        normalise: stretch the range of the inputs (see :func:`~.contrast.normalise_range`).
        oversize: whole photos are exposed at this multiple of ``size`` and then reduced: a camera clips details that
            a reduced photo no longer shows.
        sampled: whole photos of any shape become squares of some of their pixels as they are, as the global network
            sees them: what is clipped stays clipped.
        scenes: shown in place of some photos.
        scene_share: probability that a sample is a scene, 0..1.
        exposures: inputs per photo, each wrongly exposed in a different way, one after the other; not for pairs.
        rank, world: this process takes every ``world``-th photo of a batch, from ``rank``.
    """

    def __init__(
        self,
        photos: PhotoStore,
        *,
        size: int,
        batch_size: int,
        seed: Sequence[int],
        patches: int = 0,
        simulator: ExposureSimulator | None = None,
        smallest_crop: float = 0.6,
        recolour_share: float = 0.0,
        normalise: bool = False,
        oversize: int = 1,
        sampled: bool = False,
        scenes: Scenes | None = None,
        scene_share: float = 0.0,
        exposures: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.photos = photos
        self.size = size
        self.batch_size = batch_size
        self.seed = tuple(seed)
        self.patches = patches
        self.simulator = simulator or ExposureSimulator()
        self.smallest_crop = smallest_crop
        self.recolour_share = recolour_share
        self.normalise = normalise
        self.oversize = oversize
        self.sampled = sampled
        self.scenes = scenes
        self.scene_share = scene_share
        self.exposures = exposures
        self.positions = range(rank, batch_size, world)
        nearest = np.abs(np.log(photos.ratios)[:, None] - np.log([h / w for h, w in ASPECTS])).argmin(1)
        self.groups = [np.flatnonzero(nearest == i) for i in range(len(ASPECTS))]

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([*self.seed, index])
        members: Sequence[int]
        if self.patches:
            height = width = self.size
            members = self._shuffled(index * self.batch_size)
        elif self.sampled:
            height = width = self.size
            members = rng.choice(len(self.photos), self.batch_size).tolist()
        else:
            shares = np.array([len(group) for group in self.groups], dtype=float)
            group = rng.choice(len(ASPECTS), p=shares / shares.sum())
            height, width = (round(self.size * side) * self.oversize for side in ASPECTS[group])
            members = rng.choice(self.groups[group], self.batch_size).tolist()
        samples = []
        for position in self.positions:
            own = np.random.default_rng([*self.seed, index, position])
            if self.scenes and own.random() < self.scene_share:
                image, target = self._scene(self.scenes, own)
            else:
                image, target = self._photo(self.photos[members[position]], height, width, own)
            samples.append((image, target.expand_as(image)))
        image, target = (torch.cat(images) for images in zip(*samples, strict=True))
        if self.normalise:
            image = normalise_range(image)
        if self.oversize > 1:
            image, target = (F.avg_pool2d(x, self.oversize) for x in (image, target))
        return Batch(image, target)

    def _photo(self, photo: Tensor, height: int, width: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Inputs made of a photo or taken from a pair, ``(exposures, 3, H, W)``, and their target."""
        part = (
            _patch(photo, self.size, rng)
            if self.patches
            else _whole(photo, height, width, self.smallest_crop, rng, self.sampled)
        )
        if rng.random() < 0.5:
            part = part.flip(2)
        if rng.random() < self.recolour_share:
            part = _recoloured(part, rng)
        target = part[None, -3:]
        if len(part) == 6:
            return part[None, :3], target
        return self.simulator(target, _generator(rng), self.exposures), target

    def _scene(self, scenes: Scenes, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Inputs of a part of one of the scenes, ``(exposures, 3, size, size)``, and their target."""
        member = int(rng.integers(len(scenes.stops)))
        whole = torch.cat((scenes.stops[member].float(), scenes.target[member].float() / 255))
        part = _sampled_part(whole, self.size, self.size, self.smallest_crop, rng, 1.0)
        if rng.random() < 0.5:
            part = part.flip(2)
        stops, target = part[None, :3], part[None, 3:]
        return self.simulator.expose_scenes(stops, target, _generator(rng), self.exposures), target

    def _shuffled(self, first: int) -> list[int]:
        """The photos of patches ``first ..``: each epoch has every photo ``patches`` times, in another order."""
        members: list[int] = []
        length = len(self.photos) * self.patches
        while len(members) < self.batch_size:
            epoch, start = divmod(first + len(members), length)
            order = np.random.default_rng([*self.seed, 2**32, epoch]).permutation(length)
            members += [int(k) // self.patches for k in order[start : start + self.batch_size - len(members)]]
        return members


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


def _whole(photo: Tensor, height: int, width: int, smallest: float, rng: np.random.Generator, sampled: bool) -> Tensor:
    """A large part of the photo (``smallest`` to 1 of a side), slightly stretched; ``(C, height, width)``, 0..1."""
    full_h, full_w = photo.shape[1:]
    if sampled:
        return _sampled_part(photo, height, width, smallest, rng, full_w / full_h) / 255
    return _resized(_part(photo, smallest, rng, width / height), height, width)


def _sampled_part(
    picture: Tensor, height: int, width: int, smallest: float, rng: np.random.Generator, aspect: float
) -> Tensor:
    """So many pixels, as they are, of a large part of the picture."""
    return sample(_part(picture, smallest, rng, aspect)[None].float(), height, width)[0]


def _part(picture: Tensor, smallest: float, rng: np.random.Generator, aspect: float) -> Tensor:
    """A large part (``smallest`` to 1 of a side) of nearly this shape, width by height."""
    full_h, full_w = picture.shape[1:]
    aspect *= np.exp(rng.uniform(-0.08, 0.08))
    crop_h = min(full_h, full_w / aspect) * rng.uniform(smallest, 1.0)
    h, w = max(1, round(crop_h)), min(full_w, max(1, round(crop_h * aspect)))
    top, left = rng.integers(full_h - h + 1), rng.integers(full_w - w + 1)
    return picture[:, top : top + h, left : left + w]


def _resized(photo: Tensor, height: int, width: int) -> Tensor:
    return resize(photo[None].float() / 255, (height, width))[0]


def _patch(photo: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """A patch at a random place that is neither black, white nor flat; ``(C, size, size)``, 0..1."""
    height, width = photo.shape[1:]
    if min(height, width) < size:
        scale = size / min(height, width)
        height, width = max(size, round(height * scale)), max(size, round(width * scale))
        photo = (_resized(photo, height, width) * 255).round().byte()
    for _ in range(TRIALS):
        top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
        part = photo[:, top : top + size, left : left + size].float() / 255
        if is_useful(part[-3:]):
            break
    return part


def is_useful(patch: Tensor) -> bool:
    """Whether a target patch ``(3, H, W)``, 0..1, shows enough to learn from (the reference program's rule)."""
    if not DARKEST <= float(patch.mean()) <= BRIGHTEST:
        return False
    grey = (patch * torch.tensor(GREY).view(3, 1, 1)).sum(0)[None, None]
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    gradient = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), torch.stack((sobel, sobel.T))[:, None])
    return float(gradient.square().sum(1).sqrt().mean()) >= FLATTEST


def _recoloured(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Another hue (by up to 29 degrees) and saturation, the luminance kept; each three channels of ``(C, H, W)``."""
    angle, saturation = rng.uniform(-0.5, 0.5), rng.uniform(0.4, 1.25)
    turn = np.eye(3)
    turn[1:, 1:] = saturation * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = torch.from_numpy(np.linalg.inv(YIQ) @ turn @ np.array(YIQ)).float()
    return torch.einsum("ij,kjhw->kihw", matrix, image.reshape(-1, 3, *image.shape[1:])).flatten(0, 1).clamp(0, 1)
