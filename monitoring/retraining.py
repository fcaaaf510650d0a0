"""When a model should be trained again, why, and what keeps it from being: and doing it, the gate deciding.

Recommended where its own figures say, twice in succession, that calibration or ranking is lost, or where
features that carry much of it drift for a fortnight. Never from customers who were contacted alone: that they
came back is what contacts are for. Never while data are at fault: a model that learns from a broken table is
worse than an old one.

That it should be is a finding, told as any; what came of it is its stage, and each stage is told once.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from features.errors import PropensityError
from features.log import Log
from features.moments import DAY
from features.settings import Settings
from features.words import Words, passage
from monitoring.checks import BY_ITSELF, RETRAINING
from monitoring.findings import Finding
from monitoring.outcome_words import WHO, level, patience, ranking
from monitoring.outcomes import Figures, learnt_by, on_end
from serving import releases
from serving.cards import ModelCard
from training import registered, versions

if TYPE_CHECKING:
    from training.fit import Trained

Progress = Callable[[str, int, int], None] | None
Why = Literal["calibration", "ranking", "features"]
Stage = Literal["", "blocked", "released", "refused", "kept", "failed"]  # "": it is yet to be done

CARRIED = 0.2  # of a card's importance: what features that drifted must carry together
LASTS = timedelta(days=14)  # that they must have drifted, day by day
WAITS = timedelta(days=7)  # that a challenger is as good as a new one
SUCCESSIVE = 2  # verdicts that say the same: one may be a week like no other

_LOST: dict[Why, Words] = {
    "calibration": Words("its probabilities are off", "其概率水平已失准"),
    "ranking": Words("it ranks worse than when it was released", "其排序能力低于发布时"),
}
# What to do, by the stage that it is at; {name}: the release.
_ADVICE: dict[Stage, Words] = {
    "": Words(
        "`propensity monitor run --retrain` trains it, and releases it only if the gate has no objection.",
        "运行 `propensity monitor run --retrain`：重新训练，仅在通过准入检查后发布。",
    ),
    "blocked": Words(
        "Then `propensity monitor run --retrain` trains it.",
        "修复后运行 `propensity monitor run --retrain` 即会重新训练。",
    ),
    "released": Words(
        "Nothing. If its answers look wrong, `propensity rollback {name}` has the version before answer.",
        "无需处理。如结果异常，`propensity rollback {name}` 可恢复上一版本。",
    ),
    "refused": Words(
        "The version in force answers as before: where its probabilities are off, use its order alone. What "
        "was kept back: `propensity models card {name}:challenger`. After a week of new data it is trained "
        "anew.",
        "仍由在用版本作答：概率失准时仅使用其排序。被拦下的版本：`propensity models card {name}:challenger`。"
        "一周后用新数据再次训练。",
    ),
    "kept": Words(
        "Wait for a week of new data: the next `propensity monitor run --retrain` then trains it.",
        "等待一周的新数据，之后的 `propensity monitor run --retrain` 会重新训练。",
    ),
    "failed": Words(
        "Mend what it names, then `propensity monitor run --retrain`. The version in force answers.",
        "按所述原因修正后运行 `propensity monitor run --retrain`；此前仍由在用版本作答。",
    ),
}
_NOT_NEEDED = Words("nothing says that it should be trained again", "目前没有需要重新训练的依据")


@dataclass(frozen=True)
class Reason:
    """One reason to train again, in words with its figures."""

    why: Why
    words: Words
    learnt_by: datetime | None = None  # the earliest day on which a version can be judged that knows of it


@dataclass(frozen=True)
class Recommendation:
    """Train a model again. blocked: faults of the data that have to be mended first; empty: nothing does."""

    release: str
    version: str
    reasons: tuple[Reason, ...]
    blocked: tuple[Finding, ...] = ()

    @property
    def words(self) -> Words:
        """What is recommended, and why, or what stands in its way."""
        en = "; ".join(reason.words.en for reason in self.reasons)
        zh = "；".join(reason.words.zh for reason in self.reasons)
        if not self.blocked:
            return Words(
                f"train it again: {en}. The gate decides whether the new version is better.",
                f"建议重新训练：{zh}。新版本是否更好由准入检查决定。",
            )
        faults = _at_fault(self.blocked)
        return Words(
            f"it should be trained again ({en}), but not on faulty data: mend this first: {faults.en}.",
            f"需要重新训练（{zh}），但当前数据有误，请先修复：{faults.zh}。",
        )

    @property
    def finding(self) -> Finding:
        """The same as what a run found."""
        if not self.blocked:
            return _finding(self.release, "", self.words, ranks_only=self.ranks_only)
        mend = dict.fromkeys(one.advice for one in self.blocked if one.advice)  # each once, in order
        return _finding(self.release, "blocked", self.words, tuple(mend), ranks_only=self.ranks_only)

    @property
    def ranks_only(self) -> bool:
        """Whether the scores say who comes first, and are no probabilities."""
        return any(reason.why == "calibration" for reason in self.reasons)

    @property
    def learnt_by(self) -> datetime | None:
        """When at the earliest a version can be judged that knows of all that is lost."""
        return max((one.learnt_by for one in self.reasons if one.learnt_by), default=None)


def _at_fault(faults: Sequence[Finding]) -> Words:
    """What is wrong with the data, and what is behind it where that is known; each once."""
    said = dict.fromkeys(one.cause or one.words for one in faults)
    return Words("; ".join(one.en for one in said), "；".join(one.zh for one in said))


def faults_of(findings: Collection[Finding]) -> tuple[Finding, ...]:
    """Those that nobody should train on."""
    return tuple(one for one in findings if one.data_fault)


def none_due(findings: Collection[Finding]) -> Words:
    """That nothing is to be trained again; and that nothing would be, while data are at fault."""
    en, zh = "nothing is to be trained again", "无需重新训练"
    if faults := faults_of(findings):
        said = _at_fault(faults)
        en += f", and nothing would be on faulty data: {said.en}"
        zh += f"；数据有误期间也不会重新训练：{said.zh}"
    return Words(en, zh)


def not_needed(release: str) -> Finding:
    """What a run says of a release that `recommend` has nothing to say of."""
    return Finding(
        subject=release, check=RETRAINING, status="ok", value=0.0, limit=1.0, words=_NOT_NEEDED,
        owner="models", topic=release, asks=BY_ITSELF[RETRAINING],
    )  # fmt: skip


def _finding(
    release: str,
    stage: Stage,
    words: Words,
    first: Sequence[Words] = (),
    then: Sequence[Words] = (),
    ranks_only: bool = False,
) -> Finding:
    """Of a release that should be trained again. first, then: what to do before, and after."""
    advice = [*first, Words(*(text.format(name=release) for text in _ADVICE[stage])), *then]
    return Finding(
        subject=release, check=RETRAINING, status="warning", value=1.0, limit=1.0, words=words,
        owner="models", topic=release, stage=stage, asks=BY_ITSELF[RETRAINING], ranks_only=ranks_only,
        advice=passage(advice),
    )  # fmt: skip


def recommend(
    card: ModelCard,
    figures: Sequence[Figures],
    drifted: Mapping[date, Collection[str]],
    findings: Collection[Finding],
) -> Recommendation | None:
    """Whether a release should be trained again; None: it need not.

    figures: what was found of it, of any number of days and any version. drifted: day -> its features that
    had drifted on it, of the runs of the last weeks. findings: of this run, of whatever subject.
    """
    reasons = [*_lost(card, figures), *_moved(card, drifted)]
    if not reasons:
        return None
    return Recommendation(card.name, card.version, tuple(reasons), faults_of(findings))


def _lost(card: ModelCard, figures: Sequence[Figures]) -> list[Reason]:
    """What the last verdicts of one kind of label say alike; one a figure, of the longest label that does."""
    own = [one for one in figures if one.version == card.version and len(one.moments) == 1]
    found: dict[Why, Reason] = {}
    for days in sorted({one.days for one in own}):
        series = sorted((one for one in own if one.days == days), key=lambda one: one.moment)
        last = series[-SUCCESSIVE:]
        whys: tuple[Literal["calibration", "ranking"], ...] = ("calibration", "ranking")
        for why in whys:
            lost = on_end(series, why)
            if len(lost) >= SUCCESSIVE and (why == "ranking" or _alike(last)):
                found[why] = Reason(why, _said(why, last), learnt_by(lost))
    return list(found.values())


def _alike(last: Sequence[Figures]) -> bool:
    """Whether levels that are off are off to one side: to and fro is no loss that training would mend."""
    signs = {one.decides.level.value > 1 for one in last}
    return len(signs) == 1 or any(one.decides.slope.z < 0 for one in last)


def _said(why: Why, last: Sequence[Figures]) -> Words:
    newest, lost = last[-1], _LOST[why]
    figure = ranking(newest.decides) if why == "ranking" else level(newest.decides)
    of = WHO[newest.judged_on]
    if not newest.by_lot:
        of = Words(f"{of.en}, and of the contacted alike", f"{of.zh}，且已触达客户情况一致")
    dates = [f"{one.moment:%Y-%m-%d}" for one in last]
    when = " and ".join(dates)
    return Words(
        f"{lost.en}, by what came within {newest.days} days of {when}, of {of.en}: {figure.en}",
        f"{lost.zh}，依据{'、'.join(dates)}之后{newest.days}天的结果（{of.zh}）：{figure.zh}",
    )


def _moved(card: ModelCard, drifted: Mapping[date, Collection[str]]) -> list[Reason]:
    """Features that had drifted on every day on which was looked, for long enough, if they carry much."""
    days = sorted(drifted)
    whole = sum(card.importance.values())
    if not days or days[-1] - days[0] < LASTS or not whole:
        return []
    since = max(day for day in days if days[-1] - day >= LASTS)
    always = set.intersection(*(set(drifted[day]) for day in days if day >= since))
    carry = sorted(((card.importance.get(name, 0.0) / whole, name) for name in always), reverse=True)
    share = sum(part for part, _ in carry)
    if share < CARRIED:
        return []
    names = ", ".join(name for _, name in carry[:3])
    lasted = (days[-1] - since).days
    return [
        Reason(
            "features",
            Words(
                f"features that carry {share:.0%} of it have drifted for {lasted} days: {names}",
                f"占其重要性{share:.0%}的特征已漂移{lasted}天：{names}",
            ),
        )
    ]


@dataclass(frozen=True)
class Retrained:
    """What came of training again, in words. trained: None if a challenger waited that is as good as new.
    objections: the gate's. failed: it could not be trained. due: why it was tried."""

    name: str
    words: Words
    trained: "Trained | None" = None
    promoted: bool = False
    objections: tuple[Words, ...] = ()
    failed: bool = False
    due: Recommendation | None = None

    @property
    def finding(self) -> Finding:
        """The same as what a run found: in place of that it should be trained."""
        stage: Stage = "kept"
        if self.promoted:
            stage = "released"
        elif self.objections:
            stage = "refused"
        elif self.failed:
            stage = "failed"
        then = []
        if stage == "refused":
            then.append(patience(self.name, self.due.learnt_by if self.due else None))
        lost = self.due is not None and self.due.ranks_only and not self.promoted
        return _finding(self.name, stage, self.words, then=then, ranks_only=lost)


