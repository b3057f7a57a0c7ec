"""Training of the global network: it learns, resumes bit for bit, and its files say what they are."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from expcorr_core.corrector import Corrector
from expcorr_core.image.colour import luma
from expcorr_core.method.global_level import GlobalNetwork
from expcorr_core.method.weights import bundled_weights, load_weights
from expcorr_core.photos.reading import ImageError
from training import export, scene_light, train

QUICK = ["--preset", "global", "--threads", "1", "--workers", "0", "--checkpoint-every", "3", "--log-every", "1"]
STAGE = ["--stage", "size=128,batch=2,steps=6,lr=1e-3"]


def losses(out: Path) -> list[float]:
    with (out / "log.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_trained_stopped_and_resumed(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    train.main([str(photos), str(once), *QUICK, *STAGE])
    step = train.Run.train_step

    def killed(run: train.Run, *rest: Any) -> dict[str, float]:
        if run.step == 4:
            raise KeyboardInterrupt
        return step(run, *rest)

    monkeypatch.setattr(train.Run, "train_step", killed)
    with pytest.raises(SystemExit):
        train.main([str(photos), str(twice), *QUICK, *STAGE])
    monkeypatch.undo()
    train.main([str(photos), str(twice), "--resume", "--workers", "0"])
    assert losses(once) == losses(twice)
    first, second = (load_weights(out / "weights.safetensors") for out in (once, twice))
    assert isinstance(first, GlobalNetwork)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert first.mean.abs().max() > 0.1  # the photos' statistics were looked at
    assert first.training_record["arguments"]["network"] == "global"
    image = torch.rand(1, 3, 40, 60)
    assert Corrector(first)(image).isfinite().all()
    export.export(once / "last.pt", tmp_path / "w.safetensors", torch.float32)
    assert torch.allclose(load_weights(tmp_path / "w.safetensors").mean, first.mean, rtol=1e-3)


@pytest.mark.slow
def test_learns_what_two_photos_look_like(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train.main([str(photos), str(out), *QUICK, "--stage", "size=128,batch=4,steps=80,lr=2e-3"])
    found = losses(out)
    assert sum(found[-10:]) < 0.7 * sum(found[:10])


@pytest.fixture(scope="module")
def hdrs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A panorama and a plain picture with light far above white."""
    imagecodecs = pytest.importorskip("imagecodecs", reason="HDR pictures need the data extra")
    pytest.importorskip("py360convert", reason="panoramas need the data extra")
    folder = tmp_path_factory.mktemp("hdrs")
    for name, width in (("coffee", 256), ("rocket", 192)):
        pixels = np.asarray(Image.fromarray(getattr(data, name)()).resize((width, 128)), dtype=np.float32) / 255
        (folder / f"{name}.hdr").write_bytes(imagecodecs.rgbe_encode(40 * pixels**4 + 0.001, header=True))
    return folder


def test_scenes_of_hdr_pictures(hdrs: Path, tmp_path: Path) -> None:
    scenes = scene_light.read_scenes(scene_light.find_scenes(hdrs), 3, quiet=True)
    assert scenes.stops.shape == scenes.target.shape == (4, 3, scene_light.SIDE, scene_light.SIDE)
    stops, target = scenes.stops.float(), scenes.target / 255
    assert luma(stops.exp2()).log2().mean((1, 2, 3)).abs().max() < 0.02  # metered
    assert (stops.flatten(1).amax(1) > 2).all()  # brighter than a photo shows at this exposure
    assert ((target.mean((1, 2, 3)) > 0.35) & (target.mean((1, 2, 3)) < 0.6)).all()
    light, shown = luma(stops[3].exp2()).flatten(), luma(target[3]).flatten()
    assert torch.corrcoef(torch.stack((light.argsort().argsort(), shown.argsort().argsort())).float())[0, 1] > 0.9
    (tmp_path / "a.hdr").write_bytes((hdrs / "coffee.hdr").read_bytes()[:90])
    with pytest.raises(ImageError, match=r"a\.hdr is damaged"):
        scene_light.read_scenes([tmp_path / "a.hdr"], 3, quiet=True)
    photos_only = tmp_path / "photos"
    photos_only.mkdir()
    with pytest.raises(ImageError, match="holds no photos"):
        scene_light.find_scenes(photos_only)


def test_trained_on_scenes(photos: Path, hdrs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    scenes = ["--scenes", str(hdrs), "--views", "2"]
    train.main([str(photos), str(out), *QUICK, *STAGE, *scenes])
    record = load_weights(out / "weights.safetensors").training_record
    assert record["data"]["scenes"]["photos"] == 2
    assert record["arguments"]["scenes"] == hdrs.name
    without = tmp_path / "without"
    train.main([str(photos), str(without), *QUICK, *STAGE])
    assert losses(out) != losses(without)
    with pytest.raises(SystemExit, match="was started with scene-share"):
        train.main([str(photos), str(out), "--resume", "--workers", "0", "--scene-share", "0.5"])
    with pytest.raises(SystemExit, match="for the global network only"):
        train.main([str(photos), str(tmp_path / "x"), "--preset", "cpu", *scenes])


def test_validated_at_the_size_that_is_corrected(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("skimage.metrics", reason="SSIM needs the eval extra")
    for folder in ("input", "gt"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes((photos / "coffee.png").read_bytes())
    train.main([str(photos), str(tmp_path / "out"), *QUICK, *STAGE, "--validation", str(tmp_path)])
    with (tmp_path / "out" / "log.csv").open(newline="") as file:
        figures = [float(row["validation_psnr"]) for row in csv.DictReader(file) if row["validation_psnr"]]
    assert len(figures) == 2
    assert min(figures) > 20  # it is still near the identity


def test_weights_of_the_other_network_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"is of another network .*change --network"):
        train.main([str(photos), str(tmp_path / "out"), *QUICK, *STAGE, "--init", str(bundled_weights("paper"))])


def test_the_plan_names_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    train.main(["--dry-run", "--preset", "global"])
    assert "| global | 128 px, whole photos |" in capsys.readouterr().out
