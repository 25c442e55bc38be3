"""How many bytes the weights of a model take: dense, without their zeros, and compressed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.prune.masks import kernels_of

GAP = 255
"""The most zeros between two weights that one byte tells; longer ones take a zero that is written out."""


@dataclass(frozen=True)
class Sizes:
    """Bytes of a model's weights in float32.

    `sparse_bytes`: each weight of a kernel that is not zero with the number of zeros before it in a byte, all else dense (Han et al. 2016,
    section 2). `zlib_bytes`: all weights as they are, compressed by zlib at its best.
    """

    dense_bytes: int
    sparse_bytes: int
    zlib_bytes: int


def sizes_of(model: Any) -> Sizes:
    """Return the sizes of a Keras model."""
    kernels = {id(kernel) for kernel in kernels_of(model).values()}
    weights = [(np.asarray(weight.numpy(), np.float32), id(weight) in kernels) for weight in model.weights]
    return Sizes(
        sum(values.nbytes for values, _ in weights),
        sum(min(values.nbytes, sparse_bytes(values)) if kernel else values.nbytes for values, kernel in weights),
        len(zlib.compress(b"".join(values.tobytes() for values, _ in weights), 9)),
    )


def sparse_bytes(weights: npt.NDArray[np.float32]) -> int:
    """Return the bytes of a kernel's weights that are not zero, each with the gap before it."""
    places = np.flatnonzero(weights.ravel())
    gaps = np.diff(places, prepend=-1) - 1
    return int((5 * (1 + gaps // (GAP + 1))).sum())
