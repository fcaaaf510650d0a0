"""A wrong action must be refused when it is declared, not found in the answers afterwards."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from features.definitions import catalogue as feature_catalogue
from features.errors import SettingsError
from features.settings import BUNDLED_SHOPS
from features.shop import Shop
from features.words import Words
from serving.actions import NOTHING, Action, Condition, Effect, Step, catalogue, require_features

SHOPS = {path.name: Shop.load(path) for path in BUNDLED_SHOPS.iterdir() if (path / "shop.toml").exists()}
SHOP = SHOPS["complete_journey"]
EVERY = [(name, a) for name, shop in SHOPS.items() for a in catalogue(shop.declared("ACTIONS")).values()]
SOME_EFFECT = Effect(0.01, 0.0, 0.02, "prior", Words("assumed", "假设"))


def action(**changes: object) -> Action:
    declared = {
        "name": "win_back_sms", "channel": "sms", "words": Words("Text her", "发短信"),
        "goal": Words("An order", "下单"), "effect": SOME_EFFECT,
    } | changes  # fmt: skip
    return Action(**declared)  # type: ignore[arg-type]


@pytest.mark.parametrize(("shop", "one"), EVERY, ids=lambda of: of if isinstance(of, str) else of.name)
def test_every_action_keeps_its_contract(shop: str, one: Action) -> None:
    """Else the ledger could not replay it, or an answer would claim what nobody measured."""
    assert msgspec.json.decode(msgspec.json.encode(one), type=Action) == one
    require_features([one], feature_catalogue(SHOPS[shop].declared("FEATURES")))
    if one.name == "nothing":
        assert one == NOTHING
        return
    assert len(one.steps) == 1 + len(one.then)
    assert one.effect.evidence == "prior"
    assert 0 <= one.effect.low <= one.effect.high <= 0.02, "real trials of mailings found 0 to 2 points"
    assert one.validity_days > 0
    said = " ".join((*one.words, *one.goal, *one.effect.reason)).lower()
    assert not any(claim in said for claim in ("uplift", "will increase", "proven", "提升了", "已验证"))


def test_the_campaigns_have_the_names_of_the_log() -> None:
    """Else contacts in the log and decisions could not be told to be the same action."""
    own = SHOP.declared("ACTIONS")
    assert [a.name for a in own] == ["campaign_a", "campaign_b", "campaign_c"]
    assert {a.channel for a in own} == {"mail"}


def test_a_shop_gets_no_other_shops_campaigns() -> None:
    """Else the customers of one shop are mailed the coupons of another."""
    assert list(catalogue()) == ["nothing"]
    assert list(catalogue(SHOPS["online_retail"].declared("ACTIONS"))) == ["nothing"]


def test_nothing_comes_first_and_costs_nothing() -> None:
    """At a tie the first is chosen: leaving a customer in peace must win it."""
    assert next(iter(catalogue(SHOP.declared("ACTIONS")))) == "nothing"
    assert NOTHING.steps == NOTHING.channels == ()
    assert NOTHING.send_cost == NOTHING.incentive == NOTHING.fatigue_cost == NOTHING.effect.mean == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "win back"}, "identifier"),
        ({"channel": None}, "channel"),
        ({"effect": Effect(1.0, 0.0, 2.0, "prior", Words("a", "b"))}, "one point is .01"),
        ({"effect": Effect(0.03, 0.0, 0.02, "prior", Words("a", "b"))}, "low <= mean <= high"),
        ({"effect": Effect(0.01, 0.0, 0.02, "prior", Words("", "b"))}, "reason"),
        ({"redeem": 1.5}, "between 0 and 1"),
        ({"send_cost": -0.1}, "send_cost is -0.1, negative"),
        ({"suppress_days": -1}, "suppress_days is -1, negative"),
        ({"words": Words("Text her", "")}, "Chinese"),
        ({"eligible": (Condition("tenure", at_least=9, at_most=3),)}, "nobody can meet .* tenure"),
        ({"suppressed_if": (Condition("tenure", at_least=9, at_most=3),)}, "nobody is ruled out .* tenure"),
        ({"eligible": Condition("tenure")}, "with a comma"),
        ({"order_value": 0.0}, "order_value must be above 0"),
        ({"then": Step("mail", Words("a", "b"))}, "with a comma"),
        ({"then": (Step("", Words("a", "b")),)}, "step 2 needs a channel"),
        ({"then": (Step("mail", Words("a", "")),)}, "step 2 needs words"),
        ({"then": (Step("mail", Words("a", "b"), send_cost=-1),)}, "step 2 has a negative"),
        (
            {"then": (Step("mail", Words("a", "b"), after_hours=5), Step("sms", Words("a", "b")))},
            "step 3 comes",
        ),
        ({"goal_kind": "service"}, "that is owed"),
        ({"goal_kind": "service", "purpose": "service"}, "its effect 0"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused_by_name(changes: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        action(**changes)
    assert repr(changes.get("name", "win_back_sms")) in str(refused.value)


def test_a_shop_adds_its_own_action(tmp_path: Path) -> None:
    """A shop's shop.py is the one place to add an action."""
    toml = SHOP.folder / "shop.toml"
    (tmp_path / "shop.toml").write_bytes(toml.read_bytes())
    (tmp_path / "shop.py").write_text(
        "from features.words import Words\n"
        "from serving.actions import Action, Effect\n"
        "effect = Effect(.01, 0., .02, 'prior', Words('assumed', '假设'))\n"
        "ACTIONS = [Action(name='call', channel='phone', words=Words('Call', '电话'),\n"
        "                  goal=Words('An order', '下单'), effect=effect)]\n",
        "utf-8",
    )
    assert list(catalogue(Shop.load(tmp_path).declared("ACTIONS")))[-1] == "call"


