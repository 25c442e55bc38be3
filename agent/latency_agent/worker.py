"""One repetition: a fresh process that pins itself, loads the runtime, times, answers on stdout and ends."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable, List, Optional, Tuple, Union

from latency_agent import conditions, cores, runtime, timing
from latency_agent.protocol import Chunk, ModelFile, Repetition, SoloResult, SoloTask, TimedTask, decode, encode

_WARMUP_RUNS = 3
_PR_SET_PDEATHSIG = 1


class TamperedModel(Exception):
    """The bytes at a model's path are not those of its SHA-256."""


def main(runtime_name: str, out_fd: int) -> None:
    """Read one task from stdin, run it, write its result or its error to `out_fd` as JSON."""
    if sys.platform == "linux":
        # Without its supervisor nobody would end a hanging worker.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    request = json.load(sys.stdin)
    try:
        result: Union[SoloResult, Repetition]
        if request["op"] == "solo":
            result = solo(runtime_name, decode(SoloTask, request["args"]))
        else:
            result = timed(runtime_name, decode(TimedTask, request["args"]))
        answer = {"result": encode(result)}
    except (runtime.ModelError, TamperedModel, cores.CoreError, ImportError, MemoryError, OSError) as error:
        answer = {"error": {"kind": type(error).__name__, "message": str(error) or type(error).__name__}}
    with os.fdopen(out_fd, "w") as out:
        json.dump(answer, out, separators=(",", ":"))


def solo(runtime_name: str, task: SoloTask) -> SoloResult:
    """Return init time, first run, peak memory and outputs of one model in a process that has loaded nothing else."""
    started = time.perf_counter_ns()
    affinity = cores.pin(task.cores)
    verify(task.model)
    runtime.preload(runtime_name)
    resident = _start_peak_memory()
    start = time.perf_counter_ns()
    interpreter = runtime.load(runtime_name, task.model.path, task.threads, task.model.shapes)
    init_ns = time.perf_counter_ns() - start
    with runtime.model_errors():
        runtime.fill_inputs(interpreter, task.seed)
        start = time.perf_counter_ns()
        interpreter.invoke()
        first_ns = time.perf_counter_ns() - start
    outputs = runtime.outputs(interpreter)
    peak = max(0, conditions.memory_bytes("VmHWM") - resident)
    warmup = timing.run_for(interpreter.invoke, _WARMUP_RUNS, task.warmup_ns)
    delegated, total = runtime.delegated_nodes(interpreter)
    return SoloResult(
        init_ns=init_ns,
        first_ns=first_ns,
        peak_memory_bytes=peak,
        delegated_nodes=delegated,
        total_nodes=total,
        warmup_ns=warmup,
        outputs=outputs,
        affinity=affinity,
        wall_ns=time.perf_counter_ns() - started,
    )


def timed(runtime_name: str, task: TimedTask) -> Repetition:
    """Return the samples of the task's schedule."""
    started = time.perf_counter_ns()
    affinity = cores.pin(task.cores)
    core, folder = task.cores[0], Path(task.models[0].path).parent
    before = conditions.conditions(core, folder)
    runtime.preload(runtime_name)
    flush = _flusher(task.flush_bytes)
    invokes: List[Callable[[], object]] = []
    warmups: List[Tuple[int, ...]] = []
    for model in task.models:
        verify(model)
        interpreter = runtime.load(runtime_name, model.path, task.threads, model.shapes)
        with runtime.model_errors():
            runtime.fill_inputs(interpreter, task.seed)
            warmups.append(timing.run_for(interpreter.invoke, _WARMUP_RUNS, task.warmup_ns, flush))
        invokes.append(interpreter.invoke)

    def repeats(index: int, shortest_ns: int, least: int = 1) -> int:
        return 1 if flush is not None else max(least, timing.repeats_for(warmups[index][1:], shortest_ns))

    chunks = []
    for entry in task.schedule:
        steal_before = conditions.steal_ns(core)
        start = time.monotonic_ns()
        least_runs, least_ns = (max(of[index] for index in entry) for of in (task.chunk_runs, task.chunk_ns))
        if len(entry) == 1:
            (index,) = entry
            taken: Tuple[timing.Samples, ...] = (
                timing.time_chunk(
                    invokes[index],
                    repeats=repeats(index, timing.SHORTEST_SAMPLE_NS),
                    least_runs=least_runs,
                    least_ns=least_ns,
                    threads=task.threads,
                    settle_ns=task.settle_ns[index],
                    flush=flush,
                ),
            )
        else:
            taken = timing.time_in_turn(
                [invokes[index] for index in entry],
                repeats=[repeats(index, timing.SHORTEST_TURN_NS, least=timing.TURN_RUNS) for index in entry],
                least_samples=least_runs,
                least_ns=least_ns,
                threads=task.threads,
                flush=flush,
            )
        steal_after = conditions.steal_ns(core)
        frequency_khz, temperature_c = conditions.frequency_khz(core), conditions.temperature_c()
        for index, samples in zip(entry, taken):
            chunks.append(
                Chunk(
                    model=index,
                    start_ns=start,
                    repeats=samples.repeats,
                    discarded_ns=samples.discarded_ns,
                    wall_ns=samples.wall_ns,
                    cpu_ns=samples.cpu_ns,
                    switches=samples.switches,
                    frequency_khz=frequency_khz,
                    temperature_c=temperature_c,
                    steal_ns=None if steal_before is None or steal_after is None else steal_after - steal_before,
                )
            )
    after = conditions.conditions(core, folder)
    return Repetition(tuple(chunks), tuple(warmups), affinity, before, after, time.perf_counter_ns() - started)


def verify(model: ModelFile) -> None:
    """Raise TamperedModel unless the file holds the bytes that its SHA-256 names."""
    found = file_sha256(Path(model.path))
    if found != model.sha256:
        raise TamperedModel(f"{model.path} holds {found[:12]}, not {model.sha256[:12]}")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _start_peak_memory() -> int:
    """Return the resident bytes now, having reset the kernel's high-water mark where it lets a process do so."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return conditions.memory_bytes("VmHWM")
    return conditions.memory_bytes("VmRSS")


def _flusher(size_bytes: Optional[int]) -> Optional[Callable[[], Any]]:
    if size_bytes is None:
        return None
    import numpy as np

    buffer = np.zeros(size_bytes // 8, dtype=np.int64)

    def flush() -> None:
        np.add(buffer, 1, out=buffer)

    return flush
