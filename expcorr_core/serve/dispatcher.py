"""The processes of the servers: photos come from requests, one by one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from multiprocessing import Pipe
from typing import Any, TypeVar

from ..batch.pool import WORKER_BYTES, Pool, Task
from ..machine import cores, memory

Result = TypeVar("Result")


class Dispatcher:
    """Calls functions in processes of a pool, from any thread.

    Args:
        workers: number of processes; fewer are used if memory is short.
    """

    def __init__(self, workers: int) -> None:
        self.workers = max(1, min(workers, int(memory() / 2 // WORKER_BYTES)))
        self._waiting: deque[tuple[Task[tuple[int, Any]], Future[Any]]] = deque()
        self._running: dict[int, Future[Any]] = {}
        self._numbers = count()
        self._news, self._bell = Pipe(duplex=False)
        self._lock = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., Result], task: Task[Result]) -> Future[Result]:
        """Call a function, which other processes can import, with a task's arguments, when there is room."""
        future: Future[Result] = Future()
        with self._lock:
            number = next(self._numbers)
            numbered: Task[tuple[int, Any]] = Task(
                (number, function, *task.arguments),
                crashed=(number, task.crashed),
                cost=task.cost,
                limit=task.limit,
                late=None if task.late is None else (number, task.late),
            )
            self._waiting.append((numbered, future))
            self._bell.send_bytes(b"!")
        return future

    def stop(self) -> None:
        """End the processes, also those at work."""
        with self._lock:
            self._ended = True
            self._bell.send_bytes(b"!")
        self._thread.join()

    def _run(self) -> None:
        with Pool(_numbered, self.workers, max(1, cores() // self.workers), memory() / 2) as pool:
            while not self._ended:
                while self._news.poll():
                    self._news.recv_bytes()
                pool.retry()
                with self._lock:
                    self._begin(pool)
                for number, result in pool.results(self._news):
                    self._running.pop(number).set_result(result)

    def _begin(self, pool: Pool[tuple[int, Any]]) -> None:
        while self._waiting:
            task, future = self._waiting[0]
            if not future.cancelled():
                if not pool.begin(task):
                    return
                future.set_running_or_notify_cancel()
                self._running[task.arguments[0]] = future
            self._waiting.popleft()


def _numbered(number: int, function: Callable[..., Result], *arguments: Any) -> tuple[int, Result]:
    """What a function returns, and of which call it is."""
    return number, function(*arguments)
