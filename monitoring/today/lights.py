"""Two lights, data and models, as the last run of the monitoring left them; grey where nothing is known.

Read from home/reports/*/verdict.json. What a verdict says holds for the day that it was made for: an older
one, or one of what was published before, is told, and is not a light.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import msgspec

from features.describe.say import day as said_day
from features.describe.say import words
from features.errors import PropensityError
from features.moments import DAY
from features.online import OnlineRows
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from monitoring.findings import STATUSES, UNRELEASED, Of, Owner, Status

Colour = Literal["ok", "warning", "page", "unknown"]
WORDS: dict[Colour, Words] = {
    "ok": Words("holds", "正常"),
    "warning": Words("look", "注意"),
    "page": Words("act", "需处理"),
    "unknown": Words("not known", "未知"),
}
TOLD = 3  # findings of a light that are told; the report has all
LASTS = DAY  # a verdict is about that long a light: it is made once a day
_OWNERS: dict[str, Owner] = {"freshness": "data", "population": "data", "features": "data"}  # else: models


class _Finding(msgspec.Struct):
    """What of a finding is read here. Older verdicts have `release` in place of `subject`, and no owner."""

    check: str
    status: Status
    words: dict[str, str]
    subject: str = ""
    release: str = ""
    of: Of = "release"
    asks: dict[str, str] | None = None
    owner: Owner | None = None

    @property
    def whose(self) -> Owner:
        return self.owner or _OWNERS.get(self.check, "models")

    @property
    def said(self) -> Words:
        name, words = self.subject or self.release, Words(self.words["en"], self.words["zh"])
        return words if self.of != "release" else Words(f"{name}: {words.en}", f"{name}：{words.zh}")


class _Verdict(msgspec.Struct):
    """moment: of what was published; at: when it was judged, releases: which were, if that is told."""

    moment: datetime
    status: Status
    findings: list[_Finding]
    at: datetime | None = None
    releases: list[dict[str, str]] | None = None

    @property
    def unreleased(self) -> bool:
        """Whether there was no model to be judged."""
        return self.releases == [] and not any(one.of == "release" for one in self.findings)


@dataclass(frozen=True)
class Light:
    """name: data or models. words: why it has this colour, one sentence."""

    name: Literal["data", "models"]
    title: Words
    colour: Colour
    words: Words


@dataclass(frozen=True)
class Lights:
    """unusual: indicator (or `health:SEGMENT`) -> what the monitoring says of it, where it is not ok.
    tasks: what else operations should look at, such as a rise to be named. unreleased: there is no model."""

    data: Light
    models: Light
    unusual: dict[str, Words]
    tasks: tuple[Words, ...] = ()
    unreleased: bool = False

    @property
    def worst(self) -> Colour:
        """Of both; what is not known is worse than a warning, and better than what is known to be wrong."""
        if self.unreleased:
            return self.data.colour
        order: tuple[Colour, ...] = ("ok", "warning", "unknown", "page")
        return max((self.data.colour, self.models.colour), key=order.index)


def lights(settings: Settings) -> Lights:
    """As known now. Nothing that is absent or damaged raises: it is a grey light that says why."""
    published: datetime | PropensityError
    try:
        published = OnlineRows.open(settings).current().moment
    except PropensityError as error:
        published = error
    found, why = _verdict(settings, published)
    unusual: dict[str, Words] = {}
    tasks: list[Words] = []
    colours: dict[str, tuple[Colour, Words]] = {}
    if found is not None and why is None:
        for one in found.findings:
            if one.whose != "operations" or one.status == "ok":
                continue
            if one.of == "shop" and one.asks:
                tasks.append(
                    Words(f"{one.asks['en']}: {one.words['en']}", f"{one.asks['zh']}：{one.words['zh']}")
                )
            else:
                unusual[one.subject] = Words(one.words["en"], one.words["zh"])
    for owner in ("data", "models"):
        own = [one for one in found.findings if one.whose == owner] if found else []
        colours[owner] = _colour(own) if why is None else ("unknown", _before(why, own))
    unreleased = found is not None and why is None and found.unreleased
    if unreleased:
        colours["models"] = "unknown", UNRELEASED
    stale = _stale(settings, published)
    if stale is not None and stale[0] != "ok":  # known without a run
        rank = ("ok", "unknown", *STATUSES[1:])
        colours["data"] = max(stale, colours["data"], key=lambda one: rank.index(one[0]))
    return Lights(
        Light("data", Words("Data", "数据"), *colours["data"]),
        Light("models", Words("Models", "模型"), *colours["models"]),
        unusual,
        tuple(tasks),
        unreleased,
    )


def _verdict(
    settings: Settings, published: datetime | PropensityError
) -> tuple[_Verdict | None, Words | None]:
    """The newest verdict, and why it is not one of now."""
    never = Words(
        "nothing was checked yet: run `propensity monitor run`", "尚未检查：请运行 `propensity monitor run`"
    )
    read = [(one, path) for path in _paths(settings) if (one := _read(path)) is not None]
    read = [(one, path) for one, path in read if one.moment <= settings.now()]
    if not read:
        broken = _paths(settings)
        if broken:
            return None, Words(
                f"{broken[-1]} cannot be read: run `propensity monitor run` again",
                f"{broken[-1]} 无法读取：请重新运行 `propensity monitor run`",
            )
        return None, never
    verdict, _ = read[-1]
    at = verdict.at or verdict.moment
    if isinstance(published, datetime) and verdict.moment < published <= settings.now():
        return verdict, Words(
            "what is published by now was not checked: run `propensity monitor run`",
            "最新发布的数据尚未检查：请运行 `propensity monitor run`",
        )
    if settings.now() - at <= LASTS:
        return verdict, None
    day = said_day(at.astimezone(shop_of(settings).zone).date())
    return verdict, words(
        "no check since {day}: run `propensity monitor run`",
        "自{day}起未检查：请运行 `propensity monitor run`",
        day=day,
    )  # fmt: skip


def _paths(settings: Settings) -> list[Path]:
    return sorted((settings.home / "reports").glob("*/verdict.json"))


def _read(path: Path) -> _Verdict | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Verdict)
    except (msgspec.DecodeError, OSError):
        return None


def _colour(findings: Iterable[_Finding]) -> tuple[Colour, Words]:
    wrong = sorted((one for one in findings if one.status != "ok"), key=lambda one: -_rank(one.status))
    if not wrong:
        return "ok", Words("as it should be", "一切正常")
    return wrong[0].status, _together([one.said for one in wrong])


def _before(why: Words, findings: Iterable[_Finding]) -> Words:
    """Why nothing is known of now, with what was wrong the last time."""
    colour, said = _colour(findings)
    if colour == "ok":
        return why
    return Words(f"{why.en}; then: {said.en}", f"{why.zh}；上次：{said.zh}")


def _together(said: list[Words]) -> Words:
    en, zh = "; ".join(one.en for one in said[:TOLD]), "；".join(one.zh for one in said[:TOLD])
    more = len(said) - TOLD
    return Words(f"{en}; and {more} more", f"{zh}；另有{more}项") if more > 0 else Words(en, zh)


def _rank(status: Status) -> int:
    return get_args(Status).index(status)


def _stale(settings: Settings, published: datetime | PropensityError) -> tuple[Colour, Words] | None:
    """What the age of the published features says by itself; None if they are fresh."""
    if isinstance(published, PropensityError):
        return "page", Words(f"nothing is published: {published}", f"没有已发布的特征：{published}")
    age = settings.now() - published
    if age <= settings.stale_after:
        return None
    days = f"{age / DAY:.1f}"
    todo = (
        "run `propensity ingest` and `propensity features build`; if they bring no later day, ask the "
        "sources' owners for their files",
        "请运行 `propensity ingest` 与 `propensity features build`；若没有更晚的数据，"
        "请向数据源负责人索取文件",
    )
    if age <= settings.expire_after:
        return "warning", words(
            f"the published features are {{n}} days old, and answers say so: {todo[0]}",
            f"已发布特征距今{{n}}天，回答均标记为过期：{todo[1]}", n=days,
        )  # fmt: skip
    return "page", words(
        f"the published features are {{n}} days old, and nobody is answered: {todo[0]}",
        f"已发布特征距今{{n}}天，已停止回答：{todo[1]}", n=days,
    )  # fmt: skip
