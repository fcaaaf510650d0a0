"""The files of a simulated shop: blocks of customers, each written by one process, in any order."""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import UsageError
from features.files import new_folder
from features.settings import BUNDLED_SHOPS
from features.sources import simulated
from features.sources.simulated import behaviour, campaigns, purchases
from features.sources.simulated.campaigns import ACTIONS, NOTHING, Contacts
from features.sources.simulated.columns import Rows, moments, named, numbered
from features.sources.simulated.draws import Floats, keys
from features.sources.simulated.people import ARCHETYPES, NEVER, People, people
from features.sources.simulated.purchases import Orders
from features.sources.simulated.records import (
    consents,
    customers,
    identities,
    memberships,
    scores,
    tags,
)
from features.sources.simulated.world import CONCEPT_CHANGES, FEATURE_CHANGES, World
from features.tables import TABLES

Progress = Callable[[str, int, int], None]

BLOCK = 20_000  # customers a file: about 1.5 million rows, under 1 GB at work
DUPLICATES, ANONYMOUS = 0.01, 0.005  # shares of rows that `dirty` spoils, in the tables of SPOILED
SPOILED = ("orders", "interactions")


@dataclass(frozen=True)
class Simulated:
    """What was written. `changed`: False if the folder already held exactly this shop."""

    folder: Path
    changed: bool
    rows: dict[str, int]  # table -> rows, the tables of the log only


def simulate(
    world: World,
    folder: Path,
    workers: int = 1,
    dry_run: bool = False,
    progress: Progress | None = None,
    block: int = BLOCK,
) -> Simulated:
    """Write the shop into `folder`: all of it, or nothing.

    The rows depend on `world` alone, the bytes on `block`, customers a file, too. dry_run: look only whether
    it could be done. UsageError if the folder holds something else.
    """
    blocks = range(0, world.customers, block)
    if folder.exists():
        if (folder / "world.json").exists() and World.load(folder / "world.json") == world:
            return Simulated(folder, False, json.loads((folder / "rows.json").read_text("utf-8")))
        if any(folder.iterdir()):
            raise UsageError(
                f"{folder} is not empty, and holds another shop or other files: name a new folder"
            )
    total: dict[str, int] = {}
    if dry_run:
        return Simulated(folder, True, total)
    if folder.exists():
        folder.rmdir()
    if progress:
        progress("the first customers", 0, len(blocks))
    with new_folder(folder) as scratch:
        _write(scratch, "products", 0, purchases.products(world), total)
        _write(scratch, "calendar", 0, behaviour.calendar(world), total)
        for done, rows in enumerate(_blocks(world, scratch, blocks, workers), start=1):
            for table, number in rows.items():
                total[table] = total.get(table, 0) + number
            if progress:
                progress(f"{sum(total.values()):,} rows", done, len(blocks))
        world.save(scratch / "world.json")
        ordered = {table: total.get(table, 0) for table in TABLES}
        (scratch / "rows.json").write_text(json.dumps(ordered, indent=1) + "\n", "utf-8")
        (scratch / "truth" / "drift.json").write_text(
            json.dumps([*_changes(world)], indent=1) + "\n", "utf-8"
        )
        (scratch / "README.md").write_text(f"# {simulated.__doc__}", "utf-8")
        for name in ("shop.toml", "shop.py"):
            shutil.copyfile(BUNDLED_SHOPS / "simulated" / name, scratch / name)
    return Simulated(folder, True, ordered)


def _blocks(world: World, folder: Path, blocks: range, workers: int) -> Iterator[dict[str, int]]:
    if min(workers, len(blocks)) <= 1:
        for first in blocks:
            yield write_block(world, folder, first, blocks.step)
        return
    # spawn: Arrow's threads do not survive a fork
    with ProcessPoolExecutor(min(workers, len(blocks)), mp_context=get_context("spawn")) as pool:
        for done in as_completed(
            [pool.submit(write_block, world, folder, first, blocks.step) for first in blocks]
        ):
            yield done.result()


def write_block(world: World, folder: Path, first: int, block: int) -> dict[str, int]:
    """Write the customers from `first` on, at most `block`; returns the rows of each table of the log."""
    who, number = people(world, first, min(first + block, world.customers)), first // block
    rows: dict[str, int] = {}
    score_rows, potential = scores(who)
    decided, lost, opted_out = campaigns.run(who, potential)
    sent = decided.sent()
    made = purchases.orders(who, sent, lost)
    contacts, responses, coupons = behaviour.contacts_and_responses(
        who, sent, made, purchases.first_after(made, sent)
    )
    heads, lines, back, in_full = purchases.paid(who, made, coupons)
    tables: dict[str, Rows] = {
        "customers": customers(who),
        "identities": identities(who),
        "orders": heads,
        "order_lines": lines,
        "contacts": contacts,
        "responses": responses,
        "memberships": memberships(who, opted_out),
        "cases": behaviour.cases(who, made, back, in_full),
        "surveys": behaviour.surveys(who, made),
        "tags": tags(who),
        "consents": consents(who, opted_out),
        "scores": score_rows,
        "interactions": behaviour.interactions(who, made, lost),
    }
    for name, columns in tables.items():
        _write(folder, name, number, columns, rows, world if name in SPOILED else None)
    for name, columns in _truth(who, decided, made, lost).items():
        _write(folder / "truth", name, number, columns, {})
    return rows


