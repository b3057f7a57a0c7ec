"""TIFF files that are corrected in strips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from expcorr_core.batch import bulk
from expcorr_core.batch.bulk import Job, Work, correct_file
from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.settings import Settings

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(1, 100), st.integers(2, 22))
@pytest.mark.slow
def test_strips_of_a_grid_slice_as_the_whole(height: int, most_rows: int, nodes: int) -> None:
    generator = torch.Generator().manual_seed(height)
    grid = BilateralGrid(torch.rand(1, nodes, 3, 4, 3, 4, generator=generator))
    image = torch.rand(1, 3, height, 5, generator=generator)
    parts = list(grid.strips(height, most_rows))
    assert [part[0] for part in parts] == [0, *(part[1] for part in parts[:-1])]
    assert parts[-1][1] == height
    assert all(bottom - top <= most_rows for top, bottom, _ in parts)
    sliced = torch.cat([part.slice(image[:, :, top:bottom], clamp=False) for top, bottom, part in parts], 2)
    assert torch.allclose(sliced, grid.slice(image, clamp=False), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", [{}, {"tile": (64, 64)}, {"extrasamples": ["unassalpha"]}])
@pytest.mark.slow
def test_in_strips_as_in_memory(
    tmp_path: Path, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, dtype: type, layout: dict[str, object]
) -> None:
    source = tmp_path / "a.tif"
    pixels = np.tile(scene // 3, (7, 4, 1)).astype(dtype) * np.iinfo(dtype).max // 255
    if "extrasamples" in layout:
        pixels = np.concatenate((pixels, pixels[..., :1]), 2)
    tifffile.imwrite(source, pixels, photometric="rgb", compression="zlib", iccprofile=SRGB, metadata=None, **layout)
    found = []
    for limit in (10**9, 1000):
        monkeypatch.setattr(bulk, "most_pixels", lambda limit=limit: limit)
        outcome = correct_file(Job(source, tmp_path / f"{limit}.tif"), Work())
        assert outcome.status == "corrected", outcome.error
        image = pyvips.Image.new_from_file(str(tmp_path / f"{limit}.tif"))
        assert image.get("icc-profile-data") == SRGB
        found.append((image.numpy()[..., :3], outcome.exposure, outcome.change))
    (whole, *figures), (strips, *again) = found
    assert whole.dtype == strips.dtype == dtype
    scale = np.iinfo(dtype).max / 255
    difference = np.abs(whole.astype(int) - strips) / scale
    assert difference.max() <= 3
    assert difference.mean() < 0.5
    assert figures == pytest.approx(again, abs=0.5)


def refused(path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(bulk, "most_pixels", lambda: 1000)
    outcome = correct_file(Job(path, target), Work())
    assert outcome.status == "failed"
    assert not target.exists()
    return outcome.error


@pytest.mark.parametrize("when", ["found", "digested", "written"])
def test_a_file_that_changes_while_it_is_corrected_in_strips(
    tmp_path: Path, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    source, out = tmp_path / "a.tif", tmp_path / "out"
    tifffile.imwrite(source, scene, photometric="rgb", metadata=None)
    name = {"found": "find_huge", "digested": "digest", "written": "write_huge"}[when]
    original = getattr(bulk, name)

    def meanwhile(*arguments: object) -> object:
        result = original(*arguments)
        if source in arguments or when == "written":
            tifffile.imwrite(tmp_path / "b.tif", 255 - scene, photometric="rgb", metadata=None)
            (tmp_path / "b.tif").replace(source)
        return result

    monkeypatch.setattr(bulk, "most_pixels", lambda: 1000)
    monkeypatch.setattr(bulk, name, meanwhile)
    work = Work(settings=Settings(strength=0), output=out, resume=True)
    outcome = correct_file(Job(source, out / "a.tif"), work)
    assert outcome.error == f"{source} changed while it was read; correct it again"
    assert not list(out.iterdir())
    monkeypatch.setattr(bulk, name, original)
    assert correct_file(Job(source, out / "a.tif"), work).status == "corrected"


def test_strips_keep_the_metadata_that_are_wanted(
    tmp_path: Path, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a.tif", tmp_path / "b.tif"
    xmp = b"<x xmlns:exif='e' exif:GPSLatitude='52' exif:Title='t'/>"
    tifffile.imwrite(source, scene, photometric="rgb", extratags=[(700, 1, len(xmp), xmp, True)], metadata=None)
    monkeypatch.setattr(bulk, "most_pixels", lambda: 1000)
    for kept, places, title in (("all", True, True), ("no-gps", False, True), ("none", False, False)):
        outcome = correct_file(Job(source, target), Work(metadata=kept, overwrite=True))
        assert outcome.status == "corrected", outcome.error
        content = target.read_bytes()
        assert (b"GPSLatitude" in content, b"Title" in content) == (places, title)


def test_a_tiff_that_claims_far_more_than_it_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "bomb.tif"
    tifffile.imwrite(source, np.zeros((512, 512, 3), np.uint8), photometric="rgb", tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(source, mode="r+b") as file:
        for name in ("ImageWidth", "ImageLength"):
            file.pages.first.tags[name].overwrite(2**15)
    error = refused(source, tmp_path / "b.tif", monkeypatch)
    assert "claims" in error or "damaged" in error


def test_what_cannot_be_done_in_strips_is_said(
    tmp_path: Path, scene: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a.tif"
    Image.fromarray(scene).save(source)
    assert "can only be written as TIFF" in refused(source, tmp_path / "b.png", monkeypatch)
    Image.fromarray(scene).convert("L").save(tmp_path / "grey.tif")
    assert "unless it is RGB of 8 or 16 bits" in refused(tmp_path / "grey.tif", tmp_path / "b.tif", monkeypatch)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(scene).save(tmp_path / "turned.tif", exif=exif)
    assert "turn it with another program" in refused(tmp_path / "turned.tif", tmp_path / "b.tif", monkeypatch)
    tifffile.imwrite(source, np.random.default_rng(0).integers(0, 255, (999, 700, 3), np.uint8), photometric="rgb")
    source.write_bytes(source.read_bytes()[: 10**6])
    assert "a.tif is damaged or cut off" in refused(source, tmp_path / "b.tif", monkeypatch)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".part")]
