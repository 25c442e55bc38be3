"""What keeps a device from measuring well, as it is now. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from latency_agent.protocol import Conditions, Core, Facts, Placement

LOW_BATTERY_PERCENT = 20
"""At which many devices slow down."""

_THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""The names of PowerManager.THERMAL_STATUS_*."""


def obstacles(facts: Facts, placement: Placement, now: Conditions) -> Iterator[str]:
    """Yield, in a few words each, what keeps a device from measuring well."""
    if (barred := barred_cores(facts, placement)) is not None:
        yield barred
    if now.thermal_status:
        yield f"its thermal status is {thermal(now.thermal_status)}"
    if now.battery_saver:
        yield "battery saver is on"
    if now.charging:
        yield "it is charging"
    if now.battery_percent is not None and now.battery_percent <= LOW_BATTERY_PERCENT:
        yield f"its battery is at {now.battery_percent}%"


def barred_cores(facts: Facts, placement: Placement) -> str | None:
    """Return which cores that are bigger than the measured one the agent may not use, as a sentence; None where there are none."""
    measured = next(core for core in facts.cores if core.index == placement.cores[0])
    bigger = [core.index for core in facts.cores if not core.allowed and _size(core) > _size(measured)]
    if not bigger:
        return None
    where = "" if facts.cpuset is None else f" (cpuset {facts.cpuset})"
    return f"the big core{'s' if len(bigger) > 1 else ''} {_listed(bigger)} may not be used{where}"


def thermal(status: int) -> str:
    """Return a thermal status of Android with its name, such as `2 (moderate)`."""
    return f"{status} ({_THERMAL[status]})" if status < len(_THERMAL) else str(status)


def _size(core: Core) -> tuple[int, int]:
    return core.capacity or 0, core.max_khz or 0


def _listed(cores: list[int]) -> str:
    """Return cores as the kernel lists them: `0-3,6`."""
    runs: list[list[int]] = []
    for core in sorted(cores):
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
