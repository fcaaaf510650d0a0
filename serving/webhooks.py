"""Sends to the hooks what waits in the outbox: signed, of each customer in order, again until it arrives.

An event that does not arrive (no answer, or any but 2xx; redirects are not followed) is tried again after 5
s, 20 s, 80 s ... up to 12 h, each shortened at random by up to half, TRIES times; then it is dead, and kept.
A hook that does not answer is left alone so long, and then asked with one event at a time; so one that is
away for days does not use up the tries of all that waits for it. What was on its way at once and fails
together is one failure of the hook. One that asks us to wait (Retry-After) is left alone as long as it asks;
while it goes on asking, at least as long as one that failed once less. 410 ends a hook: it is not called
until `propensity pushes enable`.

What arrived is noted afterwards: a kill in between sends it again, with the same webhook-id.
"""

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import httpx

from features.settings import clock
from serving import signing
from serving.cloudevents import CONTENT_TYPE
from serving.deliveries import Deliveries, Delivery
from serving.hooks import Hook, forbidden, is_loopback

TRIES = 12
AT_ONCE = 4  # events on their way to a hook, each of another customer
LONGEST = timedelta(days=1)  # that a Retry-After may ask for
READ = 65_536  # bytes of an answer that are read, so that its connection can be used again
_OWN = {400, 406, 409, 411, 413, 414, 415, 422}  # answers that speak of the event, not of the hook

