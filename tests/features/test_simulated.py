"""A simulator that lies about its truth would make every later claim of recovered effects worthless."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import propensity
from features.errors import SourceError, UsageError
from features.ingestion.ingest import ingest
from features.log import Log
from features.settings import BUNDLED_SHOPS, Settings
from features.sources.simulated import campaigns, purchases
from features.sources.simulated.draws import Draws, keys
from features.sources.simulated.people import HAZARD_MEAN, RATE_MEAN, RATE_SHAPE
from features.sources.simulated.truth import Truth
from features.sources.simulated.world import Change, World
from features.sources.simulated.writing import simulate
from features.tables import TABLES

WORLD = World(customers=3_000, days=420, seed=5)
EVENTS = (
    *("orders", "order_lines", "interactions", "memberships", "contacts", "responses"),
    *("cases", "surveys", "tags", "consents"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[World], Path]:
    """The folder of a world, written once."""
    root, folders = tmp_path_factory.mktemp("shops"), {}

    def folder(world: World) -> Path:
        if world not in folders:
            folders[world] = simulate(world, root / str(len(folders))).folder
        return folders[world]

    return folder


def query(folder: Path, sql: str) -> list[tuple]:
    """SQL over the raw files; {orders} names a table, {truth/effects} one of the truth."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        names = [*TABLES, "truth/customers", "truth/effects", "truth/assignments", "truth/grievances"]
        for name in names:
            sql = sql.replace(f"{{{name}}}", f"read_parquet('{folder}/{name}.parquet/*.parquet')")
        return connection.execute(sql).fetchall()


def days(folder: Path, table: str, where: str = "true") -> tuple[np.ndarray, np.ndarray]:
    """Customers (a second account counts as its owner) and times in days of a table's rows."""
    origin = World.load(folder / "world.json").origin_us
    rows = np.array(
        query(
            folder,
            f"""
        SELECT customer_id[2:]::BIGINT, epoch_us("at") - {origin}
        FROM {{{table}}} WHERE {where} ORDER BY ALL""",
        )
    )
    return rows[:, 0], rows[:, 1] / 86_400e6


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_row_is_taken_in(made: Callable[[World], Path], tmp_path: Path) -> None:
    folder = made(WORLD)
    settings = Settings(home=tmp_path / "home", shop=folder)
    done = ingest(settings)
    assert [c for c in done.account if not c.accepted] == []
    written = json.loads((folder / "rows.json").read_text())
    assert done.merged > 0
    for table in ("customers", "identities"):  # of those who are one person, one row stays
        written[table] -= done.merged
    assert done.tables == written
    assert set(done.tables) == set(TABLES), "every table of the log has rows"
    assert (Log.open(settings).complete_until, done.starts_at > WORLD.moment(0)) == (WORLD.end, True)
    assert not ingest(Settings(home=settings.home, shop=folder), "simulated", folder).changed


def test_dirt_is_rejected_row_by_row_and_nothing_else(tmp_path: Path) -> None:
    """From three files a table."""
    folder = simulate(World(customers=600, days=200, dirty=True), tmp_path / "shop", block=250).folder
    found: dict[tuple[str, str], int] = {}
    for c in ingest(Settings(home=tmp_path / "home", shop=folder)).account:
        if not c.accepted:
            found[c.table, c.what] = found.get((c.table, c.what), 0) + c.rows
    expected = {}
    for table, key in (("orders", "order_id"), ("interactions", "interaction_id")):
        ((rows, distinct, anonymous),) = query(
            folder,
            f"SELECT count(*), count(DISTINCT {key}), count(*) FILTER (customer_id IS NULL) FROM {{{table}}}",
        )
        expected[table, f"a second row with the same {key}"] = rows - distinct
        expected[table, "no customer_id"] = anonymous
    assert found == expected
    assert min(expected.values()) > 0


def test_the_bytes_depend_on_seed_and_size_alone_not_on_the_workers(tmp_path: Path) -> None:
    world = World(customers=500, days=60)
    simulate(world, tmp_path / "one", workers=1, block=200)
    simulate(world, tmp_path / "two", workers=2, block=200)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert (tmp_path / "one" / "orders.parquet" / "orders-00002.parquet").exists()


