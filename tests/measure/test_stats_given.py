"""What the tests of statistics put in: chunks and repetitions whose samples are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from latency_agent.protocol import Chunk, Conditions, Repetition

CONDITIONS = Conditions(0, None, None, None, None, None, None, 0)
Numbers = Sequence[int] | npt.NDArray[np.int64]


def chunk(
    wall_ns: Numbers,
    *,
    lost_ns: Numbers | int = 0,
    switches: Numbers | int = 0,
    model: int = 2,
    repeats: int = 1,
    frequency_khz: int | None = None,
    discarded_ns: tuple[int, ...] = (),
) -> Chunk:
    """Return a chunk whose samples lost so much time each to others."""
    wall = np.asarray(wall_ns, np.int64)
    cpu = wall - np.asarray(lost_ns)
    switched = np.broadcast_to(np.asarray(switches), wall.shape)
    return Chunk(
        model, 0, repeats, discarded_ns, tuple(wall.tolist()), tuple(cpu.tolist()), tuple(switched.tolist()), frequency_khz, None, None
    )


def repetition(*chunks: Chunk) -> Repetition:
    return Repetition(chunks, (), (0,), CONDITIONS, CONDITIONS, 0)


def around(median_ns: float, seed: int, *, samples: int = 120, noise: float = 0.002) -> npt.NDArray[np.int64]:
    """Return the latencies of a quiet core."""
    return np.random.default_rng(seed).normal(median_ns, noise * median_ns, samples).astype(np.int64)


def benchmarked(latency_ns: float, seed: int, *, reference_ns: float = 200_000, return_ns: float = 500_000, **how: Any) -> Repetition:
    """Return a repetition of a benchmark: two references around one candidate, all quiet unless `how` says otherwise of the candidate."""
    references = [chunk(around(reference_ns, seed + 1000 * (1 + model)), model=model, discarded_ns=(int(return_ns),)) for model in (0, 1)]
    return repetition(*references, chunk(around(latency_ns, seed), **how))
