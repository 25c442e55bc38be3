"""Whether two devices are so alike that either may measure for the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from harness.convert.model import Precision
from harness.devices.inventory import Inventory, load_inventory
from harness.devices.survey import Found, survey
from harness.errors import ConfigError
from harness.files import StrPath
from harness.measure.compare import compare
from harness.measure.result import Comparison, Equality, Progress
from harness.measure.rows import Equivalence
from harness.measure.store import Store

WITHIN = 0.03
PROCESSES = 12
MODELS: tuple[tuple[str, Precision | None], ...] = (
    ("mobilenet_v2", "float32"),
    ("mobilenet_v2", "int8"),
    ("mobilenet_v3_large", "float32"),
)
"""What is compared: depthwise and plain convolutions, in both number formats, and activations that are not fused."""


def equal(
    a: str,
    b: str,
    *,
    models: Sequence[str] = (),
    within: float = WITHIN,
    processes: int = PROCESSES,
    threads: int = 1,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Equality:
    """Return whether devices A and B are equal: each model's latency on B over that on A is 1, `within` a share, with its 95% interval.

    Such an interval inside the bounds is a test of equivalence at 2.5% (two one-sided tests, Schuirmann 1987), for the minutes that it was
    measured in: how much visits differ is not in it. The outcome is stored: devices that are equal within 3% may share the models of a
    benchmark. Raises ConfigError where the two are not the same model of device.
    """
    found = load_inventory(inventory)
    _check(found, a, b)
    comparisons: list[Comparison] = []
    for model, precision in [(model, None) for model in models] or MODELS:
        comparison = compare(
            model,
            devices=(a, b),
            precision=precision,
            threads=threads,
            processes=processes,
            inventory=inventory,
            results=results,
            progress=progress,
        )
        named = comparison.a if precision is None else f"{comparison.a}, {precision}"
        comparisons.append(replace(comparison, a=named, b=named))
    farthest = max(max(high, 1 / low) - 1 for low, high in (one.interval for one in comparisons))
    sound = all(one.verdict == "steady" for one in comparisons)
    outcome = Equality(a, b, within, farthest, sound and farthest <= within, tuple(comparisons))
    with Store.open(results or found.results_dir) as store:
        first, second = (store.row(one).subject for one in comparisons[0].measurement_ids)
        store.end_equivalence_test(first, second, Equivalence(datetime.now(UTC), within, farthest, outcome.equal))
    return outcome


def _check(inventory: Inventory, a: str, b: str) -> None:
    """Raise ConfigError unless both can be looked at and are of one kind."""
    if a == b:
        raise ConfigError(f"{a} is one device", "name two")
    kinds = []
    for one in survey([inventory.device(a), inventory.device(b)]):
        if one.found is None:
            raise ConfigError(f"{one.device.name}: {one.problem}")
        kinds.append(_kind(one.found))
    for what, (of_a, of_b) in {name: (kinds[0][name], kinds[1][name]) for name in kinds[0]}.items():
        if of_a != of_b:
            raise ConfigError(f"{a} and {b} are no replicas: {what} is {of_a} and {of_b}", "`harness compare` says how they differ")


def _kind(found: Found) -> dict[str, object]:
    cores = [(core.index, core.capacity, core.max_khz) for core in found.facts.cores]
    return {
        "the model": found.facts.cpu_model,
        "the system": f"{found.facts.os_build}, {found.facts.kernel}",
        "the runtime": f"{found.hello.runtime} {found.hello.runtime_version}",
        "the measured core": found.placement.cores,
        "the governor": found.placement.governor,
        "cores (index, capacity, kHz)": cores,
    }
