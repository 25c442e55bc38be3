"""Devices as tables for the terminal: how they are, what was set up on them, whether they are fit to measure on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.report import numbers
from harness.report.table import verdict

if TYPE_CHECKING:
    from harness.devices.setup import Setup
    from harness.devices.survey import Surveyed
    from harness.measure.result import Check, Equality
    from latency_agent.protocol import Conditions, Core


def checks_table(checks: Sequence[Check]) -> RenderableType:
    """Return the checks of a device, each with what to do about it, and a closing line."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "check", "found", "what to do"):
        table.add_column(name)
    marks = {True: Text("ok", style="green"), False: Text("no", style="bold red"), None: Text("?", style="yellow")}
    for check in checks:
        table.add_row(marks[check.ok], check.name, check.found, check.advice if check.ok is not True else "")
    failed = sum(check.ok is False for check in checks)
    if failed:
        return Group(table, Text(f"{failed} of {len(checks)} checks failed", style="bold red"))
    return Group(table, Text("fit to measure on", style="bold green"))


def devices_table(surveyed: Sequence[Surveyed]) -> RenderableType:
    """Return the devices of an inventory as they were found."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    powered = any(one.found is not None and one.found.conditions.battery_percent is not None for one in surveyed)
    battery = ["battery"] if powered else []
    for name in ("device", "model", "cores", "measured on", "governor", "temperature", *battery, "runtime", "free disk"):
        table.add_column(name, overflow="fold")
    for one in surveyed:
        if one.found is None:
            continue
        now, runtime = one.found.conditions, one.found.hello
        table.add_row(
            one.device.name,
            one.found.facts.cpu_model,
            _cores(one.found.facts.cores),
            f"{', '.join(map(str, one.found.placement.cores))} ({one.found.placement.chosen_by})",
            now.governor or "unknown",
            "unknown" if now.temperature_c is None else f"{now.temperature_c:.0f} C",
            *([_battery(now)] if powered else []),
            f"{runtime.runtime} {runtime.runtime_version}",
            f"{now.free_disk_bytes / 2**30:.1f} GiB",
        )
    problems = [Text(f"{one.device.name}: {one.problem}", style="red") for one in surveyed if one.found is None]
    held_back = [(one.device.name, "; ".join(one.found.obstacles)) for one in surveyed if one.found is not None and one.found.obstacles]
    warnings = [Text(f"{name}: {why}", style="yellow") for name, why in held_back]
    return Group(*([table] if table.row_count else []), *warnings, *problems)


def _battery(now: Conditions) -> str:
    """Return how full a battery is, and whether it charges, and how warm it is."""
    if now.battery_percent is None:
        return "none"
    parts = [f"{now.battery_percent}%", "charging" if now.charging else "", "" if now.battery_c is None else f"{now.battery_c:.0f} C"]
    return ", ".join(filter(None, parts))


def equality_table(outcome: Equality) -> RenderableType:
    """Return the comparisons of two devices, and what they come to."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("model", outcome.a, outcome.b, f"{outcome.b} / {outcome.a}", "95% interval", "verdict"):
        table.add_column(name, justify="left" if name in ("model", "verdict") else "right")
    for one in outcome.comparisons:
        low, high = one.interval
        times = (numbers.time(one.a_ms), numbers.time(one.b_ms))
        table.add_row(one.a, *times, f"{one.ratio:.4f}", f"{low:.4f} - {high:.4f}", verdict(one.verdict))
    if outcome.equal:
        said = Text(f"equal within {outcome.within:.1%}: they may share models", style="bold green")
    elif outcome.farthest > outcome.within:
        said = Text(f"not found equal: they may be {outcome.farthest:.1%} apart, beyond {outcome.within:.1%}", style="bold red")
    else:
        said = Text("not found equal: a comparison was not steady", style="bold red")
    return Group(table, said)


def _cores(cores: Sequence[Core]) -> str:
    """Return cores by kind, such as `2 x 363 at 1.8 GHz, 2 x 1024 at 2.4 GHz`: capacity where the kernel tells it, top frequency."""
    kinds = Counter((core.capacity, core.max_khz) for core in cores)
    parts = []
    for (capacity, max_khz), count in kinds.items():
        of_capacity = "" if capacity is None else f" x {capacity}"
        parts.append(f"{count}{of_capacity}{'' if max_khz is None else f' at {max_khz / 1e6:.1f} GHz'}")
    return ", ".join(parts)


def setup_table(made: Setup) -> RenderableType:
    """Return what was found and made on a board."""
    table = Table(box=None, show_header=False, pad_edge=False)
    rows = (
        ("machine", f"{made.machine}, glibc {made.glibc}"),
        ("Python", made.python),
        ("runtime", f"{made.runtime} {made.runtime_version}, {made.delegated_nodes} operators delegated"),
        ("folder", made.folder),
        ("pushed", f"{made.pushed_bytes / 2**20:.1f} MiB" if made.changed else "nothing: it was set up already"),
    )
    for row in rows:
        table.add_row(*row)
    return Group(table, Text(f"{made.device} is ready", style="bold green"))
