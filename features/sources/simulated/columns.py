"""Columns of the raw files, from numpy arrays without a Python object a row."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.sources.simulated.draws import Bools, Floats, Ints
from features.sources.simulated.world import World

Rows = dict[str, pa.Array]  # column -> values, all of one length
_DAY_US = 86_400_000_000


def numbered(prefix: str, numbers: Ints, width: int) -> pa.Array:
    """Text ids: the prefix and the number, padded with zeros to the width."""
    size = len(prefix) + width
    text = np.empty((len(numbers), size), dtype=np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix.encode(), dtype=np.uint8)
    rest = numbers.astype(np.int64)
    for place in range(size - 1, len(prefix) - 1, -1):
        rest, digit = np.divmod(rest, 10)
        text[:, place] = digit + 48
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * size
    return pa.Array.from_buffers(pa.string(), len(numbers), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def named(codes: NDArray[Any], names: Any, known: Bools | None = None) -> pa.Array:
    """Text out of a vocabulary (a sequence, or Arrow), no name twice; null where not `known`."""
    mask = None if known is None else ~known
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32), mask=mask),
        names if isinstance(names, pa.Array) else pa.array(list(names)),
    )


def same(text: str, number: int) -> pa.Array:
    """The same text in every row."""
    return named(np.zeros(number, dtype=np.int32), [text])


def moments(world: World, t: Floats, known: Bools | None = None) -> pa.Array:
    """UTC microseconds of times in days; null where not `known`."""
    us = world.origin_us + np.floor(np.where(np.isfinite(t), t, 0.0) * _DAY_US).astype(np.int64)
    if known is not None:
        return pa.array(us, mask=~known).cast(pa.timestamp("us", "UTC"))
    return pa.Array.from_buffers(pa.timestamp("us", "UTC"), len(us), [None, pa.py_buffer(us)])


def money(cents: Ints) -> pa.Array:
    """Decimals of two places: the low and the high word of 128 bits."""
    words = np.empty((len(cents), 2), dtype=np.int64)
    words[:, 0] = cents
    words[:, 1] = cents >> 63
    return pa.Array.from_buffers(pa.decimal128(18, 2), len(cents), [None, pa.py_buffer(words)])


def nothing(number: int) -> pa.Array:
    """Text that is null in every row."""
    return pa.nulls(number, pa.string())


def late(world: World, purpose: str, key: Ints, t: Floats, share: float, days: float) -> Floats:
    """When rows of times t are known: a share of them late, by an exponential number of days of that mean."""
    u = world.draws.uniform(f"{purpose} late", key)
    return np.where(u < share, t - days * np.log(np.maximum(u, 1e-300) / share), t)
