"""The processes of the server: photos come from requests, one by one."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from multiprocessing import Pipe

from ..batch.bulk import correct_file
from ..batch.outcome import Outcome
from ..batch.pool import WORKER_BYTES, Pool, Task
from ..machine import cores, memory


class Dispatcher:
    """Corrects photos in processes of a pool, from any thread.

    Args:
        workers: number of processes; fewer are used if memory is short.
    """

    def __init__(self, workers: int) -> None:
        self.workers = max(1, min(workers, int(memory() / 2 // WORKER_BYTES)))
        self._waiting: deque[tuple[Task[Outcome], Future[Outcome]]] = deque()
        self._running: dict[str, Future[Outcome]] = {}  # by the photo's file
        self._news, self._bell = Pipe(duplex=False)
        self._lock = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def submit(self, task: Task[Outcome]) -> Future[Outcome]:
        """Correct a photo, which no other request has, when there is room."""
        future: Future[Outcome] = Future()
        with self._lock:
            self._waiting.append((task, future))
            self._bell.send_bytes(b"!")
        return future

    def stop(self) -> None:
        """End the processes, also those at work."""
        with self._lock:
            self._ended = True
            self._bell.send_bytes(b"!")
        self._thread.join()

    def _run(self) -> None:
        with Pool(correct_file, self.workers, max(1, cores() // self.workers), memory() / 2) as pool:
            while not self._ended:
                while self._news.poll():
                    self._news.recv_bytes()
                pool.retry()
                with self._lock:
                    self._begin(pool)
                for outcome in pool.results(self._news):
                    self._running.pop(outcome.source).set_result(outcome)

    def _begin(self, pool: Pool[Outcome]) -> None:
        while self._waiting:
            task, future = self._waiting[0]
            if not future.cancelled():
                if not pool.begin(task):
                    return
                future.set_running_or_notify_cancel()
                self._running[str(task.arguments[0].source)] = future
            self._waiting.popleft()
