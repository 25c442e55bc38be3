"""MobileNetV2 float32 from a Keras model to a .tflite file in a warm worker, beside TensorFlow's `from_keras_model`.

Each has a process of its own, of the kind that the harness converts in, and they take turns; what is timed begins with the built model. The
first conversion in a process warms it up. The whole job of a conversion worker, building the network by its name included, stands beside.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import figures, rigs
from harness.convert.children import environment, pinned
from harness.convert.warm_worker import WarmWorker
from harness.convert.worker import Job, claim_stdout, load_tensorflow
from harness.measure.affinity import other_cores
from harness.networks.named import network_named

GOAL_S = 1.5
OURS, THEIRS = "harness", "from_keras_model"


def main() -> None:
    """Convert in turn and report the medians."""
    if sys.argv[1:] in ([OURS], [THEIRS]):
        serve(sys.argv[1])
        return
    options = figures.arguments(__doc__, count=10)
    cores = other_cores((rigs.measuring_core(),))
    whole_worker = WarmWorker(cores)
    processes = {way: child(way, cores) for way in (OURS, THEIRS)}
    try:
        turns = [
            {**{way: ask(way, process, seed) for way, process in processes.items()}, "job": {"seconds": whole_job(whole_worker)}}
            for seed in range(options.count + 1)
        ][1:]
    finally:
        whole_worker.close()
        for process in processes.values():
            process.kill()
            process.wait()
    columns = {
        "harness, Keras model to .tflite": [turn[OURS]["seconds"] for turn in turns],
        "of which Keras' numbers to compare with": [turn[OURS]["numbers"] for turn in turns],
        "from_keras_model": [turn[THEIRS]["seconds"] for turn in turns],
        "harness, whole job with building the network": [turn["job"]["seconds"] for turn in turns],
    }
    figures.table(
        ("conversion of MobileNetV2", "median s", "least", "most"),
        [(name, f"{statistics.median(values):.2f}", f"{min(values):.2f}", f"{max(values):.2f}") for name, values in columns.items()],
    )
    ours, _, theirs, job = (statistics.median(values) for values in columns.values())
    figures.finish(
        options,
        figure=f"MobileNetV2 to .tflite in {ours:.2f} s",
        compared=f"from_keras_model {theirs:.2f} s; the whole job, network built, {job:.2f} s",
        goal=f"{GOAL_S} s or less",
        met=ours <= GOAL_S,
    )


def child(way: str, cores: tuple[int, ...]) -> subprocess.Popen[str]:
    """Return a process that answers a line with a seed by a line with its seconds."""
    figures.FOLDER.mkdir(parents=True, exist_ok=True)
    argv = pinned([sys.executable, "-m", "benchmarks.conversion", way], cores)
    with last_words(way).open("w") as stderr:
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=stderr, env=environment(), text=True, cwd=figures.ROOT)


def last_words(way: str) -> Path:
    """Return the file that a child's stderr goes to."""
    return figures.FOLDER / f"conversion-{way}.stderr"


def ask(way: str, process: subprocess.Popen[str], seed: int) -> dict[str, float]:
    """Return what a child says of its conversion of the network with this seed."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{seed}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        sys.exit(f"a conversion process ended with {process.wait()}: {last_words(way)}")
    found: dict[str, float] = json.loads(answer)
    figures.say(f"{way}: {found}")
    return found


def whole_job(worker: WarmWorker) -> float:
    """Return how long the harness's own worker takes from the network's name to the file; no cache is asked."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        network = Path(folder) / "network.toml"
        network.write_text(network_named("mobilenet_v2").to_toml())
        worker.run(Job(name="mobilenet_v2", path=str(network), precision="float32", shapes={}, calibration=None, folder=folder))
        return time.perf_counter() - start


def serve(way: str) -> None:
    """Convert a network per line of stdin, its weights by that line's seed."""
    wire = claim_stdout()
    load_tensorflow()
    import keras

    for line in sys.stdin:
        keras.backend.clear_session()
        keras.utils.set_random_seed(int(line))
        model = keras.applications.MobileNetV2(weights=None)
        with tempfile.TemporaryDirectory() as folder:
            found = ours(model, Path(folder)) if way == OURS else theirs(model, Path(folder))
        print(json.dumps(found), file=wire, flush=True)


def ours(model: Any, folder: Path) -> dict[str, float]:
    """Return the seconds of the harness's conversion, and of these Keras' own inference, which is the last call of the model."""
    from harness.convert.keras_convert import convert, traceable_keras

    calls: list[float] = []
    start = time.perf_counter()
    traceable = traceable_keras(model, "mobilenet_v2", {})

    def call(*values: Any) -> list[Any]:
        began = time.perf_counter()
        outputs = traceable.call(*values)
        calls.append(time.perf_counter() - began)
        return outputs

    convert(dataclasses.replace(traceable, call=call), "float32", None, folder / "model.tflite", folder / "numbers.npz")
    return {"seconds": time.perf_counter() - start, "numbers": calls[-1]}


def theirs(model: Any, folder: Path) -> dict[str, float]:
    """Return the seconds of TensorFlow's own way."""
    import tensorflow as tf

    start = time.perf_counter()
    (folder / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    main()
