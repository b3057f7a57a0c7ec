"""Many tasks on several processes, none of which can crash the others; and how they are asked to stop."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from ..machine import limit_threads

Result = TypeVar("Result")
# Memory of a process of its own, beside the code that all share: 250 to 330 MiB with network and weights.
WORKER_BYTES = 350 * 2**20


class Stopped(Exception):
    """The run was asked to stop; what had begun has been finished."""


class Stop:
    """Ctrl-C and SIGTERM ask for an orderly stop; a second Ctrl-C stops at once."""

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
        crashed: the result if the task crashes its process.
        cost: share of the budget that it takes while it runs; an infinite one runs alone, and is not tried again.
        limit: seconds after which its process is killed.
        late: the result if it takes longer; None for ``crashed``.
    """

    arguments: tuple[Any, ...]
    crashed: Result
    cost: float = 0.0
    limit: float = math.inf
    late: Result | None = None


class _Worker(Generic[Result]):
    """A process that calls a function with the arguments of one task after another.

    Attributes:
        connection: to the process; readable when the process has sent something or has died.
        task: the task in progress.
        deadline: monotonic time by which that must be done.
    """

    def __init__(self, function: Callable[..., Result], threads: int) -> None:
        # Spawned: a fork would copy the threads' locks of PyTorch.
        context = multiprocessing.get_context("spawn")
        self.connection, there = context.Pipe()
        arguments = (there, function, os.getpid(), threads)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._started = False
        self.task: Task[Result] | None = None
        self.deadline = math.inf
        with _sheltered():
            self._process.start()
        there.close()  # so that only the process has the other end, which closes with it

    def begin(self, task: Task[Result]) -> None:
        self.task = task
        self._set_deadline()
        with suppress(OSError):  # it has died, which shows when its connection is read
            self.connection.send(task.arguments)

    def _set_deadline(self) -> None:
        if self.task and self._started:  # the start of a process does not count
            self.deadline = time.monotonic() + self.task.limit

    def take(self, message: tuple[Result, Exception | None] | None) -> list[Result]:
        """The result that a message brings, if any; raises what the function raised."""
        if message is None:
            self._started = True
            self._set_deadline()
            return []
        self.task, self.deadline = None, math.inf
        result, error = message
        if error:
            raise error
        return [result]

    @property
    def late(self) -> bool:
        return self.deadline < time.monotonic() and not self.connection.poll()

    def end(self) -> None:
        """Let the process end if it has no task; kill it otherwise."""
        self.connection.close()
        if not self.task:
            self._process.join(10)
        self._process.kill()
        self._process.join()


class Pool(Generic[Result]):
    """Processes that call a function with the arguments of one task after another.

    A process that dies (killed, or crashed by a decoder) or takes too long does not affect other tasks. The task of a
    dead process runs once more, alone, since it may have run out of memory; if it dies again, ``crashed`` is its
    result.

    Args:
        function: importable by other processes, as are its arguments.
        workers: number of processes; started as needed.
        threads: that each process computes on.
        budget: a task waits while it and the running ones would together cost more than this; one task may always run.

    Attributes:
        again: tasks of dead processes, which run once more.
    """

    def __init__(self, function: Callable[..., Result], workers: int, threads: int = 1, budget: float = 1.0) -> None:
        self._function, self._threads, self._budget = function, threads, budget
        self._most = min(workers, 61) if os.name == "nt" else workers  # as many as Windows can wait for
        self._workers: list[_Worker[Result]] = []
        self.again: list[Task[Result]] = []

    def __enter__(self) -> Pool[Result]:
        return self

    def __exit__(self, *_: object) -> None:
        """Let idle processes end, and kill the others."""
        for worker in self._workers:  # all at once
            worker.connection.close()
        for worker in self._workers:
            worker.end()

    @property
    def running(self) -> bool:
        """Whether there are tasks in progress."""
        return any(worker.task for worker in self._workers)

    def begin(self, task: Task[Result]) -> bool:
        """Begin a task if there is room for it after those of dead processes; returns whether it has begun."""
        return self.retry() and self._begin(task)

    def retry(self) -> bool:
        """Begin the tasks of dead processes as there is room; returns whether none is left."""
        while self.again and self._begin(self.again[0]):
            del self.again[0]
        return not self.again

    def _begin(self, task: Task[Result]) -> bool:
        costs = [worker.task.cost for worker in self._workers if worker.task]
        if costs and (len(costs) >= self._most or task.cost + sum(costs) > self._budget):
            return False
        worker = next((worker for worker in self._workers if not worker.task), None)
        if worker is None:
            worker = _Worker(self._function, self._threads)
            self._workers.append(worker)
        worker.begin(task)
        return True

    def results(self, *others: Connection) -> Iterator[Result]:
        """Wait until a task ends, one of some other connections has news, or half a second has passed.

        Yields:
            The results of the tasks that ended.

        Raises:
            Exception: what the function raised.
        """
        for worker in self._heard(others):
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):  # it has died
                self._workers.remove(worker)
                worker.end()
                if worker.task and worker.task.cost < math.inf:
                    self.again.append(replace(worker.task, cost=math.inf))
                elif worker.task:
                    yield worker.task.crashed
            else:
                yield from worker.take(message)
        for worker in [worker for worker in self._workers if worker.late]:
            self._workers.remove(worker)
            worker.end()
            assert worker.task
            yield worker.task.crashed if worker.task.late is None else worker.task.late

    def _heard(self, others: Sequence[Connection]) -> list[_Worker[Result]]:
        """The workers that have sent something or died; waits at most half a second, and not beyond a deadline."""
        left = min((worker.deadline for worker in self._workers), default=math.inf) - time.monotonic()
        ready = wait([*others, *(worker.connection for worker in self._workers)], max(0.0, min(0.5, left)))
        return [worker for worker in self._workers if worker.connection in ready]


def spread(
    function: Callable[..., Result], tasks: Iterable[Task[Result]], workers: int, threads: int = 1, budget: float = 1.0
) -> Iterator[Result]:
    """Call ``function`` with each task's arguments in other processes; see :class:`Pool`.

    Args:
        function, workers, threads, budget: as for that class.
        tasks: in the order in which they begin; each is requested only when it is about to begin.

    Yields:
        The results, as they finish.

    Raises:
        Stopped: Ctrl-C or SIGTERM came.
        Exception: what the function raised.
    """
    waiting = iter(tasks)
    task = next(waiting, None)
    stop = Stop()
    with stop.listening(), Pool(function, workers, threads, budget) as pool:
        while True:
            if not stop.asked:
                pool.retry()
            while not stop.asked and task and pool.begin(task):
                task = next(waiting, None)
            if not pool.running:
                if pool.again or task:
                    raise Stopped
                return
            yield from pool.results()


@contextmanager
def _sheltered() -> Iterator[None]:
    """Processes started within do not get the terminal's Ctrl-C; this one gets it a moment later."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # if it started with the first process, it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, function: Callable[..., Any], parent: int, threads: int) -> None:
    """The main loop of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells it when to stop
    limit_threads(threads)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    with suppress(EOFError, OSError):  # the parent is done with it, or has gone
        connection.send(None)  # started
        while True:
            arguments = connection.recv()
            message: tuple[Any, Exception | None]
            try:
                message = function(*arguments), None
            except Exception as error:
                message = None, error
            connection.send(message)


def _watch(parent: int) -> None:
    """Exit when the parent is gone: a killed parent cannot stop its workers."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
