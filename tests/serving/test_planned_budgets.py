"""A plan and the shop's own budgets: what is left of each limits it, and has a price until it ends."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from test_decisions import Publish, decided, declare, opened, policy, publish, settings  # noqa: F401
from test_planned import in_force, registry, run  # noqa: F401
from tiny import TINY_MOMENT

from features.errors import UsageError
from features.policy import Budget
from features.settings import Settings
from propensity.planned import plan, plan_everyone
from serving import releases
from serving.prices import charged, set_of
from serving.replays import replay
from training import stated


def budgeted(settings: Settings, *budgets: tuple[float, str]) -> None:
    with (settings.shop / "shop.toml").open("a") as file:
        for amount, per in budgets:
            file.write(f'\n[[policy.budget]]\namount = {amount}\nper = "{per}"\n')


def test_a_plan_keeps_to_what_is_left_of_the_shops_own_budgets(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    """Else the mailing house is handed letters for twice the money that the shop said it may spend, and every
    one of them was within the budget when looked at alone."""
    budgeted(settings, (1.0, "month"), (400.0, "year"))
    publish()
    online = decided(settings, "c0199", key="k")  # decided, not yet delivered: reserved
    assert online.action != "nothing"
    (terms,) = (a.terms for a in online.actions if a.action == online.action)
    assert terms is not None
    cost = -(terms["send_cost"] + terms["incentive"])
    out = tmp_path / "plan.parquet"
    done = run(settings, "decide", "--all", "--budget", "2000", "--out", str(out))
    assert done.exit_code == 0, done.output
    planned, told = sum(pq.read_table(out)["cost"].to_pylist()), " ".join(done.output.split())
    assert 1.0 - 2 * cost < planned <= 1.0 - cost + 1e-9
    assert f"{planned:,.2f} of {1 - cost:,.2f} left of 1.00 a month (month_budget)" in told
    found = in_force(settings)
    assert set(found.prices.duals) == {"month_budget"}, "neither --budget nor the year's is short"
    assert found.prices.duals["month_budget"] > 0
    assert "left of 1.00 a month (month_budget)" in stated.limits_of(found).en
    assert "每月预算1.00余" in stated.limits_of(found).zh
    steered = decided(settings, "c0002", key="steered")
    assert steered.duals == found.prices.duals
    assert steered.action == "nothing"
    assert replay(settings, str(steered.decision_id)).verdict == "equal"


def test_the_price_of_a_months_budget_ends_with_the_month(settings: Settings, publish: Publish) -> None:
    """Else the first of the month, with all of the money there, is decided as the 31st was."""
    budgeted(settings, (0.5, "month"))
    publish()
    plan_everyone(settings, None, {}, None, dry_run=False)
    release = releases.load(settings, "prices")
    (budget,) = set_of(release).budgets
    assert budget.until > TINY_MOMENT
    last, first = charged(release, budget.until - timedelta(seconds=1)), charged(release, budget.until)
    assert last.duals.keys() == {"month_budget"}
    assert first.duals == {}
    with opened(settings) as context:
        rules = context.rules(budget.until)
        assert rules.prices == first
        assert context.rules(budget.until) is rules, "else each decision of the month encodes its rules anew"


@pytest.mark.parametrize(
    ("per", "since", "until"),
    [("day", "2024-02-29", "2024-03-01"), ("week", "2024-02-26", "2024-03-04"),
     ("month", "2024-02-01", "2024-03-01"), ("year", "2024-01-01", "2025-01-01")],
)  # fmt: skip
def test_a_period_ends_where_the_next_begins(per: Any, since: str, until: str) -> None:
    """Else a day's money is counted in two periods, or in none."""
    day = date(2024, 2, 29)
    assert (Budget(1.0, per).since(day), Budget(1.0, per).until(day)) == (
        date.fromisoformat(since),
        date.fromisoformat(until),
    )


