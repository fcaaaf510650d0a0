"""Policy breaches: none, in any number of generated decisions by concurrent processes.

A made-up shop with every limit at once: caps and cooldowns by channel and action, quiet hours in three zones,
preferred hours, budgets of a day and a month, reservations that expire, a holdout, exploration. Callers in
several processes, each with threads as the service has them, decide for the same customers at the same time,
repeat each other's requests under the same keys, look at previews, withdraw and grant consents, open
complaints, tell contacts of other systems, pause and resume, ask whether they may still send, and report
deliveries late or never. `breaches_checks` then reads the ledger, knows what was told when, and looks for
what may not be: slowly, by definitions of its own.

The count is PROPENSITY_BREACHES (default 1,000,000). They are of worlds of WORLD decisions, each with
customers, dice and a ledger of its own, as many at a time as there are processors. Of each that is done a
line is written to the file PROPENSITY_BREACHES_DONE, if that is set: begun again, those are not done again.
Remove it when the program changes.
"""

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.breaches_callers import THREADS, run
from benchmarks.breaches_checks import breaches
from benchmarks.breaches_world import World
from benchmarks.measure import stated

COUNT = 1_000_000
WORLD = 50_000  # decisions; its ledger takes half a gigabyte
CUSTOMER = 70  # decisions of one
PROCESSES = (2, 3)  # of one world, in turn


def figures() -> Iterator[dict[str, Any]]:
    """Breaches among all decisions, and how fast they were taken with all else that was told."""
    count = int(os.environ.get("PROPENSITY_BREACHES", COUNT))
    sizes = [min(WORLD, count - first) for first in range(0, count, WORLD)]
    done = _done_before(sizes)
    started, before = time.perf_counter(), sum(one["decisions"] for one in done)
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=fork) as pool:
        left = set(range(len(sizes))) - {one["world"] for one in done}
        try:
            for found in as_completed([pool.submit(_world, seed, sizes[seed]) for seed in sorted(left)]):
                done.append(found.result())
                _note_done(done[-1], sum(one["decisions"] for one in done), count)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # else the rest is done, and nobody hears of it
            raise
    rate = (count - before) / (time.perf_counter() - started)
    wrong = sum(one["breaches"] for one in done)
    asked = sum(one["asked"] for one in done)
    who = f"{' or '.join(map(str, PROCESSES))} processes of {THREADS} threads"
    name = f"policy breaches in {count:,} generated decisions, {len(sizes)} worlds of {who}"
    yield stated(name, wrong, "breaches", None, wrong, 0, most=True)
    yield stated("checked with them: messages about to be sent", asked, "", None, asked, None)
    yield stated(
        "decisions a second, with all else that is told, and the checks", rate, "1/s", None, rate, None
    )


def _world(seed: int, count: int) -> dict[str, Any]:
    """What was found in one world."""
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        world = World.made(Path(folder), customers=max(200, count // CUSTOMER), seed=seed)
        told = run(world, count, PROCESSES[seed % len(PROCESSES)], THREADS, seed)
        found = breaches(world, told)
    asked = sum(event["what"] == "sending" for event in told)
    return {"world": seed, "decisions": count, "breaches": len(found), "asked": asked, "some": found[:20]}


def _done_before(sizes: list[int]) -> list[dict[str, Any]]:
    """Worlds of these sizes that the file of those that are done has."""
    path = os.environ.get("PROPENSITY_BREACHES_DONE")
    if path is None or not Path(path).exists():
        return []
    lines = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    return [one for one in lines if one["world"] < len(sizes) and sizes[one["world"]] == one["decisions"]]


def _note_done(one: dict[str, Any], decisions: int, count: int) -> None:
    for line in one["some"]:
        print(f"world {one['world']}: {line}", flush=True)
    print(f"{decisions:,} of {count:,} decisions, world {one['world']}: {one['breaches']} breaches",
          file=sys.stderr, flush=True)  # fmt: skip
    if (path := os.environ.get("PROPENSITY_BREACHES_DONE")) is not None:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(one) + "\n")


def fast_folder() -> str | None:
    """Memory, where there is a file system of it: this is about what is decided, not about the disk."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() else None
