"""Latency tables and what they predict, as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.report import numbers

if TYPE_CHECKING:
    from harness.tables.difference import Difference
    from harness.tables.predict import Prediction
    from harness.tables.table import Calibration, HeldOut, LatencyTable, Row
    from harness.tables.validate import Validation

_MOST_PAIRS = 10


def predictions_table(names: Sequence[str], predictions: Sequence[Prediction], table: LatencyTable) -> RenderableType:
    """Return what networks take by a table, and how far that can be trusted."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("network", overflow="fold")
    for name in ("latency", "95% interval"):
        shown.add_column(name, justify="right", no_wrap=True)
    for network, one in zip(names, predictions, strict=True):
        latency = numbers.time(one.latency_ms)
        if one.interval_ms is not None:
            latency += f" ±{numbers.share(numbers.half_width(one.latency_ms, one.interval_ms))}"
        shown.add_row(network, Text(latency, style="bold"), "no interval" if one.interval_ms is None else numbers.times(*one.interval_ms))
    return Group(shown, Text(f"predicted for {_setting(table)}", style="dim"), *_trust(table))


def latency_table(table: LatencyTable) -> RenderableType:
    """Return what a latency table holds: where it comes from, its rows by type, its calibration and its held-out error."""
    origin = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    origin.add_column("", style="dim")
    origin.add_column("", overflow="fold")
    for name, value in _origin(table):
        origin.add_row(name, value)
    parts: list[RenderableType] = [origin, _by_type(table)]
    if table.calibration is not None:
        parts.append(scores_table(table.calibration))
    if table.held_out is not None:
        parts.append(held_out_table(table.held_out))
    return Group(*parts, *_uncalibrated(table))


def scores_table(calibration: Calibration) -> RenderableType:
    """Return the forms that were tried, their errors in cross-validation, and which was chosen with which coefficients."""
    from harness.tables.forms import FORMS

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("form")
    shown.add_column("prediction", overflow="fold")
    shown.add_column("error", justify="right")
    shown.add_column("", overflow="fold")
    for score in calibration.scores:
        formula = FORMS[score.form].formula if score.form in FORMS else ""
        chosen = score.form == calibration.form
        error = "" if score.mape is None else numbers.share(score.mape)
        shown.add_row(Text(score.form, style="bold" if chosen else ""), formula, error, score.why)
    told = ", ".join(f"{value:.4g}" for value in calibration.coefficients)
    under = f"cross-validated on {len(calibration.networks)} networks" + (f"; coefficients {told}" if told else "")
    return Group(shown, Text(under, style="dim"))


def held_out_table(found: HeldOut) -> RenderableType:
    """Return how far predictions were from networks that had no part in the calibration."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    shown.add_column("", style="dim")
    shown.add_column("")
    rows = (
        ("held-out networks", str(found.networks)),
        ("within 5% / 10%", f"{numbers.share(found.within_5)} / {numbers.share(found.within_10)}"),
        ("mean error", numbers.share(found.mape)),
        ("root mean square", numbers.time(found.rmse_ms)),
        ("bias", numbers.signed_share(found.bias)),
        ("Kendall's tau", "none" if found.tau is None else f"{found.tau:.3f}"),
        ("inside the interval", "no intervals" if found.coverage is None else numbers.share(found.coverage)),
        ("repeatability of the truth", "unknown" if found.repeatability is None else numbers.share(found.repeatability)),
    )
    for row in rows:
        shown.add_row(*row)
    return shown


def validation_table(found: Validation) -> RenderableType:
    """Return networks as they were predicted and measured, the farthest first, and what that comes to."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("network", overflow="fold")
    for name in ("predicted", "measured", "off"):
        shown.add_column(name, justify="right", no_wrap=True)
    farthest = sorted(found.networks, key=lambda one: -abs(one.prediction.latency_ms / one.measured_ms - 1))
    for one in farthest[:_MOST_PAIRS]:
        off = numbers.signed_share(one.prediction.latency_ms / one.measured_ms - 1)
        shown.add_row(one.name, numbers.time(one.prediction.latency_ms), numbers.time(one.measured_ms), off)
    if found.off is None:
        said = Text(f"the table fits {found.device}", style="bold green")
    else:
        off = numbers.signed_share(found.off)
        said = Text(f"the table no longer fits {found.device}: it is {off} off on the whole; build it again", style="bold red")
    lines = [] if found.reference_drift is None else [_reference(found.reference_drift)]
    return Group(shown, held_out_table(found.error), *lines, said)


