"""What a person reads, in the two languages of the product, declared beside the thing it describes."""

from typing import NamedTuple


class Words(NamedTuple):
    """The same text in plain English and Simplified Chinese."""

    en: str
    zh: str
