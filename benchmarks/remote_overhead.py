"""What a board over SSH costs beside this machine itself: the wall time of many small models, in one invocation each, in turn.

The board is this machine behind an OpenSSH server on loopback, with the same Python and runtime, so that the way there is all that differs.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import figures, rigs
from harness.devices.inventory import Device
from tests.devices.sshd import Sshd, inventory

GOAL = 1.1
MODELS = 50


def main() -> None:
    """Take the rounds that are missing, then report."""
    options = figures.arguments(__doc__, count=3)
    state = figures.State("remote_overhead", options)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        files = rigs.block_files(folder, MODELS)
        sshd = Sshd(folder / "board")
        listed = folder / "devices.toml"
        board = replace(sshd.device, runtime="ai-edge-litert", python=sys.executable)
        listed.write_text(inventory(Device("local"), board))
        try:
            for _ in range(len(state.rows("round")), options.count):
                with figures.turn():
                    state.add("round", **{f"{device}_s": wall_s(device, listed, files) for device in ("local", "board")})
        finally:
            sshd.stop()
    local_s, board_s = (statistics.median(state.column("round", f"{device}_s")) for device in ("local", "board"))
    figures.finish(
        options,
        figure=f"{MODELS} models on a board over SSH: {board_s:.0f} s, {board_s / local_s:.2f} times this machine",
        compared=f"local {local_s:.0f} s, medians of {options.count} in turn",
        goal=f"{GOAL} or less",
        met=board_s / local_s <= GOAL,
        commits=state.commits(),
    )


def wall_s(device: str, listed: Path, files: list[Path]) -> float:
    """Return how long one invocation takes to measure the models on a device, with no more than is prescribed for each."""
    with tempfile.TemporaryDirectory() as results:
        options = ["--device", device, "--inventory", str(listed), "--results", results, "--interval", "50%", "--json"]
        begin = time.perf_counter()
        told = figures.output([str(Path(sys.executable).parent / "harness"), "bench", *map(str, files), *options])
        took_s = time.perf_counter() - begin
        assert len(json.loads(told)) == MODELS
        return took_s


if __name__ == "__main__":
    main()
