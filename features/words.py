"""What a person reads, in the two languages of the product, declared beside the thing it describes."""

from collections.abc import Sequence
from typing import NamedTuple

MANY = 8  # names in a message: who reads more of them looks for a list


class Words(NamedTuple):
    """The same text in plain English and Simplified Chinese."""

    en: str
    zh: str


def several(names: Sequence[str]) -> str:
    """Names in a message; of very many the first, and how many more there are.

    >>> several("abc"), several(["x"] * 10)[-12:]
    ('a, b, c', 'x and 2 more')
    """
    more = f" and {len(names) - MANY} more" if len(names) > MANY + 1 else ""
    return ", ".join(names[:MANY] if more else names) + more


def passage(sentences: Sequence[Words]) -> Words:
    """Whole sentences, one after the other.

    >>> passage([Words("One.", "一。"), Words("Two.", "二。")])
    Words(en='One. Two.', zh='一。二。')
    """
    return Words(" ".join(one.en for one in sentences), "".join(one.zh for one in sentences))
