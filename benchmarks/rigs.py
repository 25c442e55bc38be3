"""The parts of the harness that commands use one at a time: models, and single repetitions on the local device."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from harness.convert.converter import Converter
from harness.convert.direct import write_block
from harness.convert.model import Model
from harness.devices.inventory import load_inventory
from harness.measure import plan, stats
from harness.measure.affinity import kept_off, other_cores
from harness.measure.rig import Rig
from harness.measure.store import Store
from harness.networks.catalogue import space_named
from harness.networks.space import unique_blocks
from latency_agent.cores import place, read_cores

_TIMEOUT_S = 130.0


def measuring_core() -> int:
    """Return the core that the harness measures on."""
    return place(read_cores(os.sched_getaffinity(0)), 1, load_inventory().device().core).cores[0]


def models(names: Sequence[str | Path]) -> list[Model]:
    """Return the models, converted where need be."""
    with Converter(cores=other_cores((measuring_core(),))) as converter:
        return [future.result() for future in [converter.submit(name) for name in names]]


def block_files(folder: Path, count: int) -> list[Path]:
    """Return so many different small models: single blocks of the MnasNet space, written into a folder."""
    seen: set[bytes] = set()
    files: list[Path] = []
    for block, shapes in unique_blocks(space_named("mnasnet")):
        data = write_block(block, shapes)  # the same of blocks with skips and without, where their inputs and outputs differ in shape
        if len(files) == count:
            break
        if data not in seen:
            seen.add(data)
            files.append(folder / f"block-{len(files):02}.tflite")
            files[-1].write_bytes(data)
    return files


@contextmanager
def rig(folder: Path) -> Iterator[Rig]:
    """Give a rig that holds the device's lease, with its store in `folder`; this process keeps off its core."""
    with Store.open(folder) as store, Rig(load_inventory().device(), 1, store) as found, kept_off(found.session.placement.cores):
        found.session.acquire()
        yield found


def typical_ns(found: Rig, model: Model) -> float:
    """Return about how long a run of the model takes."""
    return median(found.session.solo(model, seed=plan.SEED, warmup_ns=plan.WARMUP_NS, timeout_s=_TIMEOUT_S).warmup_ns)


def repetition_ns(found: Rig, model: Model, typical: float) -> float:
    """Return the median of one repetition's clean samples: one worker process, measured as `harness bench` does."""
    chunks, runs = plan.candidate_chunks(typical)
    repetition = found.repetition(
        [model],
        plan.benchmark_schedule(chunks),
        subject=found.subject(model),
        chunk_ns=plan.CANDIDATE_CHUNK_NS,
        chunk_runs=runs,
        timeout_s=_TIMEOUT_S,
    )
    return stats.estimate_repetition(repetition.data, 2, 1).latency_ns
