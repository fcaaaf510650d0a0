"""A shop whose alerts go to a receiver that checks them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alerting import PARTIES, WEBHOOK, Days, SignedHttp, serving


@pytest.fixture
def hook() -> Iterator[SignedHttp]:
    with serving(SignedHttp()) as fake:
        assert isinstance(fake, SignedHttp)
        yield fake


@pytest.fixture
def days(tmp_path: Path, hook: SignedHttp) -> Days:
    return Days(tmp_path, PARTIES + WEBHOOK.format(port=hook.port))