def test_the_same_name_twice_is_refused() -> None:
    """Else one of two actions would be logged under the other's name."""
    with pytest.raises(SettingsError, match="'win_back_sms' is declared twice"):
        catalogue([action(), action()])


def test_what_is_no_action_and_a_channel_of_two_reaches_are_refused() -> None:
    """Else a chat group would be held out by customer, and all of it would read the message."""
    with pytest.raises(SettingsError, match="no Action"):
        catalogue(["win_back_sms"])  # type: ignore[list-item]
    group = action(
        name="b", channel="chat", reach="group", then=(Step("sms", Words("a", "b"), reach="group"),)
    )
    with pytest.raises(
        SettingsError, match="'sms' addresses person in action 'win_back_sms', and group in 'b'"
    ):
        catalogue([action(), group])


LIVE = action(
    name="live_bundle", channel="mini_program",
    then=(Step("sms", Words("a", "b"), after_hours=1), Step("group_message", Words("a", "b"), after_hours=2)),
)  # fmt: skip


def test_a_bundle_is_decided_for_its_widest_step_and_the_others_are_parts_of_it() -> None:
    """Else a member with an open complaint, at the cap or held out gets the SMS that was decided for a chat,
    and it counts as nobody's contact."""
    assert catalogue([LIVE])["live_bundle"].parts == (LIVE,)
    *before, last = LIVE.then
    mixed = replace(
        LIVE, send_cost=0.01, then=(replace(before[0], send_cost=0.05), replace(last, reach="group"))
    )
    assert (mixed.unit, mixed.narrower) == ("group", ("person",))
    wide, part = catalogue([mixed])["live_bundle"].parts
    assert [(s.channel, s.after_hours) for s in wide.steps] == [("group_message", 2)]
    assert (wide.effect, wide.incentive, wide.part_of) == (LIVE.effect, LIVE.incentive, None)
    assert [(s.channel, s.after_hours, s.send_cost) for s in part.steps] == [
        ("mini_program", 0, 0.01), ("sms", 1, 0.05),
    ]  # fmt: skip
    assert (part.part_of, part.cost, part.effect.mean) == ("group", pytest.approx(0.06), 0.0)
    assert mixed.cost == pytest.approx(wide.cost + part.cost), "nothing is paid twice"
    with pytest.raises(SettingsError, match="declares part_of"):
        catalogue([part])


def test_a_condition_on_no_feature_is_refused() -> None:
    """A misspelt feature is never known: the action would silently never be eligible."""
    with pytest.raises(SettingsError, match="days_since_oder"):
        require_features([action(eligible=(Condition("days_since_oder"),))], feature_catalogue())
    with pytest.raises(SettingsError, match="days_since_oder"):
        require_features([action(suppressed_if=(Condition("days_since_oder"),))], feature_catalogue())
