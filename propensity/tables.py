"""What the command line prints: tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from features.moments import iso

if TYPE_CHECKING:
    from features.ingestion.ingest import Count, Ingested
    from features.ingestion.rejects import Reason
    from features.sources.simulated.world import World
    from features.sources.simulated.writing import Simulated
    from features.unread import Unread
    from propensity.erasing import Erased
    from training.fit import Trained

OUT = Console(soft_wrap=False, highlight=False)
WIDTH_ELSEWHERE = 10_000  # columns where there is no terminal: a row is a line, whole for whoever searches it


class _Elsewhere:
    """Standard output without the blanks that fill a table's rows."""

    def write(self, text: str) -> int:
        sys.stdout.write(re.sub(" +(?=\n)", "", text))
        return len(text)

    def flush(self) -> None:
        sys.stdout.flush()


def console() -> Console:
    """Standard output; in a file or a pipe no table is broken into lines, nor a word into pieces."""
    if OUT.is_terminal:
        return OUT
    return Console(file=cast(IO[str], _Elsewhere()), width=WIDTH_ELSEWHERE, highlight=False)


def say(text: str, err: bool = False) -> None:
    """A sentence on standard output, or error: the terminal may wrap it, we do not."""
    (Console(stderr=True, highlight=False) if err else console()).print(text, soft_wrap=True, markup=False)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr; without a terminal, a line whenever another step begins."""
    err = Console(stderr=True)
    if not err.is_terminal:
        said = ""

        def line(text: str, done: int, total: int) -> None:
            nonlocal said
            if text != said:
                err.print(f"  {title}: {text}", highlight=False, soft_wrap=True)
                said = text

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(title, total=None)

        def update(text: str, done: int, total: int) -> None:
            bar.update(task, description=f"{title}: {text}", completed=done, total=total)

        yield update


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table whose columns named in `right` hold numbers."""
    made = Table(
        title=Text(title), title_justify="left", title_style="bold", header_style="", box=None, pad_edge=False
    )
    for column in columns:
        number = column in right
        made.add_column(Text(column), justify="right" if number else "left", no_wrap=number, overflow="fold")
    return made


def show_ingested(done: Ingested, dry_run: bool, unread: Sequence[Unread] = ()) -> None:
    """What became of every row of every raw file; and what of the log no feature reads."""
    from features.ingestion.along import ALONG

    title = "What became of every row" + (
        "" if done.changed else " (nothing new: the log already holds these files)"
    )
    shown = table(title, "file", "table", "rows", "what became of them", right=("rows",))
    several = len({c.source for c in done.account}) > 1
    for (source, file, name), counts in _by_file(done).items():
        total = sum(c.rows for c in counts)
        shown.add_row(
            f"{source}: {file}" if several else file,
            name,
            f"{total:,}",
            "all" if len(counts) > 1 else _fate(counts[0]),
            style="bold",
        )
        if len(counts) > 1:
            for count in sorted(counts, key=lambda c: (not c.accepted, -c.rows)):
                shown.add_row("", "", f"{count.rows:,}", _fate(count))
    console().print(shown)
    if done.samples:
        _show_samples(done, several)
    rejected = sum(c.rows for c in done.account if not c.accepted and not c.aside)
    console().print(
        f"log {done.generation}: orders from {iso(done.starts_at)}, complete until "
        f"{iso(done.complete_until)}; {rejected:,} rows rejected"
        + (", kept in rejects/ with their reasons" if rejected else ""),
        soft_wrap=True,
    )
    if along := sum(c.rows for c in done.account if c.accepted and c.what == ALONG):
        say(f"{along:,} lines came in with their mended orders, whose customers and times they have")
    if done.merged:
        say(f"{done.merged:,} customer ids are other ids of the same people: their history is one")
    for (source, name), (lost, of) in done.lost.items():
        out = console()
        out.print(
            f"[bold red]WARNING[/bold red]: {lost:,} of the {of:,} rows of {escape(source)} for {name} were "
            f"rejected ({lost / of:.0%}). The log has the others; look at the values above, and mend the "
            "mapping or the files before you build on it.",
            soft_wrap=True,
        )
    for fewer in done.shrunk:
        since = f", the earliest of {fewer.since}" if fewer.since else ""
        mended = (
            f" {fewer.mended:,} of them had been mended: what was corrected is gone from the files, or says "
            "something else by now; what is rejected again waits in `propensity rejects list`."
            if fewer.mended
            else ""
        )
        console().print(
            f"[bold red]WARNING[/bold red]: {fewer.rows:,} rows of {escape(fewer.source)} for {fewer.table} "
            f"that the log had are in its files no more{since}. The log is what the files say; if a file is "
            f"gone or cut off, bring it back and ingest again.{mended}",
            soft_wrap=True,
        )
    for late in done.late:
        say(
            f"note: {late.rows:,} rows of {late.source} for {late.table}, the earliest of {late.since}, are "
            f"new, and of the time before {iso(late.until)}, where the log ended. Nothing says when they "
            "came, so they count as known on their own days: what was known from that day on changes. If "
            "they came late, say when in the reading of their file: "
            f'delivered = {{ file_name = "{late.source}_%Y%m%d.csv" }}, or a column for known_at.'
        )
    for one in unread:
        say(f"note: {one.what.en} {one.do.en}")
    if dry_run:
        console().print("dry run: nothing was kept")


