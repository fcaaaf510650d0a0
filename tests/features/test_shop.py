"""shop.toml is read strictly: a slip in it is named, never guessed away."""

import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from dirty import write_shop
from logs import empty_shop

import propensity
from features.errors import SettingsError, UsageError
from features.settings import BUNDLED_SHOPS, Settings
from features.shop import DECLARATIONS, Shop
from features.sources import open_source
from features.sources.calendar import events_of
from features.sources.mapping import declaration
from features.tables import TABLES
from propensity.checked import check_everything
from propensity.shops import HEAD, MAPPING, TEMPLATES


@pytest.mark.parametrize("name", [p.name for p in sorted(BUNDLED_SHOPS.iterdir())])
def test_bundled_shops_read(name: str) -> None:
    assert Shop.load(BUNDLED_SHOPS / name).sources


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("mail = true", 'mail = "yes"', r"consent\.mail is 'yes': expected true or false, without quotes"),
        ('segments = ["income"]', 'segments = "income"', r"segments is 'income': expected a list of texts"),
        ("mail = true", "mail = 1", r"consent\.mail is 1: expected true or false"),
        ("exponent = 2", 'exponent = "2"', r"exponent is '2': expected a whole number"),
        ("exponent = 2", "exponent = 20", r"exponent is 20: expected 0 to 4"),
        (
            "margin_rate = 0.25",
            "margin_rate = 25",
            r"value\.margin_rate is 25: expected a share between 0 and 1",
        ),
        (
            "horizon_days",
            "horizon_day",
            r"value has an unknown key 'horizon_day'; did you mean 'horizon_days'\?",
        ),
        ('zone = "America', 'zone = "Amerika', r"zone is 'Amerika/New_York': expected an IANA time zone"),
        ('currency = "USD"', "", r"lacks currency: expected a text"),
        (
            '"complete_journey"]',
            '"complete_jurney"]',
            r"names 'complete_jurney'; did you mean 'complete_journey'\?",
        ),
        (
            "from = 2017-01-01",
            'from = "2017-01-01"',
            r"policy\[1\]\.from is '2017-01-01': expected a date such as",
        ),
        (
            "max_contacts = 2 ",
            "max_contacts = 2.5 ",
            r"policy\[1\]\.max_contacts is 2\.5: expected a whole number",
        ),
        ("explore = 0.05", "explore = true", r"policy\[1\]\.explore is True: expected a number"),
        ("[consent]", "[consents]", r"unknown key 'consents'; did you mean 'consent'\?"),
        ("name = ", "[mapping.Web]\n[top]\nname = ", r"lacks"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_expected(tmp_path: Path, old: str, new: str, says: str) -> None:
    folder = empty_shop(tmp_path / "shop")
    text = (folder / "shop.toml").read_text("utf-8")
    assert old in text
    (folder / "shop.toml").write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(SettingsError, match=says) as caught:
        Shop.load(folder)
    assert "shop.toml" in str(caught.value)


@pytest.mark.parametrize("name", ["calendar", "complete_journey", "Web", "a-b"])
def test_a_mapping_takes_no_name_that_means_something_else(tmp_path: Path, name: str) -> None:
    made = write_shop(
        tmp_path, f'[mapping.{name}]\n[[mapping.{name}.read]]\ntable = "orders"\nfiles = "x.csv"\n', {}
    )
    with pytest.raises(SettingsError, match=f"mapping.{name}: expected a name of small letters"):
        Shop.load(made.shop)


def test_every_mapping_is_a_source_and_a_calendar_follows_by_itself(tmp_path: Path) -> None:
    made = write_shop(tmp_path, '[mapping.web]\n[mapping.till]\n[calendar]\ncountries = ["GB"]\n', {})
    assert Shop.load(made.shop).sources == ("web", "till", "calendar")
    with pytest.raises(UsageError, match=r"no source 'tills'; did you mean 'till'\?"):
        open_source(Shop.load(made.shop), "tills")


def test_a_file_with_a_bom_is_read_and_another_encoding_is_named(tmp_path: Path) -> None:
    folder = empty_shop(tmp_path / "shop")
    text = (folder / "shop.toml").read_bytes()
    (folder / "shop.toml").write_bytes(b"\xef\xbb\xbf" + text)
    assert Shop.load(folder).name == "Complete Journey"
    (folder / "shop.toml").write_bytes('name = "店"'.encode("gb18030"))
    with pytest.raises(SettingsError, match="save it as UTF-8"):
        Shop.load(folder)


def test_a_file_of_nothing_but_brackets_is_named(tmp_path: Path) -> None:
    """Python's reader of TOML gives up on it in its own way, which nobody at a shop understands."""
    (tmp_path / "shop.toml").write_text(f"prices = {'[' * 5000}")
    with pytest.raises(SettingsError, match="not valid TOML"):
        Shop.load(tmp_path)


def test_the_commented_example_of_a_new_shop_is_true(tmp_path: Path) -> None:
    """Taken off its #, every line of it must read: an example that fails teaches nothing."""
    uncommented = "\n".join(
        line[2:]
        for line in MAPPING.splitlines()[4:]
        if line.startswith("# ") and "=" in line or line.startswith("# [")
    )
    (tmp_path / "shop.toml").write_text(HEAD + uncommented, "utf-8")
    (tmp_path / "data" / "web").mkdir(parents=True)
    shop = Shop.load(tmp_path)
    assert shop.sources == ("web", "calendar")
    declared = declaration(shop, "web", find=False)
    mapped = {r.table for r in declared.readings}
    assert mapped == TABLES.keys() - {"products", "contacts", "responses", "tags", "calendar"}
    words = {w for name in mapped for _, rule in TABLES[name].rules for w in re.findall(r"'([a-z-]+)'", rule)}
    assert [w for w in sorted(words) if w not in MAPPING] == [], "every word that a table takes is named"
    assert any("live evening" in event.name for event in events_of(shop))
    assert tomllib.loads(TEMPLATES["shop.toml"])["zone"] == "Asia/Shanghai"


def test_a_missing_table_is_named_as_one(tmp_path: Path) -> None:
    """`lacks value` reads as if some value were missing: nobody looks for a line [value]."""
    without = HEAD.replace("[value]", "").replace("margin_rate", "# margin_rate")
    (tmp_path / "shop.toml").write_text(without, "utf-8")
    with pytest.raises(SettingsError, match=r"shop\.toml: lacks the table \[value\]: expected that line"):
        Shop.load(tmp_path)


@pytest.mark.parametrize("slip", ['Feature(name="zz", words=1)', "1 / 0"])
def test_a_slip_in_shop_py_is_told_with_its_line_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slip: str
) -> None:
    """`PROPENSITY_SHOP=myshop` is how the README writes it; `line ?` is of no use in a file of 500 lines."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "shop.toml").write_text(HEAD, "utf-8")
    code = f"from features.definitions import Feature\n\nFEATURES = [\n    {slip},\n]\n"
    (tmp_path / "own" / "shop.py").write_text(code, "utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"^own/shop\.py, line 4"):
        Shop.load(Path("own")).declared("FEATURES")


def test_a_shop_py_is_what_it_is_now_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    """A copied file may have the time and size of the one before: yesterday's rule would go on, unsaid."""
    for days in (30, 35):
        folder = empty_shop(tmp_path / str(days), shop_py=f"SEGMENTS = [{days}]")
        os.utime(folder / "shop.py", (0, 0))
        if (before := tmp_path / "30" / "__pycache__").exists():
            shutil.copytree(before, folder / "__pycache__", dirs_exist_ok=True)
        assert Shop.load(folder).declared("SEGMENTS") == (days,)
        assert not (folder / "__pycache__").exists()


