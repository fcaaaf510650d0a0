"""A trial's table as people write it: names given twice, spaces around what was typed, rows copied."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import UsageError
from features.words import Words


def named(table: pa.Table, path: Path) -> pa.Table:
    """The table with names without spaces around them. UsageError if two columns have one name."""
    names = [name.strip() for name in table.column_names]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        places = [str(place) for place, name in enumerate(names, start=1) if name == twice[0]]
        spaces = len({*table.column_names}) > len({*names})
        raise UsageError(
            f"{path} has {len(places)} columns named {twice[0] or '(nothing)'}"
            f"{' (spaces do not count)' * spaces}: columns {', '.join(places[:-1])} and {places[-1]}. Rename "
            "one, or leave it out"
            + (f". The same holds of {', '.join(of or '(nothing)' for of in twice[1:])}" * (len(twice) > 1))
        )
    return table.rename_columns(names)


def tidied(table: pa.Table, customer: str | None = None) -> tuple[pa.Table, tuple[Words, ...]]:
    """(the table without spaces around its texts, so that a name typed in two ways is one; notes: what was
    done, and how many rows are copies of others, where a column tells the customer)."""
    changed = list[Words]()
    for place, name in enumerate(table.column_names):
        kind = table[name].type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            continue
        text = table[name].cast(pa.string())
        bare = pc.utf8_trim_whitespace(text)
        other = pc.fill_null(pc.not_equal(text, bare), False)
        if rows := pc.sum(other).as_py():
            empty = pc.and_(other, pc.equal(bare, ""))  # as an empty cell is
            table = table.set_column(place, name, pc.if_else(empty, pa.scalar(None, pa.string()), bare))
            seen = text.filter(other)[0].as_py()
            changed.append(Words(
                f"{name} ({rows:,} rows, such as “{seen}”)", f"{name}（{rows:,}行，如“{seen}”）"
            ))  # fmt: skip
    notes = [Words(
        f"Spaces before or after a text were taken off: {', '.join(of.en for of in changed)}.",
        f"已去除文本首尾的空格：{'、'.join(of.zh for of in changed)}。",
    )] if changed else []  # fmt: skip
    if customer in table.column_names and (copies := copied(table)):
        rows = len(table)
        notes.append(Words(
            f"{copies:,} of {rows:,} rows are copies of others in every column, {customer} as well: they "
            "count as further rows of a customer, who so weighs more. If a table was joined or exported "
            "twice, leave them out.",
            f"{rows:,}行中有{copies:,}行与其他行的所有列（含{customer}）完全相同：计为同一客户的更多行，"
            "该客户权重因此更大。若为重复连接或重复导出，请删除。",
        ))  # fmt: skip
    return table, tuple(notes)


def copied(table: pa.Table) -> int:
    """How many rows are copies of others in every column; 0 where a column holds lists."""
    if any(pa.types.is_nested(one.type) for one in table.schema):
        return 0
    return len(table) - len(table.group_by(table.column_names, use_threads=False).aggregate([]))
