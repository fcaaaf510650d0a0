"""SQL of orders and their lines, over what was read: sums, returns and the orders that they take back."""

from features.sources.declared import Declared
from features.sources.raw import literal, quoted
from features.tables import TABLES

# Rows of which nothing is lost: all they say is in an earlier row's. How that begins, and what it says.
JOINED = "joined to"
JOINED_ORDER = f"{JOINED} the order that an earlier row began: nothing is lost"
TWO_CUSTOMERS = "an order of two customers"  # rejected, all of it: nobody can tell whose it is
AT_ONCE = "INTERVAL 1 HOUR"  # a return this soon is a cancellation: nothing can have been shipped
RETURNED = (
    f"CASE WHEN ref = 'unknown' THEN 'a return without an earlier order that it fits' "
    f"WHEN \"at\" - _sold_at <= {AT_ONCE} THEN 'a return within the hour: cancelled at once' "
    "ELSE 'a return, matched to its order' END"
)


_CANCELLED = ("_cancelled", "_cancelled_at", "_cancelled_known", "_cancelled_day")
# Whether a row can be used at all: only such rows count in the sums of an order, and can be matched.
# Of a row that is mended: whether it is a return, and whether its order was cancelled, and when.
FATE = """CASE WHEN _return OR _cancelled THEN
    struct_pack(returns := _return, cancelled := _cancelled, "at" := _cancelled_at, day := _cancelled_day) END AS _fate"""
_PLACE = 'struct_pack(a := "at", f := _file, l := _line)'  # what a row comes before or after
_OK = """_reject IS NULL AND _aside IS NULL AND customer_id IS NOT NULL AND "at" IS NOT NULL"""


# Refunds that name no customer are of whom the order is that they take back.
_OF_THEIR_ORDERS = """
    (SELECT r.* REPLACE (
                coalesce(r.customer_id, o.customer_id) AS customer_id,
                coalesce(r.channel, o.channel) AS channel, coalesce(r.store_id, o.store_id) AS store_id,
                CASE WHEN r._reject IS NULL AND r.customer_id IS NULL AND o.order_id IS NOT NULL AND o.customer_id IS NULL
                     THEN coalesce(r._aside, 'anonymous: its order has no customer id') ELSE r._aside END AS _aside,
                CASE WHEN r._aside IS NULL AND r.customer_id IS NULL AND o.order_id IS NULL
                     THEN coalesce(r._reject, 'the order that it takes back is not among the orders') ELSE r._reject END AS _reject)
     FROM _orders_read r LEFT JOIN (
         SELECT order_id, min(customer_id) AS customer_id, min(channel) AS channel, min(store_id) AS store_id
         FROM _orders_read WHERE order_id IS NOT NULL AND ref IS NULL GROUP BY order_id) o
     ON o.order_id = r.ref AND r.customer_id IS NULL)"""


def days_order(source: str) -> str:
    """SQL: the order id of a customer's day. No other source makes the same: a name has no colon.

    >>> days_order("till")
    "'till:' || customer_id || ':' || _day"
    """
    return f"{literal(f'{source}:')} || customer_id || ':' || _day"


