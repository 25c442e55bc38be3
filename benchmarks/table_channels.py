"""Latency at widths between those that a table was measured at, beside what is measured there, and beside a line through mult-adds.

The blocks of a network are measured at a grid of widths by `harness table build --widths`, then at random widths inside it by
`harness table predict --complete`, into a copy of the table.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import figures
from harness.networks.blocks import Block, block_costs, block_key
from harness.networks.graph import Shape
from harness.networks.named import network_named
from harness.networks.network import Network
from harness.tables.channels import ChannelLatency
from harness.tables.held_out import judge
from harness.tables.predict import Predictions
from harness.tables.table import HeldOut, LatencyTable
from harness.tables.widths import at_widths, width_field, width_of, with_width

SHARES = (0.25, 0.375, 0.5, 0.75, 1.0, 1.25)
WITHIN = 0.05
GOAL = 0.9
Shaped = tuple[Block, Shape]


def main() -> None:
    """Measure the grid and random widths inside it, and compare."""
    options = figures.arguments(__doc__, model="mobilenet_v2:resolution=128", count=200)
    state = figures.State("table_channels", options, model=options.model, count=str(options.count))
    path, copy = state.folder / "table.json", state.folder / "copy.json"
    network = network_named(options.model)
    if not state.rows("build"):
        asked = ("--network", options.model, "--widths", ",".join(map(str, SHARES)), "--output", str(path))
        state.add("build", took_s=figures.taken(lambda: state.harness("table", "build", *asked)))
    chosen = shapes(network, options.count)
    if not state.rows("measured"):
        shutil.copy(path, copy)
        files = [written(state.folder, number, *one) for number, one in enumerate(chosen)]
        state.harness("table", "predict", str(copy), *map(str, files), "--complete")
        state.add("measured", shapes=len(files))
    table, completed = LatencyTable.load(path), LatencyTable.load(copy)
    measured_ms = [completed.by_key[block_key(block, (shape,))].warm_ms for block, shape in chosen]
    found = {
        "monotone, with steps": judged(interpolated(table, chosen), measured_ms),
        "a line through mult-adds": judged(by_mult_adds(table, network, chosen), measured_ms),
    }
    figures.table(
        (f"{len(chosen)} random widths", "within 5%", "within 10%", "MAPE", "bias"),
        [(name, *(f"{value:.1%}" for value in (one.within_5, one.within_10, one.mape, one.bias))) for name, one in found.items()],
    )
    spreads = [row.spread_ms / row.warm_ms / row.processes**0.5 for row in completed.rows if row.spread_ms is not None]
    ours, line = found.values()
    figures.finish(
        options,
        figure=f"{ours.within_5:.0%} of {len(chosen)} within 5%, {ours.within_10:.0%} within 10%, MAPE {ours.mape:.1%}, "
        f"from a grid of {len(table.rows)}",
        compared=f"a line through mult-adds {line.within_5:.0%}, MAPE {line.mape:.1%}; standard error of a row {np.median(spreads):.1%}",
        goal=f"{GOAL:.0%} within {WITHIN:.0%}",
        met=ours.within_5 >= GOAL,
        commits=state.commits(),
    )


def shapes(network: Network, count: int) -> list[Shaped]:
    """Return random widths of the network's blocks, inside of the grid, none of which is on it."""
    generator = random.Random(0)
    grid = {block_key(*placed) for placed in at_widths([network], SHARES)}
    found: dict[str, Shaped] = {}
    while len(found) < count:
        position = generator.randrange(1, len(network.blocks))
        block, (shape,) = network.blocks[position], network.inputs_of(position)
        if width_field(block) != "filters" or shape == network.input:
            continue
        points = same(network, block, shape)
        ins, outs = [inputs[0][-1] for _, inputs in points], [width_of(point) for point, _ in points]
        chosen = with_width(block, generator.randint(min(outs), max(outs))), (*shape[:-1], generator.randint(min(ins), max(ins)))
        key = block_key(chosen[0], chosen[1:])
        if key not in grid:
            found[key] = chosen
    return list(found.values())


def same(network: Network, block: Block, shape: Shape) -> list[tuple[Block, tuple[Shape, ...]]]:
    """Return the points of a block's grid."""
    return [
        placed
        for placed in at_widths([network], SHARES)
        if with_width(placed[0], 1) == with_width(block, 1) and placed[1][0][:-1] == shape[:-1]
    ]


def written(folder: Path, number: int, block: Block, shape: Shape) -> Path:
    """Return the file of a network of one block."""
    path = folder / f"shape{number:03}.toml"
    path.write_text(Network(f"shape{number:03}", shape, (block,)).to_toml())
    return path


def interpolated(table: LatencyTable, chosen: Sequence[Shaped]) -> list[float]:
    """Return what the table says of widths between its own."""
    return [float(ChannelLatency.of(table, block, (shape,)).latency_ms(shape[-1], width_of(block))) for block, shape in chosen]


def by_mult_adds(table: LatencyTable, network: Network, chosen: Sequence[Shaped]) -> list[float]:
    """Return what a line through the mult-adds of all points of the grid of a block says."""
    found = []
    for block, shape in chosen:
        points = same(network, block, shape)
        mult_adds = [block_costs(*point)[1].mult_adds for point in points]
        line = np.polynomial.Polynomial.fit(mult_adds, [table.by_key[block_key(*point)].warm_ms for point in points], 1)
        found.append(float(line(block_costs(block, (shape,))[1].mult_adds)))
    return found


def judged(predicted_ms: Sequence[float], measured_ms: Sequence[float]) -> HeldOut:
    """Return how far predictions of shapes are from what was measured."""
    return judge(Predictions(np.array(predicted_ms), None), measured_ms)


if __name__ == "__main__":
    main()
