"""Many tasks on several processes, none of which can take the others down; and how they are asked to stop."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

Result = TypeVar("Result")


class Stopped(Exception):
    """The run was asked to stop; what was begun has been finished."""


class Stop:
    """Ctrl-C and SIGTERM ask for an end in good order; a second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        kinds = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(kind, self._ask) for kind in kinds]
        try:
            yield
        finally:
            for kind, handler in zip(kinds, before, strict=True):
                signal.signal(kind, handler)

    def _ask(self, kind: int, frame: object) -> None:
        if self.asked and kind == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


@dataclass(frozen=True)
class Task(Generic[Result]):
    """A call for another process.

    Attributes:
        arguments: of the function.
        crashed: the result where the process goes down under it.
        cost: share of the budget that it takes while it runs.
    """

    arguments: tuple[Any, ...]
    crashed: Result
    cost: float = 0.0


def spread(
    function: Callable[..., Result], tasks: Iterable[Task[Result]], workers: int, threads: int = 1, budget: float = 1.0
) -> Iterator[Result]:
    """Call ``function`` with each task's arguments in other processes.

    A process that dies (killed, or brought down by a decoder) costs no other task: those that were running are
    called again, each alone, and the one that dies again gives its ``crashed``.

    Args:
        function: importable by other processes, as are its arguments.
        tasks: in the order in which they begin; each is asked for when it is about to.
        workers: number of processes.
        threads: of PyTorch in each process.
        budget: tasks wait as long as those that run cost more with them; one task may always run.

    Yields:
        The results, as they are finished.

    Raises:
        Stopped: Ctrl-C or SIGTERM came.
    """
    waiting = iter(tasks)
    task = next(waiting, None)
    stop = Stop()
    with stop.listening():
        while task:
            running: dict[Future[Result], Task[Result]] = {}
            pool = _pool(workers, threads)
            try:
                while task or running:
                    while task and not stop.asked and len(running) <= workers:
                        if running and task.cost + sum(other.cost for other in running.values()) > budget:
                            break
                        with _sheltered():
                            future = pool.submit(function, *task.arguments)
                        running[future] = task
                        task = next(waiting, None)
                    if stop.asked and not running:
                        raise Stopped
                    for done in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
                        result = done.result()
                        del running[done]
                        yield result
            except BrokenProcessPool:
                if stop.asked:
                    raise Stopped from None
                for future, begun in running.items():
                    finished = future.done() and not future.cancelled() and not future.exception()
                    yield future.result() if finished else _alone(function, begun, threads)
            except KeyboardInterrupt:
                for child in multiprocessing.active_children():
                    child.terminate()
                raise
            finally:
                pool.shutdown(cancel_futures=True)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _sheltered() -> Iterator[None]:
    """Processes that are started in here do not get the terminal's Ctrl-C; this one gets it a moment later."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _alone(function: Callable[..., Result], task: Task[Result], threads: int) -> Result:
    with _pool(1, threads) as pool:
        try:
            with _sheltered():
                future = pool.submit(function, *task.arguments)
            return future.result()
        except BrokenProcessPool:
            return task.crashed


def _pool(workers: int, threads: int) -> ProcessPoolExecutor:
    # Spawned: a fork would copy the threads' locks of PyTorch.
    context = multiprocessing.get_context("spawn")
    if os.name == "nt":
        workers = min(workers, 61)  # what Windows can wait for
    return ProcessPoolExecutor(workers, context, _start_worker, (os.getpid(), threads))


def _start_worker(parent: int, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent asks for the end
    torch.set_num_threads(threads)

    def watch() -> None:  # a parent that was killed could not end its workers
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
