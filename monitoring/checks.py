"""Every check, declared once: what it measures, from when on it warns or pages, and why from there.

To add one, add it to CHECKS (or to CHECKS in a shop's shop.py): `propensity monitor run`, its verdict
and the tests pick it up by themselves.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from features.errors import UsageError
from features.words import Words
from monitoring.baseline import Drift, Evidence

Status = Literal["ok", "warning", "page"]
STATUSES: tuple[Status, ...] = ("ok", "warning", "page")  # from harmless to urgent


@dataclass(frozen=True)
class Reading:
    """What a check measured; higher is worse. words: the figure in a sentence."""

    value: float
    words: Words


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question asked of every release. `warning` and `page`: the values from which on it says so."""

    name: str
    words: Words
    warning: float
    page: float
    reason: str  # why these two values
    measure: Callable[[Evidence], Reading]

    def __post_init__(self) -> None:
        if not self.warning <= self.page or not self.reason:
            raise UsageError(
                f"check {self.name}: give a warning that is not above page, and the reason for both"
            )

    def status(self, value: float) -> Status:
        """NaN pages: a figure that cannot be computed is no good news."""
        if not value < self.page:
            return "page"
        return "warning" if value >= self.warning else "ok"


def by_name(own: Iterable[Check] = ()) -> dict[str, Check]:
    """Built-in checks and a shop's own. UsageError for a name twice."""
    checks: dict[str, Check] = {}
    for check in (*CHECKS, *own):
        if check.name in checks:
            raise UsageError(f"check {check.name} is declared twice: give one of them another name")
        checks[check.name] = check
    return checks


def _freshness(evidence: Evidence) -> Reading:
    days = evidence.age.total_seconds() / 86_400
    level = (evidence.age > evidence.stale_after) + (evidence.age > evidence.expire_after)
    return Reading(level, Words(f"features are {days:.1f} days old", f"特征已有{days:.1f}天未更新"))


def _population(evidence: Evidence) -> Reading:
    now, least, most = evidence.members, min(evidence.members_then), max(evidence.members_then)
    factor = max(least / now, now / most) if now else float("inf")
    return Reading(
        factor,
        Words(
            f"{now:,} customers to speak of, {least:,} to {most:,} in training",
            f"目标客群{now:,}人，训练时为{least:,}至{most:,}人",
        ),
    )


def _features(evidence: Evidence) -> Reading:
    counted = [drift for drift in evidence.features if not drift.filling]
    drifted = sorted((d for d in counted if d.drifted), key=_excess, reverse=True)
    share = len(drifted) / len(counted) if counted else 0.0
    first = ", ".join(drift.name for drift in drifted[:3])
    most_en, most_zh = (f", most of all {first}", f"，最明显的是{first}") if first else ("", "")
    return Reading(
        share,
        Words(
            f"{len(drifted)} of {len(counted)} features drifted{most_en}",
            f"{len(counted)}个特征中有{len(drifted)}个漂移{most_zh}",
        ),
    )


def _excess(drift: Drift) -> float:
    return drift.psi / drift.limit


def _predictions(evidence: Evidence) -> Reading:
    value = evidence.prediction_psi
    return Reading(value, Words(f"predictions differ by PSI {value:.2f}", f"预测分布PSI为{value:.2f}"))


CHECKS: tuple[Check, ...] = (
    Check(
        name="freshness",
        words=Words("Age of the published features", "已发布特征的时效"),
        warning=1,
        page=2,
        reason="1: answers say `stale` (PROPENSITY_STALE_HOURS); "
        "2: nobody is answered (PROPENSITY_EXPIRE_DAYS)",
        measure=_freshness,
    ),
    Check(
        name="population",
        words=Words("Customers in the target's population, against training", "目标客群规模与训练期之比"),
        warning=1.25,
        page=2,
        reason="weekly snapshots of a steady shop stay within a tenth; twice or half is a broken source",
        measure=_population,
    ),
    Check(
        name="features",
        words=Words("Share of features that drifted", "漂移特征占比"),
        warning=0.1,
        page=0.5,
        reason="features are correlated and a hundred are looked at, so a few exceed by chance; "
        "half of them do not: that is a broken source or another shop",
        measure=_features,
    ),
    Check(
        name="predictions",
        words=Words(
            "Shift of the predictions since the model was judged (PSI)", "预测分布相对评估时的偏移（PSI）"
        ),
        warning=0.1,
        page=0.25,
        reason="the convention of credit scoring: from .1 look; from .25 the figures it was judged by no "
        "longer describe whom it speaks of",
        measure=_predictions,
    ),
)
