"""The agent on a phone against the agent on this machine: same model, runtime and core, in turns of a fraction of a second.

The phone is a stand-in (root is needed): its files, processes and network are apart, its Python is the bundle's, and the core is this
machine's. So what differs is what a phone brings along: Python's build, its loader and C library, the runtime's way there. A process of
each agent live at the same time, and one is stopped while the other runs: seconds apart, as `harness compare` takes them, two processes
on a machine that shares its cores differ by more than is asked here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from bisect import bisect
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import fidelity, figures, phones, rigs
from harness.convert.model import Model
from harness.devices.inventory import Device
from harness.devices.session import Session
from harness.measure import plan, stats
from harness.measure.affinity import kept_off
from latency_agent.protocol import Chunk, Repetition, TimedTask
from tests.phone.adb_server import AdbServer

MODELS = {"mobilenet_v2:width=0.1,resolution=64": 0.06, "mobilenet_v2:width=0.5,resolution=160": 0.06, "mobilenet_v2": 0.15}
"""How many seconds a turn of each lasts: as few as leave room for a chunk that begins and ends in it."""
GOAL = 0.01
CHUNKS, CHUNK_NS, CHUNK_RUNS = 150, 15_000_000, 3
_TIMEOUT_S = 120.0


class Turn(NamedTuple):
    """One turn of a worker: when it began, and the median of its chunks."""

    start_ns: int
    latency_ns: float


def main() -> None:
    """Take the pairs of processes that are missing, for each model in turn, then report."""
    options = figures.arguments(__doc__, count=50)
    phones.check_root()
    state = figures.State("phone_agent", options)
    with figures.turn():
        models = rigs.models(list(MODELS))
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
                        turn_s = MODELS[model.name]
                        a, b = (turns(one, turn_s) for one in in_turns(model, sides, turn_s, swapped=number % 2 == 1))
                        state.add("pair", model=model.name, ratio=ratio(a, b), a_ms=typical_ms(a), b_ms=typical_ms(b))
        finally:
            phone.stop()
            server.stop()
    report(options, state)


def in_turns(model: Model, sides: Sequence[tuple[Session, int]], turn_s: float, *, swapped: bool) -> list[Repetition]:
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
                settle_ns=(plan.SETTLE_NS,),
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
                wait(running, turn_s, FIRST_COMPLETED)
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


def turns(repetition: Repetition, turn_s: float) -> list[Turn]:
    """Return the turns of a worker; a chunk in which it was stopped is left out.

    They are what is compared, and not their chunks: the first of a turn is slower than the next.
    """
    found: list[Turn] = []
    chunks: list[Chunk] = []
    for chunk in (*repetition.chunks, None):
        if chunk is not None and max(*chunk.discarded_ns, *chunk.wall_ns) < turn_s * 1e9 / 2:
            chunks.append(chunk)
        elif chunks:
            found.append(Turn(chunks[0].start_ns, median(stats.chunk_latency_ns(one, 1) for one in chunks)))
            chunks = []
    return found


def ratio(a: Sequence[Turn], b: Sequence[Turn]) -> float:
    """Return the median, over neighbouring turns, of B's latency over A's, as far as both ran.

    Not of a turn of B over the mean of both turns of A beside it: slow turns are rarer than fast ones, and weigh more in a mean.
    """
    moments = [turn.start_ns for turn in a]
    found = []
    for turn in b:
        after = bisect(moments, turn.start_ns)
        if 0 < after < len(moments):
            found += [turn.latency_ns / beside.latency_ns for beside in a[after - 1 : after + 1]]
    return median(found)


def typical_ms(taken: Sequence[Turn]) -> float:
    """Return the median of a worker's turns."""
    return median(turn.latency_ns for turn in taken) / 1e6


def report(options: figures.Options, state: figures.State) -> None:
    """Print a line per model, and the closing line."""
    rows, told, worst = [], [], 0.0
    for model in MODELS:
        pairs = [row for row in state.rows("pair") if row["model"] == model]
        middle, low, high = fidelity.off([row["ratio"] for row in pairs])
        worst = max(worst, abs(middle))
        told.append(f"{model} {middle:+.2%} ({low:+.2%} to {high:+.2%})")
        ms = [f"{median(row[side] for row in pairs):.4g}" for side in ("a_ms", "b_ms")]
        rows.append((model, len(pairs), *ms, f"{middle:+.2%}", f"{low:+.2%} to {high:+.2%}"))
    figures.table(("model", "pairs", "local ms", "phone ms", "phone over local", "95% interval"), rows)
    figures.finish(
        options,
        figure=f"the agent on a phone against this machine's: {', '.join(told)}",
        compared=f"the agent on `local`, {phones.RUNTIME} in both, {options.count} pairs of processes in turns of a fraction of a second",
        goal=f"within {GOAL:.0%}",
        met=worst <= GOAL,
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
