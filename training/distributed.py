"""Trees fitted on a Dask cluster, by lightgbm.dask: each worker holds some customers' rows, and all grow the
same trees from their added histograms.

Rows are spread by customer, since a worker's bins are made of what lies there: spread by moment, they would
be those of one season. Bins, drawn rows and sums are others than here, and others with another number of
workers, so the trees are as good as those of one machine, but not the same.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from features.errors import SettingsError, TrainingError

if TYPE_CHECKING:
    from training.samples import Part

LOCAL = "local"  # a cluster of this machine's cores, for as long as it is needed
SECONDS = 30  # for a scheduler to answer, and to know of a worker
# What lightgbm.dask calls LightGBM's parameters; the others keep their names.
_NAMES = {
    "min_data_in_leaf": "min_child_samples",
    "feature_fraction": "colsample_bytree",
    "bagging_fraction": "subsample",
    "bagging_freq": "subsample_freq",
    "lambda_l2": "reg_lambda",
    "seed": "random_state",
}
# Of a booster's text: who took part is no property of the model, and addresses are nobody's business.
_WHO = re.compile(r"^\[(machines|machine_list_filename|local_listen_port|num_machines|time_out): .*\n", re.M)


class Cluster:
    """A Dask cluster that fits trees, one booster at a time: two would wait for each other's workers."""

    def __init__(self, client: Any) -> None:
        self._client, self._lock = client, Lock()
        self.workers: tuple[str, ...] = tuple(sorted(client.scheduler_info(n_workers=-1)["workers"]))

    def boosted(
        self,
        part: "Part",
        names: Sequence[str],
        parameters: Mapping[str, Any],
        rounds: int,
        start: NDArray[np.float64] | None = None,
    ) -> Any:
        """A LightGBM booster, as `candidates.boosted` gives. TrainingError if LightGBM fails on a worker."""
        from dask.array import concatenate, from_delayed
        from dask.delayed import delayed
        from lightgbm.dask import DaskLGBMClassifier

        columns: dict[str, list[Any]] = {}
        with self._lock, self._client.as_current():
            for place, worker in enumerate(self.workers):
                here = part.customer % len(self.workers) == place
                sent = {"X": part.matrix[here], "y": part.label[here].astype(np.float32)}
                if start is not None:
                    sent["init_score"] = start[here]
                for name, rows in sent.items():
                    there = delayed(self._client.scatter(rows, workers=[worker], hash=False))
                    array = from_delayed(there, rows.shape, rows.dtype)  # type: ignore[no-untyped-call]
                    columns.setdefault(name, []).append(array)
            whole = {
                name: concatenate(arrays)  # type: ignore[no-untyped-call]
                for name, arrays in columns.items()
            }
            given = {_NAMES.get(name, name): value for name, value in parameters.items()}
            model = DaskLGBMClassifier(client=self._client, n_estimators=rounds, **given)
            try:
                model.fit(**whole, feature_name=list(names))
            except lightgbm.basic.LightGBMError as error:
                raise TrainingError(f"LightGBM failed on the Dask cluster: {error}") from error
        return lightgbm.Booster(model_str=_WHO.sub("", model.booster_.model_to_string()))


@contextmanager
def cluster(scheduler: str) -> Iterator[Cluster]:
    """The cluster of a scheduler (tcp://host:8786), or LOCAL: one of this machine's cores, on loopback.

    SettingsError if Dask is not installed, or if there is no scheduler, or one without workers.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise SettingsError(
            "Dask is not installed, so nothing can be distributed: `pip install 'propensity[dask]'`"
        ) from None
    address = scheduler
    with ExitStack() as stack:
        if scheduler == LOCAL:
            # No pages to be looked at, and nothing that another machine could reach.
            none: dict[str, list[str]] = {"distributed.scheduler.http.routes": []}
            stack.enter_context(dask.config.set(none | {"distributed.worker.http.routes": []}))
            here = LocalCluster(  # type: ignore[no-untyped-call]
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # else it takes, and may miss, 8787
            )
            address = stack.enter_context(here).scheduler_address
        try:
            client = Client(address, timeout=SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
            stack.enter_context(client)
            client.wait_for_workers(1, timeout=SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            raise SettingsError(
                f"no Dask cluster with a worker answers at {address}: start `dask scheduler` and "
                f"`dask worker`, or leave the address out for one of this machine ({error})"
            ) from None
        log = logging.getLogger("lightgbm")  # else it prints which ports it found
        log.addFilter(_worth_telling)
        lightgbm.register_logger(log)
        if scheduler == LOCAL:
            client.run(_mute)
        yield Cluster(client)


def _mute() -> None:
    """LightGBM's threads print that they listen, whatever its verbosity; here, on our own output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _worth_telling(record: logging.LogRecord) -> bool:
    """lightgbm.dask warns of a parameter that it gave itself: a worker uses all of its threads."""
    return "will be ignored" not in record.getMessage()
