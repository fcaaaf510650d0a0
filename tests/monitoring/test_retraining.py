"""Whether to train again. If these fail, a good model is thrown away, a lost one kept, or one learns from a
fault."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from alerting import SECRET, WEBHOOK, Days, SignedHttp, serving
from told_world import HORIZON, MOMENTS, World

from features.moments import DAY
from features.settings import Settings
from features.words import Words
from monitoring.evidence import weeks_in_force
from monitoring.findings import Finding, Status
from monitoring.outcomes import Figures, Who
from monitoring.performance import Estimate, Estimated, Judged
from monitoring.retraining import Recommendation, Retrained, not_needed, recommend
from serving.cards import ModelCard

HOLDS, LOW, STEEP, WORSE = {}, {"level": -5.0}, {"slope": -4.0}, {"ranking": -4.0}
Z = dict[str, float]


@pytest.fixture
def card(home: Settings, tmp_path: Path) -> ModelCard:
    return World(home, tmp_path, customers=10).release()


def judged(z: Z, rows: int = 5_000) -> Judged:
    def of(name: str, against: float) -> Estimate:
        distance = z.get(name, 0.0)
        return Estimate(against * (1 + distance / 50), 0.02, against, distance)

    return Judged(rows, rows // 3, of("level", 1.0), of("slope", 1.0), of("ranking", 0.74), 2_000)


def figures(week: int, on: Who = "everyone", days: int = HORIZON, **groups: Judged) -> Figures:
    asked, told = Words("No order", "不下单"), Estimated(0.74, 0.5)
    return Figures("churn_28d", "1", asked, (MOMENTS[week],), days, HORIZON, False, groups, on, told)  # type: ignore[arg-type]


def weeks(*of: Z, days: int = HORIZON) -> list[Figures]:
    return [figures(20 + n, days=days, everyone=judged(z)) for n, z in enumerate(of)]


def whys(card: ModelCard, found: list[Figures]) -> set[str]:
    advice = recommend(card, found, {}, ())
    return set() if advice is None else {reason.why for reason in advice.reasons}


def test_two_successive_verdicts_of_one_label_recommend_and_one_does_not(card: ModelCard) -> None:
    """Else: a week like no other costs a night of training, or a loss is waited out."""
    assert whys(card, weeks(HOLDS, LOW)) == set()
    assert whys(card, weeks(LOW, HOLDS)) == set(), "it has come back"
    assert whys(card, weeks(HOLDS, LOW, LOW)) == {"calibration"}
    assert whys(card, weeks(WORSE, WORSE, days=9)) == {"ranking"}
    assert whys(card, [*weeks(LOW), *weeks(LOW, days=9)]) == set(), "two labels of one week are one week"
    assert whys(card, weeks(LOW, {"level": 5.0})) == set(), "to and fro is no loss"
    other = [replace(one, version="0") for one in weeks(LOW, LOW)]
    assert whys(card, other) == set(), "the version before is not in force any more"


def test_the_reason_says_by_what_and_of_whom(card: ModelCard) -> None:
    """Else: whoever is woken cannot say why."""
    advice = recommend(card, weeks({**LOW, **STEEP}, {**LOW, **STEEP}), {}, ())
    assert advice is not None
    assert advice.words.en == (
        "train it again: its probabilities are off, by what came within 28 days of 2017-10-22 and "
        "2017-10-29, of everyone, for hardly anybody was contacted: observed/expected 0.90 [0.86, 0.94], "
        "slope 0.92 where 1.00 is right. The gate decides whether the new version is better."
    )
    assert "建议重新训练：其概率水平已失准，依据2017-10-22、2017-10-29之后28天的结果" in advice.words.zh


def test_the_contacted_alone_never_recommend(card: ModelCard) -> None:
    """Else: the better the coupons, the sooner the model is trained on what they bent."""
    lost, fine = judged({**LOW, **WORSE}), judged(HOLDS)
    held = {"everyone": lost, "held_out": fine, "untreated": fine, "treated": lost}
    assert whys(card, [figures(week, "held_out", **held) for week in (20, 21)]) == set()
    none = {"everyone": lost, "untreated": fine, "treated": lost}
    assert whys(card, [figures(week, "untreated", **none) for week in (20, 21)]) == set()
    chosen = {"everyone": fine, "untreated": lost, "treated": judged({"level": 5.0})}
    assert whys(card, [figures(week, "untreated", **chosen) for week in (20, 21)]) == set(), (
        "whom contacts choose moves those left alone the other way"
    )
    both = {"everyone": lost, "untreated": lost, "treated": lost}
    advice = recommend(card, [figures(week, "untreated", **both) for week in (20, 21)], {}, ())
    assert advice is not None
    assert "and of the contacted alike" in advice.words.en
    proven = {"everyone": fine, "held_out": lost, "untreated": fine, "treated": fine}
    assert whys(card, [figures(week, "held_out", **proven) for week in (20, 21)]) == {
        "calibration",
        "ranking",
    }


def fault(topic: str = "data", status: Status = "page") -> Finding:
    return Finding(
        subject="log", check="rows", status=status, value=2.0, limit=1.5, owner="data", topic=topic,
        words=Words("orders are there twice", "订单重复"),
    )  # fmt: skip


def test_faults_of_the_data_block_it_and_are_named(card: ModelCard) -> None:
    """Else: the new model learns from a table that was there twice."""
    lost = weeks(LOW, LOW)
    blocked = recommend(card, lost, {}, [fault()])
    assert blocked is not None
    assert [one.subject for one in blocked.blocked] == ["log"]
    assert "not on faulty data: mend this first: orders are there twice" in blocked.words.en
    assert "请先修复：订单重复" in blocked.words.zh
    for harmless in (fault(status="ok"), fault(topic="churn_28d")):
        advice = recommend(card, lost, {}, [harmless])
        assert advice is not None
        assert not advice.blocked
    assert recommend(card, weeks(HOLDS, HOLDS), {}, [fault()]) is None, "there is nothing to block"


def test_important_features_must_drift_for_a_fortnight_day_by_day(card: ModelCard) -> None:
    """Else: a promotion's week, or a feature that hardly counts, trains a model."""
    from msgspec.structs import replace as changed

    card = changed(card, importance={"overdue": 0.5, "orders_90d": 0.4, "tenure": 0.1})

    def days(count: int, *names: str, but: int = -1) -> dict[date, set[str]]:
        first = date(2017, 12, 1)
        return {first + timedelta(n): set() if n == but else set(names) for n in range(count)}

    assert recommend(card, [], days(14, "overdue"), ()) is None
    advice = recommend(card, [], days(15, "overdue", "tenure"), ())
    assert advice is not None
    assert "features that carry 60% of it have drifted for 14 days: overdue, tenure" in advice.words.en
    assert recommend(card, [], days(15, "tenure"), ()) is None
    assert recommend(card, [], days(15, "overdue", but=7), ()) is None, "it was back within the fortnight"
    assert recommend(card, [], days(30, "overdue", but=7), ()) is not None


