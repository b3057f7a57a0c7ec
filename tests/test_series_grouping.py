"""Photos that belong together: scenes, brackets, time-lapses, and what EXIF says of a shot."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from torch import Tensor

from benchmarks.grouping import errors, taken
from expcorr_core.image.exposure import shift_exposure
from expcorr_core.image.resize import reduce_to
from expcorr_core.photos.metadata import Metadata
from expcorr_core.series.brackets import find_brackets
from expcorr_core.series.grouping import LIGHT_LASTS, find_groups
from expcorr_core.series.likeness import Features
from expcorr_core.series.shot import Facts, Shot, read_facts
from expcorr_core.series.time_lapse import is_time_lapse

data = pytest.importorskip("skimage.data", reason="the photographs ship with scikit-image")
SCENES = ("astronaut", "coffee", "chelsea", "rocket")
EXIF = 0x8769


@cache
def photograph(name: str) -> Tensor:
    return reduce_to(torch.from_numpy(np.array(getattr(data, name)())).permute(2, 0, 1)[None].float() / 255, 400)


@cache
def exposed(name: str, ev: float) -> Shot:
    return Shot.of((shift_exposure(photograph(name), ev) * 255).round() / 255)


def plain(value: float, height: int = 40, width: int = 60) -> Shot:
    return Shot.of(torch.full((1, 3, height, width), float(value)))


def sets(shots: list[Shot]) -> list[tuple[int, ...]]:
    return [group.members for group in find_groups(shots)]


def exif(**values: object) -> Metadata:
    """Metadata with values in the EXIF directory, by name; make and model in the first."""
    tags = {
        "time": 36867, "fraction": 37521, "offset": 36881, "seconds": 33434, "f": 33437, "iso": 34855, "bias": 37380,
        "speed": 34867, "shutter": 37377, "aperture": 37378,
    }  # fmt: skip
    block = Image.Exif()
    block[271], block[272] = "Maker", "Model"
    inner = block.get_ifd(EXIF)
    for name, value in values.items():
        inner[tags[name]] = value
    return Metadata(exif=block.tobytes().removeprefix(b"Exif\0\0"))


# What EXIF says.


def test_facts_of_exif() -> None:
    facts = read_facts(
        exif(
            time="2024:05:06 07:08:09",
            fraction="25",
            offset="+02:00",
            seconds=IFDRational(1, 64),
            f=IFDRational(4, 1),
            iso=400,
            bias=IFDRational(-4, 3),
        )
    )
    assert facts.camera == "Maker Model"
    assert facts.taken == 1714972089.25  # 05:08:09 UTC
    assert facts.stops == pytest.approx(np.log2(400) - 6 - 4)
    assert facts.bias == pytest.approx(-4 / 3)


def test_facts_are_taken_from_where_they_are() -> None:
    facts = read_facts(exif(shutter=IFDRational(6, 1), aperture=IFDRational(4, 1), iso=65535, speed=102400))
    assert facts.stops == pytest.approx(np.log2(102400) - 6 - 4)
    manual_lens = read_facts(exif(seconds=IFDRational(1, 64), iso=400))
    assert manual_lens.stops == pytest.approx(np.log2(400) - 6)
    assert read_facts(exif(time="2024:05:06 07:08:09")).taken == 1714979289
    assert read_facts(Metadata()) == Facts()


@pytest.mark.parametrize(
    "values",
    [
        {"time": "0000:00:00 00:00:00"},
        {"time": "    :  :     :  :  "},
        {"time": "2024:13:41 25:61:00"},
        {"seconds": IFDRational(1, 0), "f": IFDRational(0, 0), "iso": 0, "bias": IFDRational(1, 0)},
        {"seconds": IFDRational(0, 1), "f": IFDRational(4, 1), "iso": 100},
    ],
)
def test_facts_that_cannot_be_are_unknown(values: dict[str, object]) -> None:
    assert read_facts(exif(**values)) == Facts(camera="Maker Model")


@given(st.binary(max_size=64))
def test_facts_of_damaged_exif(damage: bytes) -> None:
    good = exif(time="2024:05:06 07:08:09", seconds=IFDRational(1, 64), iso=400, bias=IFDRational(1, 3)).exif
    rng = np.random.default_rng(list(damage))
    block = bytearray(good)
    for value in damage:
        block[int(rng.integers(len(block)))] = value
    for content in (bytes(block), good[: len(damage)], damage):
        facts = read_facts(Metadata(exif=content))
        numbers = [value for value in (facts.taken, facts.stops, facts.bias) if value is not None]
        assert np.isfinite(numbers).all()


# Groups.


def test_a_shoot_in_small() -> None:
    """The benchmark with photographs of scikit-image."""
    rng = np.random.default_rng(3)
    shots = [taken(photograph(name)[0], rng, cropped=True) for name in SCENES for _ in range(5)]
    scenes = [number for number in range(len(SCENES)) for _ in range(5)]
    found = errors(find_groups(shots), scenes)
    assert (found.wrong, found.missed) == (0, 0)


@settings(max_examples=6)
@given(st.sampled_from(SCENES), st.floats(-3, 3))
def test_exposure_does_not_matter(name: str, ev: float) -> None:
    others = [exposed(other, 0) for other in SCENES if other != name]
    again = Shot.of(shift_exposure(photograph(name), ev))
    assert sets([exposed(name, 0), *others, again]) == [
        (0, 4),
        (1,),
        (2,),
        (3,),
    ]


@settings(max_examples=6)
@given(st.lists(st.tuples(st.sampled_from(SCENES), st.sampled_from((-2, 0, 1))), max_size=8), st.randoms())
def test_groups_are_a_partition_and_do_not_depend_on_the_order(kinds: list[tuple[str, int]], random: object) -> None:
    shots = [exposed(name, ev) for name, ev in kinds]
    groups = sets(shots)
    assert sorted(number for group in groups for number in group) == list(range(len(shots)))
    assert groups == sorted(groups)
    order = list(range(len(shots)))
    random.shuffle(order)  # type: ignore[attr-defined]
    again = sets([shots[number] for number in order])
    assert {frozenset(order[k] for k in group) for group in again} == set(map(frozenset, groups))
    assert {frozenset(kinds[k][0] for k in group) for group in groups} == {frozenset([name]) for name, _ in kinds}


def test_plain_photos_are_grouped_with_nothing_but_their_like() -> None:
    grain = torch.Generator().manual_seed(0)
    noise = [Shot.of(torch.rand(1, 3, 200, 300, generator=grain) * 0.1) for _ in range(2)]
    shots = [plain(0), plain(1), plain(0.5), exposed("coffee", 0), plain(0), plain(1, 1, 1), plain(0.2, 1, 1), *noise]
    assert sets(shots) == [(0, 4), (1,), (2,), (3,), (5,), (6,), (7,), (8,)]
    assert sets([]) == []
    assert sets([plain(0, 1, 1)]) == [(0,)]


def test_other_light_is_another_group() -> None:
    shots = [replace(exposed("coffee", ev), taken=hours * 3600) for hours, ev in ((0, 0), (1, 1), (9, 0), (9, -1))]
    assert sets(shots) == [(0, 1), (2, 3)]
    slowly = [replace(exposed("coffee", 0), taken=k * LIGHT_LASTS / 2) for k in range(6)]
    assert sets(slowly) == [(0, 1, 2, 3, 4, 5)]


def test_a_white_frame_of_a_bracket_is_known_by_exif() -> None:
    frames = [exposed("coffee", 0), plain(1, *photograph("coffee").shape[2:])]
    assert sets(frames) == [(0,), (1,)]
    told = [replace(f, taken=k, stops=4.0 * k, camera="a") for k, f in enumerate(frames)]
    assert sets(told) == [(0, 1)]
    assert sets([told[0], replace(told[1], taken=60)]) == [(0,), (1,)]
    assert sets([told[0], replace(told[1], camera="b")]) == [(0,), (1,)]


def test_one_wrong_link_does_not_join_two_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups of four: two of their photos are held for alike, wrongly."""
    shots = [exposed(name, ev) for name in ("coffee", "chelsea") for ev in (-1.5, -0.5, 0.5, 1.5)]
    honest = Features.compared
    links = {shots[0].look.tobytes(), shots[4].look.tobytes()}

    def mistaken(self: Features, pairs: Tensor) -> tuple[Tensor, Tensor]:
        result, maps = honest(self, pairs)
        for place, pair in enumerate(pairs.tolist()):
            if {looks[number] for number in pair} == links:
                result[place] = 0.99
        return result, maps

    looks: list[bytes] = []
    made = Features.__init__

    def listed(self: Features, photos: list[Shot]) -> None:
        looks[:] = [shot.look.tobytes() for shot in photos]
        made(self, photos)

    monkeypatch.setattr(Features, "__init__", listed)
    monkeypatch.setattr(Features, "compared", mistaken)
    assert sets([shots[0], shots[4]]) == [(0, 1)]
    assert sets(shots) == [(0, 1, 2, 3), (4, 5, 6, 7)]


