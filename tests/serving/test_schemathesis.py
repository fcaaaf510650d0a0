"""The API's document against the real service: what fits it or does not has a documented answer."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import CUSTOMERS, KEY, LONG, Running, release, running, settings_of, small_build
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from tiny import TINY_MOMENT

from features import online
from serving import batch
from serving.arrow import STREAM
from serving.openapi import OPERATIONS, document

SCHEMA = schemathesis.openapi.from_dict(document())


@schemathesis.serializer(STREAM.decode())
def _as_it_is(_: Any, body: Any) -> Any:
    return body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogatepass")


def _stream(ids: list[str | None]) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"customer_id": pa.array(ids, pa.string())})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


_IDS = st.lists(st.none() | st.sampled_from(CUSTOMERS) | st.text(max_size=300), max_size=50).map(
    lambda ids: [id and id.encode("utf-8", "ignore").decode() for id in ids]
)
_STREAMS = _IDS.map(_stream)
_BROKEN = st.tuples(_STREAMS, st.integers(0, 2000), st.binary(max_size=8)).map(
    lambda of: of[0][: of[1]] + of[2] + of[0][of[1] + len(of[2]) :]
)
schemathesis.openapi.media_type(STREAM.decode(), _STREAMS | _BROKEN | st.binary())

# A list answers 200, with an entry for each that does not fit. And what fits may name a target or an action
# that is not there, lack the key that only decisions which leave a trace need, or be no cursor of ours, or no
# stream: a schema cannot say so.
EXCLUDED = {
    ("/v1/deliveries", GenerationMode.NEGATIVE): [negative_data_rejection],
    ("/v1/outcomes", GenerationMode.NEGATIVE): [negative_data_rejection],
    ("/v1/events", GenerationMode.NEGATIVE): [negative_data_rejection],
    ("/v1/scores", GenerationMode.POSITIVE): [positive_data_acceptance],
    ("/v1/decisions", GenerationMode.POSITIVE): [positive_data_acceptance],
    ("/v1/scores.arrow", GenerationMode.POSITIVE): [positive_data_acceptance],
    ("/v1/scores.arrow", GenerationMode.NEGATIVE): [negative_data_rejection],
    ("/v1/jobs", GenerationMode.POSITIVE): [positive_data_acceptance],
    ("/v1/changes", GenerationMode.POSITIVE): [positive_data_acceptance],
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("schemathesis")
    of = settings_of(folder / "home")
    build = small_build(of)
    online.publish(of, build, TINY_MOMENT)
    batch.score(of, release(of, folder, build, "churn_28d"), build, TINY_MOMENT)
    with running(of) as service:
        yield service


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_documented_and_none_is_a_fault(
    service: Running, path: str, method: str, mode: GenerationMode
) -> None:
    """Else a generated client meets what it cannot read, or a stranger's bytes stop the service."""
    operation = SCHEMA[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.path_parameters):
        pytest.skip("it takes nothing that could be wrong")
    session, besides = requests.Session(), EXCLUDED.get((path, mode), [])
    quick = settings(
        max_examples=30, suppress_health_check=list(HealthCheck), derandomize=True,
        database=None,
    )  # fmt: skip

    @quick
    @given(case=operation.as_strategy(generation_mode=mode), keyed=st.integers(0, 9))
    def holds(case: Any, keyed: int) -> None:
        headers = {"Authorization": f"Bearer {KEY}"} if keyed else {}
        answer = case.call_and_validate(
            base_url=str(service.client.base_url), headers=headers, session=session, timeout=LONG,
            excluded_checks=besides,
        )  # fmt: skip
        if answer.status_code >= 400:
            said = document()["paths"][path][method]["responses"][str(answer.status_code)]
            assert answer.json()["code"] in said["x-problem-codes"]

    holds()
    assert service.process.poll() is None
