"""Every code that the service may say is in its document: a journey branches on codes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import serving
from features import errors
from features.inbox import Outcome
from serving import codes
from serving.openapi import OPERATIONS, PROBLEMS, document
from serving.problems import _STATUS, TITLES

SOURCES = sorted(Path(serving.__file__).parent.glob("*.py"))


def said(pattern: str) -> Iterator[tuple[str, ...]]:
    """What the code of the service says, by a pattern."""
    for path in SOURCES:
        for found in re.finditer(pattern, path.read_text("utf-8")):
            yield found.groups()


def test_every_problem_is_documented_with_its_status() -> None:
    """Else a journey treats as a fault what it could have handled."""
    problems = {(int(status), code) for status, code in said(r"\bProblem\(\s*(\d{3}),\s*\"(\w+)\"")}
    problems |= {(429, code) for (code,) in said(r"\brefusal\(\s*\"(\w+)\"")}
    problems |= {(status, kind.code) for kind, status in _STATUS}
    assert len(problems) > 30
    for status, code in sorted(problems):
        assert code in codes.OF_PROBLEMS[status], (status, code)
    assert TITLES.keys() - {"no_order"} == codes.STATUS.keys()
    assert codes.OF_PROBLEMS.keys() - PROBLEMS.keys() == {405}, "of a method that no operation has"


def test_every_failure_of_one_among_many_is_documented() -> None:
    """Else an entry that has no answer is told from none that has another cause."""
    known = {"": codes.OF_FAILURES, "Event": codes.OF_EVENTS, "Report": codes.OF_REPORTS}
    schemas = document()["components"]["schemas"]
    for kind, listed in known.items():
        found = {code for (code,) in said(rf"(?<!\w){kind}Failure\(\s*\"(\w+)\"")}
        assert found
        assert found <= set(listed)
        assert schemas[f"{kind}Failure"]["properties"]["code"]["x-extensible-enum"] == list(listed)


def test_every_code_that_the_ledger_answers_of_a_report_is_listed() -> None:
    """Else a journey meets one that its list of them does not have, and treats it as a fault."""
    source = (Path(serving.__file__).parent / "ledger_reports.py").read_text("utf-8")
    answered = {name for name in re.findall(r"return ([A-Z]\w+)\(", source) if issubclass_of(name)}
    assert answered == {"UnknownDecision", "CustomerErased", "ReportConflict", "IdempotencyConflict"}
    assert answered <= {kind.__name__ for kind in codes.REPORT_REFUSED}
    assert {getattr(errors, name).code for name in answered} <= set(codes.OF_REPORTS)


def test_every_code_that_the_inbox_answers_of_an_event_is_listed() -> None:
    """The same, of events."""
    assert {*get_args(Outcome)} - {"accepted", "duplicate"} <= {*codes.OF_EVENTS}


def issubclass_of(name: str) -> bool:
    kind = getattr(errors, name, None)
    return kind is not None and issubclass(kind, errors.DecisionError)


def test_every_operation_says_which_of_its_problems_are_which() -> None:
    """409 of a decision is a used key, or a customer who is not due: a caller acts otherwise on each."""
    paths = document()["paths"]
    responses = paths["/v1/decisions"]["post"]["responses"]
    assert responses["409"]["x-problem-codes"] == ["idempotency_conflict", "not_due"]
    assert responses["404"]["x-problem-codes"] == ["unknown_customer"]
    for path, method in OPERATIONS:
        for status, answer in paths[path][method]["responses"].items():
            if int(status) >= 400:
                assert answer["x-problem-codes"], (path, method, status)
                assert all(f"`{code}`" in answer["description"] for code in answer["x-problem-codes"])
