"""Pairs in folders, decoded photos, and the batches made from them."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from expcorr_core.batch.inputs import find_inputs
from expcorr_core.data import dataset
from expcorr_core.data.dataset import PhotoStore, Scenes, TrainingBatches, find_training_files, is_useful, load_photo
from expcorr_core.data.pairs import EXPOSURES, OTHERS, UNDER, find_exposure_pairs, find_test_pairs
from expcorr_core.data.simulator import ExposureSimulator
from expcorr_core.method.contrast import normalise_range
from expcorr_core.photos.reading import ImageError, find_photos


def add(path: Path, pixels: object = (9, 9, 9)) -> Path:
    """A photo file with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (8, 6), pixels) if isinstance(pixels, tuple) else Image.fromarray(np.asarray(pixels))
    image.save(path, quality=95)
    return path


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """With the layout of the paper's data set: two scenes in training, one in testing."""
    root = tmp_path / "set"
    for scene in ("a0001-jmac_DSC1459", "a0002-x"):
        add(root / "training/GT_IMAGES" / f"{scene}.jpg")
        for i, exposure in enumerate(EXPOSURES):
            add(root / "training/INPUT_IMAGES" / f"{scene}_{exposure}.{'JPG' if i % 2 else 'jpg'}")
    for expert in "abcde":
        add(root / f"testing/expert_{expert}_testing_set" / "t.jpg")
    for exposure in EXPOSURES:
        add(root / "testing/INPUT_IMAGES" / f"t_{exposure}.JPG")
    return root


def test_the_papers_layout(original: Path) -> None:
    for folder in (original, original / "training"):
        files, reports = find_training_files(folder)
        assert len(files) == 10
        assert reports == []
    assert all(input_.stem.startswith(target.stem + "_") for input_, target in files)
    pairs, _ = find_exposure_pairs(original / "training/INPUT_IMAGES", original / "training/GT_IMAGES")
    assert Counter(pair.groups[0] for pair in pairs) == {UNDER: 4, OTHERS: 6}
    tests, reports = find_test_pairs(original)
    assert reports == []
    assert len(tests) == 25
    assert [pair.groups[-1] for pair in tests[:5]] == [f"expert {e}" for e in "abcde"]
    assert len({pair.input for pair in tests[:5]}) == 1


def test_what_is_amiss_is_reported_at_the_start(original: Path) -> None:
    inputs, targets = original / "training/INPUT_IMAGES", original / "training/GT_IMAGES"
    (inputs / "a0001-jmac_DSC1459_0.jpg").unlink()
    add(inputs / "a0003-y_N1.jpg")
    add(inputs / "holiday.jpg")
    add(targets / "a0004-z.jpg")
    files, reports = find_training_files(original)
    assert len(files) == 9
    text = "\n".join(reports)
    for part in ("1 photos in .*INPUT_IMAGES have no exposure.*holiday", "have no target .*: a0003-y_N1"):
        assert re.search(part, text), text
    assert "have no input and are left out: a0004-z.jpg" in text
    assert "lack some of the 5 exposures: a0001-jmac_DSC1459.jpg" in text
    for path in targets.iterdir():
        path.unlink()
    add(targets / "other.jpg")
    with pytest.raises(ImageError, match="inputs are named like their targets"):
        find_training_files(original)
    with pytest.raises(ImageError, match="is not laid out"):
        find_test_pairs(original / "training")


def test_photos_are_found_below_the_folder(tmp_path: Path) -> None:
    add(tmp_path / "a.jpg")
    add(tmp_path / "b/c.png")
    add(tmp_path / "b/.hidden.png")
    add(tmp_path / "b/.thumbnails/a.jpg")
    add(tmp_path / "folder.jpg/d.JPG")
    (tmp_path / "b/again").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.jpg")
    files = [path for (path,) in find_training_files(tmp_path)[0]]
    assert [path.name for path in files] == ["a.jpg", "c.png", "d.JPG"]
    # The command line takes the same, by the same walk.
    assert sorted(path for path, _ in find_inputs([str(tmp_path)], tmp_path / "out")) == files
    assert [path.name for path in find_photos(tmp_path)] == ["a.jpg"]
    with pytest.raises(ImageError, match="is not a folder"):
        find_training_files(tmp_path / "none")


def test_folders_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tmp_path / "a.jpg")
    closed = add(tmp_path / "closed/b.jpg").parent
    scandir = os.scandir

    def refuse(path: str) -> object:  # as for a user who is not root
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ImageError, match=r"closed cannot be read \(Permission denied\); check its permissions"):
        find_training_files(tmp_path)
    # The command line corrects the others, and says so when it comes to it.
    assert [path for path, _ in find_inputs([str(tmp_path)], tmp_path / "out")] == [tmp_path / "a.jpg", closed]
    (tmp_path / "d.jpg").write_bytes(b"no photo")
    with pytest.raises(ImageError, match=r"d\.jpg is not a photo"):
        load_photo(tmp_path / "d.jpg", 64)


