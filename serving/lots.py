"""All chance in decisions: who is left alone, and what is drawn, from ids and seeds and nothing else."""

import hmac
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def in_holdout(customer_ids: Sequence[str], salt: str, share: float) -> Bools:
    """Who is left alone, bool [n]: a keyed hash of the id, so it stays the same until the salt changes."""
    key, limit = f"holdout:{salt}".encode(), share * 2.0**64
    digests = (hmac.digest(key, id.encode(), "sha256")[:8] for id in customer_ids)
    return np.array([int.from_bytes(d, "big") < limit for d in digests], dtype=np.bool_)


class Lots:
    """Lots of holdouts, each asked once: most customers come again at every moment that is looked at."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, float], dict[str, bool]] = {}

    def in_holdout(self, customer_ids: Sequence[str], salt: str, share: float) -> Bools:
        """As `in_holdout`."""
        known = self._known.setdefault((salt, share), {})
        new = [id for id in customer_ids if id not in known]
        known.update(zip(new, in_holdout(new, salt, share).tolist(), strict=True))
        return np.fromiter((known[id] for id in customer_ids), np.bool_, len(customer_ids))


def draw(
    eligible: Bools, worth: Floats, explore: float, seeds: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], Bools, Floats]:
    """(best, chosen, explored, propensity) of n customers or groups, among what is eligible [n, A].

    Nobody explores who has but one choice: its propensity is 1, whatever the lot says.
    """
    best = np.where(eligible, worth, -np.inf).argmax(axis=1)
    size = eligible.sum(axis=1)
    propensity = eligible * (explore / size)[:, None]
    propensity[np.arange(len(best)), best] += 1 - explore
    explored = (_uniform(seeds, 1) < explore) & (size > 1)
    rank = np.floor(_uniform(seeds, 2) * size).astype(np.int64)  # which of the eligible, if drawn
    drawn = (eligible.cumsum(axis=1) > rank[:, None]).argmax(axis=1)
    return best, np.where(explored, drawn, best), explored, propensity


def draw_or_quiet(
    eligible: Bools, kept: Bools, worth: Floats, explore: float, seeds: NDArray[np.uint64], share: float
) -> tuple[NDArray[np.intp], Bools, Floats, Bools]:
    """(chosen, explored, propensity, quiet) of n rounds: as `draw`, but with chance `share` a round is left
    quiet, and then among what is `kept` [A] alone. Where there is nothing else, none is."""
    _, loud, tried, chance = draw(eligible, worth, explore, seeds)
    _, low, tried_low, chance_low = draw(eligible & kept, worth, explore, seeds)
    quiet: Bools = (_uniform(seeds, 3) < share) & (eligible & ~kept).any(axis=1)
    propensity = (1 - share) * chance + share * chance_low
    return np.where(quiet, low, loud), np.where(quiet, tried_low, tried), propensity, quiet


def _uniform(seeds: NDArray[np.uint64], draw: int) -> Floats:
    """A number in [0, 1) for each seed: the draw-th output of SplitMix64 (Steele, Lea, Flood 2014), 53 bits.

    Written out so that a recorded seed gives the same draw under any later version of numpy.
    """
    with np.errstate(over="ignore"):  # the algorithm is modulo 2**64
        z = seeds.astype(np.uint64) + np.uint64(draw) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
