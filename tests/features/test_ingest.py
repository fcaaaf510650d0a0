"""Nothing lost, nothing twice, nothing unexplained: what an operator believes of a log after ingestion."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from dirty import write_shop
from logs import empty_shop, real_data

from features.errors import SettingsError, SourceError, UsageError
from features.files import read_pointer
from features.ingestion.ingest import ingest
from features.log import Log
from features.moments import parse_moment
from features.settings import Settings
from features.sources.complete_journey import FILES
from features.tables import TABLES
from propensity import main


def test_every_line_of_the_real_log_is_accounted_for(journey: Settings) -> None:
    account = ingest(journey, folder=real_data("complete_journey")).account
    lines = [c for c in account if c.table == "order_lines"]
    assert sum(c.rows for c in lines) == 1_469_307
    assert {(c.what, c.rows) for c in lines if not c.accepted} == {("neither quantity nor money", 5_859)}
    assert sum(c.rows for c in account if c.file == "campaigns") == 6_589
    assert sum(c.rows for c in account if c.file == "coupon_redemptions") == 2_102
    accepted = sum(c.rows for c in lines if c.accepted)
    assert Log.open(journey).read("order_lines", ["line"]).num_rows == accepted


def test_no_money_is_lost_between_the_files_and_the_log(journey: Settings) -> None:
    (raw,) = duckdb.sql(
        f"SELECT sum(sales_value::DECIMAL(18, 2)) FROM '{real_data('complete_journey')}/transactions.parquet'"
    ).fetchall()[0]
    log = Log.open(journey)
    assert pc.sum(log.read("orders", ["amount"])["amount"]).as_py() == raw
    assert pc.sum(log.read("order_lines", ["amount"])["amount"]).as_py() == raw


def test_the_warts_of_the_real_log_are_handled_as_documented(journey: Settings) -> None:
    log = Log.open(journey)
    lines = log.read("order_lines", ["items", "measure", "category", "department"])
    assert pc.max(lines["items"]).as_py() == 144, "a tank of fuel must not count as 89,638 items"
    assert pc.max(lines["measure"]).as_py() == 89_638
    contacts = log.read("contacts")
    assert pc.min(contacts["at"]).as_py() == parse_moment("2016-11-14T00:00:00-05:00"), "real dates are kept"
    assert set(contacts["action"].to_pylist()) == {"campaign_a", "campaign_b", "campaign_c"}
    assert contacts["propensity"].null_count == len(contacts), "targeting was not randomised"
    responses = log.read("responses")
    late = pc.subtract(responses["known_at"], responses["at"])
    assert min(late.to_pylist()) >= timedelta(hours=23), "a day without a time is known when it is over"
    assert log.complete_until == parse_moment("2018-01-01T00:00:00-05:00")
    customers = log.read("customers")
    assert (len(customers), len(customers) - customers["attributes"].null_count) == (2_469, 801)


def test_rejects_say_where_they_came_from_and_why(journey: Settings) -> None:
    log = Log.open(journey)
    rejects = pq.read_table(journey.home / "rejects" / log.fingerprint / "complete_journey.parquet")
    first = rejects.slice(0, 1).to_pylist()[0]
    assert (first["source"], first["table"], first["file"]) == (
        "complete_journey",
        "order_lines",
        "transactions",
    )
    raw = (
        pq.read_table(real_data("complete_journey") / "transactions.parquet")
        .slice(first["line"], 1)
        .to_pylist()
    )
    assert raw[0]["quantity"] == 0, "the line number must lead back to the line"
    assert raw[0]["sales_value"] == 0


def _digest(folder: Path) -> str:
    sha = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        sha.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return sha.hexdigest()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real files with one household in sixteen: as dirty, and quick."""
    folder = tmp_path_factory.mktemp("small")
    for name in FILES:
        table = pq.read_table(real_data("complete_journey") / f"{name}.parquet")
        if "household_id" in table.column_names:
            table = table.filter(pc.equal(pc.bit_wise_and(table["household_id"], 15), 1))
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def test_ingesting_again_changes_no_byte_and_a_second_home_gets_the_same(small: Path, tmp_path: Path) -> None:
    one, two = Settings(home=tmp_path / "one"), Settings(home=tmp_path / "two")
    first = ingest(one, folder=small)
    before = _digest(one.home)
    again = ingest(one, folder=small)
    assert (first.changed, again.changed) == (True, False)
    assert again.account == first.account
    assert _digest(one.home) == before
    ingest(two, folder=small)
    assert _digest(two.home) == before


