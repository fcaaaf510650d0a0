"""A decision is taken again from its record: the same to the bit, or it is said what differs."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace as replace_struct
from test_decisions import FEATURES, Publish, decided, policy, publish, settings  # noqa: F401
from tiny import TINY_MOMENT

from features.errors import (
    DecisionError,
)
from features.moments import DAY, parse_moment
from features.settings import Settings
from propensity import main
from serving.api import DecisionRequest
from serving.ledger import Entry, Ledger
from serving.replays import Replay, replay
from serving.sealing import Sealed


def test_a_decision_is_replayed_from_its_record(
    settings: Settings, publish: Publish, tiny_release: Any
) -> None:
    """Years later, whatever is published, released or written in shop.toml by then."""
    policy(settings, explore="1.0")
    publish()
    tiny_release()
    taken = [decided(settings, f"c{j:04}") for j in range(5)]
    tiny_release(version="2", seed=1)
    publish(moment=TINY_MOMENT + 7 * DAY, order_value_365d=1)
    policy(settings, max_contacts="0", margin_rate="0.9", explore="0.0")
    for answer in taken:
        assert answer.decision_id is not None
        assert replay(settings, answer.decision_id) == Replay(answer.decision_id, "equal", [])
    with closing(Ledger(settings)) as ledger:
        assert ledger.releases_named() == {("churn_28d", "1")}
        entry = ledger.read(taken[0].decision_id or "")
        assert entry.action == taken[0].action
        assert entry.build.endswith("@20171203T000000Z")
        assert entry.sealed is not None
        assert len(entry.sealed.row) == 4 * len(FEATURES)


def test_a_replay_says_what_differs(
    settings: Settings, publish: Publish, tiny_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of the arithmetic, or a release that is gone, must not pass as the same decision."""
    publish()
    tiny_release()
    id = decided(settings).decision_id or ""
    with monkeypatch.context() as changed:
        changed.setattr("serving.answers.ORDER_VALUE", "order_value_90d")
        found = replay(settings, id)
    assert found.verdict == "differs"
    assert any(line.startswith("$.used.order_value: recorded 80.0") for line in found.differences)
    shutil.rmtree(settings.home / "releases" / "churn_28d" / "1")
    gone = replay(settings, id)
    assert gone.verdict == "differs"
    assert len(gone.differences) == 1
    assert "churn_28d 1 is not released" in gone.differences[0]
    with pytest.raises(DecisionError, match="no such decision"):
        replay(settings, "nowhere")


def test_the_command_says_equal_differs_or_erased(settings: Settings, publish: Publish) -> None:
    """An auditor asks from a terminal; a nightly job looks at the exit code."""
    publish()
    taken = decided(settings).decision_id or ""
    env = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, ["replay", *arguments], env=env)
        return result.exit_code, result.output.strip()

    assert run(taken) == (0, f"{taken}: equal")
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr("serving.answers.ORDER_VALUE", "order_value_90d")
        code, said = run(taken, "--json")
    assert (code, json.loads(said)["verdict"]) == (3, "differs")
    with closing(Ledger(settings)) as ledger:
        ledger.erase(["c0001"])
    assert run(taken) == (0, f"{taken}: erased")
    assert run("nowhere")[0] == 1


def test_after_erasure_a_decision_is_not_replayed_but_says_so(settings: Settings, publish: Publish) -> None:
    publish()
    id = decided(settings, key="k").decision_id or ""
    with closing(Ledger(settings)) as ledger:
        ledger.erase(["c0001"])
    assert replay(settings, id) == Replay(id, "erased", [])
    with pytest.raises(DecisionError, match="erased"):
        decided(settings, key="k")


def test_a_draw_from_one_choice_was_once_called_explored_and_is_no_forgery(
    settings: Settings, publish: Publish
) -> None:
    """Else every such decision of the years before differs from its record, and a real difference is lost."""
    policy(settings, explore="1.0")
    publish(contacts_30d=9)
    id = decided(settings, key="k").decision_id or ""
    with closing(Ledger(settings)) as ledger:
        entry = ledger.read(id)
        assert entry.sealed is not None
        said = msgspec.json.decode(entry.sealed.answer) | {"decision_id": "old", "explore": True}
        sealed = replace_struct(entry.sealed, answer=msgspec.json.encode(said))
        old = replace_struct(entry, id="old", idempotency_key="old", explored=True, sealed=sealed)
        with ledger.deciding():
            ledger.append(old, b"{}")
    assert replay(settings, "old").verdict == "equal"


@pytest.mark.parametrize("place", [0, 1])
def test_a_record_from_before_there_were_send_times_is_answered_and_replayed(
    settings: Settings, place: int
) -> None:
    """Version 1 only adds: an upgrade must not turn repeats into errors and old decisions into forgeries.

    The records are those of an older program: one contact decided before, and one of another system.
    """
    record = json.loads(Path(__file__).with_name("old_records.json").read_text("utf-8"))[place]
    answer, inputs = record["answer"], record["inputs"]
    assert (inputs["contacts_decided"], inputs["standing"]["contacts"]) == ((2, 0), (0, 1))[place]
    request = DecisionRequest(inputs["customer_id"], scenario=inputs["scenario"])
    entry = Entry(
        id=answer["decision_id"],
        client="tests",
        idempotency_key="k",
        as_of=parse_moment(answer["as_of"]),
        action=answer["action"],
        channel=answer["channel"],
        propensity=answer["propensity"],
        explored=False,
        holdout=False,
        reserves=answer["action"] != "nothing",
        policy=answer["policy"],
        context=msgspec.json.encode(record["rules"]),
        features=msgspec.json.encode(record["features"]),
        build="of then",
        releases=(),
        seed=inputs["seed"],
        sealed=Sealed(
            customer_id=inputs["customer_id"],
            row=bytes.fromhex(record["row"]),
            inputs=msgspec.json.encode(inputs),
            answer=msgspec.json.encode(answer),
        ),
    )
    with closing(Ledger(settings)) as ledger, ledger.deciding():
        ledger.append(entry, msgspec.json.encode(request, order="deterministic"))
    assert replay(settings, entry.id) == Replay(entry.id, "equal", [])
    again = decided(settings, inputs["customer_id"], key="k", scenario=inputs["scenario"])
    assert (again.action, again.send_at) == (answer["action"], None)
