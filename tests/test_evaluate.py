"""The paper's table, exported weights, and the ablations on a small scale."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from expcorr_core.data.pairs import EXPOSURES
from expcorr_core.image import metrics
from expcorr_core.image.exposure import shift_exposure
from expcorr_core.method.network import Architecture, ExposureNetwork
from expcorr_core.method.pyramid import laplacian_pyramid
from expcorr_core.method.weights import load_weights, read_metadata, save_weights
from training import ablate, evaluate, export, train


@pytest.fixture
def no_pyiqa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyiqa", None)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A network that returns photos nearly unchanged."""
    network = ExposureNetwork()
    network.initialise()
    save_weights(tmp_path / "w.safetensors", network, {})
    return tmp_path / "w.safetensors"


@pytest.fixture
def test_set(tmp_path: Path) -> Path:
    """One scene in the layout of the paper's test part: expert b's target is 10 levels brighter than expert a's, ..."""
    rng = np.random.default_rng(0)
    scene = Image.fromarray(rng.integers(40, 160, (6, 8, 3), np.uint8)).resize((128, 96), Image.Resampling.BICUBIC)
    image = torch.from_numpy(np.array(scene)).float() / 255
    for name in ("INPUT_IMAGES", *(f"expert_{e}_testing_set" for e in "abcde")):
        (tmp_path / "set/testing" / name).mkdir(parents=True)
    for exposure, ev in EXPOSURES.items():
        pixels = (shift_exposure(image, ev) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(tmp_path / "set/testing/INPUT_IMAGES" / f"s_{exposure}.png")
    for index, expert in enumerate("abcde"):
        pixels = np.array(scene) + 10 * index
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
            tmp_path / f"set/testing/expert_{expert}_testing_set" / "s.png"
        )
    return tmp_path / "set"


