"""A second proposal adds what is missing. Else it repeats, or overwrites, what a person has filled in."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dirty import HEAD, bring_in

from features.settings import Settings
from propensity import main

ORDERS = "order_id,customer_id,date,total\n" + "".join(
    f"{n},c{n % 9},2024-01-{n:02} 10:00,5\n" for n in range(1, 29)
)
MEMBERS = "customer_id,joined,city\n" + "".join(f"c{n},2023-05-0{n},York\n" for n in range(1, 9))


def _propose(folder: Path, *more: str) -> Result:
    words = ["ingest", "--propose", str(folder / "data"), "--out", str(folder / "shop" / "shop.toml"), *more]
    return CliRunner().invoke(main, words)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop whose mapping of one file a person has changed."""
    for name in ("data", "shop"):
        (tmp_path / name).mkdir()
    (tmp_path / "data" / "orders.csv").write_text(ORDERS)
    toml = tmp_path / "shop" / "shop.toml"
    toml.write_text(HEAD.format(zone="Europe/London", currency="GBP"))
    assert _propose(tmp_path).exit_code == 0
    toml.write_text(
        toml.read_text().replace("[mapping.", "# read by a person\n[mapping.", 1) + "[calendar]\n"
    )
    return tmp_path


def test_what_a_mapping_reads_is_left_as_it_is_and_what_is_missing_is_added(shop: Path) -> None:
    toml = shop / "shop" / "shop.toml"
    before = toml.read_text()
    again = _propose(shop)
    assert (again.exit_code, toml.read_text()) == (0, before), again.output
    assert "reads orders.csv already" in again.output
    assert "nothing is missing" in again.output
    (shop / "data" / "members.csv").write_text(MEMBERS)
    more = _propose(shop)
    assert more.exit_code == 0, more.output
    assert toml.read_text().startswith(before.rstrip())
    assert toml.read_text().count("orders.csv") == 1
    log = bring_in(Settings(home=shop / "home", shop=shop / "shop"), "data")
    assert sum(bool(r["attributes"]) for r in log.rows("customers")) == 8
    assert len(log.rows("orders")) == 28


def test_a_mapping_of_that_name_is_replaced_only_when_told(shop: Path) -> None:
    toml = shop / "shop" / "shop.toml"
    elsewhere = toml.read_text().replace(str((shop / "data").resolve()), str(shop / "other"))
    toml.write_text(elsewhere)
    refused = _propose(shop)
    assert (refused.exit_code, "--force" in refused.output, toml.read_text()) == (2, True, elsewhere)
    assert _propose(shop, "--force").exit_code == 0
    text = toml.read_text()
    assert (text.count("[mapping.data]"), "[calendar]" in text, str(shop / "other") in text) == (
        1,
        True,
        False,
    )


def test_a_reading_to_fill_in_is_a_proposal_and_is_written_once(shop: Path) -> None:
    """Else a script stops at the one file that a person must look at, or its comments pile up."""
    toml = shop / "shop" / "shop.toml"
    text = "member,group\n" + "".join(f"c{n % 9},G{n % 3}\n" for n in range(36))
    (shop / "data" / "groups.csv").write_text(text)
    first = _propose(shop)
    assert first.exit_code == 0, first.output
    assert toml.read_text().count("DECIDE: not placed, but like memberships") == 1
    before = toml.read_text()
    again = _propose(shop)
    assert (again.exit_code, toml.read_text()) == (0, before), again.output
    (alone := shop / "alone").mkdir()
    (alone / "groups.csv").write_text(text)
    (alone / "a_broken.csv").write_bytes(b"")
    words = ["ingest", "--propose", *(str(alone / f"{name}.csv") for name in ("a_broken", "groups"))]
    done = CliRunner().invoke(main, [*words, "--out", str(toml)])
    assert done.exit_code == 0, done.output
    assert "# [mapping.groups]" in toml.read_text(), "not named after a file that cannot be read"
    log = bring_in(Settings(home=shop / "home", shop=shop / "shop"), "data")
    assert len(log.rows("orders")) == 28, "what is left open stops nothing"
