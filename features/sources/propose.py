"""A first mapping, written by looking at the files: each guess says why, and what could not be placed is listed."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import SourceError
from features.shop import BUNDLED_SOURCES, CALENDAR
from features.sources.guesses import NAMES, Column, Guess, profile, rate
from features.sources.proposed import format_lines, returns, text, time, values
from features.sources.raw import Format, columns_of
from features.sources.samples import alike, empty_in, files_in, look, patterns, sniff
from features.sources.skeletons import resembled, skeleton

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Proposal:
    """A mapping as TOML, and what a person should know of it, a line each."""

    name: str
    toml: str
    notes: tuple[str, ...]


def propose(given: list[Path]) -> Proposal:
    """Look at files, and those in folders, and write a mapping that reads them. SourceError if none can be placed."""
    from features import duck

    files = files_in(given)
    folder = Path(*_common([(p if p.is_dir() else p.parent).resolve().parts for p in given]))
    kinds: dict[tuple[Format, tuple[str, ...]], list[Path]] = {}
    for path in files:
        how = sniff(path)
        kinds.setdefault((how, tuple(sorted(columns_of(path, how)))), []).append(path)
    notes: list[str] = []
    readings: list[str] = []
    name = _name(given[0].resolve())
    with duck.connect() as connection:
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
                notes += said
                readings += [*lines, ""]
    if not any(line.startswith("table = ") for line in readings):
        raise SourceError(
            f"nothing in {', '.join(p.name for p in files)} could be placed:\n"
            + "\n".join([*notes, *readings])
        )
    head = [
        f"[mapping.{name}]",
        f"folder = {text(str(folder))}",
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
            "# TODO: the same columns as another reading, but times written otherwise, or no order ids: see the files"
        )
    if fixed:
        todo.append(
            "# TODO: files of another kind are named alike: name tomorrow's files here, or move them apart"
        )
    for column in columns:
        if column.rows and (empty := empty_in(connection, column.name)):
            few = ", ".join(names[n] for n in empty[:3]) + (" ..." if len(empty) > 3 else "")
            todo.append(f"# TODO: {column.name} is empty in {len(empty)} of {len(names)} files: {few}")
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
