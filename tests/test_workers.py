"""Tasks in several processes: none crashes another, hangs for ever, or uses more memory than there is."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from expcorr_core.batch.pool import Task, spread


def crash(path: str, name: str) -> str:
    """Crash the process for one name; record every call."""
    with (Path(path) / name).open("a") as file:
        file.write("called ")
    time.sleep(1)
    if name == "bad":
        os.kill(os.getpid(), signal.SIGSEGV)
    return name


@pytest.mark.slow
@pytest.mark.parametrize("bad", [0, 2, 5])
def test_only_the_task_that_crashes_is_tried_again_and_given_up(tmp_path: Path, bad: int) -> None:
    names = ["bad" if index == bad else str(index) for index in range(6)]
    tasks = [Task((str(tmp_path), name), f"lost {name}") for name in names]
    assert sorted(spread(crash, tasks, 2)) == sorted("lost bad" if name == "bad" else name for name in names)
    called = {path.name: len(path.read_text().split()) for path in tmp_path.iterdir()}
    assert called == {**dict.fromkeys(names, 1), "bad": 2}


def hang(path: str, name: str) -> str:
    """Like a decoder that never returns and never releases the interpreter's lock."""
    with (Path(path) / name).open("a") as file:
        file.write("called ")
    if name == "hangs":
        ctypes.PyDLL(None).sleep(600)
    time.sleep(1)
    return name


@pytest.mark.slow
def test_a_task_that_hangs_is_given_up_and_costs_no_other(tmp_path: Path) -> None:
    names = ["0", "hangs", "1", "2", "3"]
    tasks = [Task((str(tmp_path), name), "crashed", limit=5.0, late=f"{name} is late") for name in names]
    assert sorted(spread(hang, tasks, 2)) == ["0", "1", "2", "3", "hangs is late"]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "called ")


def refuse(name: str) -> str:
    raise OSError(f"{name} cannot be had")


@pytest.mark.slow
def test_what_a_task_raises_reaches_the_caller() -> None:
    with pytest.raises(OSError, match="b cannot be had"):
        list(spread(refuse, [Task(("b",), "crashed")], 2))


def busy(path: str, name: str) -> int:
    """The number of tasks that run at once."""
    mark = Path(path) / name
    mark.touch()
    time.sleep(0.2)
    together = len(list(Path(path).iterdir()))
    mark.unlink()
    return together


@pytest.mark.slow
@pytest.mark.parametrize(("costs", "most"), [((1.0,) * 4, 1), ((0.4,) * 4, 2), ((5.0,) * 3, 1)])
def test_tasks_wait_for_their_share_of_the_budget(tmp_path: Path, costs: Sequence[float], most: int) -> None:
    tasks = [Task((str(tmp_path), str(index)), 0, cost) for index, cost in enumerate(costs)]
    assert max(spread(busy, tasks, 4)) <= most


SLEEPERS = """
import sys, time
from expcorr_core.batch.pool import Stopped, Task, spread
if __name__ == "__main__":
    print("begun", flush=True)
    try:
        for name in spread(time.sleep, [Task((float(sys.argv[1]),), None) for _ in range(6)], 2):
            print("done", flush=True)
    except Stopped:
        print("stopped")
"""


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_one_interrupt_waits_for_what_is_begun_and_two_do_not(tmp_path: Path, times: int) -> None:
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(
        [sys.executable, script, "2" if times == 1 else "60"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    # At once, while the workers are starting, and as the terminal does: to the whole group.
    for _ in range(times):
        time.sleep(1.0)
        os.killpg(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=30)
    if times == 1:
        assert printed.splitlines()[-1] == "stopped"
        assert "done" in printed
        assert errors == ""
    else:
        assert process.returncode != 0
        assert "done" not in printed
        assert errors.count("Traceback") <= 1
