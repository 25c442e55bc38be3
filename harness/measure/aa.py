"""The A/A test: a model compared with itself, many times, to see what the rig can and cannot see."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from harness.convert.converter import ModelLike
from harness.convert.model import Precision
from harness.errors import ConfigError
from harness.measure import stats
from harness.measure.alternation import PROCESSES, Side, Visit, measure, open_sides, stored, subjects_of
from harness.measure.result import AAReport, Progress
from harness.measure.rows import Spread

PAIRS = 40
LEAST_VISITS = 3
_POWER = 0.9


def aa(
    model: ModelLike,
    *,
    device: str | None = None,
    pairs: int = PAIRS,
    processes: int = PROCESSES,
    precision: Precision | None = None,
    threads: int = 1,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibration: Path | None = None,
    inventory: Path | None = None,
    results: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> AAReport:
    """Return how often this rig claims a difference where there is none, and the smallest one that it can see.

    The model is compared with itself `pairs` times; each comparison is a visit, and the spread of the latency between visits is
    stored for later intervals. An A/A test that was interrupted goes on: undisturbed visits that no spread rests on yet count.
    """
    if pairs < LEAST_VISITS:
        raise ConfigError(f"{pairs} pairs tell nothing of a rate", "use 3 or more; 40 take some minutes")
    tell = progress or (lambda _: None)
    with ExitStack() as stack:
        sides = open_sides(
            stack,
            (model, model),
            devices=() if device is None else (device,),
            precision=precision,
            threads=threads,
            shapes=shapes or {},
            calibration=calibration,
            inventory=inventory,
            results=results,
        )
        visits = _known(sides, processes)[:pairs]
        while len(visits) < pairs:
            visits.append(measure(sides, "aa", processes, tell, f"pair {len(visits) + 1} of {pairs}, "))
        return _report(sides[0], visits)


def _known(sides: tuple[Side, Side], processes: int) -> list[Visit]:
    """Return the undisturbed visits that no spread rests on yet, the oldest first."""
    store, subjects = sides[0].rig.store, subjects_of(sides)
    spreads = store.spreads(subjects[0])
    found = store.comparisons(kind="aa", outcome="measured", subjects=subjects, since=spreads[0].created_at if spreads else None)
    visits = [stored(store, pairing)[0] for pairing in reversed(found)]
    return [visit for visit in visits if visit.flaw is None and len(visit.used) >= processes]


def _report(side: Side, visits: Sequence[Visit]) -> AAReport:
    found = [visit.ratio() for visit in visits]
    false = sum(not one.low <= 1 <= one.high for one in found)
    processes = min(len(visit.used) for visit in visits)
    variances = [statistics.variance([math.log(statistics.median(process.ratios)) for process in visit.used]) for visit in visits]
    standard_error = math.sqrt(statistics.mean(variances) / processes)
    sound = [[process.a_ns for process in visit.used] for visit in visits if visit.flaw is None]
    spread = stats.between_visits(sound) if len(sound) >= LEAST_VISITS else None
    subject = side.rig.subject(side.model)
    now = datetime.now(UTC)
    if spread is not None:
        side.rig.store.add_spread(subject, Spread(relative_sd=spread, visits=len(sound), model=side.model.name, created_at=now))
    return AAReport(
        model=side.model.name,
        device=side.rig.device.name,
        runtime=subject.runtime,
        pairs=len(visits),
        false_positives=false,
        false_positive_rate=false / len(visits),
        smallest_difference=(stats.student(processes - 1) + stats.student_power(processes - 1, _POWER)) * standard_error,
        between_visit_spread=spread,
        visits=len(sound),
        latency_ms=statistics.median(process.a_ns for visit in visits for process in visit.used) / 1e6,
        measured_at=now,
    )
