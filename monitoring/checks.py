"""Every check, declared once: what it measures, from when on it warns or pages, why from there, what to do.

To add one, add it to CHECKS (or to CHECKS in a shop's shop.py): `propensity monitor run`, its verdict, the
alerts and the tests pick it up by themselves.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from features.errors import UsageError
from features.toml import NAME
from features.typed import Endless, misfits
from features.words import Words
from monitoring import measures, shop_measures
from monitoring.findings import Of, Owner, Status
from monitoring.measures import BROKEN, NEVER, Reading

__all__ = ["BY_ITSELF", "CHECKS", "NEVER", "READABLE", "RETRAINING", "RUNS", "Check", "Reading", "by_name"]
READABLE, RUNS, RETRAINING = "readable", "runs", "retraining"
# What a run says by itself: of a release, of a shop's own check, and of training again.
BY_ITSELF = {
    READABLE: Words("Whether it can be answered from", "能否据以作答"),
    RUNS: Words("Whether the shop's own check runs", "自定义检查能否运行"),
    RETRAINING: Words("Whether to train again", "是否需重新训练"),
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question. `warning` and `page`: the values from which on it says so.

    of: asked of every release, of the shop, of each table of its log, or of each business indicator. drift:
    asks how things change, and is not asked while the published features are stale.
    """

    name: str
    words: Words
    warning: Endless
    page: Endless
    reason: str  # why these two values
    measure: Callable[[Any], Reading]  # of an Evidence; a ShopEvidence; that and a table, or an indicator
    advice: Words = Words("Look at the report.", "请查看报告。")
    owner: Owner = "models"
    of: Of = "release"
    drift: bool = True

    def __post_init__(self) -> None:
        if strange := misfits(self):
            raise UsageError(f"check {self.name}: {'; '.join(strange)}")
        if not NAME.fullmatch(self.name):  # `|` and blanks part the names of alerts
            raise UsageError(f"check {self.name!r}: a name is of a-z, 0-9 and _, and begins with a letter")
        if not self.warning <= self.page or not self.reason:
            raise UsageError(
                f"check {self.name}: give a warning that is not above page, and the reason for both"
            )

    def status(self, value: float) -> Status:
        """Of a value; nan is ok: nothing can be said yet."""
        if value >= self.page:
            return "page"
        return "warning" if value >= self.warning else "ok"


def by_name(own: Iterable[Check] = ()) -> dict[str, Check]:
    """Built-in checks and a shop's own. UsageError for a name twice, or one that a run says by itself."""
    checks: dict[str, Check] = {}
    for check in (*CHECKS, *own):
        if not isinstance(check, Check):
            raise UsageError(f"CHECKS holds {check!r}, no Check: declare it as Check(...)")
        if check.name in BY_ITSELF:
            raise UsageError(f"check {check.name}: a run says that by itself: give it another name")
        if check.name in checks:
            raise UsageError(f"check {check.name} is declared twice: give one of them another name")
        checks[check.name] = check
    return checks


_LEARNED = "a figure's limit is learned from its own past, half above the second most unusual four weeks; "

