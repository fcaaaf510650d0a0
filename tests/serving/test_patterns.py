"""The document's patterns, in a real engine of JavaScript: they let in what the service lets in."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from browser import run_script

from serving import events
from serving.incoming import is_key
from serving.openapi import document

ODDITIES = [
    "", "12.50", "-1", "+.5", ".", "1e3", "1e1000", "1_000", "1,5", "12.50\n", "١٢", "0x1F", "c-1", "a b",
    "小明", "k" * 200, "k" * 201, "\U0001f600", "\U0001f600 ", " \U0001f600",
]  # fmt: skip
VALUES = ODDITIES + [
    text
    for code in (*range(0xD800), *range(0xE000, 0x10000))
    for text in (chr(code), f"{chr(code)}x", f"x{chr(code)}")
]
VERDICTS = """(() => {
  const values = %s
  for (let code = 0; code < 0x10000; code += 1) {
    if (code >= 0xd800 && code < 0xe000) continue
    const sign = String.fromCharCode(code)
    values.push(sign, sign + "x", "x" + sign)
  }
  const verdicts = (pattern) => {
    let of
    try { of = new RegExp(pattern, "u") } catch { return "unread" }
    return values.map((text) => (of.test(text) ? 1 : 0)).join("")
  }
  return %s.map(verdicts).join(" ")
})()"""


def patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for one in schema.values():
            yield from patterns(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from patterns(one)


def of_type(type: Any) -> Callable[[str], bool]:
    """Whether the service's own decoder takes a text."""

    def takes(text: str) -> bool:
        try:
            msgspec.convert(text, type)
        except msgspec.ValidationError:
            return False
        return True

    return takes


def test_a_form_made_from_the_document_lets_in_what_the_service_lets_in(tmp_path: Path) -> None:
    """Else a client that checks what it sends, as generated ones do, cannot send a single event."""
    said = document()
    schemas = said["components"]["schemas"]
    parsers: dict[str, Callable[[str], bool]] = {
        pattern: parser
        for schema, parser in (
            (schemas["Person"]["properties"]["id"], of_type(events.Id)),
            (schemas["View"]["properties"]["category"], of_type(events.Text)),
            (schemas["Refund"]["properties"]["amount"], of_type(events.Amount)),
            (said["paths"]["/v1/decisions"]["post"]["parameters"], lambda text: is_key(text.encode())),
        )
        for pattern in patterns(schema)
    }
    assert set(patterns(said)) == set(parsers), "a pattern of which this test does not know who reads it"
    told = run_script(VERDICTS % (json.dumps(ODDITIES), json.dumps(list(parsers))), tmp_path).split()
    for (pattern, takes), verdicts in zip(parsers.items(), told, strict=True):
        assert verdicts != "unread", pattern
        here = "".join("01"[takes(text)] for text in VALUES)
        differ = [text for text, one, other in zip(VALUES, here, verdicts, strict=True) if one != other]
        assert not differ, (pattern, differ[:9])
        assert set(verdicts) == {"0", "1"}
