"""What a customer is worth beyond the value horizon: what remaining or opting out is weighed with.

From the released value model (`propensity train value`), as everyone was scored when features were published;
without one the figure that shop.toml declares ([value] lifetime); else it is not counted, and every answer
says so. The model tells discounted profit over its own horizon from now on. An effect on margin counts within
the shop's value horizon already, so only what lies beyond it counts here, in proportion to the days: nothing
counts twice.
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from features.online import Published
from features.settings import Settings
from features.shop import Shop
from features.words import Words
from serving import score_store
from serving.value import KIND, ValueModel

if TYPE_CHECKING:
    from serving.following import Releases
    from serving.releases import Release

DECLARED = "shop.toml"
NOT_COUNTED = Words(
    "Lifetime value is not counted: there is no value model, and shop.toml declares no [value] lifetime",
    "未计入客户终身价值：没有价值模型，shop.toml也未声明[value] lifetime",
)
UNKNOWN = Words(
    "Lifetime value is not counted: the value model does not know this customer",
    "未计入客户终身价值：价值模型不了解该客户",
)


class Lifetime(NamedTuple):
    """value: shop currency beyond the value horizon; None: not counted. source: `value@1` or `shop.toml`."""

    value: float | None = None
    source: str | None = None


def release_of(releases: "Releases", shop: Shop) -> "Release | None":
    """The value model in force; None without one, or of another currency."""
    found = releases.find(KIND)
    return found if found is not None and found.model.card.currency == shop.currency else None


def lifetimes(
    settings: Settings, shop: Shop, release: "Release | None", published: Published, ids: Sequence[str]
) -> list[Lifetime]:
    """Of each customer, as known when the features were published."""
    declared = Lifetime(shop.lifetime_value, DECLARED) if shop.lifetime_value is not None else Lifetime()
    if release is None:
        return [declared for _ in ids]
    assert isinstance(release.model, ValueModel)
    days = release.model.file.horizon_days
    beyond = max(0.0, 1 - shop.value_horizon_days / days)
    path = score_store.path(settings, release.name, release.version, published.moment)
    source = f"{release.name}@{release.version}"
    if not path.exists():  # published before the model was released, or its scores were cleared
        return [declared if declared.source else Lifetime(None, source) for _ in ids]
    known, values = _scores(path, path.stat().st_mtime_ns)
    found = [_value(known, values, id) for id in ids]
    return [
        Lifetime(of * beyond, source)
        if of is not None
        else declared
        if declared.source
        else Lifetime(None, source)
        for of in found
    ]


def words_of(one: Lifetime) -> Words | None:
    """Why it does not count; None if it does."""
    if one.value is not None:
        return None
    return NOT_COUNTED if one.source is None else UNKNOWN


def _value(known: Any, values: Any, id: str) -> float | None:
    place = bisect_left(range(len(known)), id, key=lambda at: known[at].as_py())
    if place == len(known) or known[place].as_py() != id:
        return None
    value: float | None = values[place].as_py()
    return value


@lru_cache(maxsize=2)
def _scores(path: Path, written: int) -> tuple[Any, Any]:
    """(customer ids in their order, their values, null where not known); read once for all decisions."""
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["customer_id", "value"]).combine_chunks()
    return tuple(column.chunk(0) if column.num_chunks else column for column in table.columns)
