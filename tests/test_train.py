"""The training script: it learns, stops and resumes, runs in several processes, and reports errors."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from expcorr_core.image.exposure import shift_exposure
from expcorr_core.method.network import Architecture
from expcorr_core.method.weights import load_weights, read_metadata
from training import options, schedule, train
from training.schedule import Stage

SCRIPT = Path(train.__file__)
QUICK = ["--threads", "1", "--workers", "0", "--checkpoint-every", "2", "--log-every", "1"]
COARSE = "finest=4,size=128,batch=2,steps=4,lr=1e-3"
STAGES = ["--stage", COARSE, "finest=1,size=128,batch=2,steps=2,lr=1e-3,patches=1,adversarial=1"]
LOSSES = ["--loss", "reconstruction", "pyramid", "adversarial"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i, size in enumerate(((6, 8), (8, 6), (7, 7), (5, 9))):
        small = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
        small.resize((size[1] * 24, size[0] * 24), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg")
    return folder


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def losses(out: Path) -> list[float]:
    return [float(row["loss"]) for row in rows(out)]


def state(out: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(out / "last.pt", weights_only=True)
    return checkpoint


def assert_same(first: Path, second: Path) -> None:
    """Two runs came to the same networks, bit for bit, with the same losses."""
    a, b = state(first), state(second)
    parts = [(a[key], b[key]) for key in ("network", "average")]
    if a["adversary"]:
        parts.append((a["adversary"]["module"], b["adversary"]["module"]))
    for one, other in parts:
        for name, value in one.items():
            assert torch.equal(value, other[name]), name
    assert losses(first) == losses(second)


def start(*command: object, processes: int = 1) -> subprocess.Popen[str]:
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    if processes > 1:
        launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    return subprocess.Popen(
        [sys.executable, *launcher, str(SCRIPT), *map(str, command)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    )  # fmt: skip


def test_paper_preset_is_the_papers_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Same values: patch, batch, epochs, halving, discriminator; steps of 17,675 photos with 8, 4 and 2 patches."""
    train.main(["--dry-run"])
    out = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("| ")]
    assert lines[0][2:] == [
        "on", "batch", "epochs", "steps per epoch", "steps", "lr", "halves every", "discriminator",
    ]  # fmt: skip
    assert [line[2:] for line in lines[2:]] == [
        ["128 px, 8 patches per photo", "32", "40", "4418", "176720", "0.0001", "20 epochs", "never"],
        ["256 px, 4 patches per photo", "8", "30", "8837", "265110", "0.0001", "10 epochs", "after 15 epochs"],
        ["512 px, 2 patches per photo", "4", "20", "8837", "176740", "0.0001", "5 epochs", "after 5 epochs"],
    ]
    arguments = json.loads(out[out.index("{") :])
    assert (arguments["weight_decay"], arguments["ema"], arguments["clip"], arguments["photos"]) == (0, 0, 0, 17_675)


