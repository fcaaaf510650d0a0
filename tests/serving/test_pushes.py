"""What changed of whom is written once: by bands that hold, after a baseline that a promotion takes anew."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import segments_by_hand
from everyone import Everyone
from running import without_ids
from test_openapi import event_of
from tiny import tiny_model

from serving import releases
from serving.outbox import Outbox

SHOP = """
WATCHES = [
    Watch(name="silence", words=Words("Silent", "沉默"), figure="days_since_order", enters=30, leaves=20),
]
SEGMENTS = [
    DeclaredSegment(name="away", words=Words("Away", "离开"), when="days_since_order >= 60"),
]
"""
CHURN = """
WATCHES = [
    Watch(name="churn", words=Words("Leaving", "将流失"), figure="churn_28d", enters=0.6, leaves=0.5),
]
"""
HOOKS = """
[[hooks]]
client = "crm"
url = "http://127.0.0.1:1/events"
events = ["warning", "segment.away", "stage", "due", "baseline"]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Everyone:
    """Nobody is silent, and that is the baseline."""
    everyone = Everyone(tmp_path, SHOP, HOOKS)
    everyone.week(0)
    assert wrote(everyone) == 1, "the baseline"
    return everyone


def wrote(everyone: Everyone, *arguments: str) -> int:
    """How many events a run wrote."""
    done = everyone.run("pushes", "run", *arguments)
    assert done.exit_code == 0, done.output
    (said,) = [line for line in done.output.splitlines() if line.startswith("wrote")]
    return int(said.split()[1].replace(",", ""))


def events(everyone: Everyone, kind: str = "customer.") -> list[dict[str, Any]]:
    """All that were written of that kind, in their order."""
    with closing(sqlite3.connect(everyone.settings.home / "pushes" / "pushes.sqlite")) as db:
        bodies = [json.loads(row[0]) for row in db.execute("SELECT body FROM events ORDER BY sequence")]
    for body in bodies:
        event_of(body["type"]).validate(body)
    return [body for body in bodies if body["type"].startswith(f"com.propensity.{kind}")]


def said(everyone: Everyone) -> list[tuple[str, str, str]]:
    """(what, customer, change) of all events of customers."""
    return [
        (one["type"].rpartition(".")[2], one["subject"], one["data"].get("change", ""))
        for one in events(everyone)
    ]


def test_a_band_is_entered_at_one_threshold_and_left_at_the_other(shop: Everyone) -> None:
    """Else whoever wavers around the threshold is warned of every day, and nobody reads warnings any more."""
    shop.week(1, {"c0003": 30, "c0004": 29})
    assert wrote(shop) == 1
    shop.week(2, {"c0003": 25, "c0004": 25})
    assert wrote(shop) == 0
    shop.week(3, {"c0003": 19})
    assert wrote(shop) == 1
    assert said(shop) == [("warning", "c0003", "entered"), ("warning", "c0003", "left")]
    entered = events(shop)[0]
    assert len(entered.pop("id")) == 32
    assert len(entered.pop("sequence")) == 20
    sequences = [one["sequence"] for one in events(shop, "")]
    assert sequences == sorted({*sequences}), "each its own, and later ones higher"
    assert entered == {
        "specversion": "1.0",
        "source": "/propensity/Complete%20Journey",
        "type": "com.propensity.customer.warning",
        "subject": "c0003",
        "time": "2017-12-10T00:00:00Z",
        "datacontenttype": "application/json",
        "data": {
            "warning": "silence", "words": {"en": "Silent", "zh": "沉默"}, "change": "entered",
            "figure": "days_since_order", "value": 30.0, "enters": 30, "leaves": 20,
            "by": entered["data"]["by"], "as_of": "2017-12-10T00:00:00Z",
        },
    }  # fmt: skip


def test_the_same_snapshot_twice_is_told_once(shop: Everyone) -> None:
    """A cron job that runs twice, or again after a kill, must not tell twice."""
    shop.week(1, {"c0003": 90})
    assert wrote(shop) == 2
    assert wrote(shop) == 0
    assert said(shop) == [("warning", "c0003", "entered"), ("segment", "c0003", "entered")]


def test_a_dry_run_says_what_it_would_write_and_leaves_it_to_be_told(shop: Everyone) -> None:
    shop.week(1, {"c0003": 90})
    dry = shop.run("pushes", "run", "--dry-run")
    assert "would write 2 events" in dry.output
    assert wrote(shop) == 2


def test_a_killed_run_leaves_all_of_it_to_the_next(shop: Everyone, monkeypatch: Any) -> None:
    """State without events would lose them; events without state would tell them twice."""
    shop.week(1, {"c0003": 90, "c0005": 90})
    with monkeypatch.context() as broken:
        broken.setattr("serving.cloudevents.Event.body", partial(_full_disk, number=count()))
        assert shop.run("pushes", "run").exception is not None
    assert said(shop) == []
    assert wrote(shop) == 4


