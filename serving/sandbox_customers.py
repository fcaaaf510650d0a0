"""The customers that test keys are answered about: one a life cycle stage, one a way to go wrong.

To add one, add it to CUSTOMERS or FAULTS. Nothing here is of a real customer, and nothing of it changes.
Figures agree with each other, and every field of a profile is filled of somebody: tests hold both.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from features.errors import (
    DecisionError,
    FeatureError,
    FeaturesExpired,
    LogError,
    NoBuild,
    OnlineUnavailable,
    PropensityError,
    ReleaseCorrupt,
    ReleaseError,
    SettingsError,
)
from serving.admission import TOO_MUCH, refusal
from serving.problems import Problem, full_disk


@dataclass(frozen=True, kw_only=True)
class Example:
    """One customer. what: what a journey can try with it. row: what is known, by feature.

    risk: of no order within 28 days. alone: that risk by the orders alone, where what else is known says the
    contrary. Names of stage, tier, quadrant and churn reason are the segmentation's, and as its rules call
    such figures. since: days in that stage; None: there is no snapshot from before. consents: channel ->
    purpose -> granted; where nothing is said of a channel, marketing is granted. contacts: marketing messages
    of ten days ago. decided: one of them was decided here, and her last order came of it. merged: ids that
    became hers. unfit: targets whose release needs features that are not published. person: any loss is too
    much for the policy: a person decides.
    """

    what: str
    stage: str
    risk: float
    row: Mapping[str, float]
    since: int | None = None
    alone: float | None = None
    tier: str | None = None
    rfm: tuple[int, int, int] = (1, 1, 1)
    quadrant: str | None = None
    churn_reason: str | None = None
    stale: bool = False
    unfit: tuple[str, ...] = ()
    outside: bool = False
    holdout: bool = False
    complaint: bool = False
    person: bool = False
    contacts: int = 0
    decided: bool = False
    merged: tuple[str, ...] = ()
    consents: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)


CONTACTED = 10  # days ago, of `contacts`


def _buyer(days: float, orders: int, gap: float, spend: float, **more: float) -> dict[str, float]:
    """Somebody with so many orders, all within a year: the last one `days` ago, one each `gap` days."""
    ago = [days + gap * n for n in range(orders)]
    told = {
        "days_since_order": days, "orders_365d": orders, "orders_90d": sum(day <= 90 for day in ago),
        "orders_30d": sum(day <= 30 for day in ago), "order_days_365d": orders, "spend_365d": spend,
        "order_value_365d": spend / orders, "tenure": ago[-1], "open_complaints": 0, "contacts_30d": 0,
        "contacts_90d": 0, **more,
    }  # fmt: skip
    if orders > 1:
        told |= {"gap_median": gap, "gap_mean": gap, "overdue": days / gap}
    return {name: float(value) for name, value in told.items()}


_NONE = {
    "orders_365d": 0.0, "orders_90d": 0.0, "order_days_365d": 0.0, "spend_365d": 0.0, "open_complaints": 0.0,
}  # fmt: skip
_REGULAR, _FRUGAL = _buyer(4, 26, 11, 1560), _buyer(4, 26, 11, 650)
_ANSWERED = {
    "days_since_contact": float(CONTACTED), "contacts_30d": 1.0, "contacts_90d": 3.0,
    "answered_contacts_90d": 2.0, "unanswered_contacts_90d": 1.0, "response_rate": 0.4,
    "days_since_answer": 4.0, "answer_hour_365d": 20.0, "preferred_hour_365d": 19.0, "groups": 1.0,
    "silence": 4.0, "visits_30d": 6.0,
}  # fmt: skip

CUSTOMERS: Mapping[str, Example] = {
    "test-contact": Example(
        what="known, without an order or a visit", stage="contact", risk=0.95, row=_NONE, outside=True,
    ),
    "test-awareness": Example(
        what="has visited, never bought", stage="awareness", risk=0.93, since=6, outside=True,
        row=_NONE | {"visits_30d": 1.0, "active_days_365d": 1.0, "silence": 6.0},
    ),
    "test-interest": Example(
        what="has goods in the cart, never bought", stage="interest", risk=0.85, since=8, outside=True,
        row=_NONE | {"visits_30d": 5.0, "silence": 1.0, "carts_30d": 2.0, "carts_90d": 2.0},
    ),
    "test-purchase": Example(
        what="has bought once, lately", stage="purchase", risk=0.61, since=3, tier="new", rfm=(5, 1, 2),
        quadrant="rising", row=_buyer(3, 1, 30, 45),
    ),
    "test-use": Example(
        what="has bought again, without a rhythm", stage="use", risk=0.48, since=42, tier="promising",
        rfm=(4, 2, 3), quadrant="rising", row=_buyer(12, 3, 30, 195),
    ),
    "test-maintenance": Example(
        what="buys in a steady rhythm", stage="maintenance", risk=0.08, since=240, tier="champions",
        rfm=(5, 5, 5), quadrant="core", row=_REGULAR,
    ),
    "test-exit": Example(
        what="silent for far longer than usual, after a complaint", stage="exit", risk=0.91, since=14,
        tier="at_risk", rfm=(1, 4, 4), quadrant="fading", churn_reason="complaint",
        row=_buyer(120, 12, 21, 720, complaints_365d=1, cases_ever=1, open_cases=0, days_since_complaint=122),
    ),
    "test-stale": Example(
        what="the features are older than the limit: `stale` is true", stage="maintenance", risk=0.08,
        tier="champions", rfm=(5, 5, 5), quadrant="core", row=_REGULAR, stale=True,
    ),
    "test-no-consent": Example(
        what="has refused marketing on every channel: nothing is decided", stage="maintenance", risk=0.08,
        tier="loyal", rfm=(5, 5, 3), quadrant="core", row=_FRUGAL, consents={"all": {"marketing": False}},
    ),
    "test-no-automation": Example(
        what="refuses automated decisions: a person decides", stage="maintenance", risk=0.08, tier="loyal",
        rfm=(5, 5, 3), quadrant="core", row=_FRUGAL, consents={"all": {"automation": False}},
    ),
    "test-person": Example(
        what="what is decided is for a person: `may_send` is false until it is asked with `approved=true`",
        stage="maintenance", risk=0.08, tier="champions", rfm=(5, 5, 5), quadrant="core", row=_REGULAR,
        person=True,
    ),
    "test-complaint": Example(
        what="has an open complaint: marketing is frozen, and the date of the next order, which is told by "
        "the orders alone, is `contradicted_by` the scores",
        stage="use", risk=0.72, alone=0.4, since=40, tier="attention", rfm=(3, 2, 3), quadrant="rising",
        complaint=True,
        row=_buyer(
            20, 3, 25, 180, open_complaints=1, complaints_365d=1, days_since_complaint=5, open_cases=1,
            cases_ever=2, return_share_365d=1 / 3, last_satisfaction=2, last_nps=4,
        ),
    ),
    "test-capped": Example(
        what="was contacted as often as the policy allows", stage="maintenance", risk=0.2, tier="loyal",
        rfm=(5, 5, 3), quadrant="core", contacts=9,
        row=_FRUGAL | {
            "days_since_contact": float(CONTACTED), "last_contact_channel": 6.0, "contacts_30d": 9.0,
            "contacts_90d": 9.0, "answered_contacts_90d": 0.0, "unanswered_contacts_90d": 9.0,
            "response_rate": 0.0,
        },
    ),
    "test-decided": Example(
        what="was decided about and contacted ten days ago, and has ordered since: `decision` tells of both",
        stage="maintenance", risk=0.08, since=180, tier="champions", rfm=(5, 5, 5), quadrant="core",
        row=_REGULAR | _ANSWERED, contacts=1, decided=True,
    ),
    "test-canonical": Example(
        what="was two: `test-merged` became this id, and who asks by that one is answered about this one",
        stage="maintenance", risk=0.08, since=180, tier="champions", rfm=(5, 5, 5), quadrant="core",
        row=_REGULAR, merged=("test-merged",),
    ),
    "test-holdout": Example(
        what="belongs to the holdout that marketing never contacts", stage="maintenance", risk=0.2,
        tier="loyal", rfm=(5, 5, 3), quadrant="core", row=_FRUGAL, holdout=True,
    ),
    "test-not-due": Example(
        what="409 `not_due` where a decision names a scenario; a preview shows one", stage="maintenance",
        risk=0.08, tier="champions", rfm=(5, 5, 5), quadrant="core", row=_REGULAR,
    ),
    "test-mismatch": Example(
        what="`feature_mismatch` of one target and, with 503, of a decision; the other target is answered",
        stage="maintenance", risk=0.08, tier="champions", rfm=(5, 5, 5), quadrant="core", row=_REGULAR,
        unfit=("churn_28d",),
    ),
}  # fmt: skip

MERGED: Mapping[str, str] = {other: id for id, one in CUSTOMERS.items() for other in one.merged}
"""An id that became another customer's -> hers."""


