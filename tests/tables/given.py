"""Tables to predict from: made up, but of the shape that measuring gives."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from harness.networks.blocks import Block, block_costs
from harness.networks.catalogue import space_named
from harness.networks.graph import Shape
from harness.networks.network import Network
from harness.networks.space import Space, unique_blocks
from harness.tables.table import Calibrated, LatencyTable, Origin, Row, keys_of, timed

BEGAN = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
ORIGIN = Origin(
    device="pi4",
    fingerprint="cd" * 32,
    cpu_model="Cortex-A72",
    runtime="ai-edge-litert",
    runtime_version="2.3.0",
    cores=(3,),
    governor="performance",
    threads=1,
    precision="float32",
    space="mnasnet",
    method=2,
    began_at=BEGAN,
    ended_at=BEGAN + timedelta(minutes=20),
    harness_version="0.1.0",
)
BETA = 0.3
ROW_SPREAD = 0.01


def row(block: Block, inputs: tuple[Shape, ...]) -> Row:
    """Return a row as quick as the block's mult-adds say, cold by a share that its weights say, its chain's slope in between."""
    _, costs = block_costs(block, inputs)
    warm_ms = 0.002 + costs.mult_adds / 2e7
    penalty_ms = 0.001 + costs.parameters * 4 / 1e6
    return replace(
        Row.of(block, inputs, warm_ms),
        cold_ms=warm_ms + penalty_ms,
        chain_ms=warm_ms + 0.2 * penalty_ms,
        interval_ms=(warm_ms * (1 - 2.36 * ROW_SPREAD), warm_ms * (1 + 2.36 * ROW_SPREAD)),
        spread_ms=0.02 * warm_ms,
        samples=400,
        processes=8,
        disturbed_share=0.01,
        measurement_ids=(17, 18),
        measured_at=BEGAN,
    )


def table(blocks: Iterable[tuple[Block, tuple[Shape, ...]]]) -> LatencyTable:
    return LatencyTable(ORIGIN, tuple(row(block, inputs) for block, inputs in blocks if timed(block)))


def table_of(*networks: Network) -> LatencyTable:
    """Return a table of the blocks of these networks."""
    found = {
        key: (block, network.inputs_of(position))
        for network in networks
        for position, (block, key) in enumerate(zip(network.blocks, network.block_keys, strict=True))
    }
    return table(found.values())


def mnasnet() -> Space:
    return space_named("mnasnet")


def of_space(space: Space) -> LatencyTable:
    return table(unique_blocks(space))


def candidates(space: Space, count: int, seed: int = 0) -> list[Network]:
    generator = random.Random(seed)
    return [space.network(space.sample(generator)) for _ in range(count)]


def true_ms(table: LatencyTable, network: Network) -> float:
    """Return what a network really takes: warm rows, and a part of the penalty of data that come from memory."""
    rows = [table.by_key[key] for key in keys_of(network)]
    return sum(row.warm_ms + BETA * ((row.cold_ms or 0) - row.warm_ms) for row in rows)


def measured(table: LatencyTable, networks: Sequence[Network], noise: float, seed: int = 0) -> list[Calibrated]:
    """Return measurements of networks, each off by a relative error of that standard deviation."""
    generator = np.random.default_rng(seed)
    errors = generator.normal(0, noise, len(networks))
    return [
        Calibrated.of(network, true_ms(table, network) * (1 + error), noise, 100 + number)
        for number, (network, error) in enumerate(zip(networks, errors, strict=True))
    ]
