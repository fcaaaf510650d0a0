"""What is behind what stands out: whoever is told must know what is lost, came twice, or has another unit."""

import re
from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from logs import TODAY

from features.sources.bounds import LATER
from monitoring import causes, panels, shop_measures
from monitoring.checks import BROKEN, CHECKS, Check
from monitoring.evidence import ShopEvidence, faulty
from monitoring.measures import Reading
from monitoring.received import Figure, Received, angle

DAYS, FIRST = 200, 17_000
ORDERS, REPEATED, AMOUNT = (
    Figure("orders", "rows"),
    Figure("orders", "repeated"),
    Figure("orders", "size", "amount"),
)
RECEIVED, FIELDS = (next(c for c in CHECKS if c.name == name) for name in ("received", "fields"))


@cache
def shop(
    lost: float = 0.0, days: int = 3, repeated: float = 0.0, factor: float = 1.0, average: float = 1.0
) -> ShopEvidence:
    """400 orders a day, whose last days lack a share of them, or have a share twice, or other amounts."""
    random = np.random.default_rng(1)
    rows = np.round(random.normal(400, 12, DAYS))
    size = random.normal(3, 0.02, DAYS)
    twice = np.abs(random.normal(0, 0.02, DAYS))
    rows[-days:] *= (1 - lost) * (1 + repeated)
    size[-days:] += np.log(factor)
    twice[-days:] += 2 * np.arcsin(np.sqrt(repeated / 2))
    values = np.column_stack([np.log1p(rows), twice, size])
    several = np.repeat(rows[:, None], 3, axis=1).astype(np.int64)
    received = Received(FIRST, (ORDERS, REPEATED, AMOUNT), values, several, np.ones(values.shape, bool))
    money = 20 * np.exp(random.normal(0, 0.02, DAYS))
    money[-days:] *= average
    day = pa.array(range(FIRST, FIRST + DAYS), pa.int32()).cast(pa.date32())
    table = pa.concat_tables(
        pa.table(
            {"day": day, "name": [name] * DAYS, "segment": [""] * DAYS, "value": value, "n": several[:, 0]}
        )
        for name, value in (
            ("active_customers", rows * 0.9),
            ("orders", rows),
            ("average_order", money),
            ("coupon_cost", money),
        )
    )
    return ShopEvidence(
        moment=TODAY,
        received=panels.of_received(received, {}),
        indicators=panels.of_indicators(table, FIRST, FIRST + DAYS - 1, {}),
        absent={},
    )


def asked(check: Check, of: ShopEvidence, table: str = "orders") -> Reading:
    return check.measure((of, table))


def indicator(of: ShopEvidence, name: str) -> Reading:
    place = [subject.name for subject in of.indicators.subjects].index(name)
    return shop_measures.indicator((of, place))


@pytest.mark.parametrize(
    ("lost", "days", "status"), [(0.4, 3, "page"), (0.4, 2, "page"), (0.3, 3, "warning")]
)
def test_lost_orders_are_named_and_graded_by_how_much_is_lost(lost: float, days: int, status: str) -> None:
    """Else: two orders in five are missing for days, and it reads like any figure that is a little low."""
    found = asked(RECEIVED, shop(lost, days))
    assert RECEIVED.status(found.value) == status
    assert found.cause is not None
    since = date(1970, 1, 1).fromordinal(date(1970, 1, 1).toordinal() + FIRST + DAYS - days)
    assert f"since {since.day} {since:%b} {since.year}" in found.cause.en
    share = int(found.cause.en.split("% of what is due")[0].rsplit(" ", 1)[1])
    assert abs(share - 100 * lost) <= 4
    assert "fewer customers were active" in found.cause.en
    assert "缺失" in found.cause.zh


def rejecting(share: float, before: float = 0.0, lost: float = 0.0) -> ShopEvidence:
    """400 orders a day came, and ingestion rejected a share of them on the last three, and another before.

    lost: the share that did not come on the last three."""
    random = np.random.default_rng(2)
    came = np.round(random.normal(400, 12, DAYS))
    came[-3:] *= 1 - lost
    shares = np.full(DAYS, before)
    shares[-3:] = share
    figure = Figure("orders", "rejected", "", LATER)
    values = np.column_stack([np.log1p(came * (1 - shares)), angle(shares)])
    several = np.column_stack([came * (1 - shares), came]).astype(np.int64)
    received = Received(FIRST, (ORDERS, figure), values, several, np.ones(values.shape, bool))
    return replace(shop(), received=panels.of_received(received, {}))


