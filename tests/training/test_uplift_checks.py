"""Checks of a trial: what would make its figures wrong is named, and a sound trial passes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chisquare
from trials import trial_by_hand

from training.uplift_balance import differ, weights
from training.uplift_checks import _no_lottery, checks, overlap, sample_ratio
from training.uplift_columns import before_decision, foretold, post_treatment
from training.uplift_overlap import belied, estimated, told_apart
from training.uplift_shift import adjusted_alike, shifts
from training.uplift_trial import Trial


def test_a_sound_trial_passes() -> None:
    """Else: every trial is refused, and the check is switched off."""
    wrong = 0
    for seed in range(40):
        trial, _ = trial_by_hand("varies", rows=1_000, seed=seed)
        wrong += sum(check.holds is not True for check in checks(trial))
    assert wrong <= 1


def test_a_pass_is_no_proof_and_says_so() -> None:
    """Else: `holds` is read as `these columns were known before`, which no figure can show."""
    trial, _ = trial_by_hand("varies", rows=1_500)
    found = before_decision(trial)
    assert found.holds is True
    assert found.words.en.startswith("no sign of any from after the decision: ")
    assert "(AUC 0." in found.words.en
    assert found.words.zh.startswith("未见")


def test_a_small_arm_that_happens_to_have_none_of_a_rare_value_is_no_sign() -> None:
    """Else: a sound trial with a holdout of a twentieth and a hundred rare columns is always refused."""
    for seed in range(3):
        random, n = np.random.default_rng(seed), 2_000
        arm = (random.random(n) < 0.953).astype(np.int64)
        matrix = (random.random((n, 60)) < 0.03).astype(np.float32)
        trial = trial_by_hand("none", rows=n)[0]
        rare = replace(
            trial, matrix=matrix, names=tuple(f"f{i}" for i in range(60)), arms=("nothing", "mail"), arm=arm,
            given=np.where(arm == 1, 0.953, 0.047),
        )  # fmt: skip
        assert list(post_treatment(rare)) == []
    told = matrix.copy()
    told[:, 5] = (arm == 0) & (random.random(n) < 0.5)
    assert [name for name, _ in post_treatment(replace(rare, matrix=told))] == ["f5"]


def test_lost_rows_are_a_sample_ratio_mismatch() -> None:
    """Else: a mail whose bounced addresses were dropped looks better than it is."""
    trial, _ = trial_by_hand("none", rows=8_000)
    lost = (trial.arm == 1) & (np.random.default_rng(1).random(8_000) < 0.15)
    found = sample_ratio(trial.part(~lost))
    assert found.holds is False
    assert "sample ratio mismatch" in found.words.en
    assert "(p < .0001)" in found.words.en, "no test shows that p is 0"
    assert "mail" in found.words.en
    few = sample_ratio(trial.part(~lost | (np.random.default_rng(2).random(8_000) < 0.6)))
    assert few.holds is True
    assert "few lots are as far off" in few.words.en, "p = 0.003 is no pass without a word"
    assert "few" not in sample_ratio(trial).words.en
    counts = np.bincount(trial.arm)
    peer = chisquare(counts, [3200, 2400, 2400]).pvalue
    assert differ(weights(trial), trial.customer) == pytest.approx(peer, abs=0.02)


@pytest.mark.parametrize(("given", "holds"), [(1.0, False), (0.2, False), (0.33, True), (1 / 3, True)])
def test_propensities_of_all_arms_that_do_not_sum_to_one_are_no_lottery(given: float, holds: bool) -> None:
    """Else: a column of ones, everybody given an arm for sure, is a lottery that proves an uplift."""
    trial, _ = trial_by_hand("none", rows=6_000)
    arm = np.random.default_rng(3).integers(0, 3, 6_000)
    arms = ("nothing", "mail", "call")
    found = replace(trial, arms=arms, arm=arm, given=np.full(6_000, given), possible=None)
    assert sample_ratio(found).holds is holds


@pytest.mark.parametrize("sums", [0.8, 1.5])
def test_where_propensities_sum_to_no_lottery_is_named(sums: float) -> None:
    """Else: one segment's typing error is a mismatch of the whole trial, and nobody knows where to look; or,
    where it is a small one, its effect is off by a fifth and nothing is said."""
    trial, _ = trial_by_hand("none", rows=6_000)
    random = np.random.default_rng(3)
    narrow = random.random(6_000) < 0.05  # only nothing or mail
    arm = np.where(narrow, random.integers(0, 2, 6_000), random.integers(0, 3, 6_000))
    possible = np.column_stack([np.ones((6_000, 2), np.bool_), ~narrow])
    right = replace(
        trial, arms=("nothing", "mail", "call"), arm=arm, possible=possible,
        given=np.where(narrow, 1 / 2, 1 / 3),
    )  # fmt: skip
    assert sample_ratio(right).holds is True
    found = sample_ratio(replace(right, given=np.where(narrow, sums / 2, 1 / 3)))
    assert found.holds is False
    assert f"where nothing or mail could be given, {sums / 2:g} + {sums / 2:g} = {sums:g}." in found.words.en
    assert "call" not in found.words.en


@pytest.mark.parametrize(("rows", "certain"), [(300, False), (3_000, True)])
def test_a_lottery_that_differs_by_row_is_not_taken_for_a_wrong_one(rows: int, certain: bool) -> None:
    """Else: a handful of decisions, each of which drew what it was most likely to draw, are refused."""
    trial, _ = trial_by_hand("none", rows=rows)
    arm = np.arange(rows) % 2
    drawn = replace(trial, arms=("nothing", "mail"), arm=arm, given=np.full(rows, 0.98), possible=None)
    (found,) = _no_lottery(drawn)
    assert found.certain is certain  # 0.98 ** 300 is one in 400


def test_a_lottery_of_customers_is_no_mismatch_of_their_rows() -> None:
    """Else: a trial that draws a customer once, and keeps ten rows of each, is refused as broken."""
    wrong = 0
    for seed in range(40):
        trial, _ = trial_by_hand("none", rows=500, seed=seed)
        rows = np.repeat(np.arange(500), 10)
        wrong += sum(check(trial.part(rows)).holds is False for check in (sample_ratio, before_decision))
    assert wrong <= 1


def test_shares_that_were_taken_as_found_are_not_called_checked() -> None:
    """Else: a mismatch that nobody could see is reported as absent."""
    trial, _ = trial_by_hand("none", rows=2_000)
    found = replace(trial, given=(np.bincount(trial.arm) / 2_000)[trial.arm])
    assert sample_ratio(found).holds is None


def test_a_column_from_after_the_decision_is_named() -> None:
    """Else: 'opened the mail' predicts who buys, and the effect is explained away."""
    trial, _ = trial_by_hand("varies", rows=4_000)
    random = np.random.default_rng(2)
    opened = ((trial.arm == 1) & (random.random(4_000) < 0.3)).astype(np.float32)
    rated = np.where((trial.arm == 2) & (random.random(4_000) < 0.1), np.nan, 1.0).astype(np.float32)
    names = (*trial.names, "opened", "rated")
    found = before_decision(
        replace(trial, names=names, matrix=np.column_stack([trial.matrix, opened, rated]))
    )
    assert found.holds is False
    assert "opened" in found.words.en
    assert "rated" in found.words.en
    assert not any(name in found.words.en for name in trial.names)


def test_columns_of_the_same_mean_are_told_by_their_spread_and_by_what_they_say_together() -> None:
    """Else: `days since the last visit`, written after the mail, is learnt from as its mean did not move."""
    trial, _ = trial_by_hand("none", rows=4_000)
    random = np.random.default_rng(3)
    mailed = trial.arm == 1
    wide = (random.normal(size=4_000) * np.where(mailed, 1.5, 1.0)).astype(np.float32)
    found = before_decision(
        replace(trial, names=(*trial.names, "wide"), matrix=np.column_stack([trial.matrix, wide]))
    )
    assert found.holds is False
    assert "wide (p < .0001)" in found.words.en
    assert not any(name in found.words.en for name in trial.names)
    one = random.normal(size=4_000)
    other = np.where(mailed, 1, -1) * one + random.normal(size=4_000)
    pair = np.column_stack([one, other / other.std()]).astype(np.float32)
    together = replace(trial, names=("one", "other"), matrix=pair)
    assert list(post_treatment(together)) == []
    found = before_decision(together)
    assert found.holds is False
    assert found.words.en.startswith("together they tell mail from nothing")
    assert told_apart(together).auc.low > 0.6


def half_told(seed: int, kind: str, rows: int = 4_000) -> Trial:
    """A mail by lot that brings a little to an outcome that `before` foretells somewhat; a column `later` is
    the outcome and noise (echo), on the mail's way to it (mediator), or neither (clean); others are idle."""
    random = np.random.default_rng(seed)
    before, arm = random.normal(size=rows), random.integers(0, 2, rows)
    moved = {"mediator": 0.12, "echo": 0.2, "clean": 0.2}[kind] * arm + random.normal(size=rows)
    y = 0.5 * before + moved + 0.7 * random.normal(size=rows) * (kind == "mediator")
    noise = y.std() * random.normal(size=rows)
    later = {"mediator": moved, "echo": y + noise, "clean": before + noise}[kind]
    matrix = np.column_stack([before, random.normal(size=(rows, 8)), later]).astype(np.float32)
    names = ("before", *(f"idle_{k}" for k in range(8)), "later")
    given = np.full(rows, 0.5)
    return Trial(matrix, names, ("nothing", "mail"), arm, given, {"profit": y}, np.arange(rows))


