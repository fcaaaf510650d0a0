"""A first mapping, written by looking at the files: each guess says why, and what could not be placed is listed."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import PropensityError, SourceError
from features.shop import BUNDLED_SOURCES, CALENDAR, Shop
from features.sources.guesses import NAMES, Column, Guess, profile, rate
from features.sources.mapping import declaration
from features.sources.proposed import format_lines, returns, text, time, values
from features.sources.raw import Format, columns_of
from features.sources.samples import alike, empty_in, files_in, look, matched, patterns, sniff
from features.sources.skeletons import beside_people, resembled, skeleton
from features.sources.strangers import apart, customers, ids, meet_nobody

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Proposal:
    """A mapping as TOML, and what a person should know of it, a line each."""

    name: str
    toml: str
    notes: tuple[str, ...]


def propose(given: list[Path], shop: Shop | None = None) -> Proposal:
    """Look at files, those in folders and those that patterns find, and write a mapping that reads them.

    shop: whose mappings the new one will stand beside. SourceError if no file can be placed.
    """
    from features import duck

    given = matched(given)
    files = files_in(given)
    folder = Path(*_common([(p if p.is_dir() else p.parent).resolve().parts for p in given]))
    kinds: dict[tuple[Format, tuple[str, ...]], list[Path]] = {}
    for path in files:
        how = sniff(path)
        kinds.setdefault((how, tuple(sorted(columns_of(path, how)))), []).append(path)
    notes: list[str] = []
    readings: list[str] = []
    name = _name(given[0].resolve())
    head = [f"[mapping.{name}]", f"folder = {text(str(folder))}"]
    seen: dict[str, frozenset[str]] = {}  # the customers of each reading
    with duck.connect() as connection:
        others = _customers_of(connection, shop) if shop else {}
        for (how, _), paths in kinds.items():
            columns = look(connection, paths, how)
            named = _roles([profile(connection, "sample", c) for c in columns]).get("order_id")
            groups = alike(connection, columns, named.column.name if named else None) or [
                (*range(len(paths)),)
            ]
            for group in groups:
                some = [paths[n] for n in group]
                if len(groups) > 1:
                    columns = look(connection, some, how)
                lines, said = _reading(connection, name, folder, some, how, len(groups) > 1)
                if any(line.startswith("customer_id = ") for line in lines):
                    here = customers(connection, _roles([profile(connection, "sample", c) for c in columns]))
                    if strangers := apart(here, seen):
                        lines.insert(0, f"# DECIDE: {meet_nobody(strangers)}")
                        said.append(f"  {meet_nobody(strangers)}")
                    seen[some[0].name] = here
                notes += said
                readings += [*lines, ""]
        everyone = frozenset().union(*seen.values())
        if strangers := apart(everyone, others):
            head.append(f'# customer_prefix = "{name}:"   # DECIDE: {meet_nobody(strangers)}')
            notes.append(meet_nobody(strangers))
    if not any(line.startswith("table = ") for line in readings):
        raise SourceError(
            f"nothing in {', '.join(p.name for p in files)} could be placed:\n"
            + "\n".join([*notes, *readings])
        )
    head += [
        '# zone = "Europe/London"   # DECIDE: of the times without an offset; without this line, the shop\'s own zone',
        "",
    ]
    return Proposal(name, "\n".join([*head, *readings]), tuple(notes))


def _customers_of(connection: "duckdb.DuckDBPyConnection", shop: Shop) -> dict[str, frozenset[str]]:
    """Of each mapping of a shop, the customers in its files, as far as they can be read."""
    found: dict[str, frozenset[str]] = {}
    for name in shop.mappings:
        try:
            for reading in declaration(shop, name).readings:
                value = reading.values.get("customer_id")
                if value and value.form == "column" and not value.prefix and reading.files:
                    look(connection, [path for _, path in reading.files], reading.format)
                    found[name] = found.get(name, frozenset()) | ids(connection, value.given)
        except PropensityError:  # of another mapping: that is said when it is used
            continue
    return found


def _common(parts: list[tuple[str, ...]]) -> Iterator[str]:
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            return
        yield level[0]


def _name(path: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", path.name.split(".")[0].lower()).strip("_")
    name = name if re.match(r"[a-z]", name) else f"files_{name}".rstrip("_")
    return f"{name}_log" if name in (*BUNDLED_SOURCES, CALENDAR) else name


def _reading(
    connection: "duckdb.DuckDBPyConnection",
    name: str,
    folder: Path,
    paths: list[Path],
    how: Format,
    split: bool,
) -> tuple[list[str], list[str]]:
    """The TOML of files that are read alike, whose rows are `sample`, and what to say of it.

    split: other files have the same columns, but are written otherwise.
    """
    columns = [profile(connection, "sample", c) for c in columns_of(paths[0], how)]
    names = [str(p.resolve().relative_to(folder)) for p in paths]
    (rows,) = connection.execute("SELECT count(*) FROM sample").fetchall()[0]
    said = [
        f"{', '.join(names[:3])}{' ...' if len(names) > 3 else ''}: {len(names)} file{'s' * (len(names) > 1)}, "
        f"{rows:,} rows looked at, the first of each"
    ]
    found, fixed = patterns(names, folder, names)
    todo = []
    if split:
        todo.append(
            "# DECIDE: the same columns as another reading, but times written otherwise, or no order ids: see the files"
        )
    if fixed:
        todo.append(
            "# DECIDE: files of another kind are named alike: name tomorrow's files here, or move them apart"
        )
    for column in columns:
        if column.rows and (empty := empty_in(connection, column.name)):
            few = ", ".join(names[n] for n in empty[:3]) + (" ..." if len(empty) > 3 else "")
            todo.append(f"# DECIDE: {column.name} is empty in {len(empty)} of {len(names)} files: {few}")
    lines, more = _placed(connection, name, found, how, columns)
    return [*todo, *lines] if lines else [], [
        *said,
        *(f"  {line.removeprefix('# ')}" for line in todo),
        *more,
    ]


def _placed(
    connection: "duckdb.DuckDBPyConnection", name: str, files: list[str], how: Format, columns: list[Column]
) -> tuple[list[str], list[str]]:
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
        *format_lines(how),
    ]
    found, said, table = values(connection, roles, columns)
    if table == "customers" and (
        like := beside_people(columns, roles["customer_id"].column, " ".join(files))
    ):
        said = [
            f"  one row a customer, but it is like {like}: a reading to fill in is written as a comment",
            f"  Its columns: {', '.join(c.name for c in columns)}",
        ]
        return skeleton(name, like, lines[2:], roles, columns, None), said
    if table is None:
        lacking = [role for role in ("customer_id", "at", "amount") if role not in roles]
        said = [
            f"  not placed: neither orders, nor products, nor customers were seen in it (no {', '.join(lacking)}).",
            f"  Its columns: {', '.join(c.name for c in columns)}",
        ]
        like = resembled(columns, " ".join(files))
        if like is None:
            return [], said
        at = time(roles["at"].column)[0] if "at" in roles else None
        said.append(f"  It is like {like}: a reading to fill in is written as a comment")
        return skeleton(name, like, lines[2:], roles, columns, at), said
    lines[1] = f"table = {text(table)}"
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
    lines += [f"[mapping.{name}.read.columns]", *found, *returns(connection, name, roles, columns)]
    written = "\n".join(lines)
    left = [c.name for c in columns if text(c.name) not in written]
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
