"""Scores by BentoML's own typed endpoint (`PROPENSITY_SCORES=bentoml`): the same answers, by the usual way.

For whoever runs BentoML with tools of their own around its endpoints, and as the yardstick for ours, which is
several times faster. Keys, limits, checks of the body and problem documents stay in front of it: BentoML
answers a body that does not fit with 400 and logs what was sent.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from features.errors import PropensityError
from serving.api import ScoreRequest
from serving.incoming import Message, Receive, Scope
from serving.outgoing import Answer
from serving.problems import Problem
from serving.scores import Scorer

_failed: dict[str, Exception] = {}  # request id -> what its `ask` has to raise

App = Callable[[Scope, Receive, Callable[[Message], Awaitable[None]]], Awaitable[None]]


async def ask(behind: App, scope: Scope, sent: bytes, request_id: str) -> tuple[Answer, Counter[str]]:
    """What BentoML's endpoint answers to a body that fits, and how its customers fared.

    Raises what `Scorer.answer` does; Problem 500 for anything else."""
    got: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": sent}

    async def keep(message: Message) -> None:
        got.append(message)

    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(sent)).encode()),
        (b"x-request-id", request_id.encode()),
    ]
    await behind({**scope, "headers": headers}, receive, keep)
    encoded = b"".join(message.get("body", b"") for message in got)
    if failed := _failed.pop(request_id, None):
        raise failed
    if got[0]["status"] != 200:
        raise Problem(500, "internal", f"request {request_id} failed; the log names where")
    results = msgspec.json.decode(encoded)["results"]
    return Answer(200, encoded), Counter(r["error"]["code"] if "error" in r else "scored" for r in results)


def answer(scorer: Scorer, sent: dict[str, Any], request_id: str) -> dict[str, Any]:
    """What the endpoint gives BentoML to encode. What cannot be answered is raised where `ask` waits: BentoML
    would log it as a failure of its own, with all that was sent."""
    try:
        built: dict[str, Any] = msgspec.to_builtins(
            scorer.answer(msgspec.convert(sent, ScoreRequest), request_id)
        )
    except (Problem, PropensityError) as error:
        _failed[request_id] = error
        return {"results": []}
    return built
