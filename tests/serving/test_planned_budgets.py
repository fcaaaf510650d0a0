"""A plan and the shop's own budgets: what is left of each limits it, and has a price until it ends."""

# ruff: noqa: F811 (fixtures of another module are arguments)

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from test_decisions import Publish, decided, opened, policy, publish, settings  # noqa: F401
from test_planned import in_force, registry, run  # noqa: F401
from tiny import TINY_MOMENT

from features.policy import Budget
from features.settings import Settings
from propensity.planned import plan_everyone
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
    assert "were drawn to explore what the policy's budgets do not pay any more" in " ".join(
        done.output.split()
    )
    late = [row for row in rows if row["rejected_campaign_a"] == "budget"]
    assert late, "who came too late was drawn among what could be paid, and is told so"
    assert all(row["action"] != "campaign_a" for row in late)
