"""Many models in one process, each for a moment, between the reference models: what the blocks of a latency table are measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.convert.model import Model
from harness.measure import plan
from harness.measure.rig import Rig
from harness.measure.samples import REFERENCES, Subject, TimedRepetition

DESIGN = "batch"
"""The `design` of subjects that are measured so."""

MOST_FLUSHED_BYTES = 64 << 20
"""What a network's own blocks push out lies in a shared cache still: emptying one of hundreds of MiB before each run would take minutes."""


@dataclass(frozen=True)
class Pace:
    """How long each model of a batch is timed, in a process of `models`: a chunk in each of `rounds` over all of them.

    The mobile reference comes back after every `between` ones. Rounds lie tenths of a second apart, so that what slows the device for a
    moment does not slow all that a process sees of a model: many short rounds see a device at its quickest more often than few long ones.
    No runs are discarded for that: those that find the caches of another model are not among the quickest.
    """

    models: int
    rounds: int
    chunk_ns: int
    chunk_runs: int
    warmup_ns: int
    between: int


BLOCKS = Pace(models=64, rounds=6, chunk_ns=5_000_000, chunk_runs=4, warmup_ns=2_000_000, between=64)
COLD_BLOCKS = Pace(models=32, rounds=2, chunk_ns=0, chunk_runs=4, warmup_ns=0, between=32)
NETWORKS = Pace(models=8, rounds=12, chunk_ns=20_000_000, chunk_runs=3, warmup_ns=30_000_000, between=8)


def subject_of(rig: Rig, model: Model, pace: Pace, *, cold: bool) -> Subject:
    """Return what a model in a batch measures at a pace: not what it does in a benchmark of its own, nor at another pace."""
    design = f"{DESIGN} of {pace.models}, {pace.rounds} rounds of {pace.chunk_ns} ns"
    return replace(rig.subject(model, cold=cold), design=design)


def take(rig: Rig, models: Sequence[Model], pace: Pace, *, cold: bool, timeout_s: float) -> list[TimedRepetition]:
    """Return a repetition of each model, all from one process. Raises what the rig raises, for the first model that fails too."""
    groups = [range(first, min(first + pace.between, len(models))) for first in range(0, len(models), pace.between)]
    schedule = plan.batch_schedule([[REFERENCES + index for index in group] for group in groups], pace.rounds)
    whole = rig.repetition(
        models,
        schedule,
        subject=subject_of(rig, models[0], pace, cold=cold),
        chunk_ns=pace.chunk_ns,
        chunk_runs=pace.chunk_runs,
        warmup_ns=pace.warmup_ns,
        settle_ns=0,
        most_flushed_bytes=MOST_FLUSHED_BYTES,
        timeout_s=timeout_s,
    )
    return [_part(whole, index, len(models)) for index in range(len(models))]


def _part(whole: TimedRepetition, index: int, count: int) -> TimedRepetition:
    """Return what a process says of one of its models: its chunks, and the references' before, after and next to each of them."""
    own, data = REFERENCES + index, whole.data
    at = [position for position, chunk in enumerate(data.chunks) if chunk.model == own]
    references = [position for position, chunk in enumerate(data.chunks) if chunk.model < REFERENCES]
    near = {end for one in at for end in (max(x for x in references if x < one), min(x for x in references if x > one))}
    kept = sorted({*references[: len(plan.BEFORE)], *references[-len(plan.AFTER) :], *near, *at})
    chunks = tuple(replace(chunk, model=min(chunk.model, REFERENCES)) for chunk in (data.chunks[position] for position in kept))
    warmup = (*data.warmup_ns[:REFERENCES], data.warmup_ns[own])
    models = (*whole.models[:REFERENCES], whole.models[own])
    return replace(whole, models=models, data=replace(data, chunks=chunks, warmup_ns=warmup, wall_ns=data.wall_ns // count))