def _truth(who: People, decided: Contacts, made: Orders, lost: Floats) -> dict[str, Rows]:
    """What no shop knows: see `truth`."""
    world, n = who.world, len(who.index)
    true = campaigns.effects(who)
    margin, retention = campaigns.effects_on_value(who, true)
    second = who.linked > -NEVER
    one, action = np.repeat(np.arange(n), len(ACTIONS)), np.tile(np.arange(len(ACTIONS)), n)
    bad = np.flatnonzero(made.bad)
    return {
        "customers": {
            **who.ids(),
            "second_id": pc.if_else(pa.array(second), numbered("w", who.index, 8), pa.scalar(None, pa.string())),
            "linked_at": moments(world, who.linked, second & (who.linked < world.days)),
            "acquired_at": moments(world, who.acquired),
            "archetype": named(who.archetype, ARCHETYPES),
            "rate": pa.array(who.rate),
            "hazard": pa.array(who.hazard),
            "mean_order": pa.array(who.spend),
            "visit_rate": pa.array(who.visits),
            "deal": pa.array(who.deal),
            "novelty": pa.array(who.novelty),
            "live": pa.array(who.live),
            "holdout": pa.array(who.holdout),
            "lifetime_margin": pa.array(campaigns.MARGIN_RATE * who.spend * (who.first_by_order + who.rate / who.hazard)),
            "churned_at": moments(world, lost, lost < world.days),
            "churned_at_alone": moments(world, who.lost, who.lost < world.days),
        },
        "effects": {
            **who.ids(one),
            "action": named(action, ACTIONS),
            "orders": pa.array(true.orders.ravel()),
            "put_off": pa.array(true.put_off.ravel()),
            "margin": pa.array(margin.ravel()),
            "retention": pa.array(retention.ravel()),
            "opt_out": pa.array(true.opt_out.ravel()),
        },
        "assignments": {
            **who.ids(decided.customer),
            "campaign_id": named(decided.campaign, [f"campaign-{k:03d}" for k in range(int(decided.campaign.max(initial=0)) + 1)]),
            "at": moments(world, decided.t),
            "action": named(np.where(decided.action == NOTHING, len(ACTIONS), decided.action), [*ACTIONS, "nothing"]),
            "propensity": pa.array(decided.propensity),
            "band": pa.array(decided.band),
            "lost": pa.array(~decided.alive),
            "expected_orders": pa.array(decided.expected),
            "caused_order": pa.array(np.isfinite(decided.extra)),
        },
        "grievances": {
            **who.ids(made.customer[bad]),
            "at": moments(world, made.t[bad]),
            "until": moments(world, made.t[bad] + purchases.GRIEVANCE),
        },
    }  # fmt: skip


def _write(
    folder: Path, name: str, number: int, columns: Rows, rows: dict[str, int], spoilt: World | None = None
) -> None:
    """One parquet file of a table: folder/<name>.parquet/<name>-<number>.parquet."""
    table = pa.table(columns)
    if spoilt is not None and spoilt.dirty:
        table = _spoil(spoilt, name, number, table)
    path = folder / f"{name}.parquet" / f"{name}-{number:05d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
    pq.write_table(
        table, path, compression="zstd", compression_level=1, use_dictionary=listed, store_schema=False,
        store_decimal_as_integer=True, row_group_size=1 << 20, write_statistics=False,
    )  # fmt: skip
    rows[name] = rows.get(name, 0) + len(table)


def _spoil(world: World, name: str, number: int, table: pa.Table) -> pa.Table:
    """Some rows lose their customer, others come twice."""
    u = world.draws.uniform(f"dirt {name}", keys(np.arange(len(table), dtype=np.int64), number))
    place = table.column_names.index("customer_id")
    missing = pa.array(u < ANONYMOUS)
    ids = table["customer_id"].combine_chunks()
    table = table.set_column(
        place, "customer_id", pc.if_else(missing, pa.scalar(None, pa.string()), ids.cast(pa.string()))
    )
    return pa.concat_tables([table, table.filter(pa.array((u > 0.5) & (u < 0.5 + DUPLICATES)))])


def _changes(world: World) -> Iterator[dict[str, object]]:
    for change in world.changes:
        concept = change.kind in CONCEPT_CHANGES
        yield {
            "of": "concept" if concept else "features",
            "kind": change.kind,
            "factor": change.factor,
            "day": change.day,
            "at": world.moment(change.day).isoformat(),
            "means": {**FEATURE_CHANGES, **CONCEPT_CHANGES}[change.kind],
        }