def test_store_keeps_what_fits_and_reads_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (6 + i, 9, 3), np.uint8) for i in range(5)]
    files = [(add(tmp_path / f"{i}.png", picture),) for i, picture in enumerate(pictures)]
    monkeypatch.setattr(dataset, "CHUNK", 400)  # two photos a block
    for budget, kept in ((10**6, 5), (600, 3), (0, 0)):
        for workers in (0, 2):
            store = PhotoStore(files, budget=budget, workers=workers, quiet=True)
            assert (len(store), store.kept) == (5, kept)
            for i, picture in enumerate(pictures):
                assert np.array_equal(store[i].permute(1, 2, 0).numpy(), picture), (budget, i)
    assert PhotoStore(files, larger_side=4, quiet=True)[0].shape == (3, 3, 4)


@pytest.mark.parametrize("workers", [0, 1])
def test_store_names_bad_files_at_the_start(tmp_path: Path, workers: int) -> None:
    good, odd = add(tmp_path / "a.png"), add(tmp_path / "b.png", np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(ImageError, match=r"^\S+a\.png and \S+b\.png differ in size; \w+"):
        PhotoStore([(good, odd)], workers=workers, quiet=True)
    odd.write_bytes(b"")
    with pytest.raises(ImageError, match=r"^\S+b\.png is empty"):
        PhotoStore([(good,), (odd,)], workers=workers, quiet=True)


@pytest.fixture
def store(tmp_path: Path) -> PhotoStore:
    rng = np.random.default_rng(1)
    files = []
    for i, (height, width) in enumerate(((6, 8), (8, 6), (7, 7), (5, 9))):
        small = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        large = small.resize((width * 20, height * 20), Image.Resampling.BICUBIC)
        files.append((add(tmp_path / f"{i}.png", large),))
    return PhotoStore(files, quiet=True)


@pytest.mark.parametrize("patches", [0, 2])
def test_batches_depend_on_seed_and_number_alone(store: PhotoStore, patches: int) -> None:
    first, second = (
        TrainingBatches(store, size=64, batch_size=3, seed=(7, 0), patches=patches, recolour_share=0.5)
        for _ in range(2)
    )
    sizes = set()
    for index in (5, 0, 3, 9, 1):
        a, b = first[index], second[index]
        assert torch.equal(a.input, b.input)
        assert torch.equal(a.target, b.target)
        assert a.input.shape == a.target.shape
        sizes.add(tuple(a.input.shape[2:]))
    assert sizes <= ({(64, 64)} if patches else {(64, 64), (48, 64), (64, 48)})
    assert not torch.equal(
        first[0].target, TrainingBatches(store, size=64, batch_size=3, seed=(8, 0), patches=patches)[0].target
    )


@pytest.mark.parametrize("patches", [0, 2])
def test_processes_share_a_batch(store: PhotoStore, patches: int) -> None:
    whole = TrainingBatches(store, size=64, batch_size=4, seed=(7, 0), patches=patches)
    parts = [
        TrainingBatches(store, size=64, batch_size=4, seed=(7, 0), patches=patches, rank=rank, world=2)
        for rank in range(2)
    ]
    for index in range(3):
        for rank, part in enumerate(parts):
            for a, b in zip(part[index], whole[index], strict=True):
                assert torch.equal(a, b[rank::2])


def test_inputs_are_normalised_on_demand(store: PhotoStore) -> None:
    plain, normalised = (
        TrainingBatches(store, size=64, batch_size=4, seed=(7, 0), normalise=n)[0] for n in (False, True)
    )
    assert torch.equal(plain.target, normalised.target)
    assert torch.equal(normalise_range(plain.input), normalised.input)
    assert not torch.equal(plain.input, normalised.input)


def test_oversize_exposes_before_it_reduces(store: PhotoStore) -> None:
    """What clips in a large photo stays clipped; twice the photo's size is asked for, then halved."""
    simulator = ExposureSimulator(ev_low=2, ev_high=2, kept_share=0, near_share=0, range_share=0, local_share=0)
    large = TrainingBatches(store, size=64, batch_size=4, seed=(7, 0), simulator=simulator)[0]
    small = TrainingBatches(store, size=32, batch_size=4, seed=(7, 0), simulator=simulator, oversize=2)[0]
    for a, b in zip(large, small, strict=True):
        assert torch.allclose(torch.nn.functional.avg_pool2d(a, 2), b, atol=1e-6)


def test_photos_are_exposed_more_than_once_on_demand(store: PhotoStore) -> None:
    once, twice = (TrainingBatches(store, size=64, batch_size=3, seed=(7, 0), exposures=count)[0] for count in (1, 2))
    assert len(twice.input) == 6
    assert torch.equal(twice.target[0::2], twice.target[1::2])
    assert torch.equal(twice.target[0::2], once.target)
    assert not any(torch.equal(a, b) for a, b in zip(twice.input[0::2], twice.input[1::2], strict=True))


def test_scenes_take_the_place_of_some_photos(store: PhotoStore) -> None:
    target = torch.full((2, 3, 40, 40), 77, dtype=torch.uint8)
    scenes = Scenes(torch.zeros(2, 3, 40, 40, dtype=torch.float16), target)
    batches = [
        TrainingBatches(
            store, size=32, batch_size=24, seed=(7, 0), sampled=True, exposures=2, scenes=scenes, scene_share=share
        )[0]
        for share in (0, 0.5, 1)
    ]
    shares = [float((batch.target == 77 / 255).all(1).all(1).all(1).float().mean()) for batch in batches]
    assert shares[0] == 0
    assert 0.25 < shares[1] < 0.75
    assert shares[2] == 1
    assert all(batch.input.shape == (48, 3, 32, 32) for batch in batches)
    flat = batches[2].input.std((2, 3)).amax(1)  # light of one kind, but for the noise
    assert flat.max() < 0.02


def test_sampled_photos_are_squares_of_their_own_pixels(store: PhotoStore) -> None:
    """Photos of different shapes share a batch, and their clipped pixels stay clipped."""
    simulator = ExposureSimulator(kept_share=1)
    batch = TrainingBatches(store, size=32, batch_size=8, seed=(7, 0), simulator=simulator, sampled=True)[0]
    assert batch.input.shape == (8, 3, 32, 32)
    values = {value for index in range(len(store)) for value in store[index].unique().tolist()}
    assert {round(value) for value in (batch.target * 255).flatten().tolist()} <= values


@given(batch=st.integers(1, 7), patches=st.integers(1, 5), photos=st.integers(1, 6))
def test_an_epoch_has_each_photo_as_often(batch: int, patches: int, photos: int) -> None:
    batches = TrainingBatches.__new__(TrainingBatches)
    batches.photos, batches.patches, batches.batch_size, batches.seed = range(photos), patches, batch, (1, 0)  # type: ignore[assignment]
    length = photos * patches
    members = [m for first in range(0, length * batch, batch) for m in batches._shuffled(first)]
    for epoch in range(batch):
        assert set(Counter(members[epoch * length : (epoch + 1) * length]).values()) == {patches}


def test_pairs_are_cropped_and_mirrored_alike(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(30, 220, (80, 90, 3), np.uint8)
    files = [(add(tmp_path / "i.png", pixels), add(tmp_path / "t.png", 255 - pixels))]
    for patches in (0, 3):
        batch = TrainingBatches(PhotoStore(files, quiet=True), size=64, batch_size=8, seed=(0, 0), patches=patches)[0]
        assert torch.allclose(batch.input, 1 - batch.target, atol=1e-4)
        assert len({float(x.mean()) for x in batch.input}) > 4  # places differ


def test_small_photos_are_enlarged_for_patches(tmp_path: Path) -> None:
    store = PhotoStore([(add(tmp_path / "s.png", np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)),)])
    assert TrainingBatches(store, size=64, batch_size=2, seed=(0, 0), patches=1)[0].target.shape == (2, 3, 64, 64)


def test_patches_with_nothing_in_them_are_rejected() -> None:
    noise = torch.rand(3, 32, 32)
    assert is_useful(noise)
    assert not is_useful(torch.full((3, 32, 32), 0.5))
    assert not is_useful(noise * 0.01)
    assert not is_useful(1 - noise * 0.01)
    # A ramp of slope s has Sobel magnitude 8 s inside, and half of it in the two columns at the border.
    ramp = torch.arange(32.0).expand(3, 32, 32) / 31
    assert is_useful(0.2 + ramp * 0.06 / 8 * 31 * 1.1)
    assert not is_useful(0.2 + ramp * 0.06 / 8 * 31)


def test_recolouring_keeps_luminance(store: PhotoStore) -> None:
    plain, coloured = (
        TrainingBatches(
            store, size=64, batch_size=8, seed=(7, 0), simulator=ExposureSimulator(kept_share=1), recolour_share=share
        )[0].target
        for share in (0.0, 1.0)
    )
    changed = (plain - coloured).abs().mean((1, 2, 3))
    assert (changed > 0.005).all()
    luma = (torch.tensor(dataset.GREY).view(3, 1, 1) * (plain - coloured)).sum(1)
    assert luma.abs().mean() < 0.01  # but for what clips
