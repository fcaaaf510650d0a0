"""The figures of a verdict agree with scipy and statsmodels, and know what varies by itself.

If these fail, a model is condemned by a figure that another program would not give."""

import dataclasses
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import normal_sample_size_one_tail
from statsmodels.stats.proportion import proportions_ztest
from told_world import World

from features.settings import Settings
from monitoring import outcome_words, performance
from monitoring.performance import LIMIT, MATTERS, POWER, Rows, Spread, Spreads, judge, standing

Numbers = NDArray[np.float64]


def drawn(n: int, seed: int, off: float = 0.0) -> tuple[Numbers, Numbers]:
    """Labels, and scores of two decimals, so that some are equal; off: by which the log-odds are."""
    random = np.random.default_rng(seed)
    score = np.round(random.beta(2, 5, n), 2).clip(0.01, 0.99)
    truth = 1 / (1 + np.exp(-(np.log(score / (1 - score)) + off)))
    return (random.random(n) < truth).astype(float), score


def rows(label: Numbers, score: Numbers) -> Rows:
    return Rows(label, score, np.arange(len(label)))


def test_auc_is_scipys_and_its_error_delongs() -> None:
    """Else: ties count otherwise, or the interval is not that of the literature."""
    label, score = drawn(700, 1)
    found = judge([rows(label, score)], Spreads()).ranking
    ones, zeros = score[label == 1], score[label == 0]
    u = stats.mannwhitneyu(ones, zeros).statistic
    assert found.value == pytest.approx(u / (len(ones) * len(zeros)), abs=1e-12)
    wins = (ones[:, None] > zeros).astype(float) + (ones[:, None] == zeros) / 2
    error = sqrt(wins.mean(axis=1).var(ddof=1) / len(ones) + wins.mean(axis=0).var(ddof=1) / len(zeros))
    assert found.error == pytest.approx(error, rel=2 / min(len(ones), len(zeros)))


def test_slope_and_its_error_are_those_of_statsmodels_by_customer() -> None:
    """Else: a customer of several moments counts as several customers."""
    label, score = drawn(900, 2, off=0.4)
    customer = np.arange(900) // 3
    slope, error = performance.slope(label, score, customer)
    design = sm.add_constant(np.log(score / (1 - score)))
    theirs = sm.Logit(label, design).fit(
        disp=0, cov_type="cluster", cov_kwds={"groups": customer, "use_correction": False}
    )
    assert slope == pytest.approx(theirs.params[1], abs=1e-6)
    assert error == pytest.approx(theirs.bse[1], rel=1e-5)


def test_a_level_is_the_z_test_of_a_proportion() -> None:
    """Else: observed over expected is called off at other customers than a textbook does."""
    random = np.random.default_rng(3)
    label = (random.random(2_000) < 0.34).astype(float)
    told = judge([rows(label, np.full(2_000, 0.3))], Spreads())
    theirs, _ = proportions_ztest(label.sum(), 2_000, value=0.3, prop_var=0.3)
    assert told.level.z == pytest.approx(theirs, rel=1e-9)
    assert told.level.value == pytest.approx(label.mean() / 0.3)
    assert np.isnan(told.slope.value), "all were told the same: there is no slope"
    varied, score = drawn(2_000, 4)
    z = judge([rows(varied, score)], Spreads()).level.z
    assert z == pytest.approx((varied.sum() - score.sum()) / sqrt((score * (1 - score)).sum()), rel=1e-9)


def test_several_moments_of_the_same_customers_are_clustered_as_statsmodels_does() -> None:
    """Else: weekly looks at one fact make it four times as certain."""
    label, score = drawn(1_500, 5, off=0.3)
    once, thrice = (judge([rows(label, score)] * times, Spreads()) for times in (1, 3))
    assert thrice.level.value == pytest.approx(once.level.value)
    missed = np.tile(label - score, 3)
    groups = np.tile(np.arange(1_500), 3)
    # Around 0, as a level that is right has it, and not around the mean.
    theirs = sm.OLS(np.zeros(4_500), np.ones(4_500)).fit()
    scores = np.bincount(groups, missed)
    assert theirs.params[0] == 0
    assert thrice.level.error == pytest.approx(sqrt((scores**2).sum()) / (3 * score.sum()))
    for name in ("level", "slope", "ranking"):
        one, three = getattr(once, name), getattr(thrice, name)
        assert three.error == pytest.approx(one.error, rel=0.05), name


