"""A shop whose alerts go to a receiver that checks them; a run that nothing is drawn for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alerting import PARTIES, WEBHOOK, Days, SignedHttp, serving

from monitoring import closer


@pytest.fixture
def hook() -> Iterator[SignedHttp]:
    with serving(SignedHttp()) as fake:
        assert isinstance(fake, SignedHttp)
        yield fake


@pytest.fixture
def days(tmp_path: Path, hook: SignedHttp) -> Days:
    return Days(tmp_path, PARTIES + WEBHOOK.format(port=hook.port))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidently, which takes most of the time of a run, is not waited for."""
    monkeypatch.setattr(closer, "TIMEOUT", 0.01)
