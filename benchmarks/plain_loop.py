"""A plain loop around one `Interpreter.invoke`: prints the median in nanoseconds. It uses nothing of the harness."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main() -> None:
    """Pin, load, fill the inputs, warm up, time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True, help="at least so many timed runs")
    parser.add_argument("--seconds", type=float, required=True, help="time for at least so long")
    parser.add_argument("--warm-up", type=float, default=0.05, help="seconds of untimed runs")
    options = parser.parse_args()
    invoke, clock = pinned(options.model, options.core), time.perf_counter_ns
    timed(invoke, clock, 3, options.warm_up)
    print(statistics.median(timed(invoke, clock, options.runs, options.seconds)))


def pinned(model: str, core: int) -> Callable[[], None]:
    """Pin this process to a core; return the `invoke` of a model with its inputs filled as the harness fills them."""
    os.sched_setaffinity(0, {core})
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    for position, detail in enumerate(interpreter.get_input_details()):
        values = np.random.RandomState(position).random_sample(detail["shape"])
        interpreter.set_tensor(detail["index"], values.astype(detail["dtype"]))
    invoke: Callable[[], None] = interpreter.invoke
    return invoke


def timed(invoke: Callable[[], None], clock: Callable[[], int], runs: int, seconds: float) -> list[int]:
    """Return the time of each run, of at least `runs` and for at least `seconds`."""
    found: list[int] = []
    until = clock() + int(seconds * 1e9)
    while len(found) < runs or clock() < until:
        start = clock()
        invoke()
        found.append(clock() - start)
    return found


if __name__ == "__main__":
    main()
