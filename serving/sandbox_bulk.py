"""What a test key is answered about many customers at once: the made-up ones, as the real routes answer.

A job is `waiting` when it is asked for, `running` when it is first looked at, and done from then on; one that
names a customer who stands for a fault fails by it. Changes are everyone at first; from there a customer who
changed, one who is gone and somebody erased; then nothing more.
"""

import asyncio
import base64
import hashlib
import json
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from features.errors import IdempotencyConflict, PropensityError
from features.moments import iso, midnight, parse_moment
from features.settings import Settings, clock
from serving import arrow, batch, bulk
from serving.api import Answered, Customer, Failure, Score, ScoreRequest
from serving.changes import FIGURES, Change, ChangesAnswer, ToldScore
from serving.changes import MOST as MOST_CHANGES
from serving.customer_types import Value
from serving.incoming import (
    JOB,
    Headers,
    Receive,
    Scope,
    body,
    idempotency_key,
    job_of,
    query_of,
    split_names,
    whole_number,
)
from serving.jobs import (
    KEPT,
    JobAnswer,
    JobRequest,
    digest_of,
    require_fewer,
    unfinished_problem,
    unknown_job,
)
from serving.outgoing import Answer
from serving.problems import Offender, Problem, encode
from serving.sandbox import Sandbox
from serving.sandbox_customers import CUSTOMERS
from serving.sandbox_models import TARGETS, VERSION

REMEMBERED = 100  # jobs, of all clients
CHANGED, GONE = "test-exit", "test-gone"  # of the second listing of changes


class _Cursor(Struct, frozen=True, array_like=True):
    listing: int  # 0: everyone, 1: what changed, 2: nothing more
    after: int  # rows of it that were told
    of: list[str] | None


class _Job(Struct):
    client: str
    digest: str
    request: JobRequest
    answer: JobAnswer