ERASED, OLD_KEY = "test-erased", "test-old-key"
"""Who was erased, and the idempotency key of a decision that was taken before."""


class Fault(NamedTuple):
    """One thing that is away. what: what a request gets that names the customer, where it needs one of `of`:
    the published rows, the segments, the ledger, the inbox, room on the disk (jobs, erasures). make: how that
    is made."""

    what: str
    make: Callable[[], Exception]
    of: tuple[Literal["rows", "segments", "ledger", "inbox", "disk"], ...]


def _expired() -> PropensityError:
    return FeaturesExpired(
        "the published features are 20 days old, limit 14: run `propensity features build`"
    )


REFUSED = "test-refused"
_ALL: Any = ("rows", "ledger", "inbox")
FAULTS: Mapping[str, Fault] = {
    "test-expired": Fault("503 `features_expired`: nothing was built for too long", _expired, ("rows",)),
    "test-unbuilt": Fault(
        "503 `no_build`: nothing is published yet",
        lambda: NoBuild("nothing is published: run `propensity features build`"), ("rows",),
    ),
    "test-unavailable": Fault(
        "503 `online_unavailable` with Retry-After: the store is away",
        lambda: OnlineUnavailable("the store of the online rows does not answer"), ("rows",),
    ),
    "test-unreadable": Fault(
        "503 `feature`: the published rows cannot be read",
        lambda: FeatureError("the published rows are damaged: run `propensity features build`"), ("rows",),
    ),
    "test-unreleased": Fault(
        "503 `no_release`: nothing is released yet",
        lambda: ReleaseError("no target is released: run `propensity train`, then `propensity promote`"),
        ("rows",),
    ),
    "test-corrupt": Fault(
        "503 `release_corrupt`: the release is damaged, and none before it answers",
        lambda: ReleaseCorrupt("the release is not as it was published: promote it again"), ("rows",),
    ),
    "test-misconfigured": Fault(
        "503 `settings`: the shop is declared wrongly",
        lambda: SettingsError("the shop's declaration cannot be used: `propensity check` says where"), _ALL,
    ),
    "test-unsegmented": Fault(
        "the `segments` of a profile say `no_build`: what is published was not segmented yet",
        lambda: NoBuild("nobody was segmented with what is published: the next build does it"), ("segments",),
    ),
    "test-full": Fault(
        "503 `storage` with Retry-After of a job or an erasure: the disk is full", full_disk, ("disk",)
    ),
    REFUSED: Fault(
        "`event_refused` in the entry of an event: the log did not take it",
        lambda: AssertionError("of an entry alone"), (),
    ),
    "test-undecided": Fault(
        "503 `decision` of a decision, and the `decision` of a profile says so: the ledger is away",
        lambda: DecisionError("the ledger is away: no decision is taken that is not kept, and none is read"),
        ("ledger",),
    ),
    "test-unlogged": Fault(
        "503 `log` of an event: the inbox cannot be written",
        lambda: LogError("the inbox cannot be written: nothing of this request was kept"), ("inbox",),
    ),
    "test-limited": Fault(
        "429 `rate_limited` with Retry-After",
        lambda: refusal("rate_limited", "this client may send 1 requests a second", 1), _ALL,
    ),
    "test-busy": Fault(
        "429 `overloaded` with Retry-After", lambda: refusal("overloaded", TOO_MUCH, 1), _ALL
    ),
    "test-fault": Fault(
        "500 `internal`", lambda: Problem(500, "internal", "this is what a fault looks like"), _ALL
    ),
}  # fmt: skip
"""Customers who stand for a fault; where nothing of theirs is needed, they buy in a steady rhythm."""


def fail(id: str, of: str) -> None:
    """The fault that the customer stands for, if it is one of what is needed here."""
    fault = FAULTS.get(id)
    if fault is not None and of in fault.of:
        raise fault.make()


def told() -> str:
    """All of them, a line each, for the document."""
    of = {id: one.what for id, one in CUSTOMERS.items()} | {id: one.what for id, one in FAULTS.items()}
    of[ERASED] = _ERASED
    return "\n".join(f"* `{id}`: {what}" for id, what in of.items())


_ERASED = (
    "nobody knows this id any more; an event of it is `customer_erased`, and so are (410) a decision under "
    f"the idempotency key `{OLD_KEY}`, and GET of the decision `{ERASED}`"
)
