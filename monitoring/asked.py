"""What a check says of one subject, as a finding. A shop's own check that fails is a finding too, and stands
in the way of no other."""

from collections.abc import Iterable
from typing import Any

from features.shop import Shop
from features.words import Words, passage
from monitoring.checks import CHECKS, NEVER, RUNS, Check, Reading
from monitoring.evidence import ShopEvidence
from monitoring.findings import Finding

SHOP = "log"  # the subject of what is asked of the shop
_RUNS = Words("runs", "运行正常")
_MEND = Words(
    "Correct the check in shop.py, then `propensity monitor run`; all other checks were judged.",
    "请修正shop.py中的该检查，然后运行 `propensity monitor run`；其余检查均已判断。",
)


def ask(check: Check, subject: str, evidence: Any, shop: Shop) -> Finding:
    """What a check says of a subject; of a shop's own that raises, or gives no Reading, that it is broken.

    evidence: what the check measures. One of ours that raises is our fault, and ends the run.
    """
    try:
        reading = check.measure(evidence)
        if not isinstance(reading, Reading) or not isinstance(reading.words, Words):
            gives = "it gives no Reading with Words", "未返回带Words的Reading"
            return _broken(check, *gives, shop.place(check.name, "CHECKS"))
        return finding(check, subject, reading)
    except (Exception, SystemExit) as error:  # whatever a shop's own code raises
        if check in CHECKS:
            raise
        # the error's text may hold values of customers, its type does not
        kind = type(error).__name__
        return _broken(check, kind, kind, shop.raised(error) or shop.place(check.name, "CHECKS"))


def ask_of_shop(checks: Iterable[Check], evidence: ShopEvidence, shop: Shop) -> list[Finding]:
    """What those say that are asked of the shop, of its tables and of its indicators."""
    asked = list(checks)
    found = [ask(check, SHOP, evidence, shop) for check in asked if check.of == "shop"]
    for check in (check for check in asked if check.of == "table"):
        found += [ask(check, table, (evidence, table), shop) for table in evidence.tables]
    for check in (check for check in asked if check.of == "indicator"):
        each = enumerate(evidence.indicators.subjects)
        found += [ask(check, subject.name, (evidence, place), shop) for place, subject in each]
    return found


def finding(check: Check, subject: str, reading: Reading) -> Finding:
    """A fault of the log's tables is one topic in all that it shows in; else each subject is its own."""
    topic = reading.topic or ("freshness" if check.name == "freshness" else subject)
    return Finding(
        subject=subject,
        check=check.name,
        status=check.status(reading.value),
        value=float(reading.value),
        limit=check.warning,
        words=reading.words,
        owner=check.owner,
        topic=topic,
        advice=passage([reading.advice or check.advice, *reading.also]),
        cause=reading.cause,
        contributors=reading.contributors,
        since=reading.since,
        better=reading.better,
        page=check.page if check.page < NEVER else None,
        ranks_only=reading.ranks_only,
        of=check.of,
        asks=check.words,
    )


def with_own(findings: Iterable[Finding], own: Iterable[Check]) -> list[Finding]:
    """The findings; and whether each of the shop's own checks that was asked runs, once for all subjects."""
    said = [one for one in findings if one.check != RUNS]
    broken = {one.subject: one for one in findings if one.check == RUNS}
    answered = {one.check for one in said}
    asked = (check for check in own if check.name in broken or check.name in answered)
    return [*said, *(broken.get(check.name) or _runs(check) for check in asked)]


def _runs(check: Check) -> Finding:
    return Finding(
        subject=check.name, check=RUNS, status="ok", value=0.0, limit=1.0, words=_RUNS, owner=check.owner,
        topic=f"check {check.name}", of="shop", asks=check.words,
    )  # fmt: skip


def _broken(check: Check, what: str, what_zh: str, place: str) -> Finding:
    return Finding(
        subject=check.name, check=RUNS, status="warning", value=1.0, limit=1.0,
        words=Words(
            f"the shop's own check {check.name} is broken, and says nothing: {what} ({place})",
            f"门店自定义检查{check.name}出错，未作判断：{what_zh}（{place}）",
        ),
        owner=check.owner, topic=f"check {check.name}", advice=_MEND,
        of="shop", asks=check.words,
    )  # fmt: skip
