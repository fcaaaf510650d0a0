"""The API as an OpenAPI 3.1 document, from the very types that requests are decoded to and answers made of.

A route is documented by adding it to OPERATIONS.
"""

import datetime
import inspect
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta, Raw, Struct, UnsetType

from serving.answer_types import DecisionAnswer
from serving.api import (
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
from serving.arrow import MOST, PARQUET, STREAM
from serving.changes import MOST as MOST_CHANGES
from serving.changes import ChangesAnswer
from serving.customer_types import CustomerAnswer
from serving.erasures import ErasureAnswer
from serving.events import AnyEvent, ecmascript
from serving.incoming import MAX_KEY
from serving.jobs import JobAnswer, JobRequest
from serving.problems import ProblemDocument
from serving.reports import DeliveriesAnswer, DeliveriesRequest, OutcomesAnswer, OutcomesRequest
from serving.sendable import SendAnswer

Schema = dict[str, Any]
JSON = "application/json"


class Parameter(NamedTuple):
    """Where it is, what it is, and which texts it may be."""

    place: Literal["path", "query", "header"]
    what: str
    type: Any


class Operation(NamedTuple):
    """What one method of a route takes and gives.

    body: None without one. parameters: by name. also: status of an answer other than 200.
    problems: statuses of problems, besides those that every key and every body may meet. takes, gives: media
    types. more: what else a caller has to know of it.
    """

    summary: str
    answer: type[Struct] | type[bytes] | None
    body: type[Struct] | type[bytes] | None = None
    parameters: Mapping[str, "Parameter"] = {}
    also: int | None = None
    problems: tuple[int, ...] = ()
    takes: str = JSON
    gives: tuple[str, ...] = (JSON,)
    more: str = ""


PROBLEMS: Mapping[int, str] = {
    400: "What was sent cannot be read, or lacks what every request needs",
    401: "No key, or none that is known",
    403: "The key lacks the scope",
    404: "There is no such customer, decision or job",
    406: "There is no answer of the type that `Accept` names",
    408: "The body did not arrive in time",
    409: "It contradicts what was asked, or was told, before; or a job is not done",
    410: "The customer was erased",
    413: "The body is too large",
    415: "The body is not said to be of the type that is taken",
    422: "What was sent does not fit; `errors` says where",
    429: "More than was agreed, or more than can be answered now: come back after `Retry-After` seconds",
    500: "A fault of the service; its log has the place, under the request id",
    503: "It cannot be answered now; `code` says why",
}
"""Status -> what it means. Every problem is a document as RFC 9457 has it, with a stable `code`."""

ALWAYS = (500,)
KEYED = (401, 403, 429, 503)
BODIED = (400, 408, 413, 415, 422)
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
_LIMIT = Annotated[int, Meta(ge=1, le=MOST_CHANGES)]
OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("/v1/scores", "post"): Operation("Scores of a list of customers", ScoreAnswer, ScoreRequest),
    ("/v1/scores.arrow", "post"): Operation(
        f"Scores of up to {MOST:,} customers: a column customer_id in, columns of scores out, a row an id",
        bytes,
        bytes,
        {"targets": Parameter("query", "Names with commas between them; default all.", _NAMES)},
        takes=STREAM.decode(),
        gives=(STREAM.decode(),),
    ),
    ("/v1/jobs", "post"): Operation(
        f"Have up to {MOST:,} customers, or everyone, scored beside the service",
        JobAnswer,
        JobRequest,
        {"Idempotency-Key": _JOB_KEY},
        also=202,
        problems=(409,),
    ),
    ("/v1/jobs/{id}", "get"): Operation("How far a job is", JobAnswer, None, {"id": _JOB}, problems=(404,)),
    ("/v1/jobs/{id}", "delete"): Operation(
        "Delete a job and its result", JobAnswer, None, {"id": _JOB}, problems=(404,)
    ),
    ("/v1/jobs/{id}/result", "get"): Operation(
        "What a job made, as parquet or, by `Accept`, as an Arrow stream: columns as of /v1/scores.arrow",
        bytes,
        None,
        {"id": _JOB},
        problems=(404, 406, 409),
        gives=(PARQUET.decode(), STREAM.decode()),
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
        problems=(422,),
        more="Where a page says `erased`, read everyone once more, and delete from a copy who is not there.",
    ),
    ("/v1/decisions", "post"): Operation(
        "One decision for one customer",
        DecisionAnswer,
        DecisionRequest,
        {"Idempotency-Key": _KEY},
        problems=(404, 409, 410),
    ),
    ("/v1/decisions/{id}", "get"): Operation(
        "Whether a decision may still be sent: ask right before sending",
        SendAnswer,
        None,
        {"id": Parameter("path", "The decision_id of an answer.", Id)},
        problems=(404, 410),
    ),
    ("/v1/deliveries", "post"): Operation(
        "What became of decisions: sent, delivered, blocked, cancelled, expired",
        DeliveriesAnswer,
        DeliveriesRequest,
    ),
    ("/v1/outcomes", "post"): Operation(
        "What customers did after decisions: orders, refunds, answers", OutcomesAnswer, OutcomesRequest
    ),
    ("/v1/events", "post"): Operation("What happened, for the log", EventsAnswer, EventRequest),
    ("/v1/models", "get"): Operation("What is released, with its cards", ModelsAnswer),
    ("/v1/customers/{id}", "get"): Operation(
        "One customer's scores, value and segments",
        CustomerAnswer,
        None,
        _CUSTOMER,
        problems=(404, 422),
    ),
    ("/v1/customers/{id}", "delete"): Operation(
        "Erase a customer, under all ids, from all that is kept; repeat it until `erased` or `unknown`",
        ErasureAnswer,
        None,
        _CUSTOMER,
        also=202,
        problems=(422,),
    ),
    ("/readyz", "get"): Operation("Whether customers can be answered now", ReadyAnswer, problems=(503,)),
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
        "info": {"title": "Propensity", "version": "1", "description": "Version 1 only ever adds."},
        "paths": paths,
        "components": {"schemas": dict(sorted(found.items())), "securitySchemes": key},
    }


