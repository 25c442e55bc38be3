"""Four boards against one: models measured per minute, a `harness bench` for each board, where runs sleep instead of computing.

The boards are this machine in network namespaces (root is needed), each with a lease of its own; as runs sleep, its cores do not decide.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
import venv
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks import figures, rigs
from tests.devices.netns import Namespace
from tests.devices.sshd import Sshd, inventory

BOARDS = 4
MODELS = 8
GOAL = 3.8
SLEEP_S = 0.005
SLEEPY = f"""\
import time
from ai_edge_litert import interpreter
_invoke = interpreter.Interpreter.invoke
def invoke(self):
    if not hasattr(self, "ran"):  # its outputs are looked at
        self.ran = True
        _invoke(self)
    time.sleep({SLEEP_S})
interpreter.Interpreter.invoke = invoke
"""


def main() -> None:
    """Take the rounds that are missing, then report."""
    options = figures.arguments(__doc__, count=3)
    if os.geteuid() != 0:
        sys.exit("network namespaces take root: run this as root")
    state = figures.State("boards", options)
    folder = state.folder / "boards"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    python = sleepy_python(folder / "python")
    with ExitStack() as stack:
        names = []
        for number in range(BOARDS):
            net = Namespace()
            stack.callback(net.close)
            sshd = Sshd(folder / f"board{number}", f"board{number}", net=net, own_tmp=True)
            stack.callback(sshd.stop)
            # Of themselves all would choose the same core, which real boards do not share.
            core = number % (os.cpu_count() or 1)
            device = replace(sshd.device, runtime="ai-edge-litert", python=str(python), core=core)
            (sshd.folder / "devices.toml").write_text(inventory(device))
            names.append(sshd.folder)
        files = rigs.block_files(folder, MODELS)
        for _ in range(len(state.rows("round")), options.count):
            with figures.turn():
                state.add("round", one_s=wall_s(names[:1], files), four_s=wall_s(names, files))
    one_s, four_s = (statistics.median(state.column("round", f"{boards}_s")) for boards in ("one", "four"))
    rates = 60 * MODELS / one_s, 60 * MODELS * BOARDS / four_s
    figures.finish(
        options,
        figure=f"{BOARDS} boards measure {rates[1]:.1f} models per minute, {rates[1] / rates[0]:.2f} times one",
        compared=f"one board {rates[0]:.1f} models per minute; runs sleep {1000 * SLEEP_S:.0f} ms",
        goal=f"{GOAL} times or more",
        met=rates[1] / rates[0] >= GOAL,
        commits=state.commits(),
    )


def sleepy_python(folder: Path) -> Path:
    """Return a Python that has what this one has, in whose runtime each run sleeps."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "sleepy.py").write_text(SLEEPY)
    (site / "a.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    (site / "b.pth").write_text("import sleepy\n")
    return folder / "bin" / "python"


def wall_s(boards: list[Path], files: list[Path]) -> float:
    """Return how long it takes until each of the boards has measured the models."""
    processes = []
    begin = time.perf_counter()
    for board in boards:
        results = board / "results"
        shutil.rmtree(results, ignore_errors=True)
        command = [str(Path(sys.executable).parent / "harness"), "bench", *map(str, files), "--fresh", "--interval", "50%"]
        command += ["--inventory", str(board / "devices.toml"), "--results", str(results)]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    statuses = [process.wait() for process in processes]
    if any(statuses):
        sys.exit(f"harness bench ended with {statuses}")
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
