"""Bundles that could never be chosen, or never be sent to their end: what `propensity check` says of them."""

from collections.abc import Iterable, Iterator

from features.policy import Cap, Policy
from serving.actions import Action


def bundle_problems(actions: Iterable[Action], policies: Iterable[Policy]) -> Iterator[str]:
    """Of marketing bundles under these policies: more messages than a cap allows, or one after the offer."""
    limits = [(policy.version, cap) for policy in policies for cap in policy.caps]
    for action in actions:
        last = max((step.after_hours for step in action.then), default=0.0)
        if action.validity_days and last >= 24 * action.validity_days:
            yield (
                f"action {action.name!r}: its step {len(action.steps)} goes {last:g} hours after the "
                f"decision, and what is offered stands for {24 * action.validity_days} (validity_days = "
                f"{action.validity_days}): let it stand longer, or the step go earlier"
            )
        for version, cap in limits if action.then and action.purpose == "marketing" else ():
            if 0 < cap.contacts < (messages := _counted(cap, action)):  # a limit of 0 is meant to stop it
                where = "" if cap.channel is None else f" on {cap.channel}"
                yield (
                    f"action {action.name!r} is {messages} contacts{where}, and the policy from {version} "
                    f"allows {cap.contacts} in {cap.days} days: it could never be chosen. Allow more, or "
                    "leave out steps"
                )


def _counted(cap: Cap, action: Action) -> int:
    return len(action.channels) if cap.channel is None else action.channels.count(cap.channel)
