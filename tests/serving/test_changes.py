"""`GET /v1/changes`: a caller who pages through it knows what a full listing would say, and nothing twice."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import KEY, Running, release, running
from two_days import CAME, CHANGED, FIRST, PEOPLE, SECOND, WENT, publish, score, two_days

from features.compute.builds import Build
from features.errors import NoBuild
from features.ingestion import erasure
from features.settings import Settings
from features.tombstones import Tombstones
from propensity.nightly import export
from serving import erasures, score_store
from serving.changes import Change, Changes, ChangesAnswer
from serving.client import Client, ProblemError
from serving.problems import Problem
from serving.scores import Scorer


@pytest.fixture
def home(tmp_path: Path) -> tuple[Settings, Build, Changes]:
    settings, build = two_days(tmp_path)
    publish(settings, build, FIRST)
    return settings, build, Changes(Scorer(settings))


def told(
    changes: Changes,
    since: str | None = None,
    limit: int = 70,
    of: list[str] | None = None,
    between: Callable[[], object] = lambda: None,
) -> tuple[list[Change], ChangesAnswer, list[bool]]:
    """All pages from a cursor on, the last of them, and which say `reset`. between: done after the first."""
    found, resets = list[Change](), []
    while True:
        answer = changes.page(since, limit, of, "0" * 32)
        found += answer.changes
        resets.append(answer.reset)
        if not answer.more:
            return found, answer, resets
        since = answer.cursor
        between()
        between = int


def state(of: list[Change]) -> dict[str, Change]:
    assert len({one.customer_id for one in of}) == len(of), "nobody is told twice"
    return {one.customer_id: one for one in of}


def bare(one: Change) -> tuple[Any, ...]:
    """What is compared, without what differed."""
    return (
        [score.probability for score in one.scores],
        one.value,
        one.tier,
        one.quadrant,
        one.stage,
        one.churn_reason,
    )


def test_whoever_pages_knows_what_everyone_is_told_and_nothing_twice(
    home: tuple[Settings, Build, Changes],
) -> None:
    """Else a customer falls between two pages, and her journey never starts."""
    settings, build, changes = home
    everyone, last, resets = told(changes)
    assert (list(state(everyone)), resets) == (PEOPLE, [True, False, False, False, False])
    assert told(changes, last.cursor) == ([], changes.page(last.cursor, 70, None, "0" * 32), [False])
    publish(settings, build, SECOND)
    more, then, resets = told(changes, last.cursor, limit=3)
    assert not any(resets)
    assert [one.customer_id for one in more] == sorted(one.customer_id for one in more)
    by_id = state(more)
    assert {*CHANGED, CAME, WENT} <= by_id.keys()
    assert by_id[WENT] == Change(WENT, True, [], [], None, None, None, None, None)
    known = state(everyone) | by_id
    del known[WENT]
    fresh = state(told(changes)[0])
    assert {id: bare(one) for id, one in known.items()} == {id: bare(one) for id, one in fresh.items()}
    for id, one in by_id.items():
        before = state(everyone).get(id)
        if before is not None and not one.gone:
            differs = [n for n in ("tier", "quadrant", "stage") if getattr(one, n) != getattr(before, n)]
            differs += ["churn_28d"] * (one.scores[0].probability != before.scores[0].probability)
            assert {*one.changed} - {"churn_reason"} == {*differs}
            assert one.changed
    assert told(changes, then.cursor)[0] == []


def test_a_listing_stays_one_while_its_pages_are_fetched(home: tuple[Settings, Build, Changes]) -> None:
    """Else what is published between two pages mixes two days, and whoever changed in between is missed."""
    settings, build, changes = home
    everyone, last, _ = told(changes, between=lambda: publish(settings, build, SECOND))
    assert list(state(everyone)) == PEOPLE
    assert last.moment == "2017-12-02T00:00:00Z"
    more, _, _ = told(changes, last.cursor)
    assert {*CHANGED, CAME, WENT} <= state(more).keys()


def test_a_promotion_is_a_change_and_only_of_what_it_changes(
    home: tuple[Settings, Build, Changes], tmp_path: Path
) -> None:
    settings, build, changes = home
    last = told(changes)[1]
    release(settings, tmp_path, build, "churn_28d", "2", seed=5)
    score(settings, build, FIRST)
    more = told(changes, last.cursor)[0]
    assert more
    assert {tuple(one.changed) for one in more} == {("churn_28d",)}
    assert {one.scores[0].model_version for one in more} == {"2"}


def test_who_compares_stages_alone_hears_of_nothing_else(home: tuple[Settings, Build, Changes]) -> None:
    settings, build, changes = home
    before = state(told(changes)[0])
    last = told(changes, of=["stage"])[1]
    publish(settings, build, SECOND)
    more = [one for one in told(changes, last.cursor)[0] if not one.gone and one.customer_id != CAME]
    after = {one.customer_id: one for one in told(changes)[0]}
    moved = [id for id in before if id in after and after[id].stage != before[id].stage]
    assert [one.customer_id for one in more] == moved
    assert {tuple(one.changed) for one in more} <= {("stage",)}
    with pytest.raises(Problem, match=r"\$\.query\.of"):
        changes.page(last.cursor, 10, ["tier"], "0" * 32)
    with pytest.raises(Problem, match="expected names among churn_28d, tier, quadrant, stage, churn_reason"):
        changes.page(None, 10, ["dreams"], "0" * 32)


def test_a_cursor_that_is_too_old_is_said_to_be_and_everyone_is_told_anew(
    home: tuple[Settings, Build, Changes],
) -> None:
    """Else a caller goes on from where nobody knows any more, and believes to know everything."""
    settings, build, changes = home
    first = changes.page(None, 70, None, "0" * 32)
    last = told(changes)[1]
    publish(settings, build, SECOND)
    score_store.path(settings, "churn_28d", "1", FIRST).unlink()
    after = [id for id in PEOPLE if id != WENT] + [CAME]
    for cursor in (last.cursor, first.cursor):  # also in the middle of its pages
        everyone, _, resets = told(changes, cursor)
        assert (list(state(everyone)), resets[0]) == (after, True)
        assert not any(resets[1:])
    score_store.path(settings, "churn_28d", "1", SECOND).unlink()
    score_store.path(settings, "segmentation", "1", SECOND).unlink()
    with pytest.raises(NoBuild, match="nobody was scored"):
        changes.page(None, 10, None, "0" * 32)


def test_who_is_erased_between_two_pages_is_on_neither(home: tuple[Settings, Build, Changes]) -> None:
    settings, _, changes = home
    gone = PEOPLE[100]

    def erase() -> None:
        Tombstones.of(settings).having({gone}).write()
        erasure.obey(settings, Tombstones.of(settings), lambda *_: None)

    everyone = told(changes, between=erase)[0]
    assert list(state(everyone)) == [id for id in PEOPLE if id != gone]


def test_who_asked_to_be_erased_is_told_of_no_more_though_it_is_not_done_yet(
    home: tuple[Settings, Build, Changes], tmp_path: Path
) -> None:
    """Else a copy of her leaves the house minutes after she was told that she will be forgotten."""
    settings, _, changes = home
    gone = PEOPLE[100]
    everyone = told(changes, between=lambda: erasures.ask(settings, gone, "crm", "0" * 32))[0]
    assert list(state(everyone)) == [id for id in PEOPLE if id != gone]
    assert gone not in state(told(changes)[0])
    done = export(settings, tmp_path / "out", "full")
    parts = [pq.read_table(part, columns=["customer_id"]) for part in done.path.glob("part-*")]
    assert gone not in pa.concat_tables(parts)["customer_id"].to_pylist()


def test_whoever_keeps_a_copy_is_told_that_somebody_was_erased(home: tuple[Settings, Build, Changes]) -> None:
    """Else a caller's copy holds for ever who has a right to be forgotten."""
    settings, _, changes = home
    copy, last, _ = told(changes)
    assert not last.erased
    Tombstones.of(settings).having({PEOPLE[7]}).write()
    erasure.obey(settings, Tombstones.of(settings), lambda *_: None)
    for _ in range(2):  # whose answer was lost is told again
        answer = changes.page(last.cursor, 70, None, "0" * 32)
        assert (answer.erased, answer.changes, answer.reset) == (True, [], False), "and no journey is begun"
    assert not changes.page(answer.cursor, 70, None, "0" * 32).erased, "once"
    everyone, last, _ = told(changes)
    assert state(copy).keys() - state(everyone).keys() == {PEOPLE[7]}
    assert not last.erased

    first = changes.page(None, 70, None, "0" * 32)
    Tombstones.of(settings).having({PEOPLE[8]}).write()
    assert changes.page(first.cursor, 70, None, "0" * 32).erased, "the first page has named whoever went then"


