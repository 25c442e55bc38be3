"""Networks that a search would find by what is known of a table so far: an optimum is where a table errs in its favour.

Random networks do not tell how far that goes. Calibrated by some that were sought and measured, a table's form learns to expect it.
"""

from __future__ import annotations

import random

import numpy as np

from harness.networks.network import Network
from harness.networks.space import Space, Tokens
from harness.tables.table import LatencyTable

_SAMPLED = 500
_STEPS = 1000
_OVER = 10.0
"""What a latency above the limit costs, in nats of capacity for each of latency."""


def sought_in(space: Space, table: LatencyTable, count: int, seed: int) -> list[Network]:
    """Return up to so many different networks with the most mult-adds and weights for what they are predicted, at several latencies.

    Fewer come back from small spaces. Raises MissingBlock where the table lacks a block that a candidate has.
    """
    generator = random.Random(seed)
    sampled = [space.sample(generator) for _ in range(_SAMPLED)]
    predicted_ms = table.predict_tokens(space, np.array(sampled)).latency_ms
    found: dict[str, Network] = {}
    for limit_ms in np.quantile(predicted_ms, (np.arange(count) + 0.5) / count).tolist():
        worths = [_worth(space, one, latency_ms, limit_ms) for one, latency_ms in zip(sampled, predicted_ms.tolist(), strict=True)]
        best = sampled[int(np.argmax(worths))]
        most = max(worths)
        for _ in range(_STEPS):
            other = space.mutate(best, generator)
            worth = _worth(space, other, float(table.predict_tokens(space, np.array([other])).latency_ms[0]), limit_ms)
            if worth > most:
                best, most = other, worth
        network = space.network(best)
        found[network.sha256] = network
    return list(found.values())


def _worth(space: Space, tokens: Tokens, latency_ms: float, limit_ms: float) -> float:
    costs = space.costs(tokens)
    return float(np.log(costs.mult_adds) + np.log(costs.weights) - _OVER * max(0.0, np.log(latency_ms / limit_ms)))