def test_the_rows_do_not_depend_on_how_customers_are_cut_into_blocks(
    made: Callable[[World], Path], tmp_path: Path
) -> None:
    simulate(WORLD, tmp_path / "cut", block=1_111)
    for table in (*TABLES, "truth/effects", "truth/assignments"):
        difference = f"""SELECT count(*) FROM ((FROM read_parquet('{tmp_path}/cut/{table}.parquet/*.parquet'))
                         EXCEPT ALL (FROM {{{table}}}))"""
        assert query(made(WORLD), difference) == [(0,)], table


def test_a_larger_shop_begins_with_the_customers_of_a_smaller_one(made: Callable[[World], Path]) -> None:
    """So that a sample shop foretells the whole."""
    small = days(made(World(customers=500, days=100)), "orders", "ref IS NULL")
    large = days(made(World(customers=900, days=100)), "orders", "ref IS NULL")
    # Their groups differ, and with them the few orders that group offers caused.
    same = np.intersect1d(small[1], large[1][large[0] < 500])
    assert len(same) > 0.98 * len(small[1])


def test_somebody_new_comes_until_the_last_week(made: Callable[[World], Path]) -> None:
    """Else: a table of the shop stops for no reason, as one does whose source is down."""
    last_week = """SELECT count(*) FROM {customers}
                   WHERE "at" >= (SELECT max("at") FROM {orders}) - INTERVAL 7 DAY"""
    assert query(made(WORLD), last_week)[0][0] > 3_000 / 420 * 7 / 2


def test_draws_are_uniform_and_of_no_memory() -> None:
    """A bad hash would correlate customers or purposes, and every interval below would lie."""
    draws, key = Draws(3), keys(np.arange(100_000))
    u, v = draws.uniform("a", key), draws.uniform("b", key)
    counts = np.bincount((u * 100).astype(int), minlength=100)
    assert abs(counts - 1_000).max() < 5 * np.sqrt(1_000)
    for other in (v, np.roll(u, 1), draws.uniform("a", key + 1)):
        assert abs(np.corrcoef(u, other)[0, 1]) < 5 / np.sqrt(len(u))
    mean = np.full(len(key), 3.0)
    number = draws.poisson("n", key, mean)
    assert abs(number.mean() - 3) < 0.03
    assert abs(number.var() - 3) < 0.1
    assert (draws.poisson("n", key, np.zeros(len(key))) == 0).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_treated_against_control_recovers_the_planted_effect(
    seed: int, made: Callable[[World], Path]
) -> None:
    """On 20,000 customers: orders within 14 days of a draw, weighted by the logged propensities."""
    folder = made(World(customers=20_000, days=300, seed=seed))
    who, t = days(folder, "orders", "ref IS NULL")
    place = np.sort(who * 10_000 + t)
    origin = World.load(folder / "world.json").origin_us
    drawn = np.array(
        query(
            folder,
            f"""
        SELECT customer_id::BIGINT, epoch_us("at") - {origin}, action = 'sms_coupon', action = 'nothing',
               action = 'win_back_call', propensity, expected_orders
        FROM {{truth/assignments}} WHERE campaign_id[-1]::INT % 2 = 0 ORDER BY ALL""",
        ),
        dtype=float,
    )
    start = drawn[:, 0] * 10_000 + drawn[:, 1] / 86_400e6
    orders = np.searchsorted(place, start + 14, "right") - np.searchsorted(place, start, "right")

    def mean(arm: np.ndarray, outcome: np.ndarray) -> tuple[float, float]:
        weight, y = 1 / drawn[arm, 5], outcome[arm]
        average = (weight * y).sum() / weight.sum()
        return average, ((weight * (y - average)) ** 2).sum() / weight.sum() ** 2

    coupon, nothing = drawn[:, 2] > 0, drawn[:, 3] > 0
    (treated, v1), (control, v0) = mean(coupon, orders), mean(nothing, orders)
    planted, _ = mean(coupon, drawn[:, 6])
    assert 0.002 < planted < 0.02
    assert abs(treated - control - planted) < 3 * np.sqrt(v1 + v0)
    naive = orders[drawn[:, 4] > 0].mean() - orders[nothing].mean()
    assert naive < -0.005, "the policy confounds: without the propensities, the call looks worse than it is"


