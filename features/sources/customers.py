"""SQL of a source's customers: each one row, since what is known of her first, with what all files say."""

from collections.abc import Iterable

from features.sources.sales import JOINED, NOWHERE

JOINED_CUSTOMER = f"{JOINED} what an earlier row says of the customer: nothing is lost"
# A row of `_customers_read` that can be used.
_OK = "_reject IS NULL AND _aside IS NULL AND customer_id IS NOT NULL"
FILLED = "map_from_entries(list_filter(map_entries(attributes), lambda e: e.value IS NOT NULL))"


def customers(events: Iterable[str], read: bool) -> str:
    """SELECT of the customers. events: tables that name them, too; read: whether files of customers were read.

    Several rows of one customer, of several files or known at several times, are one: of each attribute the
    value that was known last counts (of two at once, the one that is read last), and an empty one says
    nothing. A second row of one file and time is rejected: of two that contradict each other none is later.
    """
    if not read:
        return f"""SELECT customer_id, known AS "at", known AS known_at, NULL AS attributes, {NOWHERE}
                   FROM ({_seen(events)})"""
    return f"""
        WITH told AS (SELECT *, rowid AS _place, {_OK} AS _ok FROM _customers_read),
        usable AS (
            SELECT _place, customer_id, "at", known_at, attributes,
                   row_number() OVER same > 1 AS _again,
                   attributes IS DISTINCT FROM first_value(attributes) OVER same AS _otherwise
            FROM told WHERE _ok WINDOW same AS (PARTITION BY customer_id, _file, known_at ORDER BY _place)),
        whole AS (
            SELECT customer_id, min(_place) AS _place, min("at") AS "at", min(known_at) AS known_at,
                   CASE WHEN count(*) = 1 THEN any_value(attributes) ELSE
                        list_reduce(list({FILLED} ORDER BY known_at NULLS FIRST, _place)
                                    FILTER (WHERE attributes IS NOT NULL), lambda a, b: map_concat(a, b))
                   END AS attributes
            FROM usable WHERE NOT _again GROUP BY customer_id),
        one AS (
            SELECT t.* REPLACE (
                       coalesce(w."at", t."at") AS "at", coalesce(w.known_at, t.known_at) AS known_at,
                       CASE WHEN w._place IS NULL THEN t.attributes ELSE w.attributes END AS attributes,
                       CASE WHEN t._ok AND NOT u._again AND w._place IS NULL
                            THEN '{JOINED_CUSTOMER}' ELSE t._aside END AS _aside,
                       CASE WHEN u._again THEN 'a second row with the same customer_id'
                                 || CASE WHEN u._otherwise THEN ', that says otherwise' ELSE '' END
                            ELSE t._reject END AS _reject)
            FROM told t LEFT JOIN usable u USING (_place) LEFT JOIN whole w USING (_place))
        SELECT coalesce(c.customer_id, s.customer_id) AS customer_id, coalesce(c."at", s.known) AS "at",
               coalesce(c.known_at, s.known) AS known_at, attributes, _file, _line, _note, _reject, _given,
               coalesce(_aside, CASE WHEN s.customer_id IS NULL AND c."at" IS NULL AND _reject IS NULL
                                     THEN 'nothing says since when this customer is known' END) AS _aside
        FROM one c FULL JOIN ({_seen(events)}) s
             ON c.customer_id = s.customer_id AND _reject IS NULL AND _aside IS NULL"""


def _seen(events: Iterable[str]) -> str:
    union = " UNION ALL ".join(f"SELECT customer_id, known_at FROM {t}" for t in events)
    return f"SELECT customer_id, min(known_at) AS known FROM ({union}) GROUP BY customer_id"
