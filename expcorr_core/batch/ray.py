"""Bulk correction on a Ray cluster (the ``ray`` extra); its machines need the same paths to photos and output."""

from __future__ import annotations

import faulthandler
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from .bulk import Job, Work, correct_file, crashed, gather, journal_of, needs
from .journal import Entry, Journal
from .outcome import FAILED, Outcome
from .pool import Stop, Stopped

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
        items = [
            {
                "number": number,
                "job": [*map(_absolute, (job.source, job.target, job.comparison)), job.refusal],
                "entries": [entry.line() for entry in entries],
                "sidecars": [part for kind, path in job.sidecars for part in (kind, str(path.absolute()))],
            }
            for number, (job, entries) in enumerate(zip(jobs, journal_of(jobs, work), strict=True))
        ]
        there = replace(
            work,
            output=work.output and work.output.absolute(),
            weights=work.weights and work.weights.absolute(),
            grid=work.grid and work.grid.absolute(),
        )
        data = ray.data.from_items(items, override_num_blocks=len(items))
        with warnings.catch_warnings():
            # By default Ray retries for ever. From 2.64 it takes no such argument, so pyproject.toml asks for less.
            warnings.simplefilter("ignore", DeprecationWarning)
            rows = data.map(partial(_correct, there), concurrency=workers, max_retries=RETRIES).iter_rows()
        missing, journals = set(range(len(jobs))), set()
        with stop.listening():
            for row in rows:
                number = row.pop("number")
                missing.discard(number)
                journals.add(row.pop("journal"))
                job = jobs[number]
                names = {"source": str(job.source), "target": str(job.target)}
                yield Outcome(**{**row, **names, "left_out": tuple(row["left_out"])})
                if stop.asked:
                    raise Stopped
        yield from (_lost(jobs[number], work) for number in sorted(missing))
        gather(work, journals)
    finally:
        ray.shutdown()


def _absolute(path: Path | None) -> str | None:
    return str(path.absolute()) if path else None


def _correct(work: Work, row: dict[str, Any]) -> dict[str, Any]:
    *paths, refusal = row["job"]
    source, target, comparison = (Path(path) if path else None for path in paths)
    assert source
    assert target
    entries = [entry for line in row["entries"] if (entry := Entry.of(line))]
    sidecars = tuple(zip(row["sidecars"][::2], map(Path, row["sidecars"][1::2]), strict=True))
    limit = work.seconds(needs(source)[0])
    if limit < math.inf:
        faulthandler.dump_traceback_later(limit, exit=True)  # whatever the decoder does
    try:
        outcome = correct_file(Job(source, target, comparison, refusal, sidecars), work, entries)
    finally:
        faulthandler.cancel_dump_traceback_later()
    journal = Journal(work.output).path.name if work.output else ""
    return {"number": row["number"], "journal": journal, **asdict(outcome)}


def _lost(job: Job, work: Work) -> Outcome:
    """The outcome for a photo that none of its workers finished."""
    if not work.time_limit:
        return crashed(job)
    reason = f"{job.source} crashes the program that corrects it, or takes longer than --time-limit allows"
    return Outcome(str(job.source), str(job.target), FAILED, error=f"{reason}; convert it or leave it out")
