"""The API's document: what it says of an answer is what a caller gets."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from serving.api import ROUTES
from serving.events import AnyEvent
from serving.openapi import OPERATIONS, document

DOCUMENT = document()


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Of a schema of the document, with its references."""
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def answer_of(path: str, method: str) -> Draft202012Validator:
    said = DOCUMENT["paths"][path][method]["responses"]["200"]["content"]["application/json"]
    return validator(said["schema"])


def body_of(path: str) -> Draft202012Validator:
    said = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    return validator(said["schema"])


def test_every_route_is_documented_and_nothing_else() -> None:
    """Else: a client that is generated from it lacks a call, or has one that answers 404."""
    served = {(path, method.lower()) for path, methods in ROUTES.items() for method in methods}
    assert set(OPERATIONS) == {(path, method) for path, method in served if method != "head"}
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ({"customers": ["c1", {"source": "till", "id": "1"}]}, True),
        ({"customers": []}, False),
        ({"customers": ["c1"], "reasons": 11}, False),
        ({"customers": ["c1"], "more": 1}, False),
    ],
)
def test_a_body_fits_the_document_as_it_fits_the_service(body: dict[str, Any], fits: bool) -> None:
    assert body_of("/v1/scores").is_valid(body) is fits


def test_events_are_told_by_their_type() -> None:
    visit = {"type": "visit", "source": "web", "id": "1", "customer": "c1", "channel": "web"}
    at = {"at": "2017-12-01T10:00:00Z"}
    assert body_of("/v1/events").is_valid({"events": [visit | at]})
    assert not body_of("/v1/events").is_valid({"events": [visit]})
    assert not body_of("/v1/events").is_valid({"events": [visit | at | {"type": "dream"}]})
    assert {kind.__name__ for kind in AnyEvent.__args__} <= set(DOCUMENT["components"]["schemas"])
