"""What went to a chat or to everyone is no customer's contact, and the export of contacts says so."""

# ruff: noqa: F811 (fixtures of another module are arguments)

from contextlib import closing

import pytest
from click.testing import CliRunner
from test_decisions import publish, settings  # noqa: F401
from test_grouped import reached, shop  # noqa: F401
from tiny import TINY_MOMENT

from features.settings import Settings
from propensity import grouped, main
from serving.ledger import Ledger
from serving.ledger_reports import Delivery


def test_messages_to_chats_are_told_with_their_number_and_not_taken(
    shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever sent them, and told so, reads that the ledger knows of nothing, and tells it again."""
    for name, value in (("HOME", shop.home), ("SHOP", shop.shop), ("AS_OF", TINY_MOMENT.isoformat())):
        monkeypatch.setenv(f"PROPENSITY_{name}", str(value))
    sent = reached(grouped.decided(shop))[:2]
    quiet = CliRunner().invoke(main, ["ledger", "export"])
    assert "to a group" not in quiet.output, "nobody told of a delivery yet"
    with closing(Ledger(shop)) as ledger:
        for one in sent:
            id = str(one.decision_id)
            ledger.report(
                [Delivery(source="chat", id=id, decision_id=id, status="sent", at=TINY_MOMENT)], TINY_MOMENT
            )
    done = CliRunner().invoke(main, ["ledger", "export"])
    assert done.exit_code == 0, done.output
    assert "messages sent to a group or to everyone: 2; they are no customer's contact" in done.output
    assert "no contact with a customer was told as sent, and no answer: nothing to take in" in done.output