def test_orders_that_an_action_caused_come_as_often_as_the_truth_says(made: Callable[[World], Path]) -> None:
    folder = made(World(customers=20_000, days=300, seed=1))
    for action, n, expected, caused in query(
        folder,
        """
        SELECT action, count(*), sum(expected_orders), sum(caused_order::INT)
        FROM {truth/assignments} GROUP BY action""",
    ):
        assert abs(caused - expected) <= 4 * np.sqrt(expected), action
        assert n > 1_000
        assert (expected == 0) == (action in ("nothing", "mail_magazine"))


def off(happened: np.ndarray, probability: np.ndarray) -> float:
    """How many standard deviations the count of what happened is from what its probabilities say."""
    return abs(happened.sum() - probability.sum()) / np.sqrt((probability * (1 - probability)).sum())


def test_purchases_and_churn_happen_as_often_as_their_true_probabilities(
    made: Callable[[World], Path],
) -> None:
    """By stratum of the probability, among customers whom no contact touches."""
    folder = made(World(customers=20_000, days=300, seed=1))
    truth = Truth.load(folder)
    (who, t), (contacted, when) = days(folder, "orders", "ref IS NULL"), days(folder, "contacts")
    for day, horizon in ((120, 14), (160, 60), (230, 28)):
        moment = truth.world.moment(day)
        touched = np.isin(np.arange(20_000), contacted[(when > day - 45) & (when <= day + horizon)])
        buys = np.isin(np.arange(20_000), who[(t > day) & (t <= day + horizon)])
        p, lost = (
            truth.purchase_probability(horizon, moment),
            truth.churn_probability(horizon, moment),
        )
        assert np.isnan(p[truth.acquired > day]).all()
        assert (lost[truth.lost <= day] == 1).all()
        assert not buys[(p == 0) & ~touched].any(), "who is lost orders nothing, unless an action caused it"
        sample = truth.alive(moment) & ~touched
        for true, happened in ((p, buys), (lost, truth.lost <= day + horizon)):
            edges = np.quantile(true[sample], [0, 0.25, 0.5, 0.75, 1])
            for low, high in zip(edges[:-1], edges[1:], strict=True):
                s = sample & (true >= low) & (true <= high)
                assert off(happened[s], true[s]) < 4, (day, low, high)
        customer, start, until = truth.grieved
        slowed = sample & np.isin(np.arange(20_000), customer[(start <= day) & (until > day)])
        assert off(buys[slowed], p[slowed]) < 4, "a bad experience is part of the truth"


def test_effects_keep_their_documented_range(made: Callable[[World], Path]) -> None:
    truth = Truth.load(made(WORLD))
    true = truth.effects
    assert true["orders"].min() == 0
    assert 0.015 < true["orders"].max() <= 0.02
    places = {action: k for k, action in enumerate(campaigns.ACTIONS)}
    assert not any(true[m][:, places["mail_magazine"]].any() for m in true if m != "opt_out")
    harmed = (true["margin"][:, places["win_back_call"]] < 0).mean()
    assert 0.2 < harmed < 0.6, "one action harms some and helps others"
    assert abs(true["retention"]).max() < 0.05
    assert true["opt_out"].max() < 0.01
    for action in campaigns.ACTIONS:
        moves = truth.effect_on_purchase(action, WORLD.moment(200))
        assert np.nanmax(abs(moves)) <= 0.03
    with pytest.raises(UsageError, match="do not lie within the simulated days"):
        truth.purchase_probability(28, WORLD.moment(WORLD.days - 1))


