"""What pushes send, as types: for the API's document, whose `webhooks` are made of them.

Events are written by `crossings` and `due` as they fall; a test holds what is written against these.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from serving.cards import Text
from serving.hooks import TEST, TYPES

Change = Literal["entered", "left"]


class Warned(Struct, frozen=True):
    """A customer crossed the threshold of a watch. figure: what it reads; value: of her, null if not known.

    enters, leaves: the thresholds of a warning's beginning and end. by: what the figure comes from.
    """

    warning: str
    words: Text
    change: Change
    figure: str
    value: float | None
    enters: float
    leaves: float
    by: str
    as_of: str


class SegmentCrossed(Struct, frozen=True):
    """A customer entered or left a declared segment."""

    segment: str
    words: Text
    change: Change
    as_of: str


class StageLabel(Struct, frozen=True):
    """A life cycle stage."""

    name: str
    words: Text | None


class StageChanged(Struct, frozen=True, rename={"came_from": "from"}):
    """A customer went from a life cycle stage to another; null: from or to none. by: the segmentation."""

    came_from: StageLabel | None
    to: StageLabel | None
    by: str
    as_of: str


class FellDue(Struct, frozen=True):
    """A decision falls due: ask for it under `idempotency_key`, naming the scenario, before `until`."""

    scenario: str
    words: Text
    since: str
    until: str
    purpose: Literal["marketing", "service"]
    actions: list[str]
    idempotency_key: str


class Rebaselined(Struct, frozen=True):
    """Something that is told of rests on another basis, or is told of no more. what: `warning.NAME`, ...

    customers: how many are called otherwise for that alone, and were not told of one by one.
    """

    what: str
    change: Literal["new", "another_basis", "no_longer_followed"]
    customers: int | UnsetType = UNSET


class Baseline(Struct, frozen=True):
    """What is told rests on another model or rule from now on: read the lists anew."""

    things: list[Rebaselined]
    words: Text
    as_of: str


class Tested(Struct, frozen=True):
    """A test of the hook, which says nothing of anybody."""

    words: Text


class CloudEvent(Struct, frozen=True):
    """CloudEvents 1.0 in structured JSON. id: the same at every try, so take each once.

    subject: the customer, absent if it is of nobody. time: since when it is so. sequence: sorts, as text, in
    the order in which things happened: take a customer's event only if its is higher than the last one's.
    """

    specversion: Literal["1.0"]
    id: str
    source: str
    time: str
    sequence: str
    datacontenttype: Literal["application/json"]
    subject: str | UnsetType = UNSET


DATA: dict[str, type[Struct]] = {
    TYPES["warning"]: Warned,
    TYPES["segment"]: SegmentCrossed,
    TYPES["stage"]: StageChanged,
    TYPES["due"]: FellDue,
    TYPES["baseline"]: Baseline,
    TEST: Tested,
}
"""Type of an event -> what its `data` is."""

HEADERS = {
    "webhook-id": "The event's id.",
    "webhook-timestamp": "Seconds since 1970 of this try: refuse what is minutes old.",
    "webhook-signature": "`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, the body byte by byte as "
    "it came; one a secret, by spaces. The key is what base64 makes of the secret after its `whsec_`: 32 "
    "bytes, and not its text.",
    "propensity-key-id": "Which secret made each of them.",
}
