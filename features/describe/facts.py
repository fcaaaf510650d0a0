"""What is counted of a customer log, and what each number means; `measure.py` counts.

A month and a day are the shop's. An order is a row of `orders` without a ref; one with a ref and negative
money is a return. An event is a row of one of `EVENTS`; a customer is active in a month with an event of her
own, which a contact is not. A row is late if it was known after it happened.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from features.describe.gaps import Gap
from features.ingestion.suspicions import Suspicion
from features.unread import Unread

EVENTS = ("orders", "contacts", "responses", "interactions", "memberships", "cases", "surveys", "consents")
REPEATED = "a second row with the same"  # how ingestion's reason begins


@dataclass(frozen=True)
class Part:
    """One source's rows of one table. Times: first and last `at`; lateness in minutes, of the late rows."""

    table: str
    source: str
    rows: int
    first: datetime | None = None
    last: datetime | None = None
    late: int = 0
    late_median: int | None = None
    late_p95: int | None = None


@dataclass(frozen=True)
class Month:
    """One month. days: of it within the log; 0: what is of that month, and not of the log's days.

    sales: of orders, before returns. new: buyers' first orders.
    """

    start: date
    days: int
    length: int
    events: int
    active: int
    orders: int
    sales: Decimal
    returns: int
    returned: Decimal
    new: int


@dataclass(frozen=True)
class Account:
    """What became of rows of one raw file: accepted, left out as not for the log (`aside`), or rejected."""

    source: str
    table: str
    file: str | None
    accepted: bool
    what: str
    rows: int
    aside: bool = False
    first_line: int | None = None  # from 0, of the rejected ones

    @property
    def anonymous(self) -> bool:
        """Whether these rows name no customer."""
        return self.what == "no customer_id" or self.what.startswith("anonymous")


@dataclass(frozen=True)
class Absent:
    """Features that will be missing, since the log lacks `table`; or that stay empty, since `column` is."""

    table: str
    column: str | None
    features: tuple[str, ...]


@dataclass(frozen=True)
class Untimed:
    """A table of whose `rows` some, `days`, are known by their day alone; features that ask for their hour."""

    table: str
    days: int
    rows: int
    features: tuple[str, ...]


@dataclass(frozen=True)
class Consent:
    """Marketing consent of one channel, as last stated. default: without a statement; None: none, refused."""

    channel: str
    granted: int
    withdrawn: int
    unknown: int
    default: bool | None


@dataclass(frozen=True)
class Goods:
    """Products that were sold; how many of them have no category, and the first of those, if any."""

    products: int
    without: int
    first: str | None


@dataclass(frozen=True)
class Facts:
    """All that was counted. money: in the shop's currency."""

    shop: str
    log: str
    zone: str
    currency: str
    starts_at: datetime
    complete_until: datetime
    begins: date  # of the first order; later than `starts_at` if odd rows are before it (see `_first`)
    early: int  # orders before `begins`
    days: int  # dates in the shop's zone from `begins` to the last that is whole
    parts: tuple[Part, ...]
    months: tuple[Month, ...]
    gaps: tuple[Gap, ...]
    accounts: tuple[Account, ...]
    features: int  # declared
    absent: tuple[Absent, ...]
    untimed: tuple[Untimed, ...]
    unread: tuple[Unread, ...]  # what of the log no feature reads
    suspicions: tuple[Suspicion, ...]
    customers: int
    buyers: int
    one_time: int
    several_ids: int  # customers known under more than one id; the same id in two systems is one
    shared_ids: int  # ids given to more than one customer
    orders: int
    sales: Decimal
    returns: int
    returned: Decimal
    unmatched: int  # returns of an order that the log lacks
    look_alikes: int  # orders beyond the first with the same customer, time and amount
    contacts: int
    with_propensity: int
    consents: tuple[Consent, ...]
    goods: Goods

    def rows(self, table: str) -> int:
        """Rows of a table, all sources."""
        return sum(part.rows for part in self.parts if part.table == table)

    @property
    def raw(self) -> int:
        """Rows of raw files that were read."""
        return sum(account.rows for account in self.accounts if account.file is not None)

    @property
    def rejected(self) -> int:
        """Rows of raw files that broke a contract, the repeated ones included, and anonymous ones if rejected."""
        return sum(a.rows for a in self.accounts if not (a.accepted or a.aside) and a.file is not None)

    @property
    def broken(self) -> int:
        """Of the rejected rows those that are neither anonymous nor repeated: what somebody can mend."""
        nobodys = sum(a.rows for a in self.accounts if a.anonymous and not a.aside and a.file is not None)
        return self.rejected - nobodys - self.repeated

    @property
    def anonymous(self) -> tuple[int, int]:
        """Rows without a customer, of the rows of the files that have such; what is no sale, postage for one,
        is nobody's by nature and counts in neither."""
        without = [a for a in self.accounts if a.anonymous and a.file is not None]
        of = {(a.source, a.table, a.file) for a in without}
        read = sum(
            a.rows
            for a in self.accounts
            if (a.source, a.table, a.file) in of and (a.anonymous or not a.aside)
        )
        return sum(a.rows for a in without), read

    @property
    def repeated(self) -> int:
        """Rows of raw files that were rejected as a second one of the same key."""
        return sum(a.rows for a in self.accounts if a.file is not None and a.what.startswith(REPEATED))
