"""Which blocks a latency table needs, and the files that measure them: blocks that compute the same share one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness.convert.cached_model import written_model
from harness.convert.direct import DirectPrecision, write_block, write_chain, write_network
from harness.convert.model import Model
from harness.errors import ConfigError
from harness.measure import plan
from harness.networks.blocks import Block, block_key
from harness.networks.graph import Shape
from harness.networks.layers import without_place
from harness.networks.network import Network
from harness.networks.space import Space, unique_blocks
from harness.tables.table import timed

COPIES = 3
"""Of a block in the chain that its slope is measured by."""

_TRIES = 20
Placed = tuple[Block, tuple[Shape, ...]]
"""A block and the shapes of its inputs."""


@dataclass(frozen=True)
class Timed:
    """A model of one block, and all blocks of the table that it stands for."""

    model: Model
    blocks: tuple[Placed, ...] = field(default=())

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its blocks."""
        return tuple(block_key(block, shapes) for block, shapes in self.blocks)


def blocks_of_space(space: Space) -> tuple[Placed, ...]:
    """Return every block that takes time in a candidate of a space, each once; raises ConfigError for a space without any."""
    if space.skips:
        raise ConfigError(f"{space.name} has too many blocks to list, as its layers choose what they read", "name networks instead")
    found = tuple((block, shapes) for block, shapes in unique_blocks(space) if timed(block))
    if not found:
        raise ConfigError(f"{space.name} has no blocks", "a space needs a stem, stages or a head")
    return found


def blocks_of_networks(networks: Iterable[Network]) -> tuple[Placed, ...]:
    """Return every block of networks that takes time, each once."""
    found = {
        key: (without_place(block), network.inputs_of(position))
        for network in networks
        for position, (block, key) in enumerate(zip(network.blocks, network.block_keys, strict=True))
        if timed(block)
    }
    return tuple(found.values())


def models_of(blocks: Iterable[Placed], precision: DirectPrecision) -> tuple[Timed, ...]:
    """Return the models that measure blocks, written now unless the cache has them; those of the same bytes are one."""
    by_hash: dict[str, list[Placed]] = {}
    models: dict[str, Model] = {}
    for block, shapes in blocks:
        model = _model(block, shapes, precision)
        models[model.sha256] = model
        by_hash.setdefault(model.sha256, []).append((block, shapes))
    return tuple(Timed(models[sha256], tuple(placed)) for sha256, placed in by_hash.items())


def _model(block: Block, shapes: tuple[Shape, ...], precision: DirectPrecision) -> Model:
    name = block_key(block, shapes)
    source = f"block:{hashlib.sha256(name.encode()).hexdigest()}"
    return written_model(source, name, precision, lambda: write_block(block, shapes, precision=precision))


def chain_of(one: Timed, precision: DirectPrecision) -> Model:
    """Return the model of a chain of a block."""
    block, shapes = one.blocks[0]
    source = f"chain:{COPIES}:{one.model.sha256}"
    return written_model(source, f"{COPIES} x {one.model.name}", precision, lambda: write_chain(block, shapes, COPIES, precision))


def network_model(network: Network, precision: DirectPrecision) -> Model:
    """Return the model of a whole network."""
    return written_model(f"network:{network.sha256}", network.name, precision, lambda: write_network(network, precision=precision))


def networks_of(what: Space | Sequence[Network], count: int, seed: int = plan.SEED) -> list[Network]:
    """Return so many different random networks of a space; networks stand for themselves, each once.

    Raises ConfigError where there are too few.
    """
    if not isinstance(what, Space):
        if not what:
            raise ConfigError("no networks to take blocks from", "harness table build --network FILE")
        return list({network.sha256: network for network in what}.values())
    generator = random.Random(seed)
    found: dict[tuple[str, ...], Network] = {}
    for _ in range(_TRIES * count):
        network = what.network(what.sample(generator))
        found.setdefault(network.block_keys, network)  # some candidates compute the same
        if len(found) == count:
            return list(found.values())
    raise ConfigError(f"{what.name} has too few networks: {len(found)} of {count}", "ask for fewer with --calibration and --held-out")
