"""A first mapping, written by looking at the files: each guess says why, and what could not be placed is listed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from features.errors import SourceError
from features.shop import Shop
from features.sources.already import below, customers_of, named_already, owner_of, read_by
from features.sources.found import Found, as_padded, pad_alike
from features.sources.groups import common, grouped, name_of
from features.sources.joins import Joined, join, with_their_goods
from features.sources.leading import order_key
from features.sources.links import Link, clear, links, readings
from features.sources.met import meet
from features.sources.placed import read_as, table_for
from features.sources.proposed import format_lines
from features.sources.samples import files_in, left_out, matched
from features.sources.sheet import text
from features.sources.skeletons import UNKNOWN
from features.sources.specials import refunded, told_elsewhere
from features.sources.strangers import apart, circles, meet_nobody
from features.sources.told_times import with_told


@dataclass(frozen=True)
class Proposal:
    """Mappings as TOML, and what a person should know of them, a line each. The first is `name`.

    added: those that the shop has already, and that the TOML adds readings to. No TOML: nothing is missing.
    """

    names: tuple[str, ...]
    toml: str
    notes: tuple[str, ...]
    added: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the first source."""
        return self.names[0]


def propose(given: list[Path], shop: Shop | None = None) -> Proposal:
    """Look at files, those in folders and those that patterns find, and write a mapping that reads them.

    Files of another system, whose orders meet none of the others', become a source of their own.
    shop: whose mappings the new ones will stand beside. What those read is looked at, but not proposed again,
    and what belongs to it is added to them. SourceError if no file can be placed.
    """
    from features import duck

    given = matched(given)
    files = files_in(given)
    folder = Path(*common([(p if p.is_dir() else p.parent).resolve().parts for p in given]))
    read = read_by(shop)
    if shop and files and all(path.resolve() in read for path in files):
        return Proposal((), "", tuple(named_already(files, read)))
    with duck.connect() as connection:
        others = customers_of(connection, shop) if shop else {}
        notes: list[str] = named_already(files, read)
        found = grouped(connection, files, folder, notes, read)
        meet(connection, found)
        padding = pad_alike(found)
        placed = {id(one): table_for(one) for one in found}
        sales: dict[str, list[Found]] = {"orders": [], "order_lines": []}
        for one in found:
            sales.setdefault(placed[id(one)] or "", []).append(one)
        joined = join(connection, sales)
        linked = links(connection, found, [one for one in found if placed[id(one)]])
    for one in joined.lacking:
        placed[id(one)] = None
    for one in sales["orders"]:  # without an amount, and no lines that say it
        if not {"amount", "price"} & set(one.roles) and one not in joined.summed:
            placed[id(one)] = None
    if any(placed[id(one)] == "orders" or order_key(one.roles, one.columns) for one in found):
        for one in found:  # refunds name the order, and that names the customer
            has = set(one.roles)
            lone = placed[id(one)] is None and {"at", "amount"} <= has and "customer_id" not in has
            if lone and refunded(dict(one.roles), one.columns, one.name):
                placed[id(one)] = "orders"
                for other in found:
                    other.returns = told_elsewhere(other.returns)
    main = [one for one in found if not any(one in some for some in joined.apart)]
    sources = with_their_goods([main, *joined.apart], placed)
    names: list[str] = []
    owners = [owner_of([path for one in some for path in one.paths], read) for some in sources]
    read_now = [one for one in found if _is_read(one, placed[id(one)], joined)]
    readable = {path.resolve() for one in read_now or found for path in one.paths}
    for some, owner in zip(sources, owners, strict=True):
        named = next((one for one in some if one in read_now), some[0]).paths[0]
        if not names:  # after what was asked for first, if it is read
            named = next((p.resolve() for p in given if p.is_dir() or p.resolve() in readable), named)
        names.append(owner or name_of(named, names))
    source_of = {id(one): name for name, some in zip(names, sources, strict=True) for one in some}
    written: dict[int, list[str]] = {}  # id() of a file -> its readings
    seen: dict[str, frozenset[str]] = {}  # the customers of each file
    said_of: dict[int, list[str]] = {}
    for some, owner in zip(sources, owners, strict=True):
        for one in some:
            if owner_of(one.paths, read):
                continue
            if shop and owner:
                one.patterns = below(one.patterns, folder, shop, owner)
            name, several = source_of[id(one)], linked.get(id(one), [])
            lines, said_of[id(one)] = _reading(one, name, placed[id(one)], joined, several, source_of)
            written[id(one)] = lines
            if any(line.startswith("customer_id = ") for line in lines) and "customer_id" in one.roles:
                seen[one.name] = as_padded(one, "customer_id")
    met = [[other.name for link in some for _, other in link.met] for some in linked.values() if clear(some)]
    apart_of = circles(seen, met)
    most = max(apart_of, key=len, default=[])
    for circle in apart_of:
        if circle is most:
            continue
        begins = next(one for one in found if one.name == circle[0])
        strangers = meet_nobody(most, circle[1:])
        written[id(begins)].insert(0, f"# DECIDE: {strangers}")
        said_of[id(begins)].append(f"  {strangers}")
    parts: list[str] = []
    for name, some, owner in zip(names, sources, owners, strict=True):
        readings_here = [line for one in some if id(one) in written for line in (*written[id(one)], "")]
        notes += [line for one in some for line in said_of.get(id(one), [])]
        if owner:
            parts += readings_here
            continue
        head = [f"[mapping.{name}]", f"folder = {text(str(folder))}"]
        if some is sources[0] and (strangers_there := apart(frozenset().union(*seen.values()), others)):
            head.append(f'# customer_prefix = "{name}:"   # DECIDE: {meet_nobody(strangers_there)}')
            notes.append(meet_nobody(strangers_there))
        head.append(
            '# zone = "Europe/London"   # DECIDE: of the times without an offset; without this line, the shop\'s own zone'
        )
        if not any(
            line.startswith("table = ") for line in readings_here
        ):  # a mapping that reads nothing is none
            head = [line if line.startswith("#") else f"# {line}" for line in head] if readings_here else []
        parts += [*head, "", *readings_here]
    if not any("table = " in line and UNKNOWN not in line for line in parts):
        raise SourceError(
            f"nothing in {', '.join(p.name for p in files)} could be placed:\n" + "\n".join([*notes, *parts])
        )
    notes += padding
    if others_there := left_out(given):
        notes.append(
            f"left out, for they are of no kind that is read (save a workbook as CSV): {', '.join(others_there)}"
        )
    if len(names) > 1:
        notes.append(f"{len(names)} sources, for their orders are not each other's: {', '.join(names)}")
    return Proposal(tuple(names), "\n".join(parts), tuple(notes), tuple(filter(None, owners)))