report = logging.getLogger("propensity.pushes")


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds. first, factor, longest: between the tries of an event."""

    first: float = 5
    factor: float = 4
    longest: float = 12 * 3600
    away: float = 3600  # the longest that a hook which does not answer is left alone
    timeout: float = 10  # for one try, whole
    look: float = 0.5  # between looks for what is new

    def after(self, failures: int) -> timedelta:
        """Until the next try, after so many; at random, so that hooks and events do not go in step."""
        whole = min(self.first * self.factor ** (failures - 1), self.longest)
        return timedelta(seconds=whole * random.uniform(0.5, 1))

    def asked(self, failures: int, wait: timedelta | None, longest: timedelta = timedelta.max) -> timedelta:
        """The same where the other side may have asked for a wait: as asked after the first failure. longest:
        what is waited unasked."""
        if wait is None:
            return min(self.after(failures), longest)
        return max(wait, min(self.after(failures - 1), longest)) if failures > 1 else wait


class Answer(NamedTuple):
    """What became of a try. why: in words that tell nothing of the event; "" if it arrived. wait: asked."""

    why: str = ""
    status: int = 0
    wait: timedelta | None = None


@dataclass
class Sent:
    """What one hook was sent. failed: tries. dead: events that were given up."""

    delivered: int = 0
    failed: int = 0
    dead: int = 0


class Sender:
    """Sends to hooks, all at once, until nothing can be sent now; or, following, until it is stopped."""

    def __init__(
        self,
        deliveries: Deliveries,
        hooks: Mapping[str, Hook],
        secrets: Mapping[str, tuple[str, ...]],
        patience: Patience | None = None,
        erasing: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        """erasing: customers of whom nothing is sent any more, as asked before each."""
        self._erasing = erasing
        self._deliveries, self._hooks, self._secrets = deliveries, hooks, secrets
        self._patience = patience or Patience()
        self._stopping = asyncio.Event()
        self._verify = ssl.create_default_context()  # of the machine: SSL_CERT_FILE is obeyed

    def stop(self) -> None:
        """Begin nothing more; what is on its way is waited for."""
        self._stopping.set()

    async def run(self, follow: bool = False) -> dict[str, Sent]:
        """Send; return what was, by client."""
        clients = [client for client in self._hooks if client in self._secrets]
        sent = await asyncio.gather(*(self._serve(self._hooks[client], follow) for client in clients))
        return dict(zip(clients, sent, strict=True))

    async def _serve(self, hook: Hook, follow: bool) -> Sent:
        sent, on_way = Sent(), dict[asyncio.Task[None], str]()
        async with httpx.AsyncClient(
            verify=self._verify, trust_env=False, follow_redirects=False, timeout=self._patience.timeout
        ) as client:
            while True:
                if not self._stopping.is_set():
                    failures, begun = self._begin(hook, set(on_way.values()))
                    for delivery in begun:
                        trying = self._deliver(client, hook, delivery, failures, sent)
                        on_way[asyncio.create_task(trying)] = delivery.customer
                if on_way:
                    done, _ = await asyncio.wait(on_way, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        del on_way[task]
                        task.result()  # an error of ours ends it, loudly
                elif self._stopping.is_set() or not follow:
                    return sent
                else:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), self._patience.look)

    def _begin(self, hook: Hook, busy: set[str]) -> tuple[int, list[Delivery]]:
        """How often the hook failed in a row, and what may be sent now: one at a time to one that failed."""
        now, stands = clock(), self._deliveries.standing(hook.client)
        room = (1 if stands.failures else AT_ONCE) - len(busy)
        if stands.off or stands.next > now or room < 1:
            return stands.failures, []
        ready = self._deliveries.ready(hook.client, now, room, {*busy, *self._erasing()})
        return stands.failures, ready

    async def _deliver(
        self, client: httpx.AsyncClient, hook: Hook, delivery: Delivery, failures: int, sent: Sent
    ) -> None:
        """failures: of the hook, in a row, when this try began."""
        answer = await self._try(client, hook, delivery)
        if not answer.why:
            self._deliveries.delivered(hook.client, delivery.sequence)
            sent.delivered += 1
            return
        sent.failed += 1
        tries, now = delivery.tries + 1, clock()
        again = now + self._patience.asked(tries, answer.wait)
        if answer.status == HTTPStatus.GONE:
            self._deliveries.failed(hook.client, delivery.sequence, answer.why, now, None)
            self._deliveries.turn(hook.client, "it answered 410: gone")
            report.warning("%s answered 410: it is not called until `propensity pushes enable`", hook.client)
            return
        dead = tries >= TRIES
        sent.dead += dead
        paused = None
        if answer.status not in _OWN:
            paused = self._paused(hook, failures, answer, now)
        self._deliveries.failed(hook.client, delivery.sequence, answer.why, None if dead else again, paused)
        report.warning("%s: an event did not arrive (%s), try %d%s", hook.client, answer.why, tries,
                       ": it is dead" if dead else "")  # fmt: skip

    def _paused(self, hook: Hook, began: int, answer: Answer, now: datetime) -> tuple[int, datetime]:
        """A hook's failures in a row, and when it is called again, after a try that began at so many."""
        stands = self._deliveries.standing(hook.client)
        if stands.failures > began:  # another that was on its way with it was counted: these are one failure
            return stands.failures, max(stands.next, now + (answer.wait or timedelta(0)))
        failures = stands.failures + 1
        longest = timedelta(seconds=self._patience.away)
        return failures, now + self._patience.asked(failures, answer.wait, longest)

    async def _try(self, client: httpx.AsyncClient, hook: Hook, delivery: Delivery) -> Answer:
        """One try, whatever the other side does."""
        try:
            async with asyncio.timeout(self._patience.timeout):
                return await self._post(client, hook, delivery)
        except (TimeoutError, httpx.TimeoutException):
            return Answer(f"no answer within {self._patience.timeout:g} s")
        except _RefusedError as error:
            return Answer(str(error))
        except (httpx.HTTPError, OSError) as error:
            if _of_certificate(error):
                return Answer("its certificate cannot be trusted")
            failed = isinstance(error, (httpx.ConnectError, OSError))
            return Answer("it cannot be reached" if failed else "the connection broke")

    async def _post(self, client: httpx.AsyncClient, hook: Hook, delivery: Delivery) -> Answer:
        parts = urlsplit(hook.url)
        address = await _address(hook)
        netloc = f"[{address}]" if ":" in address else address
        netloc += f":{parts.port}" if parts.port else ""
        signed = signing.headers(self._secrets[hook.client], delivery.id, clock().timestamp(), delivery.body)
        request = client.build_request(
            "POST",
            urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, "")),
            content=delivery.body,
            headers={
                "host": parts.netloc,
                "content-type": CONTENT_TYPE,
                "user-agent": "propensity",
                **signed,
            },
            extensions={"sni_hostname": hook.host},
        )
        response = await client.send(request, stream=True)
        try:
            if response.is_success:
                with suppress(httpx.HTTPError, TimeoutError):  # it has it, whatever it goes on to say
                    async with asyncio.timeout(self._patience.look):
                        await _drain(response)
                return Answer()
            wait = retry_after(response.headers.get("retry-after", ""))
            return Answer(f"it answered {response.status_code}", response.status_code, wait)
        finally:
            await response.aclose()


class _RefusedError(Exception):
    """A hook's address may not be called."""


async def _address(hook: Hook) -> str:
    """The address that is called: looked at first, so that its name cannot lead elsewhere in between."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(hook.host, None, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]) for one in found]
    if not is_loopback(hook.host):
        for address in addresses:
            if why := forbidden(address, hook.private):
                raise _RefusedError(why)
    return min(addresses, key=lambda address: ":" in address)  # IPv4 first: the other often leads nowhere


def _of_certificate(error: BaseException | None) -> bool:
    """Whether it is what a certificate was refused for, however it was wrapped."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


async def _drain(response: httpx.Response) -> None:
    read = 0
    async for part in response.aiter_raw():
        read += len(part)
        if read > READ:
            return


def retry_after(header: str) -> timedelta | None:
    """How long a Retry-After asks us to wait: seconds, or an HTTP date; None if it asks nothing readable.

    >>> retry_after("120"), retry_after("soon"), retry_after("9999999")
    (datetime.timedelta(seconds=120), None, datetime.timedelta(days=1))
    """
    header = header.strip()
    if header.isdecimal():
        return min(timedelta(seconds=int(header[:9])), LONGEST)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(min(at - clock(), LONGEST), timedelta(0))
