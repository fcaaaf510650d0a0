"""Who is let in, and how many at once: a client's rate, and what a busy process refuses instead of queueing.

A caller that is told to come back in a second is better off than one that waits for half a minute with
everybody else. What is refused costs a fraction of what it asked for.
"""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serving.keys import Key
from serving.problems import Problem

T = TypeVar("T")

BURST = 2.0  # seconds' worth of a client's rate that may come at once
QUEUE = 64  # requests in a line; a longer one is answered too late for most callers
LATE = 0.1  # seconds that the event loop may be behind, twice in a row: once is a pause, not a load
WORK = LATE / 2  # seconds of CPU that the process took meanwhile: else the machine had no time for it
BEAT = 0.05  # seconds between two looks at it
TOO_MUCH = "more is asked than this process can answer in time"


class Rates:
    """Requests a second of each client that has a limit, in this process. For the event loop's thread."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}  # client -> (requests it may still send, when)

    def take(self, key: Key) -> None:
        """Count one request of a client; Problem 429 if it is one too many. All keys of a client share."""
        if key.rate is None:
            return
        now, most = time.monotonic(), max(1.0, BURST * key.rate)
        left, then = self._left.get(key.client, (most, now))
        left = min(most, left + (now - then) * key.rate)
        if left < 1:
            self._left[key.client] = (left, now)
            detail = f"this client may send {key.rate:g} requests a second"
            raise refusal("rate_limited", detail, (1 - left) / key.rate)
        self._left[key.client] = (left - 1, now)


class Load:
    """Whether the event loop keeps up. For its thread."""

    def __init__(self) -> None:
        self._busy = False
        self._beat: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch the event loop that runs."""
        loop = asyncio.get_running_loop()
        due, late_before, spent = loop.time() + BEAT, False, time.process_time()

        def beat() -> None:
            nonlocal due, late_before, spent
            worked = time.process_time() - spent
            late = loop.time() - due > LATE and worked > WORK
            self._busy, late_before = late and late_before, late
            due, spent = loop.time() + BEAT, spent + worked
            self._beat = loop.call_at(due, beat)

        self._beat = loop.call_at(due, beat)

    def stop(self) -> None:
        """Watch no more."""
        if self._beat is not None:
            self._beat.cancel()

    def admit(self) -> None:
        """Problem 429 if what came before keeps the event loop at work longer than callers should wait."""
        if self._busy:
            raise refusal("overloaded", TOO_MUCH, 1)


class Line:
    """Threads beside the event loop, and the requests that wait for one. For the event loop's thread.

    queue: how many may wait, default QUEUE.
    """

    def __init__(self, threads: int, queue: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="propensity")
        self._waiting, self._queue = 0, queue

    async def do(self, work: Callable[[], T]) -> T:
        """The result of work that waits for something, while the loop goes on; Problem 429 if too many do."""
        if self._waiting >= (self._queue or QUEUE):
            raise refusal("overloaded", TOO_MUCH, 1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1

    def stop(self) -> None:
        """Wait for what is being done."""
        self._pool.shutdown()


def refusal(code: str, detail: str, seconds: float) -> Problem:
    """A 429 that says when to come back: whole seconds, as the header has it."""
    return Problem(429, code, f"{detail}; try again later", headers={"retry-after": str(math.ceil(seconds))})
