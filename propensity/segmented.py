"""What `propensity segments` does and shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.text import Text

from features.definitions import catalogue as feature_catalogue
from features.errors import SettingsError, UsageError
from features.files import write_atomically
from features.moments import iso
from features.settings import Settings
from features.shop import Shop, shop_of
from features.toml import nearest
from features.words import Words
from propensity.tables import console, say, table
from serving import audit, figures, segments
from serving.figures import Figures
from serving.segments import DeclaredSegment
from training import targets

Bools = NDArray[np.bool_]
FEW = 5  # customers: figures of fewer are not shown, which would be somebody's
ADHOC = "rule"  # the name of a segment that is declared nowhere


def names_of(shop: Shop) -> set[str]:
    """All that a rule of this shop may read: its features, and what its models could say."""
    own = targets.of_shop(shop)  # a target that is wrong today may have a model all the same
    return {*feature_catalogue(shop.declared("FEATURES")), *figures.scores((*own, *own.wrong))}


def declared(settings: Settings) -> dict[str, DeclaredSegment]:
    """The shop's segments by name. SettingsError for what cannot be one."""
    shop = shop_of(settings)
    return shop.read("SEGMENTS", segments.catalogue, names_of(shop))


def chosen(settings: Settings, name: str | None, rule: str | None) -> tuple[str, DeclaredSegment]:
    """A declared segment, or one of a rule that was given. UsageError unless it is exactly one of them."""
    if (name is None) == (rule is None):
        raise UsageError('name a segment, or give a rule: --rule "churn_28d >= 0.6 and spend_365d > 200"')
    every = declared(settings)
    if rule is not None:
        given = DeclaredSegment(name=ADHOC, words=Words(rule, rule), when=rule)
        for input in given.inputs:
            if input not in (names := names_of(shop_of(settings))):
                raise UsageError(f"the rule cannot be used: {segments.unknown(input, names)}")
        return ADHOC, given
    if name not in every:
        known = ", ".join(every) or "none: add SEGMENTS to shop.py"
        raise UsageError(f"there is no segment {name!r}{nearest(str(name), every)} There are: {known}")
    return str(name), every[str(name)]


def list_segments(settings: Settings, language: str) -> None:
    """Every declared segment: its rule, and how many customers are in it now."""
    every = declared(settings)
    if not every:
        raise SettingsError(
            f"{settings.shop / 'shop.py'} declares no SEGMENTS: serving/segments.py shows how one reads"
        )
    read = Figures.open(settings)
    rows, who, absent = _members(read, every)
    right = ("customers", "share")
    shown = table(f"Segments as of {iso(read.moment)}", "name", "segment", *right, "rule", right=right)
    for name, one in every.items():
        number = (f"{int(who[name].sum()):,}", _share(who[name].sum(), rows)) if name in who else ("", "")
        stays = _tell(Words(f"; stays while {one.stays}", f"；保留条件 {one.stays}"), language)
        rule = one.when + (stays if one.stays else "")
        shown.add_row(*map(Text, (name, _tell(one.words, language), *number, rule)))
    console().print(shown)
    _say_absent(absent, language)


def preview(settings: Settings, name: str | None, rule: str | None, language: str) -> None:
    """How many a segment has, what they are like beside everybody, and which other segments they are in."""
    title, one = chosen(settings, name, rule)
    read = Figures.open(settings)
    if why := read.lacking(one.inputs):
        raise UsageError(f"{title} cannot be told: {why}")
    ids, values = read.read(one.inputs)
    inside = one.holds(values, len(ids))
    number, share = int(inside.sum()), _share(inside.sum(), len(ids))
    told = Words(
        f"{title}: {number:,} of {len(ids):,} customers ({share}) as of {iso(read.moment)}",
        f"{title}：{len(ids):,}位客户中有{number:,}位（{share}），截至{iso(read.moment)}",
    )
    say(_tell(told, language))
    _show_figures(values, inside, language)
    others = {other: of for other, of in declared(settings).items() if other != title}
    _, who, absent = _members(read, others)
    stages = {} if read.lacking(["stage_exit"]) else _stages(read)
    right = ("customers", "of these", "of those")
    shown = table("Also in", "segment", *right, right=right)
    for other, of in {**who, **stages}.items():
        both = int((inside & of).sum())
        shown.add_row(other, f"{both:,}", _share(both, number), _share(both, of.sum()))
    if who or stages:
        console().print(shown)
    _say_absent(absent, language)


