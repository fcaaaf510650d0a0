"""What the words in a column of statuses say of an order: sold, came back, cancelled, not paid, or nothing clear.

A word that is not clearly understood is never a sale without a word of ours: a person decides.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.sources.guesses import NAMES, Guess
from features.sources.raw import literal, quoted
from features.sources.sheet import text
from features.sources.values import NULLS

if TYPE_CHECKING:
    import duckdb

CANCELLED = r"cancel|void|取消|关闭|作废|annul|storn|anulad"
RETURNED = r"refund|return|退|rembours|retour|r[üu]ck|devoluci|reembols|gutschr"
PARTLY = r"part(ial|ly|iel)|teilweise|parcial|部分"
UNPAID = r"unpaid|pending|await|not.?paid|待付款|未付款|待支付|未支付|en.?attente|offen|impag|pendiente"
# A return that somebody asked for, or was refused, is none; nor is `not returned`.
HALFWAY = (
    r"request|reject|den(y|ied)|declin|await|pending|process|open|fail|\bno[tn]?\b|未|没|无|申请|拒绝|驳回|失败|待|中$"
    r"|demand|refus|attente|cours|beantragt|abgelehnt|offen|nicht|solicit|rechaz|pendiente"
)
# A whole word, for `repaid`, `undone` and `oversold` are not: `wc-completed` is a web shop's way of writing it.
SOLD = (
    r"(wc )?(paid|completed?|success(ful|fully)?|succeeded|settled|captured|confirmed|shipped|dispatched|delivered"
    r"|fulfilled|done|finished|received|sold|sale|sales|purchase|purchased|ok)"
    r"|已?(付款|支付|完成|完结|发货|收货|签收|结算|成交|评价|确认收货)|(交易|支付|付款)?(成功|完成)|待(发货|收货|评价)"
    r"|(买家|客户)?已付款|卖家已发货|等待(卖家发货|买家确认收货)|销售|零售|售出"
    r"|pay[ée]e?s?|r[ée]gl[ée]e?s?|termin[ée]e?s?|livr[ée]e?s?|exp[ée]di[ée]e?s?|envoy[ée]e?s?|factur[ée]e?s?"
    r"|valid[ée]e?s?|vente|vendue?s?"
    r"|bezahlt|abgeschlossen|erledigt|geliefert|versandt|versendet|verschickt|zugestellt|verkauf|verkauft"
    r"|pagad[oa]|completad[oa]|entregad[oa]|enviad[oa]|finalizad[oa]|vendid[oa]|venta|cobrad[oa]"
)
KINDS = ("sold", "back", "partly", "gone", "unpaid", "none", "unclear")
MANY = 12  # words that a person reads in one line
UNKNOWN = "status not understood"  # why rows are put aside


@dataclass(frozen=True)
class Statuses:
    """The values of a column, each as given with its rows in the sample, by what they say.

    sold; back: came back; partly: of it, and nothing says how much; gone: cancelled; unpaid;
    none: what files write where they have nothing; unclear.
    """

    column: str
    words: Mapping[str, Mapping[str, int]]

    def of(self, kind: str) -> list[str]:
        """The values of a kind, the most frequent first."""
        return list(self.words.get(kind, ()))

    def is_one_of(self, values: Iterable[str]) -> str:
        """SQL of the rows with one of these values."""
        return f"{quoted(self.column)} IN ({', '.join(map(literal, values))})"

    def of_refunds(self) -> "Statuses":
        """As they are meant in a file of refunds: what is not clearly done is not money that went back."""
        done = {"sold": "sold", "back": "sold", "partly": "sold", "none": "none"}
        words: dict[str, dict[str, int]] = {}
        for kind, values in self.words.items():
            words.setdefault(done.get(kind, "unclear"), {}).update(values)
        return Statuses(self.column, words)

    @property
    def _usual(self) -> bool:
        """Whether what most rows say is understood: else putting aside the others would take the sales."""
        clear, unclear = (sum(self.words.get(kind, {}).values()) for kind in ("sold", "unclear"))
        return clear > 0 and clear >= unclear

    def asides(self) -> tuple[str, ...]:
        """Lines of [aside]: of rows that are no sales yet, and of those that nobody here understands.

        What comes later, or so rarely that it was not looked at, is put aside with those.
        """
        lines = []
        if unpaid := self.of("unpaid"):
            lines.append(f'"not paid" = {text(self.is_one_of(unpaid))}   # DECIDE: no sales yet')
        if self._usual:
            why = (
                f"DECIDE: {self._told()} not clearly sales, so put aside: add here what is one"
                if self.of("unclear")
                else "no other was seen; one that comes later is put aside until somebody adds it here"
            )
            lines.append(f"{self._aside()}   # {why}")
        return tuple(lines)

    def question(self, below: str) -> list[str]:
        """Comments for a person, where what is usual is not understood. below: the reading's name in TOML."""
        if self._usual or not self.of("unclear"):
            return []
        return [f"# DECIDE: {self.doubt}", f"# [{below}.aside]", f"# {self._aside()}"]

    @property
    def doubt(self) -> str | None:
        """What a person must be told of it; None: every value is clearly understood."""
        if not self.of("unclear"):
            return None
        fate = "put aside" if self._usual else "taken as if they were: put aside those that are none"
        return f"{self.column} holds {self._told()} not clearly sales, so {fate}"

    def _aside(self) -> str:
        kinds = [kind for kind in KINDS if kind != "unclear" or not self._usual]
        known = (value.strip() for kind in kinds for value in self.of(kind))
        words = ", ".join(map(literal, dict.fromkeys((*known, ""))))
        return f"{text(UNKNOWN)} = {text(f'trim({quoted(self.column)}) NOT IN ({words})')}"

    def _told(self) -> str:
        told = [f"{text(value)} ({n:,} rows)" for value, n in self.words["unclear"].items()]
        more = f" and {len(told) - MANY} more," if len(told) > MANY else ","
        return ", ".join(told[:MANY]) + more


