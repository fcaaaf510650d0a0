"""What a comparison of two sides found, and where that of a version with the one in force is kept.

In artifacts/contest/ beside the version's folder, not in it: the same data and seed are the same release,
whatever is in force.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from features.errors import ReleaseCorrupt
from features.files import NO_JSON, write_atomically
from features.words import Words
from serving.cards import ModelCard, TrainedOn

LEAST = 30  # of each label in a group: with fewer, its AUC says nothing
Figure = dict[str, float]  # value, low, high: a 95 % interval


@dataclass(frozen=True)
class Group:
    """Customers whose feature lies above low, to high: `rows` of them.

    lowest: of its feature's groups, so that low itself belongs to it.
    """

    feature: str
    low: float
    high: float
    rows: int
    lowest: bool = field(default=False, kw_only=True)

    @property
    def values(self) -> Words:
        """Which values of its feature; no value is of two groups."""
        a, b = shown(self.low), shown(self.high)
        if self.lowest:
            return Words(f"{a} to {b}", f"{a}至{b}（含{a}）")
        return Words(f"over {a} to {b}", f"大于{a}至{b}")


@dataclass(frozen=True)
class Segment(Group):
    """How much more AUC the first side has among them."""

    auc_gain: Figure


@dataclass(frozen=True)
class LeftOut(Group):
    """Too few of them had the rarer outcome to compare two sides by. few: how many had."""

    few: int


def left_out(groups: Sequence[LeftOut]) -> Words | None:
    """How many groups were not compared, which, and why; None: none."""
    if not groups:
        return None
    en, zh = (
        sep.join(f"{one.feature} {one.values[place]} ({one.few} / {one.rows:,})" for one in groups)
        for place, sep in enumerate((", ", "、"))
    )
    return Words(
        f"{len(groups)} group{'s' * (len(groups) > 1)} left out, with fewer than {LEAST} of the rarer "
        f"outcome (that many / customers): {en}. Nothing is said of how either side does there.",
        f"有{len(groups)}个分组因较少出现的结果不足{LEAST}例而未比较（例数/客户数）：{zh}。无法判断两者在其中的表现。",
    )


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
    left_out: tuple[LeftOut, ...] = ()


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
