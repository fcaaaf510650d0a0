"""Who falls due is told of once, whatever happens in between; a decision then keeps to the scenario."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import json
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace as replace_struct
from test_decisions import Publish, decided, declare, opened, publish, rejected, settings  # noqa: F401
from test_openapi import event_of
from tiny import TINY_MOMENT

from features.errors import NotDue, UsageError
from features.moments import iso
from features.settings import Settings, clock
from propensity import main
from propensity.falling import find, tell_due
from serving import due
from serving.api import DecisionRequest
from serving.decisions import take_decision
from serving.deliveries import Deliveries
from serving.outbox import Outbox
from serving.replays import replay
from serving.sendable import may_send

QUIET = """
from serving.scenarios import Scenario, Segment
SCENARIOS = [
    Scenario(name="pause", words=Words("Pause", "暂停"), when="days_since_order >= 23", due_days=7,
             actions=("campaign_b", "campaign_c")),
    Scenario(name="busy", words=Words("Busy", "频繁"), when="orders_30d >= 8", due_days=2,
             actions=("campaign_a",)),
    Scenario(name="left_cart", words=Words("Cart", "购物车"), when="days_since_cart < 2", due_days=2,
             actions=("campaign_a",)),
    Scenario(name="returned", words=Words("Returned", "退货"), segment=Segment("churn_reason", ("return",)),
             due_days=2, actions=("campaign_a",)),
]
"""


@pytest.fixture
def shop(settings: Settings, publish: Publish) -> Settings:
    """200 customers who ordered 20 days ago, published; four days later."""
    declare(settings, QUIET)
    publish()
    return replace(settings, as_of=TINY_MOMENT + timedelta(days=4))


def run(shop: Settings, *arguments: str) -> Result:
    environment = {"PROPENSITY_HOME": str(shop.home), "PROPENSITY_SHOP": str(shop.shop)}
    return CliRunner().invoke(main, ["due", "--as-of", iso(shop.now()), *arguments], env=environment)


def test_each_is_told_once_and_again_when_it_is_over(shop: Settings) -> None:
    """Else a cron job every hour is a message every hour; or a customer is asked once and never again."""
    first = run(shop, "--scenario", "pause", "--json")
    assert first.exit_code == 0, first.output
    told = [json.loads(line) for line in first.stdout.splitlines()]
    assert [one["customer"] for one in told] == [f"c{n:04}" for n in range(200)]
    assert told[0] == {
        "id": told[0]["id"], "scenario": "pause", "customer": "c0000", "since": iso(shop.now()),
        "until": iso(shop.now() + timedelta(days=7)), "purpose": "marketing",
        "actions": ["campaign_b", "campaign_c"],
    }  # fmt: skip
    assert "pause: 200 fell due; 0 are due already" in first.stderr
    again = run(replace(shop, as_of=shop.now() + timedelta(days=6)), "--scenario", "pause")
    assert (again.stdout, again.exit_code) == ("", 0)
    assert "pause: 0 fell due; 200 are due already" in again.stderr
    over = run(replace(shop, as_of=shop.now() + timedelta(days=7)), "--scenario", "pause")
    assert len(over.stdout.splitlines()) == 200
    assert over.stdout.splitlines()[0].split("\t")[:2] == ["pause", "c0000"]


def test_a_dry_run_leaves_everybody_to_be_told_of(shop: Settings) -> None:
    """Looking must not use up what falls due."""
    dry = run(shop, "--dry-run", "--scenario", "pause", "--json")
    assert dry.exit_code == 0
    assert "pause: 200 would fall due" in dry.stderr
    plain = run(shop, "--dry-run", "--scenario", "pause").stdout.splitlines()
    assert plain[0] == f"pause\tc0000\t{iso(shop.now() + timedelta(days=7))}\t"
    real = run(shop, "--scenario", "pause", "--json").stdout.splitlines()
    assert len(real) == len(plain) == 200
    would = [json.loads(line) for line in dry.stdout.splitlines()]
    assert would == [json.loads(line) | {"id": None} for line in real], "looking shows whom it would tell of"


def test_who_could_not_be_told_of_is_told_of_by_the_next_run_under_the_same_id(
    shop: Settings, tmp_path: Path
) -> None:
    """Else a full disk or a kill loses a day's customers; and another id would send a message twice."""
    (tmp_path / "a file").touch()
    with pytest.raises(OSError, match="a file"):
        tell_due(shop, ["pause"], False, tmp_path / "a file" / "due.jsonl", False)
    with due.opened(shop) as known:
        waiting = [one.id for one in known.untold(["pause"], shop.now())]
    out = tmp_path / "due.jsonl"
    assert tell_due(shop, ["pause"], False, out, False) == 0
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == waiting
    assert len(waiting) == 200
    with pytest.raises(UsageError, match="perhaps not read yet"):
        tell_due(shop, ["pause"], False, out, False)


