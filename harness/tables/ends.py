"""Networks from the ends of a space: a search goes there, and what it finds is no random network.

Random networks hardly differ in how much of their latency goes to weights, by which late layers differ from early ones. Coefficients that
were fitted to them alone say nothing of those that a search finds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.networks.graph import Costs
from harness.networks.network import Network
from harness.networks.space import Space

_STEPS = 300
_RIDGE = 1e-3
"""Of what is known before the first network, in standard deviations: it makes few networks no singular matrix."""

Floats = npt.NDArray[np.float64]


def ends_of(space: Space, count: int, known: Sequence[Network], seed: int) -> list[Network]:
    """Return up to so many networks that, each after those before it, tell most about a line through a latency's parts.

    What a network tells is its leverage beside those that are `known` (a D-optimal design, one point after the other: Wynn 1970), in
    relative errors of a latency that is taken to go with mult-adds: of a constant, mult-adds, weights and activations. Fewer come back from
    a space that has no others.
    """
    generator = random.Random(seed)
    sampled = np.array([_parts(space.costs(space.sample(generator))) for _ in range(_STEPS)])
    scale = sampled.std(axis=0)
    scale[scale == 0] = 1.0
    middle = sampled.mean(axis=0)

    def told(costs: Costs) -> Floats:
        return np.concatenate([[1.0], (_parts(costs) - middle) / scale])

    taken = {network.sha256 for network in known}
    matrix = _RIDGE * np.eye(1 + len(scale))
    for network in known:
        matrix += np.outer(told(network.costs), told(network.costs))
    found: list[Network] = []
    for _ in range(count):
        inverse: Floats = np.linalg.inv(matrix).astype(np.float64)
        best = space.sample(generator)
        most = _leverage(inverse, told(space.costs(best)))
        for _ in range(_STEPS):
            other = space.mutate(best, generator)
            leverage = _leverage(inverse, told(space.costs(other)))
            if leverage > most:
                best, most = other, leverage
        network = space.network(best)
        if network.sha256 in taken:
            continue
        taken.add(network.sha256)
        found.append(network)
        matrix += np.outer(told(network.costs), told(network.costs))
    return found


def _parts(costs: Costs) -> Floats:
    return np.array([1e6, costs.weights, costs.activations]) / costs.mult_adds


def _leverage(inverse: Floats, told: Floats) -> float:
    return float(told @ inverse @ told)
