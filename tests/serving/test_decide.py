"""Decisions: the value adds up, filters hold for everyone, propensities are what chance really does."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.policy import Cap, Cooldown
from features.words import Words
from serving.actions import NOTHING, Action, Condition, Effect, Step
from serving.decide import (
    REASONS,
    TERMS,
    Decisions,
    Limits,
    Situation,
    decide,
    expected_loss,
    reason,
)
from serving.lots import in_holdout

WORDS = Words("x", "甲")


def action(name: str, mean: float = 0.01, **changes: object) -> Action:
    effect = Effect(mean, min(0.0, mean), 0.02, "prior", WORDS)
    declared = {"name": name, "channel": "mail", "words": WORDS, "goal": WORDS, "effect": effect} | changes
    return Action(**declared)  # type: ignore[arg-type]


def situation(n: int = 1, **changes: object) -> Situation:
    """n ordinary customers: known, granted mail, no contacts, an order is worth 10."""
    known = {
        "features": {"tenure": np.full(n, 100, np.float32)},
        "order_probability": np.full(n, 0.5),
        "margin_per_order": np.full(n, 10.0),
        "lifetime_value": np.zeros(n),
        "contacts": np.zeros(n, np.int64),
        "days_since_contact": np.full(n, np.nan),
        "consent": {("mail", purpose): np.ones(n, np.bool_) for purpose in ("marketing", "service")},
        "automation": np.ones(n, np.bool_),
        "open_complaint": np.zeros(n, np.bool_),
        "holdout": np.zeros(n, np.bool_),
        "seeds": np.arange(n, dtype=np.uint64),
        "capped": np.zeros((n, len(CAPS)), np.int64),
        "rested": np.full((n, len(RESTS)), np.nan),
        "left": np.full(n, np.inf),
        "not_now": np.zeros(n, np.bool_),
    } | changes
    return Situation(**known)  # type: ignore[arg-type]


CAPS = (Cap(2, 30), Cap(1, 7, "mail"), Cap(1, 1, "sms"))
RESTS = (Cooldown(3, "mail"), Cooldown(2, action="a"))
GREEDY = Limits(0.0, CAPS, RESTS)


def reasons(made: Decisions, j: int) -> list[str | None]:
    return [reason(code) for code in made.reject[:, j].tolist()]


def names(actions: Sequence[Action], made: Decisions) -> list[str]:
    return [actions[j].name for j in made.chosen]


def test_the_value_of_an_action_by_hand() -> None:
    """The formula that a marketer is shown, computed once on paper."""
    a = action(
        "a", 0.02, send_cost=0.03, incentive=0.5, redeem=0.1, retention_effect=0.001, optout_effect=0.0004,
        fatigue_cost=0.01,
    )  # fmt: skip
    made = decide([NOTHING, a], GREEDY, situation(lifetime_value=np.array([50.0]), contacts=np.array([1])))
    terms = {name: float(of[0, 1]) for name, of in made.terms.items()}
    assert terms == pytest.approx(
        {"d_margin": 0.2, "d_retention": 0.05, "send_cost": -0.03, "incentive": -0.05, "d_optout": -0.02,
         "fatigue": -0.01}
    )  # fmt: skip
    assert made.net[0].tolist() == pytest.approx([0.0, 0.14])
    assert made.low[0, 1] == pytest.approx(0.14 - 0.2)
    assert made.high[0, 1] == pytest.approx(0.14)


def test_an_effect_cannot_lift_the_probability_of_an_order_above_one() -> None:
    """Else mailing those who order anyway would look worth most."""
    made = decide(
        [NOTHING, action("a", 0.02)], GREEDY, situation(3, order_probability=np.array([0.5, 0.995, np.nan]))
    )
    assert made.terms["d_margin"][:, 1].tolist() == pytest.approx([0.2, 0.05, 0.2])
    worse = decide([NOTHING, action("a", -0.02)], GREEDY, situation(1, order_probability=np.array([0.01])))
    assert worse.terms["d_margin"][0, 1] == pytest.approx(-0.1)


numbers = st.floats(0, 1e4, allow_nan=False)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Action], Limits, Situation, list[str] | None]:
    """Any actions, limits, customers and candidates."""
    n = draw(st.integers(1, 5))
    made = [
        action(
            f"a{j}",
            draw(st.floats(-0.02, 0.02)),
            send_cost=draw(numbers),
            incentive=draw(numbers),
            redeem=draw(st.floats(0, 1)),
            retention_effect=draw(st.floats(-1, 1)),
            optout_effect=draw(st.floats(-1, 1)),
            fatigue_cost=draw(numbers),
            suppress_days=draw(st.integers(0, 30)),
            channel=draw(st.sampled_from(["mail", "sms", "phone"])),
            purpose=draw(st.sampled_from(["marketing", "service"])),
            eligible=draw(st.sampled_from([(), (Condition("tenure"),), (Condition("tenure", at_least=50),)])),
            suppressed_if=draw(st.sampled_from([(), (Condition("tenure", at_least=80),)])),
            then=draw(st.sampled_from([(), (Step("sms", WORDS, 0.1), Step("mail", WORDS))])),
        )
        for j in range(draw(st.integers(0, 5)))
    ]

    def array(of: st.SearchStrategy[float], kind: type = np.float64) -> np.ndarray:
        return np.array(draw(st.lists(of, min_size=n, max_size=n)), dtype=kind)

    maybe = st.one_of(numbers, st.just(np.nan))
    world = situation(
        n,
        features={"tenure": array(st.sampled_from([np.nan, 10.0, 50.0, 90.0]), np.float32)},
        order_probability=array(st.one_of(st.floats(0, 1), st.just(np.nan))),
        margin_per_order=array(maybe),
        lifetime_value=array(numbers),
        contacts=array(st.integers(0, 4), np.int64),
        days_since_contact=array(maybe),
        consent={
            (channel, purpose): array(st.booleans(), np.bool_)
            for channel in ("mail", "sms")
            for purpose in ("marketing", "service")
        },
        automation=array(st.booleans(), np.bool_),
        open_complaint=array(st.booleans(), np.bool_),
        holdout=array(st.booleans(), np.bool_),
        seeds=array(st.integers(0, 2**63 - 1), np.uint64),
        capped=np.column_stack([array(st.integers(0, 3), np.int64) for _ in CAPS]),
        rested=np.column_stack([array(st.one_of(st.floats(-1, 5), st.just(np.nan))) for _ in RESTS]),
        left=array(st.one_of(numbers, st.just(np.inf))),
        not_now=array(st.booleans(), np.bool_),
    )
    paused = draw(st.sampled_from([(), ("a0",), ("channel:sms",), ("everything",)]))
    limits = Limits(draw(st.floats(0, 1)), CAPS, RESTS, frozenset(paused))
    candidates = draw(st.none() | st.just([a.name for a in made[::2]]))
    return [NOTHING, *made], limits, world, candidates


@settings(max_examples=300)
@given(worlds())
def test_in_any_world_the_terms_add_up_and_no_filter_is_passed(
    world: tuple[list[Action], Limits, Situation, list[str] | None],
) -> None:
    """What an operator is shown must be what was computed, and nobody is contacted against a rule."""
    actions, limits, s, candidates = world
    made = decide(actions, limits, s, candidates)
    for i in range(len(s.seeds)):
        for j, a in enumerate(actions):
            total = sum(float(made.terms[name][i, j]) for name in TERMS)
            assert total == made.net[i, j] or np.isnan(total)
            assert made.eligible[i, j] == (reason(int(made.reject[i, j])) is None)
            assert (made.propensity[i, j] > 0) <= made.eligible[i, j]
            if not made.eligible[i, j] or a.name == "nothing":
                continue
            assert np.isfinite(made.net[i, j])
            assert all(s.consent[channel, a.purpose][i] for channel in a.channels)
            assert s.automation[i]
            assert candidates is None or a.name in candidates
            assert not limits.paused & {a.name, *(f"channel:{of}" for of in a.channels), "everything"}
            if a.purpose == "marketing":
                assert not s.holdout[i]
                assert not s.open_complaint[i]
                for c, cap in enumerate(CAPS):
                    more = sum(cap.channel in (None, of) for of in a.channels)
                    assert more == 0 or s.capped[i, c] + more <= cap.contacts
                for c, rest in enumerate(RESTS):
                    about = rest.channel in (None, *a.channels) and rest.action in (None, a.name)
                    assert not (about and s.rested[i, c] < rest.days)
                assert a.cost <= s.left[i]
                assert not s.days_since_contact[i] < a.suppress_days
            for condition in a.eligible:
                value = s.features[condition.feature][i]
                assert value >= (condition.at_least or -np.inf)
            assert not any(s.features[c.feature][i] >= c.at_least for c in a.suppressed_if)
        assert made.eligible[i, 0]
        assert made.eligible[i, made.chosen[i]]
        assert made.propensity[i].sum() == pytest.approx(1, abs=1e-12)
        assert made.net[i, made.best[i]] == max(made.net[i, made.eligible[i]])
        assert made.explored[i] or made.chosen[i] == made.best[i]


@settings(max_examples=100)
@given(worlds())
def test_a_customer_is_decided_alike_alone_and_among_others(
    world: tuple[list[Action], Limits, Situation, list[str] | None],
) -> None:
    """The service decides for one, a batch for all: they must agree to the bit."""
    actions, limits, s, candidates = world
    together = decide(actions, limits, s, candidates)
    for i in range(len(s.seeds)):
        fields = {
            name: {k: v[i : i + 1] for k, v in of.items()} if isinstance(of, dict) else of[i : i + 1]
            for name, of in vars(s).items()
        }
        alone = decide(actions, limits, Situation(**fields), candidates)
        assert alone.chosen[0] == together.chosen[i]
        np.testing.assert_array_equal(alone.net[0], together.net[i])
        np.testing.assert_array_equal(alone.propensity[0], together.propensity[i])


def test_propensities_are_the_frequencies_of_what_is_chosen() -> None:
    """Off-policy estimates divide by them: a wrong propensity is a wrong verdict about every action."""
    actions = [NOTHING, action("a"), action("b", 0.005), action("c", channel="phone")]
    n = 200_000
    made = decide(
        actions, Limits(0.3), situation(n, seeds=np.random.default_rng(5).integers(0, 2**63, n, np.uint64))
    )
    expected = made.propensity[0]
    assert expected.tolist() == pytest.approx([0.1, 0.8, 0.1, 0.0])
    seen = np.bincount(made.chosen, minlength=4) / n
    assert np.abs(seen - expected).max() < 4 * np.sqrt(0.25 / n), "four standard errors at most"
    assert made.explored.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / n))
    drawn = np.bincount(made.chosen[made.explored], minlength=4) / made.explored.sum()
    assert drawn[:3] == pytest.approx(np.full(3, 1 / 3), abs=4 * np.sqrt(0.25 / made.explored.sum()))


def test_the_draw_of_a_seed_never_changes() -> None:
    """A replay, years later, must draw what was drawn: SplitMix64, whose outputs for seed 0 are published."""
    first, second = ((word >> 11) * 2.0**-53 for word in (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4))
    many = [NOTHING, *(action(f"a{j:03}") for j in range(100))]
    made = decide(many, Limits(np.nextafter(first, 1)), situation(1))
    assert made.explored[0]
    assert made.chosen[0] == int(second * 101)
    assert not decide(many, Limits(first), situation(1)).explored[0]


@pytest.mark.parametrize(
    ("changes", "declared", "expected"),
    [
        (
            {"features": {"tenure": np.array([np.nan], np.float32)}},
            {"eligible": (Condition("tenure"),)},
            "not_eligible",
        ),
        ({}, {"eligible": (Condition("tenure", at_most=99),)}, "not_eligible"),
        ({"margin_per_order": np.array([np.nan])}, {}, "value_unknown"),
        ({"consent": {}}, {}, "no_consent"),
        ({"consent": {("mail", "marketing"): np.array([False])}}, {}, "no_consent"),
        ({"consent": {("mail", "service"): np.array([True])}}, {}, "no_consent"),
        ({"consent": {("mail", "marketing"): np.array([True])}}, {"purpose": "service"}, "no_consent"),
        ({"automation": np.array([False])}, {}, "no_automation"),
        ({"automation": np.array([False])}, {"purpose": "service"}, "no_automation"),
        ({"open_complaint": np.array([True])}, {}, "open_complaint"),
        ({"open_complaint": np.array([True])}, {"purpose": "service"}, None),
        ({"days_since_contact": np.array([6.9])}, {"suppress_days": 7}, "suppressed"),
        ({"capped": np.array([[2, 0, 0]])}, {}, "contact_cap"),
        ({"capped": np.array([[0, 1, 0]])}, {}, "contact_cap"),
        ({"rested": np.array([[2.9, np.nan]])}, {}, "suppressed"),
        ({"rested": np.array([[np.nan, -0.5]])}, {}, "suppressed"),
        ({"not_now": np.array([True])}, {}, "not_now"),
        ({"left": np.array([0.99])}, {"send_cost": 0.5, "redeem": 0.5, "incentive": 1.0}, "budget"),
        ({"holdout": np.array([True])}, {}, "holdout"),
        ({"days_since_contact": np.array([7.0])}, {"suppress_days": 7}, None),
        ({"days_since_contact": np.array([-2.0])}, {}, None),  # one that is still to come
        ({"capped": np.array([[1, 0, 9]])}, {}, None),
        ({"rested": np.array([[3.0, 2.0]])}, {}, None),
        ({"left": np.array([1.0]), "margin_per_order": np.array([1e4])}, {"send_cost": 1.0}, None),
        ({"left": np.array([0.0])}, {"send_cost": 0.01, "purpose": "service"}, None),
        ({"holdout": np.array([True])}, {"purpose": "service"}, None),
        ({"capped": np.array([[9, 9, 9]])}, {"purpose": "service"}, None),
        ({"consent": {}}, {"purpose": "service"}, "no_consent"),
    ],
)
def test_each_filter_and_its_reason(
    changes: dict[str, object], declared: dict[str, object], expected: str | None
) -> None:
    """An operator must be told which rule kept an action out; without a grant nobody is contacted."""
    actions = [NOTHING, action("a", **declared)]
    made = decide(actions, GREEDY, situation(1, **changes))
    assert reasons(made, 1) == [expected]
    assert names(actions, made) == ["a" if expected is None else "nothing"]
    if expected is not None:
        assert made.propensity[0].tolist() == [1.0, 0.0]


def test_the_first_reason_in_the_declared_order_is_the_one_told() -> None:
    """The same refusal must always be counted under the same reason."""
    nobody = situation(1, consent={}, holdout=np.array([True]), capped=np.array([[9, 9, 9]]))
    assert reasons(decide([NOTHING, action("a")], GREEDY, nobody), 1) == ["no_consent"]
    assert reasons(decide([NOTHING, action("a")], GREEDY, nobody, candidates=["b"]), 1) == ["not_a_candidate"]


def test_the_first_condition_that_fails_is_the_one_told() -> None:
    """Else the operator would look at the wrong feature."""
    a = action(
        "a", eligible=(Condition("tenure"), Condition("tenure", at_least=200), Condition("tenure", at_most=1))
    )
    assert decide([NOTHING, a], GREEDY, situation()).failed[0].tolist() == [-1, 1]


def test_nothing_wins_a_tie_and_then_the_earlier_action() -> None:
    """A decision must not depend on the machine; and for nothing gained nobody is disturbed."""
    free = [NOTHING, action("a", 0.0), action("b", 0.0)]
    assert names(free, decide(free, GREEDY, situation())) == ["nothing"]
    twins = [NOTHING, action("a"), action("b")]
    assert names(twins, decide(twins, GREEDY, situation())) == ["a"]


def test_a_customer_of_no_known_value_may_still_be_left_alone() -> None:
    """Nothing is worth 0 whatever an order is worth; else such a customer would have no answer at all."""
    features = {name: np.array([20], np.float32) for name in ("days_since_order", "orders_365d")}
    unknown = situation(1, margin_per_order=np.array([np.nan]), features=features)
    made = decide([NOTHING, action("a")], GREEDY, unknown)
    assert made.chosen.tolist() == [0]
    assert reasons(made, 1) == ["value_unknown"]


def test_a_bundle_needs_every_consent_pays_every_message_and_is_a_contact_on_each() -> None:
    """Else one consent opens three channels, and a cap of two lets four messages out."""
    then = (Step("sms", WORDS, 0.04, after_hours=24), Step("mail", WORDS, 0.02, after_hours=48))
    bundle = action("a", send_cost=0.01, then=then)
    both = {("mail", "marketing"): np.ones(1, np.bool_), ("sms", "marketing"): np.ones(1, np.bool_)}
    made = decide([NOTHING, bundle], Limits(0.0), situation(consent=both))
    assert made.eligible[0, 1]
    assert made.terms["send_cost"][0, 1] == pytest.approx(-0.07)
    assert reasons(decide([NOTHING, bundle], GREEDY, situation(consent=both)), 1) == ["contact_cap"]
    for missing in both:
        less = {use: given for use, given in both.items() if use != missing}
        assert reasons(decide([NOTHING, bundle], Limits(0.0), situation(consent=less)), 1) == ["no_consent"]


def test_what_must_not_be_is_told_apart_from_what_may() -> None:
    """Else an operator hears that the customer falls short of something, and loosens the wrong rule."""
    a = action(
        "a", eligible=(Condition("tenure", at_least=50),), suppressed_if=(Condition("tenure", at_least=90),)
    )
    features = {"tenure": np.array([10, 60, 100, np.nan], np.float32)}
    made = decide([NOTHING, a], GREEDY, situation(4, features=features))
    assert reasons(made, 1) == ["not_eligible", None, "excluded", "not_eligible"]
    assert made.failed[:, 1].tolist() == [0, -1, 1, 0]
    loose = decide([NOTHING, replace(a, eligible=())], GREEDY, situation(4, features=features))
    assert reasons(loose, 1)[3] is None, "what is not known rules nobody out"


def test_a_service_that_is_owed_goes_first_and_is_never_left_to_chance() -> None:
    """Else a complaint stays unanswered because a coupon earns more, or because a die said so."""
    owed = action("call", 0.0, purpose="service", goal_kind="service", send_cost=3.0, effect=NOTHING.effect,
                  eligible=(Condition("tenure", at_least=50),))  # fmt: skip
    features = {"tenure": np.array([10, 100] * 200, np.float32)}
    made = decide([NOTHING, action("a"), owed], Limits(1.0), situation(400, features=features))
    assert (made.chosen[1::2] == 2).all()
    assert (made.propensity[1::2, 2] == 1).all()
    assert set(reasons(made, 1)[1::2]) == {"service_first"}
    assert set(made.chosen[::2].tolist()) == {0, 1}, "nothing is owed to the others, who are drawn"


def test_what_addresses_a_group_is_not_decided_for_one_customer() -> None:
    """Else whoever is held out reads the message in the group chat, and the comparison is void."""
    chat = action("chat", reach="group")
    assert reasons(decide([NOTHING, chat], GREEDY, situation()), 1) == ["not_personal"]
    mixed = action("mixed", then=(Step("chat", WORDS, reach="group"),))
    assert mixed.unit == "group"
    made = decide([NOTHING, action("a"), chat], GREEDY, situation(), unit="group")
    assert names([NOTHING, action("a"), chat], made) == ["chat"]


def test_the_holdout_is_sticky_of_the_right_size_and_follows_the_salt() -> None:
    """Who drifts in and out of the holdout ruins the one comparison that shows what marketing does."""
    ids = [f"customer {i}" for i in range(20_000)]
    held = in_holdout(ids, "2017", 0.05)
    assert held.mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / len(ids)))
    np.testing.assert_array_equal(in_holdout(ids[::-1], "2017", 0.05)[::-1], held)
    assert held[in_holdout(ids, "2017", 0.04)].all(), "a smaller share is part of the larger"
    other = in_holdout(ids, "2018", 0.05)
    assert (held & other).sum() < 0.2 * held.sum()
    assert not in_holdout(ids, "2017", 0.0).any()
    assert in_holdout(ids, "2017", 1.0).all()


def test_every_reason_has_words_in_both_languages() -> None:
    """A code alone explains nothing to a shop assistant."""
    assert all(words.en and words.zh and words.en != words.zh for words in REASONS.values())


@pytest.mark.parametrize(("paused", "rejected"), [
    ("a", ["paused", None]), ("channel:mail", ["paused", None]), ("everything", ["paused", "paused"]),
])  # fmt: skip
def test_what_is_paused_is_not_done(paused: str, rejected: list[str | None]) -> None:
    """A wrong price in a campaign goes on being sent while somebody looks for who can stop it."""
    actions = [NOTHING, action("a"), action("b", channel="sms")]
    grants = {(channel, "marketing"): np.array([True]) for channel in ("mail", "sms")}
    made = decide(actions, Limits(0.0, paused=frozenset([paused])), situation(consent=grants))
    assert [reasons(made, j) for j in (1, 2)] == [[of] for of in rejected]
    assert reasons(made, 0) == [None], "doing nothing is always possible"


def test_the_expected_loss_of_being_wrong_is_that_of_a_simulation() -> None:
    """Else a person is asked about the wrong customers."""
    a, b = action("a", 0.006), action("b", 0.002)
    made = decide([NOTHING, a, b], GREEDY, situation(margin_per_order=np.array([100.0])))
    assert made.chosen[0] == 1
    sd = (made.high[0] - made.low[0]) / (2 * 1.96)
    draws = np.random.default_rng(0).normal(made.net[0], sd, (400_000, 3))
    worth = [np.maximum(0, draws[:, j] - draws[:, 1]).mean() for j in (0, 2)]
    assert expected_loss(made, 0) == pytest.approx(max(worth), rel=0.02)
    certain = decide([NOTHING], GREEDY, situation())
    assert expected_loss(certain, 0) == 0.0
