"""Two candidates compared: the ratio of their latencies, measured in alternation."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from harness.convert.converter import ModelLike
from harness.convert.model import Precision
from harness.errors import ConfigError
from harness.files import StrPath
from harness.measure import stats
from harness.measure.alternation import PROCESSES, check_processes, measure, open_sides, stored
from harness.measure.result import Comparison, Progress
from harness.measure.rows import Pairing
from harness.measure.store import Store


def compare(
    a: ModelLike,
    b: ModelLike | None = None,
    *,
    devices: Sequence[str] = (),
    precision: Precision | None = None,
    threads: int = 1,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibration: StrPath | None = None,
    processes: int = PROCESSES,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Return how much slower B is than A, with the interval of the ratio.

    Two models are alternated sample by sample inside each process, on the one device given or the default. One model on two devices
    (or two runtimes of one device) is measured in alternating processes. Disturbed processes are measured again, a bounded number of
    times; an interrupted comparison is gone on with. Raises ConfigError for any other combination.
    """
    if (len(devices) != 2) if b is None else (len(devices) > 1):
        raise ConfigError("compare takes two models on one device, or one model on two devices", "name B, or give --device twice")
    check_processes(processes)
    tell = progress or (lambda _: None)
    with ExitStack() as stack:
        sides = open_sides(
            stack,
            (a, a if b is None else b),
            devices=devices,
            precision=precision,
            threads=threads,
            shapes=shapes or {},
            calibration=calibration,
            inventory=inventory,
            results=results,
            progress=tell,
        )
        visit = measure(sides, "compare", processes, tell)
        return comparison_of(sides[0].rig.store, visit.pairing)


def comparison_of(store: Store, pairing: Pairing) -> Comparison:
    """Return what the samples of a stored comparison say."""
    visit, a, b = stored(store, pairing)
    found = visit.ratio()
    difference = not found.low <= 1 <= found.high
    first, second = a.provenance, b.provenance
    names = (
        (first.model, second.model)
        if first.device == second.device
        else (f"{first.model} on {first.device}", f"{second.model} on {second.device}")
    )
    return Comparison(
        a=first.model,
        b=second.model,
        device_a=first.device,
        device_b=second.device,
        threads=a.subject.threads,
        a_ms=statistics.median(process.a_ns for process in visit.used) / 1e6,
        b_ms=statistics.median(process.b_ns for process in visit.used) / 1e6,
        ratio=found.ratio,
        interval=(found.low, found.high),
        difference=difference,
        processes=len(visit.used),
        pairs=found.pairs,
        sentence=_sentence(names, found, difference),
        verdict=visit.flaw or "steady",
        measured_at=a.measured_at,
        measurement_ids=(a.id, b.id),
    )


def _sentence(names: tuple[str, str], found: stats.Ratio, difference: bool) -> str:
    a, b = names
    if not difference:
        widest = max(abs(found.low - 1), abs(found.high - 1))
        return f"No difference seen between {a} and {b}: if there is one, it is within {widest:.1%} (95%)."
    word = "slower" if found.ratio > 1 else "faster"
    near, far = sorted((abs(found.low - 1), abs(found.high - 1)))
    return f"{b} is {abs(found.ratio - 1):.1%} {word} than {a} ({near:.1%} to {far:.1%}, 95%)."