# Brackets and time-lapses.


def told(pattern: list[float], interval: float = 1.0) -> list[Shot]:
    return [replace(exposed("coffee", 0), taken=interval * k, stops=ev, camera="a") for k, ev in enumerate(pattern)]


def test_brackets_that_exif_tells() -> None:
    assert find_brackets(told([0, -2, 2, 0, -2, 2])) == [[0, 1, 2], [3, 4, 5]]
    assert find_brackets(told([0, 0, -2, 2])) == [[1, 2, 3]]
    assert find_brackets(told([-1, 1])) == [[0, 1]]
    assert find_brackets(told([0] * 5)) == []  # a burst
    assert find_brackets(told([0, 0, 0, -1, -1])) == []  # a burst, and another
    assert find_brackets(told([0, -2, 2], interval=30)) == []
    assert find_brackets(told([0.02 * k for k in range(40)])) == []  # a dawn
    biased = [replace(shot, stops=None, bias=shot.stops) for shot in told([0, -2, 2])]
    assert find_brackets(biased[::-1]) == [[0, 1, 2]]


def test_brackets_without_exif() -> None:
    bracket = [exposed("coffee", ev) for ev in (0, -2, 2)]
    assert find_brackets(bracket + bracket) == [[0, 1, 2], [3, 4, 5]]
    assert find_brackets([bracket[0]] * 4) == []
    cropped = Shot.of(shift_exposure(photograph("coffee")[..., 40:, 60:], -2))
    assert find_brackets([bracket[0], cropped]) == []
    assert find_brackets([bracket[0]]) == []
    assert find_brackets([]) == []


