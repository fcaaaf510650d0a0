"""For a file that could not be placed: the table that it resembles, and a reading of it to fill in."""

import json
import re

from features.sources.declared import made
from features.sources.guesses import Column, Guess
from features.sources.vocabulary import OWN
from features.tables import TABLES

UNKNOWN = 'table = "..."'  # of a reading whose table a person has to choose
COLUMNS = "Its columns: "
CATEGORIES = 20  # different values of a score that is none of numbers

# What names of columns and files have, in English and Chinese, column of the table by column: a person decides.
_SIGNS: dict[str, dict[str, str]] = {
    "memberships": {
        "change": r"join|leave|left|入群|退群|进群|加入|退出|入会|退会",
        "place_id": r"group|staff|advisor|guide|群|导购|店员|顾问",
    },
    "consents": {
        "status": r"consent|opt.?(in|out)|subscri|同意|授权|退订|订阅",
        "channel": r"channel|渠道",
        "purpose": r"purpose|用途|目的",
    },
    "cases": {
        "case_id": r"(case|ticket|complaint).?(id|no|number)|工单|投诉"
        r"|(fall|vorgang|reklamation|beschwerde)s?.?(id|nr|nummer)",
        "reason": r"reason|原因|grund|motif|motivo",
        "change": r"opened|closed|resolved|complaint|处理|结案|客诉|受理|beschwerde|reklamation|r[ée]clamation|queja",
    },
    "surveys": {"score": r"nps|rating|satisf|满意|打分", "survey_id": r"survey|问卷"},
    "responses": {"kind": r"click|redeem|opened.?at|点击|打开|核销"},
    "contacts": {"action": r"campaign|coupon|sms|message|活动|短信|触达|群发"},
    "interactions": {
        "kind": r"^(event|page|action|url)|visit|view|行为|事件|页面|浏览|访问",
        "seconds": r"duration|seconds|时长|停留",
    },
    "identities": {
        "source_id": r"unionid|openid|external|phone|mobile|device|card|identit|\balias|手机|卡号|设备|身份",
    },
    "scores": {"value": r"score|risk|churn|评分|得分|分数|风险"},
}


def resembled(columns: list[Column], file: str) -> str | None:
    """The table that a file of other things is most like, by its columns' names and its own; None if like none."""
    points = {
        table: sum(any(re.search(p, c.name, re.I) for c in columns) for p in signs.values())
        + any(re.search(p, file, re.I) for p in signs.values())
        for table, signs in _SIGNS.items()
    }
    best = max(points, key=lambda table: points[table])
    return best if points[best] else None


def beside_people(columns: list[Column], customer: Column, file: str) -> str | None:
    """`identities` or `scores`, if a file of one row a customer holds nothing else; None: it describes people."""
    others = [c for c in columns if c is not customer and c.rows]

    def named(table: str) -> bool:
        names = [*(c.name for c in others), file]
        return any(re.search(p, n, re.I) for p in _SIGNS[table].values() for n in names)

    if others and named("identities") and all(c.distinct > 0.9 * c.rows and not c.times for c in others):
        return "identities"
    if others and named("scores") and all(c.number > 0.95 or c.distinct <= CATEGORIES for c in others):
        return "scores"
    return None


def _wide_scores(columns: list[Column], customer: str) -> list[str]:
    """A column a score, known since its file came."""
    names = [c.name for c in columns if c.name != customer]
    return [
        'delivered = 2024-01-31  # DECIDE: when the file came; or { file_name = "scores_%Y%m%d.csv" }',
        f"scores = {json.dumps(names, ensure_ascii=False)}",
    ]


def unlike(name: str, head: list[str], columns: list[Column]) -> list[str]:
    """For a file that is like no table: a reading as comments, whose table a person chooses."""
    lines = [
        "DECIDE: not placed, and like no table: if it belongs to the log, fill this in and take off the #;",
        f"`propensity ingest --tables` says what there is. {COLUMNS}{', '.join(c.name for c in columns)}",
        f"[[mapping.{name}.read]]", UNKNOWN, *head, f"[mapping.{name}.read.columns]",
    ]  # fmt: skip
    return [f"# {line}" for line in lines]


def skeleton(
    name: str,
    table: str,
    head: list[str],
    roles: dict[str, Guess],
    columns: list[Column],
    at: str | None,
    whose: str | None,
) -> list[str]:
    """A reading as comments. head: its files and format; at, whose: how its time and its customer's id are
    declared, if they were seen: an id that is cleaned elsewhere and not here would be another person's."""
    taken = {g.column.name for role, g in roles.items() if role in ("customer_id", "at")}
    lines = [
        f"DECIDE: not placed, but like {table}: fill this in and take off the #;",
        f"`propensity ingest --tables {table}` says what each column takes.",
        f"[[mapping.{name}.read]]", f"table = {json.dumps(table)}", *head,
    ]  # fmt: skip
    wide = table == "scores" and "customer_id" in roles and at is None
    if wide:
        lines += _wide_scores(columns, roles["customer_id"].column.name)
    lines.append(f"[mapping.{name}.read.columns]")
    rules = " ".join(rule for _, rule in TABLES[table].rules)
    for column, of in TABLES[table].columns.items():
        if wide and column in ("name", "value", "label"):
            continue
        sign = _SIGNS[table].get(column)
        words = re.search(rf"\b{column} in \(([^)]*)\)", rules)
        few = CATEGORIES if words else None  # nobody writes a word for each of a thousand numbers
        seen = next(
            (
                c
                for pattern in (f"^{column}$", sign, OWN if column in ("source_id", "case_id") else None)
                for c in columns
                if pattern
                and c.name not in taken
                and re.search(pattern, c.name, re.I)
                and (few is None or c.distinct <= few)
            ),
            None,
        )
        note = f"  # {words[1].replace(chr(39), '')}" if words else ""
        if column == ("known_at" if table == "scores" else "at") and at:
            lines.append(f"{column} = {at}")
        elif column == "customer_id" and whose:
            lines.append(f"customer_id = {whose}")
        elif seen and words:
            values = ", ".join(f'{json.dumps(v, ensure_ascii=False)} = "..."' for v, _ in seen.top[:6])
            lines.append(
                f"{column} = {{ column = {json.dumps(seen.name, ensure_ascii=False)}, map = {{ {values} }} }}{note}"
            )
        elif seen:
            lines.append(f"{column} = {json.dumps(seen.name, ensure_ascii=False)}")
        elif of.required and column not in made(table):
            lines.append(f'{column} = {{ value = "..." }}{note}')
    lines.append(f"{COLUMNS}{', '.join(c.name for c in columns)}")
    return [f"# {line}" for line in lines]
