"""The main job on a real purchase log: from raw files to answers over HTTP, with what to type next."""

from __future__ import annotations

import os
import resource
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pyarrow.parquet as pq

from features.compute.builds import Build
from features.errors import PropensityError
from features.moments import iso, parse_moment
from features.settings import BUNDLED_SHOPS, Settings
from propensity import decided, steps, tables
from serving import releases

TODAY = parse_moment("2017-12-31")  # the last Sunday of the log: 28 days before it, churn can be judged
READY_SECONDS = 60  # a generous bound: on two cores the service is ready in a few


def run(quick: bool = False) -> None:
    """Ingest, build, train, release, serve, ask, decide, watch. State in PROPENSITY_HOME; safe to repeat."""
    started = time.monotonic()
    settings = replace(Settings.from_env(), shop=BUNDLED_SHOPS / "complete_journey", as_of=TODAY)

    _step(
        "1/7 Ingest", "the Complete Journey purchase log, 2,469 households, the year 2017; and its holidays"
    )
    from features.ingestion.ingest import ingest

    with tables.progress_bar("Ingesting") as progress:
        done = ingest(settings, progress=progress)
    tables.show_ingested(done, dry_run=False)

    _step("2/7 Features", f"as of every week, the last {iso(TODAY)}, which is 'today' here")
    with tables.progress_bar("Building features") as progress:
        tables.say(steps.build_features(settings, None, 7, True, False, progress).text)

    _step("3/7 Train", "on what was known by then, judged on the time after")
    with tables.progress_bar("Training") as progress:
        trained = steps.train_targets(settings, ("churn_28d",) if quick else (), seed=1, progress=progress)
    for one in trained:
        tables.show_trained(one)

    _step("4/7 Release", "to the service, and score everyone")
    for one in trained:
        _release(settings, one.card.name, one.version)
    for name in () if quick else ("value", "segmentation"):  # the one reads what the other expects
        with tables.progress_bar("Training") as progress:
            (one,) = steps.train_targets(settings, (name,), seed=1, progress=progress)
        tables.say(one.verdict.en)
        _release(settings, name, one.version)

    key = secrets.token_urlsafe(24)
    port = _free_port()
    _step("5/7 Serve", f"on http://127.0.0.1:{port}, for callers with a key")
    with serving(settings, port, key) as client:
        _step("6/7 Ask", "five customers' scores, and a stranger's: POST /v1/scores")
        ids = _five(settings)
        known_elsewhere = {"source": "complete_journey", "id": ids[4]}
        body = {"customers": [*ids[:4], known_elsewhere, "nobody"], "reasons": 2}
        answer = _asked(client.post("/v1/scores", json=body))
        tables.show_scores(answer)
        if not quick:
            tables.show_customer(_asked(client.get(f"/v1/customers/{ids[3]}")))
        _step("7/7 Decide", f"what to do for customer {ids[3]}, if anything: POST /v1/decisions")
        # The same key while models and features are the same: the demo repeated gives the same decision.
        version = releases.current(settings, "churn_28d")
        once = {"Idempotency-Key": f"demo-{Build.open(settings).id}-{version}-{ids[3]}"}
        decision = _asked(client.post("/v1/decisions", json={"customer": ids[3]}, headers=once))
        decided.show_decision(decision, as_json=False)

    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = sum(resource.getrusage(one).ru_maxrss for one in who) / 2**20  # KB; each one's own peak
    tables.say(f"\nDone in {time.monotonic() - started:.0f} s; peak memory below {peak:.1f} GB.")
    tables.say(NEXT.format(home=settings.home, customer=ids[3], decision=decision["decision_id"]))


NEXT = """
What to type next (state is in {home}):
  export PATH=$PWD/.venv/bin:$PATH PROPENSITY_AS_OF=2017-12-31      # "today", for a log of the past
  propensity features list                                          # what is known about a customer
  propensity score --release churn_28d --out churn.parquet          # everyone's score, in a file
  propensity models card churn_28d                                  # what the model is, on one page
  propensity decide {customer} --preview                                  # a decision that leaves no trace
  propensity replay {decision}
  propensity monitor run                                            # does the model still hold?

The service, for you to call:
  export KEY=$(openssl rand -hex 16); PROPENSITY_API_KEYS=me:$KEY propensity serve &
  curl localhost:3000/v1/scores -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\
       -d '{{"customers": ["{customer}"]}}'
"""


def _release(settings: Settings, name: str, version: str) -> None:
    said = steps.promote_target(settings, name, version, False)
    tables.say(said.partition("\n")[0])  # its verdict was told before


def _step(name: str, what: str) -> None:
    tables.console().print(f"\n[bold cyan]{name}[/bold cyan]  {what}")


@contextmanager
def serving(settings: Settings, port: int, key: str) -> Iterator[httpx.Client]:
    """The real service in a process of its own, for a client that holds the key; stopped at the end."""
    environment = os.environ | {
        "PROPENSITY_HOME": str(settings.home),
        "PROPENSITY_SHOP": str(settings.shop),
        "PROPENSITY_AS_OF": iso(settings.now()),
        "PROPENSITY_API_KEYS": f"demo:{key}",
        "PROPENSITY_PORT": str(port),
        "PROPENSITY_HOST": "127.0.0.1",
    }
    log = settings.home / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "propensity", "serve"], env=environment, stdout=file, stderr=file
        )
    try:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30) as client:
            waited = _wait(client, process)
            tables.say(f"ready after {waited:.1f} s (its log: {log})")
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(client: httpx.Client, process: subprocess.Popen[bytes]) -> float:
    """Seconds until the service could answer."""
    started = time.monotonic()
    reason = "it did not listen"
    while (waited := time.monotonic() - started) < READY_SECONDS and process.poll() is None:
        try:
            response = client.get("/readyz")
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if response.status_code == 200:
            return waited
        reason = response.text
        time.sleep(0.05)
    raise PropensityError(
        f"the service is not ready after {waited:.0f} s: {reason}. See serve.log beside the state"
    )


def _asked(response: httpx.Response) -> dict[str, Any]:
    """The answer; an error of the service is an error of the demo."""
    if response.status_code != 200:
        raise PropensityError(f"{response.request.url.path} answered {response.status_code}: {response.text}")
    answer: dict[str, Any] = response.json()
    return answer


def _five(settings: Settings) -> list[str]:
    """Five customers across the range of churn scores, most at risk last."""
    version = releases.current(settings, "churn_28d")
    folder = settings.home / "scores" / "churn_28d" / version
    path = max(folder.glob("*.parquet"))
    scores = pq.read_table(path).drop_null()  # those outside the population have no score
    scores = scores.sort_by([("probability", "ascending"), ("customer_id", "ascending")])
    places = [int(share * (len(scores) - 1)) for share in (0.02, 0.3, 0.6, 0.8, 0.97)]
    ids: list[str] = scores["customer_id"].take(places).to_pylist()
    return ids


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
