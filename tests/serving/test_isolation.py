"""What the process that serves has loaded, read from a process that served."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from running import KEY, release, running, settings_of, small_build
from tiny import TINY_MOMENT

from features import online
from serving import batch
from serving.client import Client

# Each costs seconds of start, or is a part of the product that must not be able to change what is served.
FORBIDDEN = {
    "feast", "mlflow", "evidently", "sklearn", "pandas", "scipy", "lightgbm", "duckdb", "matplotlib",
    "training", "monitoring", "propensity",
}  # fmt: skip


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Top-level modules of a service that answered scores, also in bulk, decisions, models, metrics and
    BentoML's page."""
    folder = tmp_path_factory.mktemp("isolation")
    settings = settings_of(folder / "home")
    build = small_build(settings)
    online.publish(settings, build, TINY_MOMENT)
    batch.score(settings, release(settings, folder, build, "churn_28d"), build, TINY_MOMENT)
    with running(settings) as service:
        assert service.scores("c0001").json()["results"][0]["scores"]
        body, headers = {"customer": "c0001"}, {"idempotency-key": "1"}
        decided = service.client.post("/v1/decisions", json=body, headers=headers)
        assert decided.status_code == 200
        with Client(str(service.client.base_url), KEY) as client:
            assert len(client.scores_arrow(["c0001"] * 40)) == 40
            job = client.ask_job(["c0001"])
            assert job.status == "waiting"
            assert client.changes().changes
        for path in ("/v1/models", "/metrics", "/readyz"):
            assert service.client.get(path).status_code == 200
        assert service.stop() == 0
        line = next(line for line in service.log.splitlines() if line.startswith("IMPORTED"))
    return {name.split(".")[0] for name in line.split()[1:]}


def test_the_serving_process_loads_nothing_that_it_must_not(imported: set[str]) -> None:
    assert "bentoml" in imported
    assert "serving" in imported
    assert imported & FORBIDDEN == set()


def test_only_service_py_opens_the_door_to_bentoml() -> None:
    """Whoever replaces BentoML changes one module."""
    modules = (Path(__file__).parents[2] / "serving").glob("*.py")
    door = re.compile(r"^\s*(import|from) _?bentoml", re.MULTILINE)
    assert [path.name for path in modules if door.search(path.read_text("utf-8"))] == ["service.py"]


def test_bentomls_telemetry_is_off_even_where_its_own_command_loads_us() -> None:
    """`bentoml serve` asks whether it may call home, and remembers the answer, before our code is there."""
    code = (
        "from bentoml._internal.utils.analytics import usage_stats;"
        "before = usage_stats.do_not_track();"
        "import serving.service;"
        "print(before, usage_stats.do_not_track())"
    )
    clean = {k: v for k, v in os.environ.items() if k not in ("BENTOML_DO_NOT_TRACK", "DO_NOT_TRACK")}
    told = subprocess.check_output([sys.executable, "-c", code], env=clean, text=True)
    assert told.split() == ["False", "True"]