def table(out: Path) -> list[list[str]]:
    with (out / "table.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.usefixtures("no_pyiqa")
@pytest.mark.slow
def test_the_papers_table(
    test_set: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = [str(test_set), str(out), "--weights", str(weights)]
    evaluate.main(command)
    shown = capsys.readouterr()
    assert "PI needs pyiqa" in shown.err
    lines = table(out)
    assert lines[0] == ["inputs", "Expert A", "Expert B", "Expert C", "Expert D", "Expert E", "mean"]
    assert [line[0] for line in lines[1:]] == ["properly and over-exposed", "under-exposed", "all"]
    values = np.array([[float(cell.split(" / ")[0]) for cell in line[1:]] for line in lines[1:]])
    assert np.allclose(values[:, -1], values[:, :-1].mean(1), atol=2e-3)
    assert np.allclose(values[2], (3 * values[0] + 2 * values[1]) / 5, atol=2e-3)
    assert "| all | " in shown.out
    assert (out / "table.md").read_text() in shown.out

    # The same command again computes nothing; a row that was cut off, and those after it, are computed again.
    before = (out / "scores.csv").read_text()
    rows = before.splitlines(keepends=True)
    assert len(rows) == 26
    (out / "scores.csv").write_text("".join(rows[:8]) + rows[8][:20])
    counted: list[object] = []
    original = evaluate.evaluate
    monkeypatch.setattr(
        evaluate, "evaluate", lambda corrector, pairs: counted.append(len(pairs)) or original(corrector, pairs)
    )
    evaluate.main(command)
    assert (out / "scores.csv").read_text() == before
    evaluate.main(command)
    assert counted == [18, 0]
    other = tmp_path / "w2.safetensors"
    export_like = load_weights(weights)
    save_weights(other, export_like, {"other": 1})
    with pytest.raises(SystemExit, match="started with other arguments or files"):
        evaluate.main([*command[:2], "--weights", str(other)])


@pytest.mark.slow
def test_perceptual_index_where_pyiqa_is_installed(
    test_set: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, ...]] = []

    def metric(image: torch.Tensor) -> torch.Tensor:
        calls.append(tuple(image.shape))
        return image.mean()

    asked: list[str] = []
    stand_in = SimpleNamespace(create_metric=lambda name: asked.append(name) or metric)
    monkeypatch.setitem(__import__("sys").modules, "pyiqa", stand_in)
    evaluate.main([str(test_set), str(tmp_path / "out"), "--weights", str(weights)])
    assert asked == ["pi"]
    assert calls == [(1, 3, 96, 128)] * 5  # once an input, not once an expert
    assert all(cell.count(" / ") == 2 for cell in table(tmp_path / "out")[1][1:])
    pixels = np.full((4, 5, 3), 51, np.uint8)
    assert metrics.PerceptualIndex()(pixels) == pytest.approx(0.2)


@pytest.mark.usefixtures("no_pyiqa")
@pytest.mark.slow
def test_plain_folders_by_group(test_set: Path, weights: Path, tmp_path: Path) -> None:
    inputs, targets = tmp_path / "p/input", tmp_path / "p/gt"
    for folder in (inputs, targets):
        folder.mkdir(parents=True)
    for index, path in enumerate(sorted((test_set / "testing/INPUT_IMAGES").iterdir())):
        (inputs / f"{index}.png").write_bytes(path.read_bytes())
        (targets / f"{index}.png").write_bytes((test_set / "testing/expert_a_testing_set/s.png").read_bytes())
    (tmp_path / "p/pairs.csv").write_text("name,group\n0,one\n1,two\n2,two\n")
    evaluate.main([str(inputs), str(tmp_path / "out"), "--targets", str(targets), "--weights", str(weights)])
    assert [line[:2] for line in table(tmp_path / "out")] == [
        ["group", "pairs"],
        ["all", "5"],
        ["one", "1"],
        ["two", "2"],
    ]
    with pytest.raises(SystemExit, match="is not laid out as the paper's data set"):
        evaluate.main([str(inputs), str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(2):
        small = Image.fromarray(np.random.default_rng(i).integers(0, 256, (6, 8, 3), np.uint8))
        small.resize((192, 144), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg")
    return folder


@pytest.mark.slow
def test_export(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stage = ["--stage", "finest=4,size=128,batch=1,steps=3,lr=1e-3", "--workers", "0"]
    train.main([str(photos), str(out), *stage])
    state = torch.load(out / "last.pt", weights_only=True)
    names = {"float16": torch.float16, "float32": torch.float32}
    for dtype, extra, key in (
        ("float16", [], "average"),
        ("float32", [], "average"),
        ("float32", ["--last"], "network"),
    ):
        path = tmp_path / f"{dtype}{len(extra)}.safetensors"
        export.main([str(out / "last.pt"), str(path), "--dtype", dtype, *extra])
        made = load_weights(path).state_dict()
        for name, value in state[key].items():
            assert torch.equal(made[name], value.to(names[dtype]).float()), name
        assert read_metadata(path)["training"] == read_metadata(out / "weights.safetensors")["training"]
    assert (
        (tmp_path / "float320.safetensors").stat().st_size > 27e6 > (tmp_path / "float160.safetensors").stat().st_size
    )
    with pytest.raises(SystemExit, match="exists"):
        export.main([str(out / "last.pt"), str(path)])
    with pytest.raises(SystemExit, match="does not exist"):
        export.main([str(out / "none.pt"), str(tmp_path / "x.safetensors")])


@pytest.mark.slow
def test_ablations(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("input", "gt"):
        (tmp_path / "val" / part).mkdir(parents=True)
        (tmp_path / "val" / part / "0.jpg").write_bytes((photos / "0.jpg").read_bytes())
    command = [
        str(photos),
        str(tmp_path / "out"),
        "--validation",
        str(tmp_path / "val"),
        *["--steps", "2", "--batch", "1"],
    ]
    ablate.main([*command, "--only", "plain", "adversarial"])
    text = (tmp_path / "out" / "ablations.md").read_text()
    assert text in capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert [line[0] for line in lines[2:]] == ["plain U-Net (1 level)", "4 levels, adversarial loss"]
    assert [line[1] for line in lines[2:]] == ["4,365,915", "7,015,449"]
    assert (tmp_path / "out" / "ablations.png").stat().st_size > 5000
    # What is finished is not trained again.
    steps: list[Any] = []
    monkeypatch.setattr(train.Run, "train_step", lambda *args: steps.append(args))
    ablate.main([*command, "--only", "plain"])
    assert steps == []
    with pytest.raises(SystemExit, match="--only names none of"):
        ablate.main([*command, "--only", "nothing"])


def test_initial_network_gives_the_photo_back() -> None:
    """The start of a run: a plain U-Net copies; so does the coarsest level, and finer levels add detail."""
    photo = torch.nn.functional.interpolate(torch.rand(1, 3, 16, 16), (128, 128), mode="bicubic").clamp(0, 1)
    plain, whole = ExposureNetwork(Architecture.of_levels(1)), ExposureNetwork()
    for network in (plain, whole):
        network.initialise()
    bands = laplacian_pyramid(photo, 4)
    with torch.no_grad():
        [copy] = plain([photo])
        coarse = whole(bands, finest=4)[0]
        detail = whole.unets[0](photo)
    assert (copy - photo).abs().max() < 1e-5
    doubled = torch.nn.functional.interpolate(bands[3], scale_factor=2)
    assert (coarse - doubled).abs().max() < 1e-5
    hat = torch.tensor([1.0, 2, 1]) / 4
    blurred = torch.nn.functional.conv2d(photo, torch.outer(hat, hat).expand(3, 1, 3, 3), groups=3)
    assert (detail[..., 1:-1, 1:-1] - (photo[..., 1:-1, 1:-1] - blurred)).abs().max() < 1e-5
