"""The routes for many customers at once: scores as Arrow, jobs, and what changed.

Each waits in a line of its own, in which few may wait: a night's load delays no decision, and whoever cannot
be served in time is told to come back.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

from features.settings import Settings
from serving import arrow, jobs, many
from serving.admission import Line
from serving.bodies import Body
from serving.changes import MOST as MOST_CHANGES
from serving.changes import Changes
from serving.incoming import (
    JOB,
    JOB_RESULT,
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
from serving.jobs import JobRequest
from serving.metrics import Metrics
from serving.outgoing import Answer
from serving.problems import Problem, encode
from serving.scores import Scorer

SCORES, JOBS, CHANGES = "/v1/scores.arrow", "/v1/jobs", "/v1/changes"
ROUTES = frozenset((SCORES, JOBS, JOB, JOB_RESULT, CHANGES))
WAIT = 4  # requests in a line: of the largest, some seconds
PIECE = 1 << 20  # bytes of a file that are sent at once
DEFAULT = 1_000  # changes of a page

REQUEST = Body(JobRequest)


class Bulk:
    """One answer a request, or a Problem, or a PropensityError. One object a process."""

    def __init__(self, settings: Settings, metrics: Metrics, scorer: Scorer) -> None:
        self._settings, self._metrics, self._scorer = settings, metrics, scorer
        self._changes = Changes(scorer)
        self._worker = jobs.worker(settings)
        self._scores, self._compare, self._files = Line(1, WAIT), Line(1, WAIT), Line(1)

    def start(self) -> None:
        """Begin what an earlier service left undone."""
        self._worker.start()

    def stop(self) -> None:
        """Finish what is being answered; jobs are begun again by the next service."""
        self._worker.stop()
        for line in (self._scores, self._compare, self._files):
            line.stop()

    async def answer(
        self, route: str, scope: Scope, receive: Receive, headers: Headers, client: str, request_id: str
    ) -> Answer:
        """Of a route among ROUTES."""
        if route == SCORES:
            wanted = split_names(query_of(scope).get("targets"), "targets")
            sent = await body(headers, receive, arrow.STREAM, arrow.MAX_BODY)
            return await self._scores.do(partial(self._scored, sent, wanted, request_id))
        if route == JOBS:
            key = idempotency_key(headers) if b"idempotency-key" in headers else None
            sent = await body(headers, receive, most=arrow.MAX_BODY)
            return await self._files.do(partial(self._submitted, sent, client, key, request_id))
        if route == CHANGES:
            return await self._compare.do(partial(self._changed, scope, request_id))
        id, files = job_of(scope), self._files
        if route == JOB:
            what = jobs.delete if scope["method"] == "DELETE" else jobs.look
            answer = await files.do(lambda: what(self._settings, client, id, request_id))
            return Answer(200, encode(answer))
        path = await files.do(lambda: jobs.result(self._settings, client, id))
        if wants_arrow(headers):
            return Answer(200, b"", arrow.STREAM, parts=_sent(arrow.streamed(path)))
        return Answer(200, b"", arrow.PARQUET, parts=_sent(_pieces(path)))

    def _scored(self, sent: bytes, wanted: list[str] | None, request_id: str) -> Answer:
        ids = arrow.ids_of(sent)
        table = many.scored(self._scorer, ids, wanted, request_id)
        unknown = table["known_at"].null_count
        self._metrics.customers("scored", len(ids) - unknown)
        if unknown:
            self._metrics.customers(many.UNKNOWN, unknown)
        return Answer(200, arrow.stream_of(table), arrow.STREAM)

    def _submitted(self, sent: bytes, client: str, key: str | None, request_id: str) -> Answer:
        request = REQUEST.decode(sent)
        self._scorer.require_known(request.targets)
        answer = jobs.submit(self._settings, request, client, key, request_id)
        self._worker.wake()
        return Answer(202, encode(answer), headers={"location": f"{JOBS}/{answer.job_id}"})

    def _changed(self, scope: Scope, request_id: str) -> Answer:
        arrow.arrow()
        given = query_of(scope)
        limit = whole_number(given.get("limit"), "limit", MOST_CHANGES, DEFAULT)
        of = split_names(given.get("of"), "of")
        return Answer(200, encode(self._changes.page(given.get("since"), limit, of, request_id)))


def wants_arrow(headers: Headers) -> bool:
    """By Accept: parquet unless only Arrow is asked for. Problem 406 for neither."""
    accept = headers.get(b"accept", b"*/*").lower()
    offered = [part.partition(b";")[0].strip() for part in accept.split(b",")]
    if {arrow.PARQUET, b"*/*", b"application/*", b""} & set(offered):
        return False
    if arrow.STREAM in offered:
        return True
    detail = f"accept {arrow.PARQUET.decode()} or {arrow.STREAM.decode()}"
    raise Problem(406, "not_acceptable", detail)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


async def _sent(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Parts as they are read, off the event loop; a slow caller holds one of them in memory."""
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        yield part