def attempt(settings: Settings, due: Recommendation, progress: Progress = None) -> Retrained:
    """`retrain`, and release what the gate lets pass; an error of ours is what came of it."""
    try:
        done = retrain(settings, due.release, automatic=True, progress=progress)
    except PropensityError as error:
        words = Words(f"it could not be trained again: {error}", f"重新训练失败：{error}")
        done = Retrained(due.release, words, failed=True)
    return replace(done, due=due)


def retrain(
    settings: Settings, name: str, automatic: bool = False, seed: int = 1, progress: Progress = None
) -> Retrained:
    """Train a target's model again as `propensity train` does, on what is known now; the gate decides.

    It becomes the challenger. automatic: release it if the gate has no objection; else somebody promotes it.
    A challenger that is not yet a week old is not made again every night: the gate is asked about that one.
    Errors as training it: then, and whatever else happens, the one in force stays in force.
    """
    from training import fit, labels, registry  # they load what fits and keeps models: seconds, and 300 MB

    as_of = labels.as_of_to_train(settings, Log.open(settings))
    waiting = _waiting(settings, name, as_of)
    trained = None if waiting else fit.train(settings, name, as_of, seed, progress)
    version = waiting or (trained.version if trained else "")
    promoted, against = False, tuple[Words, ...]()
    if releases.serves(settings, name, version) and waiting:
        words = Words(
            f"version {version}, in force, is less than a week behind what is known: not trained again yet",
            f"在用的版本{version}与现有数据相差不足一周：暂不重新训练",
        )
    elif releases.serves(settings, name, version):
        words = Words(
            f"there is nothing new to learn from, training gives version {version} again, in force",
            f"没有新的数据可学，训练结果仍是在用的版本{version}",
        )
    elif against := tuple(registry.objections(settings, name, version)):
        words = Words(
            f"version {version} is trained, and the gate keeps it back; the one in force stays: "
            + "; ".join(one.en for one in against),
            f"版本{version}已训练，但未通过准入检查，仍使用在用版本：" + "；".join(one.zh for one in against),
        )
    elif not automatic:
        words = Words(
            f"version {version} is trained, and the gate has no objection: "
            f"`propensity promote {name}` releases it",
            f"版本{version}已训练并通过准入检查：运行 `propensity promote {name}` 即可发布",
        )
    else:
        registry.promote(settings, name, version)
        promoted = True
        words = Words(
            f"version {version} is trained and released: the gate has no objection",
            f"版本{version}已训练并发布：准入检查无异议",
        )
    return Retrained(name, words, trained, promoted, against)


def _waiting(settings: Settings, name: str, as_of: datetime) -> str | None:
    """The challenger, or what is in force, if it was judged within a week of what could be judged by now."""
    aliases = registered.aliases(settings, name)
    for version in filter(None, (aliases.get(registered.CHALLENGER), aliases.get(registered.CHAMPION))):
        card = versions.card_of(registered.folder_of(settings, name, version))
        known = card.tested_on.moment + card.target.horizon_days * DAY
        if as_of - known < WAITS:
            return version
    return None
