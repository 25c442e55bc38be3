"""How many candidates a latency table predicts per second: from tokens, and from networks one at a time, beside plain look-ups."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks import figures
from harness.networks.blocks import block_costs
from harness.networks.catalogue import space_named
from harness.networks.network import Network
from harness.networks.space import Space, unique_blocks
from harness.tables.calibrate import calibrate
from harness.tables.ofa_yaml import foreign
from harness.tables.table import Calibrated, LatencyTable, Row, keys_of, timed

TOKENS_PER_S = 200_000
NETWORKS_PER_S = 20_000
BATCH = 10_000
LOT = 1_000
CALIBRATING = 20


def main() -> None:
    """Predict fresh candidates, batch by batch."""
    options = figures.arguments(__doc__, space="mnasnet", count=20)
    space, generator = space_named(options.space), random.Random(0)
    table = table_of(space, generator)

    def lot(count: int) -> list[Network]:
        return [space.network(space.sample(generator)) for _ in range(count)]

    def batch_s() -> float:
        tokens = np.array([space.sample(generator) for _ in range(BATCH)])
        return figures.taken(lambda: table.predict_tokens(space, tokens))

    def lot_s() -> tuple[float, float]:
        networks = lot(LOT)
        one_by_one_s = figures.taken(lambda: [table.predict(network) for network in networks])
        return one_by_one_s, figures.taken(lambda: looked_up(table, networks))

    with figures.turn():
        first_s = batch_s()
        from_tokens = [BATCH / batch_s() for _ in range(options.count)]
        table.predict_many(lot(BATCH))
        one_by_one, plain = zip(*((LOT / ours, LOT / theirs) for ours, theirs in (lot_s() for _ in range(options.count))), strict=True)
    rates = {name: statistics.median(each) for name, each in (("tokens", from_tokens), ("networks", one_by_one), ("plain", plain))}
    figures.table(
        ("candidates per second", "median", "least", "goal"),
        [
            (f"from tokens, batches of {BATCH}", f"{rates['tokens']:,.0f}", f"{min(from_tokens):,.0f}", f"{TOKENS_PER_S:,}"),
            ("the first batch, which fills what is remembered", f"{BATCH / first_s:,.0f}", "", ""),
            ("from networks, one at a time", f"{rates['networks']:,.0f}", f"{min(one_by_one):,.0f}", f"{NETWORKS_PER_S:,}"),
            ("sums of rows looked up by the keys of the same networks", f"{rates['plain']:,.0f}", f"{min(plain):,.0f}", ""),
        ],
    )
    figures.finish(
        options,
        figure=f"{rates['tokens']:,.0f} per second from tokens, {rates['networks']:,.0f} from networks, with intervals",
        compared=f"plain sums of looked-up rows {rates['plain']:,.0f}",
        goal=f"{TOKENS_PER_S:,} and {NETWORKS_PER_S:,}",
        met=rates["tokens"] >= TOKENS_PER_S and rates["networks"] >= NETWORKS_PER_S,
    )


def table_of(space: Space, generator: random.Random) -> LatencyTable:
    """Return a calibrated table of all blocks of a space whose latencies are made up."""
    rows = []
    for block, inputs in unique_blocks(space):
        if timed(block):
            warm_ms = 0.002 + block_costs(block, inputs)[1].mult_adds / 2e7
            rows.append(
                replace(Row.of(block, inputs, warm_ms), cold_ms=1.2 * warm_ms, interval_ms=(0.98 * warm_ms, 1.02 * warm_ms), processes=8)
            )
    bare = LatencyTable(foreign("made up"), tuple(rows))
    networks = [space.network(space.sample(generator)) for _ in range(CALIBRATING)]
    measured = [Calibrated.of(network, 1.06 * bare.predict(network).latency_ms * generator.gauss(1, 0.02)) for network in networks]
    return replace(bare, calibration=calibrate(bare, measured))


def looked_up(table: LatencyTable, networks: Sequence[Network]) -> list[float]:
    """Return what plain code would: the sum of the rows of each network's blocks."""
    rows = table.by_key
    return [sum(rows[key].warm_ms for key in keys_of(network)) for network in networks]


if __name__ == "__main__":
    main()
