"""The API as an OpenAPI 3.1 document, from the very types that requests are decoded to and answers made of.

A route is documented by adding it to OPERATIONS.
"""

import inspect
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta, Struct

from serving import api, sandbox_customers
from serving.answer_types import DecisionAnswer
from serving.api import (
    MAX_BODY,
    ROUTES,
    DecisionRequest,
    Id,
    ModelsAnswer,
    Name,
    ReadyAnswer,
    ScoreAnswer,
    ScoreRequest,
)
from serving.arrivals import EventRequest, EventsAnswer
from serving.arrow import MAX_BODY as MAX_BULK
from serving.arrow import MAX_ID, MOST, PARQUET, STREAM
from serving.changes import MOST as MOST_CHANGES
from serving.changes import ChangesAnswer
from serving.cloudevents import CONTENT_TYPE
from serving.codes import INBOX, LEDGER, MODELS, OF_PROBLEMS, ROWS, STATUS, STORAGE
from serving.connection import MAX_HEAD, MAX_HEADERS
from serving.customer_types import CustomerAnswer
from serving.erasures import ErasureAnswer
from serving.incoming import MAX_KEY
from serving.jobs import KEPT, MOST_JOBS, JobAnswer, JobRequest
from serving.many import COLUMNS
from serving.problems import ProblemDocument
from serving.push_types import DATA, HEADERS, CloudEvent
from serving.reports import DeliveriesAnswer, DeliveriesRequest, OutcomesAnswer, OutcomesRequest
from serving.schemas import Schema, schema_of
from serving.sendable import SendAnswer

JSON = "application/json"


class Parameter(NamedTuple):
    """Where it is, what it is, and which texts it may be."""

    place: Literal["path", "query", "header"]
    what: str
    type: Any


class Operation(NamedTuple):
    """What one method of a route takes and gives.

    body: None without one. parameters: by name. also: status of an answer other than 200.
    problems: codes of problems, besides those that every key and every body may meet. takes, gives: media
    types. most: bytes of a body. more: what else a caller has to know of it.
    """

    summary: str
    answer: type[Struct] | type[bytes] | None
    body: type[Struct] | type[bytes] | None = None
    parameters: Mapping[str, "Parameter"] = {}
    also: int | None = None
    problems: tuple[str, ...] = ()
    takes: str = JSON
    gives: tuple[str, ...] = (JSON,)
    most: int = MAX_BODY
    more: str = ""


DESCRIPTION = f"""Version 1 only ever adds.

A test key (`propensity keys add NAME --test`) is answered on every route, and nothing real is touched. It
knows these customers, who have the same id in every other system:

{sandbox_customers.told()}

What they stand for is answered where the request needs it; else they buy in a steady rhythm.

A request has a head of at most {MAX_HEAD:,} bytes, in at most {MAX_HEADERS} headers, and each operation says
how large a body may be."""

PROBLEMS: Mapping[int, str] = {
    400: "What was sent cannot be read, or lacks what every request needs",
    401: "No key, or none that is known",
    403: "The key lacks the scope",
    404: "There is no such customer, decision or job",
    406: "There is no answer of the type that `Accept` names",
    408: "The head of the request, or its body, did not arrive in time",
    409: "It contradicts what was asked, or was told, before; or a job is not done",
    410: "The customer was erased",
    413: "The body is too large",
    415: "The body is not said to be of the type that is taken",
    422: "What was sent does not fit; `errors` says where",
    431: "The head of the request is too large",
    429: "More than was agreed, or more than can be answered now: come back after `Retry-After` seconds",
    500: "A fault of the service; its log has the place, under the request id",
    503: "It cannot be answered now; `code` says why",
}
"""Status -> what it means. Every problem is a document as RFC 9457 has it, with a stable `code`."""

