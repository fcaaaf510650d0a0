"""What a journey knows at the moment that it asks matters, is checked, and is replayed; it is kept sealed."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import sqlite3
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from test_decisions import Publish, decided, declare, publish, settings  # noqa: F401
from tiny import TINY_MOMENT

from features.errors import SettingsError, UsageError
from features.moments import iso
from features.settings import Settings
from features.words import Words
from propensity import main
from propensity.planned import plan
from serving import retail
from serving.actions import Condition
from serving.conditions import FIELDS, Live, catalogue, check
from serving.decision_context import DecisionContext
from serving.replays import replay

OWN = """
from serving.conditions import Live
from serving.scenarios import Scenario
CONTEXT = [Live("table", "number", Words("Table in the cafe", "咖啡桌号"))]
ACTIONS = [
    replace(ACTIONS[0], name="cake", eligible=(Condition("now.table", at_least=1),), suppress_days=0),
    replace(ACTIONS[1], name="checkout_hint", eligible=(Condition("now.page", one_of=("cart", "checkout")),)),
    replace(ACTIONS[2], name="reminder", eligible=(),
            suppressed_if=(Condition("now.cart_value", at_most=9.5),)),
]
SCENARIOS = [
    Scenario(name="cart_left", words=Words("Cart", "购物车"), when="tenure >= 0", due_days=1,
             actions=("reminder",),
             suppressed_if=(Condition("now.in_store", at_least=1),
                            Condition("now.checking_out", at_least=1))),
]
"""


@pytest.fixture
def shop(settings: Settings, publish: Publish) -> Settings:
    declare(settings, OWN)
    publish()
    return settings


def why(answer: Any, action: str) -> tuple[str | None, str | None]:
    return next((a.reject_reason, a.condition) for a in answer.actions if a.action == action)


def test_what_is_known_now_opens_and_closes_actions(shop: Settings) -> None:
    """Else the journey says that she sits at a table, or pays, and gets the answer of somebody at home."""
    quiet = decided(shop, preview=True)
    assert why(quiet, "cake") == ("not_eligible", "now.table >= 1")
    assert why(quiet, "checkout_hint") == ("not_eligible", "now.page in cart, checkout")
    seated = decided(shop, preview=True, context={"table": 4, "page": "home"})
    assert seated.action == "cake"
    assert why(seated, "checkout_hint")[0] == "not_eligible"
    assert decided(shop, preview=True, context={"page": "cart"}).action == "checkout_hint"
    assert decided(shop, preview=True, context={"table": None}).action == quiet.action, "null is not known"


def test_a_scenario_waits_while_she_is_in_the_shop_or_pays(shop: Settings) -> None:
    """Else she is reminded of the cart while she stands at the till with it."""
    assert decided(shop, preview=True, scenario="cart_left").action == "reminder"
    for field in ("in_store", "checking_out"):
        now = decided(shop, preview=True, scenario="cart_left", context={field: True})
        assert now.action == "nothing"
        assert why(now, "reminder") == ("not_now", f"now.{field} >= 1")
        assert now.text.en == "Do nothing. The scenario waits for another moment."
        elsewhere = decided(shop, preview=True, scenario="cart_left", context={field: False})
        assert elsewhere.action == "reminder"
    small = decided(shop, preview=True, scenario="cart_left", context={"cart_value": 9.5})
    assert why(small, "reminder") == ("excluded", "now.cart_value <= 9.5")
    (example,) = (one for one in retail.SCENARIOS if one.name == "cart_left")
    assert {c.feature for c in example.suppressed_if} == {"now.in_store", "now.checking_out"}


def test_the_command_line_says_it_too(shop: Settings) -> None:
    """An operator tries what a journey would get."""
    env = {"PROPENSITY_HOME": str(shop.home), "PROPENSITY_SHOP": str(shop.shop)}
    words = ("decide", "c0001", "--preview", "--as-of", iso(TINY_MOMENT), "--context")
    seated = CliRunner().invoke(main, [*words, "table=4", "--context", "in_store=true"], env=env)
    assert seated.output.startswith("cake:"), seated.output
    wrong = CliRunner().invoke(main, [*words, "in_store=yes"], env=env)
    assert (wrong.exit_code, "expected true or false" in wrong.output) == (2, True)


def test_it_is_replayed_from_the_record_where_it_is_sealed(shop: Settings) -> None:
    """Else the same record gives another answer; or erasure leaves what she looked at."""
    taken = decided(shop, scenario="cart_left", context={"in_store": True, "page": "a-page-of-hers"})
    again = decided(shop, "c0002", context={"table": 4})
    for answer in (taken, again):
        assert replay(shop, str(answer.decision_id)).verdict == "equal"
    with closing(sqlite3.connect(shop.home / "ledger" / "ledger.sqlite")) as db:
        dump = "\n".join(db.iterdump())
    assert "a-page-of-hers" not in dump
    assert b"a-page-of-hers".hex().upper() not in dump


def test_an_unknown_field_or_another_kind_is_refused_without_repeating_it(shop: Settings) -> None:
    """A misspelt field would silently change nothing; and what the caller sent belongs in no log."""
    for sent, said in (
        ({"marie@example.org": 1}, r"\$\.context: expected only the fields cart_value, .*, table"),
        ({"in_store": 1}, r"\$\.context\.in_store: expected true or false"),
        ({"cart_value": True}, r"\$\.context\.cart_value: expected a number, 0 or more"),
        ({"cart_value": -1}, r"\$\.context\.cart_value: expected a number"),
        ({"page": 7}, r"\$\.context\.page: expected a text of at most 256"),
        ({"page": "x" * 257}, r"\$\.context\.page: expected a text of at most 256"),
    ):
        with pytest.raises(UsageError, match=said) as refused:
            decided(shop, context=sent)
        assert "marie" not in str(refused.value)


def test_a_plan_has_no_context_and_nothing_that_needs_one(shop: Settings) -> None:
    """Else a plan sends cake to everybody, wherever they are."""
    made = plan(shop, None, {})
    names = [made.actions[j].name for j in set(made.chosen.tolist())]
    assert "cake" not in names
    assert "checkout_hint" not in names


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (
            "Condition('now.tabel', at_least=1)",
            "which is no field of the live context: now.cart_value",
        ),
        ("Condition('now.page', at_least=1)", r"now.page, a text: say one_of"),
        ("Condition('now.page')", r"now.page, a text: say one_of"),
        ("Condition('now.in_store', one_of=('yes',))", r"now.in_store, a flag: say at_least or at_most"),
        ("Condition('tenure', one_of=('a',))", "tenure for a text, and a feature is a number"),
    ],
)
def test_a_condition_that_could_never_be_met_is_refused(
    settings: Settings, condition: str, said: str
) -> None:
    """A misspelt field would never be met, or never rule anybody out, and nobody would notice."""
    declare(settings, f"ACTIONS = [replace(ACTIONS[0], name='cake', eligible=({condition},))]")
    with pytest.raises(SettingsError, match=said):
        DecisionContext.open(settings)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (Live("a b", "flag", Words("a", "甲")), "must be an identifier"),
        (Live("page", "text", Words("a", "甲")), "declared twice"),
        (Live("shelf", "text", Words("a", "")), "English and Chinese"),
        ("shelf", "no Live"),
    ],
)
def test_a_field_that_cannot_be_meant_is_refused(own: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        catalogue([own])


def test_every_field_says_what_it_is_in_both_languages() -> None:
    """A journey's author reads them."""
    assert all(field.words.en != field.words.zh for field in FIELDS)
    check({"in_store": True, "cart_value": 0, "page": None}, catalogue())


def test_bounds_are_compared_as_features_are() -> None:
    """float32 on both sides: else 0.1 is not at least 0.1."""
    assert Condition("now.cart_value", at_least=0.1).holds(np.array([0.1], np.float32)).tolist() == [True]
    assert Condition("now.page", one_of=("a",)).now({"page": "a"}) == 1.0
    assert np.isnan(Condition("now.page", one_of=("a",)).now(None))
