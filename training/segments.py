"""How a model does among customers of each kind: whom it fails while its mean looks well.

Kinds are thirds or codes of features, and the attributes of customers that shop.toml names: `segments`, and
`protected`, whose groups are also asked to be treated alike. No model reads an attribute.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.definitions.units import CODES
from features.log import Log
from features.shop import Shop
from features.toml import nearest
from features.words import Words
from serving.booster import Rows
from training import evaluate, pooled
from training.comparison import shown
from training.evaluate import DIGITS, Numbers

LEAST = 30  # of each label in a group, over all origins: with fewer, its figures say nothing
TOP = 0.1  # of an origin's customers, by score: who would be chosen, where groups must be treated alike
_DRAWS = 500  # of customers, for the intervals of gaps
_NOT_KNOWN = Words("not known", "未知")
_KNOWN = Words("known, all together", "已知（合计）")


class Kind(NamedTuple):
    """A way to tell customers apart: the first of these features that the model reads, by its codes, at
    `edges` in its unit, or in thirds."""

    name: str
    words: Words
    features: tuple[str, ...]
    edges: tuple[float, ...] = ()


KINDS = (
    Kind("tier", Words("Spending", "消费"), ("spend_365d", "spend_90d")),
    Kind("tenure", Words("Days since the first order", "距首单天数"), ("tenure",), (90, 365)),
    Kind("recency", Words("Days since the last order", "距上次下单天数"), ("days_since_order",)),
    Kind("channel", Words("Channel", "渠道"), ("preferred_order_channel_365d", "last_order_channel")),
)


class Judged(NamedTuple):
    """The customers of all origins, one row each time: matrix [n, F], probability and label [n], a number of
    the customer and of the origin [n]; ids [n]."""

    matrix: Rows
    score: Numbers
    label: Numbers
    customer: NDArray[np.int64]
    origin: NDArray[np.int64]
    ids: Sequence[str]


class Grouped(NamedTuple):
    """Rows told apart: the group of each [n], an index into `groups`; -1: not known.

    unread: whether it is an attribute, which no model reads.
    """

    name: str
    words: Words
    groups: Sequence[Words]
    at: NDArray[np.int64]
    unread: bool = False


def by_feature(rows: Judged, units: Mapping[str, str]) -> Iterator[Grouped]:
    """By each of KINDS that can be told. units: of the matrix's columns, by name, in order."""
    names = list(units)
    for kind in KINDS:
        found = next((name for name in kind.features if name in units), None)
        if found is None:
            continue
        values = rows.matrix[:, names.index(found)].astype(np.float64)
        codes = CODES.get(units[found])
        if codes:
            at = np.where(np.isnan(values), -1, values).astype(np.int64)
            yield Grouped(
                kind.name, kind.words, [codes.get(c, _NOT_KNOWN) for c in range(max(codes) + 1)], at
            )
        elif not np.isnan(values).all():
            yield _cut(kind, values)


def _cut(kind: Kind, values: Numbers) -> Grouped:
    edges = np.asarray(kind.edges or np.nanquantile(values, (1 / 3, 2 / 3)), np.float64)
    # Told apart by what is shown: whoever reads a group's name knows who is in it.
    edges = np.unique(edges.round(2))
    told = [shown(edge) for edge in edges]
    groups = [
        Words(f"up to {told[0]}", f"{told[0]}及以下"),
        *(Words(f"over {a} to {b}", f"大于{a}至{b}") for a, b in zip(told, told[1:], strict=False)),
        Words(f"over {told[-1]}", f"大于{told[-1]}"),
    ]
    at = np.where(np.isnan(values), -1, np.searchsorted(edges, values))
    return Grouped(kind.name, kind.words, groups, at)


