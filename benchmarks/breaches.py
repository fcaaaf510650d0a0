"""Policy breaches: none, in any number of generated decisions by concurrent processes.

A made-up shop with every limit at once: caps and cooldowns by channel and action, quiet hours in three zones,
preferred hours, budgets of a day and a month, reservations that expire, a holdout, exploration. Processes
decide for the same customers at the same time, repeat each other's requests under the same keys, look at
previews, withdraw and grant consents, open complaints, tell contacts of other systems, pause and resume, and
report deliveries late or never. `breaches_checks` then reads the ledger, knows what was told when, and looks
for what may not be: slowly, by definitions of its own. The count is
PROPENSITY_BREACHES (default 1,000,000).
"""

import json
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.breaches_checks import FEATURES, START, breaches
from benchmarks.measure import stated
from features import online
from features.compute.builds import Build
from features.definitions import catalogue, feature_hash
from features.errors import UsageError
from features.inbox import Inbox
from features.moments import DAY, from_us, iso, parse_moment, to_us
from features.settings import BUNDLED_SHOPS, Settings
from features.shop import shop_of
from serving.api import DecisionRequest
from serving.arrivals import take
from serving.decision_context import DecisionContext
from serving.decisions import take_decision
from serving.ledger_reports import Delivery
from serving.pauses import Pauses

COUNT = 1_000_000
STEP = 8 * 3_600_000_000  # microseconds that pass between two decisions of a customer, about
SHOP_TOML = """
name = "Breaches"
zone = "Asia/Shanghai"
currency = "CNY"
exponent = 2
sources = ["simulated"]

[value]
margin_rate = 0.3
horizon_days = 28

[consent]
mail = true
sms = true

[[policy]]
from = 2020-01-01
max_contacts = 4
per_days = 7
holdout = 0.1
explore = 0.3
salt = "breaches"
reserve_hours = 30
person_above = 1.0

[[policy.cap]]
channel = "sms"
contacts = 2
days = 7

[[policy.cap]]
contacts = 9
days = 30

[[policy.cooldown]]
channel = "mail"
days = 2

[[policy.cooldown]]
action = "text_a"
days = 3.5

[policy.send]
quiet = ["21:30", "08:00"]
hours = ["order_hour_365d"]
zone = "home"

[[policy.budget]]
amount = {day:.1f}
per = "day"

[[policy.budget]]
amount = {month:.1f}
per = "month"
scenario = "win_back"
"""
SHOP_PY = """
from dataclasses import replace
from features.definitions import Feature
from serving.scenarios import Scenario

FEATURES = [Feature(name="home", words=Words("Zone", "时区"), unit="zone", measure="last", table="contacts",
                    column="campaign_id", vocabulary=("Asia/Shanghai", "America/New_York", "Asia/Kathmandu"))]
ACTIONS += [
    replace(ACTIONS[0], name="text_a", channel="sms", eligible=(), suppress_days=0, send_cost=0.05),
    replace(ACTIONS[1], name="text_b", channel="sms", eligible=(), suppress_days=0, send_cost=0.05),
    replace(ACTIONS[2], name="letter", channel="mail", eligible=(), suppress_days=1, send_cost=0.4),
    replace(ACTIONS[1], name="order_news", channel="sms", purpose="service", eligible=(), send_cost=0.05),
]
SCENARIOS = [
    Scenario(name=name, words=Words(name, "场景"), due_days=1, when="days_since_order >= 0",
             actions=tuple(a.name for a in ACTIONS if a.purpose == "marketing"))
    for name in ("win_back", "birthday")
]
"""
SCENARIOS = (None, "win_back", "birthday")
CHANNELS = ("mail", "sms", "all")
PAUSABLE = ("text_a", "channel:mail", "letter", "everything")


