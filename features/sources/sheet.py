"""A file of other things than orders, as the rules of `kinds.py` look at it, and how they declare its columns."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from features.sources.guesses import BIRTH, Column
from features.sources.raw import quoted
from features.sources.vocabulary import WORDS

PERSONAL = rf"{BIRTH}|^(first|last|full|sur|user|nick|customer|member|client|vor|nach|familien)?[ _.-]?name$|phone|mobile|e.?mail|address|street|passport|ssn|姓名|名字|昵称|手机|电话|邮箱|地址|身份证|^nom$|pr[ée]nom|adresse|t[ée]l[ée]phone|courriel|telefon|anschrift|stra(ss|ß)e|apellido|nombre|direcci[óo]n"

PEOPLE = r"regist|since|join|creat|sign.?up|注册|入会|开卡|加入|inscri|adh[ée]sion|anmeld|angelegt|erfasst|erstellt|er[öo]ffnet|aufgenommen|kundenanlage|eintritt|beitritt|建档|创建|seit|alta"


@dataclass(frozen=True)
class Reads:
    """One reading of a file: its table, lines of [columns], lines before those, and a table after them."""

    table: str
    lines: tuple[str, ...]
    head: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()  # its key, its lines


@dataclass
class Sheet:
    """A file as these rules see it. customer: the declaration of its customer's id; at: of a time column."""

    file: str
    columns: list[Column]
    customer: Column
    customer_id: str
    at: Callable[[Column], str]
    main_time: Column | None

    def named(self, pattern: str, *, time: bool | None = None, but: tuple[Column, ...] = ()) -> Column | None:
        """The first column with such a name. time: only one of times, or none of them."""
        for column in self.columns:
            if column is self.customer or column in but or not column.rows:
                continue
            if time is not None and (column.format is not None) != time:
                continue
            if re.search(pattern, column.name, re.IGNORECASE):
                return column
        return None

    def about(self, pattern: str) -> bool:
        """Whether the file, or one of its columns, is called so."""
        return bool(re.search(pattern, self.file, re.IGNORECASE) or self.named(pattern))

    def called(self, words: str) -> str | None:
        """What a word of the file's name says, in a set of words; also in the plural, and within Chinese."""
        for part in re.split(r"[\W\d_]+", re.sub(r"\.\w+", "", self.file)):
            for to, said in WORDS[words].items():
                chinese = any(w in part for w in re.findall(r"[\u4e00-\u9fff]{2,}", said))
                if part and (chinese or re.fullmatch(rf"({said})(e|en|e?s|n)?", part, re.IGNORECASE)):
                    return to
        return None

    @property
    def of_people(self) -> bool:
        """Whether it says who the customers are: a row each, with what only a list of people has."""
        personal = [c for c in self.columns if re.search(PERSONAL, c.name, re.IGNORECASE)]
        since = any(re.search(BIRTH, c.name, re.IGNORECASE) for c in personal) or self.named(
            PEOPLE, time=True
        )
        return len(personal) > 1 and bool(since) and self.customer.distinct >= 0.99 * self.customer.rows

    def worded(self, words: str, but: tuple[Column, ...] = (), most: float = 1) -> Column | None:
        """The column whose values are words of that set, all or `most` of its rows; of several the richest."""
        fits = {
            c: known
            for c in self.columns
            if c is not self.customer and c not in but and (known := known_words(c, words))
            and sum(n for v, n in c.top if str(v) in known) >= most * c.rows
        }  # fmt: skip
        return max(fits, key=lambda c: len(fits[c]), default=None)


def known_words(column: Column, words: str) -> dict[str, str]:
    """Of a column's most frequent values those that are words of that set, and what they say."""
    found: dict[str, str] = {}
    for value, _ in column.top:
        for to, said in WORDS[words].items():
            if re.fullmatch(said, str(value).strip(), re.IGNORECASE):
                found.setdefault(str(value), to)
    return found


def meanings(column: Column, words: str) -> dict[str, str] | None:
    """What each value of a column says, if every one is a word of that set."""
    known = known_words(column, words)
    return known if column.rows and 0 < column.distinct == len(known) else None


def text(value: str) -> str:
    """A text in TOML."""
    return json.dumps(value, ensure_ascii=False)


def translated(column: Column, words: str) -> str:
    """A column of words, with the log's word for each."""
    means = known_words(column, words)
    if all(value == to for value, to in means.items()):
        return text(column.name)
    pairs = ", ".join(f"{text(value)} = {text(to)}" for value, to in means.items())
    return f"{{ column = {text(column.name)}, map = {{ {pairs} }} }}"


def always(value: str, why: str = "") -> str:
    """The same for every row; why: a person must decide it."""
    return f"{{ value = {text(value)} }}" + (f"  # DECIDE: {why}" if why else "")


def declared(sheet: Sheet, at: Column, **columns: str) -> tuple[str, ...]:
    """Lines of [columns]: whose row it is, when it happened, and these."""
    values = {"customer_id": sheet.customer_id, "at": sheet.at(at), **columns}
    return tuple(f"{column} = {value}" for column, value in values.items())


def rows_with(column: Column) -> tuple[str, ...]:
    """Rows that have it: none needed if all do."""
    if column.filled == 1:
        return ()
    return (f"where = {text(quoted(column.name) + ' is not null')}",)


def channel_of(sheet: Sheet, default: str, why: str, but: tuple[Column, ...] = ()) -> str:
    """The column that says the channel, or the one that the file is called by, or a default to decide on."""
    column = sheet.worded("channel", but)
    if column is not None:
        return translated(column, "channel")
    named = sheet.named(r"channel|渠道|canal|kanal", time=False, but=but)
    if named is not None:
        return text(named.name)
    said = next((to for to, p in WORDS["channel"].items() if re.search(rf"(^|[\W_])({p})($|[\W_])", sheet.file, re.I)), None)  # fmt: skip
    if said:
        return always(said)
    # Chinese is written without blanks: 企微群发 is of 企微, or seems so.
    within = (to for to, p in WORDS["channel"].items() if any(w in sheet.file for w in re.findall(r"[\u4e00-\u9fff]{2,}", p)))  # fmt: skip
    return always(next(within, default), why)


def attributes(columns: list[Column], taken: set[str]) -> tuple[list[str], list[str]]:
    """Of a file of people: the columns to keep, and those that are personal, which no model should read."""
    rest = [c.name for c in columns if c.name not in taken]
    personal = [name for name in rest if re.search(PERSONAL, name, re.IGNORECASE)]
    return [name for name in rest if name not in personal], personal
