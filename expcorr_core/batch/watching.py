"""A folder that is watched: every new photo is corrected once its file is complete.

Notices of the system (through ``watchfiles``, the ``watch`` extra) only say where to look. What counts is what is found
there: the folder is listed again from time to time, because notices get lost (full queues, files in folders that have
just been made) and do not exist on network drives.
"""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..files import files_of, remove_leftovers
from ..machine import cores, memory
from ..photos.complete import State, is_written_to, lacks_end, state_of
from ..photos.reading import ImageError, readable
from ..settings import UsageError
from .bulk import Job, Work, correct_file, gather, task_of
from .inputs import folded, plan_jobs, takes_cases_for_the_same
from .journal import Entry, Journal
from .outcome import FAILED, Outcome
from .pool import WORKER_BYTES, Pool, Stop

LIST_EVERY = 60.0  # seconds from one listing of the folder to the next, where the system gives notice of changes
TURN = 0.2  # seconds between looks at what waits


@dataclass
class _Waiting:
    """A photo that has not been corrected since its file changed.

    Attributes:
        state: of the file when it was last looked at.
        since: when that state was first seen; monotonic seconds.
        due: when to try next.
        tries: how often it has been tried in this state.
    """

    state: State
    since: float
    due: float
    tries: int = 0


def correct_complete(job: Job, work: Work, entries: list[Entry]) -> Outcome:
    """:func:`~.bulk.correct_file`, but a photo whose end is missing fails, whatever the decoder makes of it."""
    with suppress(ImageError, OSError):  # correcting it reports them
        if job.source.is_file() and lacks_end(job.source):
            reason = f"{job.source} is cut off: its end is missing; copy it again"
            return Outcome(str(job.source), str(job.target), FAILED, error=reason)
    return correct_file(job, work, entries)


