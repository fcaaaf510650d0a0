"""Where alerts go. A module a kind; to add one, write it and name it in KINDS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from features.toml import Entry
from monitoring.messages import Language
from monitoring.sinks import alertmanager, mail, webhook, wecom
from monitoring.sinks.letters import Channel

KINDS: Mapping[str, Callable[[Entry], Channel]] = {
    "webhook": webhook.declared,
    "alertmanager": alertmanager.declared,
    "wecom": wecom.declared,
    "mail": mail.declared,
}
"""Kind, as shop.toml names it -> what reads its keys."""


@dataclass(frozen=True)
class Sink:
    """One sink. least: what is not as urgent is not sent. owners: whose alerts are."""

    name: str
    kind: str
    least: str
    language: str
    owners: tuple[str, ...]
    channel: Channel

    @property
    def languages(self) -> tuple[Language, ...]:
        """Those of its messages, in their order."""
        return {"en": ("en",), "zh": ("zh",)}.get(self.language, ("zh", "en"))  # type: ignore[return-value]
