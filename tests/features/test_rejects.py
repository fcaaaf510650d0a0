"""A row that was mended by hand must come in once, and the count of rows must still add up."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner
from deliveries import deliver, order

from features.errors import UsageError
from features.ingestion import rejects
from features.ingestion.ingest import Ingested, take
from features.log import Log
from features.settings import Settings
from propensity import main


def _till(folder: Path, amount: str = "1,50") -> object:
    rows = [
        order("1", "a", "2017-01-02"),
        order("2", "007", "2017-01-10", amount),
        order("3", "c", "2017-01-11", "-1"),
    ]
    return deliver(folder, "till", {"orders": rows})


def _account(done: Ingested, source: str) -> dict[tuple[bool, str], int]:
    return {(c.accepted, c.what): c.rows for c in done.account if (c.source, c.table) == (source, "orders")}


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home")
    take(settings, [_till(tmp_path / "till")])
    return settings


def _mend(path: Path, **corrections: str) -> None:
    """Column -> value, in every row of order 2."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["order_id"] == "2":
            row |= corrections
    with path.open("w", newline="", encoding="utf-8-sig") as file:  # as a spreadsheet writes it
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_mended_row_comes_in_once_and_the_account_adds_up(shop: Settings, tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    assert rejects.export(shop, path) == 2
    _mend(path, amount="1.50")
    before = Log.open(shop).fingerprint
    assert rejects.take_in(shop, path, dry_run=True).tables["orders"] == 2
    assert Log.open(shop).fingerprint == before
    done = rejects.take_in(shop, path)
    rows = {
        r["order_id"]: (r["customer_id"], str(r["amount"])) for r in Log.open(shop).read("orders").to_pylist()
    }
    assert rows == {"1": ("a", "10.00"), "2": ("007", "1.50")}
    assert "007" in Log.open(shop).read("customers")["customer_id"].to_pylist()
    assert _account(done, "till") == {
        (True, ""): 1,
        (False, "mended: amount is not an amount of money"): 1,
        (False, "negative money without a ref"): 1,
    }
    assert _account(done, "mended") == {(True, ""): 1, (False, "negative money without a ref"): 1}
    found = {(r.source, r.reason): (r.rows, r.mended) for r in rejects.reasons(shop)}
    assert found["till", "amount is not an amount of money"] == (1, 1)
    assert not rejects.take_in(shop, path).changed, "the same file again is nothing new"
    assert rejects.export(shop, tmp_path / "rest.csv") == 2, (
        "what waits: the till's row, and its bad correction"
    )


def test_the_last_correction_counts_and_the_shops_own_row_beats_it(shop: Settings, tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    rejects.export(shop, path)
    for amount in ("1.50", "1.60"):
        _mend(path, amount=amount)
        rejects.take_in(shop, path)
    amounts = {r["order_id"]: str(r["amount"]) for r in Log.open(shop).read("orders").to_pylist()}
    assert amounts == {"1": "10.00", "2": "1.60"}
    done = take(shop, [_till(tmp_path / "again", "1.70")])
    amounts = {r["order_id"]: str(r["amount"]) for r in Log.open(shop).read("orders").to_pylist()}
    assert amounts == {"1": "10.00", "2": "1.70"}
    assert _account(done, "mended")[False, "the same order_id as a row of till"] == 1


def test_corrections_that_are_no_better_are_rejected_again_with_their_reason(
    shop: Settings, tmp_path: Path
) -> None:
    """Else whoever mends in vain gets a traceback, and does not learn why."""
    path = tmp_path / "rejects.csv"
    rejects.export(shop, path)
    _mend(path, amount="ten")
    done = rejects.take_in(shop, path)
    assert _account(done, "mended") == {
        (False, "amount is not an amount of money"): 1,
        (False, "negative money without a ref"): 1,
    }
    assert Log.open(shop).read("orders")["order_id"].to_pylist() == ["1"]


def test_rows_that_nobody_rejected_are_refused(shop: Settings, tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    rejects.export(shop, path)
    _mend(path, reject="invented")
    with pytest.raises(UsageError, match="row 1, belong to no row"):
        rejects.take_in(shop, path)
    (tmp_path / "own.csv").write_text("order_id,amount\n7,1.00\n")
    with pytest.raises(UsageError, match="does not begin with the columns"):
        rejects.take_in(shop, tmp_path / "own.csv")
    assert rejects.reasons(shop)[0].mended == 0


def test_the_commands(shop: Settings, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(main, ["rejects", *words], env={"PROPENSITY_HOME": str(shop.home)})
        assert result.exit_code == 0, result.output
        return result.output

    assert "negative money without a ref" in run("list")
    assert "2 rows" in run("export", str(tmp_path / "r.csv"), "--table", "orders", "--source", "till")
    _mend(tmp_path / "r.csv", amount="2.00")
    assert "mended: amount is not an amount of money" in run("take", str(tmp_path / "r.csv"))
