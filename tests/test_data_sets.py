"""Commands that make data sets, and the one that checks them."""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from raw_files import light_of, write_dng
from skimage import data

from expcorr_core.data.dataset import find_training_files
from expcorr_core.data.pairs import find_exposure_pairs
from expcorr_core.files import digest
from training import render_hdr, render_raw, train, verify
from training.evaluate import main as evaluate
from training.rendering.build import Made, Options, Record, _read_journal, build
from training.rendering.colour import prophoto_profile
from training.rendering.scenes import PAPER_SCENES, assign_splits, group_scenes, perceptual_hash, torn_groups

PHOTOS = ("astronaut", "coffee", "cat", "rocket")
ALL_TRAINING = ("--validation", "0", "--testing", "0")


def photo(name: str, height: int = 240) -> NDArray[np.uint8]:
    picture = Image.fromarray(getattr(data, name)())
    return np.asarray(picture.resize((picture.width * height // picture.height // 2 * 2, height)))


@pytest.fixture(scope="module")
def raws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raws")
    for index, name in enumerate(PHOTOS):
        write_dng(folder / ("more" if index > 1 else "") / f"{name}.dng", light_of(photo(name)))
    return folder


def files(folder: Path) -> dict[str, str]:
    """Every picture and table of a data set, with its checksum."""
    paths = [p for p in folder.rglob("*") if p.suffix in (".jpg", ".csv", ".md")]
    return {p.relative_to(folder).as_posix(): digest(p) for p in paths}


def manifest(folder: Path, name: str = "manifest.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def retouched(name: str) -> NDArray[np.uint8]:
    return (255 * (photo(name) / 255) ** 0.8).astype(np.uint8)


def save_prophoto(path: Path, pixels: NDArray[np.uint8]) -> None:
    """As a retouching program does: a 16-bit TIFF in ProPhoto RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wide = imagecodecs.cms_transform(
        pixels,
        imagecodecs.cms_profile("srgb"),
        prophoto_profile(),
        colorspace="rgb",
        outcolorspace="rgb",
        outdtype="uint16",
        flags=imagecodecs.CMS.FLAGS.NOOPTIMIZE,
    )
    tifffile.imwrite(path, wide, photometric="rgb", iccprofile=prophoto_profile())


@pytest.mark.slow
def test_raw_files_become_the_papers_layout_with_manifest(
    raws: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    render_raw.main([str(raws), str(out), "--testing", "0.25", "--validation", "0.25", "--quiet"])
    assert "| training | 2 | 10 |" in capsys.readouterr().out
    rows = manifest(out)
    assert len(rows) == 4 * 6
    assert Counter(row["kind"] for row in rows) == dict.fromkeys(("N1.5", "N1", "0", "P1", "P1.5", "expert_c"), 4)
    for row in rows:
        assert digest(out / row["file"]) == row["sha256"]
        assert (raws / row["source"]).is_file()
    assert not (out / "staging").exists()
    # The same object for the trainer and the evaluator.
    pairs, amiss = find_exposure_pairs(out / "training/INPUT_IMAGES", out / "training/GT_IMAGES")
    assert (len(pairs), amiss) == (10, [])
    assert len(find_training_files(out)[0]) == 10
    verify.main([str(out), "--quiet"])
    assert "no problems found" in capsys.readouterr().out
    name = next(row["scene"] for row in rows if row["split"] == "training")
    values = [
        Image.open(out / f"training/INPUT_IMAGES/{name}_{kind}.jpg").convert("L") for kind in ("N1.5", "0", "P1.5")
    ]
    assert np.all(np.diff([np.asarray(value).mean() for value in values]) > 15)


@pytest.mark.slow
def test_trainer_and_evaluator_take_the_data_set(
    raws: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    render_raw.main([str(raws), str(out), "--testing", "0.25", "--evs", "-3", "2.5", "--size", "128", "--quiet"])
    stage = "size=64,batch=2,patches=1,steps=2,lr=1e-4"
    train.main([str(out), str(tmp_path / "run"), "--stage", stage, "--levels", "2", "--device", "cpu"])
    assert (tmp_path / "run/weights.safetensors").exists()
    evaluate([str(out), str(tmp_path / "figures"), "--device", "cpu"])
    assert "Expert C" in capsys.readouterr().out


@pytest.mark.slow
def test_targets_are_aligned_or_left_out(raws: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One shifted, one cropped, one unrelated, one missing; the aligned pairs show the same."""
    targets, out = tmp_path / "targets", tmp_path / "set"
    save_prophoto(targets / "astronaut.tif", np.roll(retouched("astronaut"), (8, -12), (0, 1))[8:, :-12])
    save_prophoto(targets / "coffee.tif", retouched("coffee")[30:-10, 20:-50])
    save_prophoto(targets / "cat.tif", retouched("coffee"))
    render_raw.main([str(raws), str(out), "--targets", str(targets), *ALL_TRAINING, "--quiet"])
    report = capsys.readouterr().out
    assert "Corrected: 2 scenes" in report
    assert "| astronaut | target C at row 0, column 12; rows 0-232" in report
    assert "| coffee | target C at row 30, column 20; rows 30-230 of 240, columns 20-310 of 360 kept |" in report
    reasons = {row["source"]: row["reason"] for row in manifest(out, "left_out.csv")}
    assert "no shift aligns it with the rendering" in reasons["more/cat.dng"]
    assert "has no target from expert C" in reasons["more/rocket.dng"]
    assert len(reasons) == 2
    verify.main([str(out), "--quiet"])
    for name in ("astronaut", "coffee"):
        rendered, target = (
            np.asarray(Image.open(out / "training" / path).convert("L"), float)
            for path in (f"INPUT_IMAGES/{name}_0.jpg", f"GT_IMAGES/{name}.jpg")
        )
        assert np.corrcoef(rendered.ravel(), target.ravel())[0, 1] > 0.97
    shown = np.asarray(Image.open(out / "training/GT_IMAGES/coffee.jpg"))
    assert np.abs(shown - retouched("coffee")[30:-10, 20:-50].astype(int)).mean() < 2.5  # sRGB again


@pytest.mark.slow
def test_five_experts_share_one_crop(raws: Path, tmp_path: Path) -> None:
    targets, out = tmp_path / "fivek", tmp_path / "set"
    for expert in "abcde":
        for name in PHOTOS:
            save_prophoto(targets / f"tiff16_{expert}" / f"{name}.tif", retouched(name)[(4 if expert == "b" else 0) :])
    render_raw.main(
        [str(raws), str(out), "--targets", str(targets), "--testing", "0.5", "--validation", "0", "--quiet"]
    )
    assert sum(1 for _ in out.glob("testing/expert_*_testing_set/*.jpg")) == 2 * 5
    assert sum(1 for _ in out.glob("training/GT_IMAGES/*.jpg")) == 2
    assert {Image.open(p).height for p in out.rglob("*.jpg")} == {236}
    verify.main([str(out), "--quiet"])
    with pytest.raises(SystemExit, match="has no folder for expert C"):
        (tmp_path / "only/x_a").mkdir(parents=True)
        render_raw.main([str(raws), str(tmp_path / "no"), "--targets", str(tmp_path / "only")])


@pytest.mark.slow
def test_corrupted_raw_is_named_and_passed_over(raws: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "raws", tmp_path / "set"
    folder.mkdir()
    content = (raws / "coffee.dng").read_bytes()
    (folder / "good.dng").write_bytes(content)
    (folder / "cut.dng").write_bytes(content[: len(content) // 2])
    render_raw.main([str(folder), str(out), *ALL_TRAINING, "--quiet"])
    assert "cut.dng is damaged or not a raw file" in capsys.readouterr().out
    assert {row["scene"] for row in manifest(out)} == {"good"}
    # Copied again, it joins; a raw file that is gone takes its pictures with it.
    (folder / "cut.dng").write_bytes((raws / "astronaut.dng").read_bytes())
    (folder / "good.dng").unlink()
    render_raw.main([str(folder), str(out), *ALL_TRAINING, "--quiet"])
    assert {row["scene"] for row in manifest(out)} == {"cut"}
    assert not list(out.rglob("good*"))
    assert "Left out: 0" in capsys.readouterr().out


def quick(*arguments: object) -> None:
    render_raw.main([*map(str, arguments), *ALL_TRAINING, "--evs", "0", "--size", "128", "--quiet"])


def pictures(out: Path) -> set[str]:
    return {path.name for path in out.rglob("*.jpg")}


@pytest.mark.slow
def test_pictures_follow_their_sources(raws: Path, tmp_path: Path) -> None:
    """A raw file that moves keeps its scene; one that is damaged, or loses its target, loses its pictures."""
    folder, out, targets = tmp_path / "raws", tmp_path / "set", tmp_path / "targets"
    (folder / "deep").mkdir(parents=True)
    for name in ("coffee", "astronaut"):
        save_prophoto(targets / f"{name}.tif", retouched(name))
        (folder / f"{name}.dng").write_bytes((raws / f"{name}.dng").read_bytes())
    quick(folder, out, "--targets", targets)
    whole = pictures(out)
    assert whole == {"coffee_0.jpg", "coffee.jpg", "astronaut_0.jpg", "astronaut.jpg"}
    (folder / "coffee.dng").rename(folder / "deep" / "coffee.dng")
    for _ in range(2):
        quick(folder, out, "--targets", targets)
        assert pictures(out) == whole
    verify.main([str(out), "--quiet"])
    (folder / "deep" / "coffee.dng").write_bytes(b"damaged")
    quick(folder, out, "--targets", targets)
    assert pictures(out) == {"astronaut_0.jpg", "astronaut.jpg"}
    # A picture that changed is made again.
    (out / "training/GT_IMAGES/astronaut.jpg").write_bytes(b"changed")
    quick(folder, out, "--targets", targets)
    verify.main([str(out), "--quiet"])
    save_prophoto(targets / "other.tif", retouched("cat"))
    (targets / "astronaut.tif").unlink()
    quick(folder, out, "--targets", targets)
    assert pictures(out) == set()
    assert len(manifest(out, "left_out.csv")) == 2


@pytest.mark.slow
def test_a_folder_that_is_not_ours_is_not_touched(raws: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    (out / "training/GT_IMAGES").mkdir(parents=True)
    (out / "training/GT_IMAGES/coffee.jpg").write_bytes(b"another's")
    with pytest.raises(SystemExit, match="contains files that were not made here"):
        quick(raws, out)
    assert pictures(out) == {"coffee.jpg"}
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, name in ((one, "coffee"), (other, "rocket")):
        folder.mkdir()
        (folder / f"{name}.dng").write_bytes(next(raws.rglob(f"{name}.dng")).read_bytes())
    quick(one, tmp_path / "mine")
    with pytest.raises(SystemExit, match="was made from 1 files, none of which is in"):
        quick(other, tmp_path / "mine")
    assert pictures(tmp_path / "mine") == {"coffee_0.jpg", "coffee.jpg"}


@pytest.mark.slow
def test_odd_entries_cost_themselves_alone(raws: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "raws", tmp_path / "set"
    (folder / "all.raw").mkdir(parents=True)
    (folder / "good.dng").write_bytes((raws / "coffee.dng").read_bytes())
    (folder / "gone.nef").symlink_to(tmp_path / "nothing")
    quick(folder, out)
    assert pictures(out) == {"good_0.jpg", "good.jpg"}


@pytest.mark.slow
def test_scenes_change_their_split_with_all_targets(raws: Path, tmp_path: Path) -> None:
    targets, out, folder = tmp_path / "fivek", tmp_path / "set", tmp_path / "raws"
    folder.mkdir()
    (folder / "coffee.dng").write_bytes((raws / "coffee.dng").read_bytes())
    for expert in "abcde":
        save_prophoto(targets / f"tiff16_{expert}" / "coffee.tif", retouched("coffee"))
    for split, count in (("training", 1), ("testing", 5), ("validation", 1), ("testing", 5)):
        (tmp_path / "list.csv").write_text(f"scene,split\ncoffee,{split}\n")
        quick(folder, out, "--targets", targets, "--splits", tmp_path / "list.csv")
        verify.main([str(out), "--quiet"])
        used = [path for path in out.glob(f"{split}/*/coffee.jpg") if "unused" not in path.parent.name]
        assert len(used) == count
        assert {row["split"] for row in manifest(out)} == {split}
        assert all((out / row["file"]).is_file() for row in manifest(out))


def test_targets_of_one_name_or_expert_are_refused(raws: Path, tmp_path: Path) -> None:
    save_prophoto(tmp_path / "a1/coffee.tif", retouched("coffee"))
    Image.fromarray(retouched("coffee")).save(tmp_path / "a1/coffee.jpg")
    with pytest.raises(SystemExit, match="holds several photos named coffee"):
        quick(raws, tmp_path / "out", "--targets", tmp_path / "a1")
    for name in ("tiff16_c", "thumbs_c"):
        (tmp_path / "b1" / name).mkdir(parents=True)
    with pytest.raises(SystemExit, match="would both be expert C's targets"):
        quick(raws, tmp_path / "out", "--targets", tmp_path / "b1")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.slow
def test_interrupted_and_resumed_gives_the_same_files(tmp_path: Path, how: signal.Signals) -> None:
    folder = tmp_path / "raws"
    for index in range(10):
        write_dng(folder / f"{index}.dng", light_of(photo(PHOTOS[index % 4], 120), -1 - index / 4))
    command = [sys.executable, render_raw.__file__, str(folder), str(tmp_path / "a"), "--workers", "1", "--quiet"]
    journal = tmp_path / "a/journal.jsonl"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 1):
        time.sleep(0.02)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert how == signal.SIGKILL or "stopped; run the same command again to resume" in errors
    done = journal.read_bytes().count(b"\n")
    assert 1 <= done < 10
    if how == signal.SIGKILL:
        journal.write_bytes(journal.read_bytes() + b'{"source": "half a li')
    begun = time.time_ns()
    for _ in range(2):
        subprocess.run(command, check=True, capture_output=True)
    # What was finished is not made again.
    assert any(path.stat().st_mtime_ns < begun for path in (tmp_path / "a").rglob("*.jpg"))
    render_raw.main([str(folder), str(tmp_path / "b"), "--workers", "2", "--quiet"])
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_lines_of_other_types_are_none_of_ours(tmp_path: Path) -> None:
    scene = {"scene": "a", "hash": "0", "note": "", "files": {"N1": "1"}}
    wrong: list[object] = [
        {"source": ["a"], "digest": ""},
        {"source": "a", "digest": 1},
        {"source": "a", "digest": "", "left_out": None},
        {"source": "a", "digest": "", "more": 1},
        *({"source": "a", "digest": "", "scenes": scenes} for scenes in (1, {"scene": "a"}, ["a"], [{"scene": "a"}])),
        *({"source": "a", "digest": "", "scenes": [scene | change]} for change in ({"files": []}, {"hash": 1})),
        {"source": "a", "digest": "", "scenes": [scene | {"files": {"N1": None}}]},
        [],
        None,
    ]
    lines = [*map(json.dumps, wrong), "[" * 100_000, json.dumps({"source": "b", "digest": "2", "scenes": [scene]})]
    (tmp_path / "journal").write_text("\n".join(lines))
    assert _read_journal(tmp_path / "journal") == {"b": Record("b", "2", scenes=[scene])}


@pytest.mark.slow
def test_scenes_stay_in_their_split_when_others_join(raws: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "raws", tmp_path / "set"
    folder.mkdir()
    (folder / "coffee.dng").write_bytes((raws / "coffee.dng").read_bytes())
    (tmp_path / "list.csv").write_text("scene,split\ncoffee,testing\n")
    arguments = [str(folder), str(out), "--evs", "0", "--size", "128", "--quiet"]
    render_raw.main([*arguments, "--splits", str(tmp_path / "list.csv"), *ALL_TRAINING])
    assert {row["split"] for row in manifest(out)} == {"testing"}
    (folder / "astronaut.dng").write_bytes((raws / "astronaut.dng").read_bytes())
    render_raw.main([*arguments, *ALL_TRAINING])
    assert {row["scene"]: row["split"] for row in manifest(out)} == {"coffee": "testing", "astronaut": "training"}
    # A copy of a data set is a list too.
    render_raw.main([str(folder), str(tmp_path / "other"), "--splits", str(out), "--evs", "0", "--quiet"])
    assert {row["scene"]: row["split"] for row in manifest(tmp_path / "other")} == {
        "coffee": "testing",
        "astronaut": "training",
    }
    with pytest.raises(SystemExit, match="was started with other arguments"):
        render_raw.main([*arguments, "--evs", "1"])


@dataclass(frozen=True)
class Crashing:
    """A maker of flat pictures; the file ``b`` brings its process down."""

    def parts(self, source: Path) -> list[Path]:
        return [source]

    def cost(self, source: Path) -> float:
        return 0.0

    def make(self, source: Path) -> list[Made]:
        if source.stem == "b":
            os.kill(os.getpid(), signal.SIGSEGV)
        picture = np.full((64, 64, 3), 9, np.uint8)
        return [Made(source.stem, {"0": picture}, {"c": picture}, f"{hash_of(source.stem)}")]


def hash_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


@pytest.mark.slow
def test_a_decoder_that_crashes_costs_its_file_alone(tmp_path: Path) -> None:
    sources = [tmp_path / name for name in "abcd"]
    for source in sources:
        source.write_text(source.name)
    options = Options(0, {"validation": 0, "testing": 0}, workers=2, quiet=True)
    report = build(Crashing(), tmp_path, sources, tmp_path / "out", {}, options)
    assert "| b | " in report
    assert "crashes the program that decodes it" in report
    assert {row["scene"] for row in manifest(tmp_path / "out")} == {"a", "c", "d"}
    assert not multiprocessing.active_children()


# ---- splits ----


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=40),
    st.integers(0, 5),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
)
def test_splits_keep_groups_together_and_near_their_shares(
    sizes: Sequence[int], seed: int, validation: float, testing: float
) -> None:
    groups = [[f"{i}-{j}" for j in range(size)] for i, size in enumerate(sizes)]
    shares = {"validation": validation, "testing": testing}
    split = assign_splits(groups, seed, {}, shares)
    assert sorted(split) == sorted(name for group in groups for name in group)
    assert torn_groups(groups, split) == []
    assert split == assign_splits(groups[::-1], seed, {}, shares)
    for part, share in shares.items():
        assert list(split.values()).count(part) <= round(sum(sizes) * share) + 2


def test_the_papers_counts_from_as_many_scenes() -> None:
    names = [f"a{i:04d}" for i in range(sum(PAPER_SCENES.values()))]
    total = len(names)
    shares = {part: PAPER_SCENES[part] / total for part in ("validation", "testing")}
    # With some bursts among them.
    groups = [names[:4], names[4:7], *([name] for name in names[7:])]
    split = assign_splits(groups, 0, {}, shares)
    counts = Counter(split.values())
    assert {part: count * 5 for part, count in counts.items()} == {
        "training": 17675,
        "validation": 750,
        "testing": 5905,
    }
    assert assign_splits(groups, 1, {}, shares) != split


def test_given_splits_are_kept_and_torn_groups_are_told() -> None:
    groups = [["a", "b"], ["c", "d"]]
    split = assign_splits(
        groups, 0, {"a": "testing", "c": "training", "d": "validation"}, {"validation": 0, "testing": 0}
    )
    assert split == {"a": "testing", "b": "testing", "c": "training", "d": "validation"}
    assert torn_groups(groups, split) == [["c", "d"]]


def test_bursts_are_recognised_and_other_photos_are_not() -> None:
    hashes, sources = {}, {}
    for name in PHOTOS:
        picture = photo(name, 480)
        moved = picture[10:-14, 6:-20]
        for index, pixels in enumerate((picture, moved, (255 * (moved / 255) ** 0.7).astype(np.uint8))):
            hashes[f"{name}{index}"] = perceptual_hash(pixels)
            sources[f"{name}{index}"] = f"{name}{index}"
    groups = group_scenes(hashes, sources)
    assert sorted(map(sorted, groups)) == sorted([[f"{name}{i}" for i in range(3)] for name in PHOTOS])
    # Scenes of one source stay together whatever they show.
    assert len(group_scenes({"x": "0" * 16, "y": "f" * 16}, {"x": "s", "y": "s"})) == 1


# ---- HDR, and checking ----


@pytest.mark.slow
def test_panoramas_become_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hdrs, out = tmp_path / "hdrs", tmp_path / "set"
    hdrs.mkdir()
    for name in ("coffee", "astronaut"):
        wide = np.asarray(Image.fromarray(photo(name)).resize((512, 256)))
        (hdrs / f"{name}.hdr").write_bytes(imagecodecs.rgbe_encode(light_of(wide) * 40, header=True))
    render_hdr.main([str(hdrs), str(out), "--views", "3", "--evs", "-2", "0", "2", "--testing", "0.5", "--quiet"])
    rows = manifest(out)
    assert len(rows) == 2 * 3 * 4
    assert Counter(row["split"] for row in rows if row["kind"] == "0") == {"training": 3, "testing": 3}
    assert len({row["source"] for row in rows if row["split"] == "testing"}) == 1
    verify.main([str(out), "--quiet"])
    assert "no problems found" in capsys.readouterr().out
    again = tmp_path / "again"
    render_hdr.main([str(hdrs), str(again), "--views", "3", "--evs", "-2", "0", "2", "--testing", "0.5", "--quiet"])
    assert files(out) == files(again)
    render_hdr.main([str(hdrs), str(tmp_path / "flat"), "--flat", "--quiet", *ALL_TRAINING])
    assert {row["scene"] for row in manifest(tmp_path / "flat")} == {"coffee", "astronaut"}


@pytest.mark.slow
def test_verify_names_what_is_amiss(raws: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    render_raw.main([str(raws), str(out), "--testing", "0.25", "--validation", "0.25", "--quiet"])
    inputs, targets = out / "training/INPUT_IMAGES", out / "training/GT_IMAGES"
    one, two = sorted(path.stem for path in targets.iterdir())
    (inputs / f"{one}_N1.jpg").unlink()
    (inputs / f"{one}_0.jpg").write_bytes((inputs / f"{one}_0.jpg").read_bytes()[:3000])
    Image.new("RGB", (70, 70)).save(inputs / f"{two}_P1.jpg")
    (targets / f"{two}.jpg").replace(targets / "other.jpg")
    (out / "validation/INPUT_IMAGES" / f"{one}_P1.jpg").write_bytes((inputs / f"{one}_P1.jpg").read_bytes())
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        verify.main([str(out), "--quiet"])
    assert exit_.value.code == 1
    told = capsys.readouterr().out
    for sentence in (
        f"{inputs / f'{one}_N1.jpg'} is missing",
        f"{inputs / f'{one}_0.jpg'} is damaged or cut off",
        f"5 photos in {inputs} have no target in {targets}",
        f"1 photos in {targets} have no input",
        f"1 photos in {targets} lack some of the 5 exposures: {one}.jpg",
        f"scene {one} is in training and validation",
        f"{inputs / f'{two}_P1.jpg'} has changed since it was made",
    ):
        assert sentence in told
    with pytest.raises(SystemExit, match="is not a folder"):
        verify.main([str(tmp_path / "nothing")])


def test_verify_demands_what_the_published_data_set_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, target in (("training", "GT_IMAGES"), ("validation", "GT_IMAGES"), ("testing", "expert_c_testing_set")):
        for folder, names in (("INPUT_IMAGES", ("_N1.5", "_0", "_P1", "_P1.5")), (target, ("",))):
            (tmp_path / part / folder).mkdir(parents=True)
            for name in names:
                Image.new("RGB", (64, 48)).save(tmp_path / part / folder / f"{part}{name}.png")
    with pytest.raises(SystemExit):
        verify.main([str(tmp_path), "--quiet"])
    told = capsys.readouterr().out
    assert told.count("lack some of the 5 exposures") == 3
    assert f"{tmp_path}/testing/expert_a_testing_set is missing" in told


def test_verify_compares_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, size in (("INPUT_IMAGES/a_0.png", (64, 48)), ("GT_IMAGES/a.png", (64, 47))):
        (tmp_path / "training" / name).parent.mkdir(parents=True)
        Image.new("RGB", size).save(tmp_path / "training" / name)
    with pytest.raises(SystemExit):
        verify.main([str(tmp_path), "--quiet"])
    told = capsys.readouterr().out
    assert f"a_0.png is 64x48, its target {tmp_path}/training/GT_IMAGES/a.png 64x47" in told
    assert f"{tmp_path}/testing is missing" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{none}", "{out}"], "is not a folder"),
        (["{empty}", "{out}"], r"holds no photos \(looked for .*\.dng"),
        (["{raws}", "{out}", "--evs", "12"], "EV 12 has no name"),
        (["{raws}", "{out}", "--validation", "0.7", "--testing", "0.4"], "are shares, 0..1 together"),
        (["{raws}", "{out}", "--workers", "0"], "--workers must be 1 or more"),
        (["{raws}", "{out}", "--size", "10"], "--size 64 or more"),
        (["{raws}", "{out}", "--splits", "{empty}"], "is not laid out as the paper's data set"),
        (["{raws}", "{out}", "--targets", "{empty}"], "holds no photos"),
    ],
)
def test_wrong_arguments_are_one_sentence(raws: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "empty").mkdir()
    places = {name: str(tmp_path / name) for name in ("none", "empty", "out")} | {"raws": str(raws)}
    with pytest.raises(SystemExit, match=message) as exit_:
        render_raw.main([argument.format(**places) for argument in arguments])
    assert str(exit_.value).startswith("render_raw.py: ")
    assert not list(tmp_path.rglob("*.jpg"))


def test_two_files_of_one_name_are_refused(raws: Path, tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.dng").write_bytes(b"")
    with pytest.raises(SystemExit, match="would make scenes with the same name"):
        render_raw.main([str(tmp_path), str(tmp_path / "out")])
