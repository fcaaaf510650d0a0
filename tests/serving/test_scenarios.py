"""A scenario that can never come, or comes for the wrong customers, must be found when it is declared."""

from datetime import date

import numpy as np
import pytest

from features.definitions import catalogue as feature_catalogue
from features.errors import SettingsError
from features.words import Words
from serving import retail
from serving.actions import Action, Effect
from serving.actions import catalogue as action_catalogue
from serving.scenarios import Anniversary, Scenario, Segment, aged, catalogue, days_until

FEATURES = feature_catalogue()
ACTIONS = action_catalogue(retail.ACTIONS)
EXAMPLES = catalogue(retail.SCENARIOS, ACTIONS, FEATURES)
NOBODY, NO_DAY = np.array([""]), np.array([np.nan])


def scenario(**changes: object) -> Scenario:
    declared = {"name": "quiet", "words": Words("Quiet", "沉默"), "actions": ("visit_coupon",), "due_days": 7,
                "when": "silence >= 30"} | changes  # fmt: skip
    return Scenario(**declared)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_keeps_its_contract(name: str) -> None:
    """Else a shop takes over a scenario that promises an effect, or that cannot be done as it says."""
    one = EXAMPLES[name]
    assert one.words.en != one.words.zh
    assert set(one.inputs) <= set(FEATURES)
    for action in (ACTIONS[name] for name in one.actions):
        assert action.validity_days > 0
        assert action.words.en != action.words.zh
        assert action.effect.evidence == "prior"
        assert 0 <= action.effect.low <= action.effect.high <= 0.02
    nothing_known = {name: np.array([np.nan]) for name in one.inputs}
    assert not one.holds(nothing_known, NO_DAY, NOBODY).any(), "of whom nothing is known, nobody is due"


def test_the_examples_are_the_scenarios_of_a_private_domain() -> None:
    """What a retailer looks for first, and which action can be had in none of them but by group."""
    assert set(EXAMPLES) == {
        *("after_purchase", "birthday", "holiday", "silence", "cart_left", "complaint"),
        *("win_back", "win_back_complaint", "win_back_return", "promotion"),
    }
    used = {name for one in EXAMPLES.values() for name in one.actions}
    assert {a.name for a in retail.ACTIONS} - used == {"promotion_group"}
    assert ACTIONS["answer_complaint"].by_person
    assert EXAMPLES["complaint"].purpose == "service"
    assert any(len(ACTIONS[name].steps) > 1 for name in used)


@pytest.mark.parametrize(
    ("name", "values", "due"),
    [
        ("after_purchase", {"days_since_order": 2.99}, False),
        ("after_purchase", {"days_since_order": 3.0}, True),
        ("after_purchase", {"days_since_order": 5.0}, False),
        ("holiday", {"days_until_holiday": 1.5, "tenure": 9}, True),
        ("holiday", {"days_until_holiday": 1.5, "tenure": np.nan}, False),
        ("silence", {"silence": 31}, True),
        ("cart_left", {"days_since_cart": 1, "days_since_order": 3, "orders_365d": 2}, True),
        ("cart_left", {"days_since_cart": 1, "days_since_order": 0.5, "orders_365d": 2}, False),
        ("cart_left", {"days_since_cart": 1, "days_since_order": np.nan, "orders_365d": 0}, True),
        ("complaint", {"open_complaints": 1}, True),
        ("complaint", {"open_complaints": 0}, False),
        ("promotion", {"tenure": 100}, True),
    ],
)
def test_who_is_due_by_hand(name: str, values: dict[str, float], due: bool) -> None:
    """A cart that was bought is not left behind, and who never ordered may leave one."""
    known = {feature: np.array([value]) for feature, value in values.items()}
    assert EXAMPLES[name].holds(known, NO_DAY, NOBODY).tolist() == [due]


