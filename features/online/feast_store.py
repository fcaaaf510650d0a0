"""The packed rows as an online store of Feast's, so that any Feast client reads what our service serves.

In a `feature_store.yaml`, beside the registry of the home (`feast/registry.db`):

    online_store:
      type: features.online.feast_store.PackedOnlineStore
      home: /srv/propensity        # default: PROPENSITY_HOME; Redis, with its password: PROPENSITY_ONLINE

`get_online_features` then gives the published rows, fresh events included: a feature that is null is None, a
customer who is unknown NOT_FOUND, and one whose row has expired NOT_FOUND with the moment of that row as its
event timestamp. Writing is refused: a snapshot is published whole, or not at all.

This module imports Feast, and is imported by Feast alone; the service does not know it.
"""

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from feast import FeatureView
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from features.errors import FeatureError, FeatureMismatch, UsageError
from features.moments import from_us
from features.online import PRESENT, UNKNOWN, OnlineRows
from features.settings import Settings

Read = tuple[datetime | None, dict[str, Any] | None]
_NULL = Value()


class PackedOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast ships no types
    """The `online_store:` block. home: Propensity's, default PROPENSITY_HOME."""

    type: Literal["features.online.feast_store.PackedOnlineStore"] = (
        "features.online.feast_store.PackedOnlineStore"
    )
    home: str | None = None


class PackedOnlineStore(OnlineStore):  # type: ignore[misc]  # Feast ships no types
    """Reads what Propensity published; expiry and the rest as the environment's settings say."""

    _opened: tuple[Settings, OnlineRows] | None = None

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Read]:
        """(moment, feature -> value) a key; (None, None): unknown; (moment, None): expired.

        FeatureMismatch if a feature is not published as the registry defines it, NoBuild if nothing is
        published, OnlineUnavailable if the rows cannot be read.
        """
        settings, rows = self._rows(config)
        published, _, read = rows.followed([_id_of(key) for key in entity_keys], settings.now())
        hashes = {field.name: field.tags.get("hash") for field in table.features}
        names = list(hashes if requested_features is None else requested_features)
        wrong = [name for name in names if published.features.get(name, "") != hashes.get(name)]
        if wrong:
            raise FeatureMismatch(
                f"{published.id} is published without {', '.join(wrong)} as the registry's view "
                f"{table.name} defines them: run `propensity features build`, which registers and publishes"
            )
        places = [list(published.features).index(name) for name in names]
        null = np.isnan(read.matrix[:, places]).tolist()
        answers: list[Read] = []
        for row, (status, known_at) in enumerate(zip(read.statuses, read.moments, strict=True)):
            if status == PRESENT:
                values = read.matrix[row, places].tolist()
                of = zip(names, values, null[row], strict=True)
                answers.append(
                    (from_us(known_at), {n: _NULL if void else Value(float_val=v) for n, v, void in of})
                )
            else:
                answers.append((None if status == UNKNOWN else from_us(known_at), None))
        return answers

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Refused: FeatureError."""
        raise FeatureError(
            f"{table.name} is not materialised: Propensity publishes snapshots whole, so that no reader sees "
            "a mixture. Run `propensity features build`, or send events to the service"
        )

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Nothing to do: what is published is no matter of the registry."""

    def teardown(self, config: RepoConfig, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """Nothing to do: rows go with the home, or by `propensity erase`."""

    def _rows(self, config: RepoConfig) -> tuple[Settings, OnlineRows]:
        if self._opened is None:
            home = config.online_store.home
            given = {} if home is None else {"PROPENSITY_HOME": str(Path(home).expanduser())}
            settings = Settings.from_env({**os.environ, **given})
            self._opened = settings, OnlineRows.open(settings)
        return self._opened


def _id_of(key: EntityKey) -> str:
    if list(key.join_keys) != ["customer_id"] or key.entity_values[0].WhichOneof("val") != "string_val":
        raise UsageError(
            f"this store is read by customer_id, as text; it was asked by {', '.join(key.join_keys)}: keep "
            "other views in a store of their own"
        )
    id: str = key.entity_values[0].string_val
    return id
