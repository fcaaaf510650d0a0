"""The customers that test keys are answered about: one a life cycle stage, one a way to go wrong.

To add one, add it to CUSTOMERS or FAULTS. Nothing here is of a real customer, and nothing of it changes.
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

    risk: of no order within 28 days. value: expected profit of a year. Names of stage, tier, quadrant and
    churn reason are the segmentation's. consents: channel -> purpose -> granted; where nothing is said of a
    channel, marketing is granted. contacts: marketing messages of ten days ago. merged: ids that became
    hers. unfit: targets whose release needs features that are not published. person: any loss is too much
    for the policy: a person decides.
    """

    what: str
    stage: str
    risk: float
    value: float
    row: Mapping[str, float]
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
    merged: tuple[str, ...] = ()
    consents: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)


def _buyer(days: float, orders: float, gap: float, spend: float, **more: float) -> dict[str, float]:
    """Somebody with so many orders in a year, the last one `days` ago."""
    return {
        "days_since_order": days, "orders_365d": orders, "orders_90d": float(round(orders / 4)),
        "orders_30d": float(round(orders / 12)), "order_days_365d": orders, "spend_365d": spend,
        "order_value_365d": spend / orders, "gap_median": gap, "overdue": days / gap, "tenure": 400.0,
        "open_complaints": 0.0, "contacts_30d": 0.0, "contacts_90d": 0.0, **more,
    }  # fmt: skip


_NONE = {"orders_365d": 0.0, "orders_90d": 0.0, "spend_365d": 0.0, "open_complaints": 0.0}
_REGULAR = _buyer(4.0, 26.0, 13.0, 1560.0)