def read_orders(declared: Declared, whole: bool) -> str:
    """Orders as they were read: named, several rows of one added up, returns with negative money."""
    add_up = any(r.add_up for r in declared.readings)
    automatic = any(r.returns is not False for r in declared.readings if r.table == "orders")
    ok = f"{_OK} {'AND amount IS NOT NULL' if whole else ''}"
    read = "_orders_read"
    if any("customer_id" not in r.values for r in declared.readings if r.table == "orders"):
        read = _OF_THEIR_ORDERS
    return f"""
        WITH named AS (
            SELECT * REPLACE (_return {"OR coalesce(amount < 0, false)" if automatic else ""} AS _return),
                   {ok} AS _ok, order_id IS NULL AS _unnamed FROM {read}),
        signed AS (
            SELECT * REPLACE (
                       coalesce(order_id, {days_order(declared.name)} || CASE WHEN _return THEN ':return' ELSE '' END) AS order_id,
                       CASE WHEN _return THEN -abs(amount) ELSE amount END AS amount,
                       CASE WHEN _return THEN 0 ELSE discount END AS discount),
                   _unnamed OR {add_up} AS _adds FROM named),
        several AS (SELECT order_id AS _id FROM signed WHERE _ok AND {add_up} GROUP BY order_id
                    HAVING min(customer_id) <> max(customer_id)),
        told AS (SELECT s.* REPLACE (CASE WHEN _ok AND _id IS NOT NULL THEN '{TWO_CUSTOMERS}' ELSE _reject END AS _reject,
                                     _ok AND _id IS NULL AS _ok)
                 FROM signed s LEFT JOIN several ON order_id = _id),
        sums AS (SELECT order_id AS _id, sum(amount) AS _amount, sum(discount) AS _discount, max(known_at) AS _known,
                        min({_PLACE}) AS _first
                 FROM told WHERE _ok AND _adds GROUP BY order_id),
        summed AS (SELECT s.*, _amount, _discount, _known, coalesce({_PLACE} <> _first, false) AS _later
                   FROM told s LEFT JOIN sums ON _ok AND _adds AND order_id = _id)
        SELECT * EXCLUDE (_amount, _discount, _known, _later, _adds) REPLACE (
                   CASE WHEN _ok AND _adds THEN _amount ELSE amount END AS amount,
                   CASE WHEN _ok AND _adds THEN _discount ELSE discount END AS discount,
                   CASE WHEN _ok AND _adds THEN _known ELSE known_at END AS known_at,
                   CASE WHEN _later THEN '{JOINED_ORDER}' ELSE _aside END AS _aside,
                   CASE WHEN _ok AND _unnamed THEN concat_ws('; ', _note, 'without an order id: the customer''s day is the order')
                        ELSE _note END AS _note,
                   _ok AND NOT _later AS _ok)
        FROM summed"""


# Of rows that give one order id, the one that lines belong to: the first that can be used.
ORDER_OF_ID = """
    CREATE OR REPLACE VIEW _order_of_id AS
    SELECT * FROM _orders WHERE rowid IN (
        SELECT min(struct_pack(ok := NOT _ok, f := _file, l := _line, r := rowid)).r FROM _orders GROUP BY order_id)"""


# Where lines cannot be an order by themselves: nobody says when it was, or where.
NO_ORDER = "its order is not among the orders"
NO_CHANNEL = f"{NO_ORDER}, and no line of it says a channel"
ALONE = "an order of its lines alone"  # which no file of orders has, although there is one


def _with_orders(days: str) -> str:
    """SQL: lines with what a file of orders says of their order; `_lone` if none has that order.

    A customer's day without order ids may be in both, and what came back that day is an order of its own there.
    """
    back = "_return OR coalesce(amount < 0 OR items < 0, false)"
    returned = f"""CASE WHEN ({back}) AND {days} || ':return' IN
                        (SELECT order_id FROM _orders WHERE _unnamed AND _return) THEN ':return' ELSE '' END"""
    lone = "o.order_id IS NULL"
    return f"""(SELECT l.* EXCLUDE (_id) REPLACE (
                        _id AS order_id,
                        coalesce(l.customer_id, o.customer_id) AS customer_id, coalesce(l."at", o."at") AS "at",
                        coalesce(l.known_at, o.known_at) AS known_at,
                        CASE WHEN l."at" IS NULL THEN o.precision ELSE l.precision END AS precision, coalesce(l._day, o._day) AS _day,
                        coalesce(l.ref, CASE WHEN o._return THEN o.ref END) AS ref,
                        l._return OR coalesce(o._return, false) AS _return,
                        coalesce(l._aside, CASE WHEN l._reject IS NULL THEN 'its order: ' || o._aside END) AS _aside,
                        coalesce(l._reject, CASE WHEN l._aside IS NULL AND o._aside IS NULL
                            AND CASE WHEN {lone} THEN l.customer_id IS NULL OR l."at" IS NULL ELSE NOT o._ok END
                            THEN '{NO_ORDER}' END) AS _reject),
                    {lone} AS _lone
                FROM (SELECT *, order_id IS NULL AS _unnamed, coalesce(order_id, {days} || {returned}) AS _id
                      FROM _order_lines_read) l
                LEFT JOIN _order_of_id o ON l._id = o.order_id)"""


