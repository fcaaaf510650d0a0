"""What actions would do to everyone at a moment, as files.

scores/<name>/<version>/<moment>.parquet   customer_id, moment, model_version, evidence; arm, what the policy
                                           of the first outcome gives; <outcome>:<arm> and
                                           <outcome>:<arm>:error, of each arm but the control; sorted by
                                           customer_id
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.compute.builds import Build
from features.settings import Settings
from serving import score_store
from serving.effects import EffectsModel

if TYPE_CHECKING:
    from serving.releases import Release


def score(
    settings: Settings, release: "Release", build: Build, moment: datetime, out: Path | None = None
) -> Path:
    """Score every customer of a build's snapshot; written to `out`, or to the score store.

    Running again writes the same bytes. NoBuild if that moment was not built, FeatureMismatch if the build is
    not what the model needs.
    """
    import pyarrow as pa

    model = release.model
    assert isinstance(model, EffectsModel)
    build.require(model.card.needs, by=f"release {release.name} {release.version}")
    names = [feature.name for feature in model.card.features]
    snapshot = build.read(moment, ["customer_id", "moment", *names])
    scored = model.score(np.column_stack([snapshot[name].to_numpy() for name in names]).astype(np.float32))
    n, arms = len(snapshot), model.file.arms
    columns: dict[str, Any] = {
        "customer_id": snapshot["customer_id"],
        "moment": snapshot["moment"],
        "model_version": pa.array([release.version] * n, pa.string()),
        "evidence": pa.array([model.file.evidence] * n, pa.string()),
        "arm": pa.array(arms).take(pa.array(model.policy(scored))),
    }
    for place, outcome in enumerate(model.file.outcomes):
        for k, arm in enumerate(arms[1:], start=1):
            columns[f"{outcome.name}:{arm}"] = pa.array(scored.effect[:, place, k])
            columns[f"{outcome.name}:{arm}:error"] = pa.array(scored.error[:, place, k])
    return score_store.write(settings, release, moment, pa.table(columns), out)
