"""A first mapping, written by looking at the files: each guess says why, and what could not be placed is listed."""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import SourceError
from features.shop import BUNDLED_SOURCES, CALENDAR
from features.sources.guesses import NAMES, Column, Guess, profile, rate
from features.sources.raw import BLOCK, Format, columns_of, first_records, literal, load, opened, quoted

if TYPE_CHECKING:
    import duckdb

SAMPLE = 20_000  # rows of a file that are looked at
HEAD = 8 * BLOCK  # bytes of a text file, for those rows
ENCODINGS = ("utf-8", "gb18030", "latin-1")  # tried in this order; latin-1 reads anything
SEPARATORS = (",", ";", "\t", "|")
CANCELLED = r"cancel|void|取消|关闭|作废"
RETURNED = r"refund|return|退"


@dataclass(frozen=True)
class Proposal:
    """A mapping as TOML, and what a person should know of it, a line each."""

    name: str
    toml: str
    notes: tuple[str, ...]


def propose(files: list[Path]) -> Proposal:
    """Look at files and write a mapping that reads them. SourceError if none of them can be placed."""
    from features import duck

    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise SourceError(f"there is no file {', '.join(missing)}")
    folder = Path(*_common([path.resolve().parent.parts for path in files]))
    groups: dict[tuple[Format, tuple[str, ...]], list[Path]] = {}
    for path in files:
        how = sniff(path)
        groups.setdefault((how, tuple(sorted(columns_of(path, how)))), []).append(path)
    notes: list[str] = []
    readings: list[str] = []
    name = _name(files[0])
    with duck.connect() as connection:
        for (how, _), paths in groups.items():
            names = [str(p.resolve().relative_to(folder)) for p in paths]
            columns = _look(connection, paths[0], how)
            lines, said = _reading(connection, name, names, how, columns)
            notes += [f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}:", *said]
            readings += [*lines, ""]
    if not any(line.startswith("table = ") for line in readings):
        raise SourceError(
            f"nothing in {', '.join(p.name for p in files)} could be placed:\n" + "\n".join(notes)
        )
    head = [
        f"[mapping.{name}]",
        f"folder = {_text(str(folder))}",
        '# zone = "Europe/London"   # TODO: of the times without an offset; without this line, the shop\'s own zone',
        "",
    ]
    return Proposal(name, "\n".join([*head, *readings]), tuple(notes))


def _common(parts: list[tuple[str, ...]]) -> Iterator[str]:
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            return
        yield level[0]


def _name(path: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", path.name.split(".")[0].lower()).strip("_")
    name = name if re.match(r"[a-z]", name) else f"files_{name}".rstrip("_")
    return f"{name}_log" if name in (*BUNDLED_SOURCES, CALENDAR) else name


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a TOML basic string is one of JSON's


def sniff(path: Path) -> Format:
    """Kind, encoding, separator and header of a file."""
    suffix = path.suffix.lower()
    with opened(path) as stream:
        head = stream.read(4)
    if head[:4] == b"PAR1":
        return Format(kind=None if suffix == ".parquet" else "parquet")
    if Format().kind_of(path) == "jsonl":
        return Format()
    encoding = _encoding(path)
    best = max(SEPARATORS, key=lambda s: _regular(path, Format(encoding=encoding, separator=s)))
    how = Format(encoding=encoding, separator=best)
    first = first_records(path, how, 1)[0]
    if any(
        re.fullmatch(r"\s*[-+]?[\d.,:/ -]*\d\s*", cell) for cell in first
    ):  # a name is no number, nor a time
        return Format(
            encoding=encoding, separator=best, header=tuple(f"column_{n}" for n in range(1, len(first) + 1))
        )
    return how


def _encoding(path: Path) -> str:
    with opened(path) as stream:
        head = stream.read(BLOCK)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for encoding in ENCODINGS:
        try:
            codecs.getincrementaldecoder(encoding)().decode(head)
        except UnicodeDecodeError:
            continue
        runs = re.findall(rb"[\x80-\xff]+", re.sub(rb"[\x81-\xfe]\d[\x81-\xfe]\d", b"", head))
        alone = sum(len(run) == 1 for run in runs)  # as in Müller: a Chinese character is two such bytes
        if encoding == "gb18030" and 2 * alone > len(runs):
            continue
        return encoding
    raise AssertionError("latin-1 reads anything")


def _regular(path: Path, how: Format) -> float:
    """How regular the records are under a separator: the share with the usual number of fields, 0 for one field."""
    try:
        widths = [len(record) for record in first_records(path, how, 200)]
    except Exception:  # the csv module's word for "not this dialect"
        return 0.0
    usual = max(set(widths), key=widths.count)
    return 0.0 if usual < 2 else widths.count(usual) / len(widths) + usual / 1000


def _look(connection: "duckdb.DuckDBPyConnection", path: Path, how: Format) -> list[Column]:
    """A sample of the file as table `sample`, and what its columns look like."""
    import pyarrow as pa

    kind, names = how.kind_of(path), columns_of(path, how)
    if kind == "parquet":
        texts = ", ".join(f"{quoted(c)}::VARCHAR AS {quoted(c)}" for c in names)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE sample AS SELECT {texts} FROM read_parquet({literal(path)}) LIMIT {SAMPLE}"
        )
    elif kind == "jsonl":
        load(connection, "sample", [(path.name, path)], how)
    else:
        records = first_records(path, how, SAMPLE, HEAD)
        records = [r for r in records[how.header is None :] if len(r) == len(names)]
        head = pa.table({c: pa.array([r[n] for r in records], pa.string()) for n, c in enumerate(names)})
        connection.register("head", head)
        connection.execute("CREATE OR REPLACE TEMP TABLE sample AS SELECT * FROM head")
        connection.unregister("head")
    return [profile(connection, "sample", c) for c in names]