def test_dry_run_counts_the_photos_and_writes_nothing(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.main(
        [str(photos), str(tmp_path / "new"), "--dry-run", "--stage", "size=128,batch=2,epochs=3,patches=2,lr=1e-4"]
    )
    assert "| 2 | 3 | 4 | 12 |" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", sorted(path.stem for path in options.PRESETS.glob("*.json")))
def test_presets_fit_the_network(name: str) -> None:
    args = options.parse("", ["--dry-run", "--preset", name])
    if args.network == "pyramid":
        for stage in args.stage:
            stage.check(Architecture())
    assert set(args.loss) <= set(options.LOSSES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.slow
def test_precision_is_asked_of_the_device_and_kept(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dtype: torch.dtype,
) -> None:
    """bfloat16 takes fifteen times as long as float32 where a processor has to emulate it."""
    computed = []
    name = str(dtype).removeprefix("torch.")

    def autocast(device: str, precision: str) -> Any:
        computed.append(precision)
        return original(device, precision)

    original = train.autocast
    monkeypatch.setattr(train, "autocast", autocast)
    monkeypatch.setattr(options, "native_dtype", lambda device: dtype)
    stage = ["--stage", "finest=4,size=128,batch=1,steps=1,lr=1e-4", *QUICK]
    train.main([str(photos), str(tmp_path / "run"), *stage])
    assert set(computed) == {name}
    assert json.loads((tmp_path / "run" / "arguments.json").read_text())["precision"] == name
    # Another machine goes on as this one began, and says what that costs.
    monkeypatch.setattr(options, "native_dtype", lambda device: torch.float32)
    monkeypatch.setattr(train, "native_dtype", lambda device: torch.float32)
    capsys.readouterr()
    train.main([str(photos), str(tmp_path / "run"), "--resume"])
    assert ("only emulates bfloat16" in capsys.readouterr().err) == (dtype == torch.bfloat16)
    assert state(tmp_path / "run")["arguments"]["precision"] == name


def test_rates() -> None:
    stage = Stage(size=128, batch=10, lr=1.0, epochs=40, halve=20, adversarial=15)
    photos = 50  # 5 steps per epoch
    assert stage.total_steps(photos) == 200
    assert [stage.learning_rate(step, photos) for step in (0, 99, 100, 199)] == [1, 1, 0.5, 0.5]
    assert [stage.has_discriminator(step, photos) for step in (74, 75)] == [False, True]
    cosine = Stage(size=128, batch=10, lr=1.0, steps=1000)
    values = [cosine.learning_rate(step, photos) for step in range(1000)]
    assert max(values) == pytest.approx(1, abs=0.01)
    assert values[0] == pytest.approx(0.05)
    assert values[-1] == pytest.approx(0.02, abs=1e-3)
    assert not cosine.has_discriminator(999, photos)


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_it_had_not_been(photos: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle, workers and all; also with a log that was ahead of the checkpoint."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    stage = ["--stage", COARSE.replace("steps=4", "steps=12"), *STAGES[2:], *LOSSES]
    quick = [*QUICK[:2], "--workers", "1", "--checkpoint-every", "4", "--log-every", "1"]
    train.main([str(photos), str(whole), *stage, *quick])
    process = start(photos, killed, *stage, *quick)
    try:
        deadline = time.monotonic() + 120
        while not ((killed / "last.pt").exists() and len(rows(killed)) >= 6) and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.005)
    finally:
        process.kill()
        process.communicate()
    assert state(killed)["done"] < 14
    train.main([str(photos), str(killed), "--resume", *quick])
    assert_same(whole, killed)
    assert [(row["stage"], row["step"]) for row in rows(killed)] == [(row["stage"], row["step"]) for row in rows(whole)]


@pytest.mark.slow
def test_resumed_runs_keep_their_arguments(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train.main([str(photos), str(out), *STAGES, *LOSSES, *QUICK])
    with pytest.raises(SystemExit, match="add --resume"):
        train.main([str(photos), str(out), *STAGES, *QUICK])
    with pytest.raises(SystemExit, match="started with seed 0"):
        train.main([str(photos), str(out), "--resume", "--seed", "5"])
    with pytest.raises(SystemExit, match="started with exposure"):
        train.main([str(photos), str(out), "--resume", "--exposure", "kept_share=0.5"])
    train.main([str(photos), str(out), "--resume"])  # nothing is left to do
    assert len(rows(out)) == 6

    weights = out / "weights.safetensors"
    assert load_weights(weights).parameter_count() == 7_015_449
    training = read_metadata(weights)["training"]
    assert training["data"]["photos"] == 4
    assert training["metrics"]["loss"] == pytest.approx(losses(out)[-1], rel=1e-4)
    assert training["arguments"]["stage"][0] == {"finest": 4, "size": 128, "batch": 2, "steps": 4, "lr": 1e-3}
    assert json.loads((out / "arguments.json").read_text()) == training["arguments"]
    assert str(tmp_path) not in json.dumps(training)  # no folders of this machine

    (photos / "4.jpg").write_bytes((photos / "0.jpg").read_bytes())
    with pytest.raises(SystemExit, match="not those that the run was started with"):
        train.main([str(photos), str(out), "--resume"])
    (out / "last.pt").write_bytes(b"cut off")
    with pytest.raises(SystemExit, match="is damaged"):
        train.main([str(photos), str(out), "--resume"])


# In the middle of a stage, and at its end.
@pytest.mark.parametrize(("kind", "step"), [(signal.SIGINT, 2), (signal.SIGTERM, 4)])
@pytest.mark.slow
def test_ctrl_c_writes_a_checkpoint(photos: Path, tmp_path: Path, kind: signal.Signals, step: int) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    arguments = [*STAGES, *LOSSES, *QUICK[:4], "--checkpoint-every", "100", "--log-every", "4"]
    train.main([str(photos), str(whole), *arguments])
    steps = []
    original = train.Run.train_step

    def interrupted(self: Any, *args: Any) -> dict[str, float]:
        steps.append(1)
        if len(steps) == step:
            os.kill(os.getpid(), kind)
        return original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Run, "train_step", interrupted)
        with pytest.raises(SystemExit) as stop:
            train.main([str(photos), str(stopped), *arguments])
    assert stop.value.code == 130
    assert (state(stopped)["stage"], state(stopped)["step"]) == divmod(step, 4)
    train.main([str(photos), str(stopped), "--resume"])
    assert_same(whole, stopped)
    assert len(rows(stopped)) == 2


@pytest.mark.slow
def test_two_processes_are_as_one_with_the_double_batch(photos: Path, tmp_path: Path) -> None:
    """Without the discriminator, whose batch normalisation sees half a batch on CPUs."""
    stages = [COARSE, "finest=3,size=256,batch=2,steps=2,lr=1e-4", "size=128,batch=4,steps=2,lr=1e-4,patches=1"]
    arguments = ["--stage", *stages, "--loss", "reconstruction", "pyramid", "--precision", "float32", *QUICK]
    one, two = tmp_path / "one", tmp_path / "two"
    process = start(photos, two, *arguments, processes=2)
    train.main([str(photos), str(one), *arguments])
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output
    assert losses(two) == pytest.approx(losses(one), rel=2e-4)
    assert len(losses(two)) == 8
    # Adam makes a whole step of a tiny gradient's rounding error, here and there; other data would differ everywhere.
    networks = [state(out)["network"] for out in (one, two)]
    differences = torch.cat([(networks[0][name] - networks[1][name]).abs().flatten() for name in networks[0]])
    assert differences.mean() < 2e-5
    assert differences.median() < 1e-5


@pytest.mark.slow
def test_two_processes_train_the_discriminator(photos: Path, tmp_path: Path) -> None:
    process = start(photos, tmp_path / "two", *STAGES[:1], *STAGES[2:], *LOSSES, *QUICK, processes=2)
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output
    assert float(rows(tmp_path / "two")[-1]["discriminator"]) > 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        with pytest.raises(SystemExit, match="a batch of 3 cannot be shared among 2 processes"):
            train.main([str(photos), str(tmp_path / "new"), "--stage", "size=128,batch=3,steps=2,lr=1e-4,patches=1"])


@pytest.mark.slow
def test_overfits_four_photos(tmp_path: Path) -> None:
    """Above 30 dB on four pairs that it has seen, in a few hundred steps."""
    root = tmp_path / "set"
    for part in ("training", "validation"):
        for kind in ("INPUT_IMAGES", "GT_IMAGES"):
            (root / part / kind).mkdir(parents=True)
    for name, ev, exposure in (
        ("astronaut", -1.5, "N1.5"),
        ("coffee", -1, "N1"),
        ("cat", 1, "P1"),
        ("rocket", 1.5, "P1.5"),
    ):
        photo = Image.fromarray(getattr(data, name)()).resize((128, 128), Image.Resampling.LANCZOS)
        wrong = shift_exposure(torch.from_numpy(np.array(photo)).float() / 255, ev) * 255
        for part in ("training", "validation"):
            photo.save(root / part / "GT_IMAGES" / f"{name}.png")
            Image.fromarray(wrong.round().byte().numpy()).save(root / part / "INPUT_IMAGES" / f"{name}_{exposure}.png")
    stage = ["--stage", "size=128,batch=4,patches=1,steps=400,lr=1e-3", "--loss", "reconstruction", "pyramid"]
    train.main(
        [str(root), str(tmp_path / "run"), *stage, "--ema", "0.9", "--checkpoint-every", "200", "--log-every", "200"]
    )
    last = rows(tmp_path / "run")[-1]
    assert float(last["validation_psnr"]) > 30
    assert float(last["validation_ssim"]) > 0.9


@pytest.mark.slow
def test_training_reduces_the_loss(photos: Path, tmp_path: Path) -> None:
    stage = ["--stage", "finest=4,size=128,batch=4,steps=60,lr=1e-3", "--checkpoint-every", "60", "--log-every", "20"]
    train.main([str(photos), str(tmp_path / "run"), *stage, "--exposure", "ev_low=-2", "ev_high=-1", "kept_share=0"])
    assert losses(tmp_path / "run")[-1] < 0.85 * losses(tmp_path / "run")[0]


@pytest.mark.slow
def test_losses_and_levels_are_switched_by_arguments(photos: Path, tmp_path: Path) -> None:
    stage = ["--stage", "size=128,batch=1,steps=1,lr=1e-4,patches=1,adversarial=0"]
    variants = {
        1: "reconstruction",
        2: "reconstruction pyramid",
        3: "pyramid=0.5 adversarial consistency=0.3",
        4: "adversarial=2",
    }
    for levels, text in variants.items():
        chosen = text.split()
        out = tmp_path / str(levels)
        train.main([str(photos), str(out), *stage, *QUICK, "--levels", str(levels), "--loss", *chosen])
        [row] = rows(out)
        names = {name.partition("=")[0] for name in chosen}
        assert {name for name in options.LOSSES if row[name]} == names
        assert bool(row["discriminator"]) == ("adversarial" in names)
        assert load_weights(out / "weights.safetensors").architecture == Architecture.of_levels(levels)
        assert float(row["loss"]) == pytest.approx(sum(float(row[name]) for name in names), rel=1e-3)
    with pytest.raises(SystemExit, match="no loss is left"):
        train.main([str(photos), str(tmp_path / "x"), "--stage", COARSE, *QUICK, "--loss", "reconstruction"])


@pytest.mark.slow
def test_log_loss_is_of_each_photo(photos: Path, tmp_path: Path) -> None:
    """The mean of logarithms is at most the logarithm of the mean, and equal to it only for photos of equal loss."""
    stage = ["--stage", "finest=4,size=128,batch=4,steps=1,lr=1e-4", *QUICK, "--exposure", "kept_share=0"]
    train.main([str(photos), str(tmp_path / "log"), *stage, "--log-loss", "0.02"])
    train.main([str(photos), str(tmp_path / "plain"), *stage])
    [logged], [plain] = rows(tmp_path / "log"), rows(tmp_path / "plain")
    assert logged["pyramid"] == plain["pyramid"] == plain["loss"]
    bound = np.log(float(plain["loss"]) + 0.02)
    assert bound - 2 < float(logged["loss"]) < bound - 1e-3


@pytest.mark.slow
def test_arguments_come_from_files_too(photos: Path, tmp_path: Path) -> None:
    train.main([str(photos), str(tmp_path / "a"), "--stage", COARSE, *QUICK, "--exposure", "near_share=0.3"])
    train.main([str(photos), str(tmp_path / "b"), "--config", str(tmp_path / "a/arguments.json"), "--seed", "1"])
    first, second = (json.loads((tmp_path / name / "arguments.json").read_text()) for name in "ab")
    assert second == {**first, "seed": 1}
    assert losses(tmp_path / "a") != losses(tmp_path / "b")
    config = tmp_path / "c.json"
    for text, match in (('{"sede": 1}', "unknown arguments .sede"), ("{", "is not a JSON"), ("[]", "no names at all")):
        config.write_text(text)
        with pytest.raises(SystemExit, match=match):
            train.main([str(photos), str(tmp_path / "c"), "--config", str(config)])
    config.write_text('{"stage": [{"size": 128, "batch": 2}]}')
    with pytest.raises(SystemExit, match="missing lr"):
        train.main([str(photos), str(tmp_path / "c"), "--config", str(config)])


@pytest.mark.slow
def test_a_run_may_start_from_weights(photos: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    stage = ["--stage", "finest=4,size=128,batch=1,steps=1,lr=1e-9", *QUICK]
    train.main([str(photos), str(first), *stage, "--seed", "3"])
    train.main([str(photos), str(second), *stage, "--init", str(first / "weights.safetensors")])
    states = [load_weights(folder / "weights.safetensors").state_dict() for folder in (first, second)]
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], atol=1e-3), name
    (first / "weights.safetensors").unlink()
    train.main([str(photos), str(second), "--resume"])  # which needs the first weights no more
    training = read_metadata(second / "weights.safetensors")["training"]
    assert training["init"]["arguments"]["seed"] == 3
    plain = ["--levels", "1", "--stage", "size=128,batch=1,steps=1,lr=1e-4,patches=1", "--loss", "reconstruction"]
    with pytest.raises(SystemExit, match=r"is of another network .*change --network or --levels"):
        train.main([str(photos), str(tmp_path / "x"), *plain, "--init", str(second / "weights.safetensors")])


@pytest.mark.slow
def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = iter((1.0, 1.0, float("nan")))
    original = train.pyramid_loss
    monkeypatch.setattr(train, "pyramid_loss", lambda *args: original(*args) * next(factors))
    stage = "finest=4,size=128,batch=1,steps=5,lr=1e-4"
    with pytest.raises(SystemExit, match="not finite at step 2 of stage 1; the last checkpoint is kept"):
        train.main([str(photos), str(tmp_path / "run"), "--stage", stage, "--checkpoint-every", "1"])
    assert state(tmp_path / "run")["step"] == 2
    assert load_weights(tmp_path / "run" / "weights.safetensors").parameter_count() == 7_015_449


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint(photos: Path, tmp_path: Path) -> None:
    """Files may grow to 60 MB: the weights fit, the checkpoint of 80 MB does not, as on a full disk."""
    out = tmp_path / "run"
    stage = ["--stage", "finest=4,size=128,batch=1,steps=4,lr=1e-4", *QUICK]
    train.main([str(photos), str(out), *stage, "--seed", "1"])
    before = (out / "last.pt").read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60 * 2**20, limit[1]))
    try:
        with pytest.raises(SystemExit, match=r"cannot be written .* make room and resume with --resume"):
            state_before = torch.load(out / "last.pt", weights_only=True)
            train.main([str(photos), str(tmp_path / "full"), *stage])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert state_before["done"] == 4
    assert (out / "last.pt").read_bytes() == before
    assert not list((tmp_path / "full").glob(".part-*"))
    assert not (tmp_path / "full" / "last.pt").exists()


