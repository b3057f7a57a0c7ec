"""Training for as long as a GPU is there: the plan, what comes back, and all of it on a CPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from expcorr_core.bilateral.grid import BilateralGrid
from expcorr_core.data.dataset import Batch
from expcorr_core.method.global_level import GlobalNetwork
from expcorr_core.method.weights import load_weights
from training import on_gpu, timings, train

ROOT = Path(__file__).parent.parent
QUICK = ["--minutes", "60", "--device", "cpu", "--batch", "2", "--workers", "0", "--no-timings"]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs spend little time on the photos' statistics and on timing."""
    monkeypatch.setattr(on_gpu, "TIMED_SECONDS", 0)
    monkeypatch.setattr(train, "STATISTICS_BATCHES", 2)


def same_weights(first: Path, second: Path) -> bool:
    one, two = (load_weights(path).state_dict() for path in (first, second))
    return all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("seconds", "each", "startup", "steps"),
    [(600, 0.5, 0, 1140), (600, 0.5, 20, 1100), (100, 0.95, 0, 100), (100, 1000, 0, 1), (-5, 1, 3, 1)],
)
def test_steps_from_minutes(seconds: float, each: float, startup: float, steps: int) -> None:
    assert on_gpu.steps_within(seconds, each, startup) == steps


@pytest.mark.parametrize(("first", "counts", "steps"), [(0.3, [4, 80], 11312), (30.0, [4], 116)])
def test_quick_steps_are_timed_longer(
    monkeypatch: pytest.MonkeyPatch, first: float, counts: list[int], steps: int
) -> None:
    counted: list[int] = []
    spent = iter((first, 6.4))
    args = SimpleNamespace(stage=[on_gpu.Stage(size=128, batch=2, lr=1e-3, steps=600)], workers=4, log_every=50)
    run = SimpleNamespace(args=args, deadline=1001.0, write_arguments=lambda: None)
    run.time_steps = lambda index, count: counted.append(count) or next(spent)
    monkeypatch.setattr(on_gpu.time, "monotonic", lambda: 48.0)
    on_gpu.LimitedRun.set_steps(run, 0)  # type: ignore[arg-type]
    assert counted == counts
    assert run.args.stage[0].steps == steps
    assert run.args.checkpoint_every == round(30 * counted[-1] / (6.4 if len(counts) > 1 else first))


def test_workers_from_shared_memory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert [on_gpu.workers_within(15, 500, free) for free in (10**6, 8000, 999)] == [15, 8, 0]
    stage = on_gpu.Stage(size=128, batch=640, lr=1e-3, steps=1)
    monkeypatch.setattr(on_gpu, "SHARED_MEMORY", Path("/nowhere"))
    monkeypatch.setattr(on_gpu, "memory", lambda: 64 * 2**20)
    assert on_gpu.choose_workers(8, stage) == 0
    assert "0 instead of 8 processes prepare batches: their 503 MB each" in capsys.readouterr().err
    monkeypatch.setattr(on_gpu, "memory", lambda: 2**37)
    monkeypatch.setattr(on_gpu, "cores", lambda: 16)
    assert on_gpu.choose_workers(None, stage) == 15
    assert not capsys.readouterr().err


def test_size_of_what_comes_back(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "a.json").write_bytes(b"123")
    (tmp_path / "more" / "weights.safetensors").write_bytes(bytes(on_gpu.MOST_BYTES - 3))
    assert on_gpu.brought_back(tmp_path) == 16_000_000
    (tmp_path / "b").write_bytes(b"1")
    with pytest.raises(ValueError, match=r"holds 16\.0 MB, more than the 16 MB.*the largest is weights\.safetensors"):
        on_gpu.brought_back(tmp_path)


def test_slices_are_compared_with_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timings, "REPEATED", 0)
    made = timings._slices("cpu", (40, 60))
    assert {timing.how for timing in made} >= {"torch"}
    assert all(timing.agrees for timing in made)
    right = BilateralGrid.slice

    def wrong(self: BilateralGrid, image: torch.Tensor, out: torch.Tensor | None = None, **rest: Any) -> torch.Tensor:
        result = right(self, image, out, **rest)
        return result if out is None else result.add_(2e-4)

    monkeypatch.setattr(BilateralGrid, "slice", wrong)
    made = timings._slices("cpu", (40, 60))
    assert not any(timing.agrees for timing in made)
    assert "2.0e-04 |" in timings.table(made)