def read_lines(name: str, has_orders: bool) -> str:
    """Lines as they were read: with their order, numbered, returns with negative money and goods."""
    days = days_order(name)
    joined = f"""(SELECT * REPLACE (coalesce(order_id, {days}) AS order_id), order_id IS NULL AS _unnamed, true AS _lone
                 FROM _order_lines_read)"""
    return f"""
        WITH named AS NOT MATERIALIZED (
            SELECT *, {_OK} AND product_id IS NOT NULL AND amount IS NOT NULL AS _ok
            FROM (SELECT * REPLACE (_return OR coalesce(amount < 0 OR items < 0, false) AS _return)
                  FROM {_with_orders(days) if has_orders else joined})),
        of_order AS (SELECT order_id AS _id, bool_or(NOT _return) AS _sells, min(customer_id) <> max(customer_id) AS _several,
                            {has_orders} AND bool_and(_lone) AND count(channel) = 0 AS _nowhere
                     FROM named WHERE _ok GROUP BY order_id),
        seen AS (SELECT * EXCLUDE (_id, _sells, _several, _nowhere), coalesce(_sells, false) AS _sold,
                        CASE WHEN _ok AND _several THEN '{TWO_CUSTOMERS}' WHEN _ok AND _nowhere THEN '{NO_CHANNEL}' END AS _wrong
                 FROM named LEFT JOIN of_order ON order_id = _id)
        SELECT * EXCLUDE (_wrong) REPLACE (
                CASE WHEN _return AND _sold AND _lone AND _day IS NOT NULL THEN order_id || ':return:' || _day ELSE order_id END AS order_id,
                CASE WHEN _return AND _sold AND ref IS NULL AND NOT _unnamed THEN order_id ELSE ref END AS ref,
                CASE WHEN _return THEN -abs(amount) ELSE amount END AS amount,
                CASE WHEN _return THEN -abs(items) ELSE items END AS items,
                CASE WHEN _return THEN -abs(measure) ELSE measure END AS measure,
                CASE WHEN _return THEN 0 ELSE discount END AS discount,
                CASE WHEN _return THEN 0 ELSE coupon END AS coupon,
                coalesce(_wrong, _reject) AS _reject,
                _ok AND _wrong IS NULL AS _ok,
                CASE WHEN _ok THEN nullif(concat_ws('; ', _note,
                          CASE WHEN _unnamed THEN 'without an order id: the customer''s day is the order' END,
                          CASE WHEN _lone AND {has_orders} THEN '{ALONE}' END), '') ELSE _note END AS _note)
        FROM seen"""


# Apart from the lines, which are wide: what a window sorts should be narrow.
NUMBERS = """
    CREATE OR REPLACE TABLE _numbers AS
    SELECT rowid AS _row, row_number() OVER (PARTITION BY order_id ORDER BY _file, _line) AS _nth FROM _lines
    WHERE order_id IN (SELECT order_id FROM _lines WHERE line IS NULL)"""

# The order that a return takes back: the latest earlier one of the same customer with as many of that product.
MATCHED_LINES = """
    CREATE OR REPLACE TABLE _matched AS
    WITH returned AS (FROM _lines WHERE _ok AND _return),
    sold AS (SELECT order_id, customer_id, product_id, min("at") AS "at", sum(items) AS items
             FROM _lines SEMI JOIN returned USING (customer_id, product_id) WHERE _ok AND NOT _return GROUP BY ALL),
    named AS (SELECT order_id, min("at") AS _at FROM _lines
              WHERE _ok AND NOT _return AND order_id IN (SELECT ref FROM returned) GROUP BY ALL)
    SELECT r._file, r._line, r.order_id AS return_id, r.amount, coalesce(any_value(r.ref), max(f).o, 'unknown') AS ref,
           coalesce(any_value(n._at), max(f).a) AS sold_at
    FROM returned r
    LEFT JOIN named n ON n.order_id = r.ref
    LEFT JOIN (SELECT *, struct_pack(a := "at", o := order_id) AS f FROM sold) s
        ON r.ref IS NULL AND r.customer_id = s.customer_id AND r.product_id = s.product_id
        AND s."at" <= r."at" AND s.items >= -r.items
    GROUP BY r._file, r._line, r.order_id, r.amount"""


