"""Segments that a shop declares: who is in them by features and scores, and what is shown and exported."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import segments_by_hand
from everyone import Everyone
from running import audited, without_ids
from test_pushes import declares
from tiny import tiny_model

from features.errors import SettingsError
from features.shop import shop_of
from features.words import Words
from propensity.segmented import names_of
from serving import releases
from serving.figures import Figures
from serving.segments import DeclaredSegment, catalogue

SHOP = """
SEGMENTS = [
    DeclaredSegment(name="quiet", words=Words("Quiet", "沉默"), when="days_since_order >= 30",
                    stays="days_since_order >= 20"),
    DeclaredSegment(name="leaving", words=Words("Leaving", "将流失"), when="churn_28d >= 0.5"),
    DeclaredSegment(name="exited", words=Words("Gone", "已流失"), when="stage_exit == 1"),
]
"""
BOTH = Words("One", "一")


@pytest.fixture
def shop(tmp_path: Path) -> Everyone:
    """Twenty customers, of whom three have been quiet; a model of churn scored them, no segmentation is."""
    everyone = Everyone(tmp_path, SHOP)
    releases.publish(everyone.settings, tiny_model(tmp_path / "model", "churn_28d", "1"), "churn_28d", "1")
    everyone.week(0, {"c0001": 30, "c0002": 45, "c0007": 90, "c0009": 25})
    return everyone


def test_who_is_in_it_is_by_features_and_by_the_scores_that_were_told(shop: Everyone) -> None:
    """A segment by another score than the one that answers show would contradict them."""
    read = Figures.open(shop.settings)
    ids, values = read.read(["churn_28d", "churn_28d_percentile", "days_since_order"])
    file = next((shop.settings.home / "scores" / "churn_28d" / "1").glob("*.parquet"))
    told = pq.ParquetFile(file).read()
    assert ids == told["customer_id"].to_pylist()
    assert values["churn_28d"].tolist() == told["probability"].to_pylist()
    assert values["churn_28d_percentile"].tolist() == told["percentile"].to_pylist()
    rule = "churn_28d_percentile > 50 and days_since_order >= 30"
    out = shop.settings.home / "list.parquet"
    done = shop.run("segments", "export", str(out), "--rule", rule, "--with-figures")
    assert done.exit_code == 0, done.output
    quiet = np.array([id in ("c0001", "c0002", "c0007") for id in ids])
    wanted = [id for id, y in zip(ids, quiet & (values["churn_28d_percentile"] > 50), strict=True) if y]
    found = pq.read_table(out)
    assert found["customer_id"].to_pylist() == wanted
    assert wanted
    assert found.column_names == ["customer_id", "churn_28d_percentile", "days_since_order"]


def test_a_list_shows_each_with_its_number_and_says_what_cannot_be_told(shop: Everyone) -> None:
    """Else a segment that lacks its model looks as if nobody were in it."""
    listed = shop.run("segments", "list")
    assert listed.exit_code == 0, listed.output
    assert "days_since_order >= 30; stays while days_since_order >= 20" in " ".join(listed.output.split())
    assert [line.split()[2:4] for line in listed.output.splitlines() if line.startswith("quiet ")] == [
        ["3", "15.0%"]
    ]
    assert "exited: cannot be told: the snapshot lacks stage_exit" in listed.output
    assert "沉默" in shop.run("segments", "list", "--language", "zh").output


def test_lists_are_what_pushes_hold(shop: Everyone) -> None:
    """Else who reads the list anew loses whoever stays, and is never told `entered` of them again."""

    def pushed() -> str:
        lines = shop.run("pushes", "run").output.splitlines()
        return next(line.split()[1] for line in lines if line.startswith("segment.quiet"))

    def listed() -> list[str]:
        lines = shop.run("segments", "list").output.splitlines()
        return next(line.split()[2:5] for line in lines if line.startswith("quiet "))

    def exported() -> list[str]:
        out = shop.settings.home / "quiet.csv"
        assert shop.run("segments", "export", "quiet", str(out)).exit_code == 0
        return out.read_text("utf-8").replace('"', "").split()[1:]

    asked = [["list"], ["preview", "quiet"], ["export", "quiet", str(shop.settings.home / "quiet.csv")]]
    for arguments in asked:
        assert "quiet: nobody is in it by `stays` alone" in shop.run("segments", *arguments).output
        assert "未计入仅凭" in shop.run("segments", *arguments, "--language", "zh").output
    assert pushed() == "3"
    shop.week(1, {"c0001": 25, "c0002": 19, "c0007": 97, "c0009": 25})
    for _ in range(2):  # before pushes run, and after
        assert listed() == ["2", "10.0%", "1"]
        assert exported() == ["c0001", "c0007"]
        assert "quiet: 2 of 20 customers" in shop.run("segments", "preview", "quiet").output
        assert pushed() == "2"
    for arguments in asked[1:]:
        assert "1 of them are in it by `stays` alone" in shop.run("segments", *arguments).output
        assert "其中1位仅凭" in shop.run("segments", *arguments, "--language", "zh").output
    assert "nobody is in it by" not in shop.run("segments", "list").output
    assert shop.run("segments", "preview", "--rule", "days_since_order >= 30").output.startswith("rule: 1 of")
    declares(shop, "days_since_order >= 30", "days_since_order >= 35")
    shop.week(2, {"c0001": 32, "c0007": 19, "c0009": 32})
    assert exported() == ["c0001"], "the rule is another, who was in it is known"
    assert pushed() == "1"
    assert listed()[0] == "1"


def test_a_preview_tells_of_many_and_of_nobody(shop: Everyone) -> None:
    """A count, quarters and overlaps; an id in it would put a customer into a chat."""
    seen = shop.run("segments", "preview", "quiet")
    assert seen.exit_code == 0, seen.output
    assert "quiet: 3 of 20 customers (15.0%)" in seen.output
    row = next(line for line in seen.output.splitlines() if line.startswith("days_since_order"))
    assert row.split()[1:] == ["10", "0"], "of three, quarters would be somebody's"
    assert "leaving" in seen.output, "the overlap with the others"
    assert "c00" not in seen.output
    many = shop.run("segments", "preview", "--rule", "days_since_order >= 10").output
    row = next(line for line in many.splitlines() if line.startswith("days_since_order"))
    assert row.split()[1:] == ["10", "10", "10", "10", "0"]
    none = shop.run("segments", "preview", "--rule", "days_since_order > 1000")
    assert "rule: 0 of 20 customers" in none.output


def test_an_export_is_a_file_of_the_members_and_leaves_a_line_without_them(shop: Everyone) -> None:
    """Who took a list of customers out must be found later; the line itself may name nobody."""
    out = shop.settings.home / "quiet.csv"
    done = shop.run("segments", "export", "quiet", str(out))
    assert done.exit_code == 0, done.output
    assert out.read_text("utf-8").replace('"', "").split() == ["customer_id", "c0001", "c0002", "c0007"]
    assert "Consent and contact limits are not applied here" in done.output
    said = json.dumps(audited(shop.settings.home))
    assert "segments export quiet" in said
    assert "c0001" not in without_ids(said)


def test_what_is_asked_wrongly_is_said(shop: Everyone) -> None:
    for arguments, said in (
        (("preview", "quite"), "did you mean 'quiet'?"),
        (("preview",), "name a segment, or give a rule"),
        (
            ("preview", "--rule", "churn_29d > 1"),
            "reads churn_29d, which is no feature and no score; did you",
        ),
        (("preview", "--rule", "stage == 'exit'"), "cannot stand in a rule"),
        (("preview", "exited"), "exited cannot be told"),
        (("export", "quiet", "list.txt"), "ends in .csv or .parquet"),
    ):
        asked = shop.run("segments", *arguments)
        assert asked.exit_code == 2, asked.output
        assert said in asked.output


def test_a_segmentation_is_read_as_numbers_and_follows_its_version(shop: Everyone, tmp_path: Path) -> None:
    """stage_exit is 1 of whom the released segmentation calls so, and null where it calls nobody anything."""
    build = shop.build()
    lacking = Figures.open(shop.settings).lacking(["tier_lost"])
    assert lacking == "the snapshot lacks tier_lost, and no model that is released says it"
    folder = segments_by_hand.saved(tmp_path / "segmentation", hashes=dict(build.features))
    releases.publish(shop.settings, folder, "segmentation", "1")
    assert "segmentation 1 has not scored" in str(Figures.open(shop.settings).lacking(["tier_lost"]))
    shop.week(1, {"c0003": 200})
    read = Figures.open(shop.settings)
    ids, values = read.read(["stage_exit", "stage_purchase", "quadrant_core", "churn_28d"])
    assert [id for id, is_in in zip(ids, values["stage_exit"], strict=True) if is_in == 1] == ["c0003"]
    assert values["stage_purchase"].tolist() == [1.0 - gone for gone in values["stage_exit"]]
    assert np.isnan(values["quadrant_core"]).all(), "without a value model nobody has a quadrant"
    assert read.labels("stage")[1][3] == "exit"
    assert read.origin("stage_exit") == "segmentation 1"
    assert "exited" in shop.run("segments", "preview", "exited").output
    seen = shop.run("segments", "preview", "--rule", "days_since_order > 100").output
    assert [line.split()[2:] for line in seen.splitlines() if line.startswith("stage exit")] == [
        ["1", "100.0%", "100.0%"]
    ]


def test_one_of_its_rules_holds_until_the_wider_one_does_not() -> None:
    """Else whoever wavers at the threshold enters and leaves every day."""
    one = DeclaredSegment(name="quiet", words=BOTH, when="days >= 30", stays="days >= 20")
    days = {"days": np.array([30.0, 25, 25, 19, np.nan])}
    members = np.array([False, True, False, True, True])
    assert one.holds(days, 5, members).tolist() == [True, True, False, False, False]
    assert one.inputs == ("days",)


def test_a_declaration_that_cannot_be_one_is_refused() -> None:
    for changes, said in (
        ({"name": "a b"}, "identifier"),
        ({"words": Words("One", " ")}, "English and Chinese"),
        ({"when": "days"}, "is no condition"),
        ({"when": "days > 1", "stays": "days >"}, "is no rule"),
    ):
        with pytest.raises(SettingsError, match=said):
            DeclaredSegment(**{"name": "one", "words": BOTH, "when": "days > 1", **changes})
    one = DeclaredSegment(name="one", words=BOTH, when="churn_29d > 1")
    with pytest.raises(SettingsError, match="declared twice"):
        catalogue([one, one], {"churn_29d"})
    with pytest.raises(SettingsError, match="did you mean 'churn_28d'"):
        catalogue([one], {"churn_28d"})


def test_check_holds_segments_to_what_models_could_say(shop: Everyone) -> None:
    """Before anything is trained: a score that no target has would never be told."""
    assert {"churn_28d", "churn_28d_percentile", "stage_exit", "value"} <= names_of(shop_of(shop.settings))
    good = shop.run("check")
    assert "3 segments" in good.output
    wrong = Everyone(shop.settings.home / "another", SHOP.replace("churn_28d", "churn_82d"))
    bad = wrong.run("check")
    assert bad.exit_code == 1
    assert "segment 'leaving': it reads churn_82d, which is no feature and no score" in bad.output
