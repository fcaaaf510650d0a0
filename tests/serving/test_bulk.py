"""Many customers at once, from a real service: Arrow over HTTP, jobs, and what changed."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from running import KEY, LONG, Running, running, until
from two_days import CAME, PEOPLE, SECOND, WENT, publish, two_days

from features.files import locked, write_atomically
from features.settings import Settings
from serving import jobs
from serving.client import Client, ProblemError
from serving.problems import encode

ARROW = {"content-type": "application/vnd.apache.arrow.stream"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings, build = two_days(tmp_path_factory.mktemp("bulk"))
    publish(settings, build, SECOND)
    return settings


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[Running]:
    with running(settings, watched=True) as service:
        yield service


@pytest.fixture
def client(service: Running) -> Iterator[Client]:
    with Client(str(service.client.base_url), KEY) as client:
        yield client


def other(service: Running) -> httpx.Client:
    """Another team's."""
    key = {"authorization": "Bearer another-key-for-tests"}
    return httpx.Client(base_url=service.client.base_url, headers=key)


def stream(table: pa.Table, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def in_json(service: Running, *ids: str) -> list[tuple[str, float | None, float | None, str]]:
    """What `/v1/scores` says of each: id, probability, percentile, status."""
    found = []
    for one in service.scores(*ids, reasons=0).json()["results"]:
        (score,) = one.get("scores", [one])
        error = score.get("error")
        found.append(
            (one["customer_id"], score.get("probability"), score.get("percentile"),
             error["code"] if error else "scored")
        )  # fmt: skip
    return found


def in_columns(table: pa.Table) -> list[tuple[str, float | None, float | None, str]]:
    names = ("customer_id", "churn_28d_probability", "churn_28d_percentile", "churn_28d_status")
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def done(client: Client, job_id: str) -> Any:
    """What it says once it has ended. Its process stands behind every other of this machine."""
    until(lambda: client.job(job_id).status in ("done", "failed"), 5 * LONG)
    return client.job(job_id)


def test_columns_say_what_json_says_to_the_last_bit_in_the_order_asked(
    service: Running, client: Client
) -> None:
    """Else a campaign that is planned in bulk acts on other scores than the journey that sends it."""
    ids = [*PEOPLE[:200], "nobody", PEOPLE[0], WENT, CAME]
    table = client.scores_arrow(ids)
    assert in_columns(table) == in_json(service, *ids)
    assert table["known_at"].null_count == 3, "nobody, and who went, asked about twice"
    about = json.loads(table.schema.metadata[b"propensity"])
    assert about["models"] == {"churn_28d": "1"}
    many = [PEOPLE[place % 300] for place in range(10_000)]
    answers = dict(zip(PEOPLE, in_columns(client.scores_arrow(PEOPLE, ["churn_28d"])), strict=True))
    assert in_columns(client.scores_arrow(many)) == [answers[id] for id in many], "whatever the lot"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_arrow"),
        (b"no stream", 400, "malformed_arrow"),
        (stream(pa.table({"customer_id": ["a"]}))[:-40], 400, "malformed_arrow"),
        (stream(pa.table({"id": ["a"]})), 422, "invalid_request"),
        (stream(pa.table({"customer_id": [1]})), 422, "invalid_request"),
        (stream(pa.table({"customer_id": pa.array([], pa.string())})), 422, "invalid_request"),
        (stream(pa.table({"customer_id": ["a", None]})), 422, "invalid_request"),
        (stream(pa.table({"customer_id": ["x" * 257]})), 422, "invalid_request"),
        (stream(pa.table({"customer_id": ["a"] * 100_001})), 422, "invalid_request"),
        # A few kB that would be 20 MB: who may ask for scores may not fill the memory.
        (stream(pa.table({"customer_id": ["a" * 200] * 100_000}), "zstd"), 422, "invalid_request"),
    ],
)  # fmt: skip
def test_what_is_no_column_of_ids_is_refused_in_words(
    service: Running, body: bytes, status: int, code: str
) -> None:
    answer = service.client.post("/v1/scores.arrow", content=body, headers=ARROW)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_what_an_arrow_question_is_not_is_said(service: Running) -> None:
    body = stream(pa.table({"customer_id": [PEOPLE[0]]}))
    typed = service.client.post("/v1/scores.arrow", json={"customers": ["a"]})
    assert (typed.status_code, typed.json()["code"]) == (415, "unsupported_media_type")
    unknown = service.client.post("/v1/scores.arrow?targets=dreams", content=body, headers=ARROW)
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_target")
    more = service.client.post("/v1/scores.arrow?reasons=3", content=body, headers=ARROW)
    assert more.status_code == 422


