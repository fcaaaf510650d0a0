"""A Python client of the service: typed answers, and repeats that are safe.

    with Client("http://localhost:3000", key) as propensity:
        for result in propensity.scores(["662", "2375"], targets=["churn_28d"]).results:
            ...
        decision = propensity.decide("662", idempotency_key="cart-reminder:662:2017-12-31")

Whatever it asks may be asked twice: decisions by their key, events and reports by their id. So it repeats
what got no answer, or 429 or 503, as often as it was told, and waits as long as the service says.
"""

import inspect
import random
import time
import types
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)
from urllib.parse import quote

import httpx
import msgspec
from msgspec import NODEFAULT, Struct

from serving.answer_types import DecisionAnswer
from serving.api import (
    Customer,
    DecisionRequest,
    Identity,
    ModelsAnswer,
    ScoreAnswer,
    ScoreRequest,
)
from serving.arrivals import EventsAnswer
from serving.changes import ChangesAnswer
from serving.customer_types import CustomerAnswer
from serving.erasures import ErasureAnswer
from serving.jobs import JobAnswer
from serving.reports import DeliveriesAnswer, OutcomesAnswer
from serving.sendable import SendAnswer

if TYPE_CHECKING:
    import pyarrow

T = TypeVar("T")
AGAIN = frozenset((429, 503))
Context = Mapping[str, str | int | float | bool | None]


