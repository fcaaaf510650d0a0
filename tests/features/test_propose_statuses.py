"""Statuses of orders: what is not clearly understood is asked about, and is no sale without a word."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from dirty import Brought, bring_in, write_shop

from features.sources.propose import Proposal, propose
from features.sources.statuses import UNKNOWN

ASIDE = f"aside: {UNKNOWN}"


def _orders(path: Path, statuses: Mapping[str, int], column: str = "status", head: str = "") -> Path:
    given = [status for status, rows in statuses.items() for _ in range(rows)]
    rows = (f"{n},c{n % 9},2024-01-{1 + n % 28:02},5,{status}\n" for n, status in enumerate(given))
    path.write_text(f"order_id,customer_id,order_date,total,{column}\n" + "".join(rows), "utf-8")
    return path


def _brought(folder: Path, *files: Path) -> tuple[Proposal, Brought]:
    proposal = propose(list(files))
    return proposal, bring_in(write_shop(folder, proposal.toml, {}))


def _decisions(proposal: Proposal) -> str:
    return "\n".join(line for line in proposal.toml.splitlines() if "DECIDE" in line)


@pytest.mark.parametrize(
    ("odd", "usual"),
    [
        ("test", "paid"),
        ("draft", "wc-completed"),
        ("refund requested", "delivered"),
        ("not returned", "complete"),
        ("Refund cancelled", "PAID"),
        ("赠品", "交易成功"),
        ("退款中", "已完成"),
        ("brouillon", "payée"),
        ("Testbestellung", "bezahlt"),
        ("prueba", "entregado"),
    ],
)
def test_a_rare_status_is_asked_about_and_is_no_sale(tmp_path: Path, odd: str, usual: str) -> None:
    """Else a shop's test orders are its best customers, and nobody was ever told."""
    proposal, log = _brought(tmp_path, _orders(tmp_path / "orders.csv", {usual: 60, odd: 2}))
    assert odd in _decisions(proposal)
    assert any(odd in note and "put aside" in note for note in proposal.notes)
    assert log.fates("orders") == {"accepted": 60, ASIDE: 2}
    assert not any(row["ref"] for row in log.rows("orders")), "nothing came back"


def test_every_value_is_asked_about_however_many_there_are(tmp_path: Path) -> None:
    """A look at the most frequent ones alone would leave out the rarest, which is the oddest."""
    sold = ["paid", "shipped", "delivered", "completed", "fulfilled", "received", "settled", "done"]
    ended = ["cancelled", "refunded", "partially_refunded", "pending", "voided"]
    statuses = dict.fromkeys((*sold, *ended), 9) | {"test": 1}
    proposal, log = _brought(tmp_path, _orders(tmp_path / "orders.csv", statuses))
    assert '"test" (1 rows)' in _decisions(proposal)
    fates = log.fates("orders")
    assert (fates[ASIDE], fates["aside: not paid"]) == (1, 9)
    assert sum(fates.values()) == 9 * len((*sold, *ended)) + 1


def test_a_status_that_comes_later_is_no_sale_until_a_person_says_so(tmp_path: Path) -> None:
    """What was not among the rows looked at, or came with tomorrow's file, is not understood either."""
    raw = tmp_path / "raw"
    raw.mkdir()
    _orders(raw / "orders_1.csv", {"paid": 20, "": 3, "NULL": 1})
    proposal = propose([raw])
    assert "status" not in _decisions(proposal), "all that there is, is understood"
    settings = write_shop(tmp_path, proposal.toml, {})
    assert bring_in(settings).fates("orders") == {"accepted": 24}
    (raw / "orders_2.csv").write_text(
        "order_id,customer_id,order_date,total,status\n901,c1,2024-02-01,5,test\n902,c1,2024-02-01,5, paid \n"
    )
    assert bring_in(settings).fates("orders") == {"accepted": 25, ASIDE: 1}