def test_a_job_scores_everyone_beside_the_service(service: Running, client: Client, tmp_path: Path) -> None:
    """Else whoever needs everybody asks a hundred times and puts it together."""
    asked = client.ask_job(reasons=2, idempotency_key="night")
    assert (asked.status, asked.customers) == ("waiting", None)
    assert client.ask_job(reasons=2, idempotency_key="night").job_id == asked.job_id
    headers = {"idempotency-key": "night", "content-type": "application/json"}
    otherwise = service.client.post(
        "/v1/jobs", content=b'{ "reasons": 2, "kind": "scores" }', headers=headers
    )
    assert otherwise.json()["job_id"] == asked.job_id, "another client's JSON of the same request"
    with pytest.raises(ProblemError, match="409 idempotency_conflict"):
        client.ask_job(reasons=1, idempotency_key="night")
    answer = done(client, asked.job_id)
    assert (answer.status, answer.customers, answer.done, answer.error) == ("done", 300, 300, None)
    client.job_result(asked.job_id, tmp_path / "result.parquet")
    table = pq.read_table(tmp_path / "result.parquet")
    assert in_columns(table) == in_json(service, *sorted({*PEOPLE, CAME} - {WENT}))
    (first,) = service.scores(PEOPLE[0], reasons=2).json()["results"][0]["scores"]
    for told, said in zip(table["churn_28d_reasons"][0].as_py(), first["reasons"], strict=True):
        assert (told["feature"], told["contribution"], told["en"]) == (
            said["feature"], said["contribution"], said["text"]["en"],
        )  # fmt: skip
    path = f"/v1/jobs/{asked.job_id}/result"
    arrow = service.client.get(path, headers={"accept": ARROW["content-type"]})
    with pa.ipc.open_stream(arrow.content) as same:
        assert same.read_all().equals(table)
    assert service.client.get(path, headers={"accept": "text/html"}).status_code == 406
    assert client.delete_job(asked.job_id).status == "deleted"
    assert service.client.get(path).status_code == 404
    another = client.ask_job(PEOPLE[:2], idempotency_key="night")
    assert (another.status, another.customers) == ("waiting", 2), "a key is kept as long as its job"
    client.delete_job(another.job_id)


def test_a_job_is_its_clients_alone_and_names_whom_it_was_asked_for(
    service: Running, client: Client, settings: Settings
) -> None:
    """Else a team reads another's customers by guessing, or learns what it works on."""
    ids = [PEOPLE[5], "nobody", PEOPLE[4]]
    job = client.ask_job(ids, ["churn_28d"]).job_id
    with other(service) as stranger:
        for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
            answer = stranger.request(method, f"/v1/jobs/{job}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job")
    assert done(client, job).status == "done"
    assert not (settings.home / "jobs" / job / "customers.parquet").exists(), "kept no longer than needed"
    raw = service.client.get(f"/v1/jobs/{job}/result").content
    assert in_columns(pq.read_table(pa.BufferReader(raw))) == in_json(service, *ids)
    client.delete_job(job)
    wrong = service.client.post("/v1/jobs", json={"kind": "scores", "targets": ["dreams"]})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "unknown_target")


def test_a_client_has_so_many_jobs_and_no_more(service: Running, client: Client) -> None:
    """Else one careless loop fills the disk for everybody."""
    made = [client.ask_job([PEOPLE[0]]).job_id for _ in range(jobs.MOST_JOBS)]
    more = service.client.post("/v1/jobs", json={"kind": "scores"})
    assert (more.status_code, more.json()["code"]) == (429, "too_many_jobs")
    assert int(more.headers["retry-after"]) > 0
    with other(service) as another:
        theirs = another.post("/v1/jobs", json={"kind": "scores", "customers": [PEOPLE[0]]}).json()["job_id"]
        assert another.delete(f"/v1/jobs/{theirs}").status_code == 200
    for job in made:
        client.delete_job(job)
    assert client.delete_job(client.ask_job([PEOPLE[0]]).job_id).status == "deleted"


def test_a_job_outlives_the_service_and_the_process_that_does_it(tmp_path: Path) -> None:
    """Else a deployment at night loses what was asked for, and the morning's campaign has no list."""
    settings, build = two_days(tmp_path)
    publish(settings, build, SECOND)
    with running(settings) as service, Client(str(service.client.base_url), KEY) as client:
        job = client.ask_job(PEOPLE[:50]).job_id
        service.process.send_signal(signal.SIGKILL)
        service.process.wait(LONG)
        service.process.returncode = 0  # as meant
    with running(settings) as service, Client(str(service.client.base_url), KEY) as client:
        assert done(client, job).status == "done"
        kept = settings.home / "jobs"
        for attempts, status in ((1, "done"), (jobs.ATTEMPTS, "failed")):
            # As a process leaves it that dies at work.
            again = client.ask_job(PEOPLE[:50], idempotency_key=f"again-{attempts}").job_id
            done(client, again)
            jobs._write_customers(kept / again, PEOPLE[:50])
            state = {"status": "running", "customers": 50, "attempts": attempts}
            write_atomically(kept / again / "state.json", encode(state))  # who did it may still look around
            client.ask_job([PEOPLE[0]])  # which wakes it
            answer = done(client, again)
            assert answer.status == status
        assert answer.error is not None
        assert answer.error.code == "interrupted"
        with pytest.raises(ProblemError, match="409 job_failed"):
            client.job_result(again, tmp_path / "none")


