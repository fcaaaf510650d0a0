"""A home that was restored elsewhere answers what it answered, scores to the bit."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
from deliveries import deliver, order
from running import release, settings_of

from features import online
from features.compute.engine import build
from features.fresh import Overlay
from features.inbox import Arrival, Inbox
from features.ingestion.ingest import take
from features.moments import parse_moment
from features.settings import Settings
from propensity.backups import backup, restore
from serving import batch
from serving.api import DecisionRequest, ScoreRequest
from serving.decisions import DecisionContext, take_decision
from serving.scores import Scorer

MOMENT = parse_moment("2017-02-10")
FRESH = "c7"  # who has ordered since
ASKED = [*(f"c{n}" for n in range(40)), "nobody"]


def answers(settings: Settings) -> list[bytes]:
    """Scores with their reasons of everybody, and a decision: the same key gives the recorded one."""
    scores = Scorer(settings).answer(ScoreRequest(list(ASKED), reasons=10), "0" * 32)
    context = DecisionContext.open(settings)
    decided = take_decision(context, DecisionRequest(FRESH), client="tests", idempotency_key="k")
    return [msgspec.json.encode(scores), msgspec.json.encode(decided)]


def test_a_restored_home_answers_the_same(tmp_path: Path) -> None:
    """Else a backup is only known to be good once it is needed."""
    settings = settings_of(tmp_path / "home", MOMENT)
    rows = [order(str(n), f"c{n % 40}", f"2017-01-{n % 28 + 1:02}", n) for n in range(200)]
    take(settings, [deliver(tmp_path / "till", "till", {"orders": rows})])
    made, _ = build(settings, [MOMENT])
    online.publish(settings, made, MOMENT)
    batch.score(settings, release(settings, tmp_path, made, "churn_28d"), made, MOMENT)
    settings = replace(settings, as_of=MOMENT + timedelta(hours=6))
    row = {"order_id": "new", "channel": "store", "amount": "12.50", "discount": "0.00"}
    Inbox(settings).accept([Arrival("till", "new", b"d", FRESH, MOMENT, [("orders", row)])], settings.now())
    assert Overlay(settings).step() == 1
    before = answers(settings)
    assert b'"probability"' in before[0]

    backup(settings, tmp_path / "backup.tar")
    elsewhere = replace(settings, home=tmp_path / "elsewhere")
    restore(elsewhere, tmp_path / "backup.tar")
    (tmp_path / "home").rename(tmp_path / "lost")
    assert answers(elsewhere) == before
    assert Overlay(elsewhere).step() == 1, "events that no build has taken in are written again"
    assert answers(elsewhere) == before