@pytest.mark.parametrize("statuses", [{"20": 50, "30": 5}, {"verarbeitet": 50, "paid": 5, "test": 2}])
def test_where_the_usual_word_is_not_understood_a_person_is_asked_and_nothing_is_lost(
    tmp_path: Path, statuses: dict[str, int]
) -> None:
    """Put aside, a log of codes would be empty; taken without a word, `30` may be a cancelled order."""
    proposal, log = _brought(tmp_path, _orders(tmp_path / "orders.csv", statuses))
    for odd in set(statuses) - {"paid"}:
        assert odd in _decisions(proposal)
    assert log.fates("orders") == {"accepted": sum(statuses.values())}
    lines = proposal.toml.splitlines()
    asked = next(n for n, line in enumerate(lines) if "DECIDE: status holds" in line)
    ready = "\n".join([*lines[: asked + 1], *(line.removeprefix("# ") for line in lines[asked + 1 :])])
    uncommented = bring_in(write_shop(tmp_path / "b", ready.replace("'paid'", "'20', 'verarbeitet'"), {}))
    assert uncommented.fates("orders").keys() <= {"accepted", ASIDE}
    assert uncommented.fates("orders")["accepted"] >= 50


def test_a_column_of_something_else_is_no_status(tmp_path: Path) -> None:
    """States of America are none, and how people pay is not what became of the order beside its status."""
    proposal, log = _brought(tmp_path, _orders(tmp_path / "o.csv", {"NY": 30, "CA": 3}, column="state"))
    assert "state" not in _decisions(proposal)
    assert log.fates("orders") == {"accepted": 33}
    rows = "".join(
        f"{n},c{n % 9},2024-01-{1 + n % 28:02},5,{['card', 'cash'][n % 2]},{'test' if n == 7 else 'paid'}\n"
        for n in range(40)
    )
    (tmp_path / "p.csv").write_text("order_id,customer_id,order_date,total,payment_type,status\n" + rows)
    _, log = _brought(tmp_path / "p", tmp_path / "p.csv")
    assert log.fates("orders") == {"accepted": 39, ASIDE: 1}


def test_orders_whose_amount_their_lines_say_have_a_status_too(tmp_path: Path) -> None:
    """A cancelled or a test order is one, whichever file has its money."""
    rows = [(n, "test" if n == 3 else "cancelled" if n % 5 == 0 else "paid") for n in range(40)]
    (tmp_path / "heads.csv").write_text(
        "order_id,customer_id,order_date,status\n"
        + "".join(f"{n},c{n % 9},2024-01-{1 + n % 28:02},{status}\n" for n, status in rows)
    )
    (tmp_path / "lines.csv").write_text(
        "order_id,sku,quantity,price\n" + "".join(f"{n},s{n % 4},2,2.50\n" for n, _ in rows)
    )
    _, log = _brought(tmp_path / "s", tmp_path / "heads.csv", tmp_path / "lines.csv")
    assert log.fates("orders")[ASIDE] == 1
    taken_back = Counter(row["ref"] for row in log.rows("orders") if row["ref"])
    assert set(taken_back) == {str(n) for n, status in rows if status == "cancelled"}
    assert "3" not in {row["order_id"] for row in log.rows("orders")}


def test_a_refund_that_was_refused_is_none(tmp_path: Path) -> None:
    """Else money that never went back is taken from what a customer is worth."""
    _orders(tmp_path / "orders.csv", {"paid": 40})
    statuses = {"refunded": 6, "rejected": 1, "pending": 1}
    given = [status for status, rows in statuses.items() for _ in range(rows)]
    (tmp_path / "refunds.csv").write_text(
        "refund_id,order_id,refund_date,refund_amount,status\n"
        + "".join(f"r{n},{n},2024-02-{1 + n:02},5,{status}\n" for n, status in enumerate(given))
    )
    proposal, log = _brought(tmp_path / "s", tmp_path / "orders.csv", tmp_path / "refunds.csv")
    assert "rejected" in _decisions(proposal)
    assert len([row for row in log.rows("orders") if row["amount"] < 0]) == 6


