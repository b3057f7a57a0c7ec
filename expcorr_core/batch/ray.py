"""Bulk correction on a Ray cluster (the ``ray`` extra); its machines need the same paths to photos and output."""

from __future__ import annotations

import faulthandler
import logging
import math
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from .bulk import Job, Work, correct_file, crashed, gather, journal_of, needs
from .journal import Entry, Journal
from .outcome import FAILED, Outcome
from .pool import Stop, Stopped
from .series import Looked, look_at

RETRIES = 3  # for a photo whose worker dies


def correct_on_ray(jobs: Sequence[Job], work: Work, address: str, workers: int | None) -> Iterator[Outcome]:
    """Correct photos with Ray Data; see :func:`~expcorr_core.batch.bulk.correct_all`.

    Tasks of a worker or machine that dies run again elsewhere; the journal records what they had finished. A photo that
    crashes each of its workers, or exceeds the time limit in each of them, is abandoned.

    Args:
        jobs, work: as in that function.
        address: of the cluster; empty starts a local one that ends with the run.
        workers: tasks at a time; None for as many as the cluster has cores.

    Raises:
        ModuleNotFoundError: Ray is missing.
        ConnectionError: there is no cluster at the address.
        Stopped: Ctrl-C or SIGTERM came.
    """
    there = work.absolute()
    calls = [(job.absolute(), there, entries) for job, entries in zip(jobs, journal_of(jobs, work), strict=True)]
    missing, journals = set(range(len(jobs))), set()
    for number, (journal, outcome) in _called(_correct, calls, address, workers):
        missing.discard(number)
        journals.add(journal)
        job = jobs[number]
        yield replace(outcome, source=job.name, target=str(job.target))
    yield from (_lost(jobs[number], work) for number in sorted(missing))
    gather(work, journals)


def look_on_ray(
    jobs: Sequence[Job], right: Sequence[Job], work: Work, address: str, workers: int | None
) -> Iterator[Looked]:
    """Look at the photos of a series with Ray Data; see :func:`~expcorr_core.batch.series.look_at_all`.

    Args and errors as in that function and :func:`correct_on_ray`.
    """
    there, fixed = work.absolute(), {*right}
    every = list(dict.fromkeys((*jobs, *right)))
    calls = [(job.absolute(), there, job in fixed) for job in every]
    for number, looked in _called(_look, calls, address, workers):
        yield looked._replace(source=str(every[number].source))


def _called(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], address: str, workers: int | None
) -> Iterator[tuple[int, Any]]:
    """The numbers and results of calls, as they finish; those that crash each of their workers are left out."""
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ModuleNotFoundError("--ray needs Ray: pip install 'expcorr[ray]'") from error
    ray.init(address=address or None, log_to_driver=False, logging_level=logging.ERROR)
    stop = Stop()
    try:
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        context.max_errored_blocks = -1  # a block is one photo
        items = [{"number": number, "call": pickle.dumps(call)} for number, call in enumerate(calls)]
        data = ray.data.from_items(items, override_num_blocks=len(items))
        with warnings.catch_warnings():
            # By default Ray retries for ever. From 2.64 it takes no such argument, so pyproject.toml asks for less.
            warnings.simplefilter("ignore", DeprecationWarning)
            rows = data.map(partial(_call, function), concurrency=workers, max_retries=RETRIES).iter_rows()
        with stop.listening():
            for row in rows:
                yield row["number"], pickle.loads(row["result"])
                if stop.asked:
                    raise Stopped
    finally:
        ray.shutdown()


def _call(function: Callable[..., Any], row: dict[str, Any]) -> dict[str, Any]:
    return {"number": row["number"], "result": pickle.dumps(function(*pickle.loads(row["call"])))}


def _correct(job: Job, work: Work, entries: Sequence[Entry]) -> tuple[str, Outcome]:
    """Correct a photo; returns the name of the journal that this process writes, too."""
    with _limited(job, work):
        outcome = correct_file(job, work, entries)
    return Journal(work.output).path.name if work.output else "", outcome


def _look(job: Job, work: Work, right: bool) -> Looked:
    with _limited(job, work):
        return look_at(job, work, right)


@contextmanager
def _limited(job: Job, work: Work) -> Iterator[None]:
    """End this process where a photo takes too long, whatever the decoder does."""
    limit = work.seconds(needs(*job.sources)[0])
    if limit < math.inf:
        faulthandler.dump_traceback_later(limit, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _lost(job: Job, work: Work) -> Outcome:
    """The outcome for a photo that none of its workers finished."""
    if not work.time_limit:
        return crashed(job)
    reason = f"{job.subject} crashes the program that corrects it, or takes longer than --time-limit allows"
    return Outcome(job.name, str(job.target), FAILED, error=f"{reason}; convert it or leave it out")
