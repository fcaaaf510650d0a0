"""Conditions on a customer's features, and on what the journey knows at the moment that it asks.

A feature is named as it is declared; a field of the live context as `now.NAME`. What a request does not say
of its context is not known, as a feature that is null: a condition that must hold then does not, and one that
must not rules nobody out. A plan for everybody has no context at all.

To add a field, add it to CONTEXT in the shop's shop.py; a request may carry no other.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from features.errors import SettingsError, UsageError
from features.typed import misfits
from features.words import Words

Context = Mapping[str, str | int | float | bool | None]
NOW = "now."
MAX_TEXT = 256


@dataclass(frozen=True)
class Live:
    """A field of the live context. number: 0 or more, in its own unit; flag: true or false; text."""

    name: str
    kind: Literal["number", "flag", "text"]
    words: Words

    def __post_init__(self) -> None:
        if strange := misfits(self):
            raise SettingsError(
                f"field {self.name!r} of CONTEXT: {'; '.join(strange)}. Change its declaration"
            )


FIELDS: tuple[Live, ...] = (
    Live("cart_value", "number", Words("Value of the cart, shop currency", "购物车金额（店铺币种）")),
    Live("cart_items", "number", Words("Items in the cart", "购物车商品件数")),
    Live("checking_out", "flag", Words("Paying at this moment", "正在结算")),
    Live("in_store", "flag", Words("In a shop at this moment", "此刻在门店内")),
    Live("channel", "text", Words("Channel in use at this moment", "此刻使用的渠道")),
    Live("page", "text", Words("Page being looked at", "正在浏览的页面")),
    Live("product", "text", Words("Product being looked at", "正在浏览的商品")),
    Live("live_room", "text", Words("Live room being watched", "正在观看的直播间")),
)


@dataclass(frozen=True)
class Condition:
    """What it reads must be known, and within [at_least, at_most] in its own unit where these are given.

    feature: a feature, or `now.` and a field of the live context; a flag is 1 or 0. one_of: of a text, one of
    these.
    """

    feature: str
    at_least: float | None = None
    at_most: float | None = None
    one_of: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        """Whether it reads the live context."""
        return self.feature.startswith(NOW)

    @property
    def column(self) -> str:
        """Names what it compares: the values of a feature or field; of a text, whether it is one of these."""
        return f"{self.feature} in {self.one_of}" if self.one_of else self.feature

    @property
    def bounds(self) -> tuple[float, float]:
        """Within which the column's values must be."""
        least = 1.0 if self.one_of else -math.inf
        return (
            least if self.at_least is None else self.at_least,
            math.inf if self.at_most is None else self.at_most,
        )

    def holds(self, values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """For whom, of the column's values [n]; NaN is not known."""
        least, most = (np.float32(bound) for bound in self.bounds)
        holds: NDArray[np.bool_] = (values >= least) & (values <= most)
        return holds

    def now(self, context: Context | None) -> float:
        """The column's value in a live context; NaN where that does not say."""
        value = None if context is None else context.get(self.feature.removeprefix(NOW))
        if value is None:
            return math.nan
        return float(value in self.one_of) if isinstance(value, str) else float(value)

    def problem(self, features: Collection[str], fields: Mapping[str, Live]) -> str | None:
        """Why it could never be met; None if it could."""
        if not self.live:
            if self.feature not in features:
                return (
                    f"has a condition on {self.feature}, which is no feature: `propensity features list` "
                    "shows them"
                )
            return f"asks {self.feature} for a text, and a feature is a number" if self.one_of else None
        field = fields.get(self.feature.removeprefix(NOW))
        if field is None:
            known = ", ".join(f"{NOW}{name}" for name in fields)
            return f"has a condition on {self.feature}, which is no field of the live context: {known}"
        numbers = self.at_least is not None or self.at_most is not None
        if field.kind == "text" and (numbers or not self.one_of):
            return f"has a condition on {self.feature}, a text: say one_of=(...)"
        if field.kind != "text" and self.one_of:
            return f"has a condition on {self.feature}, a {field.kind}: say at_least or at_most"
        return None

    def __str__(self) -> str:
        if self.one_of:
            return f"{self.feature} in {', '.join(self.one_of)}"
        bounds = [f">= {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"<= {self.at_most:g}"] if self.at_most is not None else []
        return f"{self.feature} {' and '.join(bounds) or 'known'}"


def problem_of(eligible: Iterable[Condition], suppressed_if: Iterable[Condition]) -> str | None:
    """What cannot be meant in a declaration's conditions; None if all can."""
    for kind, conditions in (("eligible", eligible), ("suppressed_if", suppressed_if)):
        for c in conditions:
            if c.at_least is not None and c.at_most is not None and c.at_least > c.at_most:
                who = "nobody can meet" if kind == "eligible" else "nobody is ruled out by"
                return f"{who} its condition on {c.feature}: at_least is above at_most"
    return None


def catalogue(own: Iterable[Live] = ()) -> dict[str, Live]:
    """The fields that a request's context may have, by name. SettingsError for what cannot be one."""
    by_name: dict[str, Live] = {}
    for field in (*FIELDS, *own):
        if not isinstance(field, Live):
            raise SettingsError(f"CONTEXT holds {field!r}, which is no Live: declare it as Live(...)")
        if not field.name.isidentifier():
            raise SettingsError(f"field {field.name!r} of CONTEXT: its name must be an identifier")
        if field.name in by_name:
            raise SettingsError(f"field {field.name!r} of CONTEXT is declared twice: give one another name")
        if not all(field.words):
            raise SettingsError(f"field {field.name!r} of CONTEXT needs words, in English and Chinese")
        by_name[field.name] = field
    return by_name


def check(context: Context | None, fields: Mapping[str, Live]) -> None:
    """UsageError, beginning with the place, for a field that is not declared, or of another kind."""
    for name, value in (context or {}).items():
        if name not in fields:  # which is the caller's own word, and not to be repeated
            raise UsageError(f"$.context: expected only the fields {', '.join(fields)}")
        kind = fields[name].kind
        flag = isinstance(value, bool)
        number = isinstance(value, int | float) and not flag and 0 <= value < math.inf
        text = isinstance(value, str) and len(value) <= MAX_TEXT
        if value is not None and not {"number": number, "flag": flag, "text": text}[kind]:
            wanted = {
                "number": "a number, 0 or more",
                "flag": "true or false",
                "text": f"a text of at most {MAX_TEXT} characters",
            }
            raise UsageError(f"$.context.{name}: expected {wanted[kind]}")
