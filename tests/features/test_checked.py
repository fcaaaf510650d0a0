"""`propensity check` of mappings: every slip is named with its line, before anything is ingested."""

import doctest
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from dirty import TILL, write_shop

from features.shop import Shop
from features.sources import bounds, checked, found
from features.sources.checked import mapping_problems
from propensity import main

MAPPING = f"""
[mapping.till]
folder = "."

{TILL}
[[mapping.till.read]]
table = "products"
files = "none_yet.csv"
[mapping.till.read.columns]
product_id = "sku"
[mapping.till.read.aside]
"a test" = "who = 'test'"
"""
FILES = {"orders.csv": "no,who,day,paid\n1,a,2024-01-01,5\n"}


@pytest.mark.parametrize(
    ("old", "new", "at_line_of", "says"),
    [
        ('"paid"', '"payd"', 'amount = "payd"', "has no column 'payd'; did you mean 'paid'?"),
        ("amount =", "amout =", 'amout = "paid"', "which orders has not; did you mean 'amount'?"),
        ('"products"', '"prodcts"', 'table = "prodcts"', "did you mean 'products'?"),
        ('files = "orders.csv"', 'files = "orders.csv"\nonse = true', "onse = true", "unknown key 'onse'"),
        ('"day"', '{ column = "day", zone = "Paris" }', "at = {", "an IANA time zone"),
        ('amount = "paid"', 'amount = { sql = "numbr(paid)" }', "amount = {", "numbr"),
        ('customer_id = "who"\n', "", "[mapping.till.read.columns]", "lacks customer_id"),
    ],
)
def test_a_slip_in_a_mapping_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, at_line_of: str, says: str
) -> None:
    """Else `check` says that all is well, and the ingestion of tonight fails."""
    settings = write_shop(tmp_path, MAPPING.replace(old, new, 1), FILES)
    lines = (settings.shop / "shop.toml").read_text("utf-8").splitlines()
    line = next(n for n, text in enumerate(lines, start=1) if text.startswith(at_line_of))
    (problem,), _ = mapping_problems(Shop.load(settings.shop))
    assert problem.startswith(f"{settings.shop / 'shop.toml'}:{line}: mapping.till"), problem
    assert says in problem


def test_check_reads_every_mapping_and_says_whose_files_it_could_not_see(tmp_path: Path) -> None:
    settings = write_shop(tmp_path, MAPPING, FILES)
    env = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    fine = CliRunner().invoke(main, ["check"], env=env)
    assert fine.exit_code == 0, fine.output
    assert " 1 mapping;" in fine.output
    assert "mapping.till: the files of 1 of its readings are not there" in fine.output
    write_shop(tmp_path, MAPPING.replace('"paid"', '"payd"').replace('"sku"', "{ column = 1 }"), FILES)
    wrong = CliRunner().invoke(main, ["check"], env=env)
    assert wrong.exit_code == 1
    assert wrong.output.count("problem: ") == 2


@pytest.mark.parametrize("module", [bounds, checked, found])
def test_the_examples_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_what_a_proposal_left_open_is_named_with_its_line(tmp_path: Path) -> None:
    """Else a placeholder goes to production, and a check that says nothing is believed."""
    open_ = MAPPING.replace('{ value = "store" }', '{ value = "store" }  # DECIDE: where these were placed')
    settings = write_shop(tmp_path, open_ + "# DECIDE: not placed, but like cases: fill this in\n", FILES)
    path = settings.shop / "shop.toml"
    lines = path.read_text().splitlines()
    places = [n for n, line in enumerate(lines, start=1) if "DECIDE" in line]
    env = {"PROPENSITY_SHOP": str(settings.shop), "PROPENSITY_HOME": str(settings.home)}
    result = CliRunner().invoke(main, ["check"], env=env)
    assert result.exit_code == 0, result.output
    assert [line for line in result.output.splitlines() if "still to be decided" in line] == [
        f'{path}:{places[0]}: still to be decided: where these were placed (channel = {{ value = "store" }})',
        f"{path}:{places[1]}: still to be decided: not placed, but like cases: fill this in",
    ]
    (settings.shop / "none_yet.csv").write_text("sku,who\nx,a\n")
    ingested = CliRunner().invoke(main, ["ingest"], env=env)
    assert "note: " + f"{path}:{places[0]}: still to be decided" in ingested.output, (
        "whoever never checks, ingests"
    )
    assert "1 of 2 such lines" in ingested.output
