"""What marketing brought, against those whom it left alone: once the window is over, and not before.

Intention to treat: everybody known at a moment, treated or held out by the policy's keyed hash, whatever was
sent to them since. The outcomes of a window of days that the log has in full are compared; a window that is
not over tells nothing, for an outcome that has not come yet is no zero. What was reported to the ledger
counts beside the log, each outcome once (`reported`), once no report of the window is still to come.
Intervals are normal, and wider with each look at the same experiment, so that those of all looks hold
together in 95 % (`sequential.of_look`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from features.describe.say import words
from features.errors import NotEnoughData
from features.log import Log
from features.moments import DAY, iso
from features.policy import Policy
from features.words import Words
from serving.lots import in_holdout
from training.reported import Reports
from training.sequential import LEAST, Difference, Group, Guardrail, of_look, rare

if TYPE_CHECKING:
    import pyarrow as pa

Bools = NDArray[np.bool_]

ORDERED = Words("customers who ordered", "下单客户占比")
VALUE = Words("order value a customer", "人均订单金额")
_MOST = 0.005  # of a harm, that is tolerated: one customer in two hundred
WITHDREW = Guardrail(
    Words("customers who withdrew a consent or opted out", "撤回授权或退订的客户占比"), _MOST
)
COMPLAINED = Guardrail(Words("customers who complained", "投诉的客户占比"), _MOST)
_SRM = 3.29  # standard errors: one sample ratio in a thousand is as far off by chance


@dataclass(frozen=True)
class Effect:
    """An outcome of both groups. `guardrail`: of a harm, how much of it is tolerated."""

    name: Words
    treated: Group
    held_out: Group
    look: int = 1
    guardrail: Guardrail | None = None

    @property
    def difference(self) -> Difference:
        """A customer; with its interval at this look."""
        value = self.treated.mean - self.held_out.mean
        groups = (self.treated, self.held_out)
        # That it came to nobody yet, a harm or an order, is no proof that it never will.
        shares = self.guardrail is not None or self.name == ORDERED
        variances = (rare(of.mean, of.n) if shares else of.variance for of in groups)
        parts = (variance / of.n for variance, of in zip(variances, groups, strict=True))
        half = of_look(self.look) * math.sqrt(sum(parts))
        return Difference(value, value - half, value + half)

    @property
    def state(self) -> Literal["broken", "open", "holds"] | None:
        """Of the guardrail; None of what is no harm."""
        return None if self.guardrail is None else self.guardrail.state(self.difference)


@dataclass(frozen=True)
class Heard:
    """Messages of a window that were addressed to no person: how many reached everyone, and whom others
    reached in a group. The treated heard them like the held out."""

    everyone: int = 0
    members: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Realised:
    """until: end of the window. look: which one at this experiment. cost: of contacts, if it is known.

    brought: the margin that all treated together brought beyond what they would have if left alone.
    exposed: held out, yet reached by what was said in a group or to everyone; heard: what that was.
    contacted: how many of the treated and of the held out were; None: nobody tells of contacts. untold:
    contacts that were decided in the window, of which nobody told what became of them.
    """

    since: datetime
    until: datetime
    effects: tuple[Effect, ...]
    warnings: tuple[Words, ...]
    look: int
    cost: float | None
    brought: Difference
    exposed: int = 0
    heard: Heard = Heard()
    contacted: tuple[int, int] | None = None
    untold: int = 0

    @property
    def judged(self) -> bool:
        """Whether there was marketing to persons to judge, for all that anybody tells."""
        return self.reached or self.untold > 0

    @property
    def reached(self) -> bool:
        """Whether any of the treated is known to have been contacted; also where nobody tells of contacts."""
        return self.contacted is None or self.contacted[0] > 0

    @property
    def told_contacted(self) -> Words:
        """How many of either group were contacted in the window."""
        if self.contacted is None:
            said = Words(
                "Whether anybody was contacted in the window is not known: neither the log nor the ledger "
                "has contacts",
                "窗口内是否有人被触达未知：日志与台账均无触达记录",
            )
        else:
            said = words(
                "Contacted in the window: {treated} of {n} treated, {held} of {m} held out",
                "窗口内被触达：处理组{n}人中{treated}人，对照组{m}人中{held}人",
                treated=self.contacted[0], held=self.contacted[1],
                n=self.effects[0].treated.n, m=self.effects[0].held_out.n,
            )  # fmt: skip
        if not self.untold:
            return said
        more = words(
            "; of {n} contacts more that were decided no delivery tells what became of them",
            "；另有{n}次已决策的触达无送达回报", n=self.untold,
        )  # fmt: skip
        return Words(said.en + more.en, said.zh + more.zh)

    @property
    def told_exposed(self) -> Words | None:
        """What the exposed mean for the difference; None if there are none."""
        if not self.exposed:
            return None
        n, of = f"{self.exposed:,}", f"{self.effects[0].held_out.n:,}"
        k = self.heard.everyone
        by = [(f"{k} messages to everyone", f"{k}条全员消息")] if k else []
        by += [("what was said in groups", "社群消息")] if self.heard.members else []
        en, zh = (link.join(side) for link, side in zip((" and ", "与"), zip(*by, strict=True), strict=True))
        return Words(
            f"{n} of {of} held out are exposed: {en} reached them as it did the treated. The difference is "
            "what marketing to persons brings beside that; for the rest see `propensity evaluate groups`",
            f"对照组{of}人中有{n}人被触达：{zh}同样触达了他们与处理组。"
            "差异仅反映面向个人的营销效果；其余效果见 `propensity evaluate groups`",
        )

    @property
    def broken(self) -> list[Effect]:
        """Harms beyond what is tolerated, if there was marketing that can have done them."""
        return [of for of in self.effects if self.judged and of.state == "broken"]


def realised(
    log: Log, policy: Policy, since: datetime, days: int, margin_rate: float = 1.0, look: int = 1,
    told: Reports | None = None, heard: Heard = Heard(),
) -> Realised:  # fmt: skip
    """Compare the groups over a window. margin_rate: margin as a share of sales. look: how many times this
    experiment was looked at, this time included. told: what the ledger was told of that window, final.
    heard: what was said in it to no person.
    NotEnoughData if it is not over, or a group too small."""
    until = since + days * DAY
    if until > log.complete_until:
        raise NotEnoughData(
            f"the window from {iso(since)} ends on {iso(until)}, and the log as known now is complete until "
            f"{iso(log.complete_until)}: nothing is known before. Ask again then, or about fewer --days"
        )
    customers = log.read("customers", ["customer_id", "known_at"])
    known = np.array([at <= since for at in customers["known_at"].to_pylist()], np.bool_)
    ids = sorted(
        {id for id, is_known in zip(customers["customer_id"].to_pylist(), known, strict=True) if is_known}
    )
    held = in_holdout(ids, policy.salt, policy.holdout)
    if min(held.sum(), (~held).sum()) < LEAST:
        raise NotEnoughData(
            f"{held.sum()} of {len(ids)} customers known on {iso(since)} are held out: {LEAST} are needed"
        )
    told = told or Reports()
    effects = [
        _effect(name, values, held, look, harm)
        for name, values, harm in outcomes(log, ids, since, until, told)
    ]
    place = {id: number for number, id in enumerate(ids)}
    sent = [{"customer_id": id, "cost": cost} for id, cost in told.contacts]
    if "contacts" in log.tables:
        sent += within(log, "contacts", ["cost"], since, until)
    contacted = _ones(sent, place)
    costs = [float(row["cost"]) for row in sent if row["cost"] is not None and row["customer_id"] in place]
    cost = sum(costs) if costs else None
    scale = margin_rate * effects[1].treated.n
    brought = Difference(*(end * scale for end in vars(effects[1].difference).values()))
    also = _ones([{"customer_id": id} for id, _, _ in told.orders], place)
    warnings = tuple(_warnings(held, policy.holdout, contacted, also))
    exposed = held if heard.everyone else held & np.array([id in heard.members for id in ids], np.bool_)
    reached = None
    if sent or "contacts" in log.tables:
        reached = int(contacted[~held].sum()), int(contacted[held].sum())
    return Realised(
        since, until, tuple(effects), warnings, look, cost, brought, int(exposed.sum()), heard, reached,
        told.untold,
    )  # fmt: skip


def outcomes(
    log: Log, ids: Sequence[str], since: datetime, until: datetime, told: Reports | None = None
) -> list[tuple[Words, NDArray[np.float64], Guardrail | None]]:
    """(what, of each customer [n], of a harm how much is tolerated), from `since` on and before `until`; with
    what was told beyond the log."""
    told = told or Reports()
    place = {id: number for number, id in enumerate(ids)}
    money, bought = np.zeros(len(ids)), np.zeros(len(ids))
    for row in sales(log, since, until):
        if row["customer_id"] in place:
            money[place[row["customer_id"]]] += row["amount"]
            bought[place[row["customer_id"]]] = max(bought[place[row["customer_id"]]], row["ref"] is None)
    for id, _, value in told.orders:
        if id in place:
            money[place[id]] += value
            bought[place[id]] = 1.0
    found: list[tuple[Words, NDArray[np.float64], Guardrail | None]] = [
        (ORDERED, bought, None),
        (VALUE, money, None),
    ]
    left, complaints = ([{"customer_id": id} for id in of] for of in (told.opted_out, told.complained))
    if "consents" in log.tables:
        rows = within(log, "consents", ["status"], since, until)
        left += [row for row in rows if row["status"] == "withdrawn"]
    if "cases" in log.tables:
        cases = within(log, "cases", ["kind", "change"], since, until)
        complaints += [row for row in cases if (row["kind"], row["change"]) == ("complaint", "opened")]
    for rows, table, harm in ((left, "consents", WITHDREW), (complaints, "cases", COMPLAINED)):
        if rows or table in log.tables:  # of which nobody ever tells, nothing is known
            found.append((harm.name, _ones(rows, place), harm))
    return found


def sales(log: Log, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
    """Orders and refunds of a window. All refunds of an order together take no more than it was: what is
    booked beyond that (a typing error, a goodwill payment) is no sale undone."""
    import pyarrow as pa
    import pyarrow.compute as pc

    inside = within(log, "orders", ["order_id", "amount", "ref"], since, until)
    wanted = pa.array({row["ref"] for row in inside} - {None}, pa.string())
    rows: pa.Table = log.read("orders", ["order_id", "at", "amount", "ref"])
    theirs = rows.filter(pc.or_(pc.is_in(rows["order_id"], wanted), pc.is_in(rows["ref"], wanted)))
    left: dict[str, float] = {}
    for row in theirs.to_pylist():
        order, amount = row["ref"] or row["order_id"], float(row["amount"])
        if row["ref"] is None or amount > 0 or row["at"] < since:
            left[order] = left.get(order, 0.0) + amount
    for row in sorted(inside, key=lambda row: (row["at"], row["order_id"])):
        amount, order = float(row["amount"]), row["ref"]
        if order in left and amount < 0:
            amount = -min(-amount, max(left[order], 0.0))
            left[order] += amount
        yield {**row, "amount": amount}


def _warnings(
    held: Bools, share: float, contacted: NDArray[np.float64], also: NDArray[np.float64]
) -> list[Words]:
    """What makes the groups incomparable. also: who had an order that was told, and is not in the log."""
    found, n = [], len(held)
    off = (held.sum() - share * n) / math.sqrt(n * share * (1 - share))
    if abs(off) > _SRM:
        found.append(Words(
            f"{held.mean():.2%} are held out where the policy says {share:.2%}: customers were lost or the "
            "salt was changed, and the groups cannot be compared",
            f"对照组占{held.mean():.2%}，而策略为{share:.2%}：可能有客户缺失或盐值被更改，两组不可比",
        ))  # fmt: skip
    rate = float(also[~held].mean())
    if not also[held].any() and (1 - rate) ** int(held.sum()) < 1e-3:
        found.append(Words(
            f"orders that the log does not have were told of {rate:.1%} of those treated, and of none held "
            "out: a sale without a contact is a sale too. Tell outcomes of every decision",
            f"处理组{rate:.1%}的客户有日志之外上报的订单，对照组则完全没有：没有触达时的成交同样是成交。"
            "请上报每次决策的结果",
        ))  # fmt: skip
    reached = int(contacted[held].sum())
    if reached:
        found.append(Words(
            f"{reached:,} of {held.sum():,} held out were contacted all the same: the difference is not what "
            "marketing brings",
            f"对照组{held.sum():,}人中有{reached:,}人仍被触达：差异不能代表营销的效果",
        ))  # fmt: skip
    return found


def _effect(
    name: Words, outcome: NDArray[np.float64], held: Bools, look: int, guardrail: Guardrail | None = None
) -> Effect:
    treated, control = (
        Group(int(of.sum()), float(outcome[of].mean()), float(outcome[of].var(ddof=1)))
        for of in (~held, held)
    )
    return Effect(name, treated, control, look, guardrail)


def _ones(rows: Sequence[dict[str, Any]], place: dict[str, int]) -> NDArray[np.float64]:
    ones = np.zeros(len(place))
    ones[[place[row["customer_id"]] for row in rows if row["customer_id"] in place]] = 1.0
    return ones


def within(log: Log, name: str, columns: list[str], since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Rows of a table that happened from `since` on and before `until`."""
    import pyarrow.compute as pc

    rows: pa.Table = log.read(name, ["customer_id", "at", *columns])
    inside = pc.and_(pc.greater_equal(rows["at"], since), pc.less(rows["at"], until))
    found: list[dict[str, Any]] = rows.filter(inside).to_pylist()
    return found