CUSTOMERS: Mapping[str, Example] = {
    "test-contact": Example(
        what="known, without an order or a visit", stage="contact", risk=0.95, value=0.0, row=dict(_NONE),
        outside=True,
    ),
    "test-awareness": Example(
        what="has visited, never bought", stage="awareness", risk=0.93, value=0.0,
        row=_NONE | {"visits_30d": 1.0, "silence": 6.0}, outside=True,
    ),
    "test-interest": Example(
        what="has goods in the cart, never bought", stage="interest", risk=0.85, value=0.0,
        row=_NONE | {"visits_30d": 5.0, "silence": 1.0, "carts_30d": 2.0}, outside=True,
    ),
    "test-purchase": Example(
        what="has bought once, lately", stage="purchase", risk=0.61, value=38.0, tier="new", rfm=(5, 1, 2),
        quadrant="rising", row=_buyer(3.0, 1.0, 30.0, 45.0),
    ),
    "test-use": Example(
        what="has bought again, without a rhythm", stage="use", risk=0.48, value=95.0, tier="promising",
        rfm=(4, 2, 3), quadrant="rising", row=_buyer(12.0, 4.0, 60.0, 260.0),
    ),
    "test-maintenance": Example(
        what="buys in a steady rhythm", stage="maintenance", risk=0.08, value=420.0, tier="champions",
        rfm=(5, 5, 5), quadrant="core", row=_REGULAR,
    ),
    "test-exit": Example(
        what="silent for far longer than usual, after a complaint", stage="exit", risk=0.91, value=31.0,
        tier="at_risk", rfm=(1, 4, 4), quadrant="fading", churn_reason="complaint",
        row=_buyer(120.0, 12.0, 21.0, 720.0, complaints_365d=1.0),
    ),
    "test-stale": Example(
        what="the features are older than the limit: `stale` is true", stage="maintenance", risk=0.08,
        value=420.0, tier="champions", rfm=(5, 5, 5), quadrant="core", row=_REGULAR, stale=True,
    ),
    "test-no-consent": Example(
        what="has refused marketing on every channel: nothing is decided", stage="maintenance", risk=0.08,
        value=420.0, tier="loyal", rfm=(4, 5, 4), quadrant="core", row=_REGULAR,
        consents={"all": {"marketing": False}},
    ),
    "test-no-automation": Example(
        what="refuses automated decisions: a person decides", stage="maintenance", risk=0.08, value=420.0,
        tier="loyal", rfm=(4, 5, 4), quadrant="core", row=_REGULAR,
        consents={"all": {"automation": False}},
    ),
    "test-person": Example(
        what="what is decided is for a person: `may_send` is false until it is asked with `approved=true`",
        stage="maintenance", risk=0.08, value=420.0, tier="champions", rfm=(5, 5, 5), quadrant="core",
        row=_REGULAR, person=True,
    ),
    "test-complaint": Example(
        what="has an open complaint: marketing is frozen", stage="use", risk=0.55, value=120.0,
        tier="attention", rfm=(3, 3, 3), quadrant="core", complaint=True,
        row=_buyer(20.0, 8.0, 30.0, 480.0) | {"open_complaints": 1.0, "complaints_365d": 1.0},
    ),
    "test-capped": Example(
        what="was contacted as often as the policy allows", stage="maintenance", risk=0.2, value=300.0,
        tier="loyal", rfm=(4, 4, 4), quadrant="core", row=_REGULAR | {"contacts_30d": 9.0}, contacts=9,
    ),
    "test-canonical": Example(
        what="was two: `test-merged` became this id, and who asks by that one is answered about this one",
        stage="maintenance", risk=0.08, value=420.0, tier="champions", rfm=(5, 5, 5), quadrant="core",
        row=_REGULAR, merged=("test-merged",),
    ),
    "test-holdout": Example(
        what="belongs to the holdout that marketing never contacts", stage="maintenance", risk=0.2,
        value=300.0, tier="loyal", rfm=(4, 4, 4), quadrant="core", row=_REGULAR, holdout=True,
    ),
    "test-not-due": Example(
        what="409 `not_due` where a decision names a scenario; a preview shows one", stage="maintenance",
        risk=0.08, value=420.0, tier="champions", rfm=(5, 5, 5), quadrant="core", row=_REGULAR,
    ),
    "test-mismatch": Example(
        what="`feature_mismatch` of one target and, with 503, of a decision; the other target is answered",
        stage="maintenance", risk=0.08, value=420.0, tier="champions", rfm=(5, 5, 5), quadrant="core",
        row=_REGULAR, unfit=("churn_28d",),
    ),
}  # fmt: skip

MERGED: Mapping[str, str] = {other: id for id, one in CUSTOMERS.items() for other in one.merged}
"""An id that became another customer's -> hers."""


ERASED, OLD_KEY = "test-erased", "test-old-key"
"""Who was erased, and the idempotency key of a decision that was taken before."""


class Fault(NamedTuple):
    """One thing that is away. what: what a request gets that names the customer, where it needs one of `of`:
    the published rows, the ledger, the inbox, room on the disk (jobs, erasures). make: how that is made."""

    what: str
    make: Callable[[], Exception]
    of: tuple[Literal["rows", "ledger", "inbox", "disk"], ...]


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
    "test-full": Fault(
        "503 `storage` with Retry-After of a job or an erasure: the disk is full", full_disk, ("disk",)
    ),
    REFUSED: Fault(
        "`event_refused` in the entry of an event: the log did not take it",
        lambda: AssertionError("of an entry alone"), (),
    ),
    "test-undecided": Fault(
        "503 `decision` of a decision: the ledger cannot be written",
        lambda: DecisionError("the ledger cannot be written: no decision is taken that is not kept"),
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


def told() -> str:
    """All of them, a line each, for the document."""
    of = {id: one.what for id, one in CUSTOMERS.items()} | {id: one.what for id, one in FAULTS.items()}
    of[ERASED] = _ERASED
    return "\n".join(f"* `{id}`: {what}" for id, what in of.items())


_ERASED = (
    "nobody knows this id any more; an event of it is `customer_erased`, and so are (410) a decision under "
    f"the idempotency key `{OLD_KEY}`, and GET of the decision `{ERASED}`"
)
