"""A wrong action must be refused when it is declared, not found in the answers afterwards."""

from pathlib import Path

import msgspec
import pytest

from features.definitions import catalogue as feature_catalogue
from features.errors import SettingsError
from features.settings import Settings
from features.shop import Shop, shop_of
from features.words import Words
from serving.actions import ACTIONS, NOTHING, Action, Condition, Effect, catalogue, require_features

SHOP = shop_of(Settings())
EVERY = catalogue(SHOP.declared("ACTIONS"))
SOME_EFFECT = Effect(0.01, 0.0, 0.02, "prior", Words("assumed", "假设"))


def action(**changes: object) -> Action:
    declared = {
        "name": "win_back_sms", "channel": "sms", "words": Words("Text her", "发短信"),
        "goal": Words("An order", "下单"), "effect": SOME_EFFECT,
    } | changes  # fmt: skip
    return Action(**declared)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", EVERY)
def test_every_action_keeps_its_contract(name: str) -> None:
    """Else the ledger could not replay it, or an answer would claim what nobody measured."""
    one = EVERY[name]
    assert one.name == name
    assert msgspec.json.decode(msgspec.json.encode(one), type=Action) == one
    require_features([one], feature_catalogue(SHOP.declared("FEATURES")))
    if name == "nothing":
        assert one == NOTHING
        return
    assert one.effect.evidence == "prior"
    assert 0 <= one.effect.low <= one.effect.high <= 0.02, "real trials of mailings found 0 to 2 points"
    assert one.validity_days > 0
    said = " ".join((*one.words, *one.goal, *one.effect.reason)).lower()
    assert not any(claim in said for claim in ("uplift", "will increase", "proven", "提升了", "已验证"))


def test_the_campaigns_have_the_names_of_the_log() -> None:
    """Else contacts in the log and decisions could not be told to be the same action."""
    assert [a.name for a in ACTIONS] == ["campaign_a", "campaign_b", "campaign_c"]
    assert {a.channel for a in ACTIONS} == {"mail"}


def test_nothing_comes_first_and_costs_nothing() -> None:
    """At a tie the first is chosen: leaving her in peace must win it."""
    assert next(iter(EVERY)) == "nothing"
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
        ({"send_cost": -0.1}, "negative"),
        ({"words": Words("Text her", "")}, "Chinese"),
        ({"eligible": (Condition("tenure", at_least=9, at_most=3),)}, "tenure"),
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
    with pytest.raises(SettingsError, match="'campaign_a' is declared twice"):
        catalogue([action(name="campaign_a")])


def test_a_condition_on_no_feature_is_refused() -> None:
    """A misspelt feature is never known: the action would silently never be eligible."""
    with pytest.raises(SettingsError, match="days_since_oder"):
        require_features([action(eligible=(Condition("days_since_oder"),))], feature_catalogue())