def _reading(
    connection: "duckdb.DuckDBPyConnection", name: str, files: list[str], how: Format, columns: list[Column]
) -> tuple[list[str], list[str]]:
    """The TOML of one kind of file, and what to say of it."""
    roles = _roles(columns)
    if "at" not in roles and "customer_id" in roles and not roles["customer_id"].points:
        del roles[
            "customer_id"
        ]  # guessed by its values alone, and nothing else looks like what a customer did
    if how.header is not None and columns and "customer_id" not in roles:
        return [], [
            "  has no header that names its columns: add one, or write `header = [...]` in a mapping by hand"
        ]
    lines = [
        f"[[mapping.{name}.read]]",
        "",
        f"files = {json.dumps(files, ensure_ascii=False)}",
        *_format(how),
    ]
    values, said, table = _values(connection, roles, columns)
    if table is None:
        lacking = [role for role in ("customer_id", "at", "amount") if role not in roles]
        return [], [
            f"  not placed: neither orders, nor products, nor customers were seen in it (no {', '.join(lacking)}).",
            f"  Its columns: {', '.join(c.name for c in columns)}",
        ]
    lines[1] = f"table = {_text(table)}"
    if table == "customers":
        rest = [c.name for c in columns if c is not roles["customer_id"].column]
        lines.append(f"attributes = {json.dumps(rest, ensure_ascii=False)}")
    decimals = {roles[r].column.decimal for r in ("price", "amount", "items") if r in roles}
    if decimals == {","}:
        lines.append('decimal = ","')
    if (
        table == "orders"
        and "order_id" in roles
        and roles["order_id"].column.distinct < roles["order_id"].column.rows
    ):
        lines.append("add_up = true               # an order id comes several times: its rows are added up")
    lines += [f"[mapping.{name}.read.columns]", *values, *_returns(connection, name, roles, columns)]
    written = "\n".join(lines)
    left = [c.name for c in columns if _text(c.name) not in written]
    said = [f"  {role:12} <- {g.why}" for role, g in roles.items() if g.column.name not in left] + said
    if left:
        lines.append(f"# Not placed: {', '.join(left)}")
        said.append(f"  not placed: {', '.join(left)}")
    return lines, [f"  rows are {table}", *said]


def _roles(columns: list[Column]) -> dict[str, Guess]:
    """The best column for each role, none for two roles."""
    roles: dict[str, Guess] = {}
    for role in NAMES:
        taken = {g.column.name for g in roles.values()}
        guesses = [g for c in columns if c.name not in taken and (g := rate(role, c))]
        if guesses:
            roles[role] = max(guesses, key=lambda g: (g.points, g.column.filled))
    return roles


def _format(how: Format) -> list[str]:
    lines = []
    if how.kind:
        lines.append(f"format = {_text(how.kind)}")
    if how.encoding != "utf-8":
        lines.append(f"encoding = {_text(how.encoding)}")
    if how.separator != ",":
        lines.append(f"separator = {_text(how.separator)}")
    if how.header:
        lines.append(
            f"header = {json.dumps(how.header)}     # TODO: the files have none; give the columns their names"
        )
    return lines


