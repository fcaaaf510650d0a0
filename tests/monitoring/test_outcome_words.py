"""What is said of what came. If these fail, whoever is woken reads figures, and guesses what they mean."""

import numpy as np
import pytest
from numpy.typing import NDArray
from told_world import HORIZON, MOMENTS

from features.words import Words
from monitoring import outcome_words
from monitoring.messages import Said, first
from monitoring.outcomes import Figures, Who
from monitoring.performance import Estimated, Judged, Rows, Spread, Spreads, judge

Numbers = NDArray[np.float64]
ASKED = Words("No order in the next 28 days", "未来28天内不下单")
QUIET = Spreads()


def drawn(tilt: float = 1.0, off: float = 0.0, rows: int = 20_000) -> tuple[Numbers, Numbers]:
    """Labels, and scores as often above a half as below it. tilt, off: what their log-odds really are."""
    random = np.random.default_rng(3)
    score = random.beta(2, 2, rows).clip(0.01, 0.99)
    truth = 1 / (1 + np.exp(-(tilt * np.log(score / (1 - score)) + off)))
    return (random.random(rows) < truth).astype(float), score


def judged(*of: Numbers, spreads: Spreads = QUIET) -> Judged:
    label, score = of
    return judge([Rows(label, score, np.arange(len(label)))], spreads)


def figures(on: Who = "everyone", days: int = HORIZON, **groups: Judged) -> Figures:
    return Figures(
        "churn_28d", "1", ASKED, (MOMENTS[20],), days, HORIZON, False, groups, on, Estimated(0.74, 0.5)  # type: ignore[arg-type]
    )  # fmt: skip


def title(of: Figures, what: outcome_words.What = "calibration") -> Said:
    return first(Said(*outcome_words.told(of, what)))


def test_a_level_that_is_lost_is_said_by_how_many_came() -> None:
    """Else: "observed/expected 0.87, slope 0.74" is the title, and an operations lead asks what it means."""
    lost = figures(everyone=judged(*drawn(off=-0.5)))
    level = lost.decides.level.value
    said = title(lost)
    assert said.en == f'"{ASKED.en}" came {100 * level:.0f} times for every 100 that were expected'
    assert said.zh == f"“{ASKED.zh}”每预期100次，实际发生{100 * level:.0f}次"
    whole = outcome_words.told(lost)
    assert f". By what came within 28 days of 2017-10-22, of everyone, for hardly anybody was contacted " \
           f"(20,000): observed/expected {level:.2f} [" in whole.en  # fmt: skip
    assert title(figures(days=7, everyone=lost.decides)).en.endswith("that were expected by then")


def test_a_slope_that_is_lost_is_said_by_who_is_misjudged_and_which_way() -> None:
    """Else: "slope 0.74 where 1.00 is right" tells nobody that the customers at most risk are at less."""
    flat = title(figures(everyone=judged(*drawn(tilt=0.6))))
    assert flat.en == (
        f'those given a high chance of "{ASKED.en}" met it less often than said, and those given a low '
        "chance more often"
    )
    assert flat.zh == f"“{ASKED.zh}”：预测概率高的客户实际发生得比预测少，预测概率低的客户比预测多"
    restless = Spreads(level=Spread(0.2, 6))
    fewer = title(figures(everyone=judged(*drawn(tilt=0.6, off=-0.3), spreads=restless)))
    assert fewer.en == f'those given a high chance of "{ASKED.en}" met it less often than said', (
        "of the others as few came: the level is off, too"
    )
    more = title(figures(everyone=judged(*drawn(tilt=0.6, off=0.3), spreads=restless)))
    assert more.en == f'those given a low chance of "{ASKED.en}" met it more often than said'
    assert more.zh == f"“{ASKED.zh}”：预测概率低的客户实际发生得比预测多"
    steep = title(figures(everyone=judged(*drawn(tilt=1.5))))
    assert steep == Said(
        f'customers differ more in "{ASKED.en}" than said', f"“{ASKED.zh}”：客户之间的实际差异比预测的大"
    )
    both = title(figures(everyone=judged(*drawn(tilt=0.6, off=-0.6))))
    assert both.en.endswith(
        " times for every 100 that were expected, and customers differ less in it than said"
    )
    assert both.zh.endswith("次，且客户之间的实际差异比预测的小")


def test_a_ranking_that_is_lost_is_said_by_what_it_cannot_tell() -> None:
    """Else: an AUC of 0.65 is a figure of which few know whether more of it is better."""
    worse = judged(*drawn(tilt=0.5), spreads=Spreads(auc=(0.74, 0.005)))
    assert title(figures(everyone=worse), "ranking") == Said(
        f'it tells worse than at its test who will and who will not: "{ASKED.en}"',
        f"分辨谁会、谁不会的能力低于评估时：“{ASKED.zh}”",
    )
    assert ": AUC 0." in outcome_words.told(figures(everyone=worse), "ranking").en


def test_what_is_lost_is_not_excused_by_another_figure_and_says_its_limit() -> None:
    """Else: beside 0.87 stands "its level is called lost only below 0.49", and reads like nonsense."""
    restless = Spreads(level=Spread(0.2, 6))
    said = outcome_words.told(figures(everyone=judged(*drawn(tilt=0.6, off=-0.3), spreads=restless)))
    assert "only below" not in said.en
    assert "才视为失准" not in said.zh
    assert "The slope counts as lost below 0.9" in said.en
    assert "斜率低于0.9" in said.zh
    excused = outcome_words.told(figures(everyone=judged(*drawn(off=-0.3), spreads=restless)))
    assert excused.en.startswith("calibration is off, and no worse than at its release. By what came within")
    assert "Its level is called lost only below" in excused.en


def test_the_contacted_are_no_measure_of_what_contacts_do() -> None:
    """Else: those who were silent and were written to are still the more silent, and a good coupon looks
    harmful."""
    said = outcome_words.told(
        figures("held_out", held_out=judged(*drawn()), treated=judged(*drawn(off=0.5, rows=776)))
    )
    assert "Beside it, of the contacted (776): observed/expected 1." in said.en
    assert "who is contacted depends on how they behave, so it does not tell what contacts do" in said.en
    assert "是否触达取决于客户行为，故不能衡量触达的作用" in said.zh


@pytest.mark.parametrize("off", [-0.5, 0.5])
def test_where_nobody_was_held_out_by_lot_it_is_said_that_nobody_can_tell(off: float) -> None:
    """Else: what contacts did is taken for a change of customers, or the other way round."""
    lost = judged(*drawn(off=-0.5))
    said = outcome_words.told(figures("untreated", untreated=lost, treated=judged(*drawn(off=off))))
    assert said.en.startswith("calibration is not sure." if off > 0 else f'"{ASKED.en}" came ')
    assert "Without a holdout by lot nobody can tell a change of customers from what contacts do" in said.en
    assert "没有随机对照组" in said.zh
    by_lot = outcome_words.told(figures("held_out", held_out=lost, treated=judged(*drawn(off=off))))
    assert "Without a holdout" not in by_lot.en
