"""Photos in other spaces than sRGB: seen as they are meant, and left in their space."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from expcorr_core.cli import main
from expcorr_core.corrector import Corrector
from expcorr_core.image.metrics import psnr
from expcorr_core.photos.icc import colour_space
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
