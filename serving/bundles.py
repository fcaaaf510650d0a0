"""Actions that could never be chosen, or never be sent to their end: what `propensity check` says of them."""

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta

from features.moments import DAY
from features.policy import Cap, Policy
from features.words import several
from serving.actions import Action
from serving.reservations import due
from serving.rounds import EVERYONE, round_days
from serving.sending import Night, slot

_HOUR = timedelta(hours=1)
_MIDNIGHT = datetime(2000, 1, 1, tzinfo=UTC)  # of any day whose clocks do not change


def bundle_problems(actions: Collection[Action], policies: Iterable[Policy]) -> Iterator[str]:
    """Of marketing bundles under these policies: more messages than a cap allows. Of all: one after the offer
    or, of what goes to everyone, after its round; the quiet hours, and the hour that is preferred, count."""
    policies = [*policies]
    for action in (part for of in actions for part in of.parts):
        if not (action.then or action.after_hours):
            continue
        yield from _late(action, actions, policies)
        for policy in policies if action.purpose == "marketing" else ():
            for cap in policy.caps:
                if 0 < cap.contacts < (messages := _counted(cap, action)):  # a limit of 0 is meant to stop it
                    where = "" if cap.channel is None else f" on {cap.channel}"
                    never = "it could never be chosen"
                    if action.part_of is not None:  # the bundle goes all the same
                        where += f" for each {action.reach}"
                        never = f"its part for {action.reach} could never be sent"
                    yield (
                        f"action {action.name!r} is {messages} contacts{where}, and the policy from "
                        f"{policy.version} allows {cap.contacts} in {cap.days} days: {never}. Allow more, or "
                        "leave out steps"
                    )


def remarks(actions: Collection[Action], policies: Iterable[Policy]) -> Iterator[str]:
    """Of marketing, what may be meant, or be a slip: an offer that stands for no time, a limit of 0."""
    marketing = [part for of in actions if of.steps and of.purpose == "marketing" for part in of.parts]
    for action in marketing:
        if not action.validity_days and action.part_of is None:
            yield (
                f"action {action.name!r}: validity_days is 0, so its offer ends as it is sent: say for how "
                "many days it stands"
            )
    for policy in policies:
        for cap in policy.caps:
            where = "all channels together" if cap.channel is None else cap.channel
            stopped = [action for action in marketing if cap.contacts == 0 and _counted(cap, action)]
            whole = [action.name for action in stopped if action.part_of is None]
            told = {"never chosen under it": whole} if whole else {}
            for part in stopped:
                if part.name not in whole:  # the bundle goes all the same
                    told.setdefault(f"the part for {part.reach} is never sent under it", []).append(part.name)
            for never, names in told.items():
                yield (
                    f"action{'s' * (len(names) > 1)} {several(names)}: the policy from {policy.version} "
                    f"has a cap of 0 contacts in {cap.days} days on {where}: {never}. If that is not meant, "
                    "allow more in shop.toml"
                )


def _late(action: Action, actions: Collection[Action], policies: Iterable[Policy]) -> Iterator[str]:
    """The first policy under which its last step is too late for the offer, and for its round."""
    last, stands = action.steps[-1].after_hours, action.validity_days * DAY
    which = len(action.steps) if action.part_of is None else f"for {action.reach}"
    its = f"action {action.name!r}: its step {which} goes"
    for policy in policies if stands else ():
        first, goes = max(_goes(action, policy), key=lambda of: of[1] - max(of[0], stands))
        if goes >= max(first, stands):
            waits = goes > last * _HOUR
            yield (
                f"{its} {'up to ' * waits}{goes / _HOUR:g} hours after the decision, "
                f"{f'as messages wait under the policy from {policy.version}, ' * waits}and what is offered "
                f"stands for {stands / _HOUR:g} (validity_days = {action.validity_days}): let it stand "
                "longer, or the step go earlier"
            )
            break
    for policy in policies if EVERYONE in (action.unit, action.part_of) else ():
        goes, days = _goes(action, policy)[0][1], round_days(actions, policy)
        if goes >= days * DAY:
            yield (
                f"{its} {goes / _HOUR:g} hours after its round begins, and under the policy from "
                f"{policy.version} a round is {24 * days}: it could never be sent. Let the step go earlier"
            )
            break


def _goes(action: Action, policy: Policy) -> list[tuple[timedelta, timedelta]]:
    """So long after a decision its first and its last message go, decided at every half hour of a day."""
    send, marketing = policy.send, action.purpose == "marketing"
    night = Night(quiet=send.quiet if send is not None and (marketing or send.service) else None)
    own_hour = send is not None and send.hours and marketing and action.part_of is None  # parts have none
    hours = range(24) if own_hour else ()
    found = []
    for decided in (_MIDNIGHT + half * _HOUR / 2 for half in range(48)):
        for hour in (None, *hours):
            first = slot(decided + action.after_hours * _HOUR, *night, hour).at
            found.append((first - decided, due(first, action.steps, night)[-1] - decided))
    return found


def _counted(cap: Cap, action: Action) -> int:
    return len(action.channels) if cap.channel is None else action.channels.count(cap.channel)
