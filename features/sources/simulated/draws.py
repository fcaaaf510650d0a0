"""Random numbers that are a function of (seed, what for, whose): the same in any order, block or process.

A draw of its own for each purpose also couples worlds: one with a drift planted on a day equals the one
without until that day, and a treated customer is the same person as the untreated one.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NTH = 24  # bits of a key that tell a customer's draws of one purpose apart


def keys(customer: Ints, nth: Ints | int = 0) -> Ints:
    """Names a customer's nth draw of any purpose; nth below 2**24."""
    return (customer << NTH) | nth


class Draws:
    """Uniform, normal and exponential numbers by purpose and key. SplitMix64 (Steele, Lea, Flood 2014)."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def uniform(self, purpose: str, key: Ints) -> Floats:
        """In (0, 1), never an end of it."""
        digest = hashlib.sha256(f"{self.seed}:{purpose}".encode()).digest()
        z = key.astype(np.uint64)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(int.from_bytes(digest[:8], "little"))
        z ^= z >> np.uint64(30)
        z *= np.uint64(0xBF58476D1CE4E5B9)
        z ^= z >> np.uint64(27)
        z *= np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        z >>= np.uint64(11)
        return (z.astype(np.float64) + 0.5) * 2.0**-53

    def normal(self, purpose: str, key: Ints) -> Floats:
        """Mean 0, standard deviation 1."""
        return np.asarray(special.ndtri(self.uniform(purpose, key)))

    def exponential(self, purpose: str, key: Ints) -> Floats:
        """Mean 1."""
        return -np.log(self.uniform(purpose, key))

    def poisson(self, purpose: str, key: Ints, mean: Floats) -> Ints:
        """Whole numbers with the given means, by the inverse of the distribution function."""
        u = self.uniform(purpose, key)
        number = np.ceil(np.maximum(special.pdtrik(u, np.maximum(mean, 1e-12)), 0.0))
        too_many = (number > 0) & (special.pdtr(number - 1, mean) >= u)  # the inverse is exact to rounding
        return np.where(mean > 0, number - too_many, 0).astype(np.int64)

    def geometric(self, purpose: str, key: Ints, mean: Floats | float) -> Ints:
        """Whole numbers from 0 with the given mean."""
        mean = np.asarray(mean, dtype=np.float64)
        return np.floor(self.exponential(purpose, key) / np.log1p(1 / np.maximum(mean, 1e-9))).astype(
            np.int64
        )


def gamma(u: Floats, shape: float, mean: float) -> Floats:
    """Gamma-distributed from uniform numbers."""
    return np.asarray(special.gammaincinv(shape, u)) * (mean / shape)


def beta(u: Floats, a: float, b: float) -> Floats:
    """Beta-distributed from uniform numbers."""
    return np.asarray(special.betaincinv(a, b, u))


def spread(counts: Ints) -> tuple[Ints, Ints]:
    """For each of sum(counts) rows: whose it is, and its place among its owner's, from 0."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
