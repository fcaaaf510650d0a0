"""Trees fitted on a Dask cluster, by lightgbm.dask: each worker holds some customers' rows, and all grow the
same trees from their added histograms.

Rows are spread by customer, since a worker's bins are made of what lies there: spread by moment, they would
be those of one season. The sums are added in another order than here, so trees differ in their last digits and,
where two splits are nearly as good, in the split; and with the number of workers.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np

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
_OURS_ALONE = ("num_threads",)  # a worker uses all of its own
# Of a booster's text: who took part is no property of the model, and addresses are nobody's business.
_WHO = re.compile(r"^\[(machines|machine_list_filename|local_listen_port|num_machines|time_out): .*\]\n", re.M)


class Cluster:
    """A Dask cluster that trees are fitted on, one booster at a time: two would wait for each other's workers."""

    def __init__(self, client: Any) -> None:
        self._client, self._lock = client, Lock()
        self.workers: tuple[str, ...] = tuple(sorted(client.scheduler_info(n_workers=-1)["workers"]))

    def boosted(
        self,
        part: "Part",
        names: Sequence[str],
        parameters: Mapping[str, Any],
        rounds: int,
        start: np.ndarray | None = None,
    ) -> Any:
        """A LightGBM booster, as `candidates.boosted` gives. TrainingError if a worker fails."""
        import dask.array
        from lightgbm.dask import DaskLGBMClassifier

        given = {_NAMES.get(name, name): value for name, value in parameters.items() if name not in _OURS_ALONE}
        with self._lock, self._client.as_current(), warnings.catch_warnings():
            # It is lightgbm.dask that gives it, and that ignores it.
            warnings.filterwarnings("ignore", "Parameter n_jobs will be ignored", UserWarning)
            columns: dict[str, list[Any]] = {"X": [], "y": []} | ({} if start is None else {"init_score": []})
            for place, worker in enumerate(self.workers):
                here = part.customer % len(self.workers) == place
                sent = {"X": part.matrix[here], "y": part.label[here].astype(np.float32)}
                if start is not None:
                    sent["init_score"] = start[here]
                for name, rows in sent.items():
                    there = self._client.scatter(rows, workers=[worker], hash=False)
                    columns[name].append(dask.array.from_delayed(_as_delayed(there), rows.shape, rows.dtype))
            whole = {name: dask.array.concatenate(parts) for name, parts in columns.items()}
            model = DaskLGBMClassifier(client=self._client, n_estimators=rounds, **given)
            try:
                model.fit(**whole, feature_name=list(names))
            except lightgbm.basic.LightGBMError as error:
                raise TrainingError(f"LightGBM failed on the Dask cluster: {error}") from error
        return lightgbm.Booster(model_str=_WHO.sub("", model.booster_.model_to_string()))


def _as_delayed(future: Any) -> Any:
    from dask import delayed

    return delayed(future)


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
    with ExitStack() as stack:
        if scheduler == LOCAL:
            # No pages to be looked at, and nothing that another machine could reach.
            quiet = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
            stack.enter_context(dask.config.set(quiet))
            here = LocalCluster(
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # else it takes, and may miss, 8787
            )
            scheduler = stack.enter_context(here).scheduler_address
        try:
            client = stack.enter_context(Client(scheduler, timeout=SECONDS, set_as_default=False))
            client.wait_for_workers(1, timeout=SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            raise SettingsError(
                f"no Dask cluster with a worker answers at {scheduler}: start `dask scheduler` and "
                f"`dask worker`, or leave the address out for one of this machine ({error})"
            ) from None
        yield Cluster(client)
