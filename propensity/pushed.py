"""What `propensity pushes run` does and shows: what changed since it was told goes into the outbox, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from features.files import locked
from features.moments import iso
from features.settings import Settings
from features.shop import Shop, shop_of
from features.words import Words
from propensity.segmented import names_of
from propensity.tables import console, say, table
from serving import actions, cloudevents, conditions, crossings, due, hooks, scenarios, segments, watches
from serving.crossings import Change, Followed
from serving.figures import Figures
from serving.hooks import Pushes
from serving.outbox import Outbox
from serving.scenarios import Scenario


@dataclass(frozen=True)
class Followings:
    """All that a shop follows, and where it is pushed to."""

    followed: tuple[Followed, ...]
    pushes: Pushes


def declared(shop: Shop) -> Followings:
    """What a shop declares of watches, segments and hooks. SettingsError for what cannot be one."""
    names = names_of(shop)
    own = shop.read("WATCHES", watches.catalogue, names)
    groups = shop.read("SEGMENTS", segments.catalogue, names)
    pushes = hooks.declared(shop)
    known = {"warning": [*own], "segment": [*groups], "stage": ["stage"], "due": _scenarios(shop, pushes)}
    hooks.require_names(pushes, known)
    every = (*map(Followed, own.values()), *map(Followed, groups.values()), Followed(None))
    return Followings(every, pushes)


def _scenarios(shop: Shop, pushes: Pushes) -> list[str]:
    """Their names, if a hook asks for one by name."""
    if not any(event.startswith("due.") for hook in pushes.hooks.values() for event in hook.events):
        return []
    from features.definitions import catalogue

    known = shop.read("ACTIONS", actions.catalogue)
    fields = shop.read("CONTEXT", conditions.catalogue)
    features = catalogue(shop.declared("FEATURES"))
    return list(shop.read("SCENARIOS", scenarios.catalogue, known, features, fields))


def run(settings: Settings, most: int | None, accept: bool, dry_run: bool, language: str) -> int:
    """Compare everybody with what was told last, and write what changed into the outbox; return an exit code.

    3: there are more events than a run may tell, and nothing was written. accept: take what changed as told,
    without an event.
    """
    of = declared(shop_of(settings))
    figures = Figures.open(settings)
    absent: dict[str, str] = {}
    with closing(Outbox(settings)) as outbox, locked(outbox.lock):
        found = []
        for followed in of.followed:
            if why := figures.lacking(followed.inputs):
                absent[followed.thing] = why
            else:
                found.append(crossings.compare(followed, figures, outbox.told(followed.thing)))
        gone = [thing for thing in outbox.things() if thing not in {one.thing for one in of.followed}]
        events = [] if accept else [event for change in found for event in change.events]
        limit = of.pushes.most if most is None else most
        _show(figures, found, absent, gone, accept, language)
        if len(events) > limit:
            say(_tell(_too_many(len(events), limit), language), err=True)
            return 3
        settled = [change.settled for change in found if change.settled]
        anew = {change.followed.thing: change.anew for change in found if change.anew}
        if accept:
            anew |= {
                c.followed.thing: (c.settled.basis, len(c.events)) for c in found if c.settled and c.events
            }
        if anew or gone:
            events.append(crossings.rebaselined(anew, gone, figures.moment))
        if dry_run:
            say(_tell(Words(f"would write {len(events):,} events", f"将写入{len(events):,}个事件"), language))
            return 0
        written = outbox.settle(settled, events, of.pushes, gone)
    say(_tell(Words(f"wrote {written:,} events", f"已写入{written:,}个事件"), language))
    if written and not of.pushes.hooks:
        say("no hook is declared: [[hooks]] in shop.toml names where they are pushed to", err=True)
    return 0


def push_due(settings: Settings, told: Iterable[due.Due], declared: Mapping[str, Scenario]) -> int:
    """Write an event a customer who fell due, if a hook wants it; return how many were new.

    Its id is that of the falling due: the Idempotency-Key of what is decided about it.
    """
    pushes = hooks.declared(shop_of(settings))
    wanted = [one for one in told if any(h.wants("due", one.scenario) for h in pushes.hooks.values())]
    if not wanted:
        return 0
    with closing(Outbox(settings)) as outbox:
        return outbox.write([_due(one, declared[one.scenario]) for one in wanted], pushes)


def _due(one: due.Due, scenario: Scenario) -> cloudevents.Event:
    data = {
        "scenario": one.scenario,
        "words": scenario.words._asdict(),
        "since": iso(one.since),
        "until": iso(one.until),
        "purpose": scenario.purpose,
        "actions": scenario.actions,
        "idempotency_key": one.id,
    }
    return cloudevents.Event(one.id, "due", one.scenario, one.customer, one.since, data)


def test(settings: Settings, client: str) -> None:
    """Write an event that says nothing of anybody, for one hook."""
    import secrets

    from features.settings import clock
    from serving.deliveries import require

    pushes = hooks.declared(shop_of(settings))
    require(pushes.hooks, client)
    words = Words("A test: this hook is called", "测试：已调用此推送地址")
    event = cloudevents.Event(secrets.token_hex(16), "test", "test", "", clock(), {"words": words._asdict()})
    with closing(Outbox(settings)) as outbox:
        outbox.write([event], pushes, only=client)
    say(f"written for {client}; `propensity pushes send` sends it")


def _show(
    figures: Figures,
    found: Sequence[Change],
    absent: Mapping[str, str],
    gone: Sequence[str],
    accept: bool,
    language: str,
) -> None:
    right = ("in it", "entered", "left")
    shown = table(f"Changes until {iso(figures.moment)}", "followed", *right, "", right=right)
    for change in found:
        counts = (f"{change.holders:,}", f"{change.entered:,}", f"{change.left:,}")
        if change.ahead:
            later = Words(
                f"told as of {iso(change.ahead)} already, which is later",
                f"已按更晚的{iso(change.ahead)}推送过",
            )
            shown.add_row(change.followed.thing, "", "", "", _tell(later, language))
        else:
            shown.add_row(change.followed.thing, *counts, _tell(_why(change, accept), language))
    console().print(shown)
    for thing, why in absent.items():
        say(_tell(Words(f"{thing}: cannot be told: {why}", f"{thing}：无法判定：{why}"), language), err=True)
    for thing in gone:
        say(_tell(Words(f"{thing}: followed no more", f"{thing}：不再跟踪"), language), err=True)


def _why(change: Change, accept: bool) -> Words:
    if change.anew is None:
        return Words("taken as told", "视为已推送") if accept and change.events else Words("", "")
    before, customers = change.anew
    if before is None:
        return Words("new: from now on changes are told", "新增：此后的变化才会推送")
    return Words(
        f"another basis: {customers:,} are called otherwise for that alone, and not told of",
        f"依据已变更：仅因此改变的{customers:,}位客户不推送",
    )


def _too_many(events: int, limit: int) -> Words:
    return Words(
        f"NOTHING WRITTEN: {events:,} events in one run are more than {limit:,}. If the table above is what "
        f"happened, `propensity pushes run --most {events}` tells of it; if a build went wrong, mend it; "
        "`propensity pushes run --accept` takes it as told, without an event. [pushes] most in shop.toml is "
        "the limit",
        f"未写入：一次运行产生{events:,}个事件，超过上限{limit:,}。如上表属实，"
        f"运行 `propensity pushes run --most {events}` 推送；如构建有误，请先修复；"
        "`propensity pushes run --accept` 视为已推送、不产生事件。"
        "上限见 shop.toml 的 [pushes] most",
    )


def _tell(words: Words, language: str) -> str:
    return words.zh if language == "zh" else words.en