@pytest.mark.parametrize("kind", ["mediator", "echo"])
def test_a_column_that_holds_half_of_the_effect_is_caught_though_arms_hardly_differ_in_it(kind: str) -> None:
    """Else: half of the mail's effect is explained away by what it did, and the other half called proven."""
    trials = [half_told(seed, kind) for seed in range(12)]
    unseen = [of for of in trials if not list(post_treatment(of)) and foretold(of).holds]
    assert len(unseen) >= 5
    caught = [of.words for of in map(adjusted_alike, unseen) if of.holds is False]
    assert len(caught) >= 0.5 * len(unseen)
    assert all("later (z " in of.en and "before (z" not in of.en for of in caught)
    assert " plain, +" in caught[0].en
    assert "--ignore" in caught[0].zh


def test_columns_known_before_move_no_effect_beyond_chance() -> None:
    """Else: sound trials are refused more often than one in a hundred, and the check is switched off."""
    found = [shifts(half_told(seed, "clean", rows=600)) for seed in range(40)]
    assert sum(of.largest > 1.96 for of in found) <= 5, "about 2 of 40"
    assert sum(bool(of.found) for of in found) <= 2


def test_how_much_could_have_stayed_hidden_is_told() -> None:
    """Else a check that could not have found a column with half of the effect is read as proof of none."""
    many, few = half_told(3, "clean"), half_told(3, "clean", rows=600)
    check = adjusted_alike(many)
    assert check.holds is True
    (one,), (other,) = shifts(many).hidden, shifts(few).hidden
    assert other.least / one.least == pytest.approx(np.sqrt(4_000 / 600), rel=0.3)
    shares = [f"{of:.2g} ({of / one.effect:.0%})" for of in (one.least, one.telling)]
    for said in check.words:
        assert all(share in said for share in shares)
    assert "less may stay hidden" in check.words.en
    none = replace(few, outcomes={"profit": few.outcomes["profit"] - 0.2 * few.arm})
    assert "(more than all of it)" in adjusted_alike(none).words.en


