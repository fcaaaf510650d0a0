"""What becomes of a loss: how urgent it is, since when, what may still be used, what to do. If these fail, an
operations lead is paged for what nobody can know, or is sent round in a circle."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec
import pytest
from alerting import SECRET, WEBHOOK, Days, SignedHttp, serving
from told_world import HORIZON, MOMENTS, World

from features.moments import DAY
from features.settings import Settings
from features.words import Words
from monitoring import measures, messages, report
from monitoring.asked import finding as finding_of
from monitoring.checks import CHECKS
from monitoring.findings import Finding
from monitoring.messages import Telling
from monitoring.outcomes import Figures, Held, Who
from monitoring.performance import Estimate, Estimated, Judged
from monitoring.retraining import Retrained, recommend
from serving.cards import ModelCard

OFF = {"level": -5.0}
WORSE = {"ranking": -5.0}


@pytest.fixture
def card(home: Settings, tmp_path: Path) -> ModelCard:
    return World(home, tmp_path, customers=10).release()


@pytest.fixture
def days(tmp_path: Path) -> Iterator[Days]:
    with serving(SignedHttp()) as hook:
        yield Days(tmp_path / "told", WEBHOOK.format(port=hook.port), {"hook": SECRET})


def judged(z: dict[str, float]) -> Judged:
    def of(name: str, against: float) -> Estimate:
        far = z.get(name, 0.0)
        return Estimate(against * (1 + far / 50), 0.02, against, far, alone=far, allowed=0.05)

    return Judged(5_000, 1_500, of("level", 1.0), of("slope", 1.0), of("ranking", 0.74), 2_000)


def weeks(*of: dict[str, float], on: tuple[Who, ...] = ("everyone",), days: int = HORIZON) -> list[Figures]:
    """A moment each, the first of week 20; the first of `on` decides, all are alike."""
    asks, told = Words("No order", "不下单"), Estimated(0.74, 0.5)
    return [
        Figures("churn_28d", "1", asks, (MOMENTS[20 + n],), days, HORIZON, False,
                dict.fromkeys(on, judged(z)), on[0], told)
        for n, z in enumerate(of)
    ]  # fmt: skip


def said(card: ModelCard, figures: list[Figures], name: str = "calibration") -> Finding:
    (check,) = [one for one in CHECKS if one.name == name]
    held = Held(card, tuple(figures), ())
    whats = ("calibration", "ranking") if name == "partial_labels" else (name,)
    reading = measures.came(held, whats, name == "partial_labels")  # type: ignore[arg-type]
    assert reading is not None
    return finding_of(check, "churn_28d", reading)


def day(week: int) -> date:
    return MOMENTS[week].date()


def test_without_a_holdout_by_lot_a_loss_is_a_warning_and_says_what_would_prove_it(card: ModelCard) -> None:
    """Else: somebody is woken at night by what contacts did to those whom they left over."""
    lost = said(card, weeks(OFF, OFF, OFF, on=("untreated", "treated")))
    assert (lost.value, lost.status) == (1, "warning")
    assert "Without a holdout by lot nobody can tell" in lost.words.en
    assert lost.advice is not None
    assert "`holdout` of `[[policy]]` in shop.toml" in lost.advice.en
    assert "`[[policy]]` 的 `holdout`" in lost.advice.zh
    assert recommend(card, weeks(OFF, OFF, on=("untreated", "treated")), {}, ()) is not None
    by_lot = said(card, weeks(OFF, OFF, on=("held_out", "treated")))
    assert by_lot.status == "page"
    assert by_lot.advice is not None
    assert "[[policy]]" not in by_lot.advice.en
    since = [*weeks(OFF, on=("untreated", "treated")), weeks(OFF, OFF, on=("held_out", "treated"))[1]]
    assert said(card, since).status == "warning", "one that is known of those held out by lot"
    (check,) = [one for one in CHECKS if one.name == "calibration"]
    assert "lot" in check.reason


def test_a_loss_that_goes_on_is_since_the_first_of_those_in_succession(card: ModelCard) -> None:
    """Else: every week the same loss began last week, and nobody sees how long it lasts."""
    holds: dict[str, float] = {}
    for more in range(3):
        assert said(card, weeks(holds, OFF, *[OFF] * more)).since == day(21)
    assert said(card, weeks(OFF, holds, OFF)).since == day(22)
    assert said(card, weeks(OFF, holds)).since is None
    assert said(card, weeks(OFF, OFF, days=9), "partial_labels").since == day(20)


def test_a_lost_calibration_leaves_the_order_and_page_and_message_say_so_alike(
    card: ModelCard, days: Days
) -> None:
    """Else: the page's bar says that answers can be used, and its advice not to budget by them."""
    early = {"partial_labels": weeks(OFF, days=9)}
    for name, figures in ({"calibration": weeks(OFF)} | early).items():
        one = said(card, figures, name)
        headline = report.headline([one])
        assert headline == Words(
            "Worth a look today; answers can be used to say who comes first, not for budgets.",
            "今天请查看；结果可用于排序，不宜用于预算。",
        )
    page = said(card, weeks(OFF, OFF))
    assert report.headline([page]).en == (
        "Act now; answers can be used to say who comes first, not for budgets."
    )
    told = [*days.day(one).messages, *days.day(page).messages]
    assert [message.kind for message in told] == ["firing", "firing"]
    for message in told:
        telling = msgspec.convert(json.loads(message.body)["data"], Telling)
        assert "scores: can be used to say who comes first, not for budgets\n" in messages.text(
            telling, ["en"]
        )
    both = replace(page, status="warning"), said(card, weeks(WORSE, WORSE), "ranking")
    assert report.headline(both).en.startswith("Act now; answers may be wrong until this is mended")
    for name, figures in (("ranking", weeks(WORSE)), ("partial_labels", weeks(WORSE, days=9))):
        assert report.headline([said(card, figures, name)]).en == "Worth a look today; answers can be used."
    mixed = said(card, weeks({**WORSE, **OFF}, {**WORSE, **OFF}, days=9), "partial_labels")
    assert "not for budgets" in report.headline([mixed]).en


def test_after_a_change_of_customers_the_advice_is_no_dead_end(card: ModelCard, days: Days) -> None:
    """Else: for weeks the page advises what was done last night, and the gate refused."""
    assert "--force" not in str(said(card, weeks(OFF)).advice), "one loss may be chance"
    earliest = f"{MOMENTS[20] + 2 * HORIZON * DAY:%Y-%m-%d}"
    lost = weeks(OFF, OFF)
    advice = said(card, lost).advice
    assert advice is not None
    assert f"can be judged on {earliest} at the earliest" in advice.en
    assert '`propensity promote churn_28d --force "REASON"`' in advice.en
    assert "`propensity promote churn_28d --force" in advice.zh
    due = recommend(card, lost, {}, ())
    assert due is not None
    assert due.finding.ranks_only
    objection = (Words("worse", "不如"),)
    refused = Retrained("churn_28d", Words("kept back", "未通过"), objections=objection, due=due).finding
    assert refused.ranks_only
    assert refused.advice is not None
    assert f"can be judged on {earliest} at the earliest" in refused.advice.en
    assert "where its probabilities are off, use its order alone" in refused.advice.en
    assert "仅使用其排序" in refused.advice.zh
    (message,) = days.day(said(card, lost), refused).messages
    assert "--retrain`" not in json.loads(message.body)["data"]["action"]["en"], "it was done, and refused"
    late = [replace(one, moments=(one.moment + n * 63 * DAY,)) for n, one in enumerate(lost)]
    assert "two horizons after the change at the earliest" in str(said(card, late).advice), "the day is past"
