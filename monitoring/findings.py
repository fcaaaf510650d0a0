"""What a run of the monitoring found: one finding a check and subject, in words for whoever reads it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal, NamedTuple

from features.words import Words

Status = Literal["ok", "warning", "page"]
Of = Literal["release", "shop", "table", "indicator"]  # what a check is asked of
STATUSES: tuple[Status, ...] = ("ok", "warning", "page")  # from harmless to urgent
DATA, EVENT = "data", "event"  # how topics begin: a fault of the log's tables; more business than usual
UNRELEASED = Words(
    "no model is released, so none is judged: `propensity promote` releases one",
    "尚无已发布模型，未对模型作判断：可用 `propensity promote` 发布",
)
# What may be done with the scores while something is on, the strictest last.
Scores = Literal["usable", "to_rank", "doubtful", "unanswered"]
_SCORES: tuple[Scores, ...] = ("usable", "to_rank", "doubtful", "unanswered")
_SILENT = ("freshness", "readable")  # checks whose pages mean that nobody is answered
Owner = Literal["data", "models", "operations"]  # who acts: a person or group of each is named in shop.toml


class Contributor(NamedTuple):
    """What makes up most of a finding, such as a feature. excess: over its own limit; 1 is at it."""

    name: str
    words: Words
    excess: float


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check says of one subject on one day.

    subject: the name of a release, a table or an indicator, or `log`. value, limit: in the check's unit; from
    limit on it is not ok (nan where nothing can be said yet). words: what was seen, one sentence with its
    figure; all but those of a release say what they are of. asks: the check's question. cause: the
    likely one, where the figures point at it. advice: what to do now. contributors: the largest first, at
    most three are told. since: the first day on which it was so. topic: findings of one topic in one run are
    one fault, and one message (an outage of a table shows in sixty features and three models). better: how
    far it is beyond its limit on the side that nobody minds. page: from where on it is urgent, if elsewhere.
    stage: how far what is done about it has come; told anew when it becomes another. version: of a release,
    which was asked. ranks_only: the scores say who comes first, and are no probabilities.
    """

    subject: str
    check: str
    status: Status
    value: float
    limit: float
    words: Words
    owner: Owner
    topic: str
    advice: Words | None = None
    cause: Words | None = None
    contributors: tuple[Contributor, ...] = ()
    since: date | None = None
    better: float = 0.0
    page: float | None = None
    stage: str = ""
    version: str = ""
    ranks_only: bool = False
    of: Of = "release"
    asks: Words | None = None

    @property
    def said(self) -> Words:
        """What was seen, and of what."""
        if self.of != "release":
            return self.words
        return Words(f"{self.subject}: {self.words.en}", f"{self.subject}：{self.words.zh}")

    @property
    def question(self) -> Words:
        """What was asked, and of what: a title where what was seen is no longer so."""
        asks = self.asks or Words(self.check, self.check)
        if self.of == "shop":
            return asks
        return Words(f"{self.subject}: {asks.en}", f"{self.subject}：{asks.zh}")

    @property
    def data_fault(self) -> bool:
        """Whether it is, or comes of, a fault of the log's tables."""
        return self.status != "ok" and self.topic.split(" ")[0] == DATA

    @property
    def crossed(self) -> float:
        """The limit that says how urgent it is: of what is not urgent, the first."""
        return self.page if self.status == "page" and self.page is not None else self.limit

    @property
    def fingerprint(self) -> str:
        """The same for the same trouble, run after run."""
        return f"{self.subject}|{self.check}"


def joined(findings: Iterable[Finding], checks: Collection[str], own: Collection[str] = ()) -> list[Finding]:
    """The findings; where those checks find the same in several releases, with one topic for these: the first
    release by name. One feature that three models read is one fault, and one message.

    own: names of what each release has for itself, such as its prediction: that both moved says nothing.
    """
    findings = list(findings)
    mine = [
        one
        for one in findings
        if one.of == "release" and one.status != "ok" and one.topic == one.subject and one.check in checks
    ]
    topic = {one.subject: one.subject for one in mine}
    found: dict[tuple[str, str], str] = {}  # a check, and what it found -> a release in which it did
    for one in mine:
        for name in (part.name for part in one.contributors if part.name not in own):
            both = {topic[one.subject], topic[found.setdefault((one.check, name), one.subject)]}
            topic |= {subject: min(both) for subject, of in topic.items() if of in both}
    same = {id(one): topic[one.subject] for one in mine}
    return [replace(one, topic=same.get(id(one), one.topic)) for one in findings]


def scores(found: Iterable[tuple[str, Status, bool]]) -> Scores:
    """What may be done with the scores, of (check, how urgent, ranks_only) each: page and messages agree."""

    def of(check: str, status: Status, ranks_only: bool) -> Scores:
        if status == "page" and check in _SILENT:
            return "unanswered"
        if ranks_only:
            return "to_rank"
        return "doubtful" if status == "page" else "usable"

    return max((of(*one) for one in found), key=_SCORES.index, default="usable")


def worst(findings: Iterable[Finding]) -> Status:
    """The most urgent status; ok of none."""
    return max((finding.status for finding in findings), key=STATUSES.index, default="ok")
