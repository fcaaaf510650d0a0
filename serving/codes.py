"""Every `code` that the API says, where it may come: for the document, and for whoever looks one up.

A code is stable, and never means anything else. Version 1 grows: a caller treats one that it does not know
by the status it came with.
"""

from collections.abc import Iterable, Mapping

from msgspec import Meta

from features.errors import (
    CustomerErased,
    DecisionError,
    IdempotencyConflict,
    ReportConflict,
    UnknownDecision,
)

ROWS = ("no_build", "features_expired", "online_unavailable", "feature")
MODELS = ("no_release", "release_corrupt", "feature_mismatch")
LEDGER, INBOX, STORAGE = ("decision",), ("log",), ("storage",)

OF_PROBLEMS: Mapping[int, tuple[str, ...]] = {
    400: ("malformed_http", "malformed_json", "malformed_arrow", "idempotency_key"),
    401: ("unauthorized",),
    403: ("forbidden",),
    404: ("not_found", "unknown_customer", "unknown_decision", "unknown_job"),
    405: ("method_not_allowed",),
    406: ("not_acceptable",),
    408: ("head_timeout", "body_timeout"),
    409: ("idempotency_conflict", "not_due", "job_unfinished", "job_failed"),
    410: ("customer_erased",),
    413: ("body_too_large",),
    415: ("unsupported_media_type",),
    422: ("invalid_request", "unknown_target"),
    429: ("rate_limited", "overloaded", "too_many_jobs"),
    431: ("head_too_large",),
    500: ("internal",),
    503: (*ROWS, *MODELS, *LEDGER, *INBOX, *STORAGE, "settings"),
}
"""Status -> the codes of its problems, in `code` of a ProblemDocument."""

OF_FAILURES = (
    "unknown_customer", "outside_population", "no_order", *ROWS, *MODELS, *LEDGER, *INBOX, "settings",
    "interrupted", "overloaded", "rate_limited", "unknown_target", "internal",
)  # fmt: skip
"""Of one customer, target, model or job that has no answer while others have."""

OF_EVENTS = ("invalid_event", "unknown_customer", "customer_erased", "event_conflict", "event_refused")
REPORT_REFUSED: tuple[type[DecisionError], ...] = (
    UnknownDecision, CustomerErased, ReportConflict, DecisionError, IdempotencyConflict,
)  # fmt: skip
"""Why the ledger does not take one report while it takes others."""
OF_REPORTS = ("invalid_report", *(kind.code for kind in REPORT_REFUSED))

STATUS = {code: status for status, codes in OF_PROBLEMS.items() for code in codes}


def one_of(codes: Iterable[str]) -> Meta:
    """Of a field `code`: which there are today."""
    known = list(dict.fromkeys(codes))
    return Meta(description="Stable; more may come.", extra={"codes": known})
