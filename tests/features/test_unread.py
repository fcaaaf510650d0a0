"""What comes in and feeds no feature must be said, with what to do: else the models never see it."""

import re
from pathlib import Path

from click.testing import CliRunner, Result
from dirty import write_shop

from features.definitions import CHANNELS, catalogue
from features.describe import judge, measure
from features.ingestion.ingest import ingest
from features.settings import Settings
from features.shop import Shop
from features.sources.simulated import campaigns
from features.unread import unread
from propensity import main

SHOP = """
[mapping.web]
[[mapping.web.read]]
table = "orders"
files = "orders.csv"
[mapping.web.read.columns]
order_id = "no"
customer_id = "who"
at = "when"
amount = "paid"
channel = {channel}
[[mapping.web.read]]
table = "scores"
files = "scores.csv"
delivered = 2024-02-01
scores = ["Risk score", "segment"]
[mapping.web.read.columns]
customer_id = "who"
"""
FILES = {
    "orders.csv": "no,who,when,paid,how\n1,a,2024-01-01,5,H5\n2,b,2024-01-02,5,H5\n3,a,2024-01-03,5,store\n",
    "scores.csv": "who,Risk score,segment\na,0.7,gold\nb,0.2,silver\n",
}


def _run(settings: Settings, *words: str) -> Result:
    here = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    return CliRunner().invoke(main, list(words), env=here)


def test_unknown_channels_and_undeclared_scores_are_said_wherever_a_log_is_looked_at(tmp_path: Path) -> None:
    settings = write_shop(tmp_path, SHOP.format(channel='"how"'), FILES)
    describe = ("log", "describe", "--json")
    for command in (("ingest", "--dry-run"), ("ingest",), ("check", "--customers", "2"), describe):
        said = " ".join(_run(settings, *command).output.replace('\\"', '"').split())
        assert 'No feature knows these channels: "H5" (2 × orders).' in said, command
        assert 'map = { "H5" = "web" }' in said, command
        assert 'No feature reads the external score "Risk score"' in said, command
    weights = {f.what.en[:20]: f.weight for f in judge(measure(settings)).findings}
    assert weights["No feature knows the"] == "look"
    assert weights["No feature reads the"] == "know"


def test_what_is_said_is_what_helps(tmp_path: Path) -> None:
    """The mapping's translation, and the lines for shop.py as they are printed, leave nothing unread."""
    settings = write_shop(tmp_path, SHOP.format(channel='"how"'), FILES)
    there = ingest(settings).held
    lines = [re.search(r"Feature\(.*\),$", one.do.en) for one in unread(there, catalogue())]
    declared = "\n".join(f"    {line[0]}" for line in lines if line)
    assert declared.count("Feature(") == 2
    head = "from features.definitions import Feature\nfrom features.words import Words\n"
    (settings.shop / "shop.py").write_text(f"{head}FEATURES = [\n{declared}\n]\n", "utf-8")
    mapped = '{ column = "how", map = { "H5" = "web" } }'
    write_shop(tmp_path, SHOP.format(channel=mapped), FILES)
    features = catalogue(Shop.load(settings.shop).declared("FEATURES"))
    assert unread(ingest(settings).held, features) == []
    checked = _run(settings, "check", "--customers", "2")
    assert (checked.exit_code, "note:" in checked.output) == (0, False), checked.output


def test_check_lists_what_is_absent_by_table_in_lines_that_can_be_read(tmp_path: Path) -> None:
    settings = write_shop(tmp_path, SHOP.format(channel='{ value = "web" }'), FILES)
    ingest(settings)
    lines = _run(settings, "check", "--customers", "2").output.splitlines()
    assert max(len(line) for line in lines if line.startswith("  ")) <= 110
    place = next(n for n, line in enumerate(lines) if line.startswith("  contacts ("))
    assert lines[place + 1].startswith("    contacts_{7,30,90,365}d, contact_channels_90d")


def test_the_simulated_shop_speaks_of_channels_that_are_known() -> None:
    """Else its first ingestion ends with a note that nobody can do anything about."""
    assert set(campaigns.CHANNEL) <= set(CHANNELS)
