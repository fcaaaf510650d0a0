"""What comes in and feeds no feature must be said, with what to do: else the models never see it."""

import re
from pathlib import Path

from click.testing import CliRunner, Result
from dirty import TILL, bring_in, write_shop

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


ACTS = """
from features.words import Words
from serving.actions import Action, Effect, Step
W = Words("x", "甲")
ACTIONS = [
    Action(name="tea", channel="sms", words=W, goal=W, effect=Effect(0, 0, 0, "prior", W), validity_days=3,
           then=(Step("H5", W, after_hours=2),)),
]
"""


def test_a_channel_that_an_action_of_the_shop_uses_needs_no_other_name(tmp_path: Path) -> None:
    """Else who follows the advice has consents to a channel that no action sends on, and none to its own."""
    settings = write_shop(tmp_path, SHOP.format(channel='"how"'), FILES)
    (settings.shop / "shop.py").write_text(ACTS, "utf-8")
    for command in (("ingest",), ("check", "--customers", "2"), ("log", "describe")):
        said = " ".join(_run(settings, *command).output.split())
        assert "Risk score" in said, command
        assert "No feature knows these channels" not in said, command


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


SCORED = """
[[mapping.till.read]]
table = "scores"
files = "scores.csv"
scores = ["credit_score", "grade"]
[mapping.till.read.columns]
customer_id = "who"
known_at = "known_at"
"""


def test_a_word_among_numbers_is_a_mistake_and_no_category(tmp_path: Path) -> None:
    """Else one `high` is a label of a score, and the declaration that is advised reads that alone."""
    head = "who,credit_score,grade,known_at\n"
    values = [("high" if n == 3 else n / 10, 7 if n == 5 else "AB"[n % 2]) for n in range(40)]
    rows = [f"c{n},{score},{grade},2024-02-01 10:00\n" for n, (score, grade) in enumerate(values)]
    files = {"orders.csv": "no,who,day,paid\n1,c1,2024-01-02,1\n", "scores.csv": head + "".join(rows)}
    settings = write_shop(tmp_path, "[mapping.till]\n" + TILL + SCORED, files)
    log = bring_in(settings)
    assert log.fates("scores") == {"accepted": 39, "rejected: value is not a number": 1}
    (sample,) = log.done.samples
    assert (sample.file, sample.row, sample.value, sample.expected) == ("scores.csv", 4, "high", "a number")
    grades = {row["label"] for row in log.rows("scores") if row["name"] == "grade"}
    assert grades == {"A", "B", "7"}, "a 7 among grades is one"
    assert [(one.value, one.labels) for one in log.done.held if one.table == "scores"] == [
        ("grade", ("7", "A", "B")), ("credit_score", ()),
    ]  # fmt: skip


def test_what_is_advised_of_a_score_follows_most_of_its_rows(tmp_path: Path) -> None:
    """A table that gives both columns itself: one label among a thousand values is not what to declare."""
    rows = [
        f"c{n},risk,{'' if n == 3 else n},{'high' if n == 3 else ''},2024-02-01 10:00\n" for n in range(40)
    ]
    columns = '[mapping.till.read.columns]\nname = "name"\nvalue = "value"\nlabel = "label"'
    wide = 'scores = ["credit_score", "grade"]\n[mapping.till.read.columns]'
    reading, sold = SCORED.replace(wide, columns), "no,who,day,paid\n1,c1,2024-01-02,1\n"
    files = {"orders.csv": sold, "scores.csv": "who,name,value,label,known_at\n" + "".join(rows)}
    log = bring_in(write_shop(tmp_path, "[mapping.till]\n" + TILL + reading, files))
    assert log.fates("scores") == {"accepted": 40}
    assert [one.labels for one in log.done.held if one.table == "scores"] == [()]