def export(
    settings: Settings, name: str | None, rule: str | None, out: Path, with_figures: bool, language: str
) -> None:
    """Write who is in a segment to a new or replaced file, CSV or parquet by its name."""
    title, one = chosen(settings, name, rule)
    if out.suffix not in (".csv", ".parquet"):
        raise UsageError(f"{out}: name a file that ends in .csv or .parquet")
    read = Figures.open(settings)
    if why := read.lacking(one.inputs):
        raise UsageError(f"{title} cannot be told: {why}")
    ids, values = read.read(one.inputs)
    inside = one.holds(values, len(ids))
    columns: dict[str, Any] = {"customer_id": pa.array(ids, pa.string())}
    if with_figures:
        columns |= {name: pa.array(of, mask=np.isnan(of)) for name, of in sorted(values.items())}
    found, sink = pa.table(columns).filter(pa.array(inside)), pa.BufferOutputStream()
    (pa_csv.write_csv if out.suffix == ".csv" else pq.write_table)(found, sink)
    number = int(inside.sum())
    audit.record(settings, audit.HERE, f"segments export {title}", outcomes={"customers": number})
    write_atomically(out, sink.getvalue().to_pybytes(), mode=0o600)
    told = Words(
        f"{number:,} customers are in {title} as of {iso(read.moment)}: {out}. Consent and contact limits "
        "are not applied here: a decision applies them",
        f"截至{iso(read.moment)}，{title}共有{number:,}位客户：{out}。此处未校验授权与触达上限，由决策接口校验",
    )
    say(_tell(told, language))


def _members(
    read: Figures, every: Mapping[str, DeclaredSegment]
) -> tuple[int, dict[str, Bools], dict[str, str]]:
    """(customers, segment -> who is in it [n], segment -> why it cannot be told)."""
    whys = {name: read.lacking(one.inputs) for name, one in every.items()}
    here = {name: one for name, one in every.items() if whys[name] is None}
    ids, values = read.read({input for one in here.values() for input in one.inputs})
    who = {name: one.holds(values, len(ids)) for name, one in here.items()}
    return len(ids), who, {name: why for name, why in whys.items() if why is not None}


def _stages(read: Figures) -> dict[str, Bools]:
    _, labels = read.labels("stage")
    found: dict[str, Bools] = {
        f"stage {label}": labels == label for _, label in figures.LABELS.values() if (labels == label).any()
    }
    return found


def _show_figures(values: Mapping[str, NDArray[Any]], inside: Bools, language: str) -> None:
    """Medians and quarters, of FEW or more: so that nobody in particular is shown."""
    right = ("lower quarter", "median", "upper quarter", "median of all", "not known")
    shown = table("What its rule reads", "figure", *right, right=right)
    for name, of in values.items():
        mine, all = of[inside], of[~np.isnan(of)]
        known = mine[~np.isnan(mine)]
        cells = (
            [f"{q:,.4g}" for q in np.quantile(known, (0.25, 0.5, 0.75))] if len(known) >= FEW else [""] * 3
        )
        middle = f"{np.median(all):,.4g}" if len(all) else ""
        shown.add_row(name, *cells, middle, f"{len(mine) - len(known):,}")
    console().print(shown)


def _say_absent(absent: Mapping[str, str], language: str) -> None:
    for name, why in absent.items():
        say(_tell(Words(f"{name}: cannot be told: {why}", f"{name}：无法判定：{why}"), language))


def _share(part: float, all: float) -> str:
    return f"{part / all:.1%}" if all else ""


def _tell(words: Words, language: str) -> str:
    return words.zh if language == "zh" else words.en