class Watch:
    """Corrects what comes into a folder.

    Args:
        folder: the folder, watched with its subfolders.
        work: what to do; its ``output`` is the folder for results, which may lie inside.
        compare, form, sidecars: as for :func:`~.inputs.plan_jobs`.
        workers: number of processes.
        settle: seconds for which a file must not have changed.
        give_up: seconds after which a file that has not changed and still cannot be corrected has failed.
        poll: seconds from one listing of the folder to the next, instead of the system's notices; None for notices.
        say: is told, in a line, about what is not about one photo.

    Raises:
        UsageError: the folder does not exist, or is the output folder or inside of it.
    """

    def __init__(
        self,
        folder: Path,
        work: Work,
        *,
        compare: bool = False,
        form: str | None = None,
        sidecars: Collection[str] = (),
        workers: int | None = None,
        settle: float = 2.0,
        give_up: float = 60.0,
        poll: float | None = None,
        say: Callable[[str], object] = print,
    ) -> None:
        assert work.output
        self._results = os.path.realpath(work.output)
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder; name a folder to watch")
        if Path(os.path.realpath(folder)).is_relative_to(self._results):
            raise UsageError(f"{folder} lies in {work.output}, so results would be watched; choose another output")
        self._folder, self._work, self._output = folder, work, work.output
        self._outputs = compare, form, sidecars
        self._suffixes = readable()
        self._settle, self._give_up, self._poll, self._say = settle, give_up, poll, say
        self._most = max(1, min(workers or cores(), int(memory() / 2 // WORKER_BYTES)))
        self._waiting: dict[Path, _Waiting] = {}
        self._running: dict[str, tuple[Path, State]] = {}
        self._done: dict[Path, State] = {}
        self._taken: dict[str, Path] = {}  # which photo each result is of
        self._told: set[str] = set()
        self._key = folded if takes_cases_for_the_same(work.output) else str
        self._entries = Journal(work.output).read()
        self._notices: _Notices | None = None
        self._place: tuple[int, int] | None = None  # of the folder on its disk

    def run(self) -> Iterator[Outcome]:
        """Correct what is there and what comes, until Ctrl-C or SIGTERM; photos that have begun are finished.

        Yields:
            The outcome of each photo; a failed one once, when it has not changed for ``give_up`` seconds.

        Raises:
            KeyboardInterrupt: a second Ctrl-C.
        """
        stop, listed = Stop(), -math.inf
        gather(self._work)
        remove_leftovers(self._output)
        threads = max(1, cores() // self._most)
        try:
            with stop.listening(), Pool(correct_complete, self._most, threads, memory() / 2) as pool:
                while not stop.asked or pool.running:
                    if not stop.asked:
                        if time.monotonic() - listed >= (LIST_EVERY if self._notices else self._poll or 5.0):
                            self._list(self._folder)
                            listed = time.monotonic()
                        self._look()
                        pool.retry()
                        self._begin(pool)
                    if not pool.running:
                        time.sleep(TURN)
                        continue
                    for outcome in pool.results():
                        yield from self._take(outcome)
        finally:
            if self._notices:
                self._notices.stop()
            with suppress(OSError):
                remove_leftovers(self._output)  # of workers that were killed
            gather(self._work)

    def _list(self, folder: Path) -> None:
        """Look at all photos in a folder."""
        if folder == self._folder and not self._is_there():
            return

        def refuse(error: OSError) -> None:
            self._tell(f"{error.filename} cannot be read ({error.strerror}); check its permissions")

        for path in files_of(folder, self._suffixes, spared=self._results, onerror=refuse):
            self._see(path)
        if folder == self._folder:
            self._done = {path: state for path, state in self._done.items() if os.path.lexists(path)}

    def _is_there(self) -> bool:
        """Whether the folder can be listed; has the system give notice of changes in it."""
        try:
            found = self._folder.stat()
            place = found.st_dev, found.st_ino
        except OSError:
            place = None
        if place != self._place and self._notices:
            self._notices.stop()
            self._notices = None
        if place is None:
            if self._place:
                self._say(f"{self._folder} is gone; waiting for it to come back")
        elif place != self._place:
            self._say(f"watching {self._folder}")
            if self._poll is None:
                self._notices = _Notices(self._folder)
        self._place = place
        return place is not None

    def _look(self) -> None:
        """Look at what the system gave notice of."""
        if not self._notices:
            return
        for path in self._notices.taken():
            if path.is_dir():
                if not Path(os.path.realpath(path)).is_relative_to(self._results):
                    self._list(path)
            elif path.suffix.lower() in self._suffixes and self._is_ours(path):
                self._see(path)
        if self._notices.problem:
            self._say(f"{self._notices.problem}; listing {self._folder} every {self._poll or 5:g} s instead")
            self._notices = None

    def _is_ours(self, path: Path) -> bool:
        hidden = any(part[0] == "." for part in path.relative_to(self._folder).parts)
        return not hidden and not Path(os.path.realpath(path.parent)).is_relative_to(self._results)

    def _see(self, path: Path) -> None:
        """Let a photo wait if it is new or has changed."""
        try:
            state = state_of(path)
        except OSError:  # it has gone, or is a broken link
            return
        if path not in self._waiting and self._done.get(path) != state and (path, state) not in self._running.values():
            now = time.monotonic()
            self._waiting[path] = _Waiting(state, now, now + self._settle)

    def _begin(self, pool: Pool[Outcome]) -> None:
        """Begin what is complete, as there is room."""
        now = time.monotonic()
        for path, waiting in list(self._waiting.items()):
            if waiting.due > now or any(path == other for other, _ in self._running.values()):
                continue
            try:
                state = state_of(path)
                written = is_written_to(path)
            except FileNotFoundError:
                del self._waiting[path]
                continue
            except OSError:  # correcting it reports why
                written = False
            if state != waiting.state:
                self._waiting[path] = _Waiting(state, now, now + self._settle)
                continue
            if written:
                waiting.due = now + self._settle
                continue
            job = self._job(path)
            entries = self._entries.get(job.target.relative_to(self._output).as_posix(), [])
            if not pool.begin(task_of(job, self._work, entries)):
                return
            self._running[str(path)] = (path, state)

    def _job(self, path: Path) -> Job:
        [job] = plan_jobs([(path, path.relative_to(self._folder))], self._output, *self._outputs)
        for result in job.outputs:
            other = self._taken.setdefault(self._key(str(result)), path)
            if other != path:
                return replace(job, refusal=f"{path} would be written to {result}, like {other}; rename one of the two")
        return job

    def _take(self, outcome: Outcome) -> Iterator[Outcome]:
        """Decide whether a photo is done, is tried again, or has failed."""
        path, state = self._running.pop(outcome.source)
        waiting = self._waiting.get(path)
        now = time.monotonic()
        try:
            after = state_of(path)
        except OSError:
            self._waiting.pop(path, None)
            if outcome.status != FAILED:
                yield outcome
            return
        if after != state or waiting is None:  # it has changed meanwhile: what came of it counts, and it waits again
            self._waiting[path] = _Waiting(after, now, now + self._settle)
        elif outcome.status == FAILED and now - waiting.since < self._give_up:
            waiting.tries += 1
            waiting.due = now + min(self._settle * 2**waiting.tries, self._give_up / 3)
            return
        else:
            del self._waiting[path]
            self._done[path] = state
        if outcome.status != FAILED or after == state:
            yield outcome

    def _tell(self, text: str) -> None:
        """Say something once."""
        if text not in self._told:
            self._told.add(text)
            self._say(text)


class _Notices:
    """The system's notices of changes, collected by a thread.

    Attributes:
        problem: why there are none, if so.
    """

    def __init__(self, folder: Path) -> None:
        self.problem = ""
        self._found: queue.SimpleQueue[Path] = queue.SimpleQueue()
        self._end = threading.Event()
        threading.Thread(target=self._collect, args=(folder,), daemon=True).start()

    def _collect(self, folder: Path) -> None:
        try:
            import watchfiles
        except ImportError:
            self.problem = "watchfiles is not installed (pip install 'expcorr[watch]')"
            return
        try:
            changes = watchfiles.watch(
                folder,
                watch_filter=None,
                stop_event=self._end,
                rust_timeout=500,
                raise_interrupt=False,
                ignore_permission_denied=True,
            )
            absolute = folder.absolute()
            for batch in changes:
                for _, name in batch:
                    path = Path(name)
                    if path.is_relative_to(absolute):  # as the folder was named
                        path = folder / path.relative_to(absolute)
                    elif path.is_relative_to(folder.resolve()):
                        path = folder / path.relative_to(folder.resolve())
                    self._found.put(path)
        except Exception as error:  # of the system's limits, or the folder has gone
            reason = str(error).partition("\n")[0]
            self.problem = f"the system gives no notice of changes ({reason})"

    def taken(self) -> Iterator[Path]:
        """The paths that have come."""
        with suppress(queue.Empty):
            while True:
                yield self._found.get_nowait()

    def stop(self) -> None:
        self._end.set()
