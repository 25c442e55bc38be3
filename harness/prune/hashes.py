"""What tells a pruning of other models, or by another table, apart."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from harness.prune.structure import Structure
from harness.tables.layers import LayerTable
from harness.tables.reading import plain


def structure_hash(structure: Structure) -> str:
    """Return a hash of what a Keras model computes and of all its weights, whatever its layers are called."""
    made = json.loads(structure.model.to_json())
    made.pop("compile_config", None)
    found = hashlib.sha256(json.dumps(_without_names(made, {}), sort_keys=True).encode())
    for weight in structure.model.weights:
        found.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return found.hexdigest()


def _without_names(part: Any, names: dict[str, str]) -> Any:
    """Return a model's configuration with a number in the place of each name: of layers, and of those that tensors say they come from."""
    match part:
        case {"class_name": str(kind)} if kind.endswith("Policy"):
            return part  # of number types, whose names tell them apart
        case dict():
            return {
                key: names.setdefault(one, f"#{len(names)}") if key == "name" and isinstance(one, str) else _without_names(one, names)
                for key, one in part.items()
            }
        case [str(name), int(node), int(index)]:
            return [names.setdefault(name, f"#{len(names)}"), node, index]
        case [*inner]:
            return [_without_names(one, names) for one in inner]
    return part


def origin_hash(table: LayerTable) -> str:
    """Return a hash of where and when a table was measured, and of its calibration: rows that are added do not change it."""
    told = [plain(table.table.origin), plain(table.table.calibration)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
