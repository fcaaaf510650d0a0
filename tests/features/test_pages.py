"""Pages for people: what is text must not become markup, and nothing may be asked of the network."""

import doctest
from html.parser import HTMLParser

from features import pages
from features.words import Words

_VOID = {"meta", "input"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.text: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "action")]
        if tag not in _VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag, f"<{tag}> closes another"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> _Reader:
    """Parse a page; every tag must be closed by its own."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.stack == []
    return reader


EXAMPLE = pages.page(
    Words("Goods & more", "商品等"),
    pages.search_box(),
    pages.section(
        Words("Part", "部分"),
        pages.table(["name", Words("Number", "数量")], [["<script>alert(1)</script>", 1234]], right=[1]),
        pages.bars([("2017-01", 3), ("2017-02", 0)], Words("Orders", "订单")),
        pages.line([("2017-01", 3), ("2017-02", 9)], Words("Orders", "订单")),
        note="a < b",
    ),
    note=Words("What it is", "说明"),
)


def test_text_of_a_shop_is_never_markup() -> None:
    """A product or campaign that is called <script> must not run in the operator's browser."""
    assert "<script>alert" not in EXAMPLE
    reader = read(EXAMPLE)
    assert "<script>alert(1)</script>" in reader.text
    assert "1,234" in reader.text


def test_a_page_asks_nothing_of_the_network_and_forbids_it() -> None:
    """It is opened on a machine without internet, and holds what is nobody else's business."""
    assert read(EXAMPLE).addresses == []
    assert "http" not in EXAMPLE.replace("http-equiv", "")
    assert "default-src 'none'" in EXAMPLE


def test_both_languages_are_in_it_and_one_is_shown() -> None:
    assert '<span lang="en">What it is</span><span lang="zh-Hans">说明</span>' in EXAMPLE
    assert ":has(#zh:checked)" in EXAMPLE


def test_an_empty_chart_is_drawn_all_the_same() -> None:
    read(pages.page(Words("a", "b"), pages.bars([], Words("c", "d")), pages.line([], Words("c", "d"))))


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(pages).failed == 0
