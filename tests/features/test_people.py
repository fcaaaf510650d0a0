"""One person with two ids is one customer, and one order that two systems report is one order."""

import random
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deliveries import deliver, identity, order

from features.compute.engine import build
from features.errors import SourceError
from features.ingestion import people
from features.ingestion.ingest import Ingested, take
from features.ingestion.rejects import reasons
from features.log import Log
from features.moments import DAY, parse_moment
from features.online import OnlineRows, publish
from features.settings import Settings

CONSENT = {"channel": "mail", "purpose": "marketing", "at": "2017-01-20T00:00:00Z"}


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def _till(folder: Path) -> object:
    return deliver(
        folder,
        "till",
        {
            "orders": [order("1", "a", "2017-01-02"), order("2", "b", "2017-01-10", "5.00")],
            "consents": [{**CONSENT, "customer_id": "a", "status": "granted"},
                         {**CONSENT, "customer_id": "b", "status": "withdrawn"}],
            "products": [{"product_id": "p"}],
        },
    )  # fmt: skip


def _fates(done: Ingested, table: str) -> dict[tuple[str, str], int]:
    return {(c.source, c.what): c.rows for c in done.account if c.table == table and not c.accepted}


def test_history_follows_a_merge_that_arrives_later(shop: Settings, tmp_path: Path) -> None:
    """Else her spend is split over two customers, and each looks lost when she uses the other card."""
    take(shop, [_till(tmp_path / "till")])
    before = Log.open(shop)
    crm = deliver(tmp_path / "crm", "crm", {"identities": [identity("till", "b", "a", "2017-02-01")]})
    done = take(shop, [crm])
    log = Log.open(shop)
    assert done.merged == 1
    assert log.read("orders")["customer_id"].to_pylist() == ["a", "a"]
    assert log.read("customers")["customer_id"].to_pylist() == ["a"]
    assert log.read("customers")["known_at"].to_pylist() == [parse_moment("2017-01-02T12:00:00Z")]
    assert log.merges().to_pylist() == [
        {"customer_id": "b", "canonical_id": "a", "since": parse_moment("2017-02-01T12:00:00Z")}
    ]
    pairs = {(r["source"], r["source_id"]): r["customer_id"] for r in log.read("identities").to_pylist()}
    assert pairs == {("till", "a"): "a", ("till", "b"): "a"}, "both old ids lead to her"
    assert sorted(log.read("consents")["status"].to_pylist()) == ["granted", "withdrawn"]
    assert _fates(done, "consents") == {}, "two words of one person at one moment are both kept"
    assert before.read("orders")["customer_id"].to_pylist() == ["a", "b"], "the old generation is as it was"
    assert log.paths("products")[0].samefile(before.paths("products")[0]), "untouched files are shared"
    moment = parse_moment("2017-02-10")
    made, _ = build(shop, [moment])
    assert made.read(moment, ["customer_id", "order_days_90d"]).to_pylist() == [
        {"customer_id": "a", "order_days_90d": 2.0}
    ]
    publish(shop, made, moment)
    rows = OnlineRows.open(shop)
    assert rows.resolve([("till", "a"), ("till", "b")]) == ["a", "a"]
    assert not any(rows.read(rows.current(), ["a"]).consents(0).values()), "of two words the cautious one"
    assert log.digests["orders"]["2017-01-10"] != before.digests["orders"]["2017-01-10"], (
        "it is other history"
    )
    assert log.digests["orders"]["2017-01-02"] == before.digests["orders"]["2017-01-02"]


def test_two_scores_of_one_person_are_one_and_nothing_waits_to_be_mended(
    shop: Settings, tmp_path: Path
) -> None:
    """Else a row waits for ever that nobody can mend: both ids were right when they were scored."""
    score = {"name": "credit", "at": "2017-01-20T00:00:00Z"}
    of_two = [{**score, "customer_id": "a", "value": 0.5}, {**score, "customer_id": "b", "value": 0.25}]
    orders = [order("1", "a", "2017-01-02"), order("2", "b", "2017-01-10")]
    take(shop, [deliver(tmp_path / "till", "till", {"orders": orders, "scores": of_two})])
    crm = deliver(tmp_path / "crm", "crm", {"identities": [identity("till", "b", "a", "2017-02-01")]})
    done = take(shop, [crm])
    assert Log.open(shop).read("scores")["value"].to_pylist() == [0.5]
    (joined,) = (c for c in done.account if c.table == "scores" and not c.accepted)
    assert (joined.rows, joined.aside, joined.what.startswith("joined to")) == (1, True, True)
    assert reasons(shop) == []


