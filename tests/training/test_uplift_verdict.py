"""What a trial's verdict says is shown, and what is only chosen."""

from dataclasses import replace

import numpy as np
import pytest
from trials import trial_by_hand

from training.uplift import Uplift, fit
from training.uplift_balance import LOTTERY, Check
from training.uplift_estimates import Estimate, as_normal, shown
from training.uplift_report import _effects, arms
from training.uplift_verdict import verdict

SOUND = [Check(LOTTERY, True, LOTTERY)]


@pytest.fixture(scope="module")
def none() -> Uplift:
    """A trial whose arms do nothing, in which an arm looks best by chance."""
    found = next(
        of for of in (fit(trial_by_hand("none", 1_500, seed)[0], "profit") for seed in range(9)) if of.best
    )
    assert not found.better
    return found


def test_where_no_arm_is_shown_to_be_better_nothing_is_done(none: Uplift) -> None:
    """Else: `not shown` and `everyone gets coupon` stand side by side, and the second is what is done: each
    customer is sent what only cost money, by the luck of the draw."""
    said, best = verdict(none, SOUND), none.arms[none.best]
    assert said.en.startswith(
        "Give everyone nothing: no arm is shown to bring more, after its cost, nor is choosing for each "
        f"customer. The largest estimate is that of {best}: +"
    ), "and says so once"
    assert "请对所有人采用nothing：" in said.zh
    assert f"估计值最大的是{best}" in said.zh
    assert "proven" not in said.en.split("Personal")[0]
    assert (none.default, none.to_save().best) == (0, 0)
    assert not none.policy(trial_by_hand("none", 1_000)[0].matrix).any()
    shares = [row[-1] for row in arms(none).rows]
    assert shares == ["100%", "0%", "0%"]


def test_nothing_shown_is_not_said_to_be_nothing(none: Uplift) -> None:
    """Else: a trial that was too small to tell is read as proof that no mail is worth its stamp."""
    low = tuple(Estimate(-0.1, -0.3, 0.1) for _ in none.arms)
    said = verdict(replace(none, best=0, effects=low, over=tuple(one.less(-0.2) for one in low)), SOUND)
    assert said.en.startswith("Give everyone nothing: no arm is shown to bring more")
    assert "for each customer. No estimate is larger than that of nothing." in said.en
    assert "worse" not in said.en
    harm = (Estimate(0.0, 0.0, 0.0), Estimate(-1.0, -1.5, -0.5), Estimate(-0.1, -0.3, 0.1))
    said = verdict(replace(none, best=0, effects=harm), SOUND)
    assert f"Shown to be worse, after cost: {none.arms[1]}. " in said.en
    assert f"已证实扣除成本后更差：{none.arms[1]}" in said.zh
    other = (Estimate(0.0, 0.0, 0.0), Estimate(0.4, 0.1, 0.7), Estimate(0.5, -0.1, 1.1))
    some = replace(none, best=2, effects=other)
    said = verdict(some, SOUND)
    assert said.en.startswith(
        f"Give everyone {none.arms[1]}: it is proven to bring more than nothing; that choosing for each "
        f"customer brings still more is not. Shown to be better than nothing, after cost: {none.arms[1]}. "
        f"The largest estimate is that of {none.arms[2]}"
    )
    assert some.default == 1, "what is shown, and not the larger estimate that may be nothing"
    assert replace(some, costs=np.array([0.0, 0.2, 0.0])).default == 0, "after cost"
    assert replace(some, evidence="prior").default == 0


def test_a_choice_that_was_never_made_has_no_figure(none: Uplift) -> None:
    """Else: `+0 [+0 +0]` is read as a gain that is known to be nil."""
    still = replace(none, chosen=none.constant, gain=Estimate(0.0, 0.0, 0.0))
    said = verdict(still, SOUND)
    assert "Personal uplift is not proven: nobody is predicted to do better with another arm" in said.en
    assert "0 [" not in said.en.split("Personal")[1]
    assert "personal policy" not in str(_effects(still))


@pytest.mark.parametrize(
    ("one", "text"),
    [
        ((0.00661, 0.00482, 0.0084), "+0.0066 [+0.0048 +0.0084]"),
        ((0.0, -4.1e-7, 4.1e-7), "+0.00000000 [-0.00000041 +0.00000041]"),
        ((12_345.6, 9_000.0, 15_691.2), "+12346 [+9000 +15691]"),
        ((0.0, 0.0, 0.0), "0"),
    ],
)
def test_figures_have_the_digits_of_their_scale(one: tuple[float, float, float], text: str) -> None:
    """Else: a rate of six in a thousand is +0, and money has digits that nobody knows."""
    assert shown(Estimate(*one), sign=True) == text


def test_an_arm_whose_name_is_a_number_is_not_read_as_a_figure(none: Uplift) -> None:
    """Else: `no arm is shown to be better than 0` is said of the arm 0, and read as a loss or a gain."""
    harm = (Estimate(0.0, 0.0, 0.0), Estimate(-1.0, -1.5, -0.5), Estimate(-0.1, -0.3, 0.1))
    found = replace(none, arms=("0", "1", "2.5"), best=0, effects=harm)
    said = verdict(found, SOUND)
    assert said.en.startswith("Give everyone arm 0: no arm is shown")
    assert "Shown to be worse, after cost: arm 1. No estimate is larger than that of arm 0." in said.en
    assert "已证实扣除成本后更差：方案1。" in said.zh
    assert ("over arm 0", "比方案0多") in arms(found).head


def test_what_no_chance_explains_is_still_a_number() -> None:
    """Else: a page says `z -inf` of a trial that nobody drew."""
    customers = np.arange(1_000)
    z = as_normal(np.array([-1e6, 60.0, 1.0]), customers)
    assert np.isfinite(z).all()
    assert (z[0], z[1]) == (pytest.approx(-z[1]), pytest.approx(37.5, abs=0.5))
    assert z[2] == pytest.approx(1.0, abs=0.01)
