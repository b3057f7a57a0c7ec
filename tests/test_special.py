"""Pictures that a correction must not spoil: how results are judged, and the simplest pictures corrected."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

pytest.importorskip("skimage.data", reason="the photographs ship with scikit-image")

from benchmarks import special
from expcorr_core.corrector import Corrector

CASES = {case.name: case for case in special.cases()}


def wrong(name: str, result: torch.Tensor) -> set[str]:
    return {check.name for check, _, ok in special.judge(CASES[name], result) if not ok}


def test_pictures_are_in_range_and_as_wanted_unless_they_are_to_change() -> None:
    for case in CASES.values():
        assert case.image.dtype == torch.float32 and case.image.shape[:2] == (1, 3)
        assert case.image.amin() >= 0 and case.image.amax() <= 1
    unchanged = {name: wrong(name, case.image) for name, case in CASES.items()}
    assert {name: names for name, names in unchanged.items() if names} == {
        "letterbox, dark photo": {"PSNR to original"},
        "small highlights": {"highlight"},
        "monochrome, dark": {"contrast, times"},
    }


def test_what_is_spoilt_is_found() -> None:
    """Each change is found where it shows."""
    image = CASES["letterbox"].image
    assert wrong("letterbox", image + 0.05 * (image == 0)) == {"bars"}
    assert wrong("white border", CASES["white border"].image * 0.9) == {"border"}
    assert wrong("monochrome", CASES["monochrome"].image * torch.tensor([1.0, 1, 0.9]).view(1, 3, 1, 1)) == {"cast"}
    assert wrong("sepia", CASES["sepia"].image.flip(1)) == {"turn of hue", "PSNR to input"}
    assert wrong("gradient", CASES["gradient"].image.flip(3)) >= {"dark end", "light end", "PSNR to input"}
    assert wrong("flat grey", CASES["gradient"].image) == {"unevenness"}
    assert wrong("noise in the dark", CASES["noise in the dark"].image * 4) == {"noise, times"}
    assert wrong("one pixel", torch.full((1, 3, 1, 1), math.nan)) == {"largest change"}
    assert wrong("snow", CASES["snow"].image[..., :9]) == {"mean", "cast"}


def test_table_and_contact_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a corrector that changes nothing; three pictures are then not as wanted."""
    monkeypatch.setattr(Corrector, "load", lambda weights=None: lambda image: image)
    monkeypatch.setattr(sys, "argv", ["special", str(tmp_path / "new")])
    with pytest.raises(SystemExit, match="1"):
        special.main()
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == f"3 of {len(lines)} not ok"
    assert sum(line.endswith("not ok") for line in lines) == 3
    with Image.open(tmp_path / "new" / "special.png") as sheet:
        assert sheet.size == (1200, 214 * math.ceil(len(CASES) / 3))


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("letterbox", {"bars"}),
        ("letterbox, dark photo", {"bars", "PSNR to original"}),
        ("flat black", {"level", "cast", "unevenness"}),
        ("flat white", {"cast", "unevenness"}),
        ("flat grey", {"unevenness"}),
    ],
)
def test_the_default_leaves_bars_black_and_flat_frames_flat(
    default_corrector: Corrector, name: str, checks: set[str]
) -> None:
    assert not wrong(name, default_corrector(CASES[name].image)) & checks


def test_the_default_leaves_a_white_frame_white(default_corrector: Corrector) -> None:
    assert not wrong("flat white", default_corrector(CASES["flat white"].image))
