# ruff: noqa: E501  # sentences in two languages read best unbroken
"""Whom to look at first: valuable customers newly at risk, with reasons; and who moved between stages."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.compute.builds import Build
from features.describe.say import day as said_day
from features.describe.say import words
from features.describe.sheets import Sheet
from features.moments import DAY
from features.settings import Settings
from features.shop import Shop, shop_of
from features.words import Words
from monitoring.health import Scored, churn_release
from serving import releases, segmentation, value
from serving.models import Model
from serving.segmentation import Segmentation
from serving.watches import Watch

if TYPE_CHECKING:
    from serving.releases import Release

MOST = 20  # customers that are listed: what a team calls in a day
REASONS = 2
# Without a watch of the shop's own: more likely lost than not. `WATCHES` of shop.py sets another.
AT_RISK = 0.5
VALUABLE = {
    "quadrant": ("core", "fading"),  # worth much so far, whatever is expected now that they are at risk
    "tier": ("champions", "loyal", "in_rhythm", "at_risk"),
}
# A tier that tells of the rhythm alone: valuable are those of it in the upper two fifths by frequency or money,
# as every customer of the tier at_risk is.
BY_RHYTHM, UPPER_FIFTHS = "in_rhythm", 4
UPPER = 80.0  # percentile of the expected profit, where no segmentation says more
RHYTHM = 7 * DAY  # against which stages are compared, beside the snapshot before
NEAR = 3 * DAY  # how far from a week ago a snapshot may be


@dataclass(frozen=True)
class AtRisk:
    """customers: in all, of whom the sheet lists MOST."""

    sheet: Sheet
    customers: int = 0


_RISK = Words("Valuable customers newly at risk", "新近有流失风险的高价值客户")
_HEAD = (
    Words("customer", "客户"), Words("who", "类型"), Words("expected profit", "预期利润"),
    Words("churn risk", "流失风险"), Words("before", "此前"), Words("why", "原因"),
)  # fmt: skip


def at_risk(settings: Settings) -> AtRisk:
    """Valuable customers whose risk crossed its threshold between the last two scored moments."""
    release = churn_release(settings)
    if release is None:
        return _nobody(Words(
            "No model of churn is released: `propensity train churn_28d`, then `propensity promote churn_28d`.",
            "尚未发布流失模型：请运行 `propensity train churn_28d` 与 `propensity promote churn_28d`。",
        ))  # fmt: skip
    scored = Scored.of(settings, release.name)
    if len(scored.moments) < 2:
        return _nobody(words(
            "{model} has scored everybody only once so far: after the next `propensity features build` it shows "
            "who crossed.",
            "{model} 目前只评分过一次：下次运行 `propensity features build` 后即可显示。",
            model=f"{release.name} {release.version}",
        ))  # fmt: skip
    before, now = scored.moments[-2:]
    ids, p, p_before = _risks(settings, scored, before, now)
    valuable, labels, basis = _valuable(settings, ids, before, now)
    if valuable is None:
        return _nobody(basis)
    limit = threshold(shop_of(settings), release.name)
    with np.errstate(invalid="ignore"):
        crossed = np.flatnonzero((p >= limit) & (p_before < limit) & valuable)
    profit = _profit(settings, ids, now)
    key = p if profit is None else np.nan_to_num(profit, nan=-np.inf)
    some = crossed[np.argsort(-key[crossed], kind="stable")][:MOST]
    why = _reasons(settings, release, now, [ids[place] for place in some])
    currency, card = shop_of(settings).currency, release.model.card.target
    rows = tuple(
        (ids[place], labels[place], _money(profit, place, currency), f"{p[place]:.1%}", f"{p_before[place]:.1%}",
         reason)
        for place, reason in zip(some.tolist(), why, strict=True)
    )  # fmt: skip
    dates = {"now": said_day(_day(settings, now)), "before": said_day(_day(settings, before))}
    note = words(
        "{basis}; the chance of “{model}” is {limit} or more on {now}, and was less on {before}. {shown} of {all}.",
        "{basis}；“{model}”的概率在{now}达到{limit}以上，{before}时低于该值。共{all}位，列出{shown}位。",
        basis=basis, model=Words(card.words.en, card.words.zh), limit=f"{limit:.0%}", shown=len(rows), all=len(crossed), **dates,
    )  # fmt: skip
    empty = words("Nobody crossed {limit} between {before} and {now}.", "{before}至{now}间无人越过{limit}。",
                  limit=f"{limit:.0%}", **dates)  # fmt: skip
    return AtRisk(
        Sheet(_RISK, _HEAD, rows, right=(2, 3, 4), note=note if rows else None, empty=empty), len(crossed)
    )


def threshold(shop: Shop, target: str) -> float:
    """From which risk on a customer counts as at risk: of the shop's watch on it, else AT_RISK."""
    own = [one for one in shop.declared("WATCHES") if isinstance(one, Watch) and one.figure == target]
    return min((one.enters for one in own), default=AT_RISK)