def test_what_drifted_under_the_version_before_is_no_reason_to_train_its_successor(
    home: Settings, tmp_path: Path
) -> None:
    """Else: a model that was trained last week for what had changed is to be trained again, every night."""
    world = World(home, tmp_path, customers=10)
    first = world.release("1")
    monday = world.settings.now() + 35 * DAY
    weeks = [monday - 7 * back * DAY for back in range(4)]
    assert weeks_in_force(world.settings, first, monday) == weeks
    assert weeks_in_force(world.settings, first, world.settings.now()), "what was before the first counts"
    world.settings = replace(world.settings, as_of=monday - 10 * DAY)
    second = world.release("2")
    assert weeks_in_force(world.settings, second, monday) == weeks[:2]


def test_whoever_reads_messages_alone_hears_each_thing_that_becomes_of_it_once(
    card: ModelCard, tmp_path: Path
) -> None:
    """Else: a model is kept back by the gate night after night, or replaced, and only a log file knows; or
    the same is told every morning until nobody reads it."""

    def due(*findings: Finding) -> Recommendation:
        advice = recommend(card, weeks(LOW, LOW), {}, findings)
        assert advice is not None
        return advice

    back = Words("it is worse than what is in force", "不如在用版本")
    refused = Retrained("churn_28d", Words("the gate keeps version 2 back", "未通过"), objections=(back,))
    released = Retrained("churn_28d", Words("version 3 is released", "已发布"), promoted=True)
    column = replace(fault(), advice=Words("Have the file sent again.", "请重新送达。"))
    with serving(SignedHttp()) as hook:
        days = Days(tmp_path / "told", WEBHOOK.format(port=hook.port), {"hook": SECRET})
        nights = [
            [due().finding], [due(column).finding], [due(column).finding],
            [due().finding, refused.finding], [due().finding, refused.finding],
            [due().finding, released.finding], [not_needed("churn_28d")], [not_needed("churn_28d")],
        ]  # fmt: skip
        for night in nights:
            for finding in night:  # before it is trained, and after
                days.day(finding, days=0)
            days.day(night[-1], days=1)
        told = [body["data"] for body in hook.bodies()]
    assert [(one["kind"], [alert["stage"] for alert in one["alerts"]]) for one in told] == [
        ("firing", [""]), ("changed", ["blocked"]), ("changed", ["refused"]), ("changed", ["released"]),
        ("resolved", ["released"]),
    ]  # fmt: skip
    assert {one["owner"] for one in told} == {"models"}
    assert told[2]["title"] == {
        "en": "[warning, news of it] churn_28d: the gate keeps version 2 back",
        "zh": "【警告，最新进展】churn_28d：未通过",
    }
    assert told[1]["action"]["en"].startswith("Have the file sent again. Then `propensity monitor run --ret")
    assert "`propensity models card churn_28d:challenger`" in told[2]["action"]["zh"]
    assert "`propensity rollback churn_28d`" in told[3]["action"]["en"]
    assert {one["runbook"] for one in told} == {"propensity monitor runbook retraining"}
