"""The morning page: what a lead reads in a minute must be what is so, and never less than it seems."""

import csv
import io
import json
import re
import shutil
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser import DESKTOP, PHONE, chromium, look
from click.testing import CliRunner, Result
from mornings import NOW, finding, morning, verdict
from two_days import CAME, FIRST, SECOND, WENT

from features.describe.say import day
from features.files import write_atomically
from features.inbox import Arrival, Inbox
from features.moments import DAY, iso
from features.online import OnlineRows
from features.settings import Settings
from features.words import Words
from monitoring.indicators import named
from monitoring.today import Held, Today, gather
from monitoring.today.figures import Figure, against, usual
from monitoring.today.lights import lights
from monitoring.today.page import files
from propensity import main
from serving import due, score_store
from serving.ledger import Ledger

UNKNOWN = Held(None, Words("not yet", "尚无"))


def run(settings: Settings, *arguments: str) -> Result:
    environment = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    return CliRunner().invoke(main, ["today", "--as-of", iso(settings.now()), *arguments], env=environment)


def gathered(settings: Settings) -> Today:
    return gather(settings, lambda: UNKNOWN)


def table(today: Today, name: str, language: str = "en") -> list[list[str]]:
    """A block's CSV: head, then rows."""
    text = files(today, language)[f"{name}.csv"].decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home where every block has something to say."""
    return morning(tmp_path_factory.mktemp("morning"))


@pytest.fixture
def copied(tmp_path: Path) -> Settings:
    """Another one, that a test may change."""
    return morning(tmp_path)


def test_what_needs_somebody_is_said_first(world: Settings) -> None:
    today = gathered(world)
    assert today.verdict.en == "Data and models hold; 6 things wait for somebody."
    assert [one.en for one in today.todo] == [
        "2 complaints open past 24 hours",
        "1 complaint due within 24 hours",
        "1 decision handed over to a person",
        "3 valuable customers newly at risk",
        "Budget nearly spent: all marketing, month: -0.50 USD left",
        "Paused: channel:sms",
    ]
    assert all(one.zh and one.zh != one.en for one in today.todo)


def test_the_queue_holds_what_is_open_now_and_nothing_else(world: Settings) -> None:
    """A complaint that was settled, or a decision that somebody took, must not be called for again."""
    today = gathered(world)
    assert table(today, "complaints")[1:] == [
        ["c-due", "due", "in 19 h", "<b>late</b>", "2017-12-03T14:00:00-05:00"],
        ["c-late", "late", "6 h late", "<b>late</b>", "2017-12-02T13:00:00-05:00"],
        ["c-old", "old", "29 days late", "<b>late</b>", "2017-11-03T20:00:00-04:00"],
    ]
    shown = next(block.shown for block in today.blocks if block.name == "complaints")
    assert [row[0] for row in shown] == ["c-due", "c-late"], (
        "the file has all, the page what is of this morning"
    )
    assert [row[0] for row in table(today, "handed_over")[1:]] == ["who-waiting"]
    note = next(block.sheet.note for block in today.blocks if block.name == "complaints")
    assert note is not None
    assert note.en.startswith("1 more are open for longer than 7 days")
    assert table(today, "queue")[1:] == [
        ["customer service", "complaints due within 24 hours", "1", "12-03 14:00"],
        ["customer service", "complaints open past 24 hours", "2", ""],
        ["store staff", "decisions handed over to a person", "1", "12-04 19:00"],
    ]


def test_a_list_that_is_opened_hours_later_says_when_each_is_due(world: Settings) -> None:
    """Else: the service desk imports the list at noon, and "in 19 h" is of seven in the morning."""
    due_at = [datetime.fromisoformat(row[-1]) for row in table(gathered(world), "complaints")[1:]]
    assert due_at == [NOW + timedelta(hours=19), NOW - timedelta(hours=6), NOW - timedelta(hours=24 * 29)]
    assert [row[-1] for row in table(gathered(world), "handed_over")] == [
        "due at",
        "2017-12-04T19:00:00-05:00",
    ]
    assert table(gathered(world), "complaints", "zh")[0][-1] == "到期时刻"
    for block in gathered(world).blocks:
        if block.name in ("complaints", "handed_over"):
            assert {len(block.head), *map(len, block.shown)} == {len(block.sheet.head) - 1}, (
                "the page has its own"
            )


def test_few_are_neither_rounded_to_none_nor_told_in_per_cent() -> None:
    """Else: "usual Friday: 0, +300%" beside two complaints, which is no number that anybody can act on."""

    def said(name: str, value: float, usually: float) -> tuple[str, str | None]:
        one = Figure(named(name), "", NOW.date(), value, usually, np.empty(0))
        return usual(one, "USD").en, against(one)

    assert said("opt_outs", 2, 0.5) == ("usual Sunday: 0.5", None)
    assert said("open_complaints", 3, 9) == ("usual Sunday: 9", None)
    assert said("orders", 15, 10.5) == ("usual Sunday: 10", "+43%")
    assert said("orders", 0, 0) == ("usual Sunday: 0", None)
    assert said("average_order", 9.0, 6.0) == ("usual Sunday: 6.00 USD", "+50%")


def test_a_complaint_of_this_morning_is_in_it_before_the_next_build(copied: Settings) -> None:
    """It was told by an event, which the log does not have yet; so was that another one is settled."""

    def told(id: str, change: str, hours: float) -> Arrival:
        row = {"case_id": id, "kind": "complaint", "change": change, "channel": "phone"}
        at = NOW - timedelta(hours=hours)
        return Arrival("desk", f"{id}{change}", b"d", f"c-{id}", at, [("cases", row)])

    inbox = Inbox(copied)
    inbox.accept([told("new", "opened", 2), told("late", "closed", 1)], NOW - timedelta(minutes=1))
    inbox.accept([told("later", "opened", 0)], NOW + timedelta(minutes=1))
    assert [row[:3] for row in table(gathered(copied), "complaints")[1:]] == [
        ["c-due", "due", "in 19 h"], ["c-new", "new", "in 22 h"], ["c-old", "old", "29 days late"],
    ]  # fmt: skip


def test_whoever_is_due_for_a_scenario_stands_with_its_owner(copied: Settings) -> None:
    with due.opened(copied) as known:
        known.add("birthday", ["c0001", "c0002"], NOW - DAY, NOW + DAY)
        known.add("silence", ["c0003"], NOW - 9 * DAY, NOW)  # over
        known.add("silence", ["c0004"], NOW, NOW + 2 * DAY)
    rows = table(gathered(copied), "queue")[1:]
    assert ["store staff", "A birthday is near", "2", "12-03 19:00"] in rows
    assert ["marketing", "No visit for long", "1", "12-04 19:00"] in rows


def test_valuable_customers_who_crossed_are_listed_and_only_they(world: Settings) -> None:
    """Whoever is on the list is called; whoever is missing is lost."""

    def read(name: str, moment: object) -> dict[str, dict[str, object]]:
        path = score_store.path(world, name, "1", moment)  # type: ignore[arg-type]
        return {row["customer_id"]: row for row in pq.read_table(path).to_pylist()}

    now, before, tiers = read("churn_28d", SECOND), read("churn_28d", FIRST), read("segmentation", SECOND)
    tiers_before = read("segmentation", FIRST)
    wanted = {
        id for id, row in now.items()
        if id in before and row["probability"] >= 0.5 > before[id]["probability"]  # type: ignore[operator]
        and {tiers[id]["tier"], tiers_before[id]["tier"]} & {"champions", "loyal", "at_risk"}
    }  # fmt: skip
    rows = table(gathered(world), "at_risk")[1:]
    assert {row[0] for row in rows} == wanted
    assert len(wanted) == 3
    for row in rows:
        assert row[3] == f"{now[row[0]]['probability']:.1%}"
        assert row[4] == f"{before[row[0]]['probability']:.1%}"
        assert row[5].startswith("Days since the last order: ")
        assert "raises" not in row[5]


def test_who_keeps_an_own_rhythm_is_on_the_list_if_worth_much(copied: Settings) -> None:
    """Else: a good customer who comes seldom is never called, though the risk has crossed."""
    crossed = [row[0] for row in table(gathered(copied), "at_risk")[1:]]
    worth = dict(zip(crossed, (("in_rhythm", 5, 1), ("in_rhythm", 1, 4), ("in_rhythm", 3, 3)), strict=True))
    for moment in (FIRST, SECOND):
        path = score_store.path(copied, "segmentation", "1", moment)
        told = pq.read_table(path)
        rows = told.to_pylist()
        for row in rows:
            if row["customer_id"] in worth:
                row["tier"], row["f"], row["m"] = worth[row["customer_id"]]
        path.unlink()
        pq.write_table(pa.Table.from_pylist(rows, schema=told.schema), path)
    listed = table(gathered(copied), "at_risk")[1:]
    assert {row[0] for row in listed} == set(crossed[:2])
    assert {row[1] for row in listed} == {"In their rhythm"}


def test_the_shop_s_watch_says_who_counts_as_at_risk(tmp_path: Path) -> None:
    assert len(table(gathered(morning(tmp_path, enters=0.51)), "at_risk")) == 1 + 1


def test_stages_move_as_the_two_files_say(world: Settings) -> None:
    def stages(moment: object) -> dict[str, str]:
        path = score_store.path(world, "segmentation", "1", moment)  # type: ignore[arg-type]
        told = pq.read_table(path)
        return dict(zip(told["customer_id"].to_pylist(), told["stage"].to_pylist(), strict=True))

    now, before = stages(SECOND), stages(FIRST)
    assert CAME in now
    assert WENT not in now
    names = {"Contact": "contact", "Awareness": "awareness", "Interest": "interest", "Purchase": "purchase",
             "Use": "use", "Maintenance": "maintenance", "Exit": "exit"}  # fmt: skip
    rows = {names[row[0]]: row[1:] for row in table(gathered(world), "stages")[1:]}
    for stage in names.values():
        came = sum(of == stage and before.get(id) != stage for id, of in now.items())
        went = sum(of == stage and now.get(id) != stage for id, of in before.items())
        size = sum(of == stage for of in now.values())
        assert rows[stage][:3] == [str(size), str(came), str(went)], stage
        assert size == sum(of == stage for of in before.values()) + int(rows[stage][3])
    assert any(row[1] != "0" for row in rows.values())


def test_what_was_sent_counts_each_decision_once(world: Settings) -> None:
    """The old one, the one for nothing, and those that nobody told of do not count as sent."""
    assert table(gathered(world), "campaigns")[1:] == [
        ["A birthday is near", "staff", "1", "0", "0", "1", "0.50", "0"],
        ["No visit for long", "sms", "1", "1", "1", "1", "0.50", "1"],
    ]


def test_lights_are_the_last_verdict_s_by_owner(copied: Settings) -> None:
    assert (lights(copied).data.colour, lights(copied).models.colour) == ("ok", "ok")
    verdict(copied, findings=[
        finding("orders_table", "page", "rows", "data"), finding("churn_28d", "warning", "ranking", "models"),
        finding("opt_outs", "warning", "season", "operations"),
    ])  # fmt: skip
    found = lights(copied)
    assert (found.data.colour, found.data.words.en) == ("page", "orders_table: rows is off")
    assert (found.models.colour, found.models.words.zh) == ("warning", "churn_28d：ranking异常")
    assert found.unusual == {"opt_outs": Words("season is off", "season异常")}
    assert found.worst == "page"


def test_without_a_model_none_holds(copied: Settings) -> None:
    """Else: a shop that has released nothing reads that its models are as they should be."""
    path = verdict(copied)
    raw = json.loads(path.read_text("utf-8"))
    write_atomically(path, json.dumps(raw | {"releases": []}).encode())
    found = lights(copied)
    assert (found.data.colour, found.models.colour, found.worst) == ("ok", "unknown", "ok")
    assert "no model is released" in found.models.words.en
    assert gathered(copied).verdict.en.startswith("Data hold, and no model is released; ")
    unreadable = [finding("churn_28d", "page", "readable")]
    write_atomically(path, json.dumps(raw | {"releases": [], "findings": unreadable}).encode())
    assert lights(copied).models.colour == "page", "one that cannot be read is no lack of models"


def test_what_the_calendar_does_not_know_is_a_task_of_the_morning(copied: Settings) -> None:
    """Else: twice the usual orders are a bright number, and nobody names the show that brought them."""
    rise = finding("log", "warning", "event_unnamed", "operations") | {
        "of": "shop", "asks": {"en": "A rise that no event explains", "zh": "日历未能解释的上升"}
    }  # fmt: skip
    verdict(copied, findings=[rise, finding("opt_outs", "warning", "season", "operations")])
    found = lights(copied)
    assert found.tasks == (
        Words("A rise that no event explains: event_unnamed is off", "日历未能解释的上升：event_unnamed异常"),
    )
    assert set(found.unusual) == {"opt_outs"}
    assert found.tasks[0] in gather(copied, lambda: UNKNOWN).todo


def test_an_old_verdict_is_no_light(copied: Settings) -> None:
    """A green lamp of last week is how a broken feed goes unnoticed."""
    later = replace(copied, as_of=NOW + timedelta(hours=30))
    assert lights(later).models.colour == "unknown"
    assert lights(later).models.words.en == "no check since 2 Dec 2017: run `propensity monitor run`"
    verdict(copied, findings=[finding("churn_28d", "page", "predictions")])
    assert "then: churn_28d: predictions is off" in lights(later).models.words.en


def test_what_was_published_since_is_not_called_sound(copied: Settings) -> None:
    """Else: a night whose monitoring failed is a green lamp until a day has passed."""
    moment = OnlineRows.open(copied).current().moment
    verdict(copied)
    assert lights(copied).data.colour == "ok"
    path = verdict(copied)
    raw = json.loads(path.read_text("utf-8")) | {"moment": iso(moment - DAY), "at": iso(NOW)}
    write_atomically(path, json.dumps(raw).encode())
    found = lights(copied)
    assert (found.data.colour, found.models.colour) == ("unknown", "unknown")
    assert "what is published by now was not checked" in found.models.words.en


def test_a_verdict_of_a_later_moment_is_not_known_yet(copied: Settings) -> None:
    verdict(copied, at=NOW + DAY, findings=[finding("churn_28d", "page", "predictions")])
    assert lights(copied).models.colour == "ok"


def test_stale_features_show_without_a_run(copied: Settings) -> None:
    assert lights(replace(copied, as_of=NOW + timedelta(days=3))).data.colour == "warning"
    found = lights(replace(copied, as_of=NOW + timedelta(days=20)))
    assert found.data.colour == "page"
    assert "run `propensity ingest`" in found.data.words.en


def test_a_damaged_verdict_is_grey_and_said(copied: Settings) -> None:
    write_atomically(verdict(copied), b"{")
    found = lights(copied)
    assert (found.models.colour, "cannot be read" in found.models.words.en) == ("unknown", True)


def test_a_block_that_cannot_be_told_takes_no_other_with_it(copied: Settings) -> None:
    """One damaged file must not cost the whole morning."""
    write_atomically(copied.home / "pauses.json", b"{")
    today = gathered(copied)
    why = [block.sheet.empty.en for block in today.blocks if "pauses.json" in block.sheet.empty.en]
    assert len(why) == 1
    assert len(table(today, "at_risk")) == 1 + 3


def test_an_empty_home_has_a_page_that_says_what_to_do(home: Settings, tmp_path: Path) -> None:
    """The first morning of a shop."""
    done = run(home, "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert "Whether data and models hold" not in done.output, "nothing is published: that is known"
    text = (tmp_path / "out" / "today.html").read_text("utf-8")
    for command in ("propensity ingest", "propensity features build", "propensity train churn_28d",
                    "propensity monitor run", "propensity train segmentation"):  # fmt: skip
        assert command in text, command


def test_the_command_writes_the_same_again_and_replaces_what_is_of_another_day(
    world: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write_atomically(out / "stages1.csv", b"of yesterday")
    write_atomically(out / "mine.txt", b"mine")
    done = run(world, "--out", str(out))
    assert done.exit_code == 0, done.output
    assert "1 decision handed over to a person" in done.output
    assert "usual Friday: 1" in done.output
    assert not (out / "stages1.csv").exists()
    assert (out / "mine.txt").exists()
    assert oct((out / "at_risk.csv").stat().st_mode)[-3:] == "600", "it names customers"
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert run(world, "--out", str(out), "--lang", "en").exit_code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_a_dry_run_tells_and_writes_nothing(world: Settings, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in world.home.rglob("*.json")}
    done = run(world, "--out", str(tmp_path / "out"), "--dry-run", "--lang", "zh")
    assert done.exit_code == 0, done.output
    assert "1项决策转人工" in done.output
    assert not (tmp_path / "out").exists()
    assert {path: path.stat().st_mtime_ns for path in world.home.rglob("*.json")} == before


def test_a_cell_that_a_spreadsheet_would_run_is_text() -> None:
    from monitoring.today.page import _harmless

    harmful, plain = ("=1+1", "@SUM(A1)", "+86 138"), ("-4.2", "+12", "-0.50 (-50%)", "-7.7 pp", "c-1")
    assert [_harmless(cell) for cell in harmful] == [f"'{cell}" for cell in harmful]
    assert [_harmless(cell) for cell in plain] == list(plain)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_browser_shows_it_on_a_phone_and_on_a_desk(world: Settings, tmp_path: Path, language: str) -> None:
    """A page that must be scrolled sideways, or is blank, is not read at seven in the morning."""
    chromium()
    assert run(world, "--out", str(tmp_path / "out"), "--lang", language).exit_code == 0
    page = tmp_path / "out" / "today.html"
    assert not re.search(r"<b>late</b>", page.read_text("utf-8")), "a reason of a case is text"
    for width in (320, PHONE, DESKTOP):
        seen = look(page, width, tmp_path / "scratch")
        assert seen.width == width
        assert not seen.overflows, (width, seen.reach)
        assert seen.asked == 0
        assert seen.ink > 0.05
        assert seen.colours > 100


def test_an_empty_page_and_a_wide_one_are_told_from_a_good_one(tmp_path: Path) -> None:
    """Else the test above passes whatever is shown."""
    chromium()
    head = "<!doctype html><html><head><meta charset=utf-8></head><body>"
    (tmp_path / "blank.html").write_text(f"{head}</body></html>", "utf-8")
    (tmp_path / "wide.html").write_text(f"{head}<p style='width:900px'>wide</p></body></html>", "utf-8")
    blank, wide = (look(tmp_path / f"{name}.html", PHONE, tmp_path) for name in ("blank", "wide"))
    assert (blank.ink, blank.colours) == (0, 1)
    assert wide.overflows
    assert not blank.overflows


def test_the_holdout_is_looked_at_once_a_window(tmp_path: Path) -> None:
    """A page of every day that counted as a look each would widen the intervals until nothing is proven."""
    from mornings import write_home_log

    from propensity.held_out import _looks, matured

    settings = morning(tmp_path)
    people = [
        {"customer_id": f"h{n:04}", "at": NOW - 300 * DAY, "known_at": NOW - 300 * DAY} for n in range(2000)
    ]
    orders = [
        {"order_id": f"o{n}", "customer_id": f"h{n:04}", "at": NOW - (n % 300 + 1) * DAY, "amount": 10,
         "known_at": NOW - (n % 300 + 1) * DAY, "channel": "store", "discount": 0}
        for n in range(2000)
    ]  # fmt: skip
    write_home_log(settings, {"customers": people, "orders": orders}, NOW)
    decide(settings, NOW - 330 * DAY)
    days = [replace(settings, as_of=NOW - n * DAY) for n in range(3)]
    found = [matured(one) for one in days]
    assert all(one.found is not None for one in found)
    ends = {one.found.until for one in found if one.found}
    assert len(ends) == 1
    assert ends.pop() <= NOW - 7 * DAY, "until then an outcome may still be told"
    assert [len(of) for of in _looks(settings).values()] == [1]
    earlier = matured(replace(settings, as_of=NOW - 28 * DAY), remember=False)
    assert earlier.found is not None
    assert earlier.found.look == 2
    assert [len(of) for of in _looks(settings).values()] == [1]
    young = matured(replace(settings, as_of=NOW - 320 * DAY))
    assert young.found is None
    assert "The first window of 28 days" in young.headline.en


def test_the_holdout_is_judged_from_the_first_decision_on(tmp_path: Path) -> None:
    """Else a newsletter of before the launch makes the groups incomparable for weeks after it: nothing is
    claimed, though nobody who is held out was contacted since."""
    from mornings import write_home_log

    from propensity.held_out import evaluate_holdout, matured

    settings = morning(tmp_path)
    launch = NOW - 36 * DAY + timedelta(hours=10)
    before = launch - timedelta(hours=3)
    people = [
        {"customer_id": f"h{n:04}", "at": NOW - 300 * DAY, "known_at": NOW - 300 * DAY} for n in range(2000)
    ]
    orders = [
        {"order_id": f"o{n}", "customer_id": f"h{n:04}", "at": NOW - (n % 60 + 1) * DAY, "amount": 10,
         "known_at": NOW - (n % 60 + 1) * DAY, "channel": "store", "discount": 0}
        for n in range(2000)
    ]  # fmt: skip
    letters = [
        {"contact_id": f"n{n}", "customer_id": f"h{n:04}", "at": before, "known_at": before,
         "action": "newsletter", "channel": "email"}
        for n in range(2000)
    ]  # fmt: skip
    write_home_log(settings, {"customers": people, "orders": orders, "contacts": letters}, NOW)
    shutil.rmtree(settings.home / "ledger")
    none = matured(settings)
    assert none.found is None
    assert "Nothing was decided yet" in none.headline.en
    assert "35 days after it at the earliest" in none.headline.en, "28 of the window, 7 for reports"
    assert "35天" in none.headline.zh
    decide(settings, launch)
    soon = matured(replace(settings, as_of=NOW - 10 * DAY))
    assert soon.found is None
    first, final = (day(at.date()).en for at in (launch, launch + 35 * DAY))
    assert f"since {first} is final on {final}" in soon.headline.en
    over = matured(settings)
    assert over.found is not None
    assert over.found.since == launch
    assert not over.found.warnings
    assert "cannot be compared" not in over.headline.en
    said = tmp_path / "holdout.html"
    assert evaluate_holdout(settings, launch - timedelta(days=1), None, "en", said) == 3, "as asked for"
    assert f"Ask with --since {iso(launch)}" in said.read_text("utf-8")
    assert evaluate_holdout(settings, launch, None, "en", said) == 0
    assert "Ask with --since" not in said.read_text("utf-8")


def decide(settings: Settings, at: datetime) -> None:
    """The first decision of a home."""
    from mornings import entry

    with closing(Ledger(settings)) as ledger, ledger.deciding():
        ledger.append(entry("first", None, "automatic", at), b"{}")
