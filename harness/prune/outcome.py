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
from harness.tables.layers import LayerLatency, LayerTable
from harness.tables.reading import read_file, write_file
from harness.tables.wholes import measured_ms
from harness.training.data import DataSet
from harness.training.fit import Recipe, accuracy_of

MOVING = ("moving_mean", "moving_variance")
"""What batch norm keeps that is no parameter."""

TFLITE_BEFORE, TFLITE_AFTER, REPORT = "dense.tflite", "pruned.tflite", "report.json"


@dataclass(frozen=True)
class Amounts:
    """A model: its accuracy on the test set, what can be counted of it, and its latency as predicted and as measured, where it was.

    `weights` counts those of its kernels that are not zero: they change nothing of what is predicted.
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
    latencies = [_latency(one, table) for one in structures]
    taken_ms: Sequence[float | None] = (None, None)
    if device is not None:
        models = [prepare_tflite(file, file.stem, {}) for file in files]
        like = None if table is None else table.table.origin
        taken_ms = measured_ms(models, device, like=like, fresh=True, inventory=inventory, results=results, progress=progress)
    before, after = (
        _amounts(one, data, recipe, latency, each_ms) for one, latency, each_ms in zip(structures, latencies, taken_ms, strict=True)
    )
    outcome = Outcome(name, method, device, before, after, _changes(structures, latencies), structures[0].whole, made_with)
    write_file(outcome, folder / REPORT)
    return outcome


def _latency(structure: Structure, table: LayerTable | None) -> LayerLatency | None:
    """Return the latency of a model's layers by a table; None without one, or where it was measured at no such widths."""
    if table is None:
        return None
    found = table.latency(structure.channels)
    return found if found.covers(structure.widths) else None


def _amounts(structure: Structure, data: DataSet, recipe: Recipe, latency: LayerLatency | None, taken_ms: float | None) -> Amounts:
    model = structure.model
    return Amounts(
        accuracy_of(model, data.test, data.classes, recipe),
        int(sum(np.prod(weight.shape) for weight in model.weights if not weight.path.endswith(MOVING))),
        sum(int(np.count_nonzero(kernel.numpy())) for kernel in kernels_of(model).values()),
        structure.graph.costs().mult_adds,
        sizes_of(model),
        None if latency is None else latency.of(structure.widths),
        taken_ms,
    )


def _changes(structures: Sequence[Structure], latencies: Sequence[LayerLatency | None]) -> tuple[LayerChange, ...]:
    """Return what became of each layer with a kernel."""
    before, after = structures
    found = []
    layers_ms = [{} if latency is None else latency.by_position(one.widths) for one, latency in zip(structures, latencies, strict=True)]
    for name, places in before.layers.items():
        kept = after.layers.get(name)
        if kept is not None and kernels_in(places.layer):
            (channels, weights, mult_adds), others = (_told(*one) for one in ((before, places), (after, kept)))
            ends = [
                [known[place] for place in {one.inner, one.output} if place in known]
                for known, one in zip(layers_ms, (places, kept), strict=True)
            ]
            predicted_ms = (sum(ends[0]), sum(ends[1])) if all(ends) else None
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