def test_a_part_that_cannot_be_measured_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*rest: object) -> None:
        raise RuntimeError("no compiler\nmore")

    def nothing(*rest: object) -> list[timings.Timing]:
        return [timings.Timing(what="a", how="b", seconds=0.5, amount=2, unit="photos")]

    monkeypatch.setattr(timings, "_network", nothing)
    monkeypatch.setattr(timings, "_simulator", nothing)
    monkeypatch.setattr(timings, "_slices", broken)
    made = timings.measure("cpu", {}, time.monotonic() + 1000)
    assert len(made) >= 5
    assert "the slice cannot be measured here (no compiler)\n" in capsys.readouterr().err
    assert "| a | b | 500 | 4 photos |  |" in timings.table(made)
    assert timings.measure("cpu", {}, time.monotonic() - 1) == []
    assert "no time was left to measure 6 of 6 parts" in capsys.readouterr().err


def test_same_weights_as_of_the_trainer_with_its_arguments(
    photos: Path, tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_gpu, "steps_within", lambda *rest: 3)
    out = tmp_path / "out"
    on_gpu.main([str(photos), str(out), *QUICK, "--seed", "5"])
    assert {path.name for path in out.iterdir()} == {"weights.safetensors", "arguments.json", "log.csv"}
    network = load_weights(out / "weights.safetensors")
    assert isinstance(network, GlobalNetwork)
    record = network.training_record
    assert (record["arguments"]["stage"][0]["steps"], record["arguments"]["seed"]) == (3, 5)
    assert record["arguments"]["stage"] == json.loads((out / "arguments.json").read_text())["stage"]
    assert record["metrics"]["step"] == 3
    train.main([str(photos), str(tmp_path / "again"), "--config", str(out / "arguments.json")])
    assert same_weights(out / "weights.safetensors", tmp_path / "again" / "weights.safetensors")
    with pytest.raises(SystemExit, match=r"out is not empty; add --resume to go on there"):
        on_gpu.main([str(photos), str(out), *QUICK])


def test_stopped_at_the_deadline_and_resumed(
    photos: Path, tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_gpu, "steps_within", lambda *rest: 4)
    whole, out, state = tmp_path / "whole", tmp_path / "out", tmp_path / "elsewhere"
    on_gpu.main([str(photos), str(whole), *QUICK])
    step = train.Run.train_step

    taken: list[int] = []

    def late(run: on_gpu.LimitedRun, *rest: Any) -> dict[str, float]:
        run.deadline = 0.0 if run.step == 1 else run.deadline  # while steps are being timed
        taken.append(run.step)
        return step(run, *rest)

    monkeypatch.setattr(train.Run, "train_step", late)
    with pytest.raises(SystemExit) as stopped:
        on_gpu.main([str(photos), str(out), *QUICK, "--state", str(state)])
    assert stopped.value.code == 130
    assert taken == [0, 1, 2, 3, 0]
    assert load_weights(out / "weights.safetensors").training_record["metrics"]["step"] == 1
    monkeypatch.undo()
    on_gpu.main([str(photos), str(out), *QUICK, "--state", str(state), "--resume"])
    assert load_weights(out / "weights.safetensors").training_record["metrics"]["step"] == 4
    assert same_weights(whole / "weights.safetensors", out / "weights.safetensors")


def test_resumed_though_killed_before_the_first_checkpoint(
    photos: Path, tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_gpu, "steps_within", lambda *rest: 1)
    out = tmp_path / "out"
    (tmp_path / "out-state").mkdir()
    (tmp_path / "out-state" / "log.csv").write_text("stage\n")
    on_gpu.main([str(photos), str(out), *QUICK, "--resume"])
    assert load_weights(out / "weights.safetensors").training_record["metrics"]["step"] == 1


