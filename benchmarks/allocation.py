"""The allocation of short money and channels, against HiGHS on the same linear program.

Net values are made up: three actions in ten are not open to a customer, most values are small, all limits
bind. HiGHS solves the relaxed problem, which may split a customer; ours gives whole actions.
"""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import stated
from training.allocate import allocate

Floats = NDArray[np.float64]
CHANNELS = ("mail", "sms", "app", "call")
CUSTOMERS, PEER = 100_000, 20_000  # HiGHS is asked about fewer: it would take minutes
SECONDS, GAP = 10.0, 1e-4


def figures() -> Iterator[dict[str, Any]]:
    """Seconds and gap for 100,000 customers x 12 actions; seconds of both sides for 20,000."""
    seconds, allocation = _timed(CUSTOMERS)
    what = f"allocation, {CUSTOMERS:,} customers x 12 actions, budget and 3 capacities"
    yield stated(what, seconds, "s", None, seconds, SECONDS, most=True)
    gap = allocation.gap
    yield stated(f"{what}: short of the LP bound", 100 * gap, "%", None, gap / GAP, 1.0, most=True)
    seconds, allocation = _timed(PEER)
    started = time.perf_counter()
    bound = highs(*customers(PEER), **scarce(PEER))
    peer = time.perf_counter() - started
    name = f"HiGHS's linear program ({peer:.3g} s)"
    yield {
        "name": f"allocation, {PEER:,} customers x 12 actions", "value": seconds, "unit": "s", "peer": name,
        "ratio": peer / seconds, "goal": 1.0, "holds": peer >= seconds,
    }  # fmt: skip
    off = allocation.bound / bound - 1
    yield stated("its bound above HiGHS's optimum", 100 * off, "%", None, off / GAP, 1.0, most=True)


def _timed(n: int) -> tuple[float, Any]:
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        allocation = allocate(*customers(n), **scarce(n))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), allocation


def customers(
    n: int, actions: int = 12, seed: int = 0, tied: bool = False
) -> tuple[Floats, Floats, list[str | None]]:
    """(net [n, A], cost [A], channels [A]); `tied`: net in halves, so that many customers are equal."""
    random = np.random.default_rng(seed)
    net = random.normal(0.5, 1.5, (n, actions))
    if tied:
        net = np.round(net * 2) / 2
    net[random.random((n, actions)) < 0.3] = -np.inf
    net[:, 0] = 0.0
    cost = np.r_[0.0, random.uniform(0.02, 1.5, actions - 1)]
    return net, cost, [None, *(CHANNELS[j % 4] for j in range(actions - 1))]


def scarce(n: int) -> dict[str, Any]:
    """Limits that bind for n of these customers."""
    return {"budget": 0.1 * n, "capacity": {"mail": 0.1 * n, "sms": 0.05 * n, "call": 0.01 * n}}


def highs(
    net: Floats,
    cost: Floats,
    channels: Sequence[str | Sequence[str] | None],
    budget: float | None = None,
    capacity: Mapping[str, float] | None = None,
    whole: bool = False,
) -> float:
    """The largest value by HiGHS: of the linear program, or, `whole`, of whole actions."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csc_matrix

    who, which = np.nonzero(np.isfinite(net))
    columns = np.arange(len(who))
    limits = [csc_matrix((np.ones(len(who)), (who, columns)), (len(net), len(who)))]
    most = [np.ones(len(net))]
    for name, contacts in (capacity or {}).items():
        takes = np.array([np.sum(np.array(of or ()) == name) for of in channels], np.float64)
        limits.append(csc_matrix(takes[which][None, :]))
        most.append(np.array([contacts], np.float64))
    if budget is not None:
        limits.append(csc_matrix(np.broadcast_to(cost, net.shape)[who, which][None, :]))
        most.append(np.array([budget]))
    solved = milp(
        -net[who, which],
        integrality=np.full(len(who), int(whole)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(a, -np.inf, b) for a, b in zip(limits, most, strict=True)],
        options={"mip_rel_gap": 0.0},
    )
    assert solved.success, solved.message
    return -float(solved.fun)
