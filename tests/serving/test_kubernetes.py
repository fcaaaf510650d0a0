"""The page for Kubernetes names what there is: a manifest with a probe that answers 404 restarts for ever."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from features import settings
from serving import api

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    text = (ROOT / "serving" / "KUBERNETES.md").read_text("utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    return [*yaml.safe_load_all(block)]


def _all(of: Any, key: str) -> Iterator[Any]:
    if isinstance(of, dict):
        for name, value in of.items():
            if name == key:
                yield value
            yield from _all(value, key)
    elif isinstance(of, list):
        for value in of:
            yield from _all(value, key)


def test_every_variable_is_one_that_we_read(manifests: list[dict[str, Any]]) -> None:
    given = {name for m in manifests for name in (*m.get("data", ()), *m.get("stringData", ()))}
    read = set(re.findall(r"PROPENSITY_[A-Z_]+", Path(settings.__file__).read_text("utf-8")))
    assert len(given) > 6
    assert given <= read


def test_every_path_is_one_that_we_answer(manifests: list[dict[str, Any]]) -> None:
    probes = {probe["path"] for m in manifests for probe in _all(m, "httpGet")}
    assert probes <= {path for path, methods in api.ROUTES.items() if methods.get("GET", "") is None}
    routed = {path["path"] for m in manifests for paths in _all(m, "paths") for path in paths}
    assert all(any(route.startswith(path) for route in api.ROUTES) for path in routed)
    open_to_all = {path for path, methods in api.ROUTES.items() if None in methods.values()}
    assert not any(route.startswith(path) for path in routed for route in open_to_all), "metrics stay inside"


def test_every_secret_of_the_page_is_a_secret_there(manifests: list[dict[str, Any]]) -> None:
    for one in manifests:
        if one["kind"] == "ConfigMap":
            assert not any("password" in value or "key" in value for value in one["data"].values())