def order_lines(has_products: bool, summed: bool) -> str:
    """Lines of the log: numbered, with the order that a return takes back and what the catalogue says.

    summed: whether every order is the sum of its lines, or only a `lone` one, which no file of orders has. A line
    says what such an order needs if it is mended.
    """
    names = list(TABLES["order_lines"].columns)
    fallback = (
        {c: f"coalesce(l.{c}, p.{c}) AS {c}" for c in ("category", "department", "brand")}
        if has_products
        else {}
    )
    fallback["line"] = "coalesce(l.line, n._nth) AS line"
    columns = ", ".join(fallback.get(c, f"l.{quoted(c)}") for c in names if c != "ref")
    products = "LEFT JOIN products p ON p.product_id = l.product_id" if has_products else ""
    hidden = ", ".join(_CANCELLED)
    of_order = f"struct_pack(channel := l.channel, store_id := l.store_id, lone := {not summed}) AS _order,"
    lines = f"""
        SELECT {columns}, {of_order} coalesce(m.ref, l.ref) AS ref, l._file, l._line, l._reject, l._aside, l._given, l._return, l._ok,
               {", ".join(f"l.{c}" for c in _CANCELLED)}, m.sold_at AS _sold_at, l._note
        FROM _lines l LEFT JOIN _numbers n ON n._row = l.rowid
             LEFT JOIN _matched m ON m._file = l._file AND m._line = l._line {products}"""
    return f"""
        WITH l AS ({lines})
        SELECT * EXCLUDE (_return, _ok, {hidden}, _sold_at) REPLACE ({_noted()} AS _note), {FATE} FROM l
        UNION ALL BY NAME
        SELECT * EXCLUDE (_return, _ok, {hidden}, _sold_at, _file, _line, _given) REPLACE (
               {taken_back()}, -items AS items, -measure AS measure, 0 AS coupon)
        FROM l WHERE _ok AND _cancelled AND NOT _return"""


def taken_back() -> str:
    """Of an order that was cancelled: the row that takes it back."""
    return """order_id || ':cancelled' AS order_id, order_id AS ref, -amount AS amount, 0 AS discount,
              greatest(coalesce(_cancelled_at, "at"), "at") AS "at", greatest(coalesce(_cancelled_known, known_at), known_at) AS known_at,
              CASE WHEN _cancelled_at IS NOT NULL AND _cancelled_day THEN 'day' WHEN _cancelled_at > "at" THEN NULL
                   ELSE precision END AS precision, NULL AS _note"""


def _noted() -> str:
    return f"""nullif(concat_ws('; ', CASE WHEN _ok AND _return THEN {RETURNED}
                          WHEN _ok AND _cancelled AND _cancelled_at IS NULL THEN 'cancelled, and nothing says when: taken back at once'
                          WHEN _ok AND _cancelled THEN 'cancelled later' END, _note), '')"""


_OF_ORDER = """
    SELECT order_id, min(channel) AS channel, min(store_id) AS store_id FROM _lines WHERE _ok GROUP BY order_id"""


def _sums(lines: str) -> str:
    return f"""
    SELECT order_id, customer_id, min("at") AS "at", max(known_at) AS known_at, max(precision) AS precision, sum(amount) AS amount, sum(discount) AS discount,
           CASE WHEN bool_and(ref IS NOT NULL) THEN max(struct_pack(k := ref <> 'unknown', a := abs(amount), r := ref)).r END AS ref
    FROM {lines} GROUP BY order_id, customer_id"""


NOWHERE = "NULL AS _file, NULL AS _line, NULL AS _note"