def test_what_waits_too_long_is_deleted_and_says_so_before(service: Running, settings: Settings) -> None:
    job = service.client.post("/v1/jobs", json={"kind": "scores", "customers": [PEOPLE[0]]}).json()
    path = settings.home / "jobs" / job["job_id"] / "job.json"
    told = json.loads(path.read_text())
    assert told["expires_at"] > told["made_at"]
    write_atomically(path, encode(told | {"expires_at": "2020-01-01T00:00:00Z"}))  # others read it meanwhile
    assert service.client.get(f"/v1/jobs/{job['job_id']}").status_code == 404
    jobs.sweep(settings)
    assert not path.exists()


def test_what_a_process_left_that_ended_while_it_deleted_is_not_kept_for_ever(settings: Settings) -> None:
    """Else whom a campaign was about stays on the disk, where no client can see or delete it."""
    half, state, fresh = (settings.home / "jobs" / name for name in (".half", "f" * 32, ".new"))
    for folder in (half, state, fresh):
        folder.mkdir(parents=True)
    jobs._write_customers(half, PEOPLE[:3])
    (state / "state.json").write_bytes(encode(jobs.State()))
    for folder in (half, state):
        os.utime(folder, (0, 0))
    jobs.sweep(settings)
    assert [folder.exists() for folder in (half, state, fresh)] == [False, False, True]
    fresh.rmdir()


def test_who_is_erased_is_in_no_result(settings: Settings, tmp_path: Path) -> None:
    """Else a forgotten customer lives on in a file that is still fetched the next day."""
    from features.ingestion import erasure, removal
    from features.tombstones import Tombstones
    from serving.job_worker import work

    settings, build = two_days(tmp_path)
    publish(settings, build, SECOND)
    request = jobs.JobRequest("scores", PEOPLE[:5])
    job = jobs.submit(settings, request, "tests", None, "0" * 32).job_id
    waiting = jobs.submit(settings, request, "tests", None, "1" * 32).job_id
    everything = jobs.everything(settings)
    assert [one.id for one, _ in everything] == [job, waiting]
    Tombstones.of(settings).having({PEOPLE[1]}).write()
    removal.without(settings.home / "jobs" / waiting / "customers.parquet", Tombstones.of(settings))
    work(settings)  # of the first it knows by the tombstone alone
    for id in (job, waiting):
        table = pq.read_table(jobs.result(settings, "tests", id))
        assert table["customer_id"].to_pylist() == [PEOPLE[0], *PEOPLE[2:5]]
    Tombstones.of(settings).having({PEOPLE[2]}).write()
    erasure.obey(settings, Tombstones.of(settings), lambda *_: None)
    for id in (job, waiting):
        table = pq.read_table(jobs.result(settings, "tests", id))
        assert table["customer_id"].to_pylist() == [PEOPLE[0], *PEOPLE[3:5]]


def test_a_job_delays_no_decision(service: Running, client: Client, settings: Settings) -> None:
    """The work is in another process, behind every other: `nice` says so."""

    def behind() -> bool:
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ProcessLookupError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                ours = parent == service.process.pid
                if ours and b"serving.job_worker" in (folder / "cmdline").read_bytes():
                    return os.getpriority(os.PRIO_PROCESS, int(folder.name)) >= 10
        return False

    with locked(settings.home / "jobs" / ".lock"):  # it waits for its turn, until we have seen it
        job = client.ask_job(reasons=3).job_id
        until(behind)
        assert client.job(job).status == "waiting", "or another process did it"
    assert done(client, job).status == "done"
    client.delete_job(job)


def test_a_job_whose_file_is_damaged_is_in_nobodys_way(tmp_path: Path) -> None:
    """Else a file that a crash spoilt ends every job of every client, until somebody finds it."""
    settings, asked = Settings(home=tmp_path), jobs.JobRequest("scores")
    spoilt, whole = (jobs.submit(settings, asked, "tests", key, "0" * 32) for key in ("1", "2"))
    (jobs.folder_of(settings, spoilt.job_id) / "state.json").write_bytes(b"\xff\xfe")
    assert [job.id for job, _ in jobs.everything(settings)] == [whole.job_id]
    again = jobs.submit(settings, asked, "tests", "1", "0" * 32)
    assert jobs.look(settings, "tests", again.job_id, "0" * 32).status == "waiting"