def _values(
    connection: "duckdb.DuckDBPyConnection", roles: dict[str, Guess], columns: list[Column]
) -> tuple[list[str], list[str], str | None]:
    """Lines of [columns], what to say of them, and the table; None if the rows are none that we know."""
    amount = "amount" in roles or {"price", "items"} <= set(roles)
    if {"customer_id", "at"} <= set(roles) and amount:
        table = "order_lines" if "product_id" in roles else "orders"
        wanted = [
            "order_id",
            "customer_id",
            "at",
            "product_id",
            "items",
            "amount",
            "discount",
            "store_id",
            "channel",
        ]
        wanted += ["category", "department", "brand"]
    elif "product_id" in roles and "at" not in roles and "customer_id" not in roles:
        table, wanted = "products", ["product_id", "category", "department", "brand"]
    elif (
        "customer_id" in roles
        and "at" not in roles
        and roles["customer_id"].column.distinct == roles["customer_id"].column.rows
    ):
        return [f"customer_id = {_id(roles['customer_id'].column)}"], [], "customers"
    else:
        return [], [], None
    lines, said = [], []
    if table == "orders":
        wanted = [w for w in wanted if w not in ("product_id", "items", "category", "department", "brand")]
    for role in wanted:
        guess = roles.get(role)
        if role == "amount":
            lines.append(f"amount = {_amount(connection, roles)}")
        elif role == "discount":
            lines += _discount(columns)
        elif role == "channel" and guess is None:
            lines.append(
                'channel = { value = "shop" }  # TODO: where these orders were placed: "web", "store" ...'
            )
        elif role == "order_id" and guess is None:
            lines.append("# no order id was seen: all that a customer buys on one day is one order")
            said.append("  no order id was seen: all that a customer buys on one day is one order")
        elif guess is None:
            continue
        elif role == "at":
            value, note = _time(guess.column)
            lines.append(f"at = {value}{note}")
            said += [f"  {note.strip(' #')}"] if note else []
            if not guess.column.offset:
                said.append(
                    f"  {guess.column.name} has no offset: say `zone` if its times are not the shop's local ones"
                )
        elif role == "items":
            if guess.column.whole + guess.column.dot_zero > 0.999:
                lines.append(f"items = {_text(guess.column.name)}")
            else:
                said.append(f"  {guess.column.name} has fractions: not taken as pieces")
        else:
            lines.append(f"{role} = {_id(guess.column)}")
    if "currency" in roles:
        said.append(
            f"  amounts may be in several currencies: `currency = {{ column = {_text(roles['currency'].column.name)} }}`"
        )
    return lines, said, table


def _id(column: Column) -> str:
    """An id as given; made one only where the values themselves ask for it."""
    clean = (["trim"] if column.blanks else []) + (["whole"] if column.dot_zero else [])
    return (
        f"{{ column = {_text(column.name)}, clean = {json.dumps(clean)} }}" if clean else _text(column.name)
    )


def _amount(connection: "duckdb.DuckDBPyConnection", roles: dict[str, Guess]) -> str:
    if "amount" in roles:
        return _text(roles["amount"].column.name)
    return f"{{ product_of = [{_text(roles['items'].column.name)}, {_text(roles['price'].column.name)}] }}"


def _discount(columns: list[Column]) -> list[str]:
    """All discounts together; those that are given as negative numbers are made positive."""
    found = [
        c
        for c in columns
        if (g := rate("discount", c)) and g and not re.search(r"pct|percent|rate|率|%", c.name, re.I)
    ]
    if not found:
        return []
    if len(found) == 1 and not found[0].negative:
        return [f"discount = {_text(found[0].name)}"]
    parts = " + ".join(f"coalesce(abs(number({quoted(c.name)})), 0)" for c in found)
    return [f"discount = {{ sql = '{parts}' }}"]


def _time(column: Column) -> tuple[str, str]:
    """The declaration of a time, and what a person must decide."""
    format, share = column.times[0]
    name = _text(column.name)
    rivals = [f for f, s in column.times[1:] if f and format and s == share and len(f) == len(format)]
    if rivals:
        return (
            f"{{ column = {name}, format = {_text(format)} }}",
            f"  # TODO: {rivals[0]} reads every value as well",
        )
    if format:
        return f"{{ column = {name}, format = {_text(format)} }}", ""
    if column.midnight:
        return f"{{ column = {name}, day = true }}", "  # always 00:00, so days: known when the day is over"
    return name, ""


def _returns(
    connection: "duckdb.DuckDBPyConnection", name: str, roles: dict[str, Guess], columns: list[Column]
) -> list[str]:
    """Returns by a letter before the order id, or by a status; negative rows are returns by themselves."""
    amount = roles.get("items") or roles.get("amount")
    if "order_id" in roles and amount:
        id, x = quoted(roles["order_id"].column.name), quoted(amount.column.name)
        found = connection.execute(
            f"""SELECT regexp_extract({id}, '^[A-Za-z]+') AS letters, count(*) AS n,
                       avg((starts_with(trim({x}), '-'))::INT) AS negative FROM sample
                WHERE regexp_matches({id}, '^[A-Za-z]+\\d') GROUP BY ALL
                HAVING n >= 3 AND negative > 0.98 ORDER BY n DESC LIMIT 1"""
        ).fetchall()
        if found:
            return [
                f"[mapping.{name}.read.returns]  # ids that begin so have negative rows only",
                f"column = {_text(roles['order_id'].column.name)}", f"prefix = {_text(found[0][0])}",
            ]  # fmt: skip
    if "status" in roles and amount:
        values = [str(v) for v, _ in roles["status"].column.top]
        back = [v for v in values if re.search(RETURNED, v, re.I)]
        gone = [v for v in values if re.search(CANCELLED, v, re.I) and v not in back]
        lines = []
        for key, some in (("returns", back), ("cancelled", gone)):
            if some:
                lines += [
                    f"[mapping.{name}.read.{key}]",
                    f"column = {_text(roles['status'].column.name)}", f"values = {json.dumps(some, ensure_ascii=False)}",
                ]  # fmt: skip
        return lines
    return []
