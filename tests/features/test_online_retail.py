"""The dirtiest public log: all 541,909 lines accounted for, and recounted by other means."""

from pathlib import Path

import pandas as pd
import pytest
from dirty import Brought, fate
from logs import real_data

from features.ingestion.ingest import ingest
from features.log import Log
from features.moments import parse_moment
from features.settings import BUNDLED_SHOPS, Settings


@pytest.fixture(scope="module")
def retail(tmp_path_factory: pytest.TempPathFactory) -> Brought:
    settings = Settings(home=tmp_path_factory.mktemp("retail"), shop=BUNDLED_SHOPS / "online_retail")
    done = ingest(settings, folder=real_data("online_retail"))
    return Brought(settings, done, Log.open(settings))


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    """The file, with the first reason for which a line is left out."""
    lines = pd.read_parquet(real_data("online_retail") / "transactions.parquet")
    code = lines["StockCode"].str.upper()
    reasons = {
        "no product: postage and carriage": code.isin(["POST", "DOT", "C2"]),
        "no product: manual entry or discount": code.isin(["M", "D"]),
        "no product: samples, bank charges, fees, commission": code.isin(
            ["S", "BANK CHARGES", "AMAZONFEE", "CRUK"]
        ),
        "no product: gift voucher": code.str.startswith("GIFT_"),
        "no product: pads, sent along at 0.001": code == "PADS",
        "no sale: bad debt adjusted": code == "B",
        "no sale: stock lost, found or thrown away": lines["CustomerID"].isna() & (lines["UnitPrice"] == 0),
        "anonymous: no customer id": lines["CustomerID"].isna(),
    }
    lines["why"] = ""
    for reason, holds in reasons.items():
        lines.loc[(lines["why"] == "") & holds, "why"] = reason
    lines["product"] = code
    # To the penny, from whole tenths of a penny: no float decides where a half goes.
    mills = (lines["UnitPrice"] * 1000).round().astype("int64") * lines["Quantity"]
    lines["pence"] = (mills.abs() + 5) // 10 * mills.apply(lambda m: -1 if m < 0 else 1)
    return lines


def test_every_line_is_accounted_for(retail: Brought) -> None:
    lines = [c for c in retail.done.account if c.file == "transactions.parquet"]
    assert sum(c.rows for c in lines) == 541_909
    assert {(fate(c), c.rows) for c in lines if not c.accepted} == {
        ("aside: anonymous: no customer id", 131_586),
        ("aside: no sale: stock lost, found or thrown away", 2_464),
        ("aside: no product: postage and carriage", 2_110),
        ("aside: no product: manual entry or discount", 649),
        ("aside: no product: samples, bank charges, fees, commission", 150),
        ("aside: no product: gift voucher", 34),
        ("aside: no product: pads, sent along at 0.001", 4),
        ("aside: no sale: bad debt adjusted", 3),
    }
    accepted = {
        part: sum(c.rows for c in lines if c.accepted and part in c.what)
        for part in (
            "matched to its order",
            "within the hour",
            "without an earlier order",
            "repeats",
            "free of charge",
        )
    }
    assert accepted == {
        "matched to its order": 6_901,
        "within the hour": 537,
        "without an earlier order": 1_101,
        "repeats": 5_220,
        "free of charge": 33,
    }


def test_an_independent_recount_agrees(retail: Brought, raw: pd.DataFrame) -> None:
    account = {c.what: c.rows for c in retail.done.account if c.table == "order_lines" and c.aside}
    assert account == raw.loc[raw["why"] != "", "why"].value_counts().to_dict()
    kept = raw[raw["why"] == ""]
    lines = retail.log.read("order_lines").to_pandas()
    assert len(lines) == len(kept)
    assert int((lines["amount"] * 100).sum()) == kept["pence"].sum(), "no money is lost or made"
    assert lines["items"].sum() == kept["Quantity"].sum()
    assert lines["customer_id"].nunique() == kept["CustomerID"].nunique()
    orders = retail.log.read("orders").to_pandas()
    assert len(orders) == kept["InvoiceNo"].nunique()
    assert int((orders["amount"] * 100).sum()) == kept["pence"].sum()


def test_each_return_is_matched_as_documented(retail: Brought, raw: pd.DataFrame) -> None:
    """The latest earlier invoice of the same customer with as many of the same product."""
    kept = raw[raw["why"] == ""].assign(line=lambda d: d.index)
    back = kept[kept["InvoiceNo"].str.startswith("C")]
    sold = kept[~kept["InvoiceNo"].str.startswith("C")]
    sold = sold.groupby(["InvoiceNo", "CustomerID", "product"], as_index=False).agg(
        sold_at=("InvoiceDate", "min"), pieces=("Quantity", "sum")
    )
    pairs = back.merge(sold, on=["CustomerID", "product"], suffixes=("", "_sold"))
    pairs = pairs[(pairs["sold_at"] <= pairs["InvoiceDate"]) & (pairs["pieces"] >= -pairs["Quantity"])]
    best = pairs.sort_values(["sold_at", "InvoiceNo_sold"]).groupby("line")["InvoiceNo_sold"].last()
    expected = back.assign(ref=back["line"].map(best).fillna("unknown"))
    columns = ["order_id", "product_id", "items", "ref"]
    found = retail.log.read("order_lines", columns).to_pandas().dropna(subset=["ref"])[columns]
    wanted = expected[["InvoiceNo", "product", "Quantity", "ref"]].set_axis(columns, axis=1)
    pd.testing.assert_frame_equal(
        found.sort_values(columns).reset_index(drop=True),
        wanted.sort_values(columns).reset_index(drop=True),
        check_dtype=False,
    )


def test_an_order_of_80995_pieces_cancelled_at_once_weighs_nothing(retail: Brought) -> None:
    orders = {r["order_id"]: r for r in retail.rows("orders") if r["customer_id"] == "16446"}
    assert orders["C581484"]["ref"] == "581483"
    assert orders["C581484"]["amount"] == -orders["581483"]["amount"]
    assert orders["C581484"]["at"] == parse_moment("2011-12-09T09:27:00Z"), (
        "its own time: before, it was an order"
    )
    hers = [r for r in retail.rows("cases") if r["customer_id"] == "16446"]
    assert {(case["kind"], case["ref"]) for case in hers} == {("return", "581483")}
    assert {case["change"] for case in hers} == {"opened", "closed"}, "nobody has to see to it any more"


def test_times_are_british_and_the_unfinished_last_day_is_not_claimed(retail: Brought) -> None:
    orders = {r["order_id"]: r["at"] for r in retail.rows("orders")}
    assert orders["536365"] == parse_moment("2010-12-01T08:26:00Z")
    summer = min(at for at in orders.values() if at > parse_moment("2011-07-01"))
    assert summer.hour < 8, "British summer time is an hour ahead"
    assert retail.log.complete_until == parse_moment("2011-12-09T00:00:00Z")


def test_every_return_opens_a_case(retail: Brought) -> None:
    returns = {r["order_id"]: r["ref"] for r in retail.rows("orders") if r["ref"]}
    assert {r["case_id"]: r["ref"] for r in retail.rows("cases")} == returns
    assert len(returns) == 3_383


def test_the_same_file_again_changes_nothing(retail: Brought) -> None:
    assert not ingest(retail.settings, folder=real_data("online_retail")).changed
    assert Path(retail.log.folder).exists()