class BulkSandbox:
    """Answers of test keys on the routes of `bulk`."""

    def __init__(self, settings: Settings, sandbox: Sandbox) -> None:
        self._settings, self._sandbox = settings, sandbox
        self._jobs: OrderedDict[str, _Job] = OrderedDict()

    async def answer(
        self, route: str, scope: Scope, receive: Receive, headers: Headers, client: str, request_id: str
    ) -> Answer:
        """As `Bulk.answer`."""
        if route == bulk.SCORES:
            wanted = split_names(query_of(scope).get("targets"), "targets")
            sent = await body(headers, receive, arrow.STREAM, arrow.MAX_BODY)
            return await asyncio.to_thread(self._scored, sent, wanted, request_id)
        if route == bulk.JOBS:
            key = idempotency_key(headers) if b"idempotency-key" in headers else None
            sent = await body(headers, receive, most=arrow.MAX_BODY)
            return await asyncio.to_thread(self._submitted, sent, client, key, request_id)
        if route == bulk.CHANGES:
            return Answer(200, encode(self._changes(scope, request_id)))
        id = job_of(scope)
        job = self._looked_at(id, client, request_id)
        if route == JOB:
            if scope["method"] == "DELETE":
                del self._jobs[id]
                return Answer(200, encode(msgspec.structs.replace(job.answer, status="deleted")))
            return Answer(200, encode(job.answer))
        if problem := unfinished_problem(job.answer.status, job.answer.error):
            raise problem
        as_arrow = bulk.wants_arrow(headers)
        return await asyncio.to_thread(self._result, job.request, request_id, as_arrow)

    def _scored(self, sent: bytes, wanted: list[str] | None, request_id: str) -> Answer:
        table = self._table(arrow.ids_of(sent), wanted, 0, request_id)
        return Answer(200, arrow.stream_of(table), arrow.STREAM)

    def _submitted(self, sent: bytes, client: str, key: str | None, request_id: str) -> Answer:
        request = bulk.REQUEST.decode(sent)
        self._sandbox.require_known(request.targets)
        id = hashlib.sha256(f"{client}\n{key or uuid.uuid4().hex}".encode()).hexdigest()[:32]
        digest, found = digest_of(request), self._jobs.get(id)
        if found is not None and found.digest != digest:
            raise IdempotencyConflict("this idempotency key was used for another job: choose another one")
        if found is None:
            self._sandbox.require_room(request.customers or ())
            require_fewer(sum(job.client == client for job in self._jobs.values()))
            told = JobAnswer(
                request_id=request_id, job_id=id, kind=request.kind, status="waiting",
                customers=None if request.customers is None else len(request.customers), done=0,
                made_at=iso(clock()), expires_at=iso(clock() + KEPT), error=None,
            )  # fmt: skip
            self._jobs[id] = found = _Job(client, digest, request, told)
            while len(self._jobs) > REMEMBERED:
                self._jobs.popitem(last=False)
        answer = msgspec.structs.replace(found.answer, request_id=request_id)
        return Answer(202, encode(answer), headers={"location": f"{bulk.JOBS}/{id}"})

    def _looked_at(self, id: str, client: str, request_id: str) -> _Job:
        """A client's job, one step further than when it was looked at before. Problem 404."""
        job = self._jobs.get(id)
        if job is None or job.client != client or parse_moment(job.answer.expires_at) <= clock():
            raise unknown_job()
        told = msgspec.structs.replace(job.answer, request_id=request_id)
        customers = _customers(job.request)
        if told.status == "waiting":
            told = msgspec.structs.replace(told, status="running", customers=len(customers))
        elif told.status == "running":
            try:
                self._sandbox.scored(ScoreRequest(customers, reasons=0), request_id)
                told = msgspec.structs.replace(told, status="done", done=len(customers))
            except Problem as problem:
                told = msgspec.structs.replace(
                    told, status="failed", error=Failure(problem.code, problem.detail)
                )
            except PropensityError as error:
                told = msgspec.structs.replace(told, status="failed", error=Failure(error.code, str(error)))
        job.answer = told
        return job

    def _result(self, request: JobRequest, request_id: str, as_arrow: bool) -> Answer:
        table = self._table(_customers(request), request.targets, request.reasons, request_id)
        if as_arrow:
            return Answer(200, arrow.stream_of(table), arrow.STREAM)
        sink = arrow.arrow().BufferOutputStream()
        arrow.arrow().parquet.write_table(table, sink)
        return Answer(200, sink.getvalue().to_pybytes(), arrow.PARQUET)

    def _table(
        self, customers: Sequence[Customer], targets: list[str] | None, reasons: int, request_id: str
    ) -> Any:
        """As `many.scored`."""
        pa = arrow.arrow()
        names = targets or list(TARGETS)
        told = self._sandbox.scored(ScoreRequest(list(customers), targets, reasons), request_id)
        known = [one if isinstance(one, Answered) else None for one in told.results]
        moments = [None if one is None else parse_moment(one.known_at) for one in known]
        columns = {
            "customer_id": pa.array([one.customer_id for one in told.results], pa.string()),
            "known_at": pa.array(moments, pa.timestamp("us", "UTC")),
            "stale": pa.array([None if one is None else one.stale for one in known], pa.bool_()),
        }
        for place, name in enumerate(names):
            scores = [None if one is None else one.scores[place] for one in known]
            inside = [score if isinstance(score, Score) else None for score in scores]
            status = [
                "unknown_customer" if one is None else "scored" if isinstance(one, Score) else one.error.code
                for one in scores
            ]
            columns |= {
                f"{name}_probability": pa.array([s and s.probability for s in inside], pa.float64()),
                f"{name}_percentile": pa.array([s and s.percentile for s in inside], pa.float64()),
                f"{name}_status": pa.array(status, pa.string()).dictionary_encode(),
            }
            if reasons:
                why = [s and [_reason(one) for one in s.reasons] for s in inside]
                columns[f"{name}_reasons"] = pa.array(why, batch.reasons_type())
        about = {
            "request_id": request_id, "as_of": told.as_of, "features": None,
            "models": dict.fromkeys(names, VERSION),
        }  # fmt: skip
        return pa.table(columns).replace_schema_metadata({"propensity": json.dumps(about)})

    def _changes(self, scope: Scope, request_id: str) -> ChangesAnswer:
        given = query_of(scope)
        limit = whole_number(given.get("limit"), "limit", MOST_CHANGES, bulk.DEFAULT)
        of, known = split_names(given.get("of"), "of"), (*TARGETS, *FIGURES)
        if not set(of or ()) <= set(known):
            raise _unfit("of", f"expected names among {', '.join(known)}")
        at = _Cursor(0, 0, of)
        if "since" in given:
            at = _cursor(given["since"])
            if of is not None and of != at.of:
                raise _unfit("of", "expected the names that the cursor was made with, or none")
        names = known if at.of is None else at.of
        listing = self._listing(at.listing, names)
        more = at.after + limit < len(listing)
        following = _Cursor(at.listing, at.after + limit, at.of)
        if not more:
            following = _Cursor(min(at.listing + 1, 2), 0, at.of)
        now = self._settings.now()
        return ChangesAnswer(
            request_id=request_id,
            as_of=iso(now),
            moment=iso(midnight(now)),
            reset=at.listing == 0 and at.after == 0,
            changes=listing[at.after : at.after + limit],
            more=more,
            cursor=base64.urlsafe_b64encode(msgspec.json.encode(following)).rstrip(b"=").decode(),
            erased=at.listing == 1 and at.after == 0,
        )

    def _listing(self, number: int, names: Sequence[str]) -> list[Change]:
        if number == 0:
            return [self._change(id, list(names)) for id in sorted(CUSTOMERS)]
        if number == 1:
            changed = [name for name in names if name in ("churn_28d", "stage", "churn_reason")]
            gone = Change(GONE, True, [], [], None, None, None, None, None)
            return ([self._change(CHANGED, changed)] if changed else []) + [gone]
        return []

    def _change(self, id: str, changed: list[str]) -> Change:
        of = CUSTOMERS[id]
        (told,) = self._sandbox.scored(ScoreRequest([id], reasons=0), "").results
        scores, worth = told.scores if isinstance(told, Answered) else [], self._sandbox.worth(of)
        return Change(
            customer_id=id,
            gone=False,
            changed=changed,
            scores=[
                ToldScore(one.target, one.probability, one.percentile, VERSION)
                if isinstance(one, Score)
                else ToldScore(one.target, None, None, VERSION)
                for one in scores
            ],
            value=worth.profit.expected if isinstance(worth, Value) else None,
            tier=of.tier,
            quadrant=of.quadrant,
            stage=of.stage,
            churn_reason=of.churn_reason,
        )


def _customers(request: JobRequest) -> list[Customer]:
    return list(CUSTOMERS) if request.customers is None else request.customers


def _reason(one: Any) -> Mapping[str, Any]:
    said = {name: getattr(one, name) for name in ("feature", "value", "contribution")}
    return said | {"en": one.text.en, "zh": one.text.zh}


def _cursor(text: str) -> _Cursor:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = msgspec.json.decode(raw, type=_Cursor)
        if not (0 <= cursor.listing <= 2 and cursor.after >= 0):
            raise ValueError
        if not set(cursor.of or ()) <= {*TARGETS, *FIGURES}:
            raise ValueError
    except (ValueError, msgspec.MsgspecError):
        raise _unfit("since", "expected the cursor of an answer, as it was given") from None
    return cursor


def _unfit(name: str, expected: str) -> Problem:
    path = f"$.query.{name}"
    return Problem(422, "invalid_request", f"{path}: {expected}", [Offender(path, expected)])