def _full_disk(source: str, sequence: int, number: Iterator[int]) -> bytes:
    if next(number) > 2:
        raise OSError("no space left on device")
    return b"{}"


def test_more_than_a_run_may_tell_is_not_told_but_asked_about(shop: Everyone) -> None:
    """A build that went wrong warns of everybody: a storm of messages, which no one takes back."""
    with (shop.settings.shop / "shop.toml").open("a") as file:
        file.write("\n[pushes]\nmost = 19\n")
    shop.week(1, dict.fromkeys(shop.ids, 40))
    refused = shop.run("pushes", "run")
    assert refused.exit_code == 3
    assert "NOTHING WRITTEN: 20 events in one run are more than 19" in refused.output
    assert "`propensity pushes run --most 20` tells of it" in " ".join(refused.output.split())
    assert said(shop) == []
    assert wrote(shop, "--most", "20") == 20
    shop.week(2)
    assert shop.run("pushes", "run").exit_code == 3
    assert wrote(shop, "--accept") == 1, "the one that says so"
    assert len(said(shop)) == 20
    assert events(shop, "baseline")[-1]["data"]["things"] == [
        {"what": "warning.silence", "change": "another_basis", "customers": 20}
    ]
    assert wrote(shop) == 0


def test_a_changed_rule_is_a_new_baseline_and_not_a_storm(shop: Everyone, tmp_path: Path) -> None:
    """Nobody did anything when the shop moved its threshold; whoever is in it by then must leave it."""
    shop.week(1, {"c0003": 15})
    wrote(shop)
    declares(shop, "enters=30, leaves=20", "enters=12, leaves=5")
    assert wrote(shop) == 1
    assert said(shop) == []
    assert events(shop, "baseline")[-1]["data"]["things"] == [
        {"what": "warning.silence", "change": "another_basis", "customers": 1}
    ]
    shop.week(2, {"c0003": 4})
    wrote(shop)
    assert said(shop) == [("warning", "c0003", "left")]
    declares(shop, 'name="silence"', 'name="silence_2"')
    assert wrote(shop) == 1
    assert events(shop, "baseline")[-1]["data"]["things"] == [
        {"what": "warning.silence_2", "change": "new", "customers": 0},
        {"what": "warning.silence", "change": "no_longer_followed"},
    ]


def declares(everyone: Everyone, old: str, new: str) -> None:
    """Change the shop.py; its module is kept by its path, so the shop moves."""
    shop = everyone.settings.shop
    moved = shop.rename(shop.with_name(f"{shop.name}-"))
    text = (moved / "shop.py").read_text("utf-8")
    assert old in text
    (moved / "shop.py").write_text(text.replace(old, new), "utf-8")
    everyone.settings = replace(everyone.settings, shop=moved)


def test_a_promotion_takes_the_baseline_anew_and_still_tells_what_happened_since(tmp_path: Path) -> None:
    """Another model scores everybody otherwise: a storm without a cause. But whoever really fell silent in
    the week of a promotion is not to be missed for it."""
    everyone = Everyone(tmp_path, CHURN, HOOKS.replace("segment.away", "segment"), customers=300)
    promote(everyone, tmp_path, "1", seed=0)
    everyone.week(0)
    assert wrote(everyone) == 1
    promote(everyone, tmp_path, "2", seed=5)
    everyone.score(everyone.build())  # as a promotion does
    everyone.week(1, {"c0007": 200})
    assert wrote(everyone) == 2
    assert said(everyone) == [("warning", "c0007", "entered")]
    assert events(everyone)[0]["data"]["by"] == "churn_28d 2"
    (thing,) = events(everyone, "baseline")[-1]["data"]["things"]
    assert thing["change"] == "another_basis"
    assert thing["customers"] > 0, "or this test could not fail"
    promote(everyone, tmp_path, "3", seed=9)
    assert "has not scored" in everyone.run("pushes", "run").output, (
        "nothing is told by a model that said nothing"
    )
    everyone.week(2)
    assert wrote(everyone) == 1, "of last week it has no scores: a baseline of now"
    assert len(said(everyone)) == 1


def promote(everyone: Everyone, tmp_path: Path, version: str, seed: int) -> None:
    folder = tiny_model(tmp_path / f"model-{version}", "churn_28d", version, seed)
    releases.publish(everyone.settings, folder, "churn_28d", version)


