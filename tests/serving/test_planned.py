"""Deciding for everybody: within the limits, as the online decision would, and its prices steer that one."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from test_decisions import Publish, decided, declare, opened, policy, publish, rejected, settings  # noqa: F401
from tiny import TINY_MOMENT

from features.errors import ReleaseCorrupt
from features.moments import iso
from features.settings import Settings
from propensity import main
from propensity.planned import plan, plan_everyone
from serving import releases
from serving.prices import NONE, Prices, PriceSet, charged, set_of
from serving.replays import replay


@pytest.fixture(autouse=True)
def registry(settings: Settings, empty_registry: Path) -> None:
    """MLflow's file, as a first run would make it."""
    settings.home.mkdir(parents=True)
    shutil.copyfile(empty_registry, settings.home / "mlflow.db")


def in_force(settings: Settings) -> PriceSet:
    return set_of(releases.load(settings, "prices"))


def run(settings: Settings, *arguments: str) -> Result:
    environment = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop),
                   "PROPENSITY_AS_OF": iso(settings.now())}  # fmt: skip
    return CliRunner().invoke(main, arguments, env=environment)


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


def test_what_was_drawn_by_lot_is_told_apart_from_what_is_worth_most(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    """Else a letter that a lot drew, to learn, is read as what the model thinks best for that customer."""
    policy(settings, holdout="0.1", explore="0.3")
    publish()
    out = tmp_path / "plan.parquet"
    done = run(settings, "decide", "--all", "--budget", "6", "--out", str(out))
    assert done.exit_code == 0, done.output
    rows, told = pq.read_table(out).to_pylist(), " ".join(done.output.split())
    drawn = [row for row in rows if row["explored"]]
    held = sum(row["holdout"] for row in rows)
    cost, net = (sum(row[name] for row in drawn) for name in ("cost", "net"))
    assert len(drawn) > 20
    assert (
        f"{len(drawn)} get what a lot drew among all that is eligible, to learn (30% explore) "
        f"(cost {cost:,.2f}, expected net {net:,.2f})"
    ) in told
    assert f"Of 200 customers: {200 - held - len(drawn)} get what is worth most within the limits (" in told
    assert f"; {held} are held out and get nothing" in told
    for action in ("nothing", "campaign_b"):
        (line,) = [line for line in done.output.splitlines() if line.startswith(f"{action} ")]
        lots = sum(row["action"] == action for row in drawn)
        assert f" {lots} " in line.partition(f" {sum(row['action'] == action for row in rows)} ")[2]


@pytest.mark.parametrize("limit", [("--budget", "0"), ("--capacity", "mail=0")])
def test_a_limit_of_0_is_none_of_it_also_by_lot_and_online(
    settings: Settings, publish: Publish, tmp_path: Path, limit: tuple[str, str]
) -> None:
    """Else who stops a channel for a week is told of an error, and explores on it."""
    declare(settings, FREE)
    policy(settings, explore="0.3")
    toml = settings.shop / "shop.toml"
    toml.write_text(toml.read_text("utf-8").replace("mail = true", "mail = true\napp = true"), "utf-8")
    publish()
    done = run(settings, "decide", "--all", *limit, "--out", str(tmp_path / "plan.parquet"))
    assert done.exit_code == 0, done.output
    chosen = pq.read_table(tmp_path / "plan.parquet")["action"].to_pylist()
    assert set(chosen) <= {"nothing", "free"}
    assert "free" in chosen, "what costs nothing, on another channel, is not closed"
    assert "cost 0.00" in done.output
    for number in range(20):
        answer = decided(settings, f"c{number:04}", key=f"{number}")
        assert answer.channel != "mail"
        assert rejected(answer)["campaign_b"] == "none_of_it"
    assert replay(settings, str(answer.decision_id)).verdict == "equal"
    assert run(settings, "decide", "--all").exit_code == 0
    assert rejected(decided(settings, "c0050", preview=True))["campaign_b"] is None, "the next plan ends it"


FREE = """
ACTIONS += [replace(ACTIONS[0], name="free", channel="app", send_cost=0.0, incentive=0.0)]
"""


def test_what_the_plan_is_short_of_the_bound_is_explained(settings: Settings, publish: Publish) -> None:
    """Else .2 % short looks like a worse allocation than the .01 % that is promised of large ones."""
    publish()
    budget = 0.5  # for nine customers and a half
    made = plan(settings, budget, {})
    short = made.allocation.bound - made.allocation.value
    assert made.allocation.gap > 1e-4
    assert 0 < short <= made.most, "no more than what one customer brings"
    said = run(settings, "decide", "--all", "--budget", str(budget), "--dry-run").output
    assert "it gives one customer a part of an action, and customers are whole" in said
    assert f"The plan is {short:,.4g} short of it, and no plan of whole customers is better" in " ".join(
        said.split()
    )
    assert "customers are whole" not in run(settings, "decide", "--all", "--dry-run").output


def test_prices_steer_the_online_decision_from_then_on_and_are_replayed(
    settings: Settings,
    publish: Publish,
) -> None:
    """Else the service sends whatever pays for itself, and the budget is gone by noon."""
    publish()
    before = decided(settings, "c0001", key="before")
    assert before.action != "nothing"
    plan_everyone(settings, 0.5, {}, None, dry_run=False)
    price = in_force(settings).prices.budget
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
    """Else a decision as of last month is steered by what was scarce today. A broken release is named."""
    publish()
    plan_everyone(settings, 0.5, {}, None, dry_run=False)
    release = releases.load(settings, "prices")
    assert charged(release, TINY_MOMENT - timedelta(seconds=1)) == charged(None, TINY_MOMENT) == NONE
    assert charged(release, TINY_MOMENT).budget > 0
    (settings.home / "releases" / "prices" / "1" / "model.json").write_text("{}")
    with pytest.raises(ReleaseCorrupt, match=r"model\.json was changed"):
        decided(settings, preview=True)


def test_a_ledger_record_names_the_version_of_prices_and_policy_and_going_back_is_one_command(
    settings: Settings, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else nobody can say, a month later, which run's prices kept a customer's letter back; or a budget typed
    wrong steers the shop until somebody finds the figures of the run before."""
    publish()
    plan_everyone(settings, 0.5, {}, None, dry_run=False)
    dear = decided(settings, "c0001", key="dear")
    assert (dear.used.policy_release, dear.used.prices_release) == ("policy@1", "prices@1")
    with opened(settings) as context:
        named = context.ledger.read(str(dear.decision_id)).releases
    assert named == (("policy", "1"), ("prices", "1"))
    capsys.readouterr()
    plan_everyone(settings, None, {}, None, dry_run=False)
    said = capsys.readouterr().out.replace("\n", " ")
    assert "prices 2, charged in decisions from now on, in place of prices 1. As of 2017-12-03" in said
    assert "limits: 0.50; charges: budget" in said
    assert decided(settings, "c0003", preview=True).used.prices_release == "prices@2"
    back = run(settings, "rollback", "prices")
    assert back.output.startswith("prices is back at version 1"), back.output
    again = decided(settings, "c0004", preview=True)
    assert (again.duals, again.used.prices_release) == (dear.duals, "prices@1")
    listed = run(settings, "models", "list").output
    assert "prices: Prices of what is short" in listed
    assert "policy: Contact policy and catalogue" in listed
    assert "charges: nothing" in listed
    assert replay(settings, str(dear.decision_id)).verdict == "equal"
    shutil.rmtree(settings.home / "releases" / "prices" / "1")
    gone = replay(settings, str(dear.decision_id))
    assert "prices 1 is not released" in gone.differences[0]


def test_the_first_prices_can_be_withdrawn_and_that_undone(settings: Settings, publish: Publish) -> None:
    """Else a budget typed wrong on the first day steers the shop until another plan is made."""
    publish()
    assert run(settings, "rollback", "prices").exit_code == 2, "there are none"
    first = run(settings, "decide", "--all", "--budget", "0.5")
    assert "before: no prices. `propensity rollback prices` withdraws them" in first.output
    dear = decided(settings, "c0001")
    assert dear.duals
    dry = run(settings, "rollback", "prices", "--dry-run")
    assert "would withdraw prices version 1" in dry.output
    assert decided(settings, "c0002", preview=True).duals == dear.duals
    gone = run(settings, "rollback", "prices")
    assert gone.exit_code == 0, gone.output
    assert (
        "prices version 1 is withdrawn: there were none before, and version 2 charges nothing" in gone.output
    )
    free = decided(settings, "c0003")
    assert (free.duals, free.used.prices_release) == ({}, "prices@2"), "recorded as any other"
    assert free.action != "nothing"
    assert replay(settings, str(free.decision_id)).verdict == "equal"
    again = run(settings, "rollback", "prices")
    assert (again.exit_code, "nothing further back" in again.output) == (2, True)
    undone = run(settings, "promote", "prices", "--version", "1")
    assert undone.exit_code == 0, undone.output
    assert decided(settings, "c0004", preview=True).duals == dear.duals


def test_going_back_leads_from_every_prices_to_none_and_never_forward(
    settings: Settings, publish: Publish
) -> None:
    """Else who takes back a wrong plan twice is charged by it again, and never gets rid of all of them."""
    publish()
    for budget in ("0.5", "0.6", "0.7"):
        assert run(settings, "decide", "--all", "--budget", budget).exit_code == 0
    assert "back at version 2; again, it goes on" in run(settings, "rollback", "prices").output
    assert run(settings, "decide", "--all", "--budget", "0.8").exit_code == 0
    dry = run(settings, "rollback", "prices", "--dry-run").output
    assert "would go back from prices version 4 to 2" in dry, "3 was taken back"
    for version in ("2", "1"):
        assert f"back at version {version};" in run(settings, "rollback", "prices").output
    assert "version 1 is withdrawn" in run(settings, "rollback", "prices").output
    assert decided(settings, preview=True).duals == {}
    assert run(settings, "rollback", "prices").exit_code == 2


def test_a_policy_that_nobody_released_is_named_by_its_content(settings: Settings, publish: Publish) -> None:
    """Else a record of the hour between an edit and its release names the policy before, and is wrong."""
    publish()
    first = decided(settings, key="k").used.policy_release
    assert first is not None
    assert first.startswith("policy@#")
    assert "would release what is declared" in run(settings, "promote", "policy", "--dry-run").output
    assert run(settings, "promote", "policy").output.startswith("released policy version 1")
    assert "nothing to release" in run(settings, "promote", "policy").output
    assert decided(settings, preview=True).used.policy_release == "policy@1"
    policy(settings, max_contacts="1")
    changed = decided(settings, "c0002")
    assert str(changed.used.policy_release).startswith("policy@#"), "it binds before it has a version"
    assert changed.used.policy_release != first
    assert replay(settings, str(changed.decision_id)).verdict == "equal"
    refused = run(settings, "rollback", "policy")
    assert (refused.exit_code, "change them, then `propensity promote" in refused.output) == (2, True)


def test_a_plan_that_is_there_is_not_replaced_unasked(
    settings: Settings, publish: Publish, tmp_path: Path
) -> None:
    """Else tonight's run takes away the plan that the mailing house prints this morning."""
    publish()
    out = tmp_path / "plan.parquet"
    out.write_text("of yesterday")
    refused = run(settings, "decide", "--all", "--out", str(out))
    assert refused.exit_code == 2
    assert "is there already" in refused.output
    assert out.read_text() == "of yesterday"
    assert not (settings.home / "releases").exists()
    assert run(settings, "decide", "--all", "--out", str(out), "--force").exit_code == 0
    assert pq.read_table(out).num_rows == 200


def test_what_the_plan_may_be_short_is_told_of_the_whole_of_it(settings: Settings, publish: Publish) -> None:
    """Else lots that take nearly all of a budget make a good plan read as 100 % short of the best."""
    policy(settings, explore="0.3")
    publish()
    made = plan(settings, 1.6, {})
    short = made.allocation.bound - made.allocation.value
    assert made.allocation.gap > 0.01, "of the little that lots left"
    said = " ".join(run(settings, "decide", "--all", "--budget", "1.6", "--dry-run").output.split())
    assert f"at most {100 * short / made.found.bound:.4f} % short of the best with these lots" in said
    assert f"{100 * made.allocation.gap:.4f} %" not in said


def test_a_dry_run_changes_nothing(settings: Settings, publish: Publish, tmp_path: Path) -> None:
    """Trying a budget must not steer the shop."""
    publish()
    plan_everyone(settings, 1.0, {"mail": 5}, tmp_path / "plan.parquet", dry_run=True)
    assert not (settings.home / "releases").exists()
    assert not (tmp_path / "plan.parquet").exists()


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
