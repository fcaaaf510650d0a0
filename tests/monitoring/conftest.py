"""A shop whose alerts go to a receiver that checks them; a run that nothing is drawn for; a watched shop."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import watched
from alerting import PARTIES, WEBHOOK, Days, SignedHttp, serving
from watched import Shop

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


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Nothing is published on its last day yet: take copies."""
    return watched.steady(tmp_path_factory)


@pytest.fixture(scope="module")
def usual(steady: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """With its last day published as it is: take copies."""
    shop = steady.copy(tmp_path_factory.mktemp("usual"))
    shop.publish()
    return shop


@pytest.fixture(scope="module")
def fewer(steady: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """With a last day on which seven of eight customers are missing: take copies."""
    shop = steady.copy(tmp_path_factory.mktemp("fewer"))
    shop.publish(lambda rows: rows.take(pa.array(np.arange(0, len(rows), 8))))
    return shop
