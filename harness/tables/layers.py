"""What a network takes as its layers lose or gain channels: the sum of what a table says of each layer at those widths."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from harness.errors import MissingBlock
from harness.networks.blocks import block_key, divisible
from harness.networks.channels import FIXED, Channels, width_among
from harness.networks.layered import layer_of, layered, network_of_graph
from harness.networks.network import Network
from harness.tables.channels import ChannelLatency
from harness.tables.forms import Floats
from harness.tables.listing import Placed
from harness.tables.table import LatencyTable, timed
from harness.tables.widths import Alike, alike, width_field, with_width

Reads = Mapping[int, int]
"""How often the channels of each group occur; of FIXED, how many stay whatever the groups do."""

_Changing = tuple[int, tuple[ChannelLatency, ...], Reads, Reads]
_TRIES = 20
_MOVES = 8


class LayerTable:
    """A table of single layers (`table build --layers`), asked for networks of other widths than it was measured at."""

    def __init__(self, table: LatencyTable) -> None:
        self.table = table
        self._known: dict[Alike, tuple[ChannelLatency, ...]] = {}

    def latency(self, channels: Channels) -> LayerLatency:
        """Return the latency of a graph as its groups of channels change.

        Raises MissingBlock that names the layers without rows, and ConfigError for one that no block stands for.
        """
        graph = channels.graph
        layers, missing, fixed_ms = [], [], {}
        for position, node in enumerate(graph.nodes, len(graph.inputs)):
            block, inputs = layer_of(node.operation), tuple(map(graph.shape, node.inputs))
            if not timed(block):
                continue
            key, kind = block_key(block, inputs), alike(block, inputs)
            reads = channels.shares[node.inputs[0] if len(inputs) == 1 else position]
            makes = channels.shares[position] if len(inputs) == 1 and width_field(block) else {}
            if set(reads) | set(makes) <= {FIXED}:
                if self.table.predictor.row(key) is None:
                    missing.append(key)
                else:
                    fixed_ms[position] = self.table.predictor.block_ms(key)
            else:
                if kind not in self._known:
                    self._known[kind] = ChannelLatency.patches(self.table, block, inputs)
                patches = tuple(one for one in self._known[kind] if _holds_fixed(one, reads, makes))
                if patches:
                    layers.append((position, patches, reads, makes))
                else:
                    missing.append(key)
        if missing:
            keys = tuple(dict.fromkeys(missing))
            raise MissingBlock(
                keys, self.table.origin.device, "measure its layers: harness prune ... --complete, with --widths that it may take"
            )
        widths = [group.channels for group in channels.groups]
        return LayerLatency(layers, fixed_ms, self.table.predictor.constant_ms, widths)


class LayerLatency:
    """The latency of a network at widths of its groups of channels, each layer interpolated by `ChannelLatency`."""

    def __init__(self, layers: Sequence[_Changing], fixed_ms: Mapping[int, float], constant_ms: float, widths: Sequence[int]) -> None:
        """Take the layers that change, what each other one takes by its position, what comes beyond them, and the network's own widths."""
        self._layers = layers
        self._fixed_ms = fixed_ms
        self._constant_ms = constant_ms
        self._widths = tuple(widths)

    def of(self, widths: Sequence[int]) -> float:
        """Return the latency in ms; raises ConfigError for a width outside of what was measured."""
        return self._constant_ms + sum(self.by_position(widths).values())

    def by_position(self, widths: Sequence[int]) -> dict[int, float]:
        """Return what each layer takes, in ms, by its position in the graph; raises ConfigError likewise."""
        found = dict(self._fixed_ms)
        for position, patches, reads, makes in self._layers:
            ends = width_among(reads, widths), width_among(makes, widths)
            found[position] = float(_covering(patches, ends).latency_ms(*ends))
        return found

    def nearest(self, widths: Sequence[int]) -> list[int]:
        """Return widths near to these that all layers were measured around: these where they were."""
        found = list(widths)
        for _ in range(_MOVES):
            if self.covers(found):
                return found
            found = self._within(found)
        # Of grids near to these some exclude each other: those around the network's own widths never do.
        return found if self.covers(found) else self._within(widths, self._widths)

    def _within(self, widths: Sequence[int], around: Sequence[int] | None = None) -> list[int]:
        """Return widths brought into the grids that lie around others, or layer by layer into those nearest to what they are by then."""
        found = list(widths)
        for _, patches, *sides in self._layers:
            grid = _around(patches, sides, found if around is None else around)
            for shares, (low, high) in zip(sides, grid.ranges, strict=True):
                fixed = shares.get(FIXED, 0)
                whole = width_among(shares, self._widths) - fixed
                for number in set(shares) - {FIXED}:
                    # Of a concatenation each group has its part: all of them together must lie within.
                    own = self._widths[number]
                    found[number] = min(max(found[number], -(-own * (low - fixed) // whole)), own * (high - fixed) // whole)
        return found

    def covers(self, widths: Sequence[int]) -> bool:
        """Return whether all layers were measured at such widths, or at wider and narrower ones."""
        return all(
            any(patch.covers(width_among(reads, widths), width_among(makes, widths)) for patch in patches)
            for _, patches, reads, makes in self._layers
        )

    def gradient(self, widths: Sequence[int]) -> Floats:
        """Return what a channel more of each group would add, in ms [groups]; raises ConfigError likewise."""
        found = np.zeros(len(self._widths))
        for _, patches, reads, makes in self._layers:
            ends = width_among(reads, widths), width_among(makes, widths)
            for slope, channels in zip(_covering(patches, ends).gradient(*ends), (reads, makes), strict=True):
                for number, times in channels.items():
                    if number != FIXED:
                        found[number] += times * float(slope)
        return found

    def said(self, amount: float) -> str:
        """Return an amount in ms."""
        return f"{amount:.4g} ms"


def _around(patches: Sequence[ChannelLatency], sides: Sequence[Reads], widths: Sequence[int]) -> ChannelLatency:
    """Return the grid that a layer's widths lie in, or the nearest to them; of several the one that reaches furthest."""
    ends = [width_among(shares, widths) for shares in sides]

    def distance(patch: ChannelLatency) -> float:
        return sum(max(0.0, math.log(low / end), math.log(end / high)) for end, (low, high) in zip(ends, patch.ranges, strict=True) if end)

    def reach(patch: ChannelLatency) -> int:
        changing = [high - low + 1 for shares, (low, high) in zip(sides, patch.ranges, strict=True) if set(shares) - {FIXED}]
        return math.prod(changing)

    return min(patches, key=lambda patch: (distance(patch), -reach(patch)))


def _holds_fixed(patch: ChannelLatency, *sides: Reads) -> bool:
    """Return whether a grid holds the channels of a layer that stay, on a side where none changes."""
    return all(low <= shares[FIXED] <= high for shares, (low, high) in zip(sides, patch.ranges, strict=True) if set(shares) == {FIXED})


def _covering(patches: Sequence[ChannelLatency], ends: tuple[int, int]) -> ChannelLatency:
    """Return the largest grid that these widths lie in; where they lie in none, that one says so."""
    return next((patch for patch in patches if patch.covers(*ends)), patches[0])


def layers_at_widths(network: Network, shares: Sequence[float]) -> tuple[Placed, ...]:
    """Return every layer of a network that takes time, as it is and where groups of its channels have these shares of them.

    Widths are multiples of 8. Each width that a layer reads stands with each that it makes; what a layer that reads several others adds
    or concatenates has one share in all of them.
    """
    whole = layered(network)
    graph, output = whole.graph()
    channels = Channels(graph, output)
    grids = [_widths_at(channels, share) for share in (None, *shares)]
    found: dict[str, Placed] = {}
    for position, node in enumerate(graph.nodes, len(graph.inputs)):
        block = layer_of(node.operation, tuple(range(len(node.inputs))))
        if not timed(block):
            continue
        inputs = [tuple((*graph.shape(source)[:-1], channels.width_at(source, widths)) for source in node.inputs) for widths in grids]
        outs = {channels.width_at(position, widths) for widths in grids} if len(node.inputs) == 1 and width_field(block) else {0}
        for read, out in product(dict.fromkeys(inputs), sorted(outs)):
            one = with_width(block, out) if out else block
            found[block_key(one, read)] = one, read
    return tuple(found.values())


def varied(network: Network, shares: Sequence[float], count: int, seed: int = 0) -> tuple[Network, ...]:
    """Return so many different networks of a network's layers at random widths of those that `layers_at_widths` lists, itself first.

    Groups of channels that are concatenated somewhere have the same share. Where there are fewer, fewer are returned.
    """
    whole = layered(network)
    graph, output = whole.graph()
    channels = Channels(graph, output)
    grids = [_widths_at(channels, share) for share in (None, *shares)]
    together = _concatenated(channels)
    generator = random.Random(seed)
    found = {whole.sha256: whole}
    for _ in range(_TRIES * count):
        if len(found) >= count:
            break
        drawn = {first: generator.choice(grids) for first in dict.fromkeys(together)}
        widths = [drawn[first][number] for number, first in enumerate(together)]
        name = f"{network.name} of widths {'-'.join(map(str, widths))}"
        one = network_of_graph(name, channels.resized(widths), output, network.training)
        found.setdefault(one.sha256, one)
    return tuple(found.values())


def _widths_at(channels: Channels, share: float | None) -> tuple[int, ...]:
    return tuple(group.channels if share in (None, 1) else divisible(share * group.channels) for group in channels.groups)


def _concatenated(channels: Channels) -> list[int]:
    """Return for each group the first of those whose channels stand beside its own somewhere, itself where there are none."""
    first = list(range(len(channels.groups)))
    for shares in channels.shares:
        numbers = sorted({first[number] for number in shares if number != FIXED})
        first = [numbers[0] if one in numbers else one for one in first] if numbers else first
    return first
