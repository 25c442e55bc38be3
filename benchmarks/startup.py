"""How long `harness --help` takes, beside Python alone and Python with the command line's library."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import figures

GOAL_S = 0.15
HELP = "harness --help"


def main() -> None:
    """Run the three in turn and report the medians."""
    options = figures.arguments(__doc__, count=20)
    commands = {
        HELP: [str(Path(sys.executable).parent / "harness"), "--help"],
        "python -c 'import click'": [sys.executable, "-c", "import click"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    for argv in commands.values():
        seconds(argv)
    taken = [{name: seconds(argv) for name, argv in commands.items()} for _ in range(options.count)]
    medians = {name: statistics.median(turn[name] for turn in taken) for name in commands}
    figures.table(("command", "median s", "least", "most"), [
        (name, f"{median:.3f}", f"{min(turn[name] for turn in taken):.3f}", f"{max(turn[name] for turn in taken):.3f}")
        for name, median in medians.items()
    ])  # fmt: skip
    figures.finish(
        options,
        figure=f"start-up {medians.pop(HELP):.3f} s",
        compared=", ".join(f"{name} {median:.3f} s" for name, median in medians.items()),
        goal=f"{GOAL_S} s or less",
        met=statistics.median(turn[HELP] for turn in taken) <= GOAL_S,
    )


def seconds(argv: list[str]) -> float:
    """Return how long a command takes."""
    start = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