def by_attribute(
    log: Log, rows: Judged, origins: Sequence[datetime], names: Sequence[str]
) -> Iterator[Grouped]:
    """By each of the attributes that the log has, as known at the row's origin."""
    if not names or "customers" not in log.tables:
        return
    table = log.read("customers", ["customer_id", "known_at", "attributes"]).sort_by("known_at")
    known: list[dict[str, str]] = [{}] * len(rows.ids)
    for number, origin in enumerate(origins):
        then = table.filter(pc.less_equal(table["known_at"], pa.scalar(origin)))
        of: dict[str, dict[str, str]] = {}
        ids, given = (then[name].to_pylist() for name in ("customer_id", "attributes"))
        for id, attributes in zip(ids, given, strict=True):
            of[id] = {**of.get(id, {}), **dict(attributes or ())}
        for place in np.flatnonzero(rows.origin == number).tolist():
            known[place] = of.get(rows.ids[place], {})
    for name in names:
        values = [one.get(name) for one in known]
        groups = sorted({value for value in values if value})
        places = {value: number for number, value in enumerate(groups)}
        at = np.array([places.get(value or "", -1) for value in values], np.int64)
        if groups:
            said = [Words(value, value) for value in groups]
            yield Grouped(name, Words(name, name), said, at, unread=True)


def strange_attributes(log: Log, shop: Shop) -> list[str]:
    """`segments` and `protected` of shop.toml that the log has of nobody, each with the nearest there is."""
    if not (shop.segments or shop.protected) or "customers" not in log.tables:
        return []
    given = log.read("customers", ["attributes"])["attributes"]
    known = sorted({key for part in given.chunks for key in pc.unique(part.keys).to_pylist()})
    there = f" There are: {', '.join(known)}" if known else ""
    return [
        f"{shop.folder / 'shop.toml'}: {kind} names {name!r}, an attribute that the log has of nobody"
        f"{nearest(name, known)}{there}"
        for kind, names in (("segments", shop.segments), ("protected", shop.protected))
        for name in names
        if name not in known
    ]


def described(
    log: Log, shop: Shop, rows: Judged, origins: Sequence[datetime], units: Mapping[str, str], seed: int
) -> dict[str, tuple[dict[str, Any], ...]]:
    """`segments` and `fairness` of a card."""
    protected = tuple(by_attribute(log, rows, origins, shop.protected))
    absent = [name for name in shop.protected if name not in {kind.name for kind in protected}]
    others = by_attribute(log, rows, origins, [name for name in shop.segments if name not in shop.protected])
    return {
        "segments": tuple(figures(rows, [*by_feature(rows, units), *others, *protected])),
        "fairness": (*fairness(rows, protected, seed), *({**_named(name), "groups": 0} for name in absent)),
    }


def figures(rows: Judged, kinds: Sequence[Grouped]) -> list[dict[str, Any]]:
    """Of every group, where there is more than one: rows, base rate; AUC and level where labels suffice.

    Of an attribute that is not known of all, also those of whom it is, together: who tells it may be another
    kind of customer, and each of its groups too small to show that. A level is off beyond what the worst of
    so many groups shows by chance on one card of twenty.
    """
    told = []
    for kind in kinds:
        groups = np.unique(kind.at)
        asked = [
            (kind.at == number, kind.groups[number] if number >= 0 else _NOT_KNOWN)
            for number in (groups if len(groups) > 1 else ())
        ]
        if kind.unread and len(groups) > 2 and groups[0] < 0:
            asked.append((kind.at >= 0, _KNOWN))
        for inside, group in asked:
            one = {
                **_named(kind.name, kind.words), "group": _json(group), "rows": int(inside.sum()),
                "base_rate": _short(rows.label[inside].mean()), "unread": kind.unread,
            }  # fmt: skip
            told.append(one | _figures(rows, inside))
    judged = [one for one in told if "z" in one]
    for one in judged:
        one["off"] = abs(one["z"]) > pooled.worst_of(len(judged))
    return told