def test_logged_propensities_are_the_frequencies_of_the_draws(made: Callable[[World], Path]) -> None:
    """Among those whose consents leave every action open, in each band of the score."""
    folder = made(World(customers=20_000, days=300, seed=1))
    for band, action, n, logged in query(
        folder,
        """
        SELECT band, action, count(*), avg(propensity) FROM {contacts} c JOIN {truth/assignments} a
        USING (customer_id, campaign_id, action, propensity) GROUP BY ALL""",
    ):
        assert n > 0
        expected = 0.5 if action == "group_offer" else campaigns.POLICY[band, campaigns.ACTIONS.index(action)]
        assert logged == pytest.approx(expected)
    # Nothing is always open: weighted by 1 / propensity, it must stand for all draws.
    ((draws, weighted, variance),) = query(
        folder,
        """
        SELECT count(*), sum(CASE WHEN action = 'nothing' THEN 1 / propensity ELSE 0 END),
               sum(CASE WHEN action = 'nothing' THEN (1 - propensity) / propensity ** 2 ELSE 0 END)
        FROM {truth/assignments} WHERE campaign_id[-1]::INT % 2 = 0""",
    )
    assert abs(weighted - draws) < 4 * np.sqrt(variance)
    for band, n, sms, expected in query(
        folder,
        """
        SELECT band, count(*), sum((action = 'sms_coupon')::INT), 0 FROM {truth/assignments} a
        WHERE campaign_id[-1]::INT % 2 = 0 AND EXISTS (FROM {consents} c WHERE c.customer_id = a.customer_id
              AND c.channel = 'sms' AND c.purpose = 'marketing' AND c.status = 'granted')
          AND NOT EXISTS (FROM {consents} c WHERE c.customer_id = a.customer_id AND c.channel = 'sms'
              AND c.status = 'withdrawn') GROUP BY band""",
    ):
        p = campaigns.POLICY[band, 0]
        assert abs(sms - n * p) < 4 * np.sqrt(n * p * (1 - p)), (band, expected)


def test_a_holdout_and_those_who_opted_out_are_left_in_peace(made: Callable[[World], Path]) -> None:
    folder = made(World(customers=20_000, days=300, seed=1))
    ((share, contacted),) = query(
        folder,
        """
        SELECT avg(holdout::INT), (SELECT count(*) FROM {contacts} c
                                   JOIN {truth/customers} t USING (customer_id) WHERE holdout)
        FROM {truth/customers}""",
    )
    assert abs(share - 0.05) < 0.006
    assert contacted == 0
    ((opted_out, after),) = query(
        folder,
        """
        WITH gone AS (SELECT r.customer_id, c.channel, min(r."at") AS t
                      FROM {responses} r JOIN {contacts} c USING (contact_id)
                      WHERE r.kind = 'opt-out' GROUP BY ALL)
        SELECT count(DISTINCT g.customer_id), count(c.contact_id)
        FROM gone g LEFT JOIN {contacts} c
             ON c.customer_id = g.customer_id AND c.channel = g.channel AND c."at" > g.t""",
    )
    assert opted_out > 50
    assert after == 0
    ((without,),) = query(
        folder,
        """
        SELECT count(*) FROM {responses} r JOIN {contacts} c USING (contact_id)
        LEFT JOIN {consents} w
             ON w.customer_id = r.customer_id AND w.channel = c.channel AND w.status = 'withdrawn'
        WHERE r.kind = 'opt-out' AND w.customer_id IS NULL""",
    )
    assert without == 0, "an opt-out is a withdrawn consent"


def test_groups_are_drawn_as_wholes(made: Callable[[World], Path]) -> None:
    """Else an effect that spreads within a group could not be measured."""
    rows = query(
        made(World(customers=20_000, days=300, seed=1)),
        """
        SELECT place_id, campaign_id, count(DISTINCT action)
        FROM {truth/assignments} a JOIN {memberships} m USING (customer_id)
        WHERE m.kind = 'group' AND m.change = 'joined' AND campaign_id[-1]::INT % 2 = 1 GROUP BY ALL""",
    )
    assert len(rows) > 100
    assert {arms for _, _, arms in rows} == {1}


def test_a_bad_experience_slows_a_customer_and_shows_as_complaints(made: Callable[[World], Path]) -> None:
    folder = made(World(customers=20_000, days=300, seed=1))
    truth = Truth.load(folder)
    who, t = days(folder, "orders", "ref IS NULL")
    customer, start, _ = truth.grieved
    keep = (start + 30 < 300) & (truth.lost[customer] > start + 30)
    customer, start = customer[keep], start[keep]
    place = np.sort(who * 10_000 + t)
    at = customer * 10_000 + start
    seen = np.searchsorted(place, at + 30) - np.searchsorted(place, at + 1e-6)
    usual = truth.rate[customer] * (truth.world.season(start + 30) - truth.world.season(start))
    assert seen.sum() / usual.sum() == pytest.approx(purchases.SLOWED, abs=0.12)
    ((complaints, bad),) = query(
        folder,
        """
        SELECT (SELECT count(*) FROM {cases} WHERE kind = 'complaint' AND change = 'opened'), count(*)
        FROM {truth/grievances}""",
    )
    assert 0.6 < complaints / bad < 0.85


