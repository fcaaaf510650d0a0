"""What looks wrong with a log although no row breaks a contract: where it ends, what meets nobody.

A log is complete until its first source ends. So a source that was delivered no more ends it, and a year that
was mistyped in one row moves that end by as much; both leave half of it empty, and say nothing.
A line whose order is nowhere is goods without a sale: its money is in no order, and in no customer's history.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import duckdb

from features import duck
from features.ingestion.mended import INBOX, MENDED
from features.ingestion.parts import Part
from features.ingestion.scrubbing import LINKED
from features.ingestion.strays import Stray, Twice, strays, twice
from features.log import DERIVED_TAGS, LEDGER, Log
from features.moments import parse_moment
from features.settings import Settings
from features.shop import Shop
from features.sources.bounds import LATER
from features.sources.corrected import ADDS
from features.tables import TABLES
from features.tombstones import Tombstones
from features.words import Words

OURS = (INBOX, MENDED, DERIVED_TAGS, LEDGER)  # sources of which nobody delivers files
LONGER = 28  # days that other sources may go on
ALONE = 60  # days without a row, before the last ones
FEW, LEAST = 0.001, 100  # share of the rows that stand alone, or one; of fewer rows none is odd


@dataclass(frozen=True)
class Suspicion:
    """kind: a source `ends` the log early, rows stand `alone` at its end or are dated `later` than now,
    `ids` or `lines` meet nobody, the `refs` of mended returns are no orders of their customers, `links` lead
    to people who were erased.
    """

    kind: Literal["ends", "alone", "later", "ids", "lines", "refs", "links"]
    source: str
    what: Words
    do: Words


@dataclass(frozen=True)
class _Alone:
    """The last `rows` of `of` rows, known `days` after all others, which were known by the day `before`."""

    table: str
    before: date
    days: int
    rows: int
    of: int
    first: str  # its file, row and date


def suspicions(
    settings: Settings, shop: Shop, places: Mapping[str, Path], log: Log, rejects: Path, work: Path
) -> tuple[Suspicion, ...]:
    """What to look at. places: source -> the folder of its part; log: what was folded from those; rejects:
    the folder of what it did not take in; work: for what exceeds memory."""
    there = [Part.open(f) for s, f in places.items() if s not in OURS and (f / "part.json").exists()]
    found: list[Suspicion] = []
    with duck.connect(memory=settings.memory, folder=work) as connection:
        ends: dict[str, date] = {}
        for part in there:
            if part.facts.get("complete_until") is None:
                continue
            until = parse_moment(part.facts["complete_until"]).astimezone(shop.zone).date()
            ends[part.source] = until
            alone = _alone(connection, part, shop)
            if alone and (until - alone.before).days > ALONE:
                ends[part.source] = alone.before
                found.append(_said_alone(part.source, alone))
        found += _later(connection, rejects, shop)
        declared = {name for name, mapping in shop.mappings.items() if "complete_until" in mapping}
        found += _early(ends, declared)
        odd = strays(connection, there)
        found += [_said_stray(stray) for stray in odd]
        found += [_said_twice(one) for one in twice(connection, log, Tombstones.of(settings), odd)]
        found += _without_orders(connection, log)
        found += _of_no_order(connection, there, log)
        found += _to_erased(connection, there)
    return tuple(found)


def _alone(connection: duckdb.DuckDBPyConnection, part: Part, shop: Shop) -> _Alone | None:
    """The last rows, if few and long after all others: of the orders, or of all tables if there are none."""
    tables = ["orders"] if "orders" in part.tables else [t for t in part.tables if _dated(t)]
    if not tables:
        return None
    local = f"(known_at AT TIME ZONE '{shop.zone.key}')::DATE"
    rows = " UNION ALL ".join(f"SELECT {local} AS day FROM {_rows(part.path(t))}" for t in tables)
    days = connection.execute(f"SELECT day, count(*) FROM ({rows}) GROUP BY day ORDER BY day DESC").fetchall()
    total, after = sum(n for _, n in days), 0
    few = max(1, FEW * total) if total >= LEAST else 0
    since: date | None = None
    for (day, n), (before, _) in zip(days, days[1:], strict=False):
        after += n
        if after > few:
            break
        if (day - before).days > ALONE:
            since, usual, alone = day, before, after
    if since is None:
        return None
    for table in (*tables, *(["order_lines"] if "order_lines" in part.tables else [])):
        rows = f"{_rows(part.path(table))} POSITIONAL JOIN {_rows(part.origins(table))}"
        first = connection.execute(
            f"""SELECT file, line, ("at" AT TIME ZONE '{shop.zone.key}')::DATE FROM {rows}
                WHERE {local} >= '{since}' AND file IS NOT NULL ORDER BY known_at, file, line LIMIT 1"""
        ).fetchall()
        if first:
            file, line, day = first[0]
            return _Alone(table, usual, (since - usual).days, alone, total, f"{file}, row {line + 1}: {day}")
    return _Alone(tables[0], usual, (since - usual).days, alone, total, f"{since}")


def _dated(table: str) -> bool:
    return {"at", "customer_id", "known_at"} <= set(TABLES[table].columns) and table not in (
        "customers",
        "identities",
    )


def _rows(path: Path) -> str:
    return f"read_parquet('{path}', hive_partitioning = false)"


def _said_alone(source: str, one: _Alone) -> Suspicion:
    reject = f"[mapping.{source}.read.reject]"
    return Suspicion(
        "alone",
        source,
        Words(
            f"The last {one.rows:,} of {one.of:,} rows of {source} for {one.table} stand alone, "
            f"{one.days:,} days after all others ({one.first}). The log would end there.",
            f"{source}的{one.table}共{one.of:,}行，最后{one.rows:,}行孤立，比其余各行晚{one.days:,}天"
            f"（{one.first}）。日志会因此止于该日。",
        ),
        Words(
            f"If the date is a slip, correct it in the file or reject the row in {reject}; or say in "
            f"[mapping.{source}] where its data ends: complete_until = {one.before}",
            f"如日期有误，请在文件中更正，或在 {reject} 中拒绝该行；或在 [mapping.{source}] 中写明数据截止："
            f"complete_until = {one.before}",
        ),
    )


def _later(connection: duckdb.DuckDBPyConnection, rejects: Path, shop: Shop) -> Iterator[Suspicion]:
    """Of each source and table, the rows that were rejected as dated after now, and not mended since."""
    paths = [str(path) for path in sorted(rejects.glob("*.parquet")) if path.stem in shop.mappings]
    if not paths:
        return
    found = connection.execute(
        f"""SELECT source, "table", count(*), min(struct_pack(file := file, line := line)),
                   (max((row->>'$.at')::TIMESTAMPTZ) AT TIME ZONE '{shop.zone.key}')::DATE
            FROM read_parquet({paths}, hive_partitioning = false)
            WHERE reason = '{LATER}' AND NOT mended
            GROUP BY ALL ORDER BY source, "table" """
    ).fetchall()
    for source, table, rows, first, until in found:
        where = f"{first['file']}, row {first['line'] + 1}" if first["file"] else source
        yield Suspicion(
            "later",
            source,
            Words(
                f"{rows:,} rows of {source} for {table} are dated after the day on which they came, up to "
                f"{until} (the first: {where}). They are rejected: they count for no customer, and the log "
                "does not end there.",
                f"{source}的{table}有{rows:,}行日期晚于导入之日，最晚为{until}（首行：{where}）。"
                "这些行已被拒绝：不计入任何客户，日志也不以其为截止。",
            ),
            Words(
                "Correct the dates where they come from and ingest the files again, or mend the rows: "
                f"`propensity rejects export`. If the dates are meant, say in [mapping.{source}] where its "
                f"data ends: complete_until = {until}",
                "请在来源处更正日期后重新导入，或修正这些行：`propensity rejects export`。如日期无误，请在 "
                f"[mapping.{source}] 中写明数据截止：complete_until = {until}",
            ),
        )


def _early(ends: Mapping[str, date], declared: set[str]) -> Iterator[Suspicion]:
    """Sources that end long before another one; where that is declared, somebody meant it."""
    latest = max(ends.values(), default=date.min)
    longest = ", ".join(name for name, end in ends.items() if end == latest)
    for source, end in sorted(ends.items(), key=lambda item: (item[1], item[0])):
        days = (latest - end).days
        if days > LONGER and source not in declared:
            yield Suspicion(
                "ends",
                source,
                Words(
                    f"{source} ends the log: it is complete until {end}, while {longest} goes on "
                    f"until {latest}, {days:,} days longer. What is later counts for no model.",
                    f"{source}使日志提前结束：其数据只到{end}，而{longest}到{latest}，晚{days:,}天。之后的数据不会用于建模。",
                ),
                Words(
                    f"Bring its later files; or, if it has nothing later to tell, say so in "
                    f"[mapping.{source}]: complete_until = {latest}; or leave it out of `sources` in "
                    "shop.toml.",
                    f"请补充其后续文件；如之后确无数据，请在 [mapping.{source}] 中写明 "
                    f"complete_until = {latest}；或从 shop.toml 的 sources 中去掉它。",
                ),
            )


def _said_stray(one: Stray) -> Suspicion:
    pad = f", pad = {one.pad}" if one.pad else ""
    line = f'customer_id = {{ column = "...", clean = {json.dumps(one.clean)}{pad} }}'
    lone = one.ids - one.met
    return Suspicion(
        "ids",
        one.source,
        Words(
            f"{lone:,} of {one.ids:,} customer ids for {one.table} are nobody's elsewhere as they are "
            f"written, but {one.mended:,} would be somebody's, were {one.file} of {one.source} written as "
            f"{one.other}: one person is two now.",
            f"{one.table}的{one.ids:,}个客户标识中有{lone:,}个在别处找不到；若{one.source}的{one.file}按{one.other}"
            f"的写法，{one.mended:,}个可以对上：现在同一人成了两人。",
        ),
        Words(
            f"In the reading of {one.file}: {line}. If they are other people, give them a customer_prefix.",
            f"在读取 {one.file} 处写：{line}。如确为不同的人，请设置 customer_prefix。",
        ),
    )


def _said_twice(one: Twice) -> Suspicion:
    whole = one.id.rjust(one.pad, "0")
    en = "who was erased: this brings the person back" if one.erased else "in the log: one person is two now"
    zh = "已被删除的客户：现在又出现了" if one.erased else "日志中的客户：现在同一人成了两人"
    line = f'customer_id = {{ column = "...", clean = ["trim", "whole"], pad = {one.pad} }}'
    return Suspicion(
        "ids",
        one.source,
        Words(
            f"{one.file} of {one.source} has {one.ids:,} customer ids without the zeros that others have: "
            f"such as {one.id}; as {whole} it is a customer {en}.",
            f"{one.source}的{one.file}有{one.ids:,}个客户标识缺少前导零（如{one.id}）；写作{whole}则是{zh}。",
        ),
        Words(
            f"In the reading of {one.file}: {line}. If they are other people, give them a customer_prefix.",
            f"在读取 {one.file} 处写：{line}。如确为不同的人，请设置 customer_prefix。",
        ),
    )


def _without_orders(connection: duckdb.DuckDBPyConnection, log: Log) -> Iterator[Suspicion]:
    """Of each source, the lines whose order is in no order of the finished log."""
    if "order_lines" not in log.files:
        return
    orders = log.paths("orders") if "orders" in log.files else []
    has = " UNION ALL ".join(f"SELECT order_id FROM {_rows(path)}" for path in orders)
    for path in log.paths("order_lines"):
        lines, lost, first = connection.execute(
            f"""SELECT count(*), count(DISTINCT order_id), min(order_id) FROM {_rows(path)}
                ANTI JOIN ({has or "SELECT NULL::VARCHAR AS order_id"}) USING (order_id)"""
        ).fetchall()[0]
        if lines:
            yield Suspicion(
                "lines",
                path.stem,
                Words(
                    f"{lines:,} order lines of {path.stem} are of {lost:,} orders that the log has not, such "
                    f"as {first}: their money is in no order, and in nobody's history.",
                    f"{path.stem}有{lines:,}行订单明细，其{lost:,}个订单不在日志中（如{first}）："
                    "这些金额不属于任何订单，也不在任何客户的历史中。",
                ),
                Words(
                    "If those orders were rejected, mend them: `propensity rejects list`. Else read the file "
                    "that has them, or the lines in a mapping of their own: an order is their sum there.",
                    "如这些订单被拒绝，请先修正：`propensity rejects list`；否则请读取含这些订单的文件，"
                    "或将明细放入单独的映射，由明细合计为订单。",
                ),
            )


def _of_no_order(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[Part], log: Log
) -> Iterator[Suspicion]:
    """The mended returns that take back an order which is not that customer's: a slip of whoever typed it.

    What the rejected row's own file says is no slip, nor is `unknown`.
    """
    mended = [
        f"SELECT order_id, customer_id, ref FROM {_rows(path)}"
        for table in ("orders", "order_lines")
        for path in (log.paths(table) if table in log.files else [])
        if path.stem == MENDED
    ]
    if not mended or "orders" not in log.files:
        return
    said = " UNION ALL ".join(f"SELECT row->>'$.ref' AS ref FROM {_rows(part.rejects)}" for part in parts)
    has = " UNION ALL ".join(
        f"SELECT order_id, customer_id FROM {_rows(path)}" for path in log.paths("orders")
    )
    found = connection.execute(
        f"""SELECT o.ref IS NULL AS nowhere, count(*), min(m.ref)
            FROM (SELECT DISTINCT * FROM ({" UNION ALL ".join(mended)})
                  WHERE ref <> 'unknown' AND NOT contains(order_id, '{ADDS}')) m
                 ANTI JOIN ({said or "SELECT NULL AS ref"}) USING (ref)
                 LEFT JOIN (SELECT order_id AS ref, list(customer_id) AS who FROM ({has}) GROUP BY 1) o
                 USING (ref)
            WHERE o.ref IS NULL OR NOT list_contains(o.who, m.customer_id) GROUP BY 1 ORDER BY 1"""
    ).fetchall()
    for nowhere, rows, first in found:
        en, zh = (
            ("that the log has not", "不在日志中") if nowhere else ("of another customer", "属于其他客户")
        )
        yield Suspicion(
            "refs",
            MENDED,
            Words(
                f"Mended returns whose `ref` is an order {en}: {rows:,}, such as {first}. They take back "
                "nothing that their customer bought.",
                f"已更正的退货中，有{rows:,}笔的 ref 所指订单{zh}（如{first}）：所退的不是该客户买过的商品。",
            ),
            Words(
                "Correct `ref` in the sheet and take it again, or write `unknown` there; if that order was "
                "rejected, mend it as well.",
                "请在表中更正 ref 后重新导入，或填写 unknown；如该订单被拒绝，请一并更正。",
            ),
        )


def _to_erased(connection: duckdb.DuckDBPyConnection, parts: Sequence[Part]) -> Iterator[Suspicion]:
    """Of each source, the links that were refused, for one side of them is erased."""
    for part in parts:
        rows, file, line, customer, source, id = connection.execute(
            f"""SELECT count(*), first(file), first(line), first(row->>'$.customer_id'),
                       first(row->>'$.source'), first(row->>'$.source_id')
                FROM (FROM {_rows(part.rejects)} WHERE reason = '{LINKED}' ORDER BY file, line)"""
        ).fetchall()[0]
        if not rows:
            continue
        where = f"{file}, row {line + 1}" if file else part.source
        who, named = (customer, customer) if customer else (id, f"--source {source} --id {id}")
        yield Suspicion(
            "links",
            part.source,
            Words(
                f"Links of {part.source} were refused: {rows:,}. The first, {where}, makes {who} the same "
                "person as one who was erased.",
                f"{part.source}有{rows:,}条身份关联被拒绝。首条（{where}）使{who}与一个已被删除的人成为同一人。",
            ),
            Words(
                f"`propensity erase {named}` if that is so; else take the row out of its file.",
                f"如确为同一人，请运行 `propensity erase {named}`；否则请从文件中去掉该行。",
            ),
        )
