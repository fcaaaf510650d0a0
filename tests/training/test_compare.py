"""Scores from elsewhere beside ours. If these fail, a fair rival is refused, or another file is judged."""

from pathlib import Path

import numpy as np
import pytest

from features.errors import TrainingError, UsageError
from features.moments import DAY, iso, parse_moment
from propensity.compared import show_comparison
from serving.cards import ModelCard, TargetCard, TestedOn, Text, TrainedOn
from training import describe, pooled
from training.compare import Rows, _of_file, paired
from training.comparison import left_out
from training.targets import catalogue

M = parse_moment("2017-12-03")


@pytest.mark.parametrize(("apart", "worth"), [(7, "2.2"), (28, None), (27, "5.8")])
def test_origins_whose_windows_share_days_are_not_told_as_separate(apart: int, worth: str | None) -> None:
    """Else: "over 6 origins" is believed as six looks, though each repeats most of the one before."""
    days = [{"moment": iso(M + n * apart * DAY)} for n in range(6)]
    card = model_by_hand_card(days)
    said = describe.overlap(card)
    assert (said is None) == (worth is None)
    if said and worth:
        assert (
            f"windows of 28 days of its 6 origins overlap: they are worth about {worth} separate" in said.en
        )
        assert f"6个时点的28天窗口相互重叠：约相当于{worth}个独立窗口" in said.zh


def model_by_hand_card(origins: list[dict[str, str]]) -> ModelCard:
    target = TargetCard(
        name="churn_28d", horizon_days=28, population="x", label="no_order", words=Text("x", "x"),
        higher_is="bad", score=Text("x", "x"),
    )  # fmt: skip
    return ModelCard(
        name="churn_28d", version="1", kind="trees", currency="USD", target=target, features=(),
        trained_on=TrainedOn(build="b", log="l", start=M, end=M, rows=1, base_rate=0.1, seed=1),
        tested_on=TestedOn(M, 1, 0.1), metrics={}, baselines={}, backtest={"origins": origins},
    )  # fmt: skip


def written(folder: Path, text: str) -> Path:
    path = folder / "theirs.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("kind", ["equal", "perfect", "none", "certain"])
def test_scores_without_a_slope_are_judged_by_the_rest(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Else: the rival that says the base rate of everyone is refused, and told to train on more customers."""
    label = np.r_[np.zeros(60), np.ones(40)]
    theirs = {
        "equal": np.full(100, 0.4),
        "perfect": np.where(label == 1, 0.9, 0.1),
        "none": np.zeros(100),
        "certain": label.copy(),
    }[kind]
    ours = np.random.default_rng(1).uniform(0.2, 0.8, 100)
    rows = Rows(label, np.arange(100), {})
    target = catalogue()["churn_28d"]
    with pytest.raises(TrainingError):
        paired(target, [M], [rows], [ours], [theirs], itself=1)
    found = paired(target, [M], [rows], [ours], [theirs], itself=1, level=pooled.level_of_any)
    auc = 1.0 if kind in ("perfect", "certain") else 0.5
    assert found.figures[1]["auc"]["value"] == auc
    assert "calibration_slope" in found.levels[0]
    show_comparison(found, "ours", "theirs.csv")
    told = capsys.readouterr().out
    assert f"{auc:.3f} [" in told
    assert "theirs.csv has no slope" in told
    assert "ours has no slope" not in told
    assert "nan" not in told
    assert "inf " not in told


def test_groups_too_small_to_compare_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Else: a side that fails those who order most is better in every group that is shown. And which kind of
    interval is shown: else they are held against the bootstrap's of `train`."""
    random = np.random.default_rng(1)
    orders, label = np.repeat([1.0, 2.0, 3.0], 400), np.r_[np.tile([0.0, 1.0], 400), np.zeros(400)]
    label[-7:] = 1
    rows = Rows(label, np.arange(1200), {"orders_90d": orders})
    ours, theirs = (random.uniform(0.2, 0.8, 1200) for _ in range(2))
    found = paired(catalogue()["churn_28d"], [M], [rows], [ours], [theirs], itself=1)
    assert [one.values.en for one in found.segments] == ["1 to 1.67", "over 1.67 to 2.33"]
    assert [(one.feature, one.values.en, one.rows, one.few) for one in found.left_out] == [
        ("orders_90d", "over 2.33 to 3", 400, 7)
    ]
    show_comparison(found, "ours", "theirs")
    told = " ".join(capsys.readouterr().out.split())
    assert "Brackets: 95 % intervals by each customer's influence (of AUC DeLong's)" in told
    assert "1 group left out, with fewer than 30 of the rarer outcome" in told
    assert "orders_90d over 2.33 to 3 (7 / 400)" in told
    chinese = left_out(found.left_out)
    assert chinese is not None
    assert "有1个分组" in chinese.zh
    assert left_out(()) is None


def test_a_customer_twice_is_refused_by_number_and_name(tmp_path: Path) -> None:
    """Else: whichever row comes last is judged, and nobody knows which."""
    path = written(tmp_path, "customer_id,probability\na,0.1\nb,0.2\na,0.9\n")
    with pytest.raises(UsageError, match=r"theirs.csv has 1 customer twice or more \(a for one\)"):
        _of_file(path, ["a", "b"], M)


def test_a_wrong_column_is_told_beside_those_that_are_there(tmp_path: Path) -> None:
    """Else: the library's words, which name neither what is there nor what is missing."""
    path = written(tmp_path, "customer_id,score\na,0.1\n")
    said = "no column probability: expected customer_id and probability, found customer_id, score"
    with pytest.raises(UsageError, match=said):
        _of_file(path, ["a"], M)
