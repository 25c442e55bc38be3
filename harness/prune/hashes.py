"""What tells a pruning of other models, or by another table, apart."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from harness.prune.structure import Structure
from harness.tables.layers import LayerTable
from harness.tables.reading import plain


def structure_hash(structure: Structure) -> str:
    """Return a hash of what a Keras model computes and of all its weights, whatever its layers are called."""
    found = hashlib.sha256(repr(structure.graph.nodes).encode())
    for weight in structure.model.weights:
        found.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return found.hexdigest()


def origin_hash(table: LayerTable) -> str:
    """Return a hash of where and when a table was measured, and of its calibration: rows that are added do not change it."""
    told = [plain(table.table.origin), plain(table.table.calibration)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
