"""`harness bench` with its host's time told apart: `python -m benchmarks.traced_bench TIMES.json ARGUMENTS...`.

Writes the seconds that the calling thread spent in each part of the harness, without those of the parts it called.
"""

from __future__ import annotations

import functools
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()


class Clock:
    """Exclusive times of the parts, of the main thread alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._running = ["the rest of the host"]
        self._since = STARTED

    def switch(self) -> None:
        """Give the time since the last switch to the part that is running."""
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def watch(self, owner: Any, name: str, part: str | Callable[..., str]) -> None:
        """Count the time in `owner.name` as that of a part, which its arguments may name."""
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return inner(*args, **kwargs)
            self.switch()
            self._running.append(part if isinstance(part, str) else part(*args))
            try:
                return inner(*args, **kwargs)
            finally:
                self.switch()
                self._running.pop()

        setattr(owner, name, timed)


def main() -> None:
    """Watch the parts, run the command, write the times."""
    times, *arguments = sys.argv[1:]
    clock = Clock()
    from harness.cli import bench as bench_command
    from harness.cli import main as command_line
    from harness.convert.converter import Converter
    from harness.devices.session import Session
    from harness.measure import benchmark
    from harness.measure.rig import Rig
    from harness.measure.store import Store

    for name in ("start_session", "start_benchmark", "add_solo", "add_repetition", "finish", "add_reference"):
        clock.watch(Store, name, "store: writing")
    for name in ("unfinished", "solo", "measurement", "repetitions", "reference_baseline", "spread"):
        clock.watch(Store, name, "store: reading")
    clock.watch(Session, "request", lambda _, operation, *__: f"waiting for the agent: {operation}")
    clock.watch(Session, "timed", "messages of repetitions")
    clock.watch(Session, "solo", "messages of solo runs")
    clock.watch(Session, "close", "ending the session")
    clock.watch(Rig, "__init__", "starting the session")
    clock.watch(Rig, "solo", "comparing numbers")
    clock.watch(Rig, "cool", "cooling")
    clock.watch(Converter, "close", "ending the converter")
    clock.watch(benchmark, "wait", "waiting for models")
    clock.watch(benchmark, "estimate", "estimates")
    clock.watch(benchmark, "summarise", "estimates")
    clock.watch(bench_command, "report", "printing")
    clock.seconds["loading the host's modules"] = time.perf_counter() - STARTED
    try:
        sys.argv = ["harness", "bench", *arguments]
        command_line.main()
    finally:
        clock.switch()
        clock.seconds["the rest of the host"] -= clock.seconds["loading the host's modules"]
        Path(times).write_text(json.dumps(clock.seconds))


if __name__ == "__main__":
    main()