def _is_read(one: Found, table: str | None, joined: Joined) -> bool:
    """Whether its reading needs no filling in."""
    return any(line.startswith("table = ") for line in read_as(one, "any", table, joined)[0])


def _reading(
    one: Found,
    name: str,
    table: str | None,
    joined: Joined,
    several: list[Link],
    source_of: Mapping[int, str],
) -> tuple[list[str], list[str]]:
    """The TOML of files that are read alike, and what to say of it.

    table: of sales or goods. several: its columns of other files' customers, whose links it says.
    """
    said = [
        f"{', '.join(one.names[:3])}{' ...' if len(one.names) > 3 else ''}: {len(one.names)} "
        f"file{'s' * (len(one.names) > 1)}, {one.rows:,} rows looked at, the first of each"
    ]
    todo = [*one.todo, *(f"# {of}" for found, of in joined.said if found is one)]
    lines, more = read_as(one, name, table, joined)
    lines, told = with_told(lines, one.told, one.roles)
    if several:
        head = [f"files = {json.dumps(one.patterns, ensure_ascii=False)}", *format_lines(one.how)]
        links_of = readings(name, head, one, several, source_of)
        people = any(line.startswith("table = ") for line in lines)
        lines = [*lines, "", *links_of] if people else links_of  # the stub to fill in is filled
        more = [*(more if people else ["  rows are identities"]), *(f"  {link.said}" for link in several)]
    return [*todo, *lines] if lines else [], [
        *said,
        *(f"  {t.removeprefix('# ')}" for t in todo),
        *more,
        *told,
    ]
