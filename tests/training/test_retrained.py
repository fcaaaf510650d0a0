"""Training again, the gate deciding. If these fail, monitoring releases what the gate would keep back."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from copies import trained_copy_of

from features.moments import DAY
from features.settings import Settings
from features.words import Words
from monitoring import retraining
from monitoring.alert_store import AlertStore
from monitoring.findings import Finding
from monitoring.retraining import Recommendation
from monitoring.verdicts import Verdict
from propensity.watched import _retrain
from serving import releases
from training import registered, registry


@pytest.fixture
def shop(trained_once: Settings, tmp_path: Path) -> Settings:
    """The trained home with its registry, which a test may change."""
    return trained_copy_of(trained_once, tmp_path / "home")


def _forget(settings: Settings) -> None:
    with registry.opened(settings, alone=True) as client:
        client.delete_registered_model_alias("churn_28d", registered.CHALLENGER)


def test_a_challenger_of_this_week_is_not_made_again(shop: Settings) -> None:
    """Else: what the gate keeps back is trained anew every night."""
    told = retraining.retrain(shop, "churn_28d")
    assert told.trained is None
    assert told.words.en.startswith("version 1 is trained, and the gate ")
    assert "版本1已训练" in told.words.zh
    later = replace(shop, as_of=shop.now() + 7 * DAY)
    assert retraining._waiting(later, "churn_28d", later.now()) is None


def test_the_gate_decides_and_nothing_is_released_unless_the_shop_wants_it(shop: Settings) -> None:
    """Else: a model goes live at night that nobody looked at, or that does not beat recency."""
    _forget(shop)
    told = retraining.retrain(shop, "churn_28d", automatic=False)
    assert told.trained is not None
    assert told.trained.reused, "the same data and seed: nothing is fitted twice"
    assert not told.promoted
    assert "churn_28d" not in releases.names(shop)
    if told.objections:
        assert "the gate keeps it back" in told.words.en
    else:
        assert "`propensity promote churn_28d` releases it" in told.words.en
    told = retraining.retrain(shop, "churn_28d", automatic=True)
    assert told.promoted == (not told.objections)
    assert ("churn_28d" in releases.names(shop)) == told.promoted
    if told.promoted:
        again = retraining.retrain(shop, "churn_28d", automatic=True)
        assert "in force, is less than a week behind" in again.words.en
        assert again.trained is None, "what was released this week is as good as new"
        assert not again.promoted


def verdict(settings: Settings, *due: Recommendation, others: tuple[Finding, ...] = ()) -> Verdict:
    """Of a night that recommends those, and has no page."""
    now, words = settings.now(), Words("", "")
    found = (*(one.finding for one in due), *others)
    return Verdict(
        moment=now, until=now, at=now, status="warning", words=words, findings=found, evidence=(),
        shop=None,  # type: ignore[arg-type]
        folder=settings.home / "reports" / "night", asked={}, retraining=due,
    )  # fmt: skip


def test_what_came_of_a_night_is_told_to_the_sinks_and_in_the_report(shop: Settings) -> None:
    """Else: the model that answers is another one in the morning, or the gate kept the new one back, and
    whoever reads messages alone never hears of it."""
    reason = retraining.Reason("ranking", Words("it ranks worse", "排序变差"))
    night = verdict(shop, Recommendation("churn_28d", "1", (reason,)), Recommendation("gone", "1", (reason,)))
    said = _retrain(shop, night, "", lambda what, done, of: None)
    with closing(AlertStore(shop)) as store:
        stages = {one.episode.finding.subject: one.episode.stage for one in store.current()}
    assert stages == {"churn_28d": "released" if "churn_28d" in releases.names(shop) else "refused",
                      "gone": "failed"}  # fmt: skip
    assert any(one.startswith("gone: it could not be trained again: ") for one in said), said
    kept = json.loads((night.folder / "verdict.json").read_text("utf-8"))
    assert [one["words"]["en"] in "; ".join(said) for one in kept["findings"]] == [True, True]


def test_a_night_without_anything_to_train_says_so_and_what_would_stand_in_its_way(shop: Settings) -> None:
    """Else: whoever mended the data cannot tell whether --retrain did nothing, or found nothing to do."""
    fault = Finding(
        subject="log", check="fields", status="page", value=9.0, limit=1.0, owner="data", topic="data",
        words=Words("no store_id", ""), cause=Words("orders.store_id is not filled", ""),
    )  # fmt: skip
    said = _retrain(shop, verdict(shop), "", lambda what, done, of: None)
    assert said[0] == "nothing is to be trained again"
    said = _retrain(shop, verdict(shop, others=(fault,)), "", lambda what, done, of: None)
    assert said[0].endswith("nothing would be on faulty data: orders.store_id is not filled")
