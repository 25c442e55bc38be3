"""How long a phone waits in a campaign of many Keras models: the share of the time in which it runs no worker.

The time is that from the moment the first model is ready, when its entry in the harness's cache was written, until the last worker ends.
A worker is seen among the children of the phone's agent, looked for every few milliseconds, so that what it takes to start Python counts
as work, and what the host does between two workers does not. Beside it stands the share of what workers themselves say that they
worked, which begins once their Python runs.

The phone is a stand-in on one core of this machine (root is needed), and the harness has the others, which a real phone would not share.
Models are candidates of a search space with random weights, each a file of its own, converted by TensorFlow during the campaign; each is
measured the least that is prescribed. Without the overlap the phone would wait for each conversion as well.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks import figures, phones, rigs, stored
from harness.convert.children import environment, pinned
from harness.convert.worker import load_tensorflow
from harness.devices.inventory import Device
from harness.measure.affinity import other_cores
from harness.networks.catalogue import space_named
from harness.networks.keras_build import build_keras
from tests.devices.sshd import inventory
from tests.phone.adb_server import AdbServer
from tests.phone.phone import Phone

SPACE = "mnasnet"
GOAL = 0.1
LOOK_S = 0.003


def main() -> None:
    """Run the campaign, unless that was done, then report."""
    if sys.argv[1:2] == ["save"]:
        save(Path(sys.argv[2]), int(sys.argv[3]))
        return
    options = figures.arguments(__doc__, models=100)
    phones.check_root()
    state = figures.State("idle", options, models=str(options.models))
    core = rigs.measuring_core()
    others = other_cores((core,))
    files = keras_files(state.folder / "models", options.models)
    if not state.rows("campaign"):
        with figures.turn(), tempfile.TemporaryDirectory(dir=state.folder) as made:
            state.add("campaign", **campaign(Path(made), files, core, others))
    report(options, state)


def keras_files(folder: Path, count: int) -> list[Path]:
    """Return so many Keras models of different networks, saved by a process of its own where they are missing."""
    files = [folder / f"candidate{number:03}.keras" for number in range(count)]
    if not all(file.exists() for file in files):
        folder.mkdir(exist_ok=True)
        with figures.turn():
            subprocess.run([sys.executable, "-m", "benchmarks.idle", "save", str(folder), str(count)], check=True, env=environment())
    return files


def save(folder: Path, count: int) -> None:
    """Save the models that are missing."""
    load_tensorflow()
    import keras

    space = space_named(SPACE)
    dice = random.Random(0)
    for number in range(count):
        network = space.network(space.sample(dice))
        if not (file := folder / f"candidate{number:03}.keras").exists():
            build_keras(network).save(draft := folder / "draft.keras")
            draft.rename(file)
            keras.backend.clear_session()


def campaign(folder: Path, files: list[Path], core: int, others: tuple[int, ...]) -> dict[str, float]:
    """Return how long the phone worked and waited while the models were measured."""
    content = phones.made_by_setup(folder)
    cache, results, listed = folder / "cache", folder / "results", folder / "devices.toml"
    server = AdbServer(folder / "adb")
    phone = phones.started(folder / "measured", server, content)
    os.sched_setaffinity(0, others)  # what runs on the phone would have inherited it
    try:
        listed.write_text(inventory(Device("phone", transport="adb", serial=phone.serial, core=core)))
        command = [figures.HARNESS, "bench", *map(str, files), "--interval", "50%", "--inventory", str(listed), "--results", str(results)]
        with (folder / "told.json").open("wb") as told, (folder / "log").open("wb") as log:
            variables = {**os.environ, **server.environment, "HARNESS_CACHE": str(cache)}
            process = subprocess.Popen(pinned([*command, "--json"], others), stdout=told, stderr=log, env=variables)
            spans = watched(phone, process)
        if process.returncode != 0:
            sys.exit(f"harness bench ended with {process.returncode}\n{(folder / 'log').read_text(errors='replace')[-2000:]}")
        assert len(json.loads((folder / "told.json").read_text())) == len(files)
    finally:
        phones.stop(phone)
        server.stop()
    ready = sorted(entry.stat().st_mtime for entry in cache.glob("*.json"))
    gaps = [after - before for (_, before), (after, _) in pairwise(spans)]
    return {
        "whole_s": spans[-1][1] - ready[0],
        "workers": len(spans),
        "worker_s": sum(end - begin for begin, end in spans),
        "worked_s": stored.worked_s(results),
        "converting_s": ready[-1] - ready[0],
        "first_s": spans[0][0] - ready[0],
        "gap_s": median(gaps),
        "longest_gap_s": max(gaps),
    }


def watched(phone: Phone, process: subprocess.Popen[bytes]) -> list[tuple[float, float]]:
    """Return from when to when each worker ran on the phone until a process ends."""
    spans: list[tuple[float, float]] = []
    agents: list[int] = []
    seen = None
    while process.poll() is None:
        if not (agents and Path(f"/proc/{agents[0]}").exists()):
            agents = phones.pids(phone, "serve")
        worker = phones.worker_of(agents[0]) if agents else None
        now = time.time()
        if worker is not None:
            begin = spans.pop()[0] if worker == seen else now
            spans.append((begin, now))
        seen = worker
        time.sleep(LOOK_S)
    return spans


def report(options: figures.Options, state: figures.State) -> None:
    """Print where the time went, and the closing line."""
    (found,) = state.rows("campaign")
    whole_s, waited_s = found["whole_s"], found["whole_s"] - found["worker_s"]
    rows = [
        ("from the first model's conversion to the last repetition", f"{whole_s:.0f}"),
        ("a worker ran", f"{found['worker_s']:.0f}"),
        ("of which it worked, by its own clock", f"{found['worked_s']:.0f}"),
        ("none ran", f"{waited_s:.1f}"),
        ("of which before the first one", f"{found['first_s']:.2f}"),
        (f"between two of {found['workers']}, median", f"{found['gap_s']:.3f}"),
        ("longest", f"{found['longest_gap_s']:.2f}"),
        ("models were converted", f"{found['converting_s']:.0f}"),
    ]
    figures.table(("while", "s"), rows)
    share = waited_s / whole_s
    apart = (waited_s + found["converting_s"]) / (whole_s + found["converting_s"])
    figures.finish(
        options,
        figure=f"a phone runs no worker for {share:.1%} of a campaign of {options.models} Keras models",
        compared=f"{apart:.1%} did it wait for each conversion; {1 - found['worked_s'] / whole_s:.1%} by the workers' own clocks",
        goal=f"{GOAL:.0%} or less",
        met=share <= GOAL,
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