def _show_samples(done: Ingested, several: bool) -> None:
    """The value at fault of one row of each reason. Text: a file may hold [red]."""
    head = ["file", "row", "why it was rejected", "as given", "expected"]
    head = head if any(one.expected for one in done.samples) else head[:-1]
    shown = table(
        "One rejected row of each kind (rows count from 1, a header left out)", *head, right=("row",)
    )
    shown.columns[3].no_wrap = True  # a value stays as it was given
    for one in done.samples:
        place = f"{one.source}: {one.file or one.table}" if several else one.file or one.table
        cells = (place, f"{one.row or ''}", one.reason, one.value, one.expected)
        shown.add_row(*map(Text, cells[: len(head)]))
    console().print(shown)


def show_simulated(done: Simulated, world: World, dry_run: bool) -> None:
    """What a simulated shop holds, and what to do with it."""
    for change in world.changes:
        say(f"planted: {change.kind}={change.factor:g} on day {change.day}, {iso(world.moment(change.day))}")
    size = f"{world.customers:,} customers, {iso(world.moment(0))} to {iso(world.end)}, seed {world.seed}"
    if dry_run:
        say(f"would write {done.folder}: {size}, a file a table for each 20,000 customers")
        say("dry run: nothing was kept")
        return
    shown = table("Rows of each table", "table", "rows", right=("rows",))
    for name, rows in done.rows.items():
        shown.add_row(name, f"{rows:,}")
    console().print(shown)
    say(f"{done.folder}: {size}" + ("" if done.changed else " (nothing new: it holds this shop already)"))
    say(
        f"Next: `export PROPENSITY_SHOP={done.folder} PROPENSITY_AS_OF={iso(world.end)}` (its days are "
        "over), then `propensity ingest`."
    )


def show_erased(done: Erased) -> None:
    """What an erasure removed, table by table; never who it was."""
    shown = table("Erased" if not done.dry_run else "Would be erased", "from", "rows", right=("rows",))
    for place, rows in done.removed.items():
        shown.add_row(place, f"{rows:,}")
    if done.removed:
        console().print(shown)
    else:
        say("nothing of that person is left here")
    say(
        f"customer ids of one person: {done.ids}" + ("; dry run: nothing was changed" if done.dry_run else "")
    )


def show_rejects(reasons: list[Reason]) -> None:
    """Why rows were rejected."""
    numbers = ("rows", "mended since")
    shown = table("Rejected rows", "source", "table", "reason", *numbers, right=numbers)
    for one in reasons:
        shown.add_row(one.source, one.table, one.reason, f"{one.rows:,}", f"{one.mended:,}")
    if reasons:
        console().print(shown)
        say("`propensity rejects export FILE` hands them out to be corrected")
    else:
        say("no row was rejected")


def _fate(count: Count) -> str:
    from features.sources.sales import JOINED

    if count.accepted:
        return f"accepted, {count.what}" if count.what else "accepted"
    if count.aside:
        told = count.what.startswith(("mended", "not mended", "erased", JOINED))
        return count.what if told else f"left out: {count.what}"
    return f"[red]rejected: {count.what}[/red]"


def _by_file(done: Ingested) -> dict[tuple[str, str, str], list[Count]]:
    """Counts that account for raw files, in the order of reading: (source, file, table) -> counts.

    And of rows that are in no file, but follow from others, those that were rejected.
    """
    grouped: dict[tuple[str, str, str], list[Count]] = {}
    for count in done.account:
        if count.file is not None:
            grouped.setdefault((count.source, count.file, count.table), []).append(count)
        elif not (count.accepted or count.aside):
            grouped.setdefault((count.source, "made of other rows", count.table), []).append(count)
    return grouped