# What stops a connection before its route is known may come from everywhere.
ALWAYS = ("malformed_http", "head_timeout", "head_too_large", "overloaded", "internal")
KEYED = ("unauthorized", "forbidden", "rate_limited", "settings", "invalid_request")
BODIED = ("malformed_json", "body_timeout", "body_too_large", "unsupported_media_type")
_CUSTOMER: Mapping[str, Parameter] = {
    "id": Parameter("path", "A customer id, percent-encoded.", Id),
    "source": Parameter("query", "If the id is another system's: which.", Name),
}
_KEY = Parameter(
    "header", "The same key gets the same decision; not needed for a preview.",
    Annotated[str, Meta(pattern=f"^[ -~]{{1,{MAX_KEY}}}$")],
)  # fmt: skip
_JOB = Parameter("path", "The job_id of an answer.", Id)
_JOB_KEY = _KEY._replace(what="The same key gets the same job.")
_NAMES = Annotated[str, Meta(min_length=1, max_length=64 * 65)]
_WRITER = (
    "Of hosts that share Redis or the ledger, the one with the log takes it; the others answer 503 `log`."
)
_LIMIT = Annotated[int, Meta(ge=1, le=MOST_CHANGES)]
_FLAG = Literal["true", "false"]
OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("/v1/scores", "post"): Operation(
        "Scores of a list of customers",
        ScoreAnswer,
        ScoreRequest,
        problems=("unknown_target", *ROWS, *MODELS),
    ),
    ("/v1/scores.arrow", "post"): Operation(
        f"Scores of up to {MOST:,} customers: a column customer_id in, columns of scores out, a row an id",
        bytes,
        bytes,
        {"targets": Parameter("query", "Names with commas between them; default all.", _NAMES)},
        problems=("malformed_arrow", "unknown_target", *ROWS, *MODELS),
        takes=STREAM.decode(),
        most=MAX_BULK,
        gives=(STREAM.decode(),),
        more=f"One column `customer_id` of text in, each of at most {MAX_ID} characters. {COLUMNS}",
    ),
    ("/v1/jobs", "post"): Operation(
        f"Have up to {MOST:,} customers, or everyone, scored beside the service",
        JobAnswer,
        JobRequest,
        {"Idempotency-Key": _JOB_KEY},
        also=202,
        most=MAX_BULK,
        problems=(
            "idempotency_key",
            "idempotency_conflict",
            "unknown_target",
            "too_many_jobs",
            *ROWS,
            *MODELS,
            *STORAGE,
        ),
        more=f"A client has at most {MOST_JOBS} jobs; a job and its result are kept for "
        f"{KEPT // timedelta(hours=1)} hours. A key is kept as long as its job: once that is over, or "
        "deleted, the same key makes another one.",
    ),
    ("/v1/jobs/{id}", "get"): Operation(
        "How far a job is", JobAnswer, None, {"id": _JOB}, problems=("not_found", "unknown_job")
    ),
    ("/v1/jobs/{id}", "delete"): Operation(
        "Delete a job and its result", JobAnswer, None, {"id": _JOB}, problems=("not_found", "unknown_job")
    ),
    ("/v1/jobs/{id}/result", "get"): Operation(
        "What a job made, as parquet or, by `Accept`, as an Arrow stream: columns as of /v1/scores.arrow",
        bytes,
        None,
        {"id": _JOB},
        problems=("not_found", "unknown_job", "not_acceptable", "job_unfinished", "job_failed"),
        gives=(PARQUET.decode(), STREAM.decode()),
        more=COLUMNS,
    ),
    ("/v1/changes", "get"): Operation(
        "Customers of whom something else is told than at the cursor; without one, everyone",
        ChangesAnswer,
        None,
        {
            "since": Parameter("query", "The cursor of the last answer.", str),
            "limit": Parameter("query", "Customers of a page; default 1000.", _LIMIT),
            "of": Parameter(
                "query",
                "What is compared: targets, value, tier, quadrant, stage, churn_reason, "
                "with commas between them; default all.",
                _NAMES,
            ),
        },
        problems=(*ROWS, *MODELS, *INBOX),
        more="Where a page says `erased`, read everyone once more, and delete from a copy who is not there.",
    ),
    ("/v1/decisions", "post"): Operation(
        "One decision for one customer",
        DecisionAnswer,
        DecisionRequest,
        {"Idempotency-Key": _KEY},
        problems=(
            "idempotency_key",
            "unknown_customer",
            "idempotency_conflict",
            "not_due",
            "customer_erased",
            *ROWS,
            *MODELS,
            *LEDGER,
            *INBOX,
        ),
        more="A key is kept for 7 days at least: a repeat within them gets the same answer. "
        "A preview answers anew, whatever its key was used for, and leaves it as it is. "
        "The same customer named otherwise, as by a source and its id, is another request: 409 under it.",
    ),
    ("/v1/decisions/{id}", "get"): Operation(
        "Whether a decision may still be sent: ask right before sending",
        SendAnswer,
        None,
        {
            "id": Parameter("path", "The decision_id of an answer.", Id),
            "approved": Parameter(
                "query",
                "Whether a person said yes, where the decision's `route` is one; default false.",
                _FLAG,
            ),
        },
        problems=(
            "not_found",
            "unknown_decision",
            "customer_erased",
            *ROWS,
            *MODELS,
            *LEDGER,
            *INBOX,
        ),
        more="A decision whose `route` is `person` answers `may_send: false`, `reason: person`, to whoever "
        "asks without `approved=true`. It is told with each question and kept with none; the audit log has "
        "who told it, of which decision. Everything else binds what was approved, too; what was sent is "
        "told as sent, approved or not.",
    ),
    ("/v1/deliveries", "post"): Operation(
        "What became of decisions: sent, delivered, blocked, cancelled, expired",
        DeliveriesAnswer,
        DeliveriesRequest,
        problems=(*LEDGER, *INBOX),
    ),
    ("/v1/outcomes", "post"): Operation(
        "What customers did after decisions: orders, refunds, answers",
        OutcomesAnswer,
        OutcomesRequest,
        problems=(*LEDGER, *INBOX),
        more="An opt-out or a complaint binds at once, as an event would: a host that shares Redis or the "
        "ledger and has no log answers 503 `log` to a list with one in it, and takes nothing of the list. "
        "Of a decision about a group or everyone only open, click and redeem are taken; an order, "
        "refund, opt-out or complaint is one customer's (report_conflict): tell it as an event. Groups and "
        "rounds are compared by the customer log, which knows what those did who were left alone.",
    ),
    ("/v1/events", "post"): Operation(
        "What happened, for the log",
        EventsAnswer,
        EventRequest,
        problems=INBOX,
        more=_WRITER,
    ),
    ("/v1/models", "get"): Operation(
        "What is released, with its cards", ModelsAnswer, problems=(*ROWS, *MODELS)
    ),
    ("/v1/customers/{id}", "get"): Operation(
        "One customer's scores, value and segments",
        CustomerAnswer,
        None,
        _CUSTOMER,
        problems=("not_found", "unknown_customer", *ROWS, *MODELS, *LEDGER, *INBOX),
    ),
    ("/v1/customers/{id}", "delete"): Operation(
        "Erase a customer, under all ids, from all that is kept; repeat it until `erased` or `unknown`",
        ErasureAnswer,
        None,
        _CUSTOMER,
        also=202,
        problems=("not_found", *INBOX, *STORAGE),
        more=_WRITER,
    ),
    ("/readyz", "get"): Operation(
        "Whether customers can be answered now",
        ReadyAnswer,
        problems=(*ROWS, *MODELS, *LEDGER, *INBOX, "settings"),
    ),
    ("/livez", "get"): Operation("Whether the process lives", None),
    ("/healthz", "get"): Operation("As /livez", None),
    ("/metrics", "get"): Operation("Prometheus' text", None),
    ("/openapi.json", "get"): Operation("This document", None),
    ("/", "get"): Operation("The routes", None),
}