def _operation(path: str, method: str, of: Operation, found: dict[str, Schema]) -> Schema:
    def content(type: Any, *media: str) -> Schema:
        return {"content": {one: {"schema": _schema(type, found)} for one in media}}

    answered = {"description": "Answered"} | ({} if of.answer is None else content(of.answer, *of.gives))
    said: Schema = {"summary": of.summary, "responses": {"200": answered}}
    if of.more:
        said["description"] = of.more
    if of.also is not None:
        said["responses"][str(of.also)] = answered | {"description": "Accepted: it will be done"}
    problem = content(ProblemDocument, "application/problem+json")
    scope = ROUTES[path][method.upper()]
    statuses = {*ALWAYS, *of.problems, *(KEYED if scope else ()), *(BODIED if of.body else ())}
    for status in sorted(statuses):
        said["responses"][str(status)] = {"description": PROBLEMS[status]} | problem
        if status == 429:
            said["responses"]["429"]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    if of.body is not None:
        said["requestBody"] = {"required": True} | content(of.body, of.takes)
    if of.parameters:
        said["parameters"] = [
            {
                "name": name, "in": place, "description": what, "required": place == "path",
                "schema": _schema(type, found),
            }
            for name, (place, what, type) in of.parameters.items()
        ]  # fmt: skip
    if scope is not None:
        said["security"] = [{"bearer": [scope]}]
    return said


_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"}, int: {"type": "integer"}, float: {"type": "number"}, bool: {"type": "boolean"},
    bytes: {"type": "string", "format": "binary"},
    types.NoneType: {"type": "null"}, Any: {},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
}  # fmt: skip
_BOUNDS = {
    "ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum",
}  # fmt: skip


def _schema(type: Any, found: dict[str, Schema]) -> Schema:
    """JSON Schema of a type; what is a Struct goes to `found`, by its name. TypeError for an unknown type."""
    if type in _PLAIN:
        return dict(_PLAIN[type])
    if type is Raw:  # events are decoded one by one
        return _schema(AnyEvent, found)
    origin, arguments = get_origin(type), get_args(type)
    if origin is Annotated:
        inner, *metas = arguments
        held = next((meta.extra["holds"] for meta in metas if meta.extra and "holds" in meta.extra), inner)
        schema = _schema(held, found)
        for meta in metas:
            schema |= _bounds(meta, schema)
            if meta.description is not None:
                schema["description"] = meta.description
        return schema
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(one, found) for one in arguments if one is not UnsetType]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (list, tuple):
        return {"type": "array", "items": _schema(arguments[0], found)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], found)}
    if inspect.isclass(type) and issubclass(type, Struct):
        return _ref(type, found)
    raise TypeError(f"no JSON Schema is known for {type}")


def _ref(type: type[Struct], found: dict[str, Schema]) -> Schema:
    name = type.__name__.lstrip("_")
    if name not in found:
        found[name] = {}  # it may hold itself
        found[name] = _object(type, found)
    return {"$ref": f"#/components/schemas/{name}"}


def _object(type: type[Struct], found: dict[str, Schema]) -> Schema:
    hints, config = get_type_hints(type, include_extras=True), type.__struct_config__
    fields = msgspec.structs.fields(type)
    properties = {field.encode_name: _schema(hints[field.name], found) for field in fields}
    required = [f.encode_name for f in fields if f.default is NODEFAULT and f.default_factory is NODEFAULT]
    if config.tag is not None:
        properties = {str(config.tag_field): {"const": config.tag}} | properties
        required = [str(config.tag_field), *required]
    schema: Schema = {"type": "object", "properties": properties, "required": required}
    if config.forbid_unknown_fields:
        schema["additionalProperties"] = False
    if type.__doc__:
        schema["description"] = inspect.cleandoc(type.__doc__)
    return schema


def _bounds(meta: Meta, schema: Schema) -> Schema:
    what = {"array": "Items", "object": "Properties"}.get(schema.get("type", ""), "Length")
    lengths = {f"{end}{what}": getattr(meta, f"{end}_length") for end in ("min", "max")}
    bounds = {name: getattr(meta, attribute) for attribute, name in _BOUNDS.items()} | lengths
    bounds["pattern"] = meta.pattern and ecmascript(meta.pattern)
    return {name: value for name, value in bounds.items() if value is not None}
