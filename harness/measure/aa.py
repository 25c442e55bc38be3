"""The A/A test: a model compared with itself, many times, to see what the rig can and cannot see."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from harness.convert.converter import ModelLike
from harness.convert.model import Precision
from harness.errors import ConfigError
from harness.files import StrPath
from harness.measure import stats
from harness.measure.alternation import PROCESSES, Side, Visit, check_processes, measure, open_sides, stored, subjects_of
from harness.measure.result import AAReport, Progress
from harness.measure.samples import Subject
from harness.measure.store import Store
from harness.measure.summary import counted

PAIRS = 40
LEAST_VISITS = 3
RESUMED_WITHIN = timedelta(days=1)
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
    calibration: StrPath | None = None,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> AAReport:
    """Return how often this rig claims a difference where there is none, and the smallest one that it can see.

    The model is compared with itself `pairs` times; each comparison is a visit, and the spread of the latency between the visits of all
    tests of the model so far is stored for later intervals, as `AAReport` says. A test that was interrupted within the last day goes on.
    """
    if pairs < LEAST_VISITS:
        raise ConfigError(f"{pairs} pairs tell nothing of a rate", "use 3 or more; 40 take some minutes")
    check_processes(processes)
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
            progress=tell,
        )
        visits = _interrupted(sides, processes)
        while len(visits) < pairs:
            visits.append(measure(sides, "aa", processes, tell, f"pair {len(visits) + 1} of {pairs}, "))
        return _ended(sides, visits)


def _interrupted(sides: tuple[Side, Side], processes: int) -> list[Visit]:
    """Return the visits of an A/A test of this model that has not ended, the oldest first."""
    store, subjects = sides[0].rig.store, subjects_of(sides)
    recently = datetime.now(UTC) - RESUMED_WITHIN
    ended = store.last_aa_test(subjects[0])
    visits = _measured(store, subjects, began_after=recently if ended is None else max(ended, recently))
    return [visit for visit in visits if len(visit.judged) >= processes]


def _measured(store: Store, subjects: tuple[Subject, Subject], began_after: datetime | None = None) -> list[Visit]:
    found = store.comparisons("aa", subjects=subjects, began_after=began_after)
    return [stored(store, pairing)[0] for pairing, outcome in reversed(found) if outcome == "measured"]


def _ended(sides: tuple[Side, Side], visits: Sequence[Visit]) -> AAReport:
    """Store that the test has ended; return what it found."""
    side, subjects = sides[0], subjects_of(sides)
    found = [visit.ratio() for visit in visits]
    false = sum(not one.low <= 1 <= one.high for one in found)
    processes = min(len(visit.used) for visit in visits)
    variances = [statistics.variance([math.log(statistics.median(process.ratios)) for process in visit.used]) for visit in visits]
    standard_error = math.sqrt(statistics.mean(variances) / processes)
    used, _ = counted(_measured(side.rig.store, subjects))
    spread = stats.between_visits([[process.a_ns for process in visit.used] for visit in used])
    side.rig.store.end_aa_test(subjects[0], spread, len(used))
    return AAReport(
        model=side.model.name,
        device=side.rig.device.name,
        runtime=subjects[0].runtime,
        pairs=len(visits),
        false_positives=false,
        false_positive_rate=false / len(visits),
        smallest_difference=(stats.student(processes - 1) + stats.student_power(processes - 1, _POWER)) * standard_error,
        between_visit_spread=spread,
        visits=len(used),
        latency_ms=statistics.median(process.a_ns for visit in visits for process in visit.used) / 1e6,
        measured_at=datetime.now(UTC),
    )
