"""A return that was mended takes back an order of its customer, or somebody is told."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from dirty import TILL, bring_in, write_shop

from features.ingestion import rejects
from propensity import main

ROWS = """no,who,day,paid,of
1,ann,2024-01-04,5,
2,bob,2024-01-05,6,
3,ann,2024-01-06,-5x,
4,ann,2024-01-07,-5y,0
5,bob,2024-02-07,6,
"""


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("2", "is an order of another customer: 1, such as 2."),
        ("17", "is an order that the log has not: 1, such as 17."),
        ("1", ""),
        ("unknown", ""),
    ],
)
def test_a_mistyped_ref_is_told(tmp_path: Path, ref: str, said: str) -> None:
    """A typo was taken: the return took back what somebody else had bought, exit code 0."""
    mapping = "[mapping.till]\n" + TILL.replace("channel = {", 'ref = "of"\nchannel = {')
    settings = write_shop(tmp_path, mapping, {"orders.csv": ROWS})
    bring_in(settings)
    path = tmp_path / "a.csv"
    rejects.export(settings, path)
    text = path.read_text("utf-8").replace(",-5y,", ",-5.00,")  # its file names an order from before the log
    head, three, *rest = text.splitlines()
    columns = head.split(",")
    cells = three.split(",")
    cells[columns.index("amount")], cells[columns.index("ref")] = "-5.00", ref
    path.write_text("\n".join([head, ",".join(cells), *rest]) + "\n", "utf-8")
    here = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    result = CliRunner().invoke(main, ["rejects", "take", str(path)], env=here)
    output = " ".join(result.output.split())
    assert (result.exit_code, said in output) == (3 if said else 0, True), output
    assert ("is an order" in output) == bool(said)
