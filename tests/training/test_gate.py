"""The gate. If it is too wide, chance is released; if it cannot be opened, nobody can mend a shop's model."""

import time
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cards_by_hand import figures_by_hand, model_by_hand

from features.compute.builds import Build
from features.errors import NotEnoughData, TrainingError, UsageError
from features.log import Log
from features.moments import parse_moment
from features.settings import Settings
from features.words import Words
from serving import models
from serving.models import Model
from training import gate
from training.compare import Comparison, Segment, compare
from training.describe import verdict_of
from training.evaluate import Figure
from training.fit import Trained
from training.targets import catalogue

M = parse_moment("2017-12-03")


def gain(value: float, margin: float = 0.002) -> Figure:
    return {"value": value, "low": value - margin, "high": value + margin}


def compared(auc: float, loss: float, **changes: object) -> Comparison:
    """A challenger against the champion, both of whose levels hold."""
    holds = {"observed_over_expected": 1.0, "z": 0.0, "calibration_slope": 1.0}
    gains = {"auc_gain": gain(auc), "log_loss_gain": gain(loss)}
    return replace(Comparison("churn_28d", M, 2_000, 0.1, ({}, {}), (holds, holds), gains, ()), **changes)


OFF = {"observed_over_expected": 1.3, "z": 6.0, "calibration_slope": 1.0}
HOLDS = {"observed_over_expected": 1.0, "z": 0.0, "calibration_slope": 1.0}
LOSER = Segment("orders_90d", 0, 3, 600, gain(-0.03), lowest=True)


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        (compared(0.004, 0.004), ()),
        (compared(0.0, 0.004), ()),
        (compared(0.0, 0.0), ("not better than the champion",)),
        (compared(-0.004, 0.004), ("may rank worse",)),  # its lower bound is below the margin
        (compared(0.0, 0.0, levels=(HOLDS, OFF)), ()),  # a repair
        (compared(0.0, 0.0, levels=(OFF, OFF)), ("not better",)),
        (compared(0.004, 0.004, segments=(LOSER,)), ("ranks worse where orders_90d is 0 to 3: AUC",)),
        (compared(0.004, 0.004, segments=(replace(LOSER, auc_gain=gain(-0.03, 0.05)),)), ()),  # chance
        (compared(0.004, 0.004, segments=(replace(LOSER, auc_gain=gain(-0.01)),)), ()),  # little
    ],
)
def test_a_challenger_must_be_better_in_something_and_worse_in_nothing(
    comparison: Comparison, said: tuple[str, ...]
) -> None:
    found = gate.against_champion(comparison)
    assert len(found) == len(said)
    assert all(part in words.en and words.zh for part, words in zip(said, found, strict=True))


def test_what_does_not_beat_a_sceptic_or_was_never_judged_is_refused(tmp_path: Path) -> None:
    """Else: a model that recency alone beats is released, or one of which nothing is known."""
    folder = model_by_hand(tmp_path / "good")
    good = models.load(folder)
    assert gate.objections(good, folder, None) == []
    bad = model_by_hand(tmp_path / "bad", **figures_by_hand(1, recency=-0.01))
    (found,) = gate.against_sceptics(models.load(bad).card)
    assert "does not beat recency alone" in found.en
    lost = good.card.backtest["gains"]
    lost = {**lost, "bgnbd": {"log_loss_gain": gain(-0.001)}}
    losing = msgspec.structs.replace(good.card, backtest={**good.card.backtest, "gains": lost})
    assert [words.en.partition(":")[0] for words in gate.against_sceptics(losing)] == [
        "it does not beat BG/NBD by log-loss, beyond chance"
    ]
    milk = msgspec.structs.replace(
        good.card,
        target=msgspec.structs.replace(good.card.target, label="category_order"),
        backtest={**good.card.backtest, "gains": {**lost, "bgnbd": {}, "own_history": lost["bgnbd"]}},
    )
    (found,) = gate.against_sceptics(milk)  # and what is to be done about it
    assert "does not beat how often and when last the event itself came" in found.en
    assert "`goods` in FEATURES" in found.en
    assert "`goods`" in found.zh
    unknown = msgspec.structs.replace(good.card, baselines={}, backtest={})
    assert "no baseline" in gate.against_sceptics(unknown)[0].en