def test_the_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    sources = [
        _till(tmp_path / "till"),
        deliver(tmp_path / "crm", "crm", {"identities": [identity("till", "b", "a", "2017-02-01")]}),
        deliver(
            tmp_path / "web",
            "web",
            {
                "orders": [order("w1", "b", "2017-01-01")],
                "customers": [{"customer_id": "b", "at": "2017-01-01T12:00:00Z",
                               "attributes": '{"town": "x", "age": "9"}'}],
            },
        ),
    ]  # fmt: skip
    made = set()
    for number in range(4):
        settings = Settings(home=tmp_path / str(number))
        for source in random.Random(number).sample(sources, len(sources)):
            with suppress(SourceError):  # the crm alone is no log
                take(settings, [source])
        take(settings, sources)
        made.add(Log.open(settings).fingerprint)
    assert len(made) == 1
    (row,) = Log.open(settings).read("customers").to_pylist()
    assert (row["customer_id"], dict(row["attributes"])) == ("b", {"town": "x", "age": "9"})


def test_of_two_orders_with_one_id_the_first_source_has_it_and_the_inbox_yields(
    shop: Settings, tmp_path: Path
) -> None:
    fresh = [order("9", "a", "2017-01-20"), order("1", "a", "2017-01-02", "10.01")]
    inbox = deliver(tmp_path / "inbox", "inbox", {"orders": fresh}, until="SELECT NULL")
    lines = [
        {"order_id": "1", "line": n, "customer_id": "a", "at": "2017-01-02T12:00:00Z", "product_id": "p",
         "items": 1, "amount": "5.00", "discount": "0.00", "coupon": "0.00"}
        for n in range(3)
    ]  # fmt: skip
    web = deliver(
        tmp_path / "web", "web", {"order_lines": lines, "orders": [order("2", "c", "2017-02-02", "7.00")]}
    )
    first = take(
        shop, [inbox, deliver(tmp_path / "one", "till", {"orders": [order("0", "z", "2017-01-01")]})]
    )
    assert first.tables["orders"] == 3
    done = take(shop, [_till(tmp_path / "till"), web])
    orders = {
        r["order_id"]: (r["customer_id"], str(r["amount"])) for r in Log.open(shop).read("orders").to_pylist()
    }
    assert orders == {"1": ("a", "10.00"), "2": ("b", "5.00"), "9": ("a", "10.00")}
    assert _fates(done, "orders") == {
        ("web", "another customer's order_id in till"): 1,
        ("inbox", "the same order_id as a row of till"): 1,
    }
    assert sum(c.rows for c in done.account if c.table == "orders" and c.source == "web") == 1, "it adds up"
    rejects = shop.home / "rejects" / done.generation
    assert '"order_id":"2"' in pq.read_table(rejects / "web.parquet")["row"].to_pylist()[0]
    assert len(pq.read_table(rejects / "inbox.parquet")) == 0, (
        "what the file brought again is not to be mended"
    )
    assert Log.open(shop).complete_until == parse_moment("2017-03-01"), (
        "the inbox says nothing of completeness"
    )


def test_an_event_of_anothers_order_is_told_as_such_and_can_be_mended(shop: Settings, tmp_path: Path) -> None:
    """Else it is accepted, dropped at the next build, and nobody learns that two systems number alike."""
    fresh = [order("1", "zed", "2017-01-02"), order("2", "b", "2017-02-20"), order("9", "a", "2017-01-20")]
    inbox = deliver(tmp_path / "inbox", "inbox", {"orders": fresh}, until="SELECT NULL")
    done = take(shop, [_till(tmp_path / "till"), inbox])
    assert _fates(done, "orders") == {
        ("inbox", "another customer's order_id in till"): 1,
        ("inbox", "another day's order_id in till"): 1,
    }
    told = {(r.source, r.reason): r.rows for r in reasons(shop)}
    assert told["inbox", "another customer's order_id in till"] == 1
    assert told["inbox", "another day's order_id in till"] == 1
    shown = {s.reason: s.value for s in done.samples if s.source == "inbox"}
    assert shown["another customer's order_id in till"] == "order_id = 1, customer_id = zed"
    assert ("inbox", "orders") in done.lost


def test_merges_of_chains_know_since_when(shop: Settings, tmp_path: Path) -> None:
    """a-b since day 5, c-d since day 6, b-c since day 9: d is a's only from day 9 on."""
    day = parse_moment("2017-01-01")
    edges = [(day + 5 * DAY, "a", "b"), (day + 6 * DAY, "c", "d"), (day + 9 * DAY, "b", "c")]
    sets = people._people(edges)
    assert sets == [{"a", "b", "c", "d"}]
    since = people._since(edges, dict.fromkeys("abcd", "a"))
    assert since == {"b": edges[0][0], "c": edges[2][0], "d": edges[2][0]}


def test_a_log_of_no_order_is_refused(shop: Settings, tmp_path: Path) -> None:
    crm = deliver(tmp_path / "crm", "crm", {"identities": [identity("till", "b", "a", "2017-02-01")]})
    with pytest.raises(SourceError, match="no source gave an order"):
        take(shop, [crm])
    assert not (shop.home / "log" / "CURRENT").exists()
