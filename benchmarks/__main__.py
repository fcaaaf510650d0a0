"""`python -m benchmarks [NAME ...] [--json]`: a line a figure, as a ratio against a peer of the same run."""

import importlib
import json
from typing import Any

import click

NAMES = (
    "features", "online", "events", "simulated", "ingest", "quality", "scale", "decisions", "allocation",
    "deciding", "breaches", "ledger", "serving", "load", "bulk",
    "monitoring",
)  # fmt: skip


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a figure.")
def main(names: tuple[str, ...], as_json: bool) -> None:
    """Measure NAMES (default: all). Times are medians; the real log of the demo is the data."""
    holds = True
    for name in names or NAMES:
        for figure in importlib.import_module(f"benchmarks.{name}").figures():
            holds &= figure["holds"] is not False
            click.echo(json.dumps(figure) if as_json else _line(figure))
    raise SystemExit(0 if holds else 1)


def _line(figure: dict[str, Any]) -> str:
    if "low" in figure:
        return _gained(figure)
    goal = ""
    if figure["goal"] is not None:
        bound = f"at {figure['at']} " if "at" in figure else ""
        goal = f", goal {bound}{figure['goal']}: {'holds' if figure['holds'] else 'MISSED'}"
    peer = ""
    if figure["peer"] is not None:
        how = "" if "at" in figure else f" {figure.get('better', 'faster')} than"
        peer = f", {figure['ratio']:.3g} times{how} {figure['peer']}"
    return f"{figure['name']}: {figure['value']:.4g} {figure['unit']}{peer}{goal}"


def _gained(figure: dict[str, Any]) -> str:
    """A difference, with its interval."""
    span = f"{figure['value']:+.4f} [{figure['low']:+.4f} {figure['high']:+.4f}] over {figure['peer']}"
    goal = ""
    if figure["goal"] is not None:
        goal = f", goal above {figure['goal']}: {'holds' if figure['holds'] else 'MISSED'}"
    return f"{figure['name']}: {span}{goal}"


if __name__ == "__main__":
    main()
