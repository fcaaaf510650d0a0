"""Answers for the errors of ours, and bodies that hypothesis makes up."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import errors
from features.errors import PropensityError, UsageError
from features.settings import Settings
from serving.api import MAX_CUSTOMERS
from serving.bodies import DECISIONS, SCORES, Body
from serving.problems import TITLES, Problem, encode, problem_of

EVERY_ERROR = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, PropensityError)]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
)
customers = st.text(min_size=1, max_size=256) | st.fixed_dictionaries(
    {"source": st.text(min_size=1, max_size=64), "id": st.text(min_size=1, max_size=256)}
)


def status(route: Body[Any], body: bytes) -> int:
    """200 if the body is taken."""
    try:
        route.decode(body)
    except Problem as problem:
        return problem.status
    return 200


@pytest.mark.parametrize("error", EVERY_ERROR)
def test_every_error_of_ours_is_a_whole_problem_that_hides_our_paths(error: type[PropensityError]) -> None:
    """An operator's paths in an answer are a gift to an attacker; a caller needs the stable code."""
    settings = Settings(home=Path("/srv/home"), shop=Path("/srv/shop"))
    problem = problem_of(error("/srv/home/x and /srv/shop/shop.toml are broken: run it again"), settings)
    assert problem.status in (404, 409, 410, 422, 500, 503)
    request_id = uuid.UUID(int=7).hex
    document = json.loads(problem.document(request_id))
    assert document["status"] == problem.status
    assert document["code"] == ("invalid_request" if error is UsageError else error.code)
    assert document["request_id"] == request_id
    assert "/srv" not in document["detail"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UnknownCustomer, 404),
        (errors.IdempotencyConflict, 409),
        (errors.FeaturesExpired, 503),
        (errors.FeatureMismatch, 503),
        (errors.NoBuild, 503),
        (errors.ReleaseCorrupt, 503),
        (errors.ReleaseError, 503),
        (errors.DecisionError, 503),
    ],
)
def test_callers_can_tell_ask_again_later_from_ask_differently(
    error: type[PropensityError], status: int
) -> None:
    problem = problem_of(error("why"), Settings())
    assert problem.status == status
    assert problem.code in TITLES or error is errors.DecisionError


@given(anything)
def test_whatever_json_comes_is_taken_or_is_a_problem_of_the_caller(body: object) -> None:
    """An error that is not a problem would be a 500 for a caller's mistake."""
    assert {status(SCORES, encode(body)), status(DECISIONS, encode(body))} <= {200, 422}


@given(st.binary(max_size=200))
def test_whatever_bytes_come_are_taken_or_are_a_problem_of_the_caller(body: bytes) -> None:
    assert {status(SCORES, body), status(DECISIONS, body)} <= {200, 400, 422}


@given(st.lists(customers, min_size=1, max_size=20))
def test_every_list_of_customers_that_the_api_promises_is_taken(ids: list[object]) -> None:
    request = SCORES.decode(json.dumps({"customers": ids}).encode())
    assert len(request.customers) == len(ids)
    assert request.reasons == 3


def test_the_longest_list_is_taken_and_one_more_is_not() -> None:
    SCORES.decode(encode({"customers": ["c"] * MAX_CUSTOMERS}))
    with pytest.raises(Problem, match=r"\$\.customers: .* 1000 entries or fewer"):
        SCORES.decode(encode({"customers": ["c"] * (MAX_CUSTOMERS + 1)}))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_probability_reads_back_to_the_same_bits(number: float) -> None:
    assert json.loads(encode(number)) == number


BY_MISTAKE = "13800001111"


@pytest.mark.parametrize("of", ["customers", "customer"])
def test_a_field_that_is_not_known_is_refused_without_repeating_its_name(of: str) -> None:
    """Whatever a caller puts there by mistake would stand in every log of the error."""
    body = json.dumps({of: ["a"] if of == "customers" else "a", BY_MISTAKE: 1}).encode()
    with pytest.raises(Problem) as refused:
        (SCORES if of == "customers" else DECISIONS).decode(body)
    assert BY_MISTAKE.encode() not in refused.value.document(uuid.uuid4().hex)
    assert refused.value.errors is not None
    assert refused.value.errors[0].path == "$"
    assert f"expected only the fields {of}, " in refused.value.detail


def test_a_field_that_is_not_known_of_an_identity_is_placed() -> None:
    """A list has up to 1,000 of them: the caller must learn which."""
    with pytest.raises(Problem) as refused:
        SCORES.decode(json.dumps({"customers": ["a", {"source": "crm", "id": "7", BY_MISTAKE: 1}]}).encode())
    assert refused.value.detail == "$.customers[1]: expected only the fields source, id"


@pytest.mark.parametrize("name", [f"x` - at `$.{BY_MISTAKE}", f"` - at `{BY_MISTAKE}", f"{BY_MISTAKE}`"])
def test_the_name_of_an_unknown_field_cannot_pose_as_a_place(name: str) -> None:
    for body in ({"customer": "a", name: 1}, {"customer": {"source": "crm", "id": "7", name: 1}}):
        with pytest.raises(Problem) as refused:
            DECISIONS.decode(json.dumps(body).encode())
        assert BY_MISTAKE.encode() not in refused.value.document(uuid.uuid4().hex)
