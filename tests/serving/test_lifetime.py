"""What a customer is worth weighs what actions do to remaining and opting out; else the answer says so."""

# ruff: noqa: F811 (fixtures of another module are arguments)

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from test_decisions import Publish, decided, declare, publish, settings  # noqa: F401
from test_value import saved
from tiny import TINY_MOMENT, tiny_card, tiny_rows

from features.errors import SettingsError
from features.settings import Settings
from propensity.planned import plan
from serving import effects, releases, score_store
from serving.answers import ActionAnswer, DecisionAnswer
from serving.effects import Line, OutcomeToSave
from serving.formulas import Logistic, Term
from serving.replays import replay

BEYOND = 1 - 28 / 365
HARMS = "ACTIONS[1] = replace(ACTIONS[1], optout_effect=0.01, retention_effect=0.02)"


def campaign_b(answer: DecisionAnswer) -> ActionAnswer:
    return next(action for action in answer.actions if action.action == "campaign_b")


def checked(answer: DecisionAnswer) -> dict[str, float]:
    """The terms of campaign_b, which must add up."""
    b = campaign_b(answer)
    assert b.terms is not None
    assert sum(b.terms.values()) == pytest.approx(b.score)
    return b.terms


def release_value(settings: Settings, tmp_path: Path, values: dict[str, float | None]) -> None:
    """A value model in force, and what it said of these customers when features were published."""
    folder = tmp_path / "value"
    saved(folder)
    released = releases.publish(settings, folder, "value", "1")
    table = pa.table({"customer_id": sorted(values), "value": [values[id] for id in sorted(values)]})
    score_store.write(settings, released, TINY_MOMENT, table)


def declared(settings: Settings, amount: str) -> None:
    path = settings.shop / "shop.toml"
    path.write_text(path.read_text("utf-8").replace("[value]", f"[value]\nlifetime = {amount}"), "utf-8")


def test_the_value_model_weighs_what_an_action_does_to_her_staying(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    """Else a mail that costs customers looks as good as one that keeps them. In a plan for all likewise."""
    declare(settings, HARMS)
    publish()
    release_value(settings, tmp_path, {"c0001": 500.0, "c0002": None})
    answer = decided(settings, key="k")
    terms = checked(answer)
    assert terms["d_retention"] == pytest.approx(0.02 * 500 * BEYOND)
    assert terms["d_optout"] == pytest.approx(-0.01 * 500 * BEYOND)
    assert answer.used.lifetime_value == pytest.approx(500 * BEYOND)
    assert (answer.used.lifetime_from, answer.used.lifetime_text) == ("value@1", None)
    assert replay(settings, answer.decision_id or "").verdict == "equal"
    unknown = decided(settings, "c0002", preview=True)
    assert (unknown.used.lifetime_value, checked(unknown)["d_optout"]) == (None, 0.0)
    assert unknown.used.lifetime_text is not None
    assert "does not know this customer" in unknown.used.lifetime_text.en
    made = plan(settings, None, {})
    place = [a.name for a in made.actions].index("campaign_b")
    assert made.decisions.net[1, place] == pytest.approx(campaign_b(answer).score)


def test_without_a_model_the_declared_figure_counts_or_the_answer_says_that_none_does(
    settings: Settings, publish: Publish
) -> None:
    """Else a term of zero passes for an effect of zero."""
    declare(settings, HARMS)
    publish()
    answer = decided(settings, preview=True)
    assert (checked(answer)["d_optout"], answer.used.lifetime_value) == (0.0, None)
    assert answer.used.lifetime_text is not None
    assert "there is no value model" in answer.used.lifetime_text.en
    declared(settings, "200")
    answer = decided(settings, preview=True)
    assert checked(answer)["d_optout"] == pytest.approx(-2.0)
    assert (answer.used.lifetime_value, answer.used.lifetime_from) == (200.0, "shop.toml")
    path = settings.shop / "shop.toml"
    path.write_text(path.read_text("utf-8").replace("lifetime = 200", "lifetime = -1"), "utf-8")
    with pytest.raises(SettingsError, match="lifetime"):
        decided(settings, preview=True)


def test_opting_out_that_a_lottery_showed_replaces_what_was_assumed(
    settings: Settings, publish: Publish, tmp_path: Path, tiny_release: Any
) -> None:
    """Else customers are lost to a campaign whose harm is known; and its uncertainty widens the interval."""
    declare(settings, HARMS)
    declared(settings, "200")
    publish()
    before = decided(settings, preview=True)
    card = tiny_card("uplift", kind=effects.KIND, currency="USD")
    card = msgspec.structs.replace(card, target=msgspec.structs.replace(card.target, horizon_days=28))
    flat = Logistic(0.0, (Term("0", (0.0, 90.0), (20.0,), (15.0,), (0.0,), 0.0),))
    saves = [
        OutcomeToSave(name, (Line(mean, 0.0, 0.0, 0.01, 0.0),), (flat,), (0.0, 0.0), 0, False)
        for name, mean in (("margin", 9.0), ("opt_out", 0.03))
    ]
    folder = tmp_path / "effects"
    effects.save(folder, card, ("nothing", "campaign_b"), "randomised", saves, tiny_rows(8))
    releases.publish(settings, folder, "uplift", "1")
    answer = decided(settings, key="k")
    assert checked(answer)["d_optout"] == pytest.approx(-0.03 * 200)
    assert checked(before)["d_optout"] == pytest.approx(-0.01 * 200)
    interval = campaign_b(answer).interval
    assert interval is not None
    assert np.diff(interval)[0] == pytest.approx(2 * 1.959964 * 0.01 * (1 + 200))
    assert replay(settings, answer.decision_id or "").verdict == "equal"