def figures() -> Iterator[dict[str, Any]]:
    """Breaches among the decisions of two processes, and how fast they decided."""
    count = int(os.environ.get("PROPENSITY_BREACHES", COUNT))
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        world = World.made(Path(folder), customers=max(200, count // 70))
        started = time.perf_counter()
        told = world.run(count, processes=2)
        seconds = time.perf_counter() - started
        found = breaches(world, told)
    for line in found[:20]:
        print(line)
    name = f"policy breaches in {count:,} generated decisions of 2 processes"
    yield stated(name, len(found), "breaches", None, len(found), 0, most=True)
    yield stated("decisions a second, beside all else that is told", count / seconds, "1/s", None, 1, None)


def fast_folder() -> str | None:
    """Memory, where there is a file system of it: this is about what is decided, not about the disk."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() else None


class Moving(Settings):
    """Settings whose now is shared by processes, and moves on with each decision of any of them."""

    clock: Any = None

    def now(self) -> datetime:
        """Never earlier than what another process was given before."""
        return from_us(Moving.clock.value)


@dataclass(frozen=True)
class World:
    """A published home, its shop, and what is known of each of its customers c0, c1 ... before it begins."""

    settings: Settings
    rows: np.ndarray[Any, np.dtype[np.float32]]

    @classmethod
    def made(cls, folder: Path, customers: int, seed: int = 0) -> "World":
        """Some had contacts, complain, or are not heard of for long; hours and zones are known of some."""
        shop, dice = folder / "shop", np.random.default_rng(seed)
        shop.mkdir()
        budgets = {"day": customers / 40, "month": customers / 5}
        (shop / "shop.toml").write_text(SHOP_TOML.format(**budgets), "utf-8")
        campaigns = (BUNDLED_SHOPS / "complete_journey" / "shop.py").read_text("utf-8")
        (shop / "shop.py").write_text(campaigns + SHOP_PY, "utf-8")
        settings = Settings(home=folder / "home", shop=shop, as_of=START)

        def column(*choices: float) -> np.ndarray[Any, Any]:
            return dice.choice(np.array(choices, np.float32), customers)

        sms, last = column(0, 0, 1), column(np.nan, 0.5, 3, 20)
        rows = np.column_stack([
            column(5, 30, 90), column(2, 9), column(60, 150, 400, np.nan), column(np.nan, 3, 9, 20, 23),
            column(np.nan, 0, 1, 2), column(0, 0, 0, 0, 1), sms + column(0, 1), sms + column(1, 4), sms, last,
            last + column(0, 1), last + column(0, 2),
        ]).astype(np.float32)  # fmt: skip
        known = catalogue(shop_of(settings).declared("FEATURES"))
        of_log = shop_of(settings).of_log
        features = {name: feature_hash(known[name], known, of_log) for name in FEATURES}
        _publish(settings, rows, features)
        return cls(settings, rows)

    def run(self, count: int, processes: int, seed: int = 0) -> list[dict[str, Any]]:
        """All that processes did and were answered until they decided that often together, in no order."""
        context = multiprocessing.get_context("fork")
        clock, passing = context.RawValue("q", to_us(START)), context.Lock()
        taken = context.Value("q", 0)
        step = max(1, STEP // len(self.rows))
        home = self.settings.home
        workers = [
            context.Process(target=_work, args=(self, number, count, clock, passing, taken, step, seed))
            for number in range(processes)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            raise RuntimeError("a process of the benchmark failed: its error is above")
        journals = sorted(home.parent.glob("journal-*.jsonl"))
        return [json.loads(line) for path in journals for line in path.read_text("utf-8").splitlines()]


def _publish(settings: Settings, rows: np.ndarray[Any, Any], features: dict[str, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = sorted(f"c{number}" for number in range(len(rows)))
    order = [int(id[1:]) for id in ids]
    id = Build.id_of("breaches", features)
    build = Build(
        id, settings.home / "snapshots" / id, "breaches", START - 400 * DAY, START, features, (START,)
    )
    build.folder.mkdir(parents=True)
    at = pa.array([START] * len(ids), pa.timestamp("us", "UTC"))
    columns = {"customer_id": pa.array(ids), "moment": at, "known_at": at}
    columns |= {name: pa.array(rows[order, place]) for place, name in enumerate(features)}
    pq.write_table(pa.table(columns), build.path(START))
    build.write_manifest()
    online.publish(settings, build, START)


@dataclass
class _Worker:
    """One process. Whatever it does is noted with the machine's time before and after."""

    context: DecisionContext
    inbox: Inbox
    pauses: Pauses
    clock: Any
    passing: Any  # held while time passes, and by whoever needs that it does not
    step: int
    dice: np.random.Generator
    journal: Any
    customers: int
    sent: list[tuple[str, str, str | None]] = field(
        default_factory=list
    )  # what it is to send: id, from, until
    paused: list[str] = field(default_factory=list)

    def note(self, what: str, started: int, **of: Any) -> None:
        self.journal.write(
            json.dumps({"what": what, "start": started, "end": time.monotonic_ns()} | of) + "\n"
        )

    def customer(self) -> str:
        """A few are asked about far more often than others: there the races are."""
        few = 4 if self.dice.random() < 0.2 else self.customers
        return f"c{self.dice.integers(few)}"

    def decide(self, number: int, again: bool = False) -> None:
        """The request is the number's, so a repeat by any process is the same; who repeats sends nothing."""
        with self.passing:
            self.clock.value += int(self.step * 2 * self.dice.random())
        request = _request(number, self.customers)
        started = time.monotonic_ns()
        answer = take_decision(self.context, request, client="breaches", idempotency_key=f"k{number}")
        self.note(
            "decision", started, number=number, id=answer.decision_id, customer=answer.customer_id,
            action=answer.action, channel=answer.channel, as_of=answer.as_of, send_at=answer.send_at,
            until=answer.reserved_until, scenario=answer.scenario,
        )  # fmt: skip
        if answer.send_at is not None and not again and self.dice.random() < 0.8:
            self.sent.append((str(answer.decision_id), answer.send_at, answer.reserved_until))

    def preview(self) -> None:
        request = DecisionRequest(self.customer(), preview=True)
        take_decision(self.context, request, client="breaches")

    def tell(self, type: str, **of: Any) -> None:
        """An event that another system tells now."""
        customer, at = self.customer(), self.context.settings.now()
        id = f"{type}-{self.dice.integers(2**62)}"
        event = {"type": type, "source": "crm", "id": id, "customer": customer, "at": iso(at)} | of
        body = json.dumps({"events": [event]}).encode()
        started = time.monotonic_ns()
        (answer,) = take(
            body, "0" * 32, self.context.settings, self.inbox, lambda who: [None] * len(who)
        ).results
        assert getattr(answer, "status", "") == "accepted", answer
        self.note(type, started, customer=customer, at=iso(at), **of)

    def deliver(self) -> None:
        """Send one that is due, soon or late, or say that it will not be; some are never reported.

        What is reported in time arrives in time: the clock stands still meanwhile.
        """
        with self.passing:
            now = self.context.settings.now()
            due = [of for of in self.sent[:40] if parse_moment(of[1]) <= now]
            if not due:
                return
            id, _, until = one = due[self.dice.integers(len(due))]
            self.sent.remove(one)
            if until is not None and parse_moment(until) <= now:
                return
            status: Any = str(self.dice.choice(["sent", "delivered", "sent", "blocked", "cancelled"]))
            started = time.monotonic_ns()
            told = Delivery(source="sender", id=id, decision_id=id, status=status, at=now)
            self.context.ledger.report([told], now)
            self.note("delivery", started, id=id, status=status, at=iso(now))

    def pause(self) -> None:
        """Pause something for a few decisions."""
        what = str(self.dice.choice(PAUSABLE))
        started = time.monotonic_ns()
        with suppress(UsageError):  # another process paused it first
            self.pauses.pause(what, "a test", self.context.actions.values())
            self.note("pause", started, of=what)
            self.paused.append(what)

    def resume(self) -> None:
        """End a pause of its own."""
        if self.paused:
            what, started = self.paused.pop(), time.monotonic_ns()
            self.pauses.resume(what)
            self.note("resume", started, of=what)


def _work(
    world: World, place: int, count: int, clock: Any, passing: Any, taken: Any, step: int, seed: int
) -> None:
    Moving.clock = clock
    settings = Moving(home=world.settings.home, shop=world.settings.shop, expire_after=999 * DAY)
    context = DecisionContext.open(settings)
    path = settings.home.parent / f"journal-{place}.jsonl"
    dice = np.random.default_rng([seed, place])
    with path.open("w", encoding="utf-8") as journal, closing(context.ledger):
        inbox, pauses = Inbox(settings), Pauses(settings)
        worker = _Worker(context, inbox, pauses, clock, passing, step, dice, journal, len(world.rows))
        while True:
            with taken.get_lock():
                number = taken.value
                taken.value += 1
            if number >= count:
                return
            chance = dice.random(7)
            if chance[0] < 0.05:
                worker.preview()
            elif chance[0] < 0.2:  # what was asked before, or is asked by the other process right now
                worker.decide(max(0, number - int(dice.integers(4))), again=True)
            else:
                worker.decide(number)
            if chance[2] < 0.03:
                status = "withdrawn" if dice.random() < 0.5 else "granted"
                worker.tell("consent", channel=str(dice.choice(CHANNELS)), purpose="marketing", status=status)
            if chance[3] < 0.01:
                worker.tell("contact", channel=str(dice.choice(CHANNELS[:2])), action="text_a")
            if chance[4] < 0.004:
                case = f"case-{dice.integers(2**62)}"
                worker.tell("case", case_id=case, kind="complaint", change="opened")
            if chance[5] < 0.15:
                worker.deliver()
            if chance[6] < 0.003:
                worker.pause()
            elif chance[6] < 0.15:
                worker.resume()


def _request(number: int, customers: int) -> DecisionRequest:
    dice = random.Random(number)  # noqa: S311  not for secrets
    choices = (["text_a", "text_b", "letter", "campaign_b"], None, ["order_news", "text_b"])
    candidates = dice.choices(choices, weights=(8, 1, 1))[0]
    return DecisionRequest(
        f"c{dice.randrange(4 if dice.random() < 0.1 else customers)}",
        candidates=candidates,
        scenario=None if candidates and "order_news" in candidates else dice.choice(SCENARIOS),
    )
