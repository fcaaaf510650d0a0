"""Rankings: the coefficients are everybody's, and a winner is named only where there is something to win."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student
from trials import trial_by_hand

from training.qini import _more, auuc, qini, rankings
from training.uplift import fit, folds
from training.uplift_estimates import freedom, places
from training.uplift_report import fifths
from training.uplift_report import rankings as rankings_sheet
from training.uplift_trial import Trial


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_qini_is_scikit_uplifts() -> None:
    """Else: the coefficient cannot be compared with anybody else's."""
    from sklift.metrics import qini_auc_score, uplift_auc_score

    random = np.random.default_rng(1)
    for distinct in (5, 3_000):
        treated = random.random(3_000) < 0.4
        score = random.integers(0, distinct, 3_000).astype(np.float64)
        bought = (random.random(3_000) < 0.2 + 0.1 * treated * score / distinct).astype(np.float64)
        assert qini(bought, score, treated) == pytest.approx(qini_auc_score(bought, score, treated))
        assert auuc(bought, score, treated) == pytest.approx(uplift_auc_score(bought, score, treated))


def test_an_uplift_and_a_response_model_are_told_apart_where_the_data_can() -> None:
    """Else: customers who buy anyway are called those whom the mail moves."""
    random = np.random.default_rng(4)
    trial, true = trial_by_hand("varies", rows=2_500)
    chance = 1 / (1 + np.exp(1.5 - 1.5 * np.nan_to_num(trial.matrix[:, 0])))
    bought = random.random(2_500) < np.clip(chance + 0.1 * true[np.arange(2_500), trial.arm], 0, 1)
    trial = replace(trial, outcomes={"bought": bought.astype(np.float64)})
    found = fit(trial, "bought")
    mail, _ = rankings(trial, found)
    assert mail.arm == "mail"
    assert mail.more is not None
    assert mail.more.low > 0, "the mail moves those who hardly buy more than others"
    assert mail.qini > mail.qini_response
    assert mail.auuc > mail.auuc_response
    assert rankings(replace(trial, outcomes={"bought": 2.0 * bought}), found) == [], "of shares alone"


def bought_by_hand(seed: int, effect: float = 0.0, rows: int = 1_000) -> Trial:
    """A mail by lot that brings the same to everyone, to buyers whom one of four columns tells."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 4)).astype(np.float32)
    arm = random.integers(0, 2, rows)
    chance = 1 / (1 + np.exp(1 - x[:, 0].astype(np.float64))) + effect * arm
    came = {"bought": (random.random(rows) < chance).astype(np.float64)}
    names, every = ("a", "b", "c", "d"), np.arange(rows)
    return Trial(x, names, ("nothing", "mail"), arm, np.full(rows, 0.5), came, every)


def test_where_the_mail_moves_nobody_no_ranking_wins() -> None:
    """Else: of eight trials of a mail without effect, three name who finds those whom it moves."""
    named = 0
    for seed in range(8):
        trial = bought_by_hand(seed)
        (mail,) = rankings(trial, fit(trial, "bought"))
        named += mail.more is not None and not mail.more.low <= 0 <= mail.more.high
        if mail.more is None:
            assert mail.untold is not None
            assert "no effect is shown" in mail.untold.en
    assert named == 0


def test_intervals_of_a_difference_hold_where_nothing_differs() -> None:
    """Else: a fold whose buyers were many by chance, and that the other folds so foretell too low, decides.

    A noisy ranking out of fold, as an uplift model's is where there is no uplift, against a response model's.
    """
    hold, values = 0, []
    for seed in range(100):
        trial = bought_by_hand(seed, rows=300)
        y, treated, fold = trial.outcomes["bought"], trial.arm == 1, folds(trial, 1)
        design = np.column_stack([np.ones(len(y)), trial.matrix])

        def out_of_fold(of: np.ndarray, design: np.ndarray = design, fold: np.ndarray = fold) -> np.ndarray:
            found = np.empty(len(of))
            for part in range(4):
                solved = np.linalg.lstsq(design[fold != part], of[fold != part])[0]
                found[fold == part] = design[fold == part] @ solved
            return places(found, fold)

        one, other = out_of_fold(np.where(treated, 2 * y, -2 * y)), out_of_fold(y)
        more = _more(y, one, other, treated, trial.customer, 1)
        hold += more.low <= 0 <= more.high
        values.append(more.value)
    assert hold >= 92
    assert abs(np.mean(values)) < 3 * np.std(values) / 10, "no side is favoured"


def test_intervals_of_few_clusters_are_those_of_few() -> None:
    """Else: two chats that hold most customers decide which ranking is called better, as if all did.

    Two rankings by the luck of a cluster; one of the twelve clusters of each arm may be large.
    """
    for large in (60, 300):
        sizes = np.array([large, *[20 if large == 300 else 60] * 11] * 2)
        cluster = np.repeat(np.arange(24), sizes)
        hold, values, halves = 0, [], []
        for seed in range(60):
            random = np.random.default_rng(seed)
            one, other, luck = random.normal(size=(24, 3))[cluster].T
            y = (random.random(len(luck)) < 1 / (1 + np.exp(1 - luck))).astype(np.float64)
            more = _more(y, one, other, cluster >= 12, cluster, 1)
            hold += more.low <= 0 <= more.high
            values.append(more.value)
            halves.append(more.high - more.value)
        assert hold >= 57, "95 %"
        assert np.mean(halves) > student.isf(0.025, freedom(cluster)) * np.std(values)


def test_a_prediction_that_is_the_same_for_all_ranks_nobody() -> None:
    """Else: the order of the rows in the file is compared with a model, and shown in fifths."""
    trial = bought_by_hand(1, effect=0.2)
    found = fit(trial, "bought")
    flat = replace(found, out_of_fold=np.full_like(found.out_of_fold, 0.2))
    (mail,) = rankings(trial, flat)
    assert mail.more is None
    assert mail.untold is not None
    assert "the same for all" in mail.untold.en
    assert mail.qini == pytest.approx(0.0)
    idle = replace(trial, matrix=np.zeros_like(trial.matrix))
    (parts,) = fit(idle, "bought").fifths
    assert len(parts) == 1
    assert parts[0][1].low < 0.2 < parts[0][1].high


def test_places_are_those_within_a_fold() -> None:
    """Else: the levels of the folds' models, which tell of the other folds, rank their customers."""
    fold = np.array([0, 0, 0, 1, 1, 1])
    assert places(np.array([3.0, 1.0, 3.0, 13.0, 11.0, 12.0]), fold) == pytest.approx(
        np.array([2.0, 0.5, 2.0, 2.5, 0.5, 1.5]) / 3
    )


def test_predictions_that_were_shrunk_to_one_have_no_fifths() -> None:
    """Else: five fifths of whom the same is predicted are shown as if something told them apart."""
    trials = [bought_by_hand(seed, effect=0.2) for seed in range(4)]
    trial, found = next((of, one) for of in trials if not (one := fit(of, "bought")).lines[0].slope)
    assert [len(parts) for parts in found.fifths] == [1]
    assert fifths(found).rows[0][1] == ("all, predicted alike", "全部（预测相同）")
    (mail,) = rankings(trial, found)
    assert mail.untold is not None
    assert "shrunk" in mail.untold.en
    assert mail.untold in rankings_sheet([mail]).rows[0]
