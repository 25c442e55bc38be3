"""What a pruning gained: accuracy, weights, mult-adds, bytes and latency before and after, of the whole and layer by layer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.convert.converter import Converter, prepare_tflite
from harness.files import StrPath, whole_file
from harness.measure.result import Progress
from harness.networks.layered import network_of_graph
from harness.networks.network import Network
from harness.prune.hashes import origin_hash, structure_hash
from harness.prune.keras_graph import Places
from harness.prune.masks import kernels_in, kernels_of
from harness.prune.sizes import Sizes, sizes_of
from harness.prune.structure import Structure
from harness.tables.layers import LayerTable
from harness.tables.reading import read_file, write_file
from harness.tables.wholes import measured_ms
from harness.training.data import DataSet
from harness.training.fit import Recipe, accuracy_of

TFLITE_BEFORE, TFLITE_AFTER, REPORT = "dense.tflite", "pruned.tflite", "report.json"


@dataclass(frozen=True)
class Amounts:
    """A model: its accuracy on the test set, what can be counted of it, and its latency as predicted and as measured, where it was.

    `weights` counts those of its kernels that are not zero.
    """

    accuracy: float
    parameters: int
    weights: int
    mult_adds: int
    sizes: Sizes
    predicted_ms: float | None = None
    measured_ms: float | None = None


@dataclass(frozen=True)
class LayerChange:
    """A layer before and after: the channels that it makes, its weights that are not zero, its mult-adds, what a table predicts of it."""

    name: str
    channels: tuple[int, int]
    weights: tuple[int, int]
    mult_adds: tuple[int, int]
    predicted_ms: tuple[float, float] | None = None


@dataclass(frozen=True)
class Outcome:
    """A pruning's report; `whole` names the layers that were left as they are, not being known, and of which nothing is counted.

    `made_with` tells one of other models or settings apart.
    """

    model: str
    method: str
    device: str | None
    before: Amounts
    after: Amounts
    layers: tuple[LayerChange, ...]
    whole: tuple[str, ...] = ()
    made_with: str = ""


def outcome_of(
    name: str,
    method: str,
    dense: Any,
    pruned: Any,
    data: DataSet,
    recipe: Recipe,
    folder: Path,
    *,
    device: str | None = None,
    table: LayerTable | None = None,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Return what was gained, and write dense.tflite, pruned.tflite and report.json into `folder`.

    Both are measured on the device in turns, as a table's networks are; without one they are not measured. A report that stands there of
    the same models is not made again. Raises ConfigError where a device cannot run them, and ConversionError.
    """
    by = None if table is None else origin_hash(table)
    structures = [Structure(model) for model in (dense, pruned)]
    made_with = hashlib.sha256(json.dumps([method, device, by, *map(structure_hash, structures)]).encode()).hexdigest()
    found = read_file(Outcome, folder / REPORT)
    if found is not None and found.made_with == made_with:
        return found
    files = [_converted(model, folder / file) for model, file in ((dense, TFLITE_BEFORE), (pruned, TFLITE_AFTER))]
    taken_ms: Sequence[float | None] = (None, None)
    if device is not None:
        models = [prepare_tflite(file, file.stem, {}) for file in files]
        like = None if table is None else table.table.origin
        taken_ms = measured_ms(models, device, like=like, fresh=True, inventory=inventory, results=results, progress=progress)
    before, after = (_amounts(one, data, recipe, table, latency_ms) for one, latency_ms in zip(structures, taken_ms, strict=True))
    outcome = Outcome(name, method, device, before, after, _changes(*structures, table=table), structures[0].whole, made_with)
    write_file(outcome, folder / REPORT)
    return outcome


def _amounts(structure: Structure, data: DataSet, recipe: Recipe, table: LayerTable | None, latency_ms: float | None) -> Amounts:
    model = structure.model
    predicted_ms = None if table is None else table.latency(structure.channels).of(structure.widths)
    return Amounts(
        accuracy_of(model, data.test, data.classes, recipe),
        int(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
        sum(int(np.count_nonzero(kernel.numpy())) for kernel in kernels_of(model).values()),
        structure.graph.costs().mult_adds,
        sizes_of(model),
        predicted_ms,
        latency_ms,
    )


def _changes(before: Structure, after: Structure, *, table: LayerTable | None) -> tuple[LayerChange, ...]:
    """Return what became of each layer with a kernel."""
    found = []
    latencies = [{} if table is None else table.latency(one.channels).by_position(one.widths) for one in (before, after)]
    for name, places in before.layers.items():
        kept = after.layers.get(name)
        if kept is not None and kernels_in(places.layer):
            (channels, weights, mult_adds), others = (_told(*one) for one in ((before, places), (after, kept)))
            ends_ms = [known.get(one.output) for known, one in zip(latencies, (places, kept), strict=True)]
            predicted_ms = None if ends_ms[0] is None or ends_ms[1] is None else (ends_ms[0], ends_ms[1])
            pairs = (channels, others[0]), (weights, others[1]), (mult_adds, others[2])
            found.append(LayerChange(name, *pairs, predicted_ms))
    return tuple(found)


def _told(structure: Structure, places: Places) -> tuple[int, int, int]:
    """Return the channels, the weights that are not zero, and the mult-adds of a layer."""
    graph, mult_adds = structure.graph, 0
    for position in {places.inner, places.output}:
        node = graph.nodes[position - len(graph.inputs)]
        mult_adds += node.operation.mult_adds([graph.shape(source) for source in node.inputs])
    weights = sum(int(np.count_nonzero(kernel.numpy())) for kernel in kernels_in(places.layer))
    return graph.shape(places.output)[-1], weights, mult_adds


def _converted(model: Any, path: Path) -> Path:
    with Converter() as converter:
        made = converter.submit(model).result()
    with whole_file(path) as draft:
        draft.write_bytes(made.path.read_bytes())
    return path


def network_of(model: Any, name: str) -> Network:
    """Return the network that a Keras model is, layer by layer; raises ConfigError for one with layers that no block stands for."""
    structure = Structure(model)
    return network_of_graph(name, structure.graph, structure.output)
