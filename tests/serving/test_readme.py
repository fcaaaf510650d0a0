"""What README shows of the API is what the API answers."""

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from logs import ROOT
from running import release, settings_of, small_build
from tiny import TINY_MOMENT

from features import online
from features.inbox import Inbox
from features.moments import parse_moment
from features.settings import Settings
from serving import batch, bodies, problems
from serving.arrivals import take
from serving.scores import Scorer


def shape(value: Any) -> Any:
    """The same with the types of values in their place."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__


def test_the_score_in_readme_has_the_fields_of_a_real_answer(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Who copies the example into a client must not find other names in the answers."""
    readme = (ROOT / "README.md").read_text("utf-8")
    (sent,) = re.findall(r"curl localhost:3000/v1/scores .*?-d '(.*?)'", readme, re.DOTALL)
    (shown,) = [of for of in re.findall(r"```json\n(.*?)```", readme, re.DOTALL) if '"scores"' in of]
    folder = tmp_path_factory.mktemp("readme")
    settings = settings_of(folder / "home")
    build = small_build(settings)
    online.publish(settings, build, TINY_MOMENT)
    batch.score(settings, release(settings, folder, build, "churn_28d"), build, TINY_MOMENT)
    request = bodies.SCORES.decode(sent.replace('"662"', '"c0001"').encode())
    real = json.loads(problems.encode(Scorer(settings).answer(request, "0" * 32)))
    assert json.dumps(shape(json.loads(shown))) == json.dumps(shape(real))


def test_the_events_in_readme_are_accepted(tmp_path: Path) -> None:
    """Who copies an example must not be refused, nor told that a case is something else."""
    readme = (ROOT / "README.md").read_text("utf-8")
    sent = re.findall(r"curl localhost:3000/v1/events .*?-d '(.*?)'", readme, re.DOTALL)
    assert sent
    settings = Settings(home=tmp_path, as_of=parse_moment("2017-12-31"))
    with closing(Inbox(settings)) as inbox:
        for body in sent:
            told = take(body.encode(), "0" * 32, settings, inbox, lambda people: [None] * len(people))
            assert {getattr(one, "status", one) for one in told.results} == {"accepted"}
