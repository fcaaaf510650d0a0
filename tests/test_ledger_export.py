"""The loop: what was decided and sent comes back as features, once, and is counted by nobody else."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from deliveries import deliver, order

from features import online
from features.compute.builds import Build
from features.compute.engine import build
from features.inbox import Inbox
from features.ingestion.ingest import take
from features.log import LEDGER, Log
from features.moments import DAY, parse_moment
from features.settings import BUNDLED_SHOPS, Settings
from propensity import main
from propensity.erasing import erase
from propensity.exported import export
from propensity.steps import take_inbox
from serving.answers import DecisionAnswer
from serving.api import DecisionRequest
from serving.decisions import DecisionContext, take_decision
from serving.heard import recorded
from serving.ledger import Ledger
from serving.ledger_reports import Delivery, Outcome
from training.logged import read

TODAY = parse_moment("2017-03-01")
PEOPLE = ("anna", "bert", "carl")


BIRTHDAY = """
from serving.scenarios import Scenario
SCENARIOS = [
    Scenario(name="birthday", words=Words("x", "甲"), actions=tuple(a.name for a in ACTIONS), due_days=1,
             when="days_since_order >= 0")
]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Three customers who order every week, of a shop that holds nobody out and draws nothing."""
    shop = tmp_path / "shop"
    shutil.copytree(BUNDLED_SHOPS / "complete_journey", shop)
    path = shop / "shop.toml"
    text = path.read_text("utf-8").replace("holdout = 0.05", "holdout = 0.0")
    path.write_text(text.replace("explore = 0.05", "explore = 0.0"), "utf-8")
    (shop / "shop.py").write_text((shop / "shop.py").read_text("utf-8") + BIRTHDAY, "utf-8")
    settings = Settings(home=tmp_path / "home", shop=shop, as_of=TODAY)
    orders = [
        order(f"{who}{week}", who, f"{TODAY - (7 * week + 1) * DAY:%Y-%m-%d}", "80.00")
        for who in PEOPLE
        for week in range(8)
    ]
    until = "SELECT TIMESTAMPTZ '2017-03-02T00:00:00Z'"
    take(settings, [deliver(tmp_path / "till", "till", {"orders": orders}, until)])
    publish(settings)
    return settings


def publish(settings: Settings) -> None:
    build(settings, [settings.now()])
    online.publish(settings, Build.open(settings), settings.now())


def decided(settings: Settings, customer: str) -> DecisionAnswer:
    context = DecisionContext.open(settings)
    with closing(context.ledger):
        return take_decision(context, DecisionRequest(customer, scenario="birthday"), client="tests")


def told(settings: Settings, decision: DecisionAnswer, status: str = "sent") -> None:
    at, id = settings.now(), decision.decision_id or ""
    sent = Delivery(source="post", id=id, decision_id=id, status=status, at=at)  # type: ignore[arg-type]
    bought = Outcome(source="till", id=id, decision_id=id, type="order", value=20.0, at=at)
    with closing(Ledger(settings)) as ledger:
        ledger.report([sent, bought], at)


def test_what_was_sent_comes_back_as_a_feature_and_counts_once(settings: Settings) -> None:
    """Else: a cap counts a contact twice and falls silent, or forgets it and writes too often."""
    first = {who: decided(settings, who) for who in PEOPLE}
    assert {answer.action for answer in first.values()} == {"campaign_b"}
    told(settings, first["anna"])
    told(settings, first["bert"], "blocked")
    assert decided(settings, "anna").used.contacts_decided == 1
    done = export(settings)
    assert (done.contacts, done.responses) == (1, 2)
    assert decided(settings, "anna").used.contacts_decided >= 1, "not published yet"
    later = replace(settings, as_of=TODAY + DAY)
    before = decided(later, "anna").used
    publish(later)
    after = decided(later, "anna").used
    assert (before.contacts_in_log, before.contacts_decided) == (0, 1)
    assert (after.contacts_in_log, after.contacts_decided) == (1, 0)
    with closing(sqlite3.connect(later.home / "online" / "rows.sqlite")) as db:
        (last,) = db.execute("select last_delivery from publications order by turn desc").fetchone()
        assert last > 0
        db.execute("update publications set last_delivery = null")
        db.commit()
    after = decided(later, "anna").used
    assert (after.contacts_in_log, after.contacts_decided) == (1, 0), "as it was published before an update"
    assert decided(later, "bert").used.contacts_in_log == 0, "what was blocked never happened"
    log = Log.open(settings)
    (contact,) = log.read("contacts").to_pylist()
    assert (contact["customer_id"], contact["action"], contact["campaign_id"]) == (
        "anna",
        "campaign_b",
        "birthday",
    )
    assert contact["propensity"] == 1.0
    logged = read(later)
    assert set(logged.features) <= set(Build.open(settings).features)
    assert logged.matrix.shape == (len(logged), len(logged.features))
    assert np.allclose(logged.chances.sum(axis=1), 1)
    assert set(logged.scenario) == {"birthday"}
    sent = [row for row in range(len(logged)) if logged.ids[row] == first["anna"].decision_id]
    blocked = [row for row in range(len(logged)) if logged.ids[row] == first["bert"].decision_id]
    assert (logged.cost[sent] > 0).all()
    assert not logged.cost[blocked].any(), "what was never sent cost nothing"
    assert {row["contact_id"] for row in log.read("responses").to_pylist()} == {contact["contact_id"], None}


def test_what_a_customer_says_in_an_outcome_is_in_the_log_once(settings: Settings) -> None:
    """Else: one complaint counts as two, told by the ledger and by the inbox, or as none."""
    answer = decided(settings, "anna")
    told(settings, answer)
    said = [
        Outcome(source="desk", id=type, decision_id=answer.decision_id or "", type=type, value=1, at=TODAY)
        for type in ("complaint", "opt_out")
    ]  # type: ignore[misc]
    for _ in range(2):
        with closing(Ledger(settings)) as ledger, closing(Inbox(settings)) as inbox:
            recorded(ledger, inbox.accept, lambda: None, said, TODAY)
    used = decided(settings, "anna").used
    assert (used.open_complaint, used.consent["mail"]) == (True, False)
    export(settings)
    take_inbox(settings)
    assert export(settings).ingested is not None
    log = Log.open(settings)
    (case,) = log.read("cases").to_pylist()
    assert [case[name] for name in ("case_id", "customer_id", "change")] == [
        "desk:complaint",
        "anna",
        "opened",
    ]
    assert [row["status"] for row in log.read("consents").to_pylist()] == ["withdrawn"]
    assert sorted(row["kind"] for row in log.read("responses").to_pylist()) == ["buy", "opt-out"]
    later = replace(settings, as_of=TODAY + DAY)
    publish(later)
    assert decided(later, "anna").used.open_complaint, "and features know of it"


def test_an_export_again_changes_nothing_and_survives_what_the_log_goes_through(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else: a nightly job makes another log every night, or the first damaged file ends the loop."""
    told(settings, decided(settings, "anna"))
    told(settings, decided(settings, "bert"))
    for name in ("home", "shop"):
        monkeypatch.setenv(f"PROPENSITY_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("PROPENSITY_AS_OF", "2017-03-01")
    dry, first, again = (
        CliRunner().invoke(main, ["ledger", "export", *more]) for more in (["--dry-run"], [], [])
    )
    assert (dry.exit_code, first.exit_code, again.exit_code) == (0, 0, 0), dry.output + first.output
    assert dry.output.startswith("would take the ledger's 2 contacts and 2 responses")
    assert first.output == "took the ledger's 2 contacts and 2 responses into the log\n"
    assert again.output == "nothing new: the log has the ledger's 2 contacts and 2 responses already\n"
    shutil.rmtree(settings.home / "parts" / LEDGER)  # then it is read from the log itself
    rows = Log.open(settings).read("contacts").num_rows
    orders = [order("new", "carl", "2017-02-28")]
    take(settings, [deliver(settings.home / "till2", "till2", {"orders": orders})])
    assert Log.open(settings).read("contacts").num_rows == rows == 2
    erase(settings, "anna")
    done = export(settings)
    assert done.contacts == 1
    assert {row["customer_id"] for row in Log.open(settings).read("contacts").to_pylist()} == {"bert"}


def test_a_night_before_the_first_decision_has_nothing_to_take(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a script that is right for every night stops on its first, at its first command."""
    monkeypatch.setenv("PROPENSITY_HOME", str(settings.home))
    monkeypatch.setenv("PROPENSITY_SHOP", str(settings.shop))
    before = Log.open(settings).fingerprint
    for more in ([], ["--dry-run"]):
        done = CliRunner().invoke(main, ["ledger", "export", *more])
        assert done.exit_code == 0, done.output
        assert f"there is no ledger in {settings.home}: nothing to take in" in done.output
    assert Log.open(settings).fingerprint == before
    assert not (settings.home / "ledger").exists(), "looking for one begins none"
