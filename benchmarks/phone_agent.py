"""The agent on a phone against the agent on this machine: same model, runtime and core, in turns of a fraction of a second.

The phone is a stand-in (root is needed): its files, processes and network are apart, its Python is the bundle's, and the core is this
machine's. So what differs is what a phone brings along: Python's build, its loader and C library, the runtime's way there. A process of
each agent live at the same time, and one is stopped while the other runs: seconds apart, as `harness compare` takes them, two processes
on a machine that shares its cores differ by more than is asked here.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import tempfile
from bisect import bisect
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from statistics import median

from benchmarks import figures, phones, rigs
from harness.convert.model import Model
from harness.devices.inventory import Device
from harness.devices.session import Session
from harness.measure import plan, stats
from harness.measure.rig import kept_off
from latency_agent.protocol import Chunk, Repetition, TimedTask
from tests.phone.adb_server import AdbServer

MODELS = ("mobilenet_v2:width=0.1,resolution=64", "mobilenet_v2:width=0.5,resolution=160", "mobilenet_v2")
GOAL = 0.01
CHUNKS, CHUNK_NS, CHUNK_RUNS = 80, 30_000_000, 3
TURN_S = 0.15
_TIMEOUT_S = 120.0


def main() -> None:
    """Take the pairs of processes that are missing, for each model in turn, then report."""
    options = figures.arguments(__doc__, count=60)
    phones.check_root()
    state = figures.State("phone_agent", options)
    with figures.turn():
        models = rigs.models(MODELS)
    core = rigs.measuring_core()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        content = phones.made_by_setup(folder)
        server = AdbServer(folder / "adb")
        os.environ.update(phones.environment(server))
        phone = phones.started(folder / "measured", server, content)
        devices = (Device("local", runtime=phones.RUNTIME, core=core), Device("phone", transport="adb", serial=phone.serial, core=core))
        try:
            while (taken := len(state.rows("pair"))) < options.count * len(models):
                number, begun = divmod(taken, len(models))
                with figures.turn(), Session.open(devices[0]) as local, Session.open(devices[1]) as remote, kept_off((core,)):
                    (agent,) = phones.pids(phone, "serve")
                    sides = [(local, local.hello.pid), (remote, agent)]
                    for model in models[begun:]:
                        a, b = in_turns(model, sides, swapped=number % 2 == 1)
                        state.add("pair", model=model.name, ratio=ratio(a, b), a_ms=typical_ms(a), b_ms=typical_ms(b))
        finally:
            phone.stop()
            server.stop()
    report(options, state)


def in_turns(model: Model, sides: Sequence[tuple[Session, int]], *, swapped: bool) -> list[Repetition]:
    """Return what a worker of each session measures, the two taking turns; the second starts first where `swapped`.

    A session comes with its agent's pid on this machine.
    """
    order = list(reversed(sides)) if swapped else list(sides)
    running, workers = [], []
    with ThreadPoolExecutor(len(order)) as pool:
        for session, agent in order:
            if session.holder is None:
                session.acquire()
            task = TimedTask(
                models=(session.push(model),),
                schedule=((0,),) * CHUNKS,
                cores=session.placement.cores,
                threads=1,
                seed=plan.SEED,
                warmup_ns=plan.WARMUP_NS,
                chunk_ns=(CHUNK_NS,),
                chunk_runs=(CHUNK_RUNS,),
                flush_bytes=None,
                timeout_s=_TIMEOUT_S,
            )
            running.append(pool.submit(session.timed, task))
            workers.append(phones.worker(agent, figures.soon()))
        try:
            while not wait(running, 0, FIRST_COMPLETED).done:
                held, free = workers
                tell(held, signal.SIGSTOP)
                tell(free, signal.SIGCONT)
                wait(running, TURN_S, FIRST_COMPLETED)
                workers.reverse()
        finally:
            for worker in workers:
                tell(worker, signal.SIGCONT)
        taken = [one.result() for one in running]
    assert all(one.affinity == session.placement.cores for one, (session, _) in zip(taken, order, strict=True))
    return list(reversed(taken)) if swapped else taken


def tell(process: int, what: signal.Signals) -> None:
    """Send a process a signal, where it has not ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, what)


def ratio(a: Repetition, b: Repetition) -> float:
    """Return the median over the turns of B of its latency over that of A in the turns before and after, as far as both ran."""
    moments, latencies = zip(*turns(a), strict=True)
    found = []
    for moment, latency in turns(b):
        after = bisect(moments, moment)
        if 0 < after < len(moments):
            found.append(latency / math.sqrt(latencies[after - 1] * latencies[after]))
    return median(found)


def turns(repetition: Repetition) -> list[tuple[int, float]]:
    """Return when each turn of a worker began, and its latency in nanoseconds: the median of its chunks.

    A chunk in which the worker was stopped is left out. Chunks alone would not do: the first of a turn is slower than the next.
    """
    found: list[tuple[int, float]] = []
    chunks: list[Chunk] = []
    for chunk in (*repetition.chunks, None):
        if chunk is not None and max(*chunk.discarded_ns, *chunk.wall_ns) < TURN_S * 1e9 / 2:
            chunks.append(chunk)
        elif chunks:
            found.append((chunks[0].start_ns, median(stats.chunk_latency_ns(one, 1) for one in chunks)))
            chunks = []
    return found


def typical_ms(repetition: Repetition) -> float:
    """Return the median of a worker's turns."""
    return median(latency for _, latency in turns(repetition)) / 1e6


def report(options: figures.Options, state: figures.State) -> None:
    """Print a line per model, and the closing line."""
    rows, told, off = [], [], []
    for model in MODELS:
        pairs = [row for row in state.rows("pair") if row["model"] == model]
        found = stats.ratio_of_pairs([[row["ratio"]] for row in pairs])
        off.append(abs(found.ratio - 1))
        told.append(f"{model} {found.ratio - 1:+.2%} ({found.low - 1:+.2%} to {found.high - 1:+.2%})")
        ms = [f"{median(row[side] for row in pairs):.4g}" for side in ("a_ms", "b_ms")]
        rows.append((model, len(pairs), *ms, f"{found.ratio:.4f}", f"{found.low:.4f} to {found.high:.4f}"))
    figures.table(("model", "pairs", "local ms", "phone ms", "phone over local", "95% interval"), rows)
    figures.finish(
        options,
        figure=f"the agent on a phone against this machine's: {', '.join(told)}",
        compared=f"the agent on `local`, {phones.RUNTIME} in both, {options.count} pairs of processes in turns of {TURN_S} s",
        goal=f"within {GOAL:.0%}",
        met=max(off) <= GOAL,
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