def test_the_commented_declarations_of_a_new_shop_are_true(tmp_path: Path) -> None:
    """Each of them, taken off its #, holds to the contracts that `propensity check` knows."""
    python = re.sub(r"^( *)# ?", r"\1", TEMPLATES["shop.py"], flags=re.MULTILINE)
    (tmp_path / "shop.toml").write_text(TEMPLATES["shop.toml"], "utf-8")
    (tmp_path / "shop.py").write_text(python, "utf-8")
    problems, said = check_everything(Settings(home=tmp_path / "home", shop=tmp_path), 10)
    assert problems == []
    shop = Shop.load(tmp_path)
    assert {kind: bool(shop.declared(kind)) for kind in DECLARATIONS} == {
        kind: kind != "TAGS" for kind in DECLARATIONS
    }, said


def test_a_rejection_is_understood_from_the_tables_that_are_printed() -> None:
    """`neither joined nor left` alone does not say in which column, nor which words are right."""
    run = CliRunner().invoke(propensity.main, ["ingest", "--tables", "memberships"])
    assert "neither joined nor left" in run.output
    assert "change in ('joined', 'left')" in run.output
    assert re.search(r"place_id +text +required", run.output)
    assert re.search(r"known_at +moment +made", run.output)
    every = CliRunner().invoke(propensity.main, ["ingest", "--tables"])
    assert all(name in every.output for name in TABLES)
    wrong = CliRunner().invoke(propensity.main, ["ingest", "--tables", "membership"])
    assert (wrong.exit_code, "did you mean 'memberships'" in wrong.output) == (2, True)
