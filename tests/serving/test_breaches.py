"""No limit is passed, whatever processes do at the same time: 20,000 decisions before a slow reference."""

import random
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec

from benchmarks.breaches import fast_folder
from benchmarks.breaches_callers import run
from benchmarks.breaches_checks import breaches
from benchmarks.breaches_world import World
from serving.answer_types import DecisionAnswer
from serving.ledger import Ledger
from serving.replays import replay

COUNT = 20_000


def test_no_limit_is_passed_by_processes_that_decide_at_the_same_time() -> None:
    """A shop that breaks its word once in ten thousand messages breaks it every day.

    Consents are withdrawn and pauses made in mid-flight, requests repeated, deliveries reported or never, and
    messages that wait are asked about before they are sent. The world must have been one in which every limit
    had something to hold back.
    """
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        world = World.made(Path(folder), customers=300)
        told = run(world, COUNT, processes=2)
        assert breaches(world, told) == []
        decisions = {event["id"]: event["action"] for event in told if event["what"] == "decision"}
        assert 0.75 * COUNT < len(decisions) < COUNT, "the rest are repeats and previews"
        with closing(Ledger(world.settings)) as ledger:
            assert ledger.damaged() == []
            sealed = [ledger.read(id).sealed for id in list(decisions)[::16]]
        some = [msgspec.json.decode(one.answer, type=DecisionAnswer) for one in sealed if one is not None]
        why = Counter(action.reject_reason for answer in some for action in answer.actions)
        limits = {"paused", "no_consent", "open_complaint", "suppressed", "contact_cap", "budget", "holdout"}
        assert limits <= set(why)
        assert {answer.send_text.en for answer in some if answer.send_text is not None} >= {
            "At once", "After the quiet hours of the customer's day",
        }  # fmt: skip
        for answer in random.Random(0).sample(some, 25):
            assert replay(world.settings, answer.decision_id or "").verdict == "equal"
