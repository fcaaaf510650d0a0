"""The page for Kubernetes names what there is: a manifest with a probe that answers 404 restarts for ever."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from features import settings
from propensity import main
from serving import api, arrow

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
    given |= {one["name"] for m in manifests for env in _all(m, "env") for one in env}
    given = {name for name in given if name.isupper()}
    read = set(re.findall(r"PROPENSITY_[A-Z_]+", Path(settings.__file__).read_text("utf-8")))
    assert len(given) > 6
    assert given <= read


def test_every_path_is_one_that_we_answer(manifests: list[dict[str, Any]]) -> None:
    probes = {probe["path"] for m in manifests for probe in _all(m, "httpGet")}
    assert probes <= {path for path, methods in api.ROUTES.items() if methods.get("GET", "") is None}
    paths = [path for m in manifests for paths in _all(m, "paths") for path in paths]
    routed = {path["path"] for path in paths if path["pathType"] == "Prefix"}
    exact = {path["path"] for path in paths if path["pathType"] == "Exact"}
    assert all(any(route.startswith(path) for route in api.ROUTES) for path in routed)
    open_to_all = {path for path, methods in api.ROUTES.items() if None in methods.values()}
    assert not any(route.startswith(path) for path in routed for route in open_to_all), "metrics stay inside"
    assert exact == {"/", "/openapi.json"}


def test_every_secret_of_the_page_is_a_secret_there(manifests: list[dict[str, Any]]) -> None:
    """Whoever may read a ConfigMap would have the ledger's password."""
    secret = {name for one in manifests if one["kind"] == "Secret" for name in one.get("stringData", ())}
    assert {"PROPENSITY_API_KEYS", "PROPENSITY_ONLINE", "PROPENSITY_LEDGER"} <= secret
    for one in manifests:
        if one["kind"] == "ConfigMap":
            assert secret.isdisjoint(one["data"])
            assert not any("password" in value or "change-me" in value for value in one["data"].values())


def test_what_only_the_writer_takes_is_routed_to_it(manifests: list[dict[str, Any]]) -> None:
    """Else the first opt-out of production is answered 503 by a host that cannot keep it."""
    paths = [path for m in manifests for paths in _all(m, "paths") for path in paths]

    def leads(route: str) -> str:
        there = [p for p in paths if p["pathType"] == "Prefix" and route.startswith(p["path"])]
        name: str = max(there, key=lambda p: len(p["path"]))["backend"]["service"]["name"]
        return name

    for route, where in (
        ("/v1/events", "writer"), ("/v1/outcomes", "writer"), ("/v1/customers/662", "writer"),
        ("/v1/jobs/1", "writer"), ("/v1/changes", "writer"), ("/v1/decisions", "scorer"),
        ("/v1/scores", "scorer"), ("/v1/scores.arrow", "scorer"), ("/v1/deliveries", "scorer"),
    ):  # fmt: skip
        assert leads(route) == f"propensity-{where}", route
    (size,) = (value for m in manifests for value in _all(m, "nginx.ingress.kubernetes.io/proxy-body-size"))
    assert size == f"{arrow.MAX_BODY >> 20}m"


def test_every_container_is_as_safe_and_as_watched_as_the_others(manifests: list[dict[str, Any]]) -> None:
    """Else the one pod that must not be lost is the one that nobody restarts."""
    containers = [one for m in manifests for of in _all(m, "containers") for one in of]
    assert len(containers) == 2
    for one in containers:
        assert one["securityContext"] == {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}
        assert {"readinessProbe", "livenessProbe", "resources"} <= set(one)
        assert "/tmp" in {mount["mountPath"] for mount in one["volumeMounts"]}


def test_the_night_is_whole_and_every_command_of_it_is_one(manifests: list[dict[str, Any]]) -> None:
    """A misspelt option ends every night before the morning page, and nobody is awake."""
    (night,) = (m["data"]["night.sh"] for m in manifests if "night.sh" in m.get("data", ()))
    subprocess.run(["sh", "-n"], input=night, text=True, check=True)
    told = re.findall(r"propensity (.+)", night)
    for line in told:
        command, words = main, shlex.split(line)
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        command.make_context(command.name, words).close()
    wanted = ("ingest", "ledger export", "features build", "due", "pushes run", "pushes send", "export")
    assert [line.split(" /")[0].split(" --")[0] for line in told] == [*wanted, "monitor run", "today"]
