"""What was measured, as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from harness.measure.result import FailedResult, Result
from harness.report import numbers

if TYPE_CHECKING:
    import pandas as pd

    from harness.measure.result import AAReport, Comparison, Verdict
    from harness.measure.zoo import Measured
    from harness.networks.listing import Listed

_STYLES = {"steady": "green", "interval_not_reached": "yellow"}


def verdict(value: Verdict) -> Text:
    """Return a verdict in its colour."""
    return Text(value.replace("_", " "), style=_STYLES.get(value, "red"))


def _latency(result: Result) -> str:
    if result.interval_ms is None:
        return numbers.time(result.latency_ms)
    return f"{numbers.time(result.latency_ms)} ±{numbers.share(numbers.half_width(result.latency_ms, result.interval_ms))}"


def _interval(result: Result) -> str:
    if result.interval_ms is None:
        return "no interval"
    return numbers.times(*result.interval_ms)


def _nodes(result: Result) -> str:
    if result.delegated_nodes is None:
        return "unknown"
    return str(result.delegated_nodes) if result.total_nodes is None else f"{result.delegated_nodes} of {result.total_nodes}"


def _threads(result: Result) -> str:
    threads = "1 thread" if result.threads == 1 else f"{result.threads} threads"
    return f"{threads} on core {','.join(str(core) for core in result.cores)}{', cold' if result.cold else ''}"


def _runtime(result: Result) -> str:
    return f"{result.runtime} {result.runtime_version}"


_Cell = Callable[["Result"], str | Text]
_SETTINGS: tuple[tuple[str, _Cell], ...] = (
    ("device", lambda result: result.device),
    ("runtime", _runtime),
    ("precision", lambda result: result.precision),
    ("threads", _threads),
)
_METRICS: tuple[tuple[str, _Cell], ...] = (
    ("latency", _latency),
    ("95% interval", _interval),
    ("p90", lambda result: numbers.time(result.p90_ms)),
    ("minimum", lambda result: numbers.time(result.min_ms)),
    ("init", lambda result: numbers.time(result.init_ms)),
    ("first run", lambda result: numbers.time(result.first_ms)),
    ("peak memory", lambda result: numbers.size(result.peak_memory_bytes)),
    ("model size", lambda result: numbers.size(result.model_size_bytes)),
    ("runs x processes", lambda result: f"{result.runs} x {result.processes}"),
    ("disturbed", lambda result: numbers.share(result.disturbed_share)),
    ("delegated nodes", _nodes),
    ("verdict", lambda result: verdict(result.verdict)),
)
"""In pairs: a row of several results shows two of them in one cell."""


def results_table(results: Sequence[Result], console: Console) -> RenderableType:
    """Return the table of a benchmark, laid out for the console's width: a row per model, or a column per model where rows do not fit."""
    if len(results) > 1:
        rows = _by_row(results)
        if _natural_width(rows) <= console.width:
            return rows
    groups: list[list[Result]] = []
    for result in results:
        if groups and _natural_width(_by_column([*groups[-1], result])) <= console.width:
            groups[-1].append(result)
        else:
            groups.append([result])
    return Group(*(_by_column(group) for group in groups))


def _natural_width(table: Table) -> int:
    wide = Console(width=10_000)
    return Measurement.get(wide, wide.options, table).maximum


def _by_row(results: Sequence[Result]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, caption=", ".join(sorted({_runtime(result) for result in results})), caption_justify="left"
    )
    table.add_column("model", no_wrap=True)
    for (above, _), (below, _) in _pairs():
        table.add_column(f"{above}\n{below}", justify="right", no_wrap=True)
    for result in results:
        setting = f"{result.device}, {result.precision}, {_threads(result)}"
        cells = [Text.assemble((result.model, "bold"), "\n", (setting, "dim"))]
        for (above, top), (_, bottom) in _pairs():
            cells.append(Text.assemble(_bold(top(result), above == "latency"), "\n", bottom(result)))
        table.add_row(*cells)
    return table


def _bold(cell: str | Text, bold: bool) -> Text:
    return Text.assemble((cell, "bold")) if bold and isinstance(cell, str) else Text.assemble(cell)


def _pairs() -> Iterator[tuple[tuple[str, _Cell], tuple[str, _Cell]]]:
    return zip(_METRICS[::2], _METRICS[1::2], strict=True)


