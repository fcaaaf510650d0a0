"""The simulated retailer from end to end: who falls due, what is decided, delivered, and what followed."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from segments_by_hand import saved

from features import online
from features.compute.engine import build
from features.errors import DecisionError
from features.fresh import Overlay
from features.inbox import Inbox
from features.ingestion.ingest import ingest
from features.log import Log
from features.moments import DAY, iso, parse_moment
from features.settings import Settings
from features.sources.simulated.world import World
from features.sources.simulated.writing import simulate
from propensity import main
from propensity.erasing import erase
from propensity.grouped import decided
from serving import due, releases, score_store, segmentation_scores
from serving.api import DecisionRequest
from serving.arrivals import take
from serving.decisions import DecisionContext, take_decision
from serving.ledger_reports import Delivery, Outcome
from serving.replays import replay

NOW = parse_moment("2024-08-01")


@pytest.fixture(scope="module")
def retailer(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """300 customers whose shop takes over the examples; features of yesterday, published."""
    folder = tmp_path_factory.mktemp("retailer")
    shop = simulate(World(customers=300, days=240, seed=3), folder / "shop").folder
    settings = Settings(home=folder / "home", shop=shop, as_of=NOW)
    ingest(settings)
    made, _ = build(settings, [NOW - DAY])
    online.publish(settings, made, NOW - DAY)
    release = releases.publish(settings, saved(folder / "s", "1", dict(made.features)), "segmentation", "1")
    segmentation_scores.score(settings, release, made, NOW - DAY)
    return settings


def complain(settings: Settings, customer: str) -> None:
    """A complaint that comes in now, and the fresh row that the service's companion writes of it."""
    event = {"type": "case", "source": "crm", "id": "1", "customer": customer, "at": iso(NOW),
             "case_id": "1", "kind": "complaint", "change": "opened"}  # fmt: skip
    with closing(Inbox(settings)) as inbox:
        take(json.dumps({"events": [event]}).encode(), "0" * 32, settings, inbox, lambda _: [None])
    assert Overlay(settings).step() == 1


def run(settings: Settings, *arguments: str) -> Result:
    environment = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    return CliRunner().invoke(main, [*arguments], env=environment | {"PROPENSITY_AS_OF": iso(settings.now())})


def test_due_decide_deliver_outcome(retailer: Settings) -> None:
    """Each scenario ends in an action of its own or in nothing, once, with what followed beside it."""
    complain(retailer, "00000011")
    result = run(retailer, "due", "--json")
    assert result.exit_code == 0, result.output
    told = [json.loads(line) for line in result.stdout.splitlines()]
    counts = {name: sum(one["scenario"] == name for one in told) for name in {o["scenario"] for o in told}}
    assert {"after_purchase", "birthday", "silence", "complaint", "promotion", "win_back"} <= set(counts)
    assert "cannot be told" not in result.stderr
    assert "00000011" in [one["customer"] for one in told if one["scenario"] == "complaint"]
    back = {one["customer"] for one in told if one["scenario"] == "win_back_return"}
    file = score_store.path(retailer, "segmentation", "1", NOW - DAY)
    scores = pq.read_table(file, columns=["customer_id", "churn_reason"]).to_pylist()
    assert back == {one["customer_id"] for one in scores if one["churn_reason"] == "return"}

    log, chosen = Log.open(retailer), dict[str, set[str]]()
    orders = log.read("orders", ["order_id", "customer_id", "at", "amount", "ref"]).to_pylist()
    bought = [o for o in orders if o["ref"] is None and NOW <= o["at"] < NOW + 14 * DAY]
    context, followed = DecisionContext.open(retailer), 0
    with closing(context.ledger) as ledger:
        for one in [o for o in told if o["customer"] < "00000060" or o["scenario"] == "complaint"]:
            request = DecisionRequest(one["customer"], scenario=one["scenario"])
            answer = take_decision(context, request, client="journey", idempotency_key=one["id"])
            again = take_decision(context, request, client="journey", idempotency_key=one["id"])
            assert again == answer, "told twice is decided once"
            assert answer.action in ("nothing", *one["actions"])
            chosen.setdefault(one["scenario"], set()).add(answer.action)
            id = answer.decision_id or ""
            if answer.action != "nothing":
                sent = Delivery(source="crm", id=id, decision_id=id, status="delivered", at=NOW)
                assert not isinstance(ledger.report([sent], NOW)[0], DecisionError)
            made = [
                Outcome(source="crm", id=f"{o['order_id']}-{id}", decision_id=id, type="order",
                        value=float(o["amount"]), at=o["at"])
                for o in bought if o["customer_id"] == one["customer"]
            ]  # fmt: skip
            ledger.report(made, NOW + 14 * DAY)
            assert len(ledger.outcomes(id).get(id, ())) == len(made)
            followed += len(made)
    assert followed > 0
    assert chosen["complaint"] == {"answer_complaint"}, "a complaint is answered, whatever that earns"
    assert len(chosen["promotion"]) > 1
    assert replay(retailer, id).verdict == "equal"


def test_each_group_is_decided_as_one(retailer: Settings, tmp_path: Path) -> None:
    """Every chat of the log, with its members of that moment; a held-out one hears nothing."""
    made = decided(retailer)
    assert len(made) >= 3
    assert sum(one.members for one in made) > 50
    for one in made:
        assert one.unknown == 0
        assert one.holdout <= (one.action == "nothing")
        assert one.action in ("nothing", "group_offer", "promotion_group")
    assert decided(retailer) == made, "decided again at that moment, it is the same"
    kept = run(retailer, "decide", "--groups", "--out", str(tmp_path / "groups.jsonl"))
    assert kept.exit_code == 0, kept.output
    lines = (tmp_path / "groups.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["group"] for line in lines] == [one.group for one in made]
    next_day = decided(replace(retailer, as_of=NOW + DAY), dry_run=True)
    sent = {one.group for one in made if one.action != "nothing"}
    for one in (one for one in next_day if one.group in sent):  # who joined since has not consented
        assert set(one.rejected.values()) <= ({"suppressed"} if not one.unknown else {"no_consent"})
    assert all(one.action == "nothing" for one in next_day if one.group in sent)


def test_groups_are_judged_once_their_window_is_over(retailer: Settings) -> None:
    """In words of both languages; with a share of groups held out that leaves two in each arm."""
    toml = retailer.shop / "shop.toml"
    text = toml.read_text("utf-8")
    toml.write_text(text.replace("holdout = 0.05", "holdout = 0.6"), "utf-8")
    try:
        for language, words in (("en", "customers of one group each"), ("zh", "属于单个社群")):
            judged = run(retailer, "evaluate", "groups", "--since", "2024-07-01", "--language", language)
            assert judged.exit_code == 3, "a few groups are too few"
            assert words in judged.output
        late = run(retailer, "evaluate", "groups", "--since", "2024-08-26")
        assert "nothing is known before" in late.output
    finally:
        toml.write_text(text, "utf-8")


def test_an_erased_customer_is_on_no_list(retailer: Settings) -> None:
    """Else who fell due is remembered after everything else was forgotten."""
    with due.opened(retailer) as known:
        known.add("promotion", ["00000011"], NOW, NOW + DAY)
    assert erase(retailer, "00000011", dry_run=True).removed["due"] >= 1
    erase(retailer, "00000011")
    with due.opened(retailer) as known:
        assert "00000011" not in known.customers()