@pytest.fixture(scope="module")
def judged(trained_home: Settings, churn: Trained) -> tuple[Model, Log, Build]:
    return models.load(churn.folder), Log.open(trained_home), Build.open(trained_home)


def test_scores_from_elsewhere_are_judged_on_the_same_customers(
    trained_home: Settings, judged: tuple[Model, Log, Build], tmp_path: Path
) -> None:
    """Else: a vendor's model is compared on customers of its own choice."""
    model, log, build = judged
    target = catalogue()["churn_28d"]
    snapshot = build.read(M)
    inside = snapshot["orders_90d"].to_numpy() > 0
    rows = np.column_stack([snapshot[f.name].to_numpy() for f in model.card.features])[inside]
    ids = snapshot["customer_id"].filter(pa.array(inside))
    shuffled = pa.array(np.random.default_rng(1).permutation(len(ids)))
    theirs = tmp_path / "same.parquet"
    pq.write_table(pa.table({"customer_id": ids, "probability": model.score(rows)}).take(shuffled), theirs)
    same = compare(trained_home, log, build, target, (model, theirs), M)
    assert same.rows == 2318
    assert same.gains["auc_gain"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert same.figures[0]["auc"]["value"] == pytest.approx(model.card.metrics["auc"]["value"], abs=1e-6)
    assert {segment.feature for segment in same.segments} >= {"orders_90d", "days_since_order"}
    # Else: a customer with 11 orders is of two groups, as they are printed.
    by_orders = [segment for segment in same.segments if segment.feature == "orders_90d"]
    snapshot_orders = snapshot["orders_90d"].to_numpy()[inside]
    assert len(by_orders) > 1
    for lower, one in ((one is by_orders[0], one) for one in by_orders):
        above = snapshot_orders >= one.low if lower else snapshot_orders > one.low
        assert one.rows == (above & (snapshot_orders <= one.high)).sum()
        assert one.values.en.startswith("over ") != lower
        assert one.values.zh.startswith("大于") != lower
    (tmp_path / "few.csv").write_text("customer_id,probability\n1,0.5\n")
    with pytest.raises(UsageError, match="no probability for 2,317 of the 2,318"):
        compare(trained_home, log, build, target, (model, tmp_path / "few.csv"), M)
    (tmp_path / "old.csv").write_text("customer_id,probability,moment\n1,0.5,2017-11-26\n")
    with pytest.raises(UsageError, match="scores as of 2017-11-26T00:00:00Z, none as of 2017-12-03"):
        compare(trained_home, log, build, target, (model, tmp_path / "old.csv"), M)
    immature = r"28 days end on 2018-01-07.*Ingest what came since, or compare as of 2017-12-03 or earlier"
    with pytest.raises(NotEnoughData, match=immature):
        compare(trained_home, log, build, target, (model, theirs), parse_moment("2017-12-10"))
    with pytest.raises(TrainingError, match="has learnt from labels that were known on 2017-12-03"):
        compare(trained_home, log, build, target, (model, model), parse_moment("2017-11-26"))


def test_what_was_judged_at_one_or_two_moments_is_refused_unless_the_log_gives_no_more(
    tmp_path: Path,
) -> None:
    """Else: `--origins 1` picks the moment that suits a model; or a young shop can release nothing at all."""

    def judged(origins: int, scarce: bool) -> tuple[list[str], list[str]]:
        figures = figures_by_hand(1)["backtest"]
        backtest = {**figures, "origins": figures["origins"][:origins], "scarce": scarce}
        folder = model_by_hand(tmp_path / f"{origins} {scarce}", backtest=backtest)
        model = models.load(folder)
        said = gate.objections(model, folder, None), gate.cautions(model.card)
        refused, warned = ([words.en for words in of if "judged at" in words.en] for of in said)
        return refused, warned

    assert judged(3, scarce=False) == ([], [])
    (refused,), warned = judged(2, scarce=False)
    assert "judged at 2 moments only, which" in refused
    assert "train without --origins" in refused
    assert warned == []
    assert len(judged(0, scarce=False)[0]) == 1
    refused, (warned,) = judged(1, scarce=True)
    assert "judged at 1 moment only" in warned
    assert "no more" in warned
    assert refused == []


def test_moments_whose_windows_overlap_are_counted_as_what_they_are_worth(tmp_path: Path) -> None:
    """Else: five weeks in a row of one autumn pass for five different times, and nobody is told."""
    card = models.load(model_by_hand(tmp_path / "m")).card
    weekly = [{"moment": f"2017-10-{day:02}T00:00:00Z", **HOLDS} for day in (1, 8, 15, 22, 29)]

    def said(horizon: int) -> list[Words]:
        changed = msgspec.structs.replace(
            card,
            backtest={**card.backtest, "origins": weekly},
            target=msgspec.structs.replace(card.target, horizon_days=horizon),
        )
        return [words for words in gate.cautions(changed) if words.en.startswith("It was judged")]

    (warned,) = said(90)
    assert "at 5 moments only, worth about 1.3 separate ones since their windows overlap" in warned.en
    assert "约相当于1.3个独立时点" in warned.zh
    assert said(14) == [], "three separate ones, and a day"
    assert said(7) == []


def test_how_busy_the_machine_is_decides_no_release() -> None:
    """Else: the same model is released at night and refused at noon, for its latency."""

    def waits() -> None:
        time.sleep(2 * gate.SECONDS)

    def works() -> None:
        until = time.thread_time() + 2 * gate.SECONDS
        while time.thread_time() < until:
            pass

    calls = iter(range(gate.TIMED))

    def works_once_for_all() -> None:
        if next(calls) == 0:
            works()

    assert gate.cpu_seconds(waits) < gate.SECONDS
    assert gate.cpu_seconds(works_once_for_all) < gate.SECONDS, "what is made at the first call is made once"
    assert gate.cpu_seconds(works) > gate.SECONDS


def test_a_release_is_warned_of_a_level_that_is_off(tmp_path: Path) -> None:
    """Else: probabilities are taken at their word although the card says where they are not to be."""
    card = models.load(model_by_hand(tmp_path / "m")).card
    origins = [{"moment": f"2017-0{n}-01", **(OFF if n < 3 else HOLDS)} for n in (1, 2, 3)]
    fine = {"value": 1.0, "low": 0.9, "high": 1.1}
    off = {
        "words": {"en": "Channel", "zh": "渠道"}, "group": {"en": "app", "zh": "应用"},
        "off": True, "observed_over_expected": 1.2,
    }  # fmt: skip

    def said(origins: list[dict[str, object]], *groups: dict[str, object]) -> list[str]:
        backtest = {**card.backtest, "origins": origins}
        metrics = {**card.metrics, "observed_over_expected": fine}
        changed = msgspec.structs.replace(card, backtest=backtest, metrics=metrics, segments=groups)
        assert "Its level holds" not in verdict_of(changed).en or not origins[0]["z"]
        return [words.en for words in gate.cautions(changed)]

    assert said([{"moment": f"2017-0{n}-01", **HOLDS} for n in (1, 2, 3)]) == []
    level, groups = said(origins, off)
    assert level.startswith("Its level or slope is off at 2 of 3 origins (2017-01-01, 2017-02-01)")
    assert groups.startswith(
        "Its level is off in 1 group of customers (observed/expected): Channel app (1.20). Do not take its"
    )
    (level,) = said(origins[:1])
    assert level.startswith("Its level or slope is off:")
