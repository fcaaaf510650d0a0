"""Hooks: where a shop wants events pushed to, as its shop.toml declares them.

[[hooks]]
client = "crm"                              # a name; its secret is in PROPENSITY_HOOK_SECRETS
url = "https://crm.example.com/propensity"
events = ["warning", "segment.quiet"]       # every event of a kind, or those of one name
private = false                             # true: it may stand in a private network

[pushes]
most = 10000                                # events a run: more are not told, but asked about
source = "https://shop.example.com"         # `source` of the events; /propensity/<shop> without it
"""

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from features.errors import SettingsError
from features.shop import Shop
from features.toml import Entry, nearest

TYPES: Mapping[str, str] = {
    "warning": "com.propensity.customer.warning",
    "segment": "com.propensity.customer.segment",
    "stage": "com.propensity.customer.stage",
    "due": "com.propensity.customer.due",
    "baseline": "com.propensity.baseline",
}
"""Kind of event, as a hook names it -> its CloudEvents type."""

TEST = "com.propensity.test"  # of `propensity pushes test`, which every hook gets
MOST = 10_000


@dataclass(frozen=True)
class Hook:
    """One hook. events: kinds, or kind.name."""

    client: str
    url: str
    events: tuple[str, ...]
    private: bool = False

    @property
    def host(self) -> str:
        """Its host, as the certificate must name it."""
        return urlsplit(self.url).hostname or ""

    @property
    def origin(self) -> str:
        """What may be shown: a path or a query may hold a token."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def wants(self, kind: str, name: str) -> bool:
        """Whether it is to be told of that."""
        return kind in self.events or f"{kind}.{name}" in self.events


@dataclass(frozen=True)
class Pushes:
    """All that shop.toml declares of pushes."""

    hooks: Mapping[str, Hook]
    most: int
    source: str


def declared(shop: Shop) -> Pushes:
    """What a shop declares. SettingsError says what is wrong in it, and where."""
    where = f"{shop.folder / 'shop.toml'}:"
    hooks: dict[str, Hook] = {}
    for place, raw in enumerate(shop.hooks, start=1):
        entry = Entry(f"{where} hooks[{place}]", raw)
        hook = Hook(
            client=entry.take("client", "text"),
            url=entry.take("url", "text"),
            events=entry.take("events", "list"),
            private=entry.take("private", "boolean", False),
        )
        entry.close()
        if not hook.client or any(c in hook.client for c in ":, "):
            raise entry.error("client", "a name without spaces, commas and colons, such as crm")
        if hook.client in hooks:
            raise entry.error("client", "another name than that of the hooks before")
        if problem := _problem(hook.url):
            raise SettingsError(f"{entry.name('url')} {problem}")  # the rest of it may be a secret
        for event in hook.events:
            if event.partition(".")[0] not in TYPES:
                raise SettingsError(
                    f"{entry.name('events')} has {event!r}{nearest(event, TYPES)} There are "
                    f"{', '.join(TYPES)}, and each with a name: warning.churn_warning"
                )
        hooks[hook.client] = hook
    top = Entry(f"{where} pushes", shop.pushes)
    most, source = top.take("most", "whole", MOST), top.take("source", "text", "")
    top.close()
    if most < 1:
        raise top.error("most", "1 event or more")
    return Pushes(hooks, most, source or f"/propensity/{quote(shop.name)}")


def require_names(pushes: Pushes, known: Mapping[str, Collection[str]]) -> None:
    """SettingsError for a hook that waits for a name which nothing has. known: kind -> names."""
    for hook in pushes.hooks.values():
        for event in hook.events:
            kind, _, name = event.partition(".")
            if name and name not in known.get(kind, ()):
                names = ", ".join(known.get(kind, ())) or "none"
                hint = nearest(name, known.get(kind, ()))
                raise SettingsError(
                    f"the hook of {hook.client} waits for {event}, which nothing declares{hint} There "
                    f"are {names}"
                )


def is_loopback(host: str) -> bool:
    """Whether a host, as it is written, is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def forbidden(address: str, private: bool) -> str | None:
    """Why a host's address may not be called; None if it may.

    What a name leads to is decided elsewhere: it must not lead into the network that we stand in, unless the
    shop says so, and never to where clouds keep a machine's credentials (link-local addresses).
    """
    found: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    if found.is_link_local or found.is_multicast or found.is_unspecified or found.is_reserved:
        return "its name leads to an address that is nobody's server"
    if not found.is_global and not private:
        return "its name leads into a private network: set private = true in [[hooks]] if that is meant"
    return None


def _problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address: expected https://host/path"
    if parts.scheme not in ("https", "http") or not host or parts.fragment:
        return "is no address to send to: expected https://host/path"
    if parts.username is not None or parts.password is not None:
        return "holds a user or a password: leave them out, every event is signed"
    if parts.scheme == "http" and not is_loopback(host):
        return "is http: expected https, but for this machine itself"
    return None