def test_a_day_of_the_year_and_a_segment_are_met_by_those_who_have_them() -> None:
    """Else whoever stated no birthday is congratulated, or all who left are called about a complaint."""
    holds = EXAMPLES["birthday"].holds({}, np.array([0.0, 3.0, 4.0, np.nan]), np.array([""] * 4))
    assert holds.tolist() == [True, True, False, False]
    labels = np.array(["complaint", "return", "", "dissatisfied"])
    called = EXAMPLES["win_back_complaint"].holds({}, np.full(4, np.nan), labels)
    assert called.tolist() == [True, False, False, True]


def test_days_until_a_birthday() -> None:
    """29 February comes every year, or a customer is congratulated every fourth one."""
    today = date(2023, 2, 27)
    assert days_until("1990-02-28", today) == 1
    assert days_until("02-27", today) == 0
    assert days_until("2000-02-29", today) == 1, "the 28th, in a year without a 29th"
    assert days_until("02-29", date(2024, 2, 27)) == 2
    assert days_until("02-29", date(2023, 3, 1)) == 365
    assert days_until("1990-02-26", today) == 364
    for no_day in ("", "13-40", "unknown", "02-30"):
        assert np.isnan(days_until(no_day, today))


def test_days_go_on_between_a_snapshot_and_now() -> None:
    """Else, with a snapshot a week, who bought on Monday is never 72 hours after the purchase."""
    days = np.array([2.0, 2.0])
    known = np.array([1.0, np.nan], np.float32)
    assert aged(FEATURES["days_since_order"], known, days).tolist()[0] == 3.0
    assert aged(FEATURES["tenure"], known, days).tolist()[0] == 3.0
    assert np.isnan(aged(FEATURES["days_until_holiday"], known, days)[0]), "what lay ahead is over"
    assert aged(FEATURES["days_until_holiday"], np.array([5.0]), days[:1]).tolist() == [3.0]
    assert aged(FEATURES["orders_365d"], known, days).tolist()[0] == 1.0
    assert np.isnan(aged(FEATURES["days_since_order"], known, days)[1])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a b"}, "identifier"),
        ({"words": Words("Quiet", "")}, "words"),
        ({"actions": "visit_coupon"}, "with a comma"),
        ({"due_days": 0}, "more than 0"),
        ({"when": " "}, "everybody is always due"),
        ({"when": "silence >="}, "no rule"),
        ({"anniversary": Anniversary("birthday", 400)}, "days_before"),
        ({"segment": Segment("mood", ("glad",))}, "churn_reason"),
        ({"segment": Segment("churn_reason", ("weather",))}, "no label 'weather'; it has open_complaint"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused_by_name(changes: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        scenario(**changes)
    assert repr(changes.get("name", "quiet")) in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"when": "silense >= 30"}, "silense, which is no feature"),
        (
            {"actions": ("visit_cupon",)},
            "'visit_cupon', which is not declared; there are nothing, care_by_staff",
        ),
        ({"actions": ("nothing",)}, "always be chosen"),
        ({"actions": ("promotion_group",)}, "addresses group"),
        ({"actions": ("answer_complaint",)}, "purpose is marketing, and service that of"),
    ],
)
def test_a_scenario_that_does_not_fit_the_shop_is_refused(changes: dict[str, object], said: str) -> None:
    """Else it never comes, or comes to nothing, and nobody notices."""
    with pytest.raises(SettingsError, match=said):
        catalogue([scenario(**changes)], ACTIONS, FEATURES)


def test_what_is_no_scenario_and_the_same_name_twice_are_refused() -> None:
    with pytest.raises(SettingsError, match="declared twice"):
        catalogue([scenario(), scenario()], ACTIONS, FEATURES)
    action = Action(name="a", channel="sms", words=Words("a", "b"), goal=Words("a", "b"),
                    effect=Effect(0, 0, 0, "prior", Words("a", "b")))  # fmt: skip
    with pytest.raises(SettingsError, match="no Scenario"):
        catalogue([action], ACTIONS, FEATURES)  # type: ignore[list-item]
