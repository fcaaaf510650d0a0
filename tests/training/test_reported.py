"""What was reported by decision counts beside the log: each outcome once, and only when it is final."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from deliveries import deliver, order
from ledgers import write_ledger
from trials import trial_by_hand

from features.errors import NotEnoughData
from features.ingestion.ingest import take
from features.log import Log
from features.moments import DAY, parse_moment
from features.policy import Policy
from features.settings import Settings
from features.shop import shop_of
from propensity.exported import export
from propensity.held_out import final_reports
from serving.ledger import Ledger
from serving.ledger_reports import Delivery, Outcome
from serving.lots import in_holdout
from training.realised import realised
from training.reported import Order, beyond, reports_of

AT = parse_moment("2017-06-01")
ROWS = 200
TOLD = {1: 12.0, 2: 8.0, 3: 5.0}  # orders that were reported, by number of the customer


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """200 customers with a decision each on the first of June; the log has the first of the orders told."""
    folder = tmp_path_factory.mktemp("reported")
    settings = Settings(home=folder / "home", as_of=AT + 35 * DAY)
    orders = [order(f"o{i}", f"c{i:06}", "2017-05-02", "20.00") for i in range(ROWS)]
    orders += [
        order("one", "c000001", "2017-06-01", "11.00"),
        order("other", "c000005", "2017-06-09", "4.00"),
    ]
    until = "SELECT TIMESTAMPTZ '2017-07-30T00:00:00Z'"
    take(settings, [deliver(folder / "till", "till", {"orders": orders}, until)])
    trial, _ = trial_by_hand("none", rows=ROWS)
    margin = np.zeros(ROWS)
    for place, value in TOLD.items():
        margin[place] = value * 0.25
    write_ledger(settings, replace(trial, outcomes={"profit": margin}), AT)
    with closing(Ledger(settings)) as ledger:  # the order that is told again, of a second decision, is one
        sent = [
            Delivery(source="m", id=f"s{place}", decision_id=f"d{place:06}", status="sent", at=AT)
            for place in np.flatnonzero(trial.arm > 0).tolist()[:40]
        ]
        late = Outcome(
            source="t", id="late", decision_id="d000009", type="order", value=99.0, at=AT + 30 * DAY
        )
        ledger.report([*sent, late], AT + 31 * DAY)
    return settings


def of_policy(settings: Settings) -> Policy:
    return replace(shop_of(settings).policy(AT), holdout=0.4)


def test_an_outcome_that_is_reported_and_in_the_log_is_one(home: Settings) -> None:
    """Else: marketing that is well reported seems to sell everything twice."""
    log = Log.open(home)
    told = reports_of(home, log, AT, AT + 28 * DAY)
    assert [(who, value) for who, _, value in told.orders] == [("c000002", 8.0), ("c000003", 5.0)]
    found = realised(log, of_policy(home), AT, 28, told=told)
    alone = realised(log, of_policy(home), AT, 28)
    money, less = (
        sum(of.mean * of.n for of in (one.effects[1].treated, one.effects[1].held_out))
        for one in (found, alone)
    )
    assert (money, less) == (pytest.approx(11 + 4 + 8 + 5), pytest.approx(11 + 4))
    names = [one.name.en for one in found.effects]
    assert "customers who withdrew a consent or opted out" in names, "told to the ledger, and nowhere else"
    assert len(alone.effects) == 2
    assert found.cost is not None
    assert any("contacted all the same" in words.en for words in found.warnings)


def test_a_contact_that_was_exported_is_one(home: Settings) -> None:
    """Else: the cost of marketing doubles with the next export."""
    before = realised(
        Log.open(home), of_policy(home), AT, 28, told=reports_of(home, Log.open(home), AT, AT + DAY)
    )
    export(home)
    log = Log.open(home)
    told = reports_of(home, log, AT, AT + 28 * DAY)
    assert not told.contacts
    after = realised(log, of_policy(home), AT, 28, told=told)
    assert after.cost == pytest.approx(before.cost)


def test_reports_that_may_still_come_are_no_zeros(home: Settings) -> None:
    """Else: a window is judged by what the quickest reporters told of it."""
    log = Log.open(home)
    assert final_reports(home, log, AT, 28).any
    young = replace(home, as_of=AT + 34 * DAY)
    with pytest.raises(NotEnoughData, match="may be reported until 2017-07-06"):
        final_reports(young, log, AT, 28)


def test_sales_told_of_contacts_alone_are_no_comparison(home: Settings) -> None:
    """Else: a tool that reports its own sales proves itself."""
    log, policy = Log.open(home), of_policy(home)
    ids = [f"c{i:06}" for i in range(ROWS)]
    held = in_holdout(ids, policy.salt, policy.holdout)
    orders: list[Order] = [(id, AT, 10.0) for id, out in zip(ids, held, strict=True) if not out][:30]
    of = replace(reports_of(home, log, AT, AT + 28 * DAY), orders=tuple(orders))
    assert any("none held out" in words.en for words in realised(log, policy, AT, 28, told=of).warnings)
    both = replace(of, orders=(*orders, (ids[int(np.flatnonzero(held)[0])], AT, 10.0)))
    assert not any("none held out" in words.en for words in realised(log, policy, AT, 28, told=both).warnings)


def test_orders_are_matched_one_to_one() -> None:
    """Two orders of a week are two, and one of the log stands for one of them alone."""
    told = [("a", AT, 9.0), ("a", AT + DAY / 2, 5.0), ("a", AT + 5 * DAY, 7.0), ("b", AT, 1.0)]
    assert beyond(told, {"a": [AT + DAY, AT + 5 * DAY]}) == [told[1], told[3]]
    assert beyond(told, {}) == told
