"""What messages to groups brought: groups that the policy's hash held out against all others.

Intention to treat, by group: whatever was sent in a group since. Customers of exactly one group at the
beginning are compared; those of several may be reached though one of their groups is held out, so they are
reported apart, as are the customers held out from marketing whom a group's message reached.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from features.errors import NotEnoughData
from features.log import Log
from features.moments import DAY, iso
from features.policy import Policy
from features.words import Words
from serving.groups import held_out
from serving.lots import in_holdout
from training.clusters import Clustered, difference
from training.realised import outcomes

FEW = 10  # groups in an arm below which an interval rests on too little


@dataclass(frozen=True)
class GroupEffect:
    """An outcome. harm: more of it is worse. several, exposed: means of those reported apart, NaN of none."""

    name: Words
    harm: bool
    found: Clustered
    several: float
    exposed: float


@dataclass(frozen=True)
class GroupEffects:
    """several: customers of more than one group; exposed: held out from marketing, and reached in a group."""

    since: datetime
    until: datetime
    effects: tuple[GroupEffect, ...]
    several: int
    exposed: int
    warnings: tuple[Words, ...]


def group_effects(
    log: Log, policy: Policy, members: Mapping[str, Collection[str]], reached: Collection[str],
    since: datetime, days: int,
) -> GroupEffects:  # fmt: skip
    """Compare the groups over a window of days.

    members: group -> its customers at the beginning. reached: groups in which something was said in the
    window. NotEnoughData if the window is not over, or fewer than two groups are held out.
    """
    until = since + days * DAY
    if until > log.complete_until:
        raise NotEnoughData(
            f"the window from {iso(since)} ends on {iso(until)}, and the log as known now is complete until "
            f"{iso(log.complete_until)}: nothing is known before. Ask again then, or about fewer --days"
        )
    groups = sorted(members)
    of: dict[str, list[int]] = {}
    for g, group in enumerate(groups):
        for id in members[group]:
            of.setdefault(id, []).append(g)
    ids = sorted(of)
    left_alone = held_out(groups, policy.salt, policy.holdout)
    single = np.array([len(of[id]) == 1 for id in ids], np.bool_)
    cluster = np.array([of[id][0] for id in ids], np.intp)
    heard = {g for g, group in enumerate(groups) if group in reached}
    exposed = in_holdout(ids, policy.salt, policy.holdout)
    exposed &= np.array([any(g in heard for g in of[id]) for id in ids], np.bool_)

    effects = [
        GroupEffect(
            name,
            harm is not None,
            difference(values[single], ~left_alone[cluster[single]], cluster[single], harm=harm is not None),
            _mean(values[~single]),
            _mean(values[exposed]),
        )
        for name, values, harm in outcomes(log, ids, since, until)
    ]
    warnings = []
    arms = (effects[0].found.treated.clusters, effects[0].found.held_out.clusters)
    if min(arms) < FEW:
        warnings.append(Words(
            f"{arms[1]} groups held out and {arms[0]} not: with fewer than {FEW} in an arm an interval rests "
            "on little",
            f"对照社群{arms[1]}个，其余{arms[0]}个：任一组少于{FEW}个时，区间依据不足",
        ))  # fmt: skip
    broken = sorted(groups[g] for g in heard if left_alone[g])
    if broken:
        warnings.append(Words(
            f"{len(broken)} groups held out heard something all the same, such as {broken[0]}: the "
            "difference is not what messages bring",
            f"有{len(broken)}个对照社群仍收到消息，例如{broken[0]}：差异不能代表消息的效果",
        ))  # fmt: skip
    return GroupEffects(
        since, until, tuple(effects), int((~single).sum()), int(exposed.sum()), tuple(warnings)
    )


def _mean(of: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
    return float(of.mean()) if len(of) else float("nan")
