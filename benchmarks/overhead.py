"""What a benchmark of many models takes beyond its timed runs and the prescribed warm-up, at default settings, in one invocation.

Prescribed are: the timed runs of the models and of the references between them, the runs discarded after a change of model, the warm-up of
every process, and the solo process's load, first run and warm-up; what is judged is the wall time over these. Beside it stands the wall
time over the models' own timed runs and warm-up alone. Neither the cache nor the store knows the models beforehand.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks import figures, rigs
from harness.measure.samples import Measurement
from harness.measure.store import Store

GOAL = 1.5
WARM_UP_MODEL = "mobilenet_v2"
UNPACKED_BY = "mobilenet_v2:width=0.1,resolution=32"
"""Measured first: a new cache has neither the references nor the agent."""

NAMES = (
    "mobilenet_v3_small:width=0.5,resolution=96",
    "mobilenet_v1:width=0.25",
    "mobilenet_v1:width=0.5",
    "mobilenet_v1:width=0.75",
    "mobilenet_v1",
    "mobilenet_v2:width=0.1,resolution=64",
    "mobilenet_v2:width=0.35",
    "mobilenet_v2:width=0.5",
    "mobilenet_v2:width=0.5,resolution=128",
    "mobilenet_v2:width=0.75",
    "mobilenet_v2:resolution=160",
    "mobilenet_v2:width=1.4",
    "mobilenet_v3_small",
    "mobilenet_v3_small_minimalistic",
    "mobilenet_v3_large",
    "mobilenet_v3_large_minimalistic",
    "nasnet_a_mobile",
    "resnet_50:resolution=64",
    "resnet_50:resolution=128",
    "resnet_50",
)
SPENT = (
    "timed runs",
    "timed runs of references",
    "discarded runs",
    "discarded runs of references",
    "warm-up",
    "warm-up of references",
    "solo",
)


def main() -> None:
    """Measure the models and add up where the time went."""
    options = figures.arguments(__doc__, count=len(NAMES), aa_pairs=40)
    state = figures.State("overhead", options)
    with figures.turn():
        files = model_files(figures.FOLDER / "overhead-models", NAMES[: options.count])
    state.set_up(WARM_UP_MODEL, options.aa_pairs)
    with figures.turn(), tempfile.TemporaryDirectory() as scratch, state.store_as_set_up() as store:
        environment = {"HARNESS_CACHE": scratch}
        state.harness("bench", UNPACKED_BY, environment=environment, folder=store)
        times = Path(scratch) / "times.json"
        argv = [sys.executable, "-m", "benchmarks.traced_bench", str(times), *map(str, files), "--json", "--results", str(store)]
        start = time.perf_counter()
        results = json.loads(figures.output(argv, environment))
        wall_s = time.perf_counter() - start
        spent, inside_s = accounted(store, [result["measurement_id"] for result in results])
        host: dict[str, float] = json.loads(times.read_text())
    asked_s = sum(host.pop(f"waiting for the agent: {operation}") for operation in ("timed", "solo"))
    prescribed_s = sum(spent.values())
    own_s = spent["timed runs"] + spent["warm-up"]
    rest = {
        "inside workers: imports, loading models, between samples": inside_s - prescribed_s,
        "starting workers and handing over their answers": asked_s - inside_s,
        **dict(sorted(host.items(), key=lambda item: -item[1])),
        "starting and ending Python": wall_s - asked_s - sum(host.values()),
    }
    rows = [*((part, spent[part]) for part in SPENT), ("prescribed", prescribed_s), *rest.items(), ("wall time", wall_s)]
    figures.table(
        ("where the time went", "s", "of the wall time"), [(part, f"{seconds:.2f}", f"{seconds / wall_s:.1%}") for part, seconds in rows]
    )
    processes = sum(result["processes"] for result in results)
    print(f"{processes} repetitions of {len(results)} models, verdicts: {dict(Counter(result['verdict'] for result in results))}")
    figures.finish(
        options,
        figure=f"{len(results)} models: {wall_s:.0f} s wall, {wall_s / prescribed_s:.2f} times what is prescribed",
        compared=f"{wall_s / own_s:.2f} times the models' own timed runs and warm-up; prescribed {prescribed_s:.0f} s, own {own_s:.0f} s",
        goal=f"{GOAL} or less",
        met=wall_s / prescribed_s <= GOAL,
    )


def model_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return .tflite files of the networks, converted where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name.replace(':', '-')}.tflite" for name in names]
    missing = [(name, file) for name, file in zip(names, files, strict=True) if not file.exists()]
    for (_, file), model in zip(missing, rigs.models([name for name, _ in missing]), strict=True):
        shutil.copy(model.path, file)
    return files


def accounted(folder: Path, measurements: Sequence[int]) -> tuple[Counter[str], float]:
    """Return the seconds of these measurements in each of the prescribed parts, and the seconds that their workers lived."""
    spent: Counter[str] = Counter()
    inside_s = 0.0
    with Store.open(folder, read_only=True) as store:
        for measurement in map(store.measurement, measurements):
            spent.update(time_spent(measurement))
            inside_s += (measurement.solo.wall_ns + sum(repetition.data.wall_ns for repetition in measurement.repetitions)) / 1e9
    return spent, inside_s


def time_spent(measurement: Measurement) -> dict[str, float]:
    """Return the seconds of a measurement in each of the prescribed parts."""
    solo = measurement.solo
    spent = dict.fromkeys(SPENT, 0.0)
    spent["solo"] = (solo.init_ns + solo.first_ns + sum(solo.warmup_ns)) / 1e9
    for repetition in measurement.repetitions:
        for chunk in repetition.data.chunks:
            whose = " of references" if chunk.model < 2 else ""
            spent[f"timed runs{whose}"] += sum(chunk.wall_ns) / 1e9
            spent[f"discarded runs{whose}"] += sum(chunk.discarded_ns) / 1e9
        for index, runs in enumerate(repetition.data.warmup_ns):
            spent["warm-up of references" if index < 2 else "warm-up"] += sum(runs) / 1e9
    return spent


if __name__ == "__main__":
    main()
