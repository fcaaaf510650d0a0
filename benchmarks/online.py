"""A packed online read against Feast's own online read of the same build, both on SQLite."""

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.measure import figure, journey
from features import engine, online, store
from features.moments import parse_moment


def figures() -> Iterator[dict[str, Any]]:
    """1 and 100 customers, 60 features."""
    with journey() as settings:
        moment = parse_moment("2017-12-31")
        build, _ = engine.build(settings, [moment])
        store.apply(settings, build)
        store.materialize(settings, build, moment)
        online.publish(settings, build, moment)
        rows = online.OnlineRows.open(settings)
        names = list(build.features)[:60]
        everyone = build.read(moment, ["customer_id"])["customer_id"].to_pylist()
        for number in (1, 100):
            ids = everyone[:number]

            def packed(ids: list[str] = ids) -> object:
                return rows.read(rows.current(), ids)

            def feast(ids: list[str] = ids) -> object:
                return store.online_read(settings, build, ids, names)

            times = 20
            yield figure(
                f"online read: {number} customers, 60 features, {times} times",
                _repeat(packed, times),
                "Feast on SQLite",
                _repeat(feast, times),
                goal=None,
                runs=5,
            )


def _repeat(work: Callable[[], object], times: int) -> Callable[[], None]:
    def repeated() -> None:
        for _ in range(times):
            work()

    return repeated
