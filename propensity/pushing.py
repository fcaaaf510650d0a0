"""What `propensity pushes send`, `list`, `replay`, `enable` and `disable` do and show."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime

from features.errors import UsageError
from features.moments import iso
from features.online import OnlineRows
from features.settings import Settings, clock
from features.shop import shop_of
from features.words import Words
from propensity.tables import console, say, table
from serving import audit, hooks, outbox
from serving.deliveries import Deliveries, Standing, require
from serving.hooks import Hook
from serving.outbox import KEPT, Outbox
from serving.webhooks import Patience, Sender


def send(settings: Settings, follow: bool, language: str, patience: Patience | None = None) -> int:
    """Send what waits; return the exit code: 3 if something still waits, is dead, or a hook has no secret."""
    declared = _declared(settings)
    lacking = [client for client in declared if client not in settings.hook_secrets]
    for client in lacking:
        say(f"{client}: not sent: PROPENSITY_HOOK_SECRETS has no secret of it", err=True)
    if len(lacking) == len(declared):
        raise UsageError("no hook has a secret: `propensity pushes secret` makes one")
    with _alone(settings), closing(Outbox(settings)) as box:
        deliveries = Deliveries(box)
        erasing = OnlineRows.open(settings).being_erased
        sender = Sender(deliveries, declared, settings.hook_secrets, patience, erasing)
        if follow:
            _tell_on_stderr()
        asyncio.run(_run(sender, follow))
        stands = {client: deliveries.counted(client) for client in declared}
    for client, one in stands.items():
        say(f"{client}: {_tell(_standing(one), language)}")
    return 3 if lacking or any(one.waiting or one.dead for one in stands.values()) else 0


async def _run(sender: Sender, follow: bool) -> None:
    if follow:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, sender.stop)
    await sender.run(follow)


def list_hooks(settings: Settings, dead: bool, language: str) -> None:
    """Every hook and how it stands; or every event that could not be delivered."""
    declared = hooks.declared(shop_of(settings)).hooks
    if not outbox.exists(settings):
        say("nothing was ever pushed: `propensity pushes run` begins")
        return
    with closing(Outbox(settings)) as box:
        deliveries = Deliveries(box)
        if dead:
            _show_dead(deliveries)
            return
        shown = table("Hooks", "client", "where to", "events", "")
        for client in dict.fromkeys((*declared, *deliveries.clients())):
            hook, stands = declared.get(client), deliveries.counted(client)
            where = (hook.origin, ", ".join(hook.events)) if hook else ("", "declared no more")
            shown.add_row(client, *where, _tell(_standing(stands), language))
    console().print(shown)


def replay(settings: Settings, client: str | None, dead: bool, since: datetime | None) -> None:
    """Have what is dead, or all since a moment, sent once more, under the same ids."""
    if dead == (since is not None):
        raise UsageError("say what to replay: --dead, or --since MOMENT")
    if since is not None and clock() - since > KEPT:
        raise UsageError(f"events are kept for {KEPT.days} days: name a later moment")
    declared = _declared(settings)
    if client is not None:
        require(declared, client)
    with closing(Outbox(settings)) as box:
        deliveries = Deliveries(box)
        if since is None:
            number = deliveries.replay_dead(client)
        else:
            chosen = declared.values() if client is None else [declared[client]]
            number = sum(deliveries.replay_since(hook, since) for hook in chosen)
    what = "dead" if since is None else f"since {iso(since)}"
    audit.record(settings, audit.HERE, f"pushes replay {what}", outcomes={"events": number})
    say(f"{number:,} events wait to be sent again, with the ids that they had")


def turn(settings: Settings, client: str, on: bool, skip: bool = False) -> None:
    """Call a hook, or call it no more. skip: forget what waits for it."""
    declared = _declared(settings)
    require(declared, client)
    with closing(Outbox(settings)) as box:
        deliveries = Deliveries(box)
        skipped = deliveries.skip(client) if skip else 0
        deliveries.turn(client, "" if on else "disabled")
        waiting = deliveries.counted(client).waiting
    done = "enable" if on else "disable"
    audit.record(settings, audit.HERE, f"pushes {done} {client}", outcomes={"skipped": skipped})
    said = f"; {skipped:,} that waited are forgotten" if skip else ""
    say(f"{client} is {done}d{said}; {waiting:,} events wait for it")


def _declared(settings: Settings) -> dict[str, Hook]:
    found = dict(hooks.declared(shop_of(settings)).hooks)
    if not found:
        raise UsageError(
            f"{settings.shop / 'shop.toml'} declares no [[hooks]]: client, url and events of each"
        )
    return found


def _show_dead(deliveries: Deliveries) -> None:
    found = list(deliveries.dead())
    if not found:
        say("nothing is dead")
        return
    shown = table("Dead", "written", "client", "event", "what", "tries", "why", right=("tries",))
    for one in found:
        shown.add_row(iso(one.written)[:19] + "Z", one.client, one.id, one.what, f"{one.tries}", one.why)
    console().print(shown)
    say("`propensity pushes replay --dead` sends them again")


def _standing(one: Standing) -> Words:
    """How a hook stands, in a line."""
    en = f"{one.delivered:,} delivered, {one.waiting:,} waiting, {one.dead:,} dead"
    zh = f"已送达{one.delivered:,}，等待{one.waiting:,}，失败存档{one.dead:,}"
    if one.off:
        en, zh = f"{en}; not called ({one.off})", f"{zh}；已停用（{one.off}）"
    elif one.failures and one.next > clock():
        en, zh = f"{en}; not called before {iso(one.next)[:19]}Z", f"{zh}；{iso(one.next)[:19]}Z前不再调用"
    if one.why and (one.waiting or one.dead):
        en, zh = f"{en}; last: {one.why}", f"{zh}；最近一次：{one.why}"
    return Words(en, zh)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Two who send would break the order. UsageError if another does; the lock dies with its holder."""
    path = settings.home / "pushes" / ".send.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another process sends from {settings.home} already") from None
        yield


def _tell_on_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")


def _tell(words: Words, language: str) -> str:
    return words.zh if language == "zh" else words.en