def test_what_cannot_be_told_is_said_and_why(shop: Settings) -> None:
    """Else a scenario that its shop has no data for looks as if nobody ever left a cart."""
    every = run(shop)
    assert every.exit_code == 0
    assert "left_cart: cannot be told: the published features lack days_since_cart" in every.stderr
    assert "returned: cannot be told: no segmentation is released" in every.stderr
    assert run(shop, "--scenario", "left_cart").exit_code == 3
    wrong = run(shop, "--scenario", "pauses")
    assert wrong.exit_code == 2
    assert "there are pause, busy, left_cart, returned" in wrong.output


def test_a_hook_that_wants_it_is_told_once_of_who_falls_due(shop: Settings, monkeypatch: Any) -> None:
    """Killed and run again, `due` tells again under the same id; a hook must not hear it twice."""
    with (shop.shop / "shop.toml").open("a", encoding="utf-8") as file:
        file.write('\n[[hooks]]\nclient = "crm"\nurl = "https://crm.example.com"\nevents = ["due.busy"]\n')
    with monkeypatch.context() as killed:
        killed.setattr(due.DueList, "told", lambda *_: 1 / 0)
        assert run(shop).exception is not None
    again = [json.loads(line) for line in run(shop, "--json").stdout.splitlines()]
    busy = {one["id"]: one["customer"] for one in again if one["scenario"] == "busy"}
    with closing(Outbox(shop)) as box:
        bodies = [json.loads(body) for (body,) in box.db.execute("SELECT body FROM events")]
        assert {one["id"]: one["subject"] for one in bodies} == busy
        assert len(bodies) == len(busy) > 0
        assert {one["type"] for one in bodies} == {"com.propensity.customer.due"}
        for one in bodies:
            event_of(one["type"]).validate(one)
        assert bodies[0]["data"]["idempotency_key"] == bodies[0]["id"]
        assert len(list(Deliveries(box).ready("crm", clock(), 1000, ()))) == len(busy)


def test_a_shop_without_scenarios_is_told_where_to_take_them_from(
    settings: Settings, publish: Publish
) -> None:
    publish()
    result = run(replace(settings, as_of=TINY_MOMENT))
    assert result.exit_code == 2
    assert "from serving.retail import" in result.output


def test_only_those_for_whom_it_holds_fall_due(shop: Settings) -> None:
    """By the same rows that a decision reads."""
    with opened(shop) as context:
        found = find(context, context.scenarios)
        _, rows = context.rows.latest(found.who["pause"])
    place = list(context.rows.current().features).index("orders_30d")
    assert found.who["busy"] == [f"c{n:04}" for n in range(200) if rows.matrix[n, place] >= 8]
    assert 0 < len(found.who["busy"]) < 200


def test_a_scenario_limits_a_decision_to_its_actions(shop: Settings) -> None:
    """Else a birthday is answered with a call about a complaint."""
    answer = decided(shop, scenario="pause", key="k")
    assert rejected(answer)["campaign_a"] == "not_a_candidate"
    assert answer.action in ("campaign_b", "campaign_c")
    assert decided(shop, "c0002", scenario="pause", candidates=["campaign_c"]).action == "campaign_c"
    with pytest.raises(UsageError, match=r"\$\.candidates\[0\]: expected one of nothing, campaign_b"):
        decided(shop, scenario="pause", candidates=["campaign_a"])
    with pytest.raises(UsageError, match=r"\$\.scenario: expected one of pause, busy"):
        decided(shop, scenario="paws")


