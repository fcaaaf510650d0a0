"""A service with a test key, of which nothing is built or released: fixtures."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from running import Running, running, settings_of

from features.settings import BUNDLED_SHOPS, Settings
from serving.client import Client
from serving.keys import Keys

SCENARIO = """
from serving.scenarios import Scenario
WORDS = Words("Win back", "唤回")
SCENARIOS = [Scenario(name="win_back", words=WORDS, when="tenure >= 0", due_days=7, actions=("campaign_a",))]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Nothing is built or released: a journey can be begun before the first model is, and in the first week
    of the shop's policy."""
    folder = tmp_path_factory.mktemp("sandbox")
    shutil.copytree(BUNDLED_SHOPS / "complete_journey", folder / "shop")
    declared = folder / "shop" / "shop.toml"
    declared.write_text(
        declared.read_text("utf-8").replace("from = 2017-01-01", "from = 2017-12-01"), "utf-8"
    )
    with (folder / "shop" / "shop.py").open("a", encoding="utf-8") as file:
        file.write(SCENARIO)
    return replace(settings_of(folder / "home"), shop=folder / "shop")


@pytest.fixture(scope="module")
def key(home: Settings) -> str:
    secret, _ = Keys(home).add("builder", ["admin"], test=True)
    return secret


@pytest.fixture(scope="module")
def key_of_jobs(home: Settings) -> str:
    """Of another builder."""
    secret, _ = Keys(home).add("jobs", ["score"], test=True)
    return secret


@pytest.fixture(scope="module")
def service(home: Settings, key: str, key_of_jobs: str) -> Iterator[Running]:
    with running(home, watched=True) as service:
        service.client.headers["authorization"] = f"Bearer {key}"
        yield service


@pytest.fixture(scope="module")
def client(service: Running, key: str) -> Iterator[Client]:
    with Client(str(service.client.base_url), key, tries=1) as client:
        yield client


def visit(customer: str) -> dict[str, Any]:
    """An event of that customer's."""
    return {
        "type": "visit", "source": "web", "id": f"of {customer}", "customer": customer, "channel": "web",
        "at": "2017-12-01T00:00:00Z",
    }  # fmt: skip