def test_halves_the_batch_until_it_fits(
    photos: Path,
    tmp_path: Path,
    short: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(on_gpu, "steps_within", lambda *rest: 1)
    step = train.Run.train_step

    def limited(run: train.Run, *rest: Any) -> dict[str, float]:
        if run.args.stage[0].batch > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return step(run, *rest)

    monkeypatch.setattr(train.Run, "train_step", limited)
    out = tmp_path / "out"
    on_gpu.main([str(photos), str(out), *QUICK, "--batch", "8"])
    told = capsys.readouterr().err
    assert "8 photos per step do not fit" in told
    assert "4 photos per step do not fit" in told
    assert load_weights(out / "weights.safetensors").training_record["arguments"]["stage"][0]["batch"] == 2


def test_statistics_of_large_batches_are_of_as_many_photos() -> None:
    class Batches:
        def __init__(self, size: int) -> None:
            self.batch_size, self.taken = size, 0

        def __getitem__(self, index: int) -> Batch:
            self.taken += 1
            return Batch(*torch.rand(2, 2, 3, 16, 16))

    taken = []
    for size in (2, 64, 640, 5000):
        run = SimpleNamespace(network=GlobalNetwork(), average=GlobalNetwork(), args=SimpleNamespace(workers=0))
        run.processes = SimpleNamespace(device="cpu")
        data: Any = Batches(size)
        train.Run.normalise_statistics(run, data)  # type: ignore[arg-type]
        taken.append(data.taken)
        assert torch.equal(run.network.mean, run.average.mean)
        assert run.network.mean.any()
    assert taken == [32, 32, 3, 1]


def test_a_missing_extra_is_named(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*rest: object, **more: object) -> None:
        raise ModuleNotFoundError("HDR pictures need imagecodecs; pip install it")

    monkeypatch.setattr(train, "read_scenes", missing)
    monkeypatch.setattr(on_gpu, "read_scenes", missing)
    (tmp_path / "a.hdr").touch()
    scenes = ["--scenes", str(tmp_path), "--device", "cpu"]
    with pytest.raises(SystemExit, match=r"^on_gpu\.py: HDR pictures need imagecodecs"):
        on_gpu.main([str(photos), str(tmp_path / "out"), "--minutes", "1", *scenes])
    with pytest.raises(SystemExit, match=r"^train\.py: HDR pictures need imagecodecs"):
        train.main([str(photos), str(tmp_path / "run"), "--preset", "global", "--workers", "0", *scenes])


def test_ten_times_the_photos_on_a_gpu(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[Any] = []
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(on_gpu, "train_in_time", lambda args, stage, deadline: stages.append(stage) or 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for device in ("cuda", "cpu"):
        on_gpu.main([str(photos), str(tmp_path / "out"), "--minutes", "1", "--no-timings", "--device", device])
    assert [stage.batch for stage in stages] == [640, 64]
    assert replace(stages[0], batch=64) == stages[1]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ([], "no CUDA device was found.*; add --device cpu for a small trial on the processor"),
        (["--device", "mps"], "--device must be cuda, cuda:1 or the like, or cpu, got mps"),
        (["--minutes", "0"], "--minutes must be positive and finite, got 0"),
        (["--minutes", "inf"], "--minutes must be positive and finite, got inf"),
        (["--device", "cpu", "--batch", "0"], "--batch must be positive, got 0"),
        (["--device", "cpu", "--workers", "-1"], "--workers must be 0 or more, got -1"),
        (["--device", "cpu", "--state", "{out}/state"], "state is in .*out, which is brought back"),
        (["--device", "cpu", "--scenes", "{out}"], "out is not a folder"),
    ],
)
def test_says_what_is_wrong(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], reason: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "out"
    with pytest.raises(SystemExit, match=rf"^on_gpu\.py: .*{reason}"):
        on_gpu.main([str(photos), str(out), "--minutes", "1", *(text.format(out=out) for text in more)])
    assert not any(tmp_path.iterdir())  # nothing was begun


def test_no_second_device(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SystemExit, match="there is no cuda:3; the last device is cuda:0"):
        on_gpu.main([str(photos), str(tmp_path / "out"), "--minutes", "1", "--device", "cuda:3"])


@pytest.mark.slow
def test_all_of_it_on_a_cpu(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, str(ROOT / "training" / "on_gpu.py"), str(photos), str(out), "--minutes", "0.5"]
    command += ["--device", "cpu", "--batch", "2", "--workers", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 130), done.stderr  # 130: slower than its first steps, which the deadline ended
    assert "| default network, 512 pixels | float32, batch 1 |" in done.stdout
    assert "seconds per step of 2 photos" in done.stdout
    assert f"bring back {out}: 1." in done.stdout
    kept = json.loads((out / "timings.json").read_text())
    assert kept["device"] == "CPU"
    assert kept["timings"][0]["seconds"] > 0
    assert load_weights(out / "weights.safetensors").training_record["arguments"]["network"] == "global"
    assert (tmp_path / "out-state" / "last.pt").exists()
