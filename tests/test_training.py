"""Exposure simulation, batches and the training script in small."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from expcorr_core.dataset import PhotoBatches, load_photo
from expcorr_core.exposure import CameraCurve, ExposureSimulator, edge_aware_mean, shift_exposure
from expcorr_core.image_io import find_photos
from expcorr_core.weights import load_weights, read_metadata

TINY = ["--checkpoint-every", "2", "--threads", "1"]
STAGES = ["--stage", "finest=4,size=128,batch=2,steps=4,lr=1e-3", "finest=1,size=512,batch=1,steps=2,lr=1e-3"]


@pytest.fixture(scope="module")
def train() -> ModuleType:
    path = Path(__file__).parent.parent / "training" / "train.py"
    spec = importlib.util.spec_from_file_location("train", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["train"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i, size in enumerate(((6, 8), (8, 6), (7, 7), (5, 9))):
        small = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
        small.resize((size[1] * 24, size[0] * 24), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg")
    return folder


def test_curve_is_inverted_and_ev_adds_up() -> None:
    image = torch.rand(1, 3, 16, 16) * 0.98 + 0.01
    curve = CameraCurve()
    assert torch.allclose(curve.to_display(curve.to_scene(image)), image, atol=1e-4)
    assert torch.allclose(shift_exposure(image, 0.0), image, atol=1e-4)
    twice = shift_exposure(shift_exposure(image, -0.5), -1.0)
    assert torch.allclose(twice, shift_exposure(image, -1.5), atol=1e-3)
    assert (shift_exposure(image, 1.0) > image).all()


def test_plain_gain_clips() -> None:
    """Without a shoulder the curve is a gain in linear light that clips at 1."""
    curve = CameraCurve(gamma=2.2, shoulder=0.0, slope=1.0)
    image = torch.tensor([0.2, 0.9])
    wanted = (image**2.2 * 2).clamp(max=1) ** (1 / 2.2)
    assert torch.allclose(shift_exposure(image, 1.0, curve), wanted)


def test_edge_aware_mean_lies_between_blur_and_identity() -> None:
    image = torch.rand(1, 1, 64, 64)
    assert torch.allclose(edge_aware_mean(image, 3, torch.tensor(1e-9)), image, atol=1e-3)
    assert edge_aware_mean(image, 8, torch.tensor(1e9)).std() < image.std() / 5


def test_simulator() -> None:
    target = torch.nn.functional.interpolate(torch.rand(64, 3, 6, 6), (48, 64), mode="bicubic").clamp(0, 1)
    generate = lambda seed: ExposureSimulator()(target, torch.Generator().manual_seed(seed))
    image = generate(0)
    assert torch.equal(image, generate(0))
    assert not torch.equal(image, generate(1))
    assert torch.allclose(image * 255, (image * 255).round(), atol=1e-3)
    assert image.min() >= 0
    assert image.max() <= 1
    kept = [(a - b).abs().max() <= 0.5 / 255 + 1e-6 for a, b in zip(image, target, strict=True)]
    assert 2 <= sum(kept) <= 18  # an eighth of 64 is 8
    change = (image - target).mean((1, 2, 3))
    assert change.min() < -0.2
    assert change.max() > 0.2


def test_batches_depend_on_seed_and_number_alone(photos: Path) -> None:
    decoded = [load_photo(path, 80) for path in find_photos(photos)]
    first, second = (PhotoBatches(decoded, 64, 3, ExposureSimulator(), (7, 0)) for _ in range(2))
    sizes = set()
    for index in (5, 0, 3, 9, 1):
        a, b = first[index], second[index]
        assert torch.equal(a.input, b.input)
        assert torch.equal(a.target, b.target)
        assert a.input.shape == a.target.shape
        sizes.add(tuple(a.input.shape[2:]))
    assert sizes <= {(64, 64), (48, 64), (64, 48)}
    assert not torch.equal(first[0].target, PhotoBatches(decoded, 64, 3, ExposureSimulator(), (8, 0))[0].target)


def test_bad_photo_folders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no photos"):
        find_photos(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    with pytest.raises(ValueError, match=r"a\.jpg is no photo"):
        load_photo(tmp_path / "a.jpg", 64)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(train: ModuleType, photos: Path, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train.main([str(photos), str(whole), *STAGES, *TINY])

    class Stop(Exception):
        pass

    original = train.save_weights
    calls = []

    def stop_after_the_first(*args: object, **kwargs: object) -> None:
        original(*args, **kwargs)
        calls.append(1)
        raise Stop

    train.save_weights = stop_after_the_first
    try:
        with pytest.raises(Stop):
            train.main([str(photos), str(stopped), *STAGES, *TINY])
    finally:
        train.save_weights = original
    with pytest.raises(SystemExit, match="add --resume"):
        train.main([str(photos), str(stopped), *STAGES, *TINY])
    with pytest.raises(SystemExit, match="begun with another seed"):
        train.main([str(photos), str(stopped), "--resume", "--seed", "5"])
    train.main([str(photos), str(stopped), "--resume", *TINY])  # the stages are those of the run

    states = [torch.load(folder / "last.pt", weights_only=True) for folder in (whole, stopped)]
    for key in ("network", "average"):
        for name, value in states[0][key].items():
            assert torch.equal(value, states[1][key][name]), name
    logs = [list(csv.DictReader((folder / "log.csv").open())) for folder in (whole, stopped)]
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]
    assert [(row["stage"], row["step"]) for row in logs[0]] == [("0", "2"), ("0", "4"), ("1", "2")]

    weights = whole / "weights.safetensors"
    assert load_weights(weights).parameter_count() == 7_015_449
    training = read_metadata(weights)["training"]
    assert training["data"]["photos"] == 4
    assert training["metrics"]["loss"] == pytest.approx(float(logs[0][-1]["loss"]), abs=1e-4)
    assert training["arguments"]["stage"][0]["steps"] == 4
    (photos / "4.jpg").write_bytes((photos / "0.jpg").read_bytes())
    with pytest.raises(SystemExit, match="not those that the run was begun with"):
        train.main([str(photos), str(stopped), "--resume"])
    assert json.loads((whole / "arguments.json").read_text()) == training["arguments"]


def test_training_reduces_the_loss(train: ModuleType, photos: Path, tmp_path: Path) -> None:
    stage = ["--stage", "finest=4,size=128,batch=4,steps=60,lr=1e-3", "--checkpoint-every", "20"]
    train.main([str(photos), str(tmp_path / "run"), *stage])
    losses = [float(row["loss"]) for row in csv.DictReader((tmp_path / "run" / "log.csv").open())]
    assert losses[-1] < 0.7 * losses[0]


def test_a_run_may_start_from_weights(train: ModuleType, photos: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    stage = ["--stage", "finest=4,size=128,batch=1,steps=1,lr=1e-9", *TINY]
    train.main([str(photos), str(first), *stage, "--seed", "3"])
    train.main([str(photos), str(second), *stage, "--init", str(first / "weights.safetensors")])
    states = [load_weights(folder / "weights.safetensors").state_dict() for folder in (first, second)]
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=1e-3), name
    training = read_metadata(second / "weights.safetensors")["training"]
    assert training["init"]["arguments"]["seed"] == 3


def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint(
    train: ModuleType, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = iter((1.0, 1.0, float("nan")))
    original = train.loss_of
    monkeypatch.setattr(train, "loss_of", lambda *args: original(*args) * next(factors))
    stage = "finest=4,size=128,batch=1,steps=5,lr=1e-4"
    with pytest.raises(SystemExit, match="not finite at step 2; the last checkpoint is kept"):
        train.main([str(photos), str(tmp_path / "run"), "--stage", stage, "--checkpoint-every", "1"])
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["step"] == 2
    assert load_weights(tmp_path / "run" / "weights.safetensors").parameter_count() == 7_015_449


def test_validation_is_logged(train: ModuleType, photos: Path, tmp_path: Path) -> None:
    for part in ("input", "gt"):
        (tmp_path / "val" / part).mkdir(parents=True)
        (tmp_path / "val" / part / "0.jpg").write_bytes((photos / "0.jpg").read_bytes())
    train.main([str(photos), str(tmp_path / "run"), *STAGES[:2], *TINY, "--validation", str(tmp_path / "val")])
    values = [float(row["validation_psnr"]) for row in csv.DictReader((tmp_path / "run" / "log.csv").open())]
    assert all(0 < value < 60 for value in values)


def test_bad_arguments(train: ModuleType, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="start without --resume"):
        train.main([str(photos), str(tmp_path / "new"), "--resume"])
    with pytest.raises(SystemExit):
        train.main([str(photos), str(tmp_path / "new"), "--stage", "finest=4"])
    with pytest.raises(SystemExit, match="multiple of 512"):
        train.main([str(photos), str(tmp_path / "new"), "--stage", "finest=1,size=128,batch=1,steps=1,lr=1e-3"])
    with pytest.raises(SystemExit, match="holds no photos"):
        train.main([str(tmp_path), str(tmp_path / "new")])
    with pytest.raises(SystemExit, match="is no folder"):
        train.main([str(photos), str(tmp_path / "new"), "--validation", str(tmp_path / "no")])
    assert not (tmp_path / "new").exists()