@pytest.mark.parametrize(
    ("change", "table", "measure", "factor"),
    [
        (Change("price", 250, 1.3), "orders", "avg(amount) FILTER (ref IS NULL)", 1.3),
        (Change("online", 250, 1.0), "orders", "count(*) FILTER (channel = 'store' AND ref IS NULL)", 0.0),
        (Change("lost", 250, 0.4), "interactions", "count(*)", 0.6),
    ],
)
def test_drift_of_what_is_measured_shows_from_its_day_and_not_before(
    change: Change, table: str, measure: str, factor: float, made: Callable[[World], Path]
) -> None:
    plain, planted = made(WORLD), made(World(customers=3_000, days=420, seed=5, changes=(change,)))

    def measured(folder: Path, first: int, last: int) -> float:
        between = f"\"at\" >= '{WORLD.moment(first)}' AND \"at\" < '{WORLD.moment(last)}'"
        return float(query(folder, f"SELECT {measure} FROM {{{table}}} WHERE {between}")[0][0])

    assert measured(planted, 0, 250) == measured(plain, 0, 250), "nothing before the day differs"
    assert measured(planted, 250, 264) / measured(plain, 250, 264) == pytest.approx(factor, abs=0.02)
    told = json.loads((planted / "truth" / "drift.json").read_text())
    assert len(told) == 1
    assert (
        told[0].items()
        >= {"of": "features", "kind": change.kind, "day": 250, "factor": change.factor}.items()
    )


def test_drift_of_what_is_predicted_shows_from_its_day_and_not_before(made: Callable[[World], Path]) -> None:
    changes = (Change("churn", 250, 4.0), Change("response", 250, 0.0))
    planted = made(World(customers=3_000, days=420, seed=5, changes=changes))
    before, after = Truth.load(made(WORLD)), Truth.load(planted)
    early = before.lost < 250
    np.testing.assert_array_equal(before.lost[early], after.lost[early])
    moment = WORLD.moment(250)
    soon = [(t.lost[t.alive(moment)] < 300).mean() for t in (before, after)]
    assert soon[1] > 2 * soon[0]
    p, q = before.churn_probability(28, moment), after.churn_probability(28, moment)
    alive = before.alive(moment)
    np.testing.assert_allclose(1 - q[alive], (1 - p[alive]) ** 4)
    for folder, caused in ((made(WORLD), True), (planted, False)):
        ((early_orders, late_orders),) = query(
            folder,
            f"""
            SELECT sum(caused_order::INT) FILTER ("at" < '{moment}'),
                   sum(caused_order::INT) FILTER ("at" >= '{moment}')
            FROM {{truth/assignments}}""",
        )
        assert early_orders > 0
        assert (late_orders > 0) == caused


def test_late_rows_returns_and_people_with_two_accounts_exist(made: Callable[[World], Path]) -> None:
    """What makes real logs hard must be there, or whoever trains on this one learns nothing of it."""
    folder = made(WORLD)
    for table in EVENTS:
        ((late,),) = query(folder, f'SELECT avg((known_at > "at")::INT) FROM {{{table}}}')
        assert 0.005 < late < 0.6, table
    ((returns, orphans),) = query(
        folder,
        """
        SELECT count(*), count(*) FILTER (o.order_id IS NULL OR r.amount > 0 OR r."at" < o."at")
        FROM {orders} r LEFT JOIN {orders} o ON o.order_id = r.ref AND o.customer_id = r.customer_id
        WHERE r.ref IS NOT NULL""",
    )
    assert returns > 100
    assert orphans == 0
    ((sums,),) = query(
        folder,
        """
        SELECT count(*) FROM (SELECT order_id, sum(amount) AS a, sum(discount) AS d
                              FROM {order_lines} GROUP BY ALL)
        JOIN {orders} o USING (order_id) WHERE a <> o.amount OR d <> o.discount""",
    )
    assert sums == 0, "an order is the sum of its lines"
    merged = query(
        folder,
        """
        SELECT max(epoch("at")) - min(epoch("at")) FROM {identities} GROUP BY source, source_id
        HAVING count(DISTINCT customer_id) = 2""",
    )
    assert 150 < len(merged) < 500
    assert sum(gap > 30 * 86_400 for (gap,) in merged) > 30, "some are known to be one person much later"
    ((used,),) = query(folder, "SELECT count(*) FROM {interactions} WHERE customer_id[1] = 'w'")
    assert used > 500, "the second account has a history of its own until then"