class ProblemError(Exception):
    """The service said no. `code` is stable; errors: [{path, detail}] where a body does not fit."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        request_id: str,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(f"{status} {code}: {detail} (request {request_id})")
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.errors = tuple(errors)


class Client:
    """One connection pool; safe for threads. timeout: seconds for an answer; tries: of each request."""

    def __init__(self, url: str, key: str, timeout: float = 10.0, tries: int = 4) -> None:
        self._http = httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=timeout)
        self._tries = tries

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def scores(
        self,
        customers: Sequence[Customer],
        targets: Sequence[str] | None = None,
        reasons: int = 3,
        exact: bool = False,
    ) -> ScoreAnswer:
        """One entry a customer, in their order; 1 to 1,000 of them."""
        body = ScoreRequest(list(customers), None if targets is None else list(targets), reasons, exact)
        return self._asked(ScoreAnswer, "POST", "/v1/scores", body)

    def scores_arrow(self, customers: Sequence[str], targets: Sequence[str] | None = None) -> "pyarrow.Table":
        """A row a customer, in their order; 1 to 100,000 ids. Columns: `serving.many`. Needs pyarrow."""
        import pyarrow as pa

        sink = pa.BufferOutputStream()
        ids = pa.table({"customer_id": pa.array(customers, pa.string())})
        with pa.ipc.new_stream(sink, ids.schema) as writer:
            writer.write_table(ids)
        path = "/v1/scores.arrow" + _query(targets=None if targets is None else ",".join(targets))
        headers = {"content-type": "application/vnd.apache.arrow.stream"}
        answer = self._sent("POST", path, sink.getvalue().to_pybytes(), headers)
        with pa.ipc.open_stream(answer.content) as stream:
            return stream.read_all()

    def ask_job(
        self,
        customers: Sequence[Customer] | None = None,
        targets: Sequence[str] | None = None,
        reasons: int = 0,
        idempotency_key: str | None = None,
    ) -> JobAnswer:
        """Have up to 100,000 customers, or everyone, scored beside the service. The same key gets the same
        job; without one, it is drawn here, so that a repeat of this call alone begins no second one."""
        ids, names = (None if some is None else list(some) for some in (customers, targets))
        body = {"kind": "scores", "customers": ids, "targets": names, "reasons": reasons}
        headers = {"idempotency-key": idempotency_key or uuid.uuid4().hex}
        return self._asked(JobAnswer, "POST", "/v1/jobs", body, headers)

    def job(self, job_id: str) -> JobAnswer:
        """How far it is. ProblemError 404 `unknown_job`."""
        return self._asked(JobAnswer, "GET", f"/v1/jobs/{quote(job_id, safe='')}")

    def job_result(self, job_id: str, path: Path) -> None:
        """Write a done job's result to a parquet file. ProblemError 409 `job_unfinished`, `job_failed`."""
        with self._http.stream("GET", f"/v1/jobs/{quote(job_id, safe='')}/result") as answer:
            if answer.status_code != 200:
                answer.read()
                raise _problem(answer)
            fresh = path.with_name(f".{path.name}.part")
            with fresh.open("wb") as file:
                for part in answer.iter_bytes():
                    file.write(part)
            fresh.replace(path)

    def delete_job(self, job_id: str) -> JobAnswer:
        """Delete it and its result."""
        return self._asked(JobAnswer, "DELETE", f"/v1/jobs/{quote(job_id, safe='')}")

    def changes(
        self, since: str | None = None, limit: int = 1_000, of: Sequence[str] | None = None
    ) -> ChangesAnswer:
        """A page of what changed since a cursor; from None on, everyone. Go on with its cursor.
        erased: somebody was erased since; read from None on, and delete from a copy whoever is not there."""
        names = None if of is None else ",".join(of)
        path = "/v1/changes" + _query(since=since, limit=str(limit), of=names)
        return self._asked(ChangesAnswer, "GET", path)

    def customer(self, customer: Customer) -> CustomerAnswer:
        """What is known of one; ProblemError 404 `unknown_customer`."""
        return self._asked(CustomerAnswer, "GET", _path(customer))

    def erase(self, customer: Customer) -> ErasureAnswer:
        """Have one erased, under all ids; again until it says `erased`, or `unknown`."""
        return self._asked(ErasureAnswer, "DELETE", _path(customer))

    def decide(
        self,
        customer: Customer,
        idempotency_key: str,
        candidates: Sequence[str] | None = None,
        scenario: str | None = None,
        context: Context | None = None,
    ) -> DecisionAnswer:
        """Take a decision, which is recorded and reserves its contact. The same key gets the same one."""
        body = _decision(customer, candidates, scenario, context, preview=False)
        headers = {"idempotency-key": idempotency_key}
        return self._asked(DecisionAnswer, "POST", "/v1/decisions", body, headers)

    def preview(
        self,
        customer: Customer,
        candidates: Sequence[str] | None = None,
        scenario: str | None = None,
        context: Context | None = None,
    ) -> DecisionAnswer:
        """What would be decided, without a trace."""
        body = _decision(customer, candidates, scenario, context, preview=True)
        return self._asked(DecisionAnswer, "POST", "/v1/decisions", body)

    def may_send(self, decision_id: str, approved: bool = False) -> SendAnswer:
        """Whether it may still be sent: ask right before sending. approved: a person said yes to what was
        routed to one."""
        path = f"/v1/decisions/{quote(decision_id, safe='')}" + _query(approved="true" if approved else None)
        return self._asked(SendAnswer, "GET", path)

    def events(self, events: Sequence[Mapping[str, Any]]) -> EventsAnswer:
        """Tell what happened, as the document's `events` has it; one entry an event."""
        return self._asked(EventsAnswer, "POST", "/v1/events", {"events": events})

    def deliveries(self, deliveries: Sequence[Mapping[str, Any]]) -> DeliveriesAnswer:
        """Tell what became of decisions."""
        return self._asked(DeliveriesAnswer, "POST", "/v1/deliveries", {"deliveries": deliveries})

    def outcomes(self, outcomes: Sequence[Mapping[str, Any]]) -> OutcomesAnswer:
        """Tell what customers did after decisions."""
        return self._asked(OutcomesAnswer, "POST", "/v1/outcomes", {"outcomes": outcomes})

    def models(self) -> ModelsAnswer:
        """What is released, with its cards."""
        return self._asked(ModelsAnswer, "GET", "/v1/models")

    def _asked(
        self,
        type: type[T],
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        content = None if body is None else msgspec.json.encode(body)
        sent = {**(headers or {}), **({} if body is None else {"content-type": "application/json"})}
        made: T = _made(type, msgspec.json.decode(self._sent(method, path, content, sent).content))
        return made

    def _sent(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> httpx.Response:
        for left in reversed(range(self._tries)):
            try:
                answer = self._http.request(method, path, content=content, headers=headers)
            except httpx.TransportError:
                if not left:
                    raise
                answer = None
            if answer is not None and answer.status_code < 300:
                return answer
            if answer is not None and (answer.status_code not in AGAIN or not left):
                raise _problem(answer)
            wait = float(answer.headers.get("retry-after", 0)) if answer is not None else 0.0
            time.sleep(wait + random.uniform(0.05, 0.2) * (self._tries - left))  # noqa: S311  no secret
        raise AssertionError("unreachable: the last try returns or raises")


def _query(**given: str | None) -> str:
    """What is given, as the end of an address."""
    said = [f"{name}={quote(value, safe='')}" for name, value in given.items() if value is not None]
    return f"?{'&'.join(said)}" if said else ""


def _path(customer: Customer) -> str:
    if isinstance(customer, Identity):
        return f"/v1/customers/{quote(customer.id, safe='')}?source={quote(customer.source, safe='')}"
    return f"/v1/customers/{quote(customer, safe='')}"


def _decision(
    customer: Customer,
    candidates: Sequence[str] | None,
    scenario: str | None,
    context: Context | None,
    preview: bool,
) -> DecisionRequest:
    return DecisionRequest(
        customer,
        None if candidates is None else list(candidates),
        preview,
        scenario,
        None if context is None else dict(context),
    )


def _problem(answer: httpx.Response) -> ProblemError:
    try:
        said = answer.json()
        errors = tuple(said.get("errors", ()))
        return ProblemError(answer.status_code, said["code"], said["detail"], said["request_id"], errors)
    except (ValueError, KeyError, AttributeError):  # a proxy's answer, not ours
        return ProblemError(answer.status_code, "not_ours", answer.text[:200], uuid.UUID(int=0).hex)


def _made(type: Any, value: Any) -> Any:
    """JSON's value as that type. Fields that this client does not know are left out: version 1 grows."""
    origin, arguments = get_origin(type), get_args(type)
    if value is None or origin is Literal:
        return value
    if origin is Annotated:
        return _made(arguments[0], value)
    if origin in (Union, types.UnionType):
        return _made(_fitting(arguments, value), value)
    if origin is list:
        return [_made(arguments[0], one) for one in value]
    if origin is tuple:  # of one type: an interval
        return tuple(_made(arguments[0], one) for one in value)
    if origin in (dict, Mapping):
        return {name: _made(arguments[1], one) for name, one in value.items()}
    if _is_struct(type):
        known = _fields(type)
        given = {known[name][0]: _made(known[name][1], one) for name, one in value.items() if name in known}
        return type(**given)
    return msgspec.convert(value, type)


def _fitting(types: Sequence[Any], value: Any) -> Any:
    """The member of a union that a value is of: of several objects the one with most of what it must have."""
    structs = [one for one in types if _is_struct(one)]
    if isinstance(value, dict) and structs:
        fit = [one for one in structs if _required(one) <= value.keys()]
        return max(fit or structs, key=lambda one: len(_required(one)))
    return next((one for one in types if _fits(one, value)), types[0])


def _fits(type: Any, value: Any) -> bool:
    origin = get_origin(type)
    if origin is Annotated:
        return _fits(get_args(type)[0], value)
    if origin is Literal:
        return value in get_args(type)
    if type is float:
        return isinstance(value, int | float)
    return isinstance(value, list if origin is tuple else origin or type)


def _is_struct(type: Any) -> bool:
    return inspect.isclass(type) and issubclass(type, Struct)


@lru_cache(None)
def _fields(type: type[Struct]) -> Mapping[str, tuple[str, Any]]:
    """Name in JSON -> name here, and its type."""
    hints = get_type_hints(type, include_extras=True)
    return {f.encode_name: (f.name, hints[f.name]) for f in msgspec.structs.fields(type)}


@lru_cache(None)
def _required(type: type[Struct]) -> frozenset[str]:
    fields = msgspec.structs.fields(type)
    return frozenset(
        f.encode_name for f in fields if f.default is NODEFAULT and f.default_factory is NODEFAULT
    )