def test_a_dry_run_counts_and_keeps_nothing(small: Path, home: Settings) -> None:
    done = ingest(home, folder=small, dry_run=True)
    assert done.tables["orders"] > 1_000
    assert [p.name for p in home.home.rglob("*") if p.is_file()] == [".lock"]


def test_killed_at_any_point_the_old_log_stays_whole_and_a_rerun_gives_the_same_bytes(
    small: Path, tmp_path: Path
) -> None:
    home = Settings(home=tmp_path / "home")
    old = ingest(home, folder=small).generation
    changed = tmp_path / "changed"
    changed.mkdir()
    for name in FILES:
        table = pq.read_table(small / f"{name}.parquet")
        pq.write_table(
            table.slice(0, len(table) - 1) if name == "transactions" else table, changed / f"{name}.parquet"
        )
    other = Settings(home=tmp_path / "other")
    expected = ingest(other, folder=changed).generation
    command = [sys.executable, "-m", "propensity", "ingest", "--from", str(changed)]
    chance = random.Random(7)
    for _ in range(15):
        process = subprocess.Popen(
            command,
            env={**os.environ, "PROPENSITY_HOME": str(home.home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.3 + 2 * chance.random())  # before, in the middle of, and after both staging and folding
        process.send_signal(signal.SIGKILL)
        process.wait()
        log = Log.open(home)
        assert log.damaged() == []
        assert log.fingerprint in (old, expected)
        for table in log.tables:
            assert log.read(table).num_rows > 0
    assert ingest(home, folder=changed).generation == expected
    assert _digest(home.home / "log" / expected) == _digest(other.home / "log" / expected)


def test_two_ingestions_at_once_are_one_after_the_other(small: Path, tmp_path: Path) -> None:
    home, alone = Settings(home=tmp_path / "home"), Settings(home=tmp_path / "alone")
    command = [sys.executable, "-m", "propensity", "ingest", "--from", str(small)]
    env = {**os.environ, "PROPENSITY_HOME": str(home.home)}
    both = [subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    ingest(alone, folder=small)
    assert _digest(home.home) == _digest(alone.home)


def test_rows_that_break_a_contract_are_rejected_each_with_its_reason(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for name in FILES:
        (folder / f"{name}.parquet").write_bytes((small / f"{name}.parquet").read_bytes())
    lines = pq.read_table(folder / "transactions.parquet").to_pylist()
    lines[0]["transaction_timestamp"] = None
    lines[1]["household_id"] = None
    lines[2]["retail_disc"] = -1.0
    lines[3]["basket_id"] = None
    schema = pq.read_schema(folder / "transactions.parquet")
    pq.write_table(pa.Table.from_pylist(lines, schema=schema), folder / "transactions.parquet")
    campaigns = pq.read_table(folder / "campaigns.parquet")
    twice = pa.concat_tables([campaigns, campaigns.slice(0, 1)])
    pq.write_table(twice, folder / "campaigns.parquet")
    done = ingest(Settings(home=tmp_path / "home"), folder=folder)
    reasons = {(c.table, c.what): c.rows for c in done.account if not c.accepted}
    del reasons["order_lines", "neither quantity nor money"]
    assert reasons == {
        ("order_lines", "no at"): 1,
        ("order_lines", "no customer_id"): 1,
        ("order_lines", "negative discount"): 1,
        ("order_lines", "no order_id"): 1,
        ("contacts", "a second row with the same contact_id"): 1,
    }


def test_absent_files_and_unknown_sources_are_named(home: Settings, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"lacks transactions\.parquet"):
        ingest(home, folder=tmp_path)
    with pytest.raises(UsageError, match="no source 'nowhere'"):
        ingest(home, "nowhere")
    assert read_pointer(home.home / "log" / "CURRENT") is None


def test_another_zone_makes_another_log(small: Path, tmp_path: Path) -> None:
    """Days are the shop's: were the zone ignored, evening trips would fall on the next day."""
    shop = empty_shop(tmp_path / "shop")
    text = (shop / "shop.toml").read_text("utf-8").replace("America/New_York", "Asia/Shanghai")
    (shop / "shop.toml").write_text(text, "utf-8")
    here = ingest(Settings(home=tmp_path / "a"), folder=small)
    there = ingest(Settings(home=tmp_path / "b", shop=shop), folder=small)
    assert here.generation != there.generation
    assert here.complete_until == parse_moment("2018-01-01T00:00:00-05:00")
    assert there.complete_until == parse_moment("2018-01-02T00:00:00+08:00")


def test_every_table_names_its_key_and_its_customer() -> None:
    for table in TABLES.values():
        assert set(table.key) <= set(table.columns)
        if "at" in table.columns:
            assert "known_at" in table.columns, table.name
            assert "customer_id" in table.columns or table.name == "calendar"  # which is everybody's


def test_a_damaged_log_is_written_again_not_believed(small: Path, tmp_path: Path) -> None:
    home = Settings(home=tmp_path / "home")
    first = ingest(home, folder=small)
    before = _digest(home.home)
    (path,) = Log.open(home).paths("orders")
    path.write_bytes(path.read_bytes()[:-1000])
    again = ingest(home, folder=small)
    assert (again.changed, again.generation) == (True, first.generation)
    assert _digest(home.home) == before


def test_an_empty_customer_id_is_nobodys(small: Path, tmp_path: Path) -> None:
    """Else all rows without an id would be one huge customer."""
    folder = tmp_path / "blank"
    folder.mkdir()
    for name in FILES:
        table = pq.read_table(small / f"{name}.parquet")
        if name == "campaigns":
            ids = table["household_id"].cast(pa.string()).to_pylist()
            table = table.set_column(
                table.column_names.index("household_id"), "household_id", pa.array(["", *ids[1:]])
            )
        pq.write_table(table, folder / f"{name}.parquet")
    done = ingest(Settings(home=tmp_path / "home"), folder=folder)
    rejected = {(c.table, c.what): c.rows for c in done.account if not c.accepted}
    assert rejected["contacts", "no customer_id"] == 1


@pytest.mark.parametrize("name", ["a*", "brand=Private", "it's", "a[1]"])
def test_a_home_whose_path_is_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    """DuckDB would read other homes' files too, and values would be wrong without a word."""
    with pytest.raises(SettingsError, match="PROPENSITY_HOME"):
        Settings(home=tmp_path / name)


SALES = """
[mapping.till]
[[mapping.till.read]]
table = "orders"
files = "sales_*.csv"
[mapping.till.read.columns]
order_id = "bon"
customer_id = "who"
at = "when"
amount = "paid"
channel = { value = "store" }
"""


def test_rows_that_a_file_takes_with_it_are_told_and_a_corrected_row_is_none(tmp_path: Path) -> None:
    """Else a delivery that was cut off empties half the log, and the night's run says that all is well."""
    head = "bon,who,when,paid\n"
    january = head + "1,ann,2024-01-04 00:30,4.00\n2,ann,2024-01-06 10:00,5.00\n"
    february = head + "3,ann,2024-02-04 10:00,4.00\n4,ann,2024-02-06 10:00,5.00\n"
    files = {"sales_1.csv": january, "sales_2.csv": february}
    settings = write_shop(tmp_path, SALES, files, zone="America/New_York")
    env = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["ingest", *words], env=env)
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result.exit_code, result.output

    shop = tmp_path / "shop"
    assert run()[0] == 0
    (shop / "sales_2.csv").write_text(february.replace("02-06", "02-05").replace("5.00", "6.00"))
    assert run()[0] == 0, "a row that was corrected is not lost"
    (shop / "sales_1.csv").rename(tmp_path / "kept.csv")
    for words in (["--dry-run"], []):
        code, text = run(*words)
        told = (
            "2 rows of till for orders that the log had are in its files no more, the earliest of 2024-01-04"
        )
        assert (code, told in text) == (3, True), text
        assert text.count("are in its files no more") == 1
    assert sorted(Log.open(settings).read("orders")["order_id"].to_pylist()) == ["3", "4"]
    assert run()[0] == 0, "told once"
    (tmp_path / "kept.csv").rename(shop / "sales_1.csv")
    assert run()[0] == 0
    (shop / "sales_1.csv").write_text(january.rsplit("2,ann", 1)[0])
    (shop / "sales_3.csv").write_text(head + "5,ann,2024-03-04 10:00,4.00\n6,ann,2024-03-06 10:00,4.00\n")
    code, text = run()
    assert (code, "1 rows of till for orders" in text and "2024-01-06" in text) == (3, True), text
