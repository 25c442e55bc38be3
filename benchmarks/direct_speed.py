"""How fast models are written without TensorFlow, beside its converter, and how fast a search space is counted."""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections.abc import Callable

from benchmarks import figures
from harness.convert.direct import write_block, write_network
from harness.networks.catalogue import recipe_named, space_named
from harness.networks.space import unique_blocks

BLOCKS_PER_S = 500
NETWORK_MS = 50.0
SPACE_S = 1.0
SAMPLES = 10_000


def main() -> None:
    """Time all three, and TensorFlow's path once."""
    options = figures.arguments(__doc__, model="mobilenet_v2", count=2000)
    space = space_named("mnasnet")
    blocks = list(itertools.islice(unique_blocks(space), options.count))
    with figures.turn():
        blocks_s = seconds(lambda: [write_block(block, shapes) for block, shapes in blocks])
        network = recipe_named(options.model).network(options.model)
        network_ms = 1000 * statistics.median(seconds(lambda: write_network(network)) for _ in range(20))
        generator = random.Random(0)
        space_s = seconds(lambda: [space.costs(space.sample(generator)) for _ in range(SAMPLES)])
        tensorflow_s = tensorflow(options.model)
    rate = len(blocks) / blocks_s
    figures.table(
        ("what", "measured", "goal"),
        [
            ("one-block models per second", f"{rate:.0f}", f"{BLOCKS_PER_S} or more"),
            (f"{options.model} to bytes", f"{network_ms:.0f} ms", f"{NETWORK_MS:.0f} ms or less"),
            (f"the same by TensorFlow, built in Keras before, {tensorflow_s[0]:.1f} s", f"{1000 * tensorflow_s[1]:.0f} ms", ""),
            (f"parameters and mult-adds of {SAMPLES} samples of {space.name}", f"{space_s:.2f} s", f"under {SPACE_S:.0f} s"),
        ],
    )
    figures.finish(
        options,
        figure=f"{rate:.0f} one-block models per second, {options.model} in {network_ms:.0f} ms, "
        f"{SAMPLES} samples counted in {space_s:.2f} s",
        compared=f"TensorFlow's converter {1000 * tensorflow_s[1]:.0f} ms",
        goal=f"{BLOCKS_PER_S} per second, {NETWORK_MS:.0f} ms, {SPACE_S:.0f} s",
        met=rate >= BLOCKS_PER_S and network_ms <= NETWORK_MS and space_s < SPACE_S,
    )


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def tensorflow(name: str) -> tuple[float, float]:
    """Return how long building a network in Keras takes, and converting it the second time, TensorFlow being loaded and warm."""
    import tempfile
    from pathlib import Path

    from harness.convert.keras_convert import convert, traceable_keras
    from harness.networks.keras_build import build_keras

    network = recipe_named(name).network(name)
    with tempfile.TemporaryDirectory() as folder:
        model = build_keras(network)
        built_s = seconds(lambda: build_keras(network))
        files = Path(folder) / "model.tflite", Path(folder) / "numbers.npz"
        times = [seconds(lambda: convert(traceable_keras(model, name, {}), "float32", None, *files)) for _ in range(2)]
    return built_s, times[-1]


if __name__ == "__main__":
    main()
