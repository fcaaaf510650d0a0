"""What a comparison of two sides found, and where that of a version with the one in force is kept.

In artifacts/contest/ beside the version's folder, not in it: the same data and seed are the same release,
whatever is in force.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from features.errors import ReleaseCorrupt
from features.files import NO_JSON, write_atomically
from features.words import Words
from serving.cards import ModelCard, TrainedOn

Figure = dict[str, float]  # value, low, high: a 95 % interval


@dataclass(frozen=True)
class Segment:
    """Customers whose feature lies above low, to high, and how much more AUC the first side has among them.

    lowest: of its feature's groups, so that low itself belongs to it.
    """

    feature: str
    low: float
    high: float
    rows: int
    auc_gain: Figure
    lowest: bool = False

    @property
    def values(self) -> Words:
        """Which values of its feature; no value is of two groups."""
        low, high = shown(self.low), shown(self.high)
        if self.lowest:
            return Words(f"{low} to {high}", f"{low}至{high}（含{low}）")
        return Words(f"over {low} to {high}", f"大于{low}至{high}")


def shown(edge: float) -> str:
    """An edge of a group, of two decimals: 90, 167.53."""
    return f"{edge:,.2f}".removesuffix("0").removesuffix(".0")


@dataclass(frozen=True)
class Comparison:
    """figures: of each side, means over the origins. levels: of each side at the moment, the last origin.
    gains: what the first has more than the second; of a loss: less.

    itself: at how many of the origins the second side scored itself; at the others its recipe, fitted anew.
    """

    target: str
    moment: datetime
    rows: int
    base_rate: float
    figures: tuple[Mapping[str, Figure], Mapping[str, Figure]]
    levels: tuple[Mapping[str, float], Mapping[str, float]]
    gains: Mapping[str, Figure]
    segments: tuple[Segment, ...]
    origins: int = 1
    itself: int = 1


class Contest(msgspec.Struct, frozen=True):
    """A comparison with the champion of that version."""

    version: str
    trained_on: TrainedOn
    compared: Comparison


def kept(folder: Path, champion: ModelCard) -> Contest | None:
    """What is known of the version of a folder against a champion; None: they were not compared yet."""
    file = _file(folder, champion.version)
    try:
        found = msgspec.json.decode(file.read_bytes(), type=Contest)
    except FileNotFoundError:
        return None
    except NO_JSON as error:
        raise ReleaseCorrupt(f"{file} cannot be read ({error}): delete it, it is made again") from None
    # A number that was given again, after its version was deleted, is another model.
    return found if found.trained_on == champion.trained_on else None


def keep(folder: Path, contest: Contest) -> None:
    """Write it beside the folder of the version."""
    file = _file(folder, contest.version)
    file.parent.mkdir(exist_ok=True)
    write_atomically(file, msgspec.json.format(msgspec.json.encode(contest), indent=1))


def _file(folder: Path, champion: str) -> Path:
    return folder.parent / "contest" / f"{champion}.json"