def _nobody(why: Words) -> AtRisk:
    return AtRisk(Sheet(_RISK, _HEAD, (), empty=why))


def _risks(
    settings: Settings, scored: Scored, before: datetime, now: datetime
) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
    """(customers; risk now; risk before, NaN of whoever was not scored then), [n]."""
    told, then = (scored.read(settings, moment, ["probability"]) for moment in (now, before))
    place = pc.index_in(told["customer_id"], then["customer_id"].combine_chunks())
    earlier = then["probability"].take(place)
    ids: list[str] = told["customer_id"].to_pylist()
    return ids, _floats(told["probability"]), _floats(earlier)


def _valuable(
    settings: Settings, ids: list[str], before: datetime, now: datetime
) -> tuple[NDArray[np.bool_] | None, list[Words | None], Words]:
    """(who is valuable [n], what each is called, by what; or None, and why nobody can tell)."""
    known, names = releases.names(settings), np.array(ids)
    if segmentation.KIND in known:
        release = releases.load(settings, segmentation.KIND)
        assert isinstance(release.model, Segmentation)
        scored = Scored.of(settings, segmentation.KIND)
        for table, wanted in VALUABLE.items():
            of = [_labels(settings, scored, moment, table, ids) for moment in (now, before)]
            if any(one is not None and any(one) for one in of):
                inside = np.zeros(len(names), np.bool_)
                for one, moment in zip(of, (now, before), strict=True):
                    if one is not None:
                        inside |= _inside(
                            settings, scored, moment, np.array([label or "" for label in one]), ids, wanted
                        )
                told = {
                    label.name: Words(label.words.en, label.words.zh)
                    for label in release.model.file.tables[table].labels
                }
                now_or_before = of[0] if of[0] is not None else of[1]
                assert now_or_before is not None
                called = [told.get(label or "") for label in now_or_before]
                return inside, called, _joined([told[name] for name in wanted if name in told])
    if value.KIND in known:
        scored = Scored.of(settings, value.KIND)
        if now in scored.moments:
            place = _aligned(settings, scored, now, "value_percentile", ids)
            with np.errstate(invalid="ignore"):
                upper = place >= UPPER
            said = Words("Upper fifth by expected profit", "预期利润居前五分之一")
            return upper, [said] * len(ids), said
    return None, [], Words(
        "Who is valuable is not known: `propensity train value segmentation`, then promote both.",
        "尚不知谁是高价值客户：请运行 `propensity train value segmentation` 并发布。",
    )  # fmt: skip


def _inside(
    settings: Settings, scored: Scored, moment: datetime, label: NDArray[np.str_], ids: list[str],
    wanted: tuple[str, ...],
) -> NDArray[np.bool_]:  # fmt: skip
    """Who is of one of the labels, [n]."""
    found: NDArray[np.bool_] = np.isin(label, wanted)
    if (by_rhythm := label == BY_RHYTHM).any():
        frequent, spending = (_aligned(settings, scored, moment, column, ids) for column in ("f", "m"))
        with np.errstate(invalid="ignore"):
            found &= ~by_rhythm | (frequent >= UPPER_FIFTHS) | (spending >= UPPER_FIFTHS)
    return found


def _labels(
    settings: Settings, scored: Scored, moment: datetime, table: str, ids: list[str]
) -> list[str | None] | None:
    if moment not in scored.moments:
        return None
    told = scored.read(settings, moment, [table])
    place = pc.index_in(pa.array(ids, pa.string()), told["customer_id"].combine_chunks())
    found: list[str | None] = told[table].take(place).to_pylist()
    return found


def _aligned(
    settings: Settings, scored: Scored, moment: datetime, column: str, ids: list[str]
) -> NDArray[np.float64]:
    told = scored.read(settings, moment, [column])
    place = pc.index_in(pa.array(ids, pa.string()), told["customer_id"].combine_chunks())
    return _floats(told[column].take(place))


def _profit(settings: Settings, ids: list[str], now: datetime) -> NDArray[np.float64] | None:
    """Expected profit of each over the value model's horizon; None without one."""
    if value.KIND not in releases.names(settings):
        return None
    scored = Scored.of(settings, value.KIND)
    return _aligned(settings, scored, now, "value", ids) if now in scored.moments else None


def _reasons(settings: Settings, release: "Release", moment: datetime, ids: list[str]) -> list[Words | None]:
    """What raises each one's risk most, in words; None where the snapshot is gone."""
    build = Build.open(settings)
    model = release.model
    assert isinstance(model, Model)
    columns = [feature.name for feature in model.card.features]
    if not ids or moment not in build.moments or any(build.features.get(n) != h for n, h in model.card.needs):
        return [None] * len(ids)
    snapshot = build.read(moment, ["customer_id", *columns])
    rows = snapshot.take(pc.index_in(pa.array(ids, pa.string()), snapshot["customer_id"].combine_chunks()))
    matrix = np.column_stack([rows[name].to_numpy() for name in columns]).astype(np.float32)
    found = []
    for of in model.explain(matrix, k=len(columns)):
        raising = [_bare(one.text, model) for one in of if one.contribution > 0][:REASONS]
        found.append(_joined(raising, "; ", "；") if raising else None)
    return found


