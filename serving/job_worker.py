"""The process that does jobs, beside the service and behind it: `python -m serving.job_worker`.

One a home works at a time; it ends when nothing waits. What it costs delays no request: it has an interpreter
of its own, and the lowest claim to the processor.
"""

import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec

from features.errors import PropensityError
from features.files import locked
from features.settings import Settings
from features.tombstones import Tombstones
from serving import jobs, many
from serving.api import Failure
from serving.arrow import arrow
from serving.jobs import ATTEMPTS, Job, State, note
from serving.learnt import learn
from serving.problems import Problem, detail_of, of_disk
from serving.scores import Scorer

TOLD = 0.5  # seconds between two words on how far it is
GROUP = 16_384  # rows of a result that are read, and sent, at once
NICE = 10

service = logging.getLogger("propensity.service")
INTERRUPTED = Failure("interrupted", f"the process that did it ended, {ATTEMPTS} times: ask again, for less")
INTERNAL = Failure("internal", "a fault of the service; its log names where")


class _Unwanted(Exception):  # noqa: N818  no error: it was deleted
    """Nobody waits for it any more."""


def work(settings: Settings) -> None:
    """Do what waits, the oldest first, until nothing does."""
    with locked(settings.home / "jobs" / ".lock"):
        jobs.sweep(settings)
        scorer: Scorer | None = None
        while waiting := jobs.unfinished(settings):
            scorer = scorer or Scorer(settings)
            _do(scorer, *waiting[0])


def _do(scorer: Scorer, job: Job, state: State) -> None:
    settings = scorer.settings
    if state.attempts >= ATTEMPTS:
        return _end(settings, job, msgspec.structs.replace(state, status="failed", error=INTERRUPTED))
    state = msgspec.structs.replace(state, status="running", done=0, attempts=state.attempts + 1)
    note(settings, job.id, state)
    try:
        customers = (
            scorer.rows.ids(scorer.published()) if job.everyone else jobs.customers_of(settings, job.id)
        )
        state = msgspec.structs.replace(state, customers=len(customers))
        path = jobs.folder_of(settings, job.id)
        progress = _Progress(settings, job, state)
        table = many.scored(scorer, customers, job.targets, job.id, job.reasons, progress)
        _keep(settings, path, table)
        return _end(settings, job, msgspec.structs.replace(state, status="done", done=len(customers)))
    except _Unwanted:
        return None
    except Problem as problem:
        error = Failure(problem.code, problem.detail)
    except PropensityError as failure:
        error = Failure(failure.code, detail_of(failure, settings))
    except FileNotFoundError:
        if not jobs.folder_of(settings, job.id).exists():
            return None
        error = _fault(job)
    except Exception:  # the last door: the log names the place, and the next job does not suffer
        error = _fault(job)
    return _end(settings, job, msgspec.structs.replace(state, status="failed", error=error))


def _fault(job: Job) -> Failure:
    """Of what is being handled; the log gets the place, and not the message: that may repeat an id."""
    kind, _, trace = sys.exc_info()
    places = " < ".join(f"{f.filename}:{f.lineno}" for f in reversed(traceback.extract_tb(trace)))
    service.error("job=%s %s at %s", job.id, kind.__name__ if kind else "", places)
    return INTERNAL


class _Progress:
    """Notes how far a job is, now and then; _Unwanted once it is deleted."""

    def __init__(self, settings: Settings, job: Job, state: State) -> None:
        self._settings, self._job, self._state, self._then = settings, job, state, 0.0

    def __call__(self, done: int) -> None:
        if time.monotonic() - self._then < TOLD:
            return
        self._then = time.monotonic()
        if not jobs.folder_of(self._settings, self._job.id).exists():
            raise _Unwanted
        note(self._settings, self._job.id, msgspec.structs.replace(self._state, done=done))


def _keep(settings: Settings, folder: Path, table: Any) -> None:
    """Write the result, without whoever was erased by the time that it is there."""
    pa, known = arrow(), ""
    while True:
        tombstones = Tombstones.of(settings)
        if tombstones.digest != known:
            ids = pa.compute.unique(table["customer_id"].drop_null()).to_pylist()
            erased = pa.array(sorted(tombstones.customers(ids)), pa.string())
            table, known = (
                table.filter(pa.compute.invert(pa.compute.is_in(table["customer_id"], erased))),
                (tombstones.digest),
            )
        fresh = folder / "result.writing"
        pa.parquet.write_table(table, fresh, compression="zstd", row_group_size=GROUP)
        fresh.replace(folder / "result.parquet")
        if Tombstones.of(settings).digest == known:  # else the eraser may have looked before it was there
            return


def _end(settings: Settings, job: Job, state: State) -> None:
    note(settings, job.id, state)
    (jobs.folder_of(settings, job.id) / "customers.parquet").unlink(missing_ok=True)


def main() -> None:
    """Work as the environment says."""
    os.nice(NICE)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    learn()
    arrow()
    try:
        work(Settings.from_env())
    except OSError as error:
        if of_disk(error) is None:
            raise
        service.error("jobs wait: their folder cannot be written (%s): free the disk", error.strerror)
        sys.exit(1)


if __name__ == "__main__":
    main()