CHECKS: tuple[Check, ...] = (
    Check(
        name="freshness",
        words=Words("Age of the published features", "已发布特征的时效"),
        warning=1,
        page=2,
        reason="1: answers say `stale` (PROPENSITY_STALE_HOURS); "
        "2: nobody is answered (PROPENSITY_EXPIRE_DAYS)",
        measure=measures.freshness,
        advice=Words(
            "See why the nightly run stopped; then `propensity ingest` and `propensity features build`.",
            "检查夜间任务为何停止，然后运行 `propensity ingest` 与 `propensity features build`。",
        ),
        owner="data",
        drift=False,
    ),
    Check(
        name="received",
        words=Words("Rows that the table received", "到达条数"),
        warning=1,
        page=BROKEN,
        reason=_LEARNED + "the last two or three days are judged together, too; three times that is a source "
        "that stopped, or came twice; a third of the orders missing on two days counts as much, if not only "
        "both together say so, and none at all on one, where none was ever without; so do days on end "
        "without a row that chance brings once in a million times, twice as many as ever before; rows that "
        "ingestion rejected are as good as missing",
        measure=shop_measures.table("rows", "repeated", "strangers", "rejected"),
        advice=Words(
            "Ask the source's owner for what is missing, then `propensity ingest` and `propensity features "
            "build`; nothing is counted twice.",
            "向数据源负责人索取缺失的文件，然后运行 `propensity ingest` 与 `propensity features build`；"
            "不会重复计数。",
        ),
        owner="data",
        of="table",
    ),
    Check(
        name="fields",
        words=Words("What the table's fields hold", "字段内容"),
        warning=1,
        page=BROKEN,
        reason=_LEARNED
        + "three times that is a unit, a code or a column that changed; a column that most rows "
        "had and none has counts as much, and sizes a hundred times what they were",
        measure=shop_measures.table("empty", "share", "unseen", "size", "sign", "night"),
        advice=Words(
            "Compare a few rows with the till's own screen; correct the mapping in shop.toml, and ingest.",
            "抽查几行与业务系统核对；修正shop.toml中的映射后重新接入。",
        ),
        owner="data",
        of="table",
    ),
    Check(
        name="event_unnamed",
        words=Words("A rise that no event of the calendar explains", "日历未能解释的上升"),
        warning=1,
        page=NEVER,
        reason=_LEARNED + "more business than usual is good news, but next year's baseline must know why",
        measure=shop_measures.event,
        advice=Words(
            "If there was a sale, a show or a feast, name it in [[calendar.events]] of shop.toml, then "
            "`propensity ingest`, `propensity features build` and `propensity monitor run`.",
            "如为大促、直播或节日，请在shop.toml的[[calendar.events]]中补记，然后依次运行 "
            "`propensity ingest`、`propensity features build`、`propensity monitor run`。",
        ),
        owner="operations",
        of="shop",
    ),
    Check(
        name="indicators",
        words=Words("Business indicators of the day", "每日经营指标"),
        warning=1,
        page=NEVER,
        reason=_LEARNED + "only the side that nobody wants counts; what to do about it is the shop's to say",
        measure=shop_measures.indicator,
        advice=Words(
            "See on the morning page who and where; if the data are sound, it is the business: "
            "`propensity today`.",
            "在晨报中查看涉及的客户与渠道；若数据无误，则为业务变化：`propensity today`。",
        ),
        owner="operations",
        of="indicator",
        drift=False,
    ),
    Check(
        name="decisions",
        words=Words("What is decided, and how often", "决策数量与动作占比"),
        warning=1,
        page=NEVER,
        reason=_LEARNED + "budgets stop hard and caps hold by themselves, so that it is never an emergency",
        measure=shop_measures.decided,
        advice=Words(
            "See what is paused and which budget is spent: `propensity pause`, `propensity today`.",
            "查看暂停项与已用完的预算：`propensity pause`、`propensity today`。",
        ),
        owner="operations",
        of="shop",
        drift=False,
    ),
    Check(
        name="population",
        words=Words("Customers in the target's population", "目标客群规模"),
        warning=1,
        page=BROKEN,
        reason="its limit is learned from its own days; three times that is a source that lost customers",
        measure=measures.population,
        advice=Words("See whether a source lost a region or a channel.", "检查数据源是否缺少某地区或渠道。"),
        owner="data",
    ),
    Check(
        name="nulls",
        words=Words("Features that are not known", "特征缺失"),
        warning=1,
        page=1.25,
        reason=_LEARNED + "a page where a quarter of what the model leans on is missing",
        measure=measures.columns("empty"),
        advice=Words(
            "Look at the table that the features come from: `propensity log describe`.",
            "查看相关特征来源表：`propensity log describe`。",
        ),
        owner="data",
    ),
    Check(
        name="new_values",
        words=Words("Values that training never saw", "训练期未出现的取值"),
        warning=1,
        page=1.25,
        reason=_LEARNED + "a page where a quarter of what the model leans on is beyond what it learned from",
        measure=measures.columns("new"),
        advice=Words(
            "A unit, a code or a sign changed at the source: compare a few rows.",
            "数据源的单位、编码或符号可能改变：抽查几行核对。",
        ),
        owner="data",
    ),
    Check(
        name="features",
        words=Words("Features that moved from one day to the next", "特征突变"),
        warning=1,
        page=1.5,
        reason=_LEARNED + "a page where half of what the model leans on moved: another shop, or a fault",
        measure=measures.columns("level", "spread"),
        advice=Words(
            "Ask what changed on that day: an import, a price list, a campaign. If it is real, name it in "
            "the calendar; if not, correct it and build again.",
            "核实当天的变化：导入、价格表或活动。如属实，请记入日历；否则更正后重新构建。",
        ),
    ),
    Check(
        name="joint",
        words=Words("Features that no longer belong together", "特征之间的关系改变"),
        warning=1,
        page=2,
        reason="the limit is twice the most that weeks without an occasion differ, .03 of AUC (.05 if one "
        "of the two has one), and ten times the chance of so few customers: another week of the same shop; "
        "twice that is rows joined to the wrong customers",
        measure=measures.separable,
        advice=Words(
            "If no single feature moved, rows were joined to the wrong customers: check the ids of the "
            "newest source.",
            "若各特征自身未变，可能是数据关联到了错误的客户：检查最新数据源的客户编号。",
        ),
        owner="data",
    ),
    Check(
        name="predictions",
        words=Words("Predictions that moved from one day to the next", "预测突变"),
        warning=1,
        page=NEVER,
        reason="the limit is learned from the predictions' own days; what moved them pages by itself",
        measure=measures.columns("level", "spread", predicted=True),
        advice=Words(
            "See which features moved with it; without one, whether another release was promoted.",
            "查看同时变化的特征；若无，检查是否更换了模型版本。",
        ),
    ),
    Check(
        name="drift",
        words=Words("Share of the importance that drifted from training", "相对训练期漂移的重要性占比"),
        warning=0.5,
        page=NEVER,
        reason="from half on the model speaks of customers it did not learn from; it may still be right, "
        "which outcomes say",
        measure=measures.drift,
        advice=Words(
            "Retrain on the last year, and let the gate decide: `propensity train`.",
            "用最近一年数据重新训练，由门槛决定是否发布：`propensity train`。",
        ),
    ),
    Check(
        name="partial_labels",
        words=Words("What came by a third and two thirds of the horizon", "预测期三分之一与三分之二时的结果"),
        warning=1,
        page=NEVER,
        reason="1: level, slope or ranking is lost beyond what it varies by in the backtest; early, and so a "
        "warning: the whole label decides",
        measure=measures.outcomes("calibration", "ranking", partial=True),
        advice=Words(
            "Expect the model to fail: see what changed in how customers behave. After two losses on end "
            "`propensity monitor run --retrain` trains it again, and lets the gate decide.",
            "模型可能即将失准：查明客户行为的变化。连续两次失准后，`propensity monitor run --retrain` "
            "会重新训练，由门槛决定是否发布。",
        ),
        drift=False,
    ),
    Check(
        name="calibration",
        words=Words("Whether what was promised came", "预测概率是否兑现"),
        warning=1,
        page=2,
        reason="1: level or slope is off beyond what it varies by in the backtest; 2: twice on end, of those "
        "left alone by lot, or of everyone where hardly anybody is contacted: of others nobody can tell a "
        "change of customers from what contacts do, which wakes nobody",
        measure=measures.outcomes("calibration"),
        advice=Words(
            "Do not budget by these probabilities until it holds again: use the order alone. One loss may be "
            "chance: whether to train again is said beside it; after two on end `propensity monitor run "
            "--retrain` does it, and lets the gate decide.",
            "恢复前勿据此概率做预算，仅使用排序。单次失准可能是偶然：是否重新训练另有说明；"
            "连续两次后，`propensity monitor run --retrain` 会重新训练，由门槛决定是否发布。",
        ),
        drift=False,
    ),
    Check(
        name="ranking",
        words=Words("Whether it still ranks customers as at its test", "排序能力是否保持"),
        warning=1,
        page=2,
        reason="1: AUC is below the test's beyond what it varies by in the backtest; 2: twice on end, and "
        "known, as of the calibration, of those left alone by lot or of everyone",
        measure=measures.outcomes("ranking"),
        advice=Words(
            "One loss may be chance: whether to train again is said beside it; after two on end `propensity "
            "monitor run --retrain` does it, and lets the gate decide.",
            "单次失准可能是偶然：是否重新训练另有说明；连续两次后，`propensity monitor run --retrain` "
            "会重新训练，由门槛决定是否发布。",
        ),
        drift=False,
    ),
)