def test_time_lapse() -> None:
    frames = [exposed("coffee", round(0.05 * k, 2)) for k in range(36)]
    timed = [replace(frame, taken=10.0 * k) for k, frame in enumerate(frames)]
    assert is_time_lapse(frames)
    assert find_brackets(frames) == []
    assert is_time_lapse(timed)
    assert not is_time_lapse(frames[:20])
    assert not is_time_lapse([replace(frame, taken=k // 5) for k, frame in enumerate(frames)])  # a burst
    irregular = np.random.default_rng(0).exponential(30, 36).cumsum()
    assert not is_time_lapse([replace(f, taken=float(t)) for f, t in zip(frames, irregular, strict=True)])
    moving = [Shot.of(photograph("coffee")[..., 2 * k : 2 * k + 200]) for k in range(36)]
    jumping = [moving[k * 17 % 36] for k in range(36)]
    assert not is_time_lapse(jumping)


def test_a_shot_is_small() -> None:
    shot = exposed("coffee", 0)
    assert shot.look.shape == (3, 96, 96)
    assert shot.look.dtype == np.uint8
    assert (shot.height, shot.width) == photograph("coffee").shape[2:]
    with pytest.raises(ValueError, match="3 channels"):
        Shot.of(torch.zeros(1, 1, 4, 4))