def test_a_cursor_of_a_version_before_is_read_and_told_of_whoever_was_erased(
    home: tuple[Settings, Build, Changes],
) -> None:
    """Else an upgrade costs every caller a listing of everyone, or hides an erasure before it."""
    settings, _, changes = home
    raw = msgspec.json.decode(base64.urlsafe_b64decode(told(changes)[1].cursor + "=="))
    before = base64.urlsafe_b64encode(msgspec.json.encode(raw[:5])).rstrip(b"=").decode()
    answer = changes.page(before, 70, None, "0" * 32)
    assert (answer.changes, answer.reset, answer.erased) == ([], False, False)
    Tombstones.of(settings).having({PEOPLE[7]}).write()
    assert changes.page(before, 70, None, "0" * 32).erased


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings, build = two_days(tmp_path_factory.mktemp("changes"))
    publish(settings, build, SECOND)
    with running(settings, watched=True) as service:
        yield service


def forged(at: str) -> str:
    """A query of a cursor that names what was told at that time."""
    cursor = msgspec.json.encode([1, None, [at, {"churn_28d": "1"}], None, None, ""])
    return f"since={base64.urlsafe_b64encode(cursor).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    "query",
    ["since=x", "since=" + "A" * 400, "limit=0", "limit=10001", "limit=1e3", "of=", "of=dreams", "more=1",
     forged("0001-01-01T00:00:00+14:00"), forged("9999-12-31T23:59:59-14:00"),
     "since=WzEsbnVsbCxbIjIwMTctMTItMDIiLHsiLi4vLi4vYSI6IjEifV0sbnVsbCxudWxsXQ"],
)  # fmt: skip
def test_what_is_no_question_is_refused_in_words(service: Running, query: str) -> None:
    """The last is a cursor that names a file elsewhere."""
    answer = service.client.get(f"/v1/changes?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_the_client_pages_through(service: Running) -> None:
    with Client(str(service.client.base_url), KEY) as client:
        found, since, more = list[str](), None, True
        while more:
            answer = client.changes(since, limit=100, of=["stage", "churn_28d"])
            found += [one.customer_id for one in answer.changes]
            since, more = answer.cursor, answer.more
        assert found == sorted({*PEOPLE, CAME} - {WENT})
        with pytest.raises(ProblemError, match="422 invalid_request"):
            client.changes("not one of ours")