def test_what_is_said_to_be_found_is_what_such_a_column_needs() -> None:
    """Else the figure is that of a column that tells nothing else, and such hardly exist."""
    said = np.mean([shifts(half_told(seed, "clean")).hidden[0].telling for seed in range(4)])
    (echoes,) = zip(*(shifts(half_told(seed, "echo")).hidden for seed in range(4)), strict=True)
    assert np.mean([of.least for of in echoes]) == pytest.approx(said, rel=0.2)


def test_a_column_from_after_the_decision_is_not_taken_for_a_lack_of_overlap() -> None:
    """Else: whoever opened the mail hardly had a chance to get nothing, and a search for them begins."""
    trial, _ = trial_by_hand("none", rows=4_000)
    opened = ((trial.arm == 1) & (np.random.default_rng(2).random(4_000) < 0.5)).astype(np.float32)
    later = replace(trial, names=(*trial.names, "opened"), matrix=np.column_stack([trial.matrix, opened]))
    assert told_apart(later).never[0] > 0
    found = overlap(later)
    assert found.holds is True
    assert "judged without opened" in found.words.en
    assert before_decision(later).holds is False


@pytest.mark.parametrize("shares", [False, True])
def test_a_column_that_is_the_outcome_by_another_name_is_suspicious(shares: bool) -> None:
    """Else: the till's total of that week, joined to the table by mistake, explains every sale."""
    trial, _ = trial_by_hand("none", rows=2_000)
    random = np.random.default_rng(4)
    y = trial.outcomes["profit"]
    y = (y > 6).astype(np.float64) if shares else y
    total = (y * 1.2 + 0.1 * random.random(2_000)).astype(np.float32)
    trial = replace(trial, outcomes={"profit": y})
    assert foretold(trial).holds is True
    found = foretold(replace(trial, names=(*trial.names, "total"),
                             matrix=np.column_stack([trial.matrix, total])))  # fmt: skip
    assert found.holds is False
    assert "total → profit (" in found.words.en
    assert "suspicious" in found.words.en
    assert not any(name in found.words.en for name in trial.names)


