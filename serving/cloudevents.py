"""What is pushed, as CloudEvents 1.0 in structured JSON (https://cloudevents.io)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from features.moments import iso
from serving.hooks import TEST, TYPES
from serving.problems import encode

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"


class Event(NamedTuple):
    """One event, before it has its place. customer: "" of what is about nobody. id: the same for the same
    occurrence. at: since when it is so."""

    id: str
    kind: str
    name: str
    customer: str
    at: datetime
    data: Mapping[str, Any]

    def body(self, source: str, sequence: int) -> bytes:
        """As it is sent, at every try.

        sequence: among all events of this home, higher for a later one, so that whoever gets an earlier one
        again can tell; sent as text that sorts so (the `sequence` extension).
        """
        type = TYPES.get(self.kind, TEST)
        return envelope(self.id, type, self.customer, self.at, self.data, source, sequence)


def envelope(
    id: str, type: str, subject: str, at: datetime, data: Mapping[str, Any], source: str, sequence: int
) -> bytes:
    """The JSON of one event; arguments as those of Event and `body`."""
    attributes = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": type,
        **({"subject": subject} if subject else {}),
        "time": iso(at),
        "sequence": f"{sequence:020}",
        "datacontenttype": "application/json",
        "data": data,
    }
    return encode(attributes)