@pytest.mark.slow
def test_validation_is_logged_and_the_best_kept(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("input", "gt"):
        (tmp_path / "val" / part).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "val" / part / f"{i}.jpg").write_bytes((photos / f"{i}.jpg").read_bytes())
    out = tmp_path / "run"
    figures = iter((20.0, 25.0, 22.0))
    original = train.Validation.run

    def run(self: Any, *args: Any) -> Any:
        values, shown = original(self, *args)
        assert 5 < values["validation_psnr"] < 60
        assert 0 < values["validation_ssim"] < 1
        assert {name.split("/")[1] for name in shown} == {"input", "Y4", "target"}
        return {**values, "validation_psnr": next(figures)}, shown

    monkeypatch.setattr(train.Validation, "run", run)
    stage = COARSE.replace("steps=4", "steps=6")
    train.main([str(photos), str(out), "--stage", stage, *QUICK, "--validation", str(tmp_path / "val")])
    assert [row["validation_psnr"] for row in rows(out)] == ["", "20", "", "25", "", "22"]
    assert read_metadata(out / "best.safetensors")["training"]["metrics"]["step"] == 4
    assert read_metadata(out / "weights.safetensors")["training"]["metrics"]["step"] == 6


@pytest.mark.slow
def test_tensorboard_has_scalars_and_pictures(photos: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for part in ("input", "gt"):
        (tmp_path / "val" / part).mkdir(parents=True)
        (tmp_path / "val" / part / "0.jpg").write_bytes((photos / "0.jpg").read_bytes())
    train.main([str(photos), str(tmp_path / "run"), *STAGES[:2], *QUICK, "--validation", str(tmp_path / "val")])
    board = reader.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"loss", "pyramid", "lr", "validation/psnr"} <= set(board.Tags()["scalars"])
    assert [event.step for event in board.Scalars("loss")] == [1, 2, 3, 4]
    assert {"0/input/0", "0/Y4/0", "0/target/0"} <= {
        tag if tag.endswith("/0") else f"{tag}/0" for tag in board.Tags()["images"]
    }


