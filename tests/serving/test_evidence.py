"""What a lottery showed replaces what was assumed, and only that; every answer says which it rests on."""

# ruff: noqa: F811 (fixtures of another module are arguments)

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from test_decisions import Publish, decided, publish, settings  # noqa: F401
from tiny import tiny_card, tiny_rows

from features.settings import Settings
from propensity.decided import show_decision
from propensity.planned import plan
from serving import effects, releases
from serving.answers import ActionAnswer, DecisionAnswer
from serving.effects import Line, OutcomeToSave
from serving.following import Releases
from serving.formulas import Logistic, Term
from serving.replays import replay
from training.uplift_registered import unread

SLOPE = Logistic(0.0, (Term("0", (0.0, 90.0), (20.0,), (15.0,), (0.08,), 0.0),))
Release = Callable[..., None]


@pytest.fixture
def release(settings: Settings, tmp_path: Path) -> Release:
    """Release effects of campaign_b, and of an action that the shop has not, on margin."""

    def make(
        evidence: str = "randomised",
        personal: bool = False,
        horizon: int = 28,
        control: str = "nothing",
        outcome: str = "margin",
        currency: str = "USD",
    ) -> None:
        card = tiny_card("uplift", kind=effects.KIND, currency=currency)
        target = msgspec.structs.replace(card.target, horizon_days=horizon)
        card = msgspec.structs.replace(card, target=target)
        lines = (Line(-0.2, 1.0, 0.0, 0.04, 0.0), Line(5.0, 0.0, 0.0, 0.1, 0.0))
        of = OutcomeToSave(outcome, lines, (SLOPE, SLOPE), (0.0, 0.0, 0.0), 1, personal)
        arms, folder = (control, "campaign_b", "call"), tmp_path / "effects"
        effects.save(folder, card, arms, evidence, [of], tiny_rows(8))  # type: ignore[arg-type]
        releases.publish(settings, folder, "uplift", "1")

    return make


def of(answer: DecisionAnswer, name: str = "campaign_b") -> ActionAnswer:
    return next(action for action in answer.actions if action.action == name)


def test_an_effect_that_was_shown_replaces_the_one_assumed(
    settings: Settings, publish: Publish, release: Release, tiny_release: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Else the shop goes on mailing what a trial showed to harm, as somebody once assumed the contrary."""
    publish()
    before = decided(settings, preview=True)
    assert (before.action, before.evidence, of(before).evidence) == ("campaign_b", "prior", "prior")
    release()
    answer = decided(settings, key="k")
    b, a = of(answer), of(answer, "campaign_a")
    assert b.terms is not None
    assert b.terms["d_margin"] == pytest.approx(-0.2)
    assert b.interval is not None
    assert np.diff(b.interval)[0] == pytest.approx(2 * 1.959964 * 0.04)
    assert (b.evidence, a.evidence, answer.action) == ("randomised", "prior", "campaign_a")
    assert "by lot" in b.evidence_text.en
    assert answer.used.effects_model == "uplift@1"
    assert replay(settings, answer.decision_id or "").verdict == "equal"
    tiny_release()  # P(order) as well: two releases in one record
    both = decided(settings, "c0002", key="two")
    assert replay(settings, both.decision_id or "").verdict == "equal"
    show_decision(msgspec.to_builtins(answer), as_json=False)
    assert "effect on retention" in capsys.readouterr().out, "else 0.0000 is read as what was learnt"
    only = decided(settings, "c0003", candidates=["campaign_b"])
    assert (only.evidence, only.action) == ("randomised", "nothing")
    assert "by effects that decisions by lot showed" in only.text.en


def test_the_customers_own_effect_counts_where_choosing_by_customer_was_proven(
    settings: Settings, publish: Publish, release: Release
) -> None:
    """And a plan for everybody is decided by the same."""
    publish(days_since_order=35)
    release(personal=True)
    answer = decided(settings, preview=True)
    b = of(answer)
    assert b.terms is not None
    assert b.terms["d_margin"] == pytest.approx(-0.2 + 0.08 * (35 - 20) / 15, rel=1e-5)
    made = plan(settings, None, {})
    place = [a.name for a in made.actions].index("campaign_b")
    assert made.decisions.net[1, place] == pytest.approx(b.score)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"evidence": "observational"}, "its evidence is observational"),
        ({"horizon": 14}, "of 14 days, the shop's value horizon of 28"),
        ({"control": "mail"}, "its first arm is mail"),
        ({"outcome": "order"}, "decisions read margin"),
        ({"currency": "EUR"}, "its money is EUR, the shop's USD"),
    ],
)
def test_what_no_lottery_showed_replaces_nothing(
    settings: Settings, publish: Publish, release: Release, changes: dict[str, Any], says: str
) -> None:
    """Else a correlation, or the effect over another horizon or against a letter, passes for the effect; and
    whoever released it waits for what never comes."""
    publish()
    before = decided(settings, preview=True)
    release(**changes)
    assert decided(settings, preview=True) == before
    (model,) = (of.model for of in [Releases(settings).find("uplift")] if of is not None)
    assert isinstance(model, effects.EffectsModel)
    why, stranger = unread(settings, model)
    assert says in why.en
    assert "no action of the shop is called call: there are campaign_a, " in stranger.en


def test_what_was_shown_counts_also_where_nobody_knows_what_an_order_is_worth(
    settings: Settings, publish: Publish, release: Release
) -> None:
    """Else who has not ordered for a year is never written to, though a lottery knows what that brings."""
    publish(order_value_365d=np.nan)
    release()
    answer = decided(settings, preview=True)
    assert (of(answer).reject_reason, of(answer, "campaign_a").reject_reason) == (None, "value_unknown")


def test_a_release_withdrawn_is_a_difference_and_not_another_decision(
    settings: Settings, publish: Publish, release: Release
) -> None:
    """Else a replay vouches for a decision that it cannot derive."""
    publish()
    release()
    answer = decided(settings, key="k")
    path = settings.home / "releases" / "uplift" / "1" / "model.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("-0.2", "-0.3"))
    assert replay(settings, answer.decision_id or "").verdict == "differs"
