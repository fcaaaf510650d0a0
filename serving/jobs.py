"""Work that takes longer than an answer may: asked for, done beside the service, fetched when it is done.

    jobs/<id>/job.json            who asked for what, and until when it is kept
    jobs/<id>/customers.parquet   whom; gone once it is done
    jobs/<id>/state.json          how far it is; written by the one process that works (`job_worker`)
    jobs/<id>/result.parquet      columns: `many`

A job outlives a restart: what was being done is begun again, ATTEMPTS times. It belongs to its client; nobody
else learns that there is one. Who is erased meanwhile is in no result. After KEPT it is deleted, fetched or
not.
"""

import contextlib
import hashlib
import logging
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from features.errors import IdempotencyConflict
from features.files import NO_JSON, durable, locked, new_folder, write_atomically
from features.moments import iso
from features.settings import Settings, clock
from serving.admission import refusal
from serving.api import MAX_REASONS, Customer, Failure, Identity, Name
from serving.arrow import MOST, arrow
from serving.errands import Errand
from serving.problems import Problem, encode

KEPT = timedelta(hours=24)
MOST_JOBS = 10  # of a client, finished ones too: a result takes room on the disk
service = logging.getLogger("propensity.service")
ATTEMPTS = 3  # to do one that ends with its process


class JobRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/jobs`. customers: null for everyone who is published. targets: default all. reasons: how many
    a score."""

    kind: Literal["scores"]
    customers: Annotated[list[Customer], Meta(min_length=1, max_length=MOST)] | None = None
    targets: Annotated[list[Name], Meta(min_length=1, max_length=64)] | None = None
    reasons: Annotated[int, Meta(ge=0, le=MAX_REASONS)] = 0


Status = Literal["waiting", "running", "done", "failed"]


class JobAnswer(Struct, frozen=True):
    """How far a job is. customers: how many it is about, null until that is known; done: of these.

    error: why it failed, else null. Everything of it is deleted at `expires_at`.
    """

    request_id: str
    job_id: str
    kind: str
    status: Literal["waiting", "running", "done", "failed", "deleted"]
    customers: int | None
    done: int
    made_at: str
    expires_at: str
    error: Failure | None


class Job(Struct, frozen=True):
    """What is kept of a request. digest: of it, so that the same key with another is refused."""

    id: str
    client: str
    kind: str
    everyone: bool
    targets: list[str] | None
    reasons: int
    digest: str
    made_at: datetime
    expires_at: datetime


class State(Struct, frozen=True):
    """How far it is. attempts: how often it was begun."""

    status: Status = "waiting"
    customers: int | None = None
    done: int = 0
    attempts: int = 0
    error: Failure | None = None


def digest_of(request: JobRequest) -> str:
    """Of what is asked, however it was written."""
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()


def submit(
    settings: Settings, request: JobRequest, client: str, key: str | None, request_id: str
) -> JobAnswer:
    """Keep a job, on the disk before this returns. key: the same one gives the same job.

    IdempotencyConflict for the same key with another request; Problem 429 for more than a client may have.
    """
    id = hashlib.sha256(encode(["job", client, key])).hexdigest()[:32] if key else uuid.uuid4().hex
    digest = digest_of(request)
    with locked(_root(settings) / ".submit"):
        sweep(settings)
        found = _read(settings, id)
        if found is not None:
            if found[0].digest != digest:
                raise IdempotencyConflict("this idempotency key was used for another job: choose another one")
            return _told(*found, request_id)
        require_fewer(sum(job.client == client for job, _ in everything(settings)))
        job = Job(
            id=id, client=client, kind=request.kind, everyone=request.customers is None,
            targets=request.targets, reasons=request.reasons, digest=digest, made_at=clock(),
            expires_at=clock() + KEPT,
        )  # fmt: skip
        state = State(customers=None if request.customers is None else len(request.customers))
        with new_folder(_root(settings) / id) as folder:
            if request.customers is not None:
                _write_customers(folder, request.customers)
            (folder / "state.json").write_bytes(encode(state))
            (folder / "job.json").write_bytes(encode(job))
            durable(folder)
    return _told(job, state, request_id)


def look(settings: Settings, client: str, id: str, request_id: str) -> JobAnswer:
    """How far a client's job is. Problem 404 if that client has none of that id."""
    return _told(*_of_client(settings, client, id), request_id)


def delete(settings: Settings, client: str, id: str, request_id: str) -> JobAnswer:
    """Delete a client's job and its result, also one that is being done. Problem 404."""
    job, state = _of_client(settings, client, id)
    _remove(folder_of(settings, id))
    return msgspec.structs.replace(_told(job, state, request_id), status="deleted")


def result(settings: Settings, client: str, id: str) -> Path:
    """The file of a client's job that is done. Problem 404, or 409 as long as there is none."""
    _, state = _of_client(settings, client, id)
    if problem := unfinished_problem(state.status, state.error):
        raise problem
    return folder_of(settings, id) / "result.parquet"


def require_fewer(jobs: int) -> None:
    """Problem 429 for a client that has as many as it may."""
    if jobs >= MOST_JOBS:
        detail = f"a client has at most {MOST_JOBS} jobs, those included whose results it has not deleted"
        raise refusal("too_many_jobs", detail, 60)


def unfinished_problem(status: str, error: Failure | None) -> Problem | None:
    """Why a job has no result; None if it has."""
    if status == "failed":
        detail = f"the job failed, so it has no result: {error.detail if error else ''}"
        return Problem(409, "job_failed", detail)
    if status != "done":
        return Problem(409, "job_unfinished", f"the job is {status}: its result comes once it is done")
    return None


def unknown_job() -> Problem:
    """Of an id that is no job of the client's."""
    hours = KEPT // timedelta(hours=1)
    detail = f"this client has no such job; one is kept for {hours} hours after it was asked for"
    return Problem(404, "unknown_job", detail)


def everything(settings: Settings) -> Iterator[tuple[Job, State]]:
    """Every job that is kept, the oldest first."""
    ids = [path.parent.name for path in _root(settings).glob("[0-9a-f]*/job.json")]
    found = [one for id in ids if (one := _read(settings, id)) is not None]
    return iter(sorted(found, key=lambda one: (one[0].made_at, one[0].id)))


def unfinished(settings: Settings) -> list[tuple[Job, State]]:
    """Those that wait, and those that a process began."""
    return [one for one in everything(settings) if one[1].status in ("waiting", "running")]


def sweep(settings: Settings) -> None:
    """Delete what has expired, and what is no job: left by a process that ended at that moment."""
    kept = set()
    for job, _ in everything(settings):
        if job.expires_at <= clock():
            _remove(folder_of(settings, job.id))
        kept.add(job.id)
    long_ago = (clock() - KEPT).timestamp()
    for folder in _root(settings).glob("*/"):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            if folder.name not in kept and folder.stat().st_mtime < long_ago:
                shutil.rmtree(folder, ignore_errors=True)


def note(settings: Settings, id: str, state: State) -> None:
    """Write down how far a job is, if it is still wanted."""
    with contextlib.suppress(FileNotFoundError, FileExistsError):  # deleted at this moment
        if folder_of(settings, id).exists():
            write_atomically(folder_of(settings, id) / "state.json", encode(state))


def customers_of(settings: Settings, id: str) -> list[Customer]:
    """Whom a job is about, if not everyone; without those who were erased since."""
    table = arrow().parquet.read_table(folder_of(settings, id) / "customers.parquet", partitioning=None)
    return [
        Identity(one["source"], one["source_id"]) if one["source"] is not None else one["customer_id"]
        for one in table.to_pylist()
    ]


def folder_of(settings: Settings, id: str) -> Path:
    """Where a job is kept."""
    return _root(settings) / id


def _of_client(settings: Settings, client: str, id: str) -> tuple[Job, State]:
    found = _read(settings, id) if re.fullmatch("[0-9a-f]{32}", id) else None
    if found is None or found[0].client != client or found[0].expires_at <= clock():
        raise unknown_job()
    return found


def _read(settings: Settings, id: str) -> tuple[Job, State] | None:
    folder = folder_of(settings, id)
    try:
        job = msgspec.json.decode((folder / "job.json").read_bytes(), type=Job)
        return job, msgspec.json.decode((folder / "state.json").read_bytes(), type=State)
    except FileNotFoundError:  # deleted meanwhile
        return None
    except NO_JSON:  # whose it is nobody can say, nor whether it was done
        service.error("jobs: %s was damaged, and is deleted: who asked for it asks again", folder.name)
        _remove(folder)
        return None


def _remove(folder: Path) -> None:
    """Delete a job at once: nobody meets half of it, and a process that ends meanwhile leaves no job."""
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _told(job: Job, state: State, request_id: str) -> JobAnswer:
    return JobAnswer(
        request_id=request_id, job_id=job.id, kind=job.kind, status=state.status, customers=state.customers,
        done=state.done, made_at=iso(job.made_at), expires_at=iso(job.expires_at), error=state.error,
    )  # fmt: skip


def _write_customers(folder: Path, customers: Sequence[Customer]) -> None:
    """Own ids in a column that erasing reads as any other."""
    pa = arrow()
    split = [(None, c.source, c.id) if isinstance(c, Identity) else (c, None, None) for c in customers]
    columns = zip(("customer_id", "source", "source_id"), zip(*split, strict=True), strict=True)
    table = pa.table({name: pa.array(column, pa.string()) for name, column in columns})
    pa.parquet.write_table(table, folder / "customers.parquet")


def _root(settings: Settings) -> Path:
    return settings.home / "jobs"


def worker(settings: Settings) -> Errand:
    """Has what waits done by `serving.job_worker`."""
    return Errand(
        settings,
        ("serving.job_worker",),
        lambda: bool(unfinished(settings)),
        again=5.0,
        trouble="jobs: the process ended with %d; another begins again what it was doing",
        interrupted=True,
    )