def test_runs_without_tensorboard(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train.main([str(photos), str(tmp_path / "run"), *STAGES[:2], *QUICK])
    assert "TensorBoard is not installed" in capsys.readouterr().err
    assert len(rows(tmp_path / "run")) == 4


def test_bad_arguments(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = str(tmp_path / "new")
    for kind, name in (("INPUT_IMAGES", "a_0.png"), ("GT_IMAGES", "a.png")):
        (tmp_path / "pairs" / kind).mkdir(parents=True)
        shutil.copy(next(photos.iterdir()), tmp_path / "pairs" / kind / name)
    for arguments, match in (
        ([tmp_path / "pairs", new, "--loss", "pyramid", "consistency"], "holds pairs with only one exposure each"),
        ([photos, new, "--resume"], "start without --resume"),
        ([photos, new, "--stage", "finest=1,size=128,batch=1,steps=1,lr=1e-3"], "whole photos .* divisible by 512"),
        ([photos, new, "--stage", "size=96,batch=1,steps=1,lr=1e-3,patches=1"], "patches .* divisible by 128"),
        ([photos, new, "--stage", COARSE, "--levels", "3"], "finest must be 1..3"),
        ([photos, new, "--levels", "9"], "levels must be 1..4"),
        ([photos, new, "--ema", "1"], "below 1"),
        ([photos, new, "--log-every", "0"], "must be positive"),
        ([photos, new, "--log-loss", "-1"], "0 or positive"),
        ([photos, new, "--exposure", "kept_share=2"], "is a probability"),
        ([photos, new, "--config", tmp_path / "none.json"], "none.json"),
        ([photos, new, "--config", "x", "--preset", "cpu"], "exclude each other"),
        ([tmp_path / "empty", new], "is not a folder"),
        ([photos, new, "--validation", tmp_path / "no"], "is not a folder"),
        ([photos, new, "--init", tmp_path / "no.safetensors"], "does not exist"),
    ):
        with pytest.raises(SystemExit, match=match):
            train.main([str(argument) for argument in arguments])
    for arguments, match in (
        ([photos, new, "--stage", "finest=4"], "missing batch, lr, size"),
        ([photos, new, "--stage", "size=128,batch=1,lr=1e-3"], "either epochs or steps"),
        ([photos, new, "--stage", "size=128,batch=1,lr=1e-3,step=3"], "unknown step"),
        ([photos, new, "--stage", "size=128,batch=0,lr=1e-3,steps=3"], "must be positive"),
        ([photos, new, "--loss", "l2"], "reconstruction, pyramid, adversarial"),
        ([photos, new, "--exposure", "evil=1"], "ev_low"),
        ([photos], "name the folder"),
    ):
        with pytest.raises(SystemExit):
            train.main([str(argument) for argument in arguments])
        assert re.search(match, capsys.readouterr().err), match
    assert not (tmp_path / "new").exists()


def test_table_speaks_of_steps_where_stages_do() -> None:
    text = schedule.table([Stage(size=128, batch=10, lr=1e-4, steps=100, finest=4, halve=40, adversarial=50)], 50, 4)
    assert "| 1 | 4 | 128 px, whole photos | 10 | 20.0 | 5 | 100 | 0.0001 | 40 steps | after 50 steps |" in text