@pytest.mark.parametrize(("share", "status"), [(0.01, "ok"), (0.1, "warning"), (0.25, "page"), (0.4, "page")])
def test_rows_that_came_and_are_rejected_are_named_with_the_reason(share: float, status: str) -> None:
    """Else: orders of next year's date are lost every day, unsaid, or the till is asked for what it sent."""
    found = asked(RECEIVED, rejecting(share))
    assert RECEIVED.status(found.value) == status
    if status != "ok":
        assert found.cause is not None
        assert found.advice is not None
        assert f"the rows came, but break the table's contract: {LATER}" in found.cause.en
        assert "日期晚于导入之日" in found.cause.zh
        assert "lost orders" not in found.cause.en, "the till sent them"
        assert "propensity rejects list" in found.advice.en
        assert found.topic == "data orders"


def test_where_far_more_is_missing_than_was_rejected_the_loss_is_named() -> None:
    """Else: half of the stores send nothing, and somebody corrects a few dates."""
    found = asked(RECEIVED, rejecting(0.1, lost=0.5))
    assert found.cause is not None
    assert RECEIVED.status(found.value) == "page"
    assert "lost orders" in found.cause.en


def test_fewer_rejected_rows_than_usual_are_no_fault() -> None:
    """Else: whoever mends a source is warned of it."""
    assert RECEIVED.status(asked(RECEIVED, rejecting(0.0, before=0.15)).value) == "ok"


def test_a_table_that_is_a_little_low_pages_nobody() -> None:
    """Else: a slow Monday wakes somebody."""
    assert RECEIVED.status(asked(RECEIVED, shop(0.15)).value) == "ok"
    assert asked(RECEIVED, shop(0.4, 1)).value < BROKEN, "one day may be a feast that nobody named"


def test_a_day_that_came_twice_is_to_be_taken_out_and_not_asked_for_again() -> None:
    """Else: the advice is to fetch the file once more, which doubles nothing less."""
    found = asked(RECEIVED, shop(repeated=1.0, days=1))
    assert RECEIVED.status(found.value) != "ok"
    assert found.cause is not None
    assert found.advice is not None
    assert "came twice" in found.cause.en
    assert "taken out" in found.advice.en
    assert "propensity features build" in found.advice.en


def test_another_unit_is_named_and_what_it_moves_joins_the_same_message() -> None:
    """Else: amounts in cents are two messages, and neither says that they are in cents."""
    of = shop(factor=100, average=100)
    fields = asked(FIELDS, of)
    assert fields.cause is not None
    assert "about 100 times as large" in fields.cause.en
    assert fields.topic == "data orders"


def small(came: "list[int]", empty: float = 0.0, sunday: int = 15) -> ShopEvidence:
    """A shop of some 45 orders a day, fewer on Sundays, the last of which is over; the last days as given."""
    random = np.random.default_rng(3)
    rows = random.poisson(np.where(np.arange(DAYS) % 7 == (DAYS - 1) % 7, sunday, 50)).astype(float)
    lacks = np.abs(random.normal(0.1, 0.04, DAYS))
    rows[DAYS - len(came) :] = came
    lacks[-1] = max(empty, lacks[-1])
    values = np.column_stack([np.log1p(rows), angle(lacks)])
    several = np.repeat(rows[:, None], 2, axis=1).astype(np.int64)
    fresh = np.column_stack([np.ones(DAYS, bool), rows > 0])
    received = Received(FIRST, (ORDERS, Figure("orders", "empty", "store_id")), values, several, fresh)
    return replace(shop(), received=panels.of_received(received, {}))


@pytest.mark.parametrize(
    ("came", "sunday", "status"),
    [([0], 15, "page"), ([1], 15, "warning"), ([0, *[50] * 6, 15, *[50] * 6, 0], 15, "page"), ([0], 0, "ok")],
)
def test_no_order_at_all_is_a_page_on_its_first_day_however_small_the_shop(
    came: list[int], sunday: int, status: str
) -> None:
    """Else: a feed that stopped waits for another day, where days vary much; after an outage it does so for
    a year; or a shop that is closed on Sundays is woken on each."""
    found = asked(RECEIVED, small(came, sunday=sunday))
    assert RECEIVED.status(found.value) == status, (found.value, found.words.en)