def _of_lines(lines: str, of_file: str) -> str:
    """Orders that are the sums of their lines; a return is where its order was. of_file: of the files' orders."""
    return f"""
    SELECT s.*, coalesce(o.channel, c.channel, f.channel) AS channel, coalesce(o.store_id, c.store_id, f.store_id) AS store_id, {NOWHERE}
    FROM ({_sums(lines)}) s LEFT JOIN ({_OF_ORDER}) o USING (order_id)
    LEFT JOIN ({_OF_ORDER}) c ON c.order_id = s.ref LEFT JOIN ({of_file}) f ON f.order_id = s.ref"""


ORDERS_OF_LINES = _of_lines(
    "order_lines", "SELECT NULL::VARCHAR AS order_id, NULL::VARCHAR AS channel, NULL::VARCHAR AS store_id"
)
MATCHED_ORDERS = """
    CREATE OR REPLACE TABLE _matched_orders AS
    WITH sold AS (SELECT order_id, customer_id, "at", amount, struct_pack(a := "at", o := order_id) AS f
                  FROM _orders WHERE _ok AND NOT _return)
    SELECT r._file, r._line, coalesce(any_value(r.ref), any_value(l.ref), max(s.f).o, 'unknown') AS ref,
           coalesce(any_value(n."at"), max(s.f).a) AS sold_at
    FROM _orders r
    LEFT JOIN (SELECT return_id, max(struct_pack(a := abs(amount), r := ref)).r AS ref
               FROM _matched WHERE ref <> 'unknown' GROUP BY return_id) l ON l.return_id = r.order_id
    LEFT JOIN (SELECT order_id, min("at") AS "at" FROM sold GROUP BY ALL) n ON n.order_id = coalesce(r.ref, l.ref)
    LEFT JOIN sold s ON r.ref IS NULL AND l.ref IS NULL AND r.customer_id = s.customer_id AND s."at" <= r."at" AND s.amount >= -r.amount
    WHERE r._ok AND r._return GROUP BY r._file, r._line"""


def _orders_read(amount: str, discount: str, joined: str) -> str:
    hidden = f"_return, _ok, _unnamed, {', '.join(_CANCELLED)}, _day"
    return f"""
        WITH o AS (SELECT o.* REPLACE (coalesce(m.ref, o.ref) AS ref, {amount} AS amount, {discount} AS discount), m.sold_at AS _sold_at
                   FROM _orders o LEFT JOIN _matched_orders m ON m._file = o._file AND m._line = o._line {joined})
        SELECT * EXCLUDE ({hidden}, _sold_at) REPLACE ({_noted()} AS _note), {FATE} FROM o
        UNION ALL BY NAME
        SELECT * EXCLUDE ({hidden}, _sold_at, _file, _line, _given) REPLACE ({taken_back()})
        FROM o WHERE _ok AND _cancelled AND NOT _return AND amount IS NOT NULL"""


ORDERS = _orders_read("o.amount", "o.discount", "")
ORDERS_AMOUNTS_OF_LINES = _orders_read(
    "s.amount", "s.discount", f"LEFT JOIN ({_sums('order_lines')}) s ON s.order_id = o.order_id"
)
# Beside orders that a file has, those that only lines tell of.
_OF_FILES = """(SELECT order_id FROM _orders
                UNION ALL SELECT order_id || ':cancelled' FROM _orders WHERE _ok AND _cancelled AND NOT _return)"""
AND_ALONE = f"""
    UNION ALL BY NAME {_of_lines(f"order_lines ANTI JOIN {_OF_FILES} f USING (order_id)", "FROM _order_of_id WHERE _ok")}"""
# Opened, and closed at once: the money was given back.
OF_RETURNS = """
    SELECT order_id AS case_id, customer_id, "at", known_at, precision, 'return' AS kind, change, channel, ref,
           NULL::VARCHAR AS reason
    FROM {orders}, unnest(['opened', 'closed']) changes(change) WHERE ref IS NOT NULL AND amount <= 0"""
CASES = f"SELECT *, {NOWHERE} FROM ({OF_RETURNS.format(orders='orders')})"
