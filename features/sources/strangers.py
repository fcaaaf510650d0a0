"""Whether two systems' customers are the same people: if no id of one is in the other, probably not."""

from collections.abc import Mapping

FEW = 20  # ids: of fewer, none need be in another file


def apart(here: frozenset[str], others: Mapping[str, frozenset[str]]) -> list[str]:
    """The names of the others with which these have no id in common."""
    return [name for name, ids in others.items() if min(len(here), len(ids)) >= FEW and not here & ids]


def meet_nobody(others: list[str]) -> str:
    """What to do then."""
    return (
        f"none of these customer ids is in {', '.join(others[:3])}. If another system gave them, the same id may "
        "be another person's one day: give them a customer_prefix in a mapping of their own, and link who is "
        "who by a file of identities"
    )