def _by_column(results: Sequence[Result]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", style="dim")
    for result in results:
        table.add_column(Text(result.model, style="bold"), justify="left")
    for name, cell in (*_SETTINGS, *_METRICS):
        table.add_row(name, *(_bold(cell(result), name == "latency") for result in results))
    return table


def comparison_table(comparison: Comparison) -> RenderableType:
    """Return two candidates side by side, and the outcome in words."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "model", "device"):
        table.add_column(name)
    table.add_column("latency", justify="right")
    table.add_row("A", comparison.a, comparison.device_a, numbers.time(comparison.a_ms))
    table.add_row("B", comparison.b, comparison.device_b, numbers.time(comparison.b_ms))
    low, high = comparison.interval
    ratio = Text.assemble("B / A ", (f"{comparison.ratio:.4f}", "bold"), f"  95% interval {low:.4f} - {high:.4f}")
    pairs = f"{comparison.pairs} pairs in {comparison.processes} processes, "
    sentence = Text(comparison.sentence, style="bold" if comparison.difference else "")
    return Group(table, ratio, Text.assemble((pairs, "dim"), verdict(comparison.verdict)), sentence)


def aa_table(report: AAReport) -> RenderableType:
    """Return what the A/A test found."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_column("", style="dim")
    table.add_column("")
    spread = f"{numbers.share(report.between_visit_spread)} over {report.visits} visits, stored for later intervals"
    wrong = f"{report.false_positives} of {report.pairs} ({numbers.share(report.false_positive_rate)}; 5% nominal)"
    for name, value in (
        ("model", report.model),
        ("device", f"{report.device}, {report.runtime}"),
        ("latency", numbers.time(report.latency_ms)),
        ("wrong claims of a difference", wrong),
        ("smallest difference seen 9 times of 10", numbers.share(report.smallest_difference)),
        ("spread between visits", spread),
    ):
        table.add_row(name, value)
    return table


def stored_table(frame: pd.DataFrame) -> RenderableType:
    """Return stored benchmarks, a row each; the files that `harness results` writes hold every column."""
    from harness.report.encode import rows_to_json

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measured at", no_wrap=True)
    table.add_column("model", overflow="fold")
    for name in ("device", "precision", "threads"):
        table.add_column(name)
    for name in ("latency", "95% interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict or error", overflow="fold")
    for row in rows_to_json(frame):
        latency = "" if row["latency_ms"] is None else numbers.time(row["latency_ms"])
        low, high = row["interval_low_ms"], row["interval_high_ms"]
        interval = "" if low is None else numbers.times(low, high)
        settings = ("" if row[name] is None else str(row[name]) for name in ("device", "precision", "threads"))
        table.add_row(_minute(row["measured_at"]), row["model"], *settings, latency, interval, _outcome(row))
    return table


def compared_table(frame: pd.DataFrame) -> RenderableType:
    """Return stored comparisons, a row each."""
    from harness.report.encode import rows_to_json

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measured at", no_wrap=True)
    for name in ("A", "B", "device"):
        table.add_column(name, overflow="fold")
    for name in ("B / A", "95% interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict or error", overflow="fold")
    for row in rows_to_json(frame):
        device = " / ".join(dict.fromkeys((row["device_a"], row["device_b"])))
        ratio = interval = ""
        if row["error"] is None:
            ratio, interval = f"{row['ratio']:.4f}", f"{row['interval_low']:.4f} - {row['interval_high']:.4f}"
        table.add_row(_minute(row["measured_at"]), row["a"], row["b"], device, ratio, interval, _outcome(row))
    return table


def _outcome(row: dict[str, Any]) -> Text:
    return verdict(row["verdict"]) if row["error"] is None else Text(row["error"].splitlines()[0], style="red")


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


def networks_table(networks: Sequence[Listed]) -> RenderableType:
    """Return the networks of the zoo: what is counted, and beside it in parentheses what was published."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", no_wrap=True)
    for name in ("parameters", "mult-adds", "top-1", "top-5", "Pixel 1"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("source of what was published", overflow="fold")
    for network in networks:
        table.add_row(*_network(network), _source(network))
    return table


def measured_networks_table(zoo: Sequence[Measured], device: str) -> RenderableType:
    """Return the networks of the zoo with what was published, and their latency on the device; quick ones first, unmeasured ones last."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", no_wrap=True)
    for name in ("parameters", "mult-adds", "top-1", "top-5", "Pixel 1", device, "verdict"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("source of what was published", overflow="fold")
    for one in sorted(zoo, key=lambda one: getattr(one.outcome, "latency_ms", math.inf)):
        told = [_latency(one.outcome), verdict(one.outcome.verdict)] if isinstance(one.outcome, Result) else ["", ""]
        if isinstance(one.outcome, FailedResult):
            told = ["", Text("failed", style="red")]
        table.add_row(*_network(one.network), *told, _source(one.network))
    return table


def _network(network: Listed) -> list[str | Text]:
    """Return a network's name, and what is counted beside what was published."""
    published = network.published
    return [
        Text(network.name, style="bold" if network.parameters is not None else "dim"),
        _counted(network.parameters, published.parameters),
        _counted(network.mult_adds, published.mult_adds),
        *("" if share is None else f"{share:.1f}%" for share in (published.top_1, published.top_5)),
        "" if published.pixel_1_ms is None else numbers.time(published.pixel_1_ms),
    ]


def _source(network: Listed) -> str:
    return "; ".join(filter(None, (network.published.source, network.published.note)))


def _counted(counted: int | None, published: float | None) -> str:
    own, theirs = ("" if value is None else numbers.count(value) for value in (counted, published))
    return f"{own} ({theirs})".strip() if theirs else own
