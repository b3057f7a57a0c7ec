"""Photos in other spaces than sRGB: seen as they are meant, and left in their space."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import photo_files as make
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from expcorr_core.cli import main
from expcorr_core.corrector import Corrector
from expcorr_core.image.metrics import psnr
from expcorr_core.photos import icc
from expcorr_core.photos.icc import colour_space
from expcorr_core.photos.metadata import Metadata
from expcorr_core.photos.photo import Photo
from expcorr_core.photos.reading import read_photo
from expcorr_core.photos.writing import write_photo
from expcorr_core.settings import Settings

D65 = (0.3127, 0.329)
ADOBE_RGB = imagecodecs.cms_profile("rgb", whitepoint=D65, primaries=(0.64, 0.33, 0.21, 0.71, 0.15, 0.06), gamma=2.2)
DISPLAY_P3 = imagecodecs.cms_profile("rgb", whitepoint=D65, primaries=(0.68, 0.32, 0.265, 0.69, 0.15, 0.06), gamma=2.2)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = imagecodecs.cms_profile("gray", gamma=2.2)


def test_srgb_and_what_is_no_colour_space_is_left_alone() -> None:
    for profile in (None, b"", b"no profile", SRGB, imagecodecs.cms_profile("srgb"), GREY, SRGB[:200]):
        assert colour_space(profile) is None
    assert colour_space(ADOBE_RGB)


@given(st.integers(0, 2**32 - 1), st.sampled_from([ADOBE_RGB, DISPLAY_P3]))
@settings(max_examples=20, deadline=None)
def test_what_was_not_changed_comes_back_as_it_was(seed: int, profile: bytes) -> None:
    """Colours outside of sRGB too."""
    space = colour_space(profile)
    assert space
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(space.carry_back(image, space.to_srgb(image)), image, atol=1e-6)


@pytest.mark.parametrize("profile", [ADOBE_RGB, DISPLAY_P3])
@pytest.mark.slow
def test_the_network_sees_the_colours_that_are_meant(
    corrector: Corrector, scene: NDArray[np.uint8], profile: bytes
) -> None:
    image = torch.from_numpy(scene.copy()).permute(2, 0, 1)[None] / 255 * 0.4
    space = colour_space(profile)
    assert space
    wanted = corrector(image)
    wide = space.from_srgb(image)
    found, ignorant = (space.to_srgb(corrector(wide, Settings(), s)) for s in (space, None))
    better, worse = (psnr(*((x[0].permute(1, 2, 0) * 255).numpy() for x in (y, wanted))) for y in (found, ignorant))
    assert better > 30
    assert better > worse + 3


def test_the_profile_is_kept(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    Image.fromarray(scene // 3).save(tmp_path / "a.png", icc_profile=ADOBE_RGB)
    Image.fromarray(scene // 3).save(tmp_path / "b.png")
    assert (
        main(["correct", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(tmp_path / "out"), "--quiet"]) == 0
    )
    with Image.open(tmp_path / "out/a.png") as wide, Image.open(tmp_path / "out/b.png") as plain:
        assert wide.info["icc_profile"] == ADOBE_RGB
        assert np.asarray(wide).tolist() != np.asarray(plain).tolist()


def exif_of(space: int, index: str = "") -> Image.Exif:
    """An EXIF block that names a colour space, and a kind of file in DCF's way."""
    exif = Image.Exif()
    exif[271] = "Maker"
    exif.get_ifd(34665)[40961] = space
    if index:
        exif.get_ifd(34665)[40965] = {1: index}
    return exif


def test_the_profile_for_adobe_rgb_is_right(scene: NDArray[np.uint8]) -> None:
    """The same colours as by a profile that another program calculates from the primaries."""
    target = ImageCms.createProfile("sRGB")
    found, wanted = (
        np.asarray(ImageCms.profileToProfile(Image.fromarray(scene), ImageCms.ImageCmsProfile(io.BytesIO(p)), target))
        for p in (icc.ADOBE_RGB, ADOBE_RGB)
    )
    assert np.abs(found.astype(int) - wanted).max() <= 1
    assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc.ADOBE_RGB))).startswith("Compatible")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize(("space", "index"), [(65535, "R03"), (2, "")])
