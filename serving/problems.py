"""What goes wrong, as a caller is told it: problem documents (RFC 9457), their codes and titles.

A problem never repeats a value that was sent: it names the place (`$.customers[3]`) and what was expected.
"""

import errno
import re
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from features import database
from features.errors import (
    CustomerErased,
    DecisionError,
    FeatureError,
    FeaturesExpired,
    IdempotencyConflict,
    LogError,
    NoLog,
    NotDue,
    OnlineUnavailable,
    PropensityError,
    ReleaseError,
    SettingsError,
    UnknownCustomer,
    UnknownDecision,
    UsageError,
)
from features.settings import Settings
from serving.codes import STATUS, one_of

_encoder = msgspec.json.Encoder()
_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM))
_REDIS = re.compile(r"\bRedis \S+:\d+/\d+")  # as its `where` names it
_QUOTED = re.compile(r"""(["']).*?\1(, port \d+)?""")  # in what PostgreSQL says: hosts, users, databases
LATER = {"retry-after": "1"}  # of what goes on by itself once what is away is back


def encode(answer: Any) -> bytes:
    """JSON; floats as the shortest text that reads back to the same bits."""
    return _encoder.encode(answer)


class Offender(Struct, frozen=True):
    """Where in the body, and what was expected there."""

    path: str
    detail: str


class Problem(Exception):  # noqa: N818  the standard's word for it
    """An error answer. `code` is stable; `detail` is for people and repeats nothing that was sent."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        errors: list[Offender] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def document(self, request_id: str) -> bytes:
        """The `application/problem+json` body."""
        return encode(
            ProblemDocument(
                type=f"urn:propensity:problem:{self.code}",
                title=TITLES.get(self.code, "Error"),
                status=self.status,
                detail=self.detail,
                code=self.code,
                instance=f"urn:uuid:{uuid.UUID(request_id)}",
                request_id=request_id,
                errors=UNSET if self.errors is None else self.errors,
            )
        )


class ProblemDocument(Struct, frozen=True):
    """What went wrong, as RFC 9457 has it. errors: where in the body."""

    type: str
    title: str
    status: int
    detail: str
    code: Annotated[str, one_of(STATUS)]
    instance: str
    request_id: str
    errors: list[Offender] | UnsetType = UNSET


TITLES = {
    "unauthorized": "A key is needed",
    "forbidden": "The key may not do this",
    "rate_limited": "More requests than agreed",
    "overloaded": "The service is busy",
    "not_found": "No such route",
    "method_not_allowed": "Method not allowed",
    "malformed_http": "The request is not HTTP",
    "head_too_large": "The head of the request is too large",
    "head_timeout": "The head of the request did not arrive",
    "malformed_json": "The body is not JSON",
    "invalid_request": "The body does not fit",
    "unknown_target": "No such target",
    "body_too_large": "The body is too large",
    "body_timeout": "The body did not arrive",
    "unsupported_media_type": "The body is of another type",
    "not_acceptable": "There is no answer of that type",
    "malformed_arrow": "The body is no Arrow stream",
    "unknown_job": "No such job",
    "job_unfinished": "The job is not done",
    "job_failed": "The job failed",
    "too_many_jobs": "More jobs than a client may have",
    "idempotency_key": "An idempotency key is needed, of the form that is asked for",
    "unknown_customer": "No such customer",
    "idempotency_conflict": "The key was used for another request",
    "customer_erased": "The customer was erased",
    "not_due": "The customer is not due for the scenario",
    "unknown_decision": "No such decision",
    "no_build": "No features to answer from",
    "online_unavailable": "The features cannot be read now",
    "features_expired": "The features are too old",
    "feature_mismatch": "The release needs other features",
    "no_release": "Nothing is released",
    "no_order": "No order yet",
    "release_corrupt": "The release is refused",
    "decision": "No decision can be taken",
    "log": "The log, or what waits for it, cannot be read or written",
    "feature": "The features cannot be answered from",
    "settings": "The service is set up wrongly",
    "storage": "Nothing can be kept now",
    "internal": "Internal error",
}

_STATUS: tuple[tuple[type[PropensityError], int], ...] = (
    (UnknownCustomer, 404),
    (FeaturesExpired, 503),
    (FeatureError, 503),
    (ReleaseError, 503),
    (LogError, 503),
    (IdempotencyConflict, 409),
    (CustomerErased, 410),
    (NotDue, 409),
    (UnknownDecision, 404),
    (DecisionError, 503),
    (SettingsError, 503),
)


def problem_of(error: PropensityError, settings: Settings) -> Problem:
    """The problem that an error of ours is to a caller.

    A UsageError's message begins with the JSON path of the offender.
    """
    if type(error) is UsageError:
        detail = detail_of(error, settings)
        path, _, expected = detail.partition(": ")
        return Problem(422, "invalid_request", detail, [Offender(path, expected)])
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    away = isinstance(error, OnlineUnavailable | LogError) or type(error) is DecisionError
    headers = LATER if away and not isinstance(error, NoLog) else None  # it stays so
    return Problem(status, error.code, detail_of(error, settings), headers=headers)


def of_disk(error: Exception) -> Problem | None:
    """What a disk that takes no more is to a caller; None for any other error."""
    return full_disk() if isinstance(error, OSError) and error.errno in _DISK else None


def full_disk() -> Problem:
    """Of what could not be kept."""
    detail = "it could not be kept: the disk is full, or may not be written. Nothing was done; ask again"
    return Problem(503, "storage", detail, headers=LATER)


def detail_of(error: PropensityError, settings: Settings) -> str:
    """The error's message; where our files and servers are is not the caller's to know."""
    text = str(error).replace(str(settings.home), "PROPENSITY_HOME")
    text = text.replace(str(settings.shop), "PROPENSITY_SHOP")
    text = _REDIS.sub("the Redis of PROPENSITY_ONLINE", text)
    server = None if settings.ledger == "sqlite" else database.name_of(settings.ledger)
    if server is None or server not in text:
        return text
    return _QUOTED.sub("...", text.replace(server, "of PROPENSITY_LEDGER"))
