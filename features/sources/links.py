"""Files that say who is who: columns of ids that are customers of other files, each of another system."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.sources.found import Found, as_padded, ids, whole_id
from features.sources.guesses import Column
from features.sources.proposed import id_of, time
from features.sources.samples import look
from features.sources.sheet import rows_with, text

if TYPE_CHECKING:
    import duckdb

MOST = 0.5  # of the ids of the smaller side: so many must be found
LEAST = 3
UNIQUE = 0.9  # of a column's values: an id of people, a row each


@dataclass(frozen=True)
class Link:
    """A column whose ids are the customers of other files, the best first: how many of its `ids` each has."""

    column: Column
    pad: int
    ids: int
    met: tuple[tuple[int, Found], ...]

    @property
    def said(self) -> str:
        """For people: what joins what, by how many."""
        by = ", ".join(f"{n:,} in {other.name}" for n, other in self.met[:3])
        return f"{self.column.name}: of {self.ids:,} ids looked at {by}{' ...' if len(self.met) > 3 else ''}"


def links(
    connection: "duckdb.DuckDBPyConnection", found: list[Found], sales: list[Found]
) -> dict[int, list[Link]]:
    """id() of a file -> its columns of other files' customers, if it has several. sales: files that are none."""
    result: dict[int, list[Link]] = {}
    for one in found:
        like_ids = [c for c in one.columns if c.rows and c.format is None and c.distinct >= UNIQUE * c.rows]
        if one in sales or len(like_ids) < 2:
            continue
        others = [f for f in found if f is not one and f.ids.get("customer_id")]
        look(connection, one.paths, one.how)
        several = [link for c in like_ids if (link := _link(c, ids(connection, c.name), others)).met]
        if len(several) > 1:
            result[id(one)] = sorted(several, key=lambda link: -link.column.filled)
    return result


def _link(column: Column, here: frozenset[str], others: list[Found]) -> Link:
    met: list[tuple[float, int, int, Found]] = []
    for other in others:
        digits = other.pads.get("customer_id", 0) or other.roles["customer_id"].column.padded
        mine = {whole_id(id, digits) for id in here}
        there = as_padded(other, "customer_id")
        both, least = len(mine & there), min(len(mine), len(there))
        if both >= max(LEAST, MOST * least):
            met.append((both / len(mine), both, 0 if mine == here else digits, other))
    met.sort(key=lambda of: -of[0])
    return Link(column, met[0][2] if met else 0, len(here), tuple((n, other) for _, n, _, other in met))


def clear(several: list[Link]) -> bool:
    """Whether no two columns meet the same file: else short numbers may only look like another system's."""
    files = [id(other) for link in several for _, other in link.met]
    return len(files) == len(set(files))


def readings(
    name: str, head: list[str], one: Found, several: list[Link], source_of: Mapping[int, str]
) -> list[str]:
    """Readings of `identities`: the first column's id is each other column's customer. source_of: id() of a file
    -> its mapping."""
    first, *rest = several
    lines: list[str] = []
    since = one.roles.get("at")
    for link in rest:
        lines += ["", f"[[mapping.{name}.read]]", 'table = "identities"', *head, *rows_with(link.column)]
        lines += [
            f"[mapping.{name}.read.columns]",
            f"source = {{ value = {text(source_of[id(first.met[0][1])])} }}",
            f"source_id = {id_of(first.column, pad=first.pad)}",
            f"customer_id = {id_of(link.column, pad=link.pad)}",
        ]
        lines += [f"at = {''.join(time(since.column))}"] if since else []
    doubt = (
        []
        if clear(several)
        else ["DECIDE: two columns meet the same file: are these ids of one system? If not, take off the #"]
    )
    body = [
        *(f"# {line}" for line in doubt),
        *(lines[1:] if not doubt else [f"# {x}".rstrip() for x in lines[1:]]),
    ]
    return [*(f"# {link.said}" for link in several), *body]
