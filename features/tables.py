"""The tables of the customer log and their contracts: what a row must be to be taken in.

Rows are immutable facts with `at` (when it happened) and `known_at` (when we could know it). What changes is
a row of its own: a return, a leaving, a closing, a withdrawal. A table that a shop lacks is absent.
"""

from dataclasses import dataclass
from typing import Literal

Type = Literal["text", "moment", "money", "integer", "real", "map"]


@dataclass(frozen=True)
class Column:
    """One column of a table. `required`: a row without it breaks the contract."""

    type: Type
    required: bool = True


@dataclass(frozen=True)
class Table:
    """One table: its columns, and rules as (reason of a rejection, SQL that holds for a good row).

    key: columns that name a row; a second row with the same key is rejected as a duplicate.
    """

    name: str
    key: tuple[str, ...]
    columns: dict[str, Column]
    rules: tuple[tuple[str, str], ...] = ()


_CUSTOMER = {
    "customer_id": Column("text"),
    "at": Column("moment"),
    "known_at": Column("moment"),
}
# "day": of `at` only the day is known, its time means nothing; null: the time is known too.
PRECISION = "precision"
CORRECTED = "corrected"
OURS = (
    PRECISION,
    CORRECTED,
)  # columns that no file has: ingestion fills them, and a log may be older than they
_EVENT = {**_CUSTOMER, PRECISION: Column("text", required=False)}
_KNOWN = ("known before it happened", 'known_at >= "at"')
_PRECISE = ("unknown precision", f"{PRECISION} is null or {PRECISION} = 'day'")

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "customers",
            ("customer_id",),
            {**_CUSTOMER, "attributes": Column("map", required=False)},
            (_KNOWN,),
        ),
        Table(
            "identities",
            # A source's id given to two customers says that the two are one person (ingestion/people.py).
            ("source", "source_id", "customer_id"),
            {"source": Column("text"), "source_id": Column("text"), **_CUSTOMER},
            (_KNOWN,),
        ),
        Table(
            "products",
            ("product_id",),
            {
                "product_id": Column("text"),
                "category": Column("text", required=False),
                "department": Column("text", required=False),
                "brand": Column("text", required=False),
            },
        ),
        Table(
            "orders",
            ("order_id",),
            {
                "order_id": Column("text"),
                **_EVENT,
                "channel": Column("text"),
                "store_id": Column("text", required=False),
                "amount": Column("money"),  # paid to the shop, after discounts
                "discount": Column("money"),  # taken off the price, by anyone
                "ref": Column("text", required=False),  # the order that this one returns or corrects
                CORRECTED: Column("money", required=False),  # of a correction: all that its order came to
            },
            (_KNOWN, _PRECISE, ("negative money without a ref", "amount >= 0 or ref is not null")),
        ),
        Table(
            "order_lines",
            ("order_id", "line"),
            {
                "order_id": Column("text"),
                "line": Column("integer"),
                **_EVENT,
                "product_id": Column("text"),
                "category": Column("text", required=False),  # null: the product is not in the catalogue
                "department": Column("text", required=False),
                "brand": Column("text", required=False),
                "items": Column("integer"),  # pieces; goods sold by measure count as one
                "measure": Column("integer", required=False),  # quantity of goods sold by measure, as given
                "amount": Column("money"),
                "discount": Column("money"),
                "coupon": Column("money"),  # the part of the discount that a coupon gave
                "ref": Column("text", required=False),  # the order whose goods come back in this one
            },
            (
                _KNOWN,
                _PRECISE,
                ("neither quantity nor money", "items <> 0 or measure <> 0 or amount <> 0 or discount <> 0"),
                ("negative discount", "discount >= 0 and coupon >= 0"),
            ),
        ),
        Table(
            "contacts",
            ("contact_id",),
            {
                "contact_id": Column("text"),
                **_EVENT,
                "campaign_id": Column("text", required=False),
                "action": Column("text"),
                "channel": Column("text"),
                "until": Column("moment", required=False),  # end of the offer's validity
                "cost": Column("money", required=False),
                "propensity": Column("real", required=False),  # null: targeting was not randomised
            },
            (
                _KNOWN,
                _PRECISE,
                ("propensity outside (0, 1]", "propensity is null or (propensity > 0 and propensity <= 1)"),
            ),
        ),
        Table(
            "responses",
            ("response_id",),
            {
                "response_id": Column("text"),
                **_EVENT,
                "kind": Column("text"),  # open, click, redeem, buy, opt-out
                "contact_id": Column("text", required=False),
                "campaign_id": Column("text", required=False),
            },
            (
                _KNOWN,
                _PRECISE,
                ("unknown kind of response", "kind in ('open', 'click', 'redeem', 'buy', 'opt-out')"),
            ),
        ),
        Table(
            "interactions",
            ("interaction_id",),
            {
                "interaction_id": Column("text"),
                **_EVENT,
                "kind": Column("text"),  # visit, view, cart, comment, live, login
                "channel": Column("text"),
                "product_id": Column("text", required=False),
                "category": Column("text", required=False),
                "seconds": Column("integer", required=False),  # how long it lasted
            },
            (
                _KNOWN,
                _PRECISE,
                (
                    "unknown kind of interaction",
                    "kind in ('visit', 'view', 'cart', 'comment', 'live', 'login')",
                ),
                ("negative duration", "seconds is null or seconds >= 0"),
            ),
        ),
        Table(
            "memberships",
            ("kind", "place_id", "customer_id", "change", "at"),
            {
                **_EVENT,
                "kind": Column("text"),  # group, staff
                "place_id": Column("text"),  # the group, or the member of staff
                "change": Column("text"),  # joined, left: leaving is a row of its own
                "channel": Column("text", required=False),
            },
            (
                _KNOWN,
                _PRECISE,
                ("unknown kind of membership", "kind in ('group', 'staff')"),
                ("neither joined nor left", "change in ('joined', 'left')"),
            ),
        ),
        Table(
            "cases",
            ("case_id", "change"),
            {
                "case_id": Column("text"),
                **_EVENT,
                "kind": Column("text"),  # complaint, return, question
                "change": Column("text"),  # opened, closed: closing is a row of its own
                "channel": Column("text", required=False),
                "ref": Column("text", required=False),  # the order that it is about
                "reason": Column("text", required=False),
            },
            (
                _KNOWN,
                _PRECISE,
                ("unknown kind of case", "kind in ('complaint', 'return', 'question')"),
                ("neither opened nor closed", "change in ('opened', 'closed')"),
            ),
        ),
        Table(
            "surveys",
            ("survey_id",),
            {
                "survey_id": Column("text"),
                **_EVENT,
                "kind": Column("text"),  # satisfaction: 1 to 5; nps: 0 to 10
                "score": Column("integer"),
                "ref": Column("text", required=False),  # the order or case that it is about
            },
            (
                _KNOWN,
                _PRECISE,
                ("unknown kind of survey", "kind in ('satisfaction', 'nps')"),
                (
                    "score outside its scale",
                    "(kind = 'satisfaction' and score between 1 and 5) "
                    "or (kind = 'nps' and score between 0 and 10)",
                ),
            ),
        ),
        Table(
            "tags",
            ("customer_id", "tag", "origin", "change", "at"),
            {
                **_EVENT,
                "tag": Column("text"),
                "origin": Column("text"),  # imported, derived
                "change": Column("text"),  # set, removed
            },
            (
                _KNOWN,
                _PRECISE,
                ("unknown origin of a tag", "origin in ('imported', 'derived')"),
                ("neither set nor removed", "change in ('set', 'removed')"),
            ),
        ),
        Table(
            "consents",
            # Two words at one moment are two rows: whoever reads them takes the withdrawal.
            ("customer_id", "channel", "purpose", "at", "status"),
            {
                **_EVENT,
                "channel": Column("text"),  # or `all`
                "purpose": Column("text"),  # marketing, service, automation (of decisions)
                "status": Column("text"),  # granted, withdrawn
            },
            (
                _KNOWN,
                _PRECISE,
                ("unknown purpose of consent", "purpose in ('marketing', 'service', 'automation')"),
                ("neither granted nor withdrawn", "status in ('granted', 'withdrawn')"),
            ),
        ),
        Table(
            "scores",
            ("customer_id", "name", "known_at"),
            {
                **_CUSTOMER,
                "name": Column("text"),  # of an external score or attribute, as its table calls it
                "value": Column("real", required=False),  # of a number
                "label": Column("text", required=False),  # of a category
            },
            (_KNOWN, ("neither value nor label", "value is not null or label is not null")),
        ),
        Table(
            "calendar",
            ("event_id",),
            {
                "event_id": Column("text"),
                "kind": Column("text"),  # holiday, sale, live, closed: no business
                "name": Column("text"),
                "at": Column("moment"),  # begins; may lie ahead of known_at: a calendar is known before
                "known_at": Column("moment"),
                "until": Column("moment"),  # ends
            },
            (
                ("unknown kind of calendar event", "kind in ('holiday', 'sale', 'live', 'closed')"),
                ("ends before it begins", 'until >= "at"'),
            ),
        ),
    )
}

# No columns of a table, but of every event, in the shop's zone: hour 0 to 23, null where only the day is
# known; weekday Monday 1 to Sunday 7.
LOCAL = ("hour", "weekday")
# No column either, but of every order: its amount; of a correction, what its order came to with it.
TOTAL = "total"


def hour_of(table: str, some_unknown: bool = True) -> str:
    """SQL over an event with `local_at`: its hour, as `LOCAL` says. some_unknown: it may have no hour."""
    known = f"CASE WHEN {PRECISION} IS NULL THEN hour(local_at) END"
    return known if some_unknown and PRECISION in TABLES[table].columns else "hour(local_at)"
