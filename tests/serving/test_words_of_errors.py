"""What does not fit is said in JSON's words, with its place, and never by repeating what was sent."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from running import settings_of

from features.moments import iso
from serving.api import DecisionRequest, ScoreRequest
from serving.bodies import Body
from serving.incoming import customer_of
from serving.jobs import JobRequest
from serving.problems import Problem, encode
from serving.reports import ReportRefused, take_deliveries, take_outcomes


@pytest.mark.parametrize(
    ("type", "body", "path", "expected"),
    [
        (JobRequest, b'{"kind": "SECRET"}', "$.kind", "expected scores"),
        (JobRequest, b"{}", "$", "expected the field kind: it is required"),
        (JobRequest, b"[]", "$", "expected an object, got a list"),
        (ScoreRequest, b'{"customers": []}', "$.customers", "expected a list of 1 entries or more"),
        (
            ScoreRequest, b'{"customers": ["a"], "reasons": 11}', "$.reasons",
            "expected a whole number of 10 or less",
        ),
        (
            ScoreRequest, b'{"customers": ["a"], "exact": 1}', "$.exact",
            "expected true or false, got a whole number",
        ),
        (DecisionRequest, b'{"customer": 1}', "$.customer", "expected text or an object, got a whole number"),
        (
            DecisionRequest, b'{"customer": "a", "context": {"SECRET": {"SECRET": 1}}}', "$.context",
            "of each of its fields expected true or false, a whole number, a number, text or null, "
            "got an object",
        ),
    ],
)  # fmt: skip
def test_a_body_that_does_not_fit_is_told_what_would(
    type: Any, body: bytes, path: str, expected: str
) -> None:
    """Else whoever builds a journey guesses, or reads the names that Python has for it."""
    with pytest.raises(Problem) as refused:
        Body(type).decode(body)
    assert [(one.path, one.detail) for one in refused.value.errors or ()] == [(path, expected)]
    assert "SECRET" not in refused.value.detail


@pytest.mark.parametrize(
    ("path", "query", "place"),
    [
        ("/v1/customers/" + "a" * 257, b"", "$.path.id"),
        ("/v1/customers/" + "a" * 257, b"source=till", "$.path.id"),
        ("/v1/customers/a", b"source=" + b"t" * 65, "$.query.source"),
    ],
)
def test_what_is_wrong_in_an_address_has_its_place_there(path: str, query: bytes, place: str) -> None:
    """Else a caller looks for it in a body that was never sent."""
    with pytest.raises(Problem) as refused:
        customer_of({"path": path, "raw_path": path.encode(), "query_string": query})
    assert [one.path for one in refused.value.errors or ()] == [place]


def test_a_time_that_cannot_be_right_is_told_which_end_it_passed(tmp_path: Path) -> None:
    """`until now` of a clock that was never set sends its reader to look at the wrong thing."""
    settings = settings_of(tmp_path / "home")
    report = {"source": "s", "id": "1", "decision_id": "d", "status": "sent", "type": "click"}
    late = iso(settings.now() + timedelta(hours=1))
    for take, name, own in (
        (take_deliveries, "deliveries", "status"),
        (take_outcomes, "outcomes", "type"),
    ):
        for at, said in (
            ("1900-01-01T00:00:00Z", "expected a time from 2000-01-01T00:00:00Z on"),
            (late, f"expected a time until now, {iso(settings.now())}"),
            ("yesterday", "expected a time with its offset, such as 2017-12-31T09:30:00+08:00"),
        ):
            sent = {key: report[key] for key in ("source", "id", "decision_id", own)} | {"at": at}
            body = encode({name: [sent]})
            (refused,) = take(body, "0" * 32, settings, lambda *_: []).results
            assert isinstance(refused, ReportRefused)
            assert (refused.error.place, refused.error.detail) == (f"$.{name}[0].at", said)