def show_scores(answer: dict[str, Any]) -> None:
    """What POST /v1/scores answered: a row a customer and target, with its reasons."""
    right = ("probability", "higher than")
    shown = table(f"Scores as of {answer['as_of']}", "customer", "target", *right, "why", right=right)
    for result in answer["results"]:
        customer = result["customer_id"]
        for score in result.get("scores", [result]):
            if "error" in score:
                error = score["error"]
                shown.add_row(customer, score.get("target", ""), error["code"], "", error["detail"])
            else:
                why = "; ".join(reason["text"]["en"] for reason in score["reasons"])
                if why and not score["reasons_exact"]:
                    why += " (approximate)"
                probability, percentile = f"{score['probability']:.3f}", f"{score['percentile']:.0f} %"
                shown.add_row(customer, score["target"], probability, percentile, why)
            customer = ""
    console().print(shown)


def show_customer(answer: dict[str, Any]) -> None:
    """What GET /v1/customers/{id} says beside the scores: worth and segments, or why nothing is said."""
    value, segments = answer["value"], answer["segments"]
    if "error" in value:
        say(f"value: {value['error']['detail']}")
    else:
        profit = value["profit"]
        say(
            f"customer {answer['customer_id']} within {value['horizon_days']} days: {value['orders']:.1f} "
            f"days with an order, {profit['expected']:,.0f} {value['currency']} of profit (p10 "
            f"{profit['p10']:,.0f}, p90 {profit['p90']:,.0f}); half of such customers order by "
            f"{value['next_order_date'] or 'no day of a year'}"
        )
        if against := value["contradicted_by"]:
            one = len(against) == 1
            say(
                f"{', '.join(against)} say{'s' * one} the contrary of that date: trust "
                f"{'it, it reads' if one else 'them, they read'} more than orders"
            )
    if "error" in segments:
        say(f"segments: {segments['error']['detail']}")
        return
    tier, stage = segments["tier"], segments["stage"]
    told = [tier and tier["segment"], segments["quadrant"], stage["segment"], segments["churn_reason"]]
    say("; ".join(f"{one['text']['en']} ({one['why']['en']})" for one in told if one))


def show_trained(trained: Trained) -> None:
    """A model's figures beside its baselines', all on the same later moment, with 95 % intervals."""
    card, out = trained.card, console()
    tested, fitted = card.tested_on, card.trained_on
    title = (
        f"{card.name} version {card.version}: {card.target.words.en}, judged as of {tested.moment:%Y-%m-%d} "
        f"on {tested.rows:,} {card.target.population} ({tested.base_rate:.1%} of them 1)"
    )
    origins = len(card.backtest.get("origins", ()))
    if origins > 1:
        title += f": the last of the {origins} origins alone"
    numbers = ("AUC", "model's gain", "AP", "log-loss", "observed/expected", "slope")
    shown = table(title, "", *numbers, right=numbers)
    for name, figures in {"model": card.metrics, **card.baselines}.items():
        gain = figures.get("auc_gain")
        shown.add_row(
            name.replace("_", " "),
            figure(figures["auc"]),
            figure(gain, sign="+") if gain else "",
            f"{figures['average_precision']['value']:.3f}",
            f"{figures['log_loss']['value']:.3f}",
            figure(figures["observed_over_expected"], digits=2),
            f"{figures['calibration_slope']['value']:.2f}",
            style="bold" if name == "model" else "",
        )
    out.print(shown)
    say("Brackets here: 95 % bootstrap intervals over this moment's customers.")
    say(f"Fitted on {fitted.rows:,} rows of {fitted.start:%Y-%m-%d} to {fitted.end:%Y-%m-%d}.")
    say(trained.verdict.en)
    for note in card.notes[1:2] if any(one.get("off") for one in card.segments) else ():
        say(note.en)
    say_reused(trained)


def say_reused(trained: Trained) -> None:
    """That a version was found and not made, if so."""
    card = trained.card
    if trained.reused:
        say(
            f"{card.name} version {card.version} was there: the same log, features, recipe and seed. "
            "Nothing was fitted or judged again."
        )


def figure(figure: dict[str, float], digits: int = 3, sign: str = "") -> str:
    """Value and interval: `.872 [.852 .888]`."""
    value, low, high = (f"{figure[part]:{sign}.{digits}f}" for part in ("value", "low", "high"))
    return f"{value} [{low} {high}]"