def document() -> Schema:
    """The whole document, ready for JSON."""
    found: dict[str, Schema] = {}
    paths: dict[str, Schema] = {}
    for (path, method), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method] = _operation(path, method, operation, found)
    key = {"bearer": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Propensity", "version": "1", "description": DESCRIPTION},
        "paths": paths,
        "webhooks": {type: {"post": _pushed(type, data, found)} for type, data in DATA.items()},
        "components": {"schemas": dict(sorted(found.items())), "securitySchemes": key},
    }


def _operation(path: str, method: str, of: Operation, found: dict[str, Schema]) -> Schema:
    def content(type: Any, *media: str) -> Schema:
        return {"content": {one: {"schema": schema_of(type, found)} for one in media}}

    answered = {"description": "Answered"} | ({} if of.answer is None else content(of.answer, *of.gives))
    said: Schema = {"summary": of.summary, "responses": {"200": answered}}
    if path in api.SUNSET:
        said["deprecated"] = True
    if of.more:
        said["description"] = of.more
    if of.also is not None:
        said["responses"][str(of.also)] = answered | {"description": "Accepted: it will be done"}
    problem = content(ProblemDocument, "application/problem+json")
    scope = ROUTES[path][method.upper()]
    codes = (*ALWAYS, *of.problems, *(KEYED if scope else ()), *(BODIED if of.body else ()))
    for status in sorted({STATUS[code] for code in codes}):
        own = [code for code in OF_PROBLEMS[status] if code in codes]
        words = f"{PROBLEMS[status]}: {', '.join(f'`{code}`' for code in own)}"
        said["responses"][str(status)] = {"description": words, "x-problem-codes": own} | problem
        if status == 429:
            said["responses"]["429"]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    if of.body is not None:
        most = f"At most {of.most:,} bytes, as it is: without Content-Encoding."
        said["requestBody"] = {"required": True, "description": most, "x-max-bytes": of.most}
        said["requestBody"] |= content(of.body, of.takes)
    if of.parameters:
        said["parameters"] = [
            {
                "name": name, "in": place, "description": what, "required": place == "path",
                "schema": schema_of(type, found),
            }
            for name, (place, what, type) in of.parameters.items()
        ]  # fmt: skip
    if scope is not None:
        said["security"] = [{"bearer": [scope]}]
    return said


def _pushed(type: str, data: type[Struct], found: dict[str, Schema]) -> Schema:
    """What a hook gets: an envelope of that type, with that data."""
    own = {"type": {"const": type}, "data": schema_of(data, found)}
    event = {"allOf": [schema_of(CloudEvent, found), {"properties": own, "required": list(own)}]}
    return {
        "summary": inspect.cleandoc(data.__doc__ or "").partition("\n\n")[0],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "description": what,
                "required": True,
                "schema": {"type": "string"},
            }
            for name, what in HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {CONTENT_TYPE.partition(";")[0]: {"schema": event}}},
        "responses": {
            "2XX": {"description": "It arrived"},
            "410": {"description": "The hook is not called any more, until somebody enables it again"},
            "default": {"description": "It is sent again, with longer and longer waits"},
        },
    }
