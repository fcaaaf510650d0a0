"""A group robot of WeCom (企业微信): a markdown message, which mentions whoever is to act.

[[sinks]]
kind = "wecom"
url = "https://relay.example.com/robot"   # only if a relay stands in front
PROPENSITY_SINK_<NAME>                    # the robot's key: what follows key= in its address

A message has at most LONGEST bytes and a robot takes PER_MINUTE of them a minute. Its answer is always 200:
`errcode` says what became of it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

from features.toml import Entry
from monitoring.messages import OVER, Language, Line, Telling, is_address, lines
from monitoring.sinks.http import address, post
from monitoring.sinks.letters import Letter, NotDeliveredError, Party

URL = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send"
LONGEST = 4096  # bytes of UTF-8
PER_MINUTE = 20
_RATE = 45009  # errcode: too many messages
_ITS_OWN = {40008, 40058, 44004}  # errcode: the message's own type or content is refused
_COLOURS = {"page": "warning", "warning": "comment"}  # the names of its orange and its grey


@dataclass(frozen=True)
class WeCom:
    """Where its robot is."""

    url: str = URL
    state: bool = False
    per_minute: int | None = PER_MINUTE
    secret: str = "the robot's key"

    def deliver(self, letter: Letter) -> None:
        """Post it. NotDeliveredError if its answer does not say errcode 0."""
        content = markdown(letter.telling(), letter.languages, letter.to)
        body = json.dumps({"msgtype": "markdown", "markdown": {"content": content}}, ensure_ascii=False)
        answer = post(
            f"{self.url}?key={quote(letter.secret, safe='')}",
            body.encode(),
            {"content-type": "application/json"},
        )
        try:
            code = int(answer.json()["errcode"])
        except (ValueError, TypeError, KeyError):
            raise NotDeliveredError("its answer has no errcode: another server answered") from None
        if code == _RATE:
            raise NotDeliveredError(
                "it takes no more messages for a minute", timedelta(minutes=1), counted=False
            )
        if code:
            raise NotDeliveredError(f"it answered errcode {code}", final=code in _ITS_OWN)


def declared(entry: Entry) -> WeCom:
    """As shop.toml declares it."""
    return WeCom(address(entry, URL))


def markdown(telling: Telling, languages: Sequence[Language], to: Party) -> str:
    """The message, cut at a line's end where it would be too long, with where the rest is."""
    mentioned = " ".join(f"<@{id}>" for id in to.wecom)
    tail = [mentioned] if mentioned else []
    if telling.report:
        more = {"zh": "…… 全文见报告", "en": "... see the report"}
        cut = f"{more[languages[0]]}{'：' if languages[0] == 'zh' else ': '}{_linked(telling.report)}"
    else:
        cut = {"zh": "…… 其余见 `propensity monitor alerts`", "en": "... see `propensity monitor alerts`"}[
            languages[0]
        ]
    whole = [line for language in languages for line in _marked(telling, language)]
    if _size([*whole, *tail]) <= LONGEST:
        return "\n".join([*whole, *tail])
    kept: list[str] = []
    for line in whole:
        if _size([*kept, line, cut, *tail]) > LONGEST:
            break
        kept.append(line)
    if not kept:  # a title that alone is too long
        room = LONGEST - _size(["", cut, *tail])
        kept = [whole[0].encode()[: max(room, 0)].decode(errors="ignore")]
    return "\n".join([*kept, cut, *tail])


def _marked(telling: Telling, language: Language) -> Iterator[str]:
    title = getattr(telling.title, language)
    colour = "info" if telling.kind in OVER else _COLOURS[telling.severity]
    yield f'**<font color="{colour}">{title}</font>**'
    for line in lines(telling, language):
        yield _line(line, language)
    yield ""


def _line(line: Line, language: Language) -> str:
    text = _linked(line.text) if is_address(line.text) else line.text
    if not line.label:
        return f"> - {text}"
    return f"> {line.label}{'：' if language == 'zh' else ': '}{text}"


def _linked(text: str) -> str:
    return f"[{text}]({text})" if is_address(text) else text


def _size(parts: list[str]) -> int:
    return len("\n".join(parts).encode())