def test_the_calendar_is_that_of_a_chinese_retailer_in_any_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "zh_CN")
    world = World(customers=1, days=730)
    days = {(e.name, f"{world.moment(e.begins + 1 / 3):%Y-%m-%d}") for e in world.events}
    assert days >= {
        *(
            ("Spring Festival", "2025-01-29"),
            ("Spring Festival", "2026-02-17"),
            ("National Day", "2024-10-01"),
        ),
        *(("618", "2024-06-01"), ("11.11 peak", "2025-11-10"), ("12.12", "2024-12-11")),
        ("Thursday live show", "2024-01-04"),
    }
    quiet, sale = (world.season(np.array([d, d + 1.0])) for d in (395.0, 680.0))
    assert np.diff(sale) > 2.5 * np.diff(quiet), "11.11 is busier than Spring Festival"


def test_marginals_are_those_of_a_retailer(made: Callable[[World], Path]) -> None:
    folder = made(World(customers=20_000, days=300, seed=1))
    truth = Truth.load(folder)
    who, _ = days(folder, "orders", "ref IS NULL")
    orders = np.bincount(who, minlength=20_000)
    assert 0.3 < (orders == 1).sum() / (orders > 0).sum() < 0.5
    visitor, t = days(folder, "interactions", "kind = 'visit'")
    daily = [
        len(np.unique(visitor[(t >= d) & (t < d + 1)])) / (truth.acquired < d).sum() for d in range(150, 160)
    ]
    assert 0.015 < np.mean(daily) < 0.035
    assert pc.min(truth.customers["lifetime_margin"]).as_py() > 0
    assert truth.rate.mean() == pytest.approx(RATE_MEAN, rel=0.04)
    assert truth.rate.var() == pytest.approx(RATE_MEAN**2 / RATE_SHAPE, rel=0.15)
    assert truth.hazard.mean() == pytest.approx(HAZARD_MEAN, rel=0.04)
    spend = truth.customers["mean_order"].to_numpy()
    assert abs(np.corrcoef(truth.rate, spend)[0, 1]) < 0.03, "gamma-gamma wants values that tell no rate"


def test_the_command_writes_a_shop_once_and_says_what_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "shop"

    def run(*more: str) -> tuple[int, str]:
        size = ("--customers", "200", "--days", "60")
        result = CliRunner().invoke(propensity.main, ["simulate", str(folder), *size, *more])
        return result.exit_code, result.output.replace("\n", " ")

    assert run("--dry-run")[0] == 0
    assert not folder.exists(), "a dry run keeps nothing"
    assert run("--workers", "1")[0] == 0
    code, text = run("--workers", "1")
    assert (code, "nothing new" in text) == (0, True)
    code, text = run("--seed", "2")
    assert (code, "holds another shop" in text) == (2, True)
    code, text = run("--drift", "churn=2@30")
    assert (code, "what can: price, online, lost" in text) == (2, True)
    assert run("--concept", "churn=2")[0] == 2
    assert run("--concept", "churn=2@60")[0] == 2
    settings = Settings(home=tmp_path / "home", shop=BUNDLED_SHOPS / "simulated")
    with pytest.raises(SourceError, match="propensity simulate"):
        ingest(settings)
    assert ingest(settings, "simulated", folder).tables["customers"] > 200
    pq.read_table(folder / "truth" / "effects.parquet")


def test_the_shop_tells_its_process_and_every_column_of_its_truth(made: Callable[[World], Path]) -> None:
    """Else whoever finds truth/customers.parquet guesses what `hazard` or `churned_at_alone` is."""
    folder = made(WORLD)
    text = (folder / "README.md").read_text("utf-8")
    for path in (folder / "truth").glob("*.parquet/*-00000.parquet"):
        lacking = [name for name in pq.read_schema(path).names if not re.search(rf"\b{name}\b", text)]
        assert lacking == [], path.name
    shown = CliRunner().invoke(propensity.main, ["simulate", "--help"]).output
    assert "FOLDER/truth" in shown