def _german(path: Path, letter: str = "G", more: Mapping[int, str] = {}) -> Path:
    """A till's receipts: every tenth was cancelled, and of every sixth there is a refund with a letter."""
    rows = []
    for n in range(60):
        when = f"{1 + n % 28:02}.01.2024"
        status = more.get(n, "storniert" if n % 10 == 3 else "bezahlt")
        rows.append(f"{1000 + n};{n % 9};{when};5,00;{status}\n")
        if n % 6 == 0:
            rows.append(f"{letter}{1000 + n};{n % 9};{when};-5,00;Gutschrift\n")
    path.write_text("Bonnummer;Kundennummer;Datum;Betrag;Status\n" + "".join(rows), "utf-8")
    return path


@pytest.mark.parametrize("more", [{}, {1: "retourniert"}])
def test_a_cancelled_receipt_is_no_sale_where_refunds_have_a_letter(
    tmp_path: Path, more: Mapping[int, str]
) -> None:
    """Else what was never sold is a customer's money, and nobody was told; and the refunds are put aside."""
    proposal, log = _brought(tmp_path, _german(tmp_path / "kasse.csv", more=more))
    assert 'prefix = "G"' in proposal.toml
    assert "DECIDE: no time says when they were" in _decisions(proposal)
    gone = {str(1000 + n) for n in range(60) if n % 10 == 3 or n in more}
    fates = log.fates("orders")
    assert all(fate.startswith("accepted") for fate in fates)
    assert fates["accepted: cancelled, and nothing says when: taken back at once"] == len(gone)
    money: Counter[str] = Counter()
    for row in log.rows("orders"):
        money[row["ref"] if row["order_id"].endswith(":cancelled") else row["order_id"]] += row["amount"]
    assert {id for id, left in money.items() if not left} == gone
    assert sum(left < 0 for left in money.values()) == 10, "refunds, by their letter"


def test_a_word_that_only_refunds_say_is_understood_as_theirs(tmp_path: Path) -> None:
    """What their letter says already needs no word; a refund that is only asked for is none yet."""
    path = _german(tmp_path / "kasse.csv")
    said = path.read_text("utf-8").split("Gutschrift")
    path.write_text("GB".join(said[:-1]) + "Gutschrift beantragt" + said[-1], "utf-8")
    proposal, log = _brought(tmp_path, path)
    assert {fate: n for fate, n in log.fates("orders").items() if not fate.startswith("accepted")} == {
        ASIDE: 1
    }
    assert "beantragt" in _decisions(proposal)
    assert '"GB"' not in _decisions(proposal)


def test_a_credit_note_is_a_return_without_a_letter_too(tmp_path: Path) -> None:
    """Else each is put aside, and its customer has kept the goods and the money."""
    proposal, log = _brought(tmp_path, _german(tmp_path / "kasse.csv", letter="9"))
    assert all(fate.startswith("accepted") for fate in log.fates("orders"))


@pytest.mark.parametrize("name", ["cancelled_on", "cancelled_at"])
def test_without_a_status_the_time_of_a_cancellation_says_it(tmp_path: Path, name: str) -> None:
    """Else every cancelled order is a sale that stayed."""
    rows = (
        f"{n},c{n % 9},2024-01-{1 + n % 28:02},5,{'2024-02-03' if n % 9 == 4 else ''}\n" for n in range(60)
    )
    path = tmp_path / "orders.csv"
    path.write_text(f"order_id,customer_id,order_date,total,{name}\n" + "".join(rows), "utf-8")
    proposal, log = _brought(tmp_path, path)
    assert f'at = "{name}"' in proposal.toml, proposal.toml
    back = [row for row in log.rows("orders") if row["ref"]]
    assert (len(back), {f"{row['at']:%Y-%m}" for row in back}) == (7, {"2024-02"})