def test_what_lots_draw_stops_at_the_shops_budget_and_the_plan_is_made(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    """Else at the end of a month either exploration overspends, or there is no plan at all."""
    policy(settings, explore="0.5")
    budgeted(settings, (0.6, "month"))
    publish()
    out = tmp_path / "plan.parquet"
    done = run(settings, "decide", "--all", "--out", str(out))
    assert done.exit_code == 0, done.output
    rows = pq.read_table(out).to_pylist()
    assert 0.5 < sum(row["cost"] for row in rows) <= 0.6 + 1e-9
    assert "were drawn to explore what the limits do not carry any more" in " ".join(done.output.split())
    late = [row for row in rows if row["rejected_campaign_a"] == "budget"]
    assert late, "who came too late was drawn among what could be paid, and is told so"
    assert all(row["action"] != "campaign_a" for row in late)


@pytest.mark.parametrize(
    ("limits", "money", "letters"),
    [(("--budget", "0.03"), 0.03, 200), (("--budget", "0.3"), 0.3, 200), (("--budget", "1"), 1.0, 200),
     (("--capacity", "mail=1"), 99.0, 1), (("--budget", "0.3", "--capacity", "mail=3"), 0.3, 3)],
)  # fmt: skip
def test_a_limit_below_what_exploring_costs_is_planned_within(
    settings: Settings, publish: Publish, tmp_path: Path, limits: tuple[str, ...], money: float, letters: int
) -> None:
    """Else a shop of little money, that may spend 0 or 30, is refused a plan for 20."""
    policy(settings, explore="0.8")
    publish()
    whole = plan(settings, None, {})
    assert sum(whole.actions[j].cost for j in whole.chosen[whole.decisions.explored]) > 2.0
    out = tmp_path / "plan.parquet"
    done = run(settings, "decide", "--all", *limits, "--out", str(out))
    assert done.exit_code == 0, done.output
    rows = pq.read_table(out).to_pylist()
    assert sum(row["cost"] for row in rows) <= money + 1e-9
    assert sum(row["channel"] == "mail" for row in rows) <= letters
    assert "were drawn to explore what the limits do not carry any more" in " ".join(done.output.split())
    late = [row for row in rows if "none_of_it" in (row["rejected_campaign_a"], row["rejected_campaign_b"])]
    assert late, "who came too late was drawn among what was left, and is told so"
    assert all(
        row["propensity"] == 1.0
        for row in late
        if row["rejected_campaign_b"] == "none_of_it"
        and row["rejected_campaign_a"] == "none_of_it"
        and row["rejected_campaign_c"] is not None
    )
    again = run(settings, "decide", "--all", *limits, "--dry-run")
    assert again.output.splitlines()[:6] == done.output.splitlines()[:6], "the dry run told the same"


def test_chances_are_those_of_what_was_left_when_it_was_drawn(settings: Settings, publish: Publish) -> None:
    """Else weights by logged chances count late customers, to whom no letter could be drawn, as if it could:
    over many lots, each customer's letters must come as often as the chances say."""
    n, seen, said = 0, 0.0, 0.0
    path = settings.shop / "shop.toml"
    policy(settings, explore="0.5", holdout="0.0")
    text = path.read_text("utf-8")
    publish()
    for salt in range(40):
        path.write_text(re.sub(r'salt = ".*"', f'salt = "s{salt}"', text), "utf-8")
        made = plan(settings, 0.6, {})
        letters = np.array([a.cost > 0 for a in made.actions])
        drawn = made.decisions.explored
        seen += float(letters[made.chosen[drawn]].sum())
        chance = made.explore / made.open.sum(axis=1)
        said += float((chance[:, None] * made.open)[:, letters].sum())
        n += 1
        assert (made.open[np.arange(len(made.chosen)), made.chosen]).all(), "what was done could be drawn"
    assert seen / n == pytest.approx(said / n, abs=4 * (seen**0.5) / n)


def test_what_is_owed_alone_above_the_budget_is_refused(settings: Settings, publish: Publish) -> None:
    """Else answers that customers wait for are dropped in silence, or paid from money that is not there."""
    declare(
        settings,
        "ACTIONS += [replace(ACTIONS[0], name='answer', purpose='service', goal_kind='service',\n"
        "    eligible=(), effect=replace(ACTIONS[0].effect, mean=0, low=0, high=0))]",
    )
    publish()
    with pytest.raises(UsageError, match="what is owed to customers alone costs .* takes 200 of 3 on mail"):
        plan(settings, 0.1, {"mail": 3})