def test_the_distance_is_students_where_the_spread_is_learnt_from_few_moments() -> None:
    """Else: six origins are taken for sixty, and a December like any other is news."""
    assert standing(0.25, 0.1, Spread(0.0, 6)) == pytest.approx(2.5)
    p = stats.norm.sf(standing(0.25, 0.0, Spread(0.1, 6)))
    assert p == pytest.approx(stats.t.sf(2.5, 6), rel=1e-9)
    # Welch: one sample measured very often, the other seven times.
    welch = stats.ttest_ind_from_stats(
        0.25, 0.1 * sqrt(7), 7, 0.0, 0.08 * sqrt(10**9), 10**9, equal_var=False
    )
    ours = 2 * stats.norm.sf(standing(0.25, 0.08, Spread(0.1, 6)))
    assert ours == pytest.approx(welch.pvalue, rel=1e-6)
    assert standing(-0.25, 0.1, Spread(0.0, 6)) == pytest.approx(-2.5)
    assert abs(standing(0.25, 0.0, Spread(0.1, 6), times=4)) > abs(standing(0.25, 0.0, Spread(0.1, 6)))


def test_how_many_it_takes_is_what_statsmodels_says() -> None:
    """Else: a shop waits for customers that a verdict does not need, or a verdict comes without them."""
    theirs = normal_sample_size_one_tail(
        0.3 * MATTERS, stats.norm.cdf(POWER), stats.norm.sf(LIMIT), sqrt(0.3 * 0.7)
    )
    assert performance.needed_for(np.full(500, 0.3)) == pytest.approx(theirs, abs=1.5)


def test_a_model_that_was_always_a_little_off_is_news_only_beyond_that(
    home: Settings, tmp_path: Path
) -> None:
    """Else: a level that moves with the season every year alarms every year, or hides a real loss."""
    card = World(home, tmp_path, customers=10).release()
    spreads = performance.spreads_of(card)
    assert spreads.auc == (0.74, pytest.approx(0.04 / 3.92))
    assert spreads.level.moments == 6
    assert spreads.level.error == 0, "those origins were off by less than their errors"
    offs = zip(card.backtest["origins"], (-0.09, 0.11, 0.12, -0.1, 0.1, -0.1), strict=True)
    origins = [{**one, "observed_over_expected": 1 + off, "z": off / 0.02} for one, off in offs]
    restless = performance.spreads_of(replace(card, backtest={"origins": origins}))
    assert restless.level.error == pytest.approx(0.104, abs=0.005)
    label, score = drawn(20_000, 6, off=0.2)
    assert judge([rows(label, score)], spreads).calibration == "off"
    assert judge([rows(label, score)], restless).calibration == "excused"
    same, other = drawn(20_000, 6)
    assert judge([rows(same, other)], restless).calibration == "holds", "it needs no excuse"
    worse, score = drawn(20_000, 7, off=2.0)
    assert judge([rows(worse, score)], restless).calibration == "off"
    few = performance.spreads_of(replace(card, backtest={"origins": origins[:2]}))
    assert few.level == performance.UNKNOWN_LEVEL


def test_three_origins_make_a_model_neither_lost_by_any_week_nor_by_none(
    home: Settings, tmp_path: Path
) -> None:
    """Else: of three quiet origins a plain December is a page; of three restless ones a level of nought is
    none, nor is a ranking by lot."""
    card = World(home, tmp_path, customers=10).release()

    def of(*offs: float) -> Spreads:
        like = card.backtest["origins"][0]
        origins = [{**like, "observed_over_expected": 1 + off, "z": off / 0.02, "auc": 0.74 + off / 4}
                   for off in offs]  # fmt: skip
        return performance.spreads_of(replace(card, backtest={"origins": origins}))

    quiet, restless = of(0.01, -0.01, 0.005), of(0.1, -0.12, 0.08)
    label, score = drawn(20_000, 6, off=0.11)
    december = judge([rows(label, score)], quiet)
    assert abs(december.level.alone) > LIMIT
    assert december.calibration == "excused"
    (said,) = outcome_words.excuses(december)
    assert "it was judged at 3 moments before its release, few to tell" in said.en
    assert "仅在3个时点" in said.zh
    for spreads in (restless, Spreads(performance.UNKNOWN_LEVEL, ranking=performance.UNKNOWN_RANKING)):
        for spread, most in ((spreads.level, 0.65), (spreads.ranking, 0.15)):
            assert performance.allowed(0.01, spread) < most
    assert of(*[0.1, -0.1] * 3).level.assumed == 0


