"""A return on a cost is told so that it means something."""

import pytest

from training.roi import Brought
from training.sequential import Difference


@pytest.mark.parametrize(
    ("margin", "cost", "said"),
    [
        ((300.0, 200.0, 400.0), 100.0, "+200% [+100% +300%]"),
        ((1_230.0, 900.0, 1_560.0), 3.0, "410 [300 520] times the cost"),
        ((-900.0, -1_200.0, -600.0), 10.0, "-90 [-120 -60] times the cost"),
        ((1_230.0, -4_000.0, 6_460.0), 3.0, "the cost is too small beside the margin's interval"),
        ((12.0, -40.0, 64.0), 100.0, "-88% [-140% -36%]"),
    ],
)
def test_no_percentage_of_next_to_nothing(margin: tuple[float, float, float], cost: float, said: str) -> None:
    """Else: a lead reads `+40930 %` of a campaign that cost 3, whose margin is anything between."""
    found = Brought("s", "mail", 100, 100, 100, 0, cost, 0.0, Difference(*margin), None).return_words
    assert found is not None
    assert found.en.startswith(said)
    assert "%" in found.zh or "成本" in found.zh