def _figures(rows: Judged, inside: NDArray[np.bool_]) -> dict[str, Any]:
    origins = [inside & (rows.origin == number) for number in np.unique(rows.origin)]
    able = [here for here in origins if 0 < rows.label[here].sum() < here.sum()]  # else there is no AUC
    if not _enough(rows.label[inside]) or not able:
        return {}
    labels, scores = ([of[here] for here in able] for of in (rows.label, rows.score))
    own, _ = pooled.figures(labels, [rows.customer[here] for here in able], {"model": scores})
    missed = np.bincount(rows.customer[inside], (rows.label - rows.score)[inside])  # by customer
    return {
        "auc": own["model"]["auc"],
        "observed_over_expected": _short(rows.label[inside].sum() / rows.score[inside].sum()),
        "z": _short(missed.sum() / np.sqrt((missed**2).sum())),
    }


def fairness(rows: Judged, kinds: Sequence[Grouped], seed: int) -> list[dict[str, Any]]:
    """Of each kind, how many groups have labels enough, those that have `few`, and the largest gap between
    two of the groups, were the tenth with the highest scores chosen.

    chosen: gap of the shares that are chosen (demographic parity); found, wrongly: of the shares chosen of
    those whom it came true of, and of the others (equalised odds). Gaps are Fairlearn's; their intervals draw
    customers, who come back at every origin, where Fairlearn's own would draw rows. A gap is never below 0,
    and chance alone makes one.
    """
    from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate

    chosen = np.zeros(len(rows.score), np.bool_)
    for number in np.unique(rows.origin):
        here = rows.origin == number
        chosen[here] = rows.score[here] >= np.quantile(rows.score[here], 1 - TOP)
    told: list[dict[str, Any]] = []
    for kind in kinds:
        every = [int(group) for group in np.unique(kind.at[kind.at >= 0])]
        large = [group for group in every if _enough(rows.label[kind.at == group])]
        few = [
            {"group": _json(kind.groups[group]), "labels": _rarer(rows.label[kind.at == group])}
            for group in every
            if group not in large
        ]
        one: dict[str, Any] = {**_named(kind.name, kind.words), "groups": len(large), "few": few}
        told.append(one)
        if len(large) < 2:
            continue
        inside = np.isin(kind.at, large)
        gaps = MetricFrame(
            metrics={"chosen": selection_rate, "found": true_positive_rate, "wrongly": false_positive_rate},
            y_true=rows.label[inside],
            y_pred=chosen[inside],
            sensitive_features=kind.at[inside],
        ).difference()
        of = {
            "chosen": np.ones(len(rows.label), np.bool_),
            "found": rows.label == 1,
            "wrongly": rows.label == 0,
        }
        for name in of:
            draws = _gaps(rows, chosen, inside & of[name], kind.at, seed)
            one[name] = evaluate.figure(float(gaps[name]), draws)
    return told


def _gaps(
    rows: Judged, chosen: NDArray[np.bool_], among: NDArray[np.bool_], at: NDArray[np.int64], seed: int
) -> Numbers:
    """The largest gap of the share chosen between two groups, by draw of the customers: [_DRAWS]."""
    random, count = np.random.default_rng(seed), int(rows.customer.max()) + 1
    groups, place = np.unique(at[among], return_inverse=True)
    customer, hit = rows.customer[among], chosen[among].astype(np.float64)
    gaps = np.empty(_DRAWS)
    for draw in range(_DRAWS):
        weight = np.bincount(random.integers(count, size=count), minlength=count)[customer].astype(np.float64)
        size = np.bincount(place, weight, len(groups))
        with np.errstate(invalid="ignore"):  # a group of whom nobody was drawn
            share = np.bincount(place, weight * hit, len(groups)) / size
        gaps[draw] = np.nanmax(share) - np.nanmin(share)
    return gaps


def _rarer(label: Numbers) -> int:
    """How many labels are of the rarer outcome."""
    return int(min(label.sum(), len(label) - label.sum()))


def _enough(label: Numbers) -> bool:
    return _rarer(label) >= LEAST


def _named(name: str, words: Words | None = None) -> dict[str, Any]:
    return {"by": name, "words": _json(words or Words(name, name))}


def _short(value: float) -> float:
    return round(float(value), DIGITS)


def _json(words: Words) -> dict[str, str]:
    return {"en": words.en, "zh": words.zh}
