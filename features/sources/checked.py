"""`propensity check` of a shop's mappings: what is wrong, each with its file and line."""

import re
from pathlib import Path

from features.shop import Shop
from features.sources.mapping import problems

_HEADER = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*([\w-]+|\"[^\"]+\"|'[^']+')\s*=")


def mapping_problems(shop: Shop) -> tuple[list[str], list[str]]:
    """Problems of all mappings, with file and line, and remarks: whose files are not there to look at, and what a
    proposal left open."""
    found: list[str] = []
    remarks: list[str] = []
    path = shop.folder / "shop.toml"
    text = path.read_text("utf-8") if path.exists() else ""
    for name in shop.mappings:
        wrong, absent = problems(shop, name)
        found += [located(path, text, problem) for problem in wrong]
        if absent:
            remarks.append(
                f"mapping.{name}: the files of {absent} of its readings are not there: columns not checked"
            )
    return found, [*remarks, *_still_open(path, text)]


def still_open(shop: Shop) -> list[str]:
    """What a proposal left in shop.toml for a person to decide, with its line."""
    path = shop.folder / "shop.toml"
    return _still_open(path, path.read_text("utf-8")) if path.exists() else []


def _still_open(path: Path, text: str) -> list[str]:
    """Done when `DECIDE` is taken out.

    >>> _still_open(Path("shop.toml"), 'at = "day"\\nchannel = "c"  # DECIDE: which?')
    ['shop.toml:2: still to be decided: which? (channel = "c")']
    """
    return [
        f"{path}:{number}: still to be decided: {said.strip()}"
        + (f" ({line})" if (line := before.strip(" #")) else "")
        for number, whole in enumerate(text.splitlines(), start=1)
        for before, decide, said in [whole.partition("DECIDE:")]
        if decide
    ]


def located(path: Path, text: str, problem: str) -> str:
    """A problem that begins with `shop.toml: mapping.x.read[2].columns.at`, with the line of that key.

    >>> located(Path("shop.toml"), '[mapping.x]\\nzone = "?"', "shop.toml: mapping.x.zone is '?'")
    "shop.toml:2: mapping.x.zone is '?'"
    """
    begin = f"{path}: mapping."
    if not problem.startswith(begin):
        return problem
    said = problem.removeprefix(f"{path}: ")
    place = re.match(r"mapping(\.[\w-]+(\[\d+\])?)+", said)
    unknown = re.search(r"unknown key '([^']+)'|^\S+ has '([^']+)', which", said)
    named = (place[0] if place else "") + (f".{unknown[1] or unknown[2]}" if unknown else "")
    return f"{path}:{_line(text, named)}: {said}"


def _line(text: str, place: str) -> int:
    """The line of a key; of the innermost table around it if it is not there by itself."""
    best, depth = 1, -1
    counts: dict[str, int] = {}
    here = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            here = re.sub(r"[\"']", "", header[1])
            if line.lstrip().startswith("[["):
                counts[here] = counts.get(here, 0) + 1
            for table, count in counts.items():
                if here == table or here.startswith(f"{table}."):
                    here = f"{table}[{count}]{here.removeprefix(table)}"
            key = here
        elif (found := _KEY.match(line)) and here:
            key = f"{here}.{found[1].strip(chr(34) + chr(39))}"
        else:
            continue
        fits = place == key or place.startswith((f"{key}.", f"{key}["))
        if fits and len(key) > depth:
            best, depth = number, len(key)
    return best