def test_too_few_of_a_kind_say_nothing() -> None:
    """Else: three lost customers condemn a model, or prove it."""
    told = judge([rows(np.r_[np.ones(5), np.zeros(95)], np.full(100, 0.3))], Spreads())
    assert (told.calibration, told.ranks) == ("unsure", "unsure")
    assert told.level.value == pytest.approx(5 / 30)
    assert judge([], Spreads()).rows == 0


def test_estimated_figures_are_those_of_outcomes_drawn_from_the_scores() -> None:
    """Else: what is told as 'if its probabilities are right' is not even that."""
    _, score = drawn(3_000, 8)
    told, random = performance.estimated(score), np.random.default_rng(9)
    came = [(random.random(3_000) < score).astype(float) for _ in range(40)]
    aucs = [performance.ranking([rows(label, score)])[0] for label in came]
    assert told.auc == pytest.approx(np.mean(aucs), abs=4 * np.std(aucs) / sqrt(40))
    losses = [-np.mean(np.log(np.where(label == 1, score, 1 - score))) for label in came]
    assert told.log_loss == pytest.approx(np.mean(losses), abs=4 * np.std(losses) / sqrt(40))


def test_what_is_excused_says_from_where_on_it_is_lost_and_why_only_there() -> None:
    """Else: customers come a seventh more often than was told, and whoever reads "holds" budgets by it."""
    label, score = drawn(20_000, 6, off=0.2)
    restless = Spreads(level=Spread(0.1, 6))
    told = judge([rows(label, score)], restless)
    assert told.level.low > 1.05
    (said,) = outcome_words.excuses(told)
    assert "at 6 moments before its release it was itself off by about 0.10, beyond chance" in said.en
    assert "发布前的6个时点上" in said.zh
    low, high = (float(said.en.split(f"{word} ")[1].split()[0].strip(":")) for word in ("below", "above"))
    assert (1 - low, high - 1) == (pytest.approx(told.level.allowed, abs=0.01),) * 2
    beyond = standing(told.level.allowed, told.level.error, restless.level)
    assert beyond == pytest.approx(LIMIT), "it is lost from there on"
    (assumed,) = outcome_words.excuses(judge([rows(label, score)], Spreads(performance.UNKNOWN_LEVEL)))
    assert "its backtest is too short" in assumed.en
    assert outcome_words.excuses(judge([rows(label, score)], Spreads())) == (), "it is lost"


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_a_level_can_be_lost_near_an_event_whatever_happens_to_most(share: float) -> None:
    """Else of a target that most meet, no verdict near a sale could ever say that it is lost: the level would
    have to exceed what it can be, one over the share."""
    score = np.full(20_000, share)
    near = dataclasses.replace(rows((np.arange(20_000) < share * 20_000).astype(float), score), eventful=0.6)
    level = judge([near], Spreads(level=Spread(0.05, 6))).level
    assert level.z == pytest.approx(0, abs=0.01)
    assert 1 + level.allowed < 1 / share


def test_what_is_not_known_yet_is_said_in_words() -> None:
    """Else: `[–, –], slope –` is read as a figure that is broken."""
    label, score = np.zeros(200), np.full(200, 0.1)
    label[:5] = 1
    few = judge([rows(label, score)], Spreads(auc=(0.7, 0.01)))
    assert outcome_words.level(few) == (
        "observed/expected 0.25 (interval not known yet), slope not known yet",
        "实际/预期 0.25（区间尚不可知），校准斜率尚不可知",
    )
    assert outcome_words.ranking(few) == (
        "AUC not known yet, against 0.700 at the test",
        "AUC尚不可知（评估时为0.700）",
    )
    nobody = judge([rows(label[:0], score[:0])], Spreads(auc=(0.7, 0.01)))
    assert outcome_words.level(nobody).en == "observed/expected not known yet, slope not known yet"
