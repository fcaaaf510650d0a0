"""What `propensity segments` does and shows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
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
from serving import audit, crossings, figures, outbox, segments
from serving.crossings import Followed
from serving.figures import Figures
from serving.outbox import Outbox, Told
from serving.segments import DeclaredSegment
from training import targets

Bools = NDArray[np.bool_]
FEW = 5  # customers: figures of fewer are not shown, which would be somebody's
ADHOC = "rule"  # the name of a segment that is declared nowhere


@dataclass(frozen=True)
class Members:
    """Who is in a segment: [n]. staying: how many by `stays` alone, as pushes hold it; None: they do not, or
    it has no `stays`."""

    inside: Bools
    staying: int | None = None


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
    rows, who, absent = _members(settings, read, every)
    right = ("customers", "share", "by stays")
    shown = table(f"Segments as of {iso(read.moment)}", "name", "segment", *right, "rule", right=right)
    for name, one in every.items():
        number = ["", "", ""]
        if name in who:
            count, staying = who[name].inside.sum(), who[name].staying
            number = [f"{count:,}", _share(count, rows), "" if staying is None else f"{staying:,}"]
        stays = _tell(Words(f"; stays while {one.stays}", f"；保留条件 {one.stays}"), language)
        rule = one.when + (stays if one.stays else "")
        shown.add_row(*map(Text, (name, _tell(one.words, language), *number, rule)))
    console().print(shown)
    for name, of in who.items():
        if every[name].stays and of.staying is None:
            say(f"{name}: {_tell(_NOT_HELD, language)}")
    _say_absent(absent, language)


def preview(settings: Settings, name: str | None, rule: str | None, language: str) -> None:
    """How many a segment has, what they are like beside everybody, and which other segments they are in."""
    title, one = chosen(settings, name, rule)
    read = Figures.open(settings)
    if why := read.lacking(one.inputs):
        raise UsageError(f"{title} cannot be told: {why}")
    ids, values = read.read(one.inputs)
    members = _members(settings, read, {title: one})[1][title]
    inside = members.inside
    number, share = int(inside.sum()), _share(inside.sum(), len(ids))
    told = Words(
        f"{title}: {number:,} of {len(ids):,} customers ({share}) as of {iso(read.moment)}",
        f"{title}：{len(ids):,}位客户中有{number:,}位（{share}），截至{iso(read.moment)}",
    )
    say(_tell(told, language))
    _say_staying(title, one, members, language)
    _show_figures(values, inside, language)
    others = {other: of for other, of in declared(settings).items() if other != title}
    _, of_others, absent = _members(settings, read, others)
    who = {other: of.inside for other, of in of_others.items()}
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
    members = _members(settings, read, {title: one})[1][title]
    inside = members.inside
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
    _say_staying(title, one, members, language)


_NOT_HELD = Words(
    "nobody is in it by `stays` alone, for who was in it before is not known: `propensity pushes run` keeps "
    "that",
    "未计入仅凭 `stays` 保留的客户，因为此前的成员未知：由 `propensity pushes run` 记录",
)


def _members(
    settings: Settings, read: Figures, every: Mapping[str, DeclaredSegment]
) -> tuple[int, dict[str, Members], dict[str, str]]:
    """(customers, segment -> who is in it, segment -> why it cannot be told); as pushes hold it, if so."""
    whys = {name: read.lacking(one.inputs) for name, one in every.items()}
    here = {name: one for name, one in every.items() if whys[name] is None}
    ids, values = read.read({input for one in here.values() for input in one.inputs})
    told, who = _told(settings, here), dict[str, Members]()
    for name, one in here.items():
        inside, staying = one.holds(values, len(ids)), None
        if name in told:
            by_when = int(inside.sum())
            held = crossings.held(Followed(one), read, told[name])
            inside = np.fromiter((state is not None for state in held.state), np.bool_, len(ids))
            staying = int(inside.sum()) - by_when
        who[name] = Members(inside, staying)
    return len(ids), who, {name: why for name, why in whys.items() if why is not None}


def _told(settings: Settings, every: Mapping[str, DeclaredSegment]) -> dict[str, Told]:
    """What pushes hold of each that has `stays`: of others who was in it does not matter."""
    if not outbox.exists(settings):
        return {}
    with closing(Outbox(settings)) as box:
        found = {name: box.told(Followed(one).thing) for name, one in every.items() if one.stays}
    return {name: told for name, told in found.items() if told is not None}


def _say_staying(title: str, one: DeclaredSegment, members: Members, language: str) -> None:
    if members.staying is not None:
        staying = Words(
            f"{members.staying:,} of them are in it by `stays` alone, as `propensity pushes run` keeps it",
            f"其中{members.staying:,}位仅凭 `stays` 保留，以 `propensity pushes run` 的记录为准",
        )
        say(_tell(staying, language))
    elif one.stays:
        say(f"{title}: {_tell(_NOT_HELD, language)}")


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