def _bare(text: Words, model: Model) -> Words:
    """A reason without the words that it raises the risk: here all do."""
    score = model.card.target.score
    if score is None:
        return text
    return Words(
        text.en.removesuffix(f" (raises the {score.en})"), text.zh.removesuffix(f"（提高{score.zh}）")
    )


def _joined(said: list[Words], en: str = ", ", zh: str = "、") -> Words:
    return Words(en.join(one.en for one in said), zh.join(one.zh for one in said))


def _money(profit: NDArray[np.float64] | None, place: int, currency: str) -> str | None:
    if profit is None or np.isnan(profit[place]):
        return None
    return f"{profit[place]:,.0f} {currency}"


_STAGES = Words("Life cycle stages", "生命周期阶段")
_STAGE_HEAD = (
    Words("stage", "阶段"), Words("customers", "客户数"), Words("came", "转入"), Words("went", "转出"),
    Words("change", "净变化"),
)  # fmt: skip


def stages(settings: Settings) -> list[Sheet]:
    """Customers a stage and who came and went since the snapshot before, and since a week ago."""
    if segmentation.KIND not in releases.names(settings):
        return [Sheet(_STAGES, _STAGE_HEAD, (), empty=Words(
            "No segmentation is released: `propensity train segmentation`, then `propensity promote segmentation`.",
            "尚未发布分层模型：请运行 `propensity train segmentation` 与 `propensity promote segmentation`。",
        ))]  # fmt: skip
    scored = Scored.of(settings, segmentation.KIND)
    if not scored.moments:
        return [Sheet(_STAGES, _STAGE_HEAD, (), empty=Words(
            "Nobody was segmented yet: run `propensity features build`.",
            "尚未分层：请运行 `propensity features build`。",
        ))]  # fmt: skip
    now, earlier = scored.moments[-1], list(scored.moments[-2:-1])
    week = min(scored.moments, key=lambda moment: abs(now - RHYTHM - moment))
    if week not in (now, *earlier) and abs(now - RHYTHM - week) <= NEAR:
        earlier.append(week)
    if not earlier:
        earlier = [now]
    return [_moves(settings, scored, before, now) for before in earlier]


def _moves(settings: Settings, scored: Scored, before: datetime, now: datetime) -> Sheet:
    told, then = (
        dict(zip(table["customer_id"].to_pylist(), table["stage"].to_pylist(), strict=True))
        for table in (scored.read(settings, moment, ["stage"]) for moment in (now, before))
    )
    moved = Counter((then.get(id), stage) for id, stage in told.items() if then.get(id) != stage)
    moved += Counter((stage, None) for id, stage in then.items() if id not in told)
    release = releases.load(settings, segmentation.KIND)
    assert isinstance(release.model, Segmentation)
    labels = {
        label.name: Words(label.words.en, label.words.zh)
        for label in release.model.file.tables["stage"].labels
    }
    size = Counter(told.values())
    rows: list[tuple[Any, ...]] = []
    for name, said in labels.items():
        came = sum(n for (_, to), n in moved.items() if to == name)
        went = sum(n for (of, _), n in moved.items() if of == name)
        rows.append((said, size[name], came, went, f"{came - went:+,}" if came != went else "0"))
    if before == now:
        return Sheet(_STAGES, _STAGE_HEAD[:2], tuple(row[:2] for row in rows), right=(1,), note=Words(
            "Segmented only once so far: moves are shown after the next snapshot.",
            "目前只分层过一次：下一次快照后显示流动。",
        ))  # fmt: skip
    largest = [pair for pair in moved.most_common() if None not in pair[0]][:3]
    shown = [
        words("{a} → {b}: {n}", "{a} → {b}：{n}", a=labels[str(of)], b=labels[str(to)], n=n)
        for (of, to), n in largest
    ]
    new = sum(n for (of, _), n in moved.items() if of is None)
    title = words(
        "{stages} since {day}", "{stages}（自{day}）", stages=_STAGES, day=said_day(_day(settings, before))
    )
    note = words("New customers: {n}.", "新增客户：{n}。", n=new)
    if shown:
        most = _joined(shown, "; ", "；")
        note = words("Most moves: {most}. {new}", "主要流动：{most}。{new}", most=most, new=note)
    return Sheet(title, _STAGE_HEAD, tuple(rows), right=(1, 2, 3, 4), note=note)


def _day(settings: Settings, moment: datetime) -> Any:
    return (moment - timedelta(microseconds=1)).astimezone(shop_of(settings).zone).date()


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