def test_a_scenario_is_not_named_for_whom_it_is_not_due(shop: Settings) -> None:
    """Else a journey that lists wrongly congratulates whoever it likes, within every limit."""
    early = replace(shop, as_of=TINY_MOMENT + timedelta(days=2))  # 22 days since the order, and not 23
    with pytest.raises(NotDue, match="not due for scenario pause now: `propensity due` tells who is"):
        decided(early, scenario="pause", key="k")
    with opened(early) as context:
        assert [*context.ledger.entries()] == []
    assert decided(early, scenario="pause", preview=True).action == "campaign_b"
    assert decided(shop, scenario="pause", key="k").action == "campaign_b", "by its rule, as it reads now"
    with due.opened(shop) as known:
        known.add("returned", ["c0005"], shop.now(), shop.now() + timedelta(days=2))
    assert decided(shop, "c0005", scenario="returned").scenario == "returned", "whoever was told of is due"
    for who, at in (("c0006", shop.now()), ("c0005", shop.now() + timedelta(days=2))):
        with pytest.raises(NotDue):
            decided(replace(shop, as_of=at), who, scenario="returned")


def test_a_paused_scenario_is_decided_for_nobody_and_told_of_to_nobody(shop: Settings) -> None:
    """Else a scenario whose text is wrong goes on until each of its actions is paused, for others too."""
    environment = {"PROPENSITY_HOME": str(shop.home), "PROPENSITY_SHOP": str(shop.shop)}

    def command(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, env=environment)

    taken = decided(shop, scenario="pause", key="k")
    with opened(shop) as worker:
        request = DecisionRequest("c0002", scenario="pause")
        assert take_decision(worker, request, client="tests").action == "campaign_b"
        done = command("pause", "--scenario", "pause", "--reason", "wrong text")
        assert done.output.startswith("paused scenario:pause at")
        answer = take_decision(worker, replace_struct(request, customer="c0003"), client="tests")
        assert may_send(worker, str(taken.decision_id), "0" * 32).reason == "paused"
    assert answer.action == "nothing"
    assert {a.limit for a in answer.actions if a.reject_reason == "paused"} == {"scenario:pause: wrong text"}
    assert answer.text.en == "Do nothing. Paused by the operators: scenario:pause: wrong text."
    assert replay(shop, str(answer.decision_id)).verdict == "equal"
    busy = find_due(shop)["busy"][-1]
    assert decided(shop, busy, scenario="busy", preview=True).action == "campaign_a", "others go on"
    assert decided(shop, "c0004", preview=True).binding_constraint is None
    for more in ((), ("--dry-run",)):  # it is no fault of the data: no job that waits for one is woken
        told = run(shop, "--scenario", "pause", *more)
        assert (told.stdout, told.exit_code) == ("", 0)
        assert "pause: is paused, because: wrong text; who falls due is told of when" in told.stderr
    assert (
        "one of everything, channel:mail, scenario:pause"
        in command("pause", "scenario:x", "--reason", "y").output
    )
    assert command("resume", "--scenario", "pause").exit_code == 0
    assert len(run(shop, "--scenario", "pause").stdout.splitlines()) == 200, "nobody was used up meanwhile"


def find_due(shop: Settings) -> dict[str, list[str]]:
    with opened(shop) as context:
        return find(context, context.scenarios).who


def test_an_erased_customer_is_not_on_the_list(shop: Settings, monkeypatch: Any) -> None:
    """Else the list of who fell due keeps what erasure promised to remove."""
    run(shop, "--scenario", "pause")
    with due.opened(shop) as known:
        assert known.customers()["c0007"] == 1
        known.erase(["c0007"])
        assert "c0007" not in known.customers()