@pytest.mark.parametrize("arms", [2, 3])
@pytest.mark.parametrize("known", [True, False])
def test_an_arm_that_some_could_never_have_is_named_whatever_its_own_propensities(
    arms: int, known: bool
) -> None:
    """Else: those who got it, with a chance of .3 or more, are said to stand for those who never could."""
    trial, _ = trial_by_hand("none", rows=4_000)
    random = np.random.default_rng(5)
    can = np.nan_to_num(trial.matrix[:, 1]) > 0
    chances = np.column_stack([np.full(4_000, 0.5), np.where(can, 0.3, 0.5), np.where(can, 0.2, 0.0)])
    if arms == 2:
        chances = np.column_stack([np.where(can, 0.5, 1.0), np.where(can, 0.5, 0.0)])
    arm = (random.random(4_000)[:, None] > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
    given = chances[np.arange(4_000), arm] if known else (np.bincount(arm) / 4_000)[arm]
    last = ("nothing", "coupon") if arms == 2 else ("nothing", "mail", "coupon")
    found = overlap(replace(trial, arms=last, arm=arm, given=given))
    assert found.holds is False
    assert found.arms == (arms - 1,)
    assert (
        "of customers had less than half the chance to get coupon that their propensities say"
        in found.words.en
    )
    assert "if recency was known before the decision" in found.words.en
    share = int(found.words.en.split("too little: ")[1].split("%")[0])
    assert 35 < share < 60
    said = replace(trial, arms=last, arm=arm, given=chances[np.arange(4_000), arm], possible=chances > 0)
    assert overlap(said).holds is True, "who is said not to be able to have it is not compared"


def test_an_arm_that_some_had_a_small_chance_of_is_not_said_to_be_impossible() -> None:
    """Else: whoever drew it for one in ten there is told that nobody could get it, and doubts the check."""
    trial, _ = trial_by_hand("none", rows=6_000)
    random = np.random.default_rng(8)
    far = random.random(6_000) < 0.06
    chances = np.where(far[:, None], [0.8, 0.1, 0.1], [0.2, 0.3, 0.5])
    arm = (random.random(6_000)[:, None] > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
    matrix = np.column_stack([trial.matrix, far]).astype(np.float32)
    drawn = replace(
        trial, names=(*trial.names, "region"), matrix=matrix, arms=("a", "b", "c"), arm=arm,
        given=(np.bincount(arm) / 6_000)[arm],
    )  # fmt: skip
    found = overlap(drawn)
    assert found.holds is False
    assert "of customers had less than half the chance to get c that their propensities say" in found.words.en
    assert "leave these customers out, or give the chances that were drawn with" in found.words.en
    assert "never" not in found.words.en
    assert "得到c的概率不足其倾向概率所示的一半" in found.words.zh
    assert overlap(replace(drawn, given=chances[np.arange(6_000), arm])).holds is True


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("chance", [0.95, 0.5])
def test_an_assignment_that_claims_to_be_a_lottery_has_no_overlap(seen: bool, chance: float) -> None:
    """Else whom a rule mailed and whom it did not are compared as if lots had been drawn, and the overlap is
    said to be fine."""
    trial, _ = trial_by_hand("none", rows=3_000)
    columns = slice(None) if seen else [0, 2, 3, 4]
    matrix = np.ascontiguousarray(trial.matrix[:, columns])
    found = replace(
        trial, matrix=matrix, names=tuple(np.array(trial.names)[columns]), arms=("nothing", "mail"),
        arm=(trial.matrix[:, 1] > 0).astype(np.int64), given=np.full(3_000, chance),
    )  # fmt: skip
    said = overlap(found)
    if not seen and chance == 0.5:
        assert said.holds is True, "a coin, as far as anybody can tell"
        return
    assert said.holds is False
    assert said.arms == (0, 1)
    for arm in ("nothing", "mail"):
        assert f"of customers had less than half the chance to get {arm} that" in said.words.en
    assert ("if recency was known before the decision" in said.words.en) == seen
    assert ("beside what its propensity says" in said.words.en) == (chance == 0.95)


def test_a_lottery_with_propensities_near_0_and_1_is_not_belied() -> None:
    """Else a policy that explores a little is taken for one that explores nothing."""
    trial, wrong = trial_by_hand("none", rows=600)[0], 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        chance = random.choice([0.004, 0.02, 0.05, 0.5, 0.95, 0.98], 600)
        arm = (random.random(600) < chance).astype(np.int64)
        given = np.where(arm == 1, chance, 1 - chance)
        wrong += belied(replace(trial, arms=("nothing", "mail"), arm=arm, given=given)).any()
    assert wrong <= 1


@pytest.mark.parametrize("chance", [0.5, 0.8, 0.9, 0.95])
def test_a_lottery_of_unequal_shares_is_believed(chance: float) -> None:
    """Else the commonest design, a holdout of a tenth or a fifth, is refused: .1 is what .9 leaves."""
    trial, random = trial_by_hand("none", rows=4_000)[0], np.random.default_rng(1)
    arm = (random.random(4_000) < chance).astype(np.int64)
    given = np.where(arm == 1, chance, 1 - chance)
    found = replace(trial, arms=("nothing", "mail"), arm=arm, given=given)
    assert overlap(found).holds is True, overlap(found).words.en
    some = random.random(4_000) < 0.5  # drawn in two strata, the other way round in one
    arm = (random.random(4_000) < np.where(some, chance, 1 - chance)).astype(np.int64)
    given = np.where(arm == 1, np.where(some, chance, 1 - chance), np.where(some, 1 - chance, chance))
    found = replace(trial, arms=("nothing", "mail"), arm=arm, given=given)
    assert not belied(found).any()


def test_a_control_of_a_few_who_hardly_could_have_had_it_speaks_for_nobody() -> None:
    """Else a fifth of all customers are judged by the two of them whom nobody mailed: that is "proven"."""
    trial, random = trial_by_hand("none", rows=8_000)[0], np.random.default_rng(3)
    chance = np.where(trial.matrix[:, 1] > np.quantile(trial.matrix[:, 1], 0.8), 0.999, 0.5)
    arm = (random.random(8_000) < chance).astype(np.int64)
    given = np.where(arm == 1, chance, 1 - chance)
    said = overlap(replace(trial, arms=("nothing", "mail"), arm=arm, given=given))
    assert said.holds is False
    assert said.arms == (0,)


def test_estimated_propensities_of_every_arm_are_looked_at() -> None:
    """Else: of an arm that half could not have, the smallest propensity of those who got it is shown."""
    random = np.random.default_rng(1)
    x = random.normal(size=(4_000, 3)).astype(np.float32)
    arm = ((x[:, 0] > 0) & (random.random(4_000) < 0.5)).astype(np.int64)
    chances, reached = estimated(x, arm, 2, seed=1)
    assert reached < 0.7
    trial, _ = trial_by_hand("none", rows=4_000)
    found = overlap(replace(
        trial, matrix=x, names=("a", "b", "c"), arms=("nothing", "coupon"), arm=arm, evidence="prior",
        given=chances[np.arange(4_000), arm], chances=chances,
    ))  # fmt: skip
    assert found.arms == (1,)
    assert "of customers had an estimated chance below 5% to get coupon" in found.words.en
    assert "coupon 0.010" in found.words.en


def test_estimated_propensities_come_near_the_true_and_no_overlap_is_seen() -> None:
    """Else: an adjustment extrapolates to customers who never could have had the arm."""
    random = np.random.default_rng(1)
    x = random.normal(size=(6_000, 3)).astype(np.float32)
    chance = 1 / (1 + np.exp(-x[:, 0]))
    arm = (random.random(6_000) < chance).astype(np.int64)
    chances, reached = estimated(x, arm, 2, seed=1)
    assert np.abs(chances[:, 1] - chance).mean() < 0.03
    assert reached > 0.9
    assert estimated(x, (x[:, 0] > 0).astype(np.int64), 2, seed=1)[1] < 0.5