def _reference(drift: float) -> Text:
    way = "slower" if drift > 0 else "faster"
    return Text(f"the mobile reference model runs {numbers.share(abs(drift))} {way} than when the table was built", style="dim")


def difference_table(found: Difference) -> RenderableType:
    """Return the blocks of two tables that differ most, by how much, and what all of them come to."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("block", overflow="fold")
    b_name = found.b if found.b != found.a else f"{found.b} (B)"
    for name in (found.a, b_name, "B / A"):
        shown.add_column(name, justify="right", no_wrap=True)
    for pair in found.pairs[:_MOST_PAIRS]:
        shown.add_row(pair.key, numbers.time(pair.a_ms), numbers.time(pair.b_ms), f"{pair.ratio:.3f}")
    lines = [f"{len(found.pairs)} blocks in both: B / A {found.median_ratio:.3f}, 90% of them {found.p5_ratio:.3f} - {found.p95_ratio:.3f}"]
    if found.apart_share is not None:
        lines.append(f"{numbers.share(found.apart_share)} differ beyond their intervals")
    lines += [f"{len(keys)} blocks in {name} alone" for name, keys in (("A", found.only_a), ("B", found.only_b)) if keys]
    lines += [f"of A and B differ: {'; '.join(found.settings)}"] if found.settings else []
    return Group(shown, *(Text(line, style="bold" if index == 0 else "") for index, line in enumerate(lines)))


def _setting(table: LatencyTable) -> str:
    origin = table.origin
    threads = None if origin.threads is None else "1 thread" if origin.threads == 1 else f"{origin.threads} threads"
    return ", ".join(filter(None, (origin.device, origin.runtime, origin.precision, threads)))


def _trust(table: LatencyTable) -> Iterator[Text]:
    yield from _uncalibrated(table)
    if table.held_out is not None:
        found = table.held_out
        shares = f"{numbers.share(found.within_5)} were within 5%, {numbers.share(found.within_10)} within 10%"
        yield Text(f"of {found.networks} networks held out {shares}", style="dim")


def _uncalibrated(table: LatencyTable) -> Iterator[Text]:
    if table.calibration is None:
        yield Text(
            "not calibrated: a bare sum of blocks, with no interval; where that was looked into, sums were 11% too low", style="yellow"
        )


def _origin(table: LatencyTable) -> Iterator[tuple[str, str]]:
    origin = table.origin
    yield "device", origin.device if origin.cpu_model is None else f"{origin.device}, {origin.cpu_model}"
    yield "runtime", " ".join(filter(None, (origin.runtime, origin.runtime_version))) or "unknown"
    yield "precision", origin.precision or "unknown"
    threads = "unknown" if origin.threads is None else str(origin.threads)
    yield "threads", f"{threads} on core {', '.join(map(str, origin.cores))}" if origin.cores else threads
    yield "governor", origin.governor or "unknown"
    yield "space", origin.space or "blocks of networks"
    if origin.began_at is not None and origin.ended_at is not None:
        yield "measured", f"{origin.began_at:%Y-%m-%d %H:%M} to {origin.ended_at:%H:%M} UTC"


def _by_type(table: LatencyTable) -> RenderableType:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("blocks")
    for name in ("rows", "least", "median", "most", "interval", "cold / warm"):
        shown.add_column(name, justify="right", no_wrap=True)
    groups: dict[str, list[Row]] = {}
    for row in table.rows:
        groups.setdefault("foreign" if row.block is None else row.block.type, []).append(row)
    for kind, rows in groups.items():
        times = [row.warm_ms for row in rows]
        widths = [numbers.half_width(row.warm_ms, row.interval_ms) for row in rows if row.interval_ms is not None and row.warm_ms]
        colds = [row.cold_ms / row.warm_ms for row in rows if row.cold_ms is not None and row.warm_ms]
        shown.add_row(
            kind,
            str(len(rows)),
            *(numbers.time(pick(times)) for pick in (min, median, max)),
            f"±{numbers.share(median(widths))}" if widths else "",
            f"{median(colds):.2f}" if colds else "",
        )
    return shown