def test_stages_are_told_with_where_from_and_where_to(shop: Everyone, tmp_path: Path) -> None:
    folder = segments_by_hand.saved(tmp_path / "segmentation", hashes=dict(shop.build().features))
    releases.publish(shop.settings, folder, "segmentation", "1")
    shop.week(1)
    assert wrote(shop) == 1
    shop.week(2, {"c0009": 151})
    assert wrote(shop) == 3
    stage = events(shop)[-1]
    assert (stage["type"], stage["subject"]) == ("com.propensity.customer.stage", "c0009")
    assert stage["data"] == {
        "from": {"name": "purchase", "words": {"en": "Purchase", "zh": "首购"}},
        "to": {"name": "exit", "words": {"en": "Exit", "zh": "流失"}},
        "by": "segmentation 1",
        "as_of": "2017-12-17T00:00:00Z",
    }


def test_who_is_new_is_told_and_who_is_gone_is_forgotten(shop: Everyone) -> None:
    """A first snapshot with her is an entry like any other; a merged customer left nothing."""
    shop.week(1, {"c0003": 90}, gone=("c0019",))
    wrote(shop)
    shop.week(2, {"c0019": 90}, gone=("c0003",))
    assert wrote(shop) == 2
    assert said(shop)[2:] == [("warning", "c0019", "entered"), ("segment", "c0019", "entered")]
    shop.week(3, {"c0003": 90, "c0019": 90})
    assert wrote(shop) == 2, "she came back, and is silent"


def test_an_earlier_snapshot_that_is_served_again_tells_nothing(shop: Everyone) -> None:
    """After a rollback everybody would be told to have gone back in time."""
    shop.week(1, {"c0003": 90})
    wrote(shop)
    shop.week(0)
    assert "told as of 2017-12-10T00:00:00Z already" in " ".join(shop.run("pushes", "run").output.split())
    assert len(said(shop)) == 2


def test_erasure_reaches_what_was_told_and_every_event(shop: Everyone) -> None:
    """Of whom a shop promised to forget, a list of dead letters must not tell."""
    shop.week(1, {"c0003": 90, "c0004": 90})
    wrote(shop)
    with closing(Outbox(shop.settings)) as outbox:
        assert outbox.customers() == {"c0003": 4, "c0004": 4}
        outbox.erase(["c0003"])
        assert outbox.customers() == {"c0004": 4}
        assert outbox.db.execute("SELECT count(*) FROM deliveries").fetchone()[0] == 3
    for file in (shop.settings.home / "pushes").iterdir():
        assert "c0003" not in without_ids(file.read_bytes().decode("latin-1")), file


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ('client = "crm"\nurl = "http://crm.example.com"\nevents = ["due"]', "url is http: expected https"),
        (
            'client = "crm"\nurl = "https://u:p@crm.example.com"\nevents = ["due"]',
            "url holds a user or a passw",
        ),
        ('client = "crm"\nurl = "ftp://crm.example.com"\nevents = ["due"]', "url is no address to send to"),
        ('client = "crm"\nurl = "https://crm.example.com"\nevents = ["dues"]', "did you mean 'due'?"),
        ('client = "crm"\nurl = "https://a.b"\nevents = ["warning.silense"]', "did you mean 'silence'?"),
        ('client = "c:m"\nurl = "https://a.b"\nevents = ["due"]', "a name without spaces"),
        ('client = "crm"\nurl = "https://a.b"\nevent = ["due"]', "lacks events"),
    ],
)
def test_a_hook_that_could_never_be_called_is_refused_by_check(tmp_path: Path, toml: str, told: str) -> None:
    """Else nobody learns of it until a warning is missed."""
    everyone = Everyone(tmp_path, SHOP, f"\n[[hooks]]\n{toml}\n")
    checked = everyone.run("check")
    assert checked.exit_code == 1, checked.output
    assert told in checked.output
    assert "u:p" not in checked.output


def test_a_watch_needs_a_band(tmp_path: Path) -> None:
    everyone = Everyone(tmp_path, SHOP.replace("leaves=20", "leaves=30"))
    checked = everyone.run("check")
    assert "watch 'silence': it enters and leaves at 30" in checked.output
    low = SHOP.replace("enters=30, leaves=20", "enters=10, leaves=20")
    everyone = Everyone(tmp_path / "low", low)
    everyone.week(0, dict.fromkeys(everyone.ids, 50))
    wrote(everyone)
    everyone.week(1, {**dict.fromkeys(everyone.ids, 50), "c0001": 9})
    wrote(everyone)
    everyone.week(2, {**dict.fromkeys(everyone.ids, 50), "c0001": 20})
    wrote(everyone)
    everyone.week(3, {**dict.fromkeys(everyone.ids, 50), "c0001": 21})
    wrote(everyone)
    of_week = [one["time"][:10] for one in events(everyone, "customer.warning")]
    assert of_week == ["2017-12-10", "2017-12-24"], "low is what is warned of"