@pytest.mark.parametrize(
    ("factor", "orders", "status"),
    [(100, 9, "page"), (0.01, 9, "page"), (20, 9, "warning"), (100, 3, "ok")],
)
def test_amounts_in_cents_are_a_page_on_their_first_day_however_small_the_shop(
    factor: float, orders: int, status: str
) -> None:
    """Else: for a day every customer of a small shop is a hundred times as good, and offers are chosen by it;
    or a day with three large orders wakes somebody."""
    size = 90 * np.exp(np.random.default_rng(5).normal(0, 0.3, DAYS))
    size[-1] *= factor
    rows = np.full(DAYS, float(orders))
    values = np.column_stack([np.log1p(rows), np.log1p(size)])
    several = np.repeat(rows[:, None], 2, axis=1).astype(np.int64)
    received = Received(FIRST, (ORDERS, AMOUNT), values, several, np.ones(values.shape, bool))
    found = asked(FIELDS, replace(shop(), received=panels.of_received(received, {})))
    assert FIELDS.status(found.value) == status, (found.value, found.words.en)


@pytest.mark.parametrize(("empty", "pages"), [(1.0, True), (0.9, False)])
def test_a_column_that_is_wholly_empty_is_a_page_on_its_first_day(empty: float, pages: bool) -> None:
    """Else: a column that the source dropped waits until somebody reads a warning."""
    status = FIELDS.status(asked(FIELDS, small([50], empty)).value)
    assert (status == "page") == pages, status


def test_a_column_that_is_gone_is_named_with_what_to_do() -> None:
    """Else: a column that was renamed at the source reads like any share, and nobody looks at its head."""
    random = np.random.default_rng(2)
    some = 0.02 + np.abs(random.normal(0, 0.005, (DAYS, 2)))
    some[-2:, 0], some[-2:, 1] = 1.0, 0.5
    figures = Figure("orders", "empty", "store_id"), Figure("orders", "empty", "channel")
    several = np.full(some.shape, 400)
    received = Received(FIRST, figures, angle(some), several, np.ones(some.shape, bool))
    of = replace(shop(), received=panels.of_received(received, {}))
    assert len(of.received.out()) == 2
    found = asked(FIELDS, of)
    assert found.cause is not None
    assert found.advice is not None
    assert found.cause.en.startswith("orders.store_id is not filled any more"), "half is not gone"
    assert "orders.store_id" in found.advice.en
    assert "shop.toml" in found.advice.en
    assert "orders.store_id已不再有值" in found.cause.zh


def catalogue(food: float, unseen: float) -> Reading:
    """What is said where lines of food were a fifth, and on the last days are so many, and others unseen."""
    random = np.random.default_rng(4)
    shares = np.abs(np.column_stack([random.normal(0.2, 0.01, DAYS), np.zeros(DAYS), np.full(DAYS, 0.5)]))
    shares[-2:, 0], shares[-2:, 1] = food, unseen
    foods, toys = (Figure("order_lines", "share", "category", one) for one in ("Food", "Toys"))
    unknown = Figure("order_lines", "unseen", "category", "Edibles")
    figures = foods, unknown, toys, Figure("order_lines", "rows")
    several = np.full((DAYS, 4), 400)
    values = np.column_stack([angle(shares), np.log1p(several[:, 0])])
    received = Received(FIRST, figures, values, several, np.ones(several.shape, bool))
    of = replace(shop(), received=panels.of_received(received, {}))
    return asked(FIELDS, of, "order_lines")


def test_a_category_that_was_renamed_is_named_with_what_to_do() -> None:
    """Else: somebody reads of shares, and looks for lost rows where the catalogue has another name."""
    found = catalogue(food=0.0, unseen=0.21)
    assert found.cause is not None
    assert found.advice is not None
    assert "Food stopped when Edibles began" in found.cause.en
    assert "Food不再出现" in found.cause.zh
    assert "is called Edibles now" in found.advice.en
    assert "training" not in found.words.en, "no model saw the log"


def test_new_goods_beside_the_old_are_not_called_renamed() -> None:
    """Else: a category that was added is mapped to another, and its sales are counted to that."""
    for food, unseen in ((0.2, 0.2), (0.0, 0.5), (0.1, 0.1)):
        found = catalogue(food, unseen)
        assert "renamed" not in (found.cause.en if found.cause else "")


