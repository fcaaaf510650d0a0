"""Whether two systems' customers are the same people: if no id of one is in the other, probably not."""

from collections.abc import Iterable, Mapping

FEW = 20  # ids: of fewer, none need be in another file


def apart(here: frozenset[str], others: Mapping[str, frozenset[str]]) -> list[str]:
    """The names of the others with which these have no id in common."""
    return [name for name, ids in others.items() if min(len(here), len(ids)) >= FEW and not here & ids]


def circles(files: Mapping[str, frozenset[str]], linked: Iterable[Iterable[str]]) -> list[list[str]]:
    """Files in lists that have no customer in common. linked: files whose customers another file links.

    >>> many = frozenset(map(str, range(20)))
    >>> circles({"a": many, "b": frozenset("xyz"), "c": many, "d": frozenset(map(chr, range(65, 85)))}, [])
    [['a', 'c'], ['d']]
    """
    found: list[list[str]] = []
    for name, here in files.items():
        if len(here) < FEW:
            continue
        met = [circle for circle in found if any(here & files[other] for other in circle)]
        found = [circle for circle in found if circle not in met] + [[*sum(met, []), name]]
    for some in linked:
        met = [circle for circle in found if set(circle) & set(some)]
        found = [circle for circle in found if circle not in met] + ([sum(met, [])] if met else [])
    order = list(files)
    return sorted(
        (sorted(circle, key=order.index) for circle in found), key=lambda circle: order.index(circle[0])
    )


def meet_nobody(others: list[str], with_them: list[str] | None = None) -> str:
    """What to do then. with_them: files of the same customers."""
    alike = f", as those of {_some(with_them)}," if with_them else ""
    return (
        f"none of these customer ids{alike} is in {_some(others)}. If another system gave them, read them in a "
        "mapping of their own with a customer_prefix, and who is who from a file of identities"
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
