"""Who decides in the world of `breaches`, and what else they tell it, all at once; each notes it."""

import json
import multiprocessing
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import numpy as np

from benchmarks.breaches_checks import START
from benchmarks.breaches_world import World
from features.errors import DecisionError, UsageError
from features.inbox import Inbox
from features.moments import DAY, from_us, iso, parse_moment, to_us
from features.settings import Settings
from serving.api import DecisionRequest
from serving.arrivals import EventRefused, take
from serving.decision_context import DecisionContext
from serving.decisions import take_decision
from serving.ledger_reports import Delivery, Reported
from serving.pauses import Pauses
from serving.sendable import may_send

T = TypeVar("T")
THREADS = 2  # of a process, as the service has them
PATIENCE = 20  # times that a caller asks again whom the ledger told to, before it is an error
STEP = 8 * 3_600_000_000  # microseconds that pass between two decisions of a customer, about
SCENARIOS = (None, "win_back", "birthday")
CHANNELS = ("mail", "sms", "all")
PAUSABLE = ("text_a", "channel:mail", "letter", "everything")


def run(
    world: World, count: int, processes: int, threads: int = THREADS, seed: int = 0
) -> list[dict[str, Any]]:
    """All that callers, so many threads of each process, did and were answered until they decided that
    often together, in no order."""
    context = multiprocessing.get_context("fork")
    clock, passing = context.RawValue("q", to_us(START)), context.Lock()
    taken = context.Value("q", 0)
    step = max(1, STEP // len(world.rows))
    home = world.settings.home
    shared = _Shared(count, clock, passing, taken, step)
    workers = [
        context.Process(target=_work, args=(world, number, threads, shared, seed))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    ended = [worker.exitcode for worker in workers]
    if any(ended):
        raise RuntimeError(
            f"a process of the benchmark failed, with its error above: they ended with {ended}"
        )
    journals = sorted(home.parent.glob("journal-*.jsonl"))
    return [json.loads(line) for path in journals for line in path.read_text("utf-8").splitlines()]


class Moving(Settings):
    """Settings whose now is shared by processes, and moves on with each decision of any of them."""

    clock: Any = None

    def now(self) -> datetime:
        """Never earlier than what another process was given before."""
        return from_us(Moving.clock.value)


@dataclass(frozen=True)
class _Shared:
    """What all processes of a world have together. taken: how many numbers of decisions were given out."""

    count: int
    clock: Any
    passing: Any  # held while time passes, and by whoever needs that it does not
    taken: Any
    step: int

    def number(self) -> int | None:
        """Of the next decision; None once there were enough."""
        with self.taken.get_lock():
            number: int = self.taken.value
            self.taken.value += 1
        return number if number < self.count else None


@dataclass
class _Caller:
    """One thread of a process. Whatever it does is noted with the machine's time before and after,
    and the world's after: what is decided at a later moment was decided after that."""

    context: DecisionContext
    inbox: Inbox
    pauses: Pauses
    shared: _Shared
    dice: np.random.Generator
    journal: Any
    customers: int
    seed: int
    sent: list[tuple[str, str, str | None]] = field(
        default_factory=list
    )  # what it is to send: id, from, until
    paused: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Until there were enough decisions."""
        dice = self.dice
        while (number := self.shared.number()) is not None:
            chance = dice.random(7)
            if chance[0] < 0.05:
                self.preview()
            elif chance[0] < 0.2:  # what was asked before, or is asked by another right now
                self.decide(max(0, number - int(dice.integers(4))), again=True)
            else:
                self.decide(number)
            if chance[2] < 0.03:
                status = "withdrawn" if dice.random() < 0.5 else "granted"
                self.tell("consent", channel=str(dice.choice(CHANNELS)), purpose="marketing", status=status)
            if chance[3] < 0.01:
                self.tell("contact", channel=str(dice.choice(CHANNELS[:2])), action="text_a")
            if chance[4] < 0.004:
                case = f"case-{dice.integers(2**62)}"
                self.tell("case", case_id=case, kind="complaint", change="opened")
            if chance[5] < 0.15:
                self.deliver()
            if chance[6] < 0.003:
                self.pause()
            elif chance[6] < 0.15:
                self.resume()

    def note(self, what: str, started: int, **of: Any) -> None:
        end, clock = time.monotonic_ns(), self.shared.clock.value
        self.journal.write(
            json.dumps({"what": what, "start": started, "end": end, "clock": clock} | of) + "\n"
        )

    def customer(self) -> str:
        """A few are asked about far more often than others: there the races are."""
        few = 4 if self.dice.random() < 0.2 else self.customers
        return f"c{self.dice.integers(few)}"

    def decide(self, number: int, again: bool = False) -> None:
        """The request is the number's, so a repeat by any process is the same; who repeats sends nothing."""
        with self.shared.passing:
            self.shared.clock.value += int(self.shared.step * 2 * self.dice.random())
        request = _request(self.seed, number, self.customers)
        started = time.monotonic_ns()
        answer = _taken(
            lambda: take_decision(self.context, request, client="breaches", idempotency_key=f"k{number}")
        )
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
        """An event that another system tells now; half of them about whom a decision is in flight for."""
        customer, at = self.customer(), self.context.settings.now()
        if self.dice.random() < 0.5:
            number = max(0, self.shared.taken.value - 1 - int(self.dice.integers(4)))
            customer = str(_request(self.seed, number, self.customers).customer)
        id = f"{type}-{self.dice.integers(2**62)}"
        event = {"type": type, "source": "crm", "id": id, "customer": customer, "at": iso(at)} | of
        body = json.dumps({"events": [event]}).encode()
        started = time.monotonic_ns()
        (answer,) = take(
            body, "0" * 32, self.context.settings, self.inbox, lambda who: [None] * len(who)
        ).results
        if isinstance(answer, EventRefused):  # another said the contrary of the very same moment
            assert answer.error.code == "event_conflict", answer
            return
        self.note(type, started, customer=customer, at=iso(at), **of)

    def deliver(self) -> None:
        """Send one that is due, soon or late, or say that it will not be; some are never reported.

        Most ask first whether it may still be sent, and do as they are told. What is reported in time arrives
        in time: the clock stands still meanwhile.
        """
        with self.shared.passing:
            now = self.context.settings.now()
            due = [of for of in self.sent[:40] if parse_moment(of[1]) <= now]
            if not due:
                return
            id, _, until = one = due[self.dice.integers(len(due))]
            self.sent.remove(one)
            if until is not None and parse_moment(until) <= now:
                self._may(id, now)
                return
            status: Any = str(self.dice.choice(["sent", "delivered", "sent", "blocked", "cancelled"]))
            if self.dice.random() < 0.7 and not self._may(id, now):
                status = "blocked"
            started = time.monotonic_ns()
            told = Delivery(source="sender", id=id, decision_id=id, status=status, at=now)
            (found,) = _taken(lambda: self.context.ledger.report([told], now))
            assert isinstance(found, Reported), found
            self.note("delivery", started, id=id, status=status, at=iso(now))

    def _may(self, id: str, now: datetime) -> bool:
        started = time.monotonic_ns()
        answer = may_send(self.context, id, "0" * 32, approved=True)  # a person binds nothing else
        self.note("sending", started, id=id, may=answer.may_send, at=iso(now))
        return answer.may_send

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


def _work(world: World, place: int, threads: int, shared: _Shared, seed: int) -> None:
    """One process: its threads share what the service's share."""
    Moving.clock = shared.clock
    settings = Moving(home=world.settings.home, shop=world.settings.shop, expire_after=999 * DAY)
    context = DecisionContext.open(settings)
    inbox, pauses = Inbox(settings), context.pauses

    def call(thread: int) -> None:
        path = settings.home.parent / f"journal-{place}-{thread}.jsonl"
        dice = np.random.default_rng([seed, place, thread])
        with path.open("w", encoding="utf-8") as journal:
            _Caller(context, inbox, pauses, shared, dice, journal, len(world.rows), seed).run()

    with closing(context.ledger), ThreadPoolExecutor(threads) as pool:
        list(pool.map(call, range(threads)))


def _taken(ask: Callable[[], T]) -> T:
    """The answer of a ledger that may be busy for long: it says to ask again, and a good client does."""
    for _ in range(PATIENCE):
        with suppress(DecisionError):
            return ask()
    return ask()


def _request(seed: int, number: int, customers: int) -> DecisionRequest:
    dice = random.Random(seed << 32 | number)  # noqa: S311  not for secrets
    choices = (["text_a", "text_b", "letter", "campaign_b"], None, ["order_news", "text_b"])
    candidates = dice.choices(choices, weights=(8, 1, 1))[0]
    return DecisionRequest(
        f"c{dice.randrange(4 if dice.random() < 0.1 else customers)}",
        candidates=candidates,
        scenario=None if candidates and "order_news" in candidates else dice.choice(SCENARIOS),
    )
