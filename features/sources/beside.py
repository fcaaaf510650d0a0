"""Files that lie beside those of a mapping, look like them, and are read by no mapping: perhaps tomorrow's."""

from collections.abc import Iterable
from pathlib import Path

from features.errors import PropensityError
from features.shop import Shop
from features.sources.declared import Reading
from features.sources.mapping import declaration
from features.sources.raw import columns_of

NAMED = 5  # files in one note


def unread_beside(shop: Shop, names: Iterable[str], folder: Path | None = None) -> list[str]:
    """A line for each reading of these sources that has such files. folder: as ingestion was given."""
    readings: list[Reading] = []
    read: set[Path] = set()
    told: set[Path] = set()
    said: list[str] = []
    chosen = [name for name in names if name in shop.mappings]
    for name in dict.fromkeys([*chosen, *shop.mappings]):
        try:
            found = declaration(shop, name, folder if name in chosen else None).readings
        except PropensityError:  # of another mapping: that is said when it is used
            continue
        read |= {path.resolve() for reading in found for _, path in reading.files}
        readings += found if name in chosen else []
    for reading in readings:
        if not reading.files or reading.format.header is not None:  # without a header any file is alike
            continue
        like = reading.files[0][1]
        beside = [
            path
            for place in dict.fromkeys(path.parent for _, path in reading.files)
            for path in sorted(place.iterdir())
            if path.suffixes[-2:] == like.suffixes[-2:] and path.is_file() and not path.name.startswith(".")
        ]
        alike = []
        for path in beside:
            if path.resolve() in read | told or reading.format.kind_of(path) == "jsonl":  # of it, all is read
                continue
            try:
                if set(columns_of(path, reading.format)) == set(columns_of(like, reading.format)):
                    alike.append(path)
            except PropensityError:
                continue
        told |= {path.resolve() for path in alike}
        if alike:
            named = ", ".join(path.name for path in alike[:NAMED]) + (" ..." if len(alike) > NAMED else "")
            one = len(alike) == 1
            said.append(
                f"{named} {'has' if one else 'have'} the columns of {like.name}, and no mapping reads "
                f"{'it' if one else 'them'}: if {'it is' if one else 'they are'} its like, widen {reading.where}.files"
            )
    return said
