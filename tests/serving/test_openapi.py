"""The API's document: what it says of an answer is what a caller gets."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from features.settings import Settings, clock
from serving import api, arrow, many
from serving.api import ROUTES
from serving.decide import NONE_ELIGIBLE, PRICE, REASONS
from serving.dispatch import Dispatch
from serving.events import AnyEvent
from serving.hooks import TEST, TYPES
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


def event_of(type: str) -> Draft202012Validator:
    """Of what is pushed as that type of event."""
    said = DOCUMENT["webhooks"][type]["post"]["requestBody"]["content"]["application/cloudevents+json"]
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


def test_every_event_that_is_pushed_is_documented() -> None:
    """Else whoever receives one has to guess; tests of pushes hold what is sent against these."""
    assert set(DOCUMENT["webhooks"]) == {*TYPES.values(), TEST}
    event = {
        "specversion": "1.0", "id": "1", "source": "/s", "type": TEST, "time": "2017-12-01T00:00:00Z",
        "sequence": "0" * 20, "datacontenttype": "application/json",
        "data": {"words": {"en": "a", "zh": "b"}},
    }  # fmt: skip
    assert event_of(TEST).is_valid(event)
    assert not event_of(TYPES["warning"]).is_valid(event)
    assert not event_of(TEST).is_valid(event | {"data": {}})


def test_events_are_told_by_their_type() -> None:
    visit = {"type": "visit", "source": "web", "id": "1", "customer": "c1", "channel": "web"}
    at = {"at": "2017-12-01T10:00:00Z"}
    assert body_of("/v1/events").is_valid({"events": [visit | at]})
    assert not body_of("/v1/events").is_valid({"events": [visit]})
    assert not body_of("/v1/events").is_valid({"events": [visit | at | {"type": "dream"}]})
    assert {kind.__name__ for kind in AnyEvent.__args__} <= set(DOCUMENT["components"]["schemas"])


def test_a_caller_needs_nothing_but_the_document() -> None:
    """Else a journey is built on guesses: columns, sizes, reasons, and how a signature is checked."""
    paths, schemas = DOCUMENT["paths"], DOCUMENT["components"]["schemas"]
    for path, method in (("/v1/scores.arrow", "post"), ("/v1/jobs/{id}/result", "get")):
        said = paths[path][method]["description"]
        for column in ("customer_id", "known_at", "stale", "<target>_probability", "<target>_percentile"):
            assert f"`{column}`" in said
        assert all(f"`{status}`" in said for status in (many.SCORED, many.UNKNOWN, many.OUTSIDE))
    sizes = {path: paths[path]["post"]["requestBody"]["x-max-bytes"] for path in ("/v1/events", "/v1/jobs")}
    assert sizes == {"/v1/events": api.MAX_BODY, "/v1/jobs": arrow.MAX_BODY}
    reasons = schemas["ActionAnswer"]["properties"]["reject_reason"]["x-extensible-enum"]
    assert reasons == list(REASONS)
    bound = schemas["Binding"]["properties"]["reject_reason"]["x-extensible-enum"]
    assert {*bound} == {*REASONS, PRICE, NONE_ELIGIBLE}
    assert "7 days" in paths["/v1/decisions"]["post"]["description"]
    kept = "A key is kept as long as its job: once that is over, or deleted, the same key makes another one."
    assert kept in paths["/v1/jobs"]["post"]["description"]
    (signature,) = [
        one["description"]
        for one in DOCUMENT["webhooks"]["com.propensity.customer.due"]["post"]["parameters"]
        if one["name"] == "webhook-signature"
    ]
    assert "`whsec_`" in signature


# What was promised, by name: extend it when the API grows; nothing in it may ever go.
PROMISED = Path(__file__).parent / "v1.json"


def promises(document: dict[str, Any]) -> dict[str, list[str]]:
    """Fields of every answer and request, `!` after those that must be there, and of which type, with what
    values; statuses of every route, and its parameters."""
    found = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            route = f"{method.upper()} {path}"
            found[route] = sorted(operation["responses"])
            for of in operation.get("parameters", ()):
                found[f"{route} {of['name']}{'!' * of['required']}"] = sorted(shape(of["schema"]))
    for name, schema in document["components"]["schemas"].items():
        required = schema.get("required", [])
        found[name] = sorted(f"{field}{'!' * (field in required)}" for field in schema["properties"])
        for field, of in schema["properties"].items():
            found[f"{name}.{field}"] = sorted(shape(of))
    return found


def written(promised: dict[str, list[str]]) -> str:
    """As the file has it."""
    lines = (f" {json.dumps(name)}: {json.dumps(what)}" for name, what in sorted(promised.items()))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def shape(schema: dict[str, Any]) -> set[str]:
    """What a value may be: types, other schemas, and the values of a closed list."""
    only = [schema["const"]] if "const" in schema else schema.get("enum", ())
    found = {f"={value}" for value in only}
    if "type" in schema:
        found.add(schema["type"])
    if "$ref" in schema:
        found.add(schema["$ref"].rpartition("/")[2])
    for part in schema.get("anyOf", ()):
        found |= shape(part)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found |= {f"{key} {one}" for one in shape(schema[key])}
    return found


def test_version_1_only_grows() -> None:
    """Else a journey that worked yesterday stops on the day of an upgrade, and nobody decided it."""
    promised: dict[str, list[str]] = json.loads(PROMISED.read_text("utf-8"))
    now = promises(DOCUMENT)
    asked = {
        name
        for name in now
        if DOCUMENT["components"]["schemas"].get(name.partition(".")[0], {}).get("additionalProperties")
        is False
    }
    for name, fields in promised.items():
        assert name in now, f"{name} is gone"
        if " " in name or "." in name:  # a route, a parameter, what a field may be
            told = name not in asked and name.partition(".")[0] in now and "." in name
            assert set(fields) <= set(now[name]), f"{name} was {fields}, is {now[name]}"
            assert not told or set(fields) == set(now[name]), (
                f"{name} was {fields}, is {now[name]}: clients were generated that know of no other; give it "
                "as an open list (codes)"
            )
            continue
        for field in fields:
            bare = field.rstrip("!")
            if name in asked:  # may ask for less, never for more
                assert {bare, f"{bare}!"} & set(now[name]), f"{name}.{bare} is gone"
                assert field.endswith("!") or f"{bare}!" not in now[name], f"{name}.{bare} became required"
            else:  # may say more, never less
                assert field in now[name] or f"{field}!" in now[name], (
                    f"{name}.{field} is gone or may be absent"
                )
    for name in {one for one in asked if "." not in one} & promised.keys():
        new = {f.rstrip("!") for f in now[name] if f.endswith("!")} - {f.rstrip("!") for f in promised[name]}
        assert not new, f"{name} requires {new}, which it did not"
    assert promised == now, f"the API grew: write it down\n{written(now)}"


def test_a_query_may_hold_what_the_document_names() -> None:
    """Else a caller is refused what he was told to send."""
    told = {
        route: tuple(n for n, one in operation.parameters.items() if one.place == "query")
        for (route, _), operation in OPERATIONS.items()
    }
    assert {route: names for route, names in told.items() if names} == api.QUERIES


def test_what_ends_says_so_six_months_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a client learns of the end on the day of it."""
    assert all(ends - clock() > timedelta(days=180) for ends in api.SUNSET.values())
    ends = datetime(2027, 7, 1, tzinfo=UTC)
    monkeypatch.setattr(api, "SUNSET", {"/livez": ends})
    sent: list[Any] = []

    async def ask() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        app: Any = Dispatch(
            Settings(home=Path("/nonexistent/home"), api_keys={"a": "0123456789abcdef"}), send
        )
        scope = {"type": "http", "path": "/livez", "method": "GET", "headers": [], "query_string": b""}
        await app(scope, None, send)

    asyncio.run(ask())
    assert dict(sent[0]["headers"])[b"sunset"] == b"Thu, 01 Jul 2027 00:00:00 GMT"
    told = document()["paths"]
    assert told["/livez"]["get"]["deprecated"], "who generates a client hears of it by the document alone"
    assert "deprecated" not in told["/readyz"]["get"]


def test_what_a_figure_counts_is_said_beside_it() -> None:
    """Else: who reads `orders` of a customer's value counts baskets, and it counts days."""
    value = document()["components"]["schemas"]["Value"]["properties"]
    assert value["orders"]["description"].startswith(
        "Expected days with an order: two orders of one day are one"
    )
    assert "half of such customers have ordered" in value["next_order_date"]["description"]