def test_a_value_of_which_nothing_came_is_asked_for_and_no_mapping_is_blamed() -> None:
    """Else: who is told of a source that stopped compares rows that are not there with the till's."""
    found = catalogue(food=0.0, unseen=0.0)
    assert found.cause is not None
    assert found.advice is not None
    assert found.cause.en.startswith("no order lines with category Food came: a file or a source is missing")
    assert "Ask the source's owner for order lines with category Food." in found.advice.en
    assert "中品类为Food未到达" in found.cause.zh
    assert catalogue(food=0.05, unseen=0.0).cause is None, "some came"


def test_what_is_back_today_says_what_it_was() -> None:
    """Else: a warning reads 2.0%, 2.0% before, and nobody knows what it is about."""
    random = np.random.default_rng(2)
    some = 0.02 + np.abs(random.normal(0, 0.005, (DAYS, 1)))
    some[-4:-1] = 0.8
    received = Received(
        FIRST, (Figure("orders", "empty", "store_id"),), angle(some), np.full(some.shape, 400),
        np.ones(some.shape, bool),
    )  # fmt: skip
    (shift,) = panels.of_received(received, {}).out()
    assert re.search(r": 80\.0% not known, \d\.\d% before; \d\.\d% on the last day$", shift.words.en)
    assert re.search(r"：缺失80\.0%，此前\d\.\d%；最近一天为\d\.\d%$", shift.words.zh)


def test_a_table_at_fault_is_why_customers_are_told_apart() -> None:
    """Else: a day without orders is four messages, one of each model, and three say that ids are wrong."""
    of = shop(0.6, 2)
    blamed = causes.of_tables(faulty(of))
    assert blamed.topic == "data orders"
    assert blamed.cause is not None
    assert "orders received" in blamed.cause.en
    assert causes.of_tables({}) == causes.Blamed()


def tables(contacts: int, orders: int, lines: int, left: float = 0.4) -> ShopEvidence:
    """Contacts lack their channel, and of orders and lines more than half is lost, since so many days.

    left: of the orders."""
    random = np.random.default_rng(6)
    lacks = 0.02 + np.abs(random.normal(0, 0.005, DAYS))
    lacks[DAYS - contacts :] = 1.0
    rows = np.round(random.normal(400, 12, (DAYS, 2)))
    rows[DAYS - orders :, 0] *= left
    rows[DAYS - lines :, 1] *= 0.4
    figures = Figure("contacts", "empty", "channel"), ORDERS, Figure("order_lines", "rows")
    values = np.column_stack([angle(lacks), np.log1p(rows)])
    several = np.full(values.shape, 400)
    received = Received(FIRST, figures, values, several, np.ones(values.shape, bool))
    return replace(shop(), received=panels.of_received(received, {}))


def test_two_tables_at_fault_are_two_messages_each_with_its_own_day() -> None:
    """Else: lost orders are told as "worse" of a column that has been empty for a week, with its date."""
    of = tables(contacts=7, orders=2, lines=2)
    assert of.tables == ("contacts", "orders", "order_lines")
    contacts, orders = asked(FIELDS, of, "contacts"), asked(RECEIVED, of)
    assert (contacts.topic, orders.topic) == ("data contacts", "data orders")
    assert contacts.since is not None
    assert orders.since is not None
    assert (orders.since - contacts.since).days >= 4
    assert "channel" not in orders.words.en
    (features,) = (
        causes.of_columns([shift], faulty(of))
        for shift in of.received.out()
        if "orders" in shift.subject.tables
    )
    assert features.topic == "data orders"


def test_what_stopped_on_one_day_is_one_message_whatever_tables_it_shows_in() -> None:
    """Else: a till that sends nothing is a message of its orders, and another of their lines."""
    of = tables(contacts=2, orders=2, lines=2)
    topics = {asked(check, of, table).topic for check in (FIELDS, RECEIVED) for table in of.tables}
    assert topics == {None, "data orders"}
    assert asked(FIELDS, of).words.en.startswith("orders: ")


def test_smaller_baskets_are_graded_by_the_orders_that_came() -> None:
    """Else: two days with somewhat fewer orders, all small, page as if a source had stopped."""
    few = tables(contacts=0, orders=2, lines=2, left=0.7)
    found = [asked(RECEIVED, few, table) for table in ("orders", "order_lines")]
    assert [RECEIVED.status(one.value) for one in found] == ["warning", "warning"]
    assert found[0].cause == found[1].cause
    both = tables(contacts=0, orders=2, lines=2)
    assert RECEIVED.status(asked(RECEIVED, both, "order_lines").value) == "page"


