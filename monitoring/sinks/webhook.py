"""Any receiver of webhooks: the CloudEvent as it is, signed as Standard Webhooks has it.

[[sinks]]
kind = "webhook"
url = "https://ops.example.com/alerts"
PROPENSITY_SINK_<NAME> = "whsec_..."   `propensity pushes secret` makes one; two, parted by a comma: both sign
"""

from base64 import b64decode
from dataclasses import dataclass

from features.settings import clock
from features.toml import Entry
from monitoring.sinks.http import address, post
from monitoring.sinks.letters import Letter, NotDeliveredError
from serving import signing
from serving.cloudevents import CONTENT_TYPE


@dataclass(frozen=True)
class Webhook:
    """Where it goes."""

    url: str
    state: bool = False
    per_minute: int | None = None
    secret: str = "whsec_..., which signs"

    def deliver(self, letter: Letter) -> None:
        """Post it. NotDeliveredError for any answer but 2xx."""
        secrets = [one.strip() for one in letter.secret.split(",") if one.strip()]
        if not secrets or not all(map(_is_secret, secrets)):
            raise NotDeliveredError(
                "its secret must read whsec_...[,whsec_...], as `propensity pushes secret` makes it",
                counted=False,
            )
        signed = signing.headers(secrets, letter.id, clock().timestamp(), letter.body)
        post(self.url, letter.body, {"content-type": CONTENT_TYPE, **signed})


def declared(entry: Entry) -> Webhook:
    """As shop.toml declares it."""
    return Webhook(address(entry))


def _is_secret(text: str) -> bool:
    try:
        return (
            text.startswith(signing.PREFIX)
            and len(b64decode(text[len(signing.PREFIX) :], validate=True)) >= 24
        )
    except ValueError:
        return False
