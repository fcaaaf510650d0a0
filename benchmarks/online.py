"""A packed online read against Feast's own online read of the same build, both on SQLite."""

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.measure import figure, journey
from features import engine, online, store
from features.moments import parse_moment

TIMES = 20  # a figure's reads: one alone is too short to time


def figures() -> Iterator[dict[str, Any]]:
    """1 and 100 customers, 60 features."""
    with journey() as settings:
        moment = parse_moment("2017-12-31")
        build, _ = engine.build(settings, [moment])
        store.apply(settings, build)
        store.materialize(settings, build, moment)
        online.publish(settings, build, moment)
        rows = online.OnlineRows.open(settings)
        names = [f"{store.VIEW}:{name}" for name in list(build.features)[:60]]
        everyone = build.read(moment, ["customer_id"])["customer_id"].to_pylist()
        with store.opened(settings) as feast:
            for number in (1, 100):
                ids = everyone[:number]
                entities = [{"customer_id": id} for id in ids]

                def packed(ids: list[str] = ids) -> object:
                    return rows.read(rows.current(), ids)

                def theirs(entities: list[dict[str, str]] = entities) -> object:
                    return feast.get_online_features(features=names, entity_rows=entities).to_dict()

                yield figure(
                    f"online read of {number} customers, {TIMES} times",
                    _repeat(packed),
                    "Feast's get_online_features(...).to_dict() of 60 features on SQLite",
                    _repeat(theirs),
                    goal=None,
                    runs=5,
                )


def _repeat(work: Callable[[], object]) -> Callable[[], None]:
    def repeated() -> None:
        for _ in range(TIMES):
            work()

    return repeated
