"""Offers that like customers of different groups do not get alike: told or blocked in every decision."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from logs import write_log
from running import PATIENCE
from servers import RedisServer
from servers_postgres import PostgresServer
from test_decisions import Publish, decided, declare, opened, publish, rejected, settings  # noqa: F401
from test_planned import in_force, registry  # noqa: F401
from tiny import TINY_MOMENT, tiny_rows

from features import online
from features.compute.builds import Build
from features.errors import DecisionError
from features.moments import DAY, iso
from features.settings import Settings
from propensity.planned import plan, plan_everyone
from serving import offers, releases
from serving.offers import Measured
from serving.replays import replay

UNEQUAL = """
ACTIONS += [
    replace(ACTIONS[0], name="large", incentive=5.0, redeem=0.01,
            effect=replace(ACTIONS[0].effect, mean=0.02), eligible=(Condition("overdue", at_least=1),)),
]
"""


EVENED = """
ACTIONS += [replace(ACTIONS[-1], name="other", eligible=(),
                    suppressed_if=(Condition("overdue", at_least=1),))]
"""


@pytest.fixture
def late(settings: Settings, publish: Publish) -> str:
    """A customer who may get the large offer, of a shop that makes it to the old alone."""
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
    return next(id for id, is_late in overdue.items() if is_late)


def block(settings: Settings) -> None:
    with (settings.shop / "shop.toml").open("a") as file:
        file.write('\nprice_fairness = "block"\n')


def measure(settings: Settings, found: Measured) -> None:
    with opened(settings) as context:
        offers.measured(context.ledger, found)


def test_a_plan_that_offers_like_customers_different_worth_is_told_and_can_be_blocked(
    settings: Settings, late: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A condition that looks harmless may stand for an age: nobody sees it in the rules."""
    plan_everyone(settings, None, {}, tmp_path / "plan.parquet", dry_run=False)
    assert "age: old" in capsys.readouterr().out
    found = {gap.group: gap for gap in plan(settings, None, {}).found.fairness}
    assert found["old"].unfair
    assert found["old"].gap > 3
    assert [gap.unfair for gap in in_force(settings).fairness] == [True, True]
    assert {row["offer"] for row in pq.read_table(tmp_path / "plan.parquet").to_pylist()} >= {5.0}
    told = decided(settings, "c0001", preview=True)
    assert {a.action: a.unfair_by for a in told.actions}["large"] == ["age"]
    assert "unfair_offer" not in rejected(told).values(), "told, and not blocked"
    block(settings)
    kept = decided(settings, late)
    (large,) = (a for a in kept.actions if a.action == "large")
    assert (large.reject_reason, large.limit) == ("unfair_offer", "unequal by age")
    assert kept.action != "large"
    assert replay(settings, str(kept.decision_id)).verdict == "equal"
    with pytest.raises(DecisionError, match="nothing was written.* by age"):
        plan_everyone(settings, None, {}, tmp_path / "again.parquet", dry_run=False)
    assert releases.current(settings, "prices") == "1"
    assert not (tmp_path / "again.parquet").exists()
    again = decided(settings, late, preview=True)
    assert rejected(again)["large"] == "unfair_offer", "what is blocked is measured as if it was not"


def test_the_gap_that_an_action_is_called_unequal_by_is_shown(
    settings: Settings, late: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else every group of the table reads `no gap shown`, and the line below calls an offer unequal by age:
    others make up for it in the plan as a whole, and nobody sees what the line rests on."""
    declare(settings, EVENED)
    plan_everyone(settings, None, {}, None, dry_run=False)
    told = capsys.readouterr().out
    together, large = told.split("Offers of large by itself, to like customers of different groups")
    whole = together.split("Offers of all actions together, to like customers of different groups")[1]
    assert "unfair" not in whole
    assert whole.count("no gap shown") == 2
    own = large.split("large: by itself unequal by age, as its own table shows")[0].split("Offers of")[0]
    for group in ("age: old", "age: young"):
        (row,) = [line for line in own.splitlines() if line.startswith(group)]
        assert re.search(r"[+-]\d+\.\d{3} +[+-]\d+\.\d{3} to [+-]\d+\.\d{3} +unfair", row), row


def test_what_the_writer_measured_blocks_the_offer_on_a_host_without_a_log(
    settings: Settings, late: str, tmp_path: Path, redis_of_all: RedisServer, postgres: PostgresServer
) -> None:
    """Else four pods of five go on making the offer that a shop forbade."""
    with redis_of_all.client() as client:
        client.flushall()
    writer = replace(
        settings, online=redis_of_all.url, online_timeout=PATIENCE, ledger=postgres.new_database(),
        releases=str(tmp_path / "store"),
    )  # fmt: skip
    scorer = replace(writer, home=tmp_path / "scorer")
    block(settings)
    online.publish(writer, Build.open(writer), TINY_MOMENT)
    with opened(scorer) as worker:  # it runs already
        before = worker.rules(TINY_MOMENT)
        assert not before.unfair
        plan_everyone(writer, None, {}, None, dry_run=True)
        assert worker.rules(TINY_MOMENT) is before, "a dry run leaves no trace"
    with pytest.raises(DecisionError, match="nothing was written.* by age"):
        plan_everyone(writer, None, {}, None, dry_run=False)
    kept = decided(scorer, late)
    assert rejected(kept)["large"] == "unfair_offer"
    measure(writer, Measured(TINY_MOMENT, "later", {}))
    assert rejected(decided(scorer, late, preview=True))["large"] != "unfair_offer"
    assert replay(scorer, str(kept.decision_id)).verdict == "equal", "under what was measured by then"


def test_rules_are_made_anew_only_when_something_else_was_measured(settings: Settings) -> None:
    """Else every decision pays for encoding them, or goes by a measurement that is over."""
    first = Measured(TINY_MOMENT, "b", {"campaign_a": ("age",)})
    with opened(settings) as worker:
        measure(settings, first)
        rules = worker.rules(TINY_MOMENT)
        assert rules.unfair == first.unfair
        measure(settings, Measured(TINY_MOMENT, "c", first.unfair))
        assert worker.rules(TINY_MOMENT) is rules
        measure(settings, Measured(TINY_MOMENT, "d", {}))
        assert worker.rules(TINY_MOMENT).unfair == {}


def test_what_an_older_home_measured_is_taken_into_the_ledger_once(settings: Settings) -> None:
    """Else an update makes offers that were blocked; taken twice, it blocks what was cleared since."""
    settings.home.mkdir(parents=True, exist_ok=True)
    file = settings.home / "fairness.json"
    former = b'{"as_of": "2017-12-01T00:00:00Z", "build": "b", "unfair": {"campaign_a": ["age"]}}'
    file.write_bytes(former)
    with opened(settings) as worker:
        assert worker.rules(TINY_MOMENT).unfair == {"campaign_a": ("age",)}
    assert (file.exists(), (settings.home / "fairness.taken.json").read_bytes()) == (False, former)
    measure(settings, Measured(TINY_MOMENT, "c", {}))
    file.write_bytes(former)  # of a backup, or it was cut off before the file was put away
    with opened(settings) as worker:
        assert worker.rules(TINY_MOMENT).unfair == {}
    file.write_bytes(b"{")
    with pytest.raises(DecisionError, match="fairness.json is damaged"):
        decided(settings)