def test_adobe_rgb_that_only_exif_names(
    tmp_path: Path, scene: NDArray[np.uint8], suffix: str, space: int, index: str
) -> None:
    """The same result as with the profile attached."""
    metadata = Metadata(exif=exif_of(space, index).tobytes()[6:])
    write_photo(tmp_path / f"a.{suffix}", Photo(scene // 2, metadata=metadata))
    metadata = replace(metadata, icc_profile=icc.ADOBE_RGB)
    write_photo(tmp_path / "with" / f"a.{suffix}", Photo(scene // 2, metadata=metadata))
    results = []
    for source in (tmp_path, tmp_path / "with"):
        out = source / f"out.{suffix}"
        assert main(["correct", str(source / f"a.{suffix}"), "-o", str(out), "--quiet"]) == 0
        results.append(out.read_bytes())
        with Image.open(out) as written:
            assert written.info["icc_profile"] == icc.ADOBE_RGB
    assert results[0] == results[1]


def test_16_bits_in_adobe_rgb(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    pytest.importorskip("pyvips", reason="16-bit files need the deep extra")
    block = exif_of(65535, "R03").tobytes()[6:]
    deep = scene.astype(np.uint16) * 257
    photo = read_photo(make.png(tmp_path / "a.png", make.chunk(b"eXIf", block), pixels=deep))
    assert photo.metadata.icc_profile == icc.ADOBE_RGB
    write_photo(tmp_path / "b.tif", photo)
    assert read_photo(tmp_path / "b.tif").metadata.icc_profile == icc.ADOBE_RGB


def test_what_does_not_name_adobe_rgb(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    image = Image.fromarray(scene)
    for space, index in ((1, "R03"), (1, "R98"), (65535, ""), (65535, "R98")):
        image.save(tmp_path / "_DSC0001.jpg", exif=exif_of(space, index))  # the underscore is no proof
        assert not read_photo(tmp_path / "_DSC0001.jpg").metadata.icc_profile
    adobe = exif_of(65535, "R03")
    image.save(tmp_path / "a.jpg", exif=adobe, icc_profile=SRGB)
    assert read_photo(tmp_path / "a.jpg").metadata.icc_profile == SRGB
    srgb = make.chunk(b"eXIf", adobe.tobytes()[6:]) + make.chunk(b"sRGB", b"\0")
    assert not read_photo(make.png(tmp_path / "a.png", srgb)).metadata.icc_profile
    for mode in ("L", "CMYK"):
        image.convert(mode).save(tmp_path / "a.jpg", exif=adobe)
        assert not read_photo(tmp_path / "a.jpg").metadata.icc_profile


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_keeps_the_exif_directory_at_any_depth(tmp_path: Path, bits: int) -> None:
    """From JPEG, PNG and TIFF."""
    pytest.importorskip("pyvips", reason="16-bit files need the deep extra")
    pixels = make.gradient().astype(np.uint16) * 257 if bits == 16 else None
    block = make.exif_block(thumbnail=b"")
    write_photo(tmp_path / "a.tif", read_photo(make.png(tmp_path / "a.png", make.chunk(b"eXIf", block), b"", pixels)))
    sources = [tmp_path / "a.png", tmp_path / "a.tif"]
    if bits == 8:
        sources.append(make.jpeg(tmp_path / "a.jpg", (0xE1, b"Exif\0\0" + block)))
    for source in sources:
        assert write_photo(tmp_path / "out.tif", read_photo(source), overwrite=True) == ()
        with tifffile.TiffFile(tmp_path / "out.tif") as file:
            assert file.pages[0].bitspersample == bits
            exif = file.pages[0].tags[34665].value
        assert (exif["PixelXDimension"], exif["PixelYDimension"]) == (96, 64)
        assert "MakerNote" in exif