def test_what_pages_speaks_for_its_table() -> None:
    """Else: a column that is gone pages, and the message is of another that is emptier than usual."""
    random = np.random.default_rng(8)
    some = np.abs(random.normal(0, 0.001, (DAYS, 2)))
    some[:, 1] = 0.3 + np.abs(random.normal(0, 0.04, DAYS))
    some[-1, 0], some[-1, 1] = 0.9, 1.0
    figures = Figure("orders", "empty", "channel"), Figure("orders", "empty", "store_id")
    received = Received(FIRST, figures, angle(some), np.full(some.shape, 400), np.ones(some.shape, bool))
    of = replace(shop(), received=panels.of_received(received, {}))
    assert of.received.out()[0].subject.name == "orders.channel", "the furthest"
    found = asked(FIELDS, of)
    assert FIELDS.status(found.value) == "page"
    assert found.words.en.startswith("orders without store_id: 100.0% not known")


def test_what_an_indicator_is_counted_from_is_its_cause() -> None:
    """Else: each indicator of a broken table is a message of its own."""
    of = shop(0.4)
    orders = indicator(of, "orders")
    assert (orders.topic, orders.value >= 1) == ("data orders", True)
    assert orders.cause is not None
    assert "orders received" in orders.cause.en
    alone = indicator(shop(average=0.2), "average_order")
    assert (alone.topic, alone.cause, alone.value >= 1) == ("indicator average_order", None, True)


def test_an_indicator_beyond_its_limit_is_never_as_usual() -> None:
    """Else: an average order of a hundred times its size is shown as "as usual 0.00"."""
    found = indicator(shop(average=100), "average_order")
    assert (found.value, found.better > 3) == (0.0, True)
    assert found.since is not None


def by_chance(seed: int, lost: float = 0.0, nights: float = 0.03, mean: float = 37.0) -> ShopEvidence:
    """So many orders a day, by chance alone, of which in the last three days a share is lost, or of the
    night."""
    random = np.random.default_rng(seed)
    expected, small_hours = np.full(420, mean), np.full(420, 0.03)
    expected[-3:] *= 1 - lost
    small_hours[-3:] = nights
    rows = random.poisson(expected)
    night = random.binomial(rows, small_hours) / np.maximum(rows, 1)
    values = np.column_stack([np.log1p(rows), angle(night)])
    several = np.repeat(rows[:, None], 2, axis=1)
    figures = (ORDERS, Figure("orders", "night"))
    received = Received(FIRST, figures, values, several, np.ones(values.shape, bool))
    return replace(shop(), received=panels.of_received(received, {}))


def test_half_the_orders_of_a_small_shop_are_missed_within_three_days() -> None:
    """Else: half of its stores deliver nothing, and for days it reads `as usual`; what is chance does not."""
    told = [RECEIVED.status(asked(RECEIVED, by_chance(seed, lost=0.5)).value) for seed in range(40)]
    assert told.count("ok") <= 10
    assert told.count("page") >= 10, "where two days say it by themselves"
    days = sum(int(by_chance(seed).received.judged.out[-300:].any(axis=1).sum()) for seed in range(40))
    assert days <= 6, "12,000 days on which nothing was wrong"


def test_what_chance_does_to_a_table_of_few_rows_is_no_fault() -> None:
    """Else: two days with one new customer, where eight are usual, are a warning in every quarter."""
    days = sum(
        int(by_chance(seed, mean=8.0).received.judged.out[-300:].any(axis=1).sum()) for seed in range(40)
    )
    assert days <= 1


def test_times_that_moved_by_hours_are_named_in_a_small_shop() -> None:
    """Else: a source begins to write UTC, and somebody reads of a share of the night, with nothing to do."""
    found = asked(FIELDS, by_chance(3, nights=0.4))
    assert FIELDS.status(found.value) != "ok"
    assert found.cause is not None
    assert "time zone" in found.cause.en
    assert "时区" in found.cause.zh
    fewer = [asked(FIELDS, by_chance(seed, nights=0.0)) for seed in range(10)]
    assert {FIELDS.status(one.value) for one in fewer} == {"ok"}, "fewer orders at night harm nobody"
