"""A message to everyone, or to a chat, asked about right before it goes: who refused is found, and soon."""

import json
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builds_by_hand import write_build
from logs import empty_shop, write_log
from running import PATIENCE
from servers import RedisServer
from test_rounds import BANNER
from tiny import TINY_MOMENT

from features import online
from features.errors import OnlineUnavailable
from features.inbox import Arrival
from features.log import Log
from features.moments import DAY, iso
from features.settings import Settings
from propensity import grouped
from serving.decision_context import DecisionContext
from serving.memberships import members_now
from serving.sendable import may_send

MANY = 20_000
IDS = [f"c{n:06}" for n in range(MANY)]
BEFORE = TINY_MOMENT - 30 * DAY


@pytest.fixture(params=["sqlite", "redis"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """20,000 customers with a banner that may be shown to all; one of three said of it that she agrees."""
    where = "sqlite"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_of_all")
        with server.client() as client:
            client.flushdb()
        where = server.url
    shop = empty_shop(tmp_path / "shop")
    with (shop / "shop.py").open("a", encoding="utf-8") as file:
        file.write(f"\nfrom dataclasses import replace\n{BANNER.format(rest=0)}")
    text = (shop / "shop.toml").read_text("utf-8").replace("mail = true", "mail = true\napp = true")
    lines = [f"{line.split('=')[0]}= 0.0" if line.startswith(("holdout", "explore")) else line
             for line in text.splitlines()]  # fmt: skip
    (shop / "shop.toml").write_text("\n".join(lines), "utf-8")
    settings = replace(
        Settings(),
        home=tmp_path / "home",
        shop=shop,
        as_of=TINY_MOMENT,
        online=where,
        online_timeout=PATIENCE,
    )
    agreed = [{"customer_id": id, "at": BEFORE, "known_at": BEFORE, "channel": "app", "purpose": "marketing",
               "status": "granted"} for id in IDS[::3]]  # fmt: skip
    joined = [{"customer_id": id, "at": BEFORE, "known_at": BEFORE, "kind": "group", "change": "joined",
               "place_id": f"g{n % 100:02}"} for n, id in enumerate(IDS[:1_000])]  # fmt: skip
    log = write_log(settings.home / "log" / "hand", {"consents": agreed, "memberships": joined})
    about = {"starts_at": iso(log.starts_at), "complete_until": iso(log.complete_until), "shop": log.shop}
    (log.folder / "manifest.json").write_text(json.dumps(about | {"files": log.files}))
    (settings.home / "log" / "CURRENT").write_text("hand")
    rows = np.full((MANY, 1), 80, np.float32)
    build = write_build(settings, ("order_value_365d",), {TINY_MOMENT: (IDS, rows)})
    online.publish(settings, build, TINY_MOMENT)
    return settings


def asked(context: DecisionContext, id: str) -> tuple[bool, str | None]:
    said = may_send(context, id, "r")
    return said.may_send, said.reason


def tell(context: DecisionContext, number: int, who: str, table: str, **columns: Any) -> None:
    one = Arrival("web", str(number), bytes([number]), who, TINY_MOMENT, [(table, columns)])
    ((became, _),) = context.standings.inbox.accept([one], TINY_MOMENT)
    assert became == "accepted"


def consent(context: DecisionContext, number: int, who: str, status: str) -> None:
    tell(context, number, who, "consents", channel="app", purpose="marketing", status=status)


def test_who_refuses_is_found_among_everyone_without_reading_everyone_again(shop: Settings) -> None:
    """Else a journey that asks before each post waits for as long as there are customers; or, asked sooner,
    is told yes by what was known before she said no."""
    (made,) = grouped.decided(shop)
    assert made.channel == "app"
    with closing((context := DecisionContext.open(shop)).ledger):
        id = str(made.decision_id)

        def took() -> float:
            started = time.thread_time()
            assert asked(context, id) == (True, None)
            return time.thread_time() - started

        first, *again = (took() for _ in range(6))
        assert min(again) < first / 4, "it took a fifth of a second each time, and 8 s of a million"
        consent(context, 1, IDS[3], "withdrawn")
        assert asked(context, id) == (False, "no_consent")
        published = context.rows.current()
        fresh = {IDS[3]: online.Fresh(np.array([80], np.float32), TINY_MOMENT, {("app", "marketing"): True})}
        online.write_overlay(shop, published, fresh)  # she agreed again
        context.standings.inbox.note_overlaid(published.key, {IDS[3]: 1})
        assert asked(context, id) == (True, None)
        other = {IDS[4]: online.Fresh(np.array([80], np.float32), TINY_MOMENT, {("app", "marketing"): False})}
        online.write_overlay(shop, published, other)  # told to another host
        assert asked(context, id) == (False, "no_consent")
        online.erase(shop, [IDS[4]])
        assert asked(context, id) == (True, None), "who was erased is addressed no more"


def test_who_refused_before_is_found_until_she_agrees_or_is_erased(shop: Settings) -> None:
    """Else one refusal stands for ever, or none does after a publication."""
    log = Log.open(shop)
    no = [{"customer_id": id, "at": BEFORE, "known_at": BEFORE, "channel": "app", "purpose": "marketing",
           "status": "withdrawn"} for id in IDS[1:3]]  # fmt: skip
    write_log(log.folder, {"consents": no})
    rows = np.full((MANY, 1), 80, np.float32)
    build = write_build(
        shop, ("order_value_365d",), {TINY_MOMENT - DAY: (IDS, rows), TINY_MOMENT: (IDS, rows)}
    )
    (made,) = grouped.decided(shop)  # when it could still be
    with closing((context := DecisionContext.open(shop)).ledger):
        id = str(made.decision_id)
        assert asked(context, id) == (True, None)
        online.publish(shop, build, TINY_MOMENT - DAY)
        assert asked(context, id) == (False, "no_consent")
        published = context.rows.current()
        yes = online.Fresh(np.array([80], np.float32), TINY_MOMENT, {("app", "marketing"): True})
        online.write_overlay(shop, published, {IDS[1]: yes})
        assert asked(context, id) == (False, "no_consent"), "there is another"
        online.erase(shop, [IDS[2]])
        assert asked(context, id) == (True, None)


def test_rows_that_a_store_lost_allow_nothing(shop: Settings) -> None:
    """Else a Redis that evicts keys says that nobody refused."""
    if shop.online == "sqlite":
        return  # a file is lost whole
    (made,) = grouped.decided(shop)
    import redis

    with closing((context := DecisionContext.open(shop)).ledger):
        with redis.Redis.from_url(shop.online) as client:
            client.delete(f"propensity:{context.rows.current().number}:rows")
        with pytest.raises(OnlineUnavailable, match="0 of the 20,000 rows"):
            asked(context, str(made.decision_id))


def test_the_members_of_a_group_are_those_of_now(shop: Settings) -> None:
    """Else who joined a chat since it was first asked about, and refuses, is written to."""
    with closing((context := DecisionContext.open(shop)).ledger):
        assert members_now(context, "g07", TINY_MOMENT) == IDS[7:1_000:100]
        assert members_now(context, "nowhere", TINY_MOMENT) == []
        tell(context, 1, IDS[5_000], "memberships", kind="group", place_id="g07", change="joined")
        tell(context, 2, IDS[7], "memberships", kind="group", place_id="g07", change="left")
        assert members_now(context, "g07", TINY_MOMENT) == [*IDS[107:1_000:100], IDS[5_000]]
        log = Log.open(shop)
        joined = {"customer_id": IDS[0], "at": BEFORE, "known_at": BEFORE, "kind": "group", "place_id": "g07",
                  "change": "joined"}  # fmt: skip
        again = write_log(shop.home / "log" / "later", {"memberships": [joined]})
        about = json.loads((log.folder / "manifest.json").read_text()) | {"files": again.files}
        (again.folder / "manifest.json").write_text(json.dumps(about))
        (shop.home / "log" / "CURRENT").write_text("later")
        assert members_now(context, "g07", TINY_MOMENT) == [IDS[0], IDS[5_000]], "of the log that is in force"
