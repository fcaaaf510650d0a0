"""Deciding for everybody: within the limits, as the online decision would, and its prices steer that one."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from logs import write_log
from test_decisions import Publish, decided, declare, policy, publish, settings  # noqa: F401
from tiny import TINY_MOMENT, tiny_rows

from features.errors import DecisionError, UsageError
from features.moments import DAY, iso
from features.settings import Settings
from propensity import main
from propensity.planned import plan, plan_everyone
from serving.prices import Prices, in_force
from serving.replays import replay


def test_without_limits_everybody_gets_what_the_online_decision_gives(
    settings: Settings,
    publish: Publish,
    tiny_release: Any,
) -> None:
    """Else the plan speaks of other customers than the service: contacts in the ledger, P(order), filters."""
    publish()
    tiny_release()
    decided(settings, "c0003", key="k")  # reserves a contact, so a second one is too soon
    made = plan(settings, None, {})
    assert len(made.customers) == 200
    for place in (1, 3, 50, 199):
        answer = decided(settings, made.customers[place], preview=True)
        assert made.actions[made.chosen[place]].name == answer.action
        scores = [a.score for a in answer.actions]
        assert made.decisions.net[place].tolist() == pytest.approx(scores)
        assert made.decisions.propensity[place].tolist() == [a.propensity for a in answer.actions]
    assert made.actions[made.chosen[3]].name == "nothing"
    assert made.found.prices.duals == {}


def test_a_plan_keeps_to_its_limits_and_is_written_for_the_mailing_house(
    settings: Settings,
    publish: Publish,
    tmp_path: Path,
) -> None:
    """Explored, held out and all: a letter too many is money that nobody approved."""
    policy(settings, holdout="0.1", explore="0.2")
    publish()
    out = tmp_path / "plan.parquet"
    plan_everyone(settings, 6.0, {"mail": 70}, out, dry_run=False)
    rows = pq.read_table(out).to_pylist()
    sent = [row for row in rows if row["channel"] == "mail"]
    assert len(rows) == 200
    assert 60 < len(sent) <= 70
    assert sum(row["cost"] for row in rows) <= 6.0
    assert any(row["explored"] for row in sent)
    for row in rows:
        assert 0 < row["propensity"] <= 1
        if row["holdout"]:
            assert (row["action"], row["rejected_campaign_a"], row["propensity"]) == (
                "nothing",
                "holdout",
                1.0,
            )
    again = tmp_path / "again.parquet"
    plan_everyone(settings, 6.0, {"mail": 70}, again, dry_run=False)
    assert again.read_bytes() == out.read_bytes()


def test_prices_steer_the_online_decision_from_then_on_and_are_replayed(
    settings: Settings,
    publish: Publish,
) -> None:
    """Else the service sends whatever pays for itself, and the budget is gone by noon."""
    publish()
    before = decided(settings, "c0001", key="before")
    assert before.action != "nothing"
    plan_everyone(settings, 0.5, {}, None, dry_run=False)
    price = in_force(settings, TINY_MOMENT).budget
    assert price > 0
    after = decided(settings, "c0002", key="after")
    assert after.duals == {"budget": price}
    best = max(after.actions, key=lambda a: (a.score or 0.0) - a.price)
    assert (best.score or 0.0) - best.price <= 1e-9, "everybody is alike: the last unit of money decides"
    assert after.action == "nothing"
    assert after.binding_constraint is not None
    assert after.binding_constraint.reject_reason == "price"
    assert "its budget or channel earns" in after.text.en
    for answer in (before, after):
        assert replay(settings, str(answer.decision_id)).verdict == "equal"
    plan_everyone(settings, None, {}, None, dry_run=False)
    assert decided(settings, "c0004", preview=True).duals == {}, "the next run ends the prices"


def test_prices_hold_from_their_moment_on(settings: Settings, publish: Publish) -> None:
    """Else a decision as of last month is steered by what was scarce today. A broken file is named."""
    publish()
    plan_everyone(settings, 0.5, {}, None, dry_run=False)
    assert in_force(settings, TINY_MOMENT - timedelta(seconds=1)) == Prices()
    (file,) = (settings.home / "prices").iterdir()
    file.write_text("{}")
    with pytest.raises(DecisionError, match="damaged"):
        in_force(settings, TINY_MOMENT)


def test_a_dry_run_changes_nothing(settings: Settings, publish: Publish, tmp_path: Path) -> None:
    """Trying a budget must not steer the shop."""
    publish()
    plan_everyone(settings, 1.0, {"mail": 5}, tmp_path / "plan.parquet", dry_run=True)
    assert not (settings.home / "prices").exists()
    assert not (tmp_path / "plan.parquet").exists()


def test_exploration_that_is_above_the_budget_is_refused(settings: Settings, publish: Publish) -> None:
    """Else either the budget or the logged chances would be a lie."""
    policy(settings, explore="1.0")
    publish()
    with pytest.raises(UsageError, match="exploration and what is owed alone costs .* takes .* of 3 on mail"):
        plan(settings, 0.1, {"mail": 3})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "name a CUSTOMER"),
        (("c0001", "--all"), "name a CUSTOMER"),
        (("c0001", "--budget", "3"), "are for --all"),
        (("--all", "--capacity", "mail"), "expected CHANNEL=CONTACTS with a whole number"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], says: str) -> None:
    """Else --budget is silently ignored for one customer."""
    result = CliRunner().invoke(main, ["decide", *arguments])
    assert result.exit_code == 2
    assert says in result.output


def test_what_an_action_is_charged_by_hand() -> None:
    """lambda x expected cost + mu of its channel; nothing for "nothing"."""
    from test_decide import NOTHING, action

    mail = action("a", send_cost=0.1, redeem=0.5, incentive=0.4)
    charged = Prices(2.0, {"mail": 0.05, "sms": 9.0}).of([NOTHING, mail])
    np.testing.assert_allclose(charged, [0.0, 2 * 0.3 + 0.05])


UNEQUAL = """
ACTIONS += [
    replace(ACTIONS[0], name="large", incentive=5.0, redeem=0.01,
            effect=replace(ACTIONS[0].effect, mean=0.02), eligible=(Condition("overdue", at_least=1),)),
]
"""


def test_a_plan_that_offers_like_customers_different_worth_is_told_and_can_be_blocked(
    settings: Settings, publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A condition that looks harmless may stand for an age: nobody sees it in the rules."""
    publish()
    declare(settings, UNEQUAL)
    overdue = dict(zip([f"c{j:04}" for j in range(200)], tiny_rows(200)[:, 7] >= 1, strict=True))
    log = write_log(
        settings.home / "log" / "hand",
        {
            "customers": [
                {"customer_id": id, "at": TINY_MOMENT - 99 * DAY, "known_at": TINY_MOMENT - 99 * DAY,
                 "attributes": {"age": "old" if late else "young"}}
                for id, late in overdue.items()
            ]
        },
    )  # fmt: skip
    manifest = {"starts_at": iso(log.starts_at), "complete_until": iso(log.complete_until), "shop": log.shop}
    (log.folder / "manifest.json").write_text(json.dumps(manifest | {"files": log.files}))
    (settings.home / "log" / "CURRENT").write_text("hand")
    plan_everyone(settings, None, {}, tmp_path / "plan.parquet", dry_run=False)
    assert "age: old" in capsys.readouterr().out
    found = {gap.group: gap for gap in plan(settings, None, {}).found.fairness}
    assert found["old"].unfair
    assert found["old"].gap > 3
    (set_,) = (settings.home / "prices").glob("*.json")
    assert [gap["unfair"] for gap in json.loads(set_.read_text())["fairness"]] == [True, True]
    assert {row["offer"] for row in pq.read_table(tmp_path / "plan.parquet").to_pylist()} >= {5.0}
    set_.unlink()
    with (settings.shop / "shop.toml").open("a") as file:
        file.write('\nprice_fairness = "block"\n')
    with pytest.raises(DecisionError, match="nothing was written.* by age"):
        plan_everyone(settings, None, {}, tmp_path / "again.parquet", dry_run=False)
    assert not set_.exists()
    assert not (tmp_path / "again.parquet").exists()
