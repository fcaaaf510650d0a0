"""A sentence that names a remedy must name one that works: whoever reads it does just that."""

import re
from pathlib import Path

import pytest
from dirty import TILL, bring_in, run, write_shop

from features.settings import Settings

ROWS = "".join(f"{n},c{n % 5},2024-0{1 + n // 28}-{1 + n % 28:02},5\n" for n in range(80))


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    """Till's days are New York's, so the log's end is no midnight of UTC."""
    files = {"orders.csv": "no,who,day,paid\n" + ROWS}
    settings = write_shop(tmp_path, "[mapping.till]\n" + TILL, files, zone="America/New_York")
    bring_in(settings)
    return settings


def test_a_build_for_a_moment_after_the_logs_end_names_the_last_one_that_can_be(shop: Settings) -> None:
    """Else a nightly run stands still at a sentence that sends its operator on to the next error."""
    refused = run(shop, "features", "build", "--as-of", "2024-05-01T00:00:00Z")
    assert refused.exit_code == 2, refused.output
    said = " ".join(refused.output.split())
    assert "the log is complete until 2024-03-25T04:00:00Z" in said
    found = re.search(r"The last moment there can be: PROPENSITY_AS_OF=(\S+), or --as-of", said)
    assert found, said
    by_option = run(shop, "features", "build", "--as-of", found[1])
    assert by_option.exit_code == 0, by_option.output
    assert f"to {found[1]}" in by_option.output
    by_variable = run(shop, "features", "build", PROPENSITY_AS_OF=found[1])
    assert by_variable.exit_code == 0, by_variable.output
    assert "0 computed now" in by_variable.output, "the same moment, and not an hour later"


def test_a_build_for_another_zone_than_the_logs_names_the_command_that_mends_it(shop: Settings) -> None:
    assert shop.shop is not None
    text = (shop.shop / "shop.toml").read_text("utf-8")
    (shop.shop / "shop.toml").write_text(text.replace("America/New_York", "Asia/Shanghai"), "utf-8")
    refused = run(shop, "features", "build")
    assert refused.exit_code != 0
    assert "run `propensity ingest` again" in " ".join(refused.output.split())
    assert run(shop, "ingest").exit_code == 0
    assert run(shop, "features", "build").exit_code == 0


def test_a_build_before_the_first_snapshot_names_the_option_that_mends_it(shop: Settings) -> None:
    command = ("features", "build", "--as-of", "2024-01-20T05:00:00Z")
    refused = run(shop, *command)
    assert refused.exit_code == 2, refused.output
    said = " ".join(refused.output.split())
    assert "no moment lies between the first snapshot and 2024-01-20T05:00:00Z: set --since earlier" in said
    done = run(
        shop, "features", "build", "--as-of", "2024-01-20T05:00:00Z", "--since", "2024-01-10T05:00:00Z"
    )
    assert done.exit_code == 0, done.output