def statuses(
    connection: "duckdb.DuckDBPyConnection", roles: Mapping[str, Guess], letters: str | None = None
) -> Statuses | None:
    """Of the table `sample`; None if no column is of statuses.

    A column called `state` or `type` may be of anything else: it is one only if a word of it is understood.
    letters: order ids that begin so are returns. What only those say, whatever the word, is of goods that came
    back; not if it says that they have yet to.
    """
    if "status" not in roles:
        return None
    column = roles["status"].column.name
    x = quoted(column)
    rows = connection.execute(
        f"SELECT {x}, count(*), {sold_of(roles, letters)} FROM sample WHERE {x} IS NOT NULL "
        "GROUP BY ALL ORDER BY 2 DESC, 1"
    ).fetchall()
    words: dict[str, dict[str, int]] = {}
    for value, n, _ in rows:
        words.setdefault(_kind(value), {})[value] = n
    if set(words) <= {"unclear", "none"} and not re.search(NAMES["status"][0], column, re.IGNORECASE):
        return None
    for value, n, sold in rows:
        if not sold and _kind(value) == "unclear" and not re.search(HALFWAY, value, re.IGNORECASE):
            del words["unclear"][value]
            words.setdefault("back", {})[value] = n
    return Statuses(column, {kind: values for kind, values in words.items() if values})


def sold_of(roles: Mapping[str, Guess], letters: str | None) -> str:
    """SQL: how many rows are no returns by the letters that their order ids begin with; all, if none do."""
    if letters is None:
        return "count(*)"
    id = quoted(roles["order_id"].column.name)
    return f"count(*) FILTER (NOT coalesce(starts_with({id}, {literal(letters)}), false))"


def _kind(value: str) -> str:
    if value.strip() in NULLS:
        return "none"
    word = re.sub(r"[\s_-]+", " ", value).strip()
    if re.fullmatch(SOLD, word, re.IGNORECASE):
        return "sold"
    if re.search(PARTLY, word, re.IGNORECASE) and re.search(RETURNED, word, re.IGNORECASE):
        return "unclear" if re.search(HALFWAY, word, re.IGNORECASE) else "partly"
    ended = [
        kind for kind, of in (("back", RETURNED), ("gone", CANCELLED)) if re.search(of, word, re.IGNORECASE)
    ]
    if ended:  # `refund cancelled` is neither
        return ended[0] if len(ended) == 1 and not re.search(HALFWAY, word, re.IGNORECASE) else "unclear"
    return "unpaid" if re.search(UNPAID, word, re.IGNORECASE) else "unclear"
