"""What a pruning gained: accuracy, weights, mult-adds, bytes and latency before and after, of the whole and layer by layer."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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
from harness.prune.structure import Structure, parameters_in
from harness.tables.layers import LayerLatency, LayerTable
from harness.tables.reading import plain, read_file, write_file
from harness.tables.wholes import Measured, measured
from harness.training.data import DataSet
from harness.training.fit import Recipe, accuracy_of
from harness.training.layers import layers_of

Amount = TypeVar("Amount", int, float)
TFLITE_BEFORE, TFLITE_AFTER, REPORT = "dense.tflite", "pruned.tflite", "report.json"


@dataclass(frozen=True)
class Amounts:
    """A model: its accuracy on the test set, what can be counted of it, its latency as predicted and as measured, where it was, with the
    95% interval of that.

    `weights` counts those of its kernels that are not zero: they change nothing of what is predicted.
    """

    accuracy: float
    parameters: int
    weights: int
    mult_adds: int
    sizes: Sizes
    predicted_ms: float | None = None
    measured_ms: float | None = None
    measured_interval_ms: tuple[float, float] | None = None


@dataclass(frozen=True)
class LayerChange:
    """A layer with weights before and after: the channels that it makes, its parameters, those of its kernels that are not zero.

    Mult-adds and what a table predicts are those of layers with kernels: a batch norm is part of the layer before it. What a layer that is
    not known computes is not counted.
    """

    name: str
    channels: tuple[int, int]
    parameters: tuple[int, int]
    weights: tuple[int, int]
    mult_adds: tuple[int, int] | None = None
    predicted_ms: tuple[float, float] | None = None


@dataclass(frozen=True)
class Outcome:
    """A pruning's report; `whole` names the layers that are not known: their channels are left as they are, their mult-adds not counted.

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
    structures = [Structure(model) for model in (dense, pruned)]
    latencies = [_latency(one, table) for one in structures]
    predicted_ms = [None if latency is None else latency.of(one.widths) for one, latency in zip(structures, latencies, strict=True)]
    by = [None if table is None else origin_hash(table), predicted_ms]
    settings = [method, device, by, data.sha256, plain(recipe)]
    made_with = hashlib.sha256(json.dumps([*settings, *map(structure_hash, structures)]).encode()).hexdigest()
    found = read_file(Outcome, folder / REPORT)
    if found is not None and found.made_with == made_with and all((folder / file).exists() for file in (TFLITE_BEFORE, TFLITE_AFTER)):
        return found
    files = [_converted(model, folder / file) for model, file in ((dense, TFLITE_BEFORE), (pruned, TFLITE_AFTER))]
    taken: Sequence[Measured | None] = (None, None)
    if device is not None:
        models = [prepare_tflite(file, file.stem, {}) for file in files]
        like = None if table is None else table.table.origin
        taken = measured(models, device, like=like, fresh=True, inventory=inventory, results=results, progress=progress)
    before, after = (
        _amounts(one, data, recipe, *told) for one, told in zip(structures, zip(predicted_ms, taken, strict=True), strict=True)
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


def _amounts(structure: Structure, data: DataSet, recipe: Recipe, predicted_ms: float | None, taken: Measured | None) -> Amounts:
    model = structure.model
    return Amounts(
        accuracy_of(model, data.test, data.classes, recipe),
        _parameters(model),
        sum(int(np.count_nonzero(kernel.numpy())) for kernel in kernels_of(model).values()),
        structure.graph.costs().mult_adds,
        sizes_of(model),
        predicted_ms,
        *((None, None) if taken is None else (taken.latency_ms, taken.interval_ms)),
    )


def _parameters(part: Any) -> int:
    """Return how many parameters a model or a layer has."""
    return sum(math.prod(weight.shape) for weight in parameters_in(part))


def _changes(structures: Sequence[Structure], latencies: Sequence[LayerLatency | None]) -> tuple[LayerChange, ...]:
    """Return what became of each layer with weights."""
    models = [{layer.name: layer for layer in layers_of(one.model) if layer.weights} for one in structures]
    layers_ms = [{} if latency is None else latency.by_position(one.widths) for one, latency in zip(structures, latencies, strict=True)]
    found = []
    for name in models[0]:
        before, after = (layers[name] for layers in models)
        places = [one.layers.get(name) for one in structures]
        found.append(
            LayerChange(
                name,
                (_channels(structures[0], before), _channels(structures[1], after)),
                (_parameters(before), _parameters(after)),
                (_weights(before), _weights(after)),
                _of_both([_mult_adds(*one) for one in zip(structures, places, strict=True)]),
                _of_both([_predicted_ms(*one) for one in zip(layers_ms, places, strict=True)]),
            )
        )
    return tuple(found)


def _channels(structure: Structure, layer: Any) -> int:
    """Return how many channels a layer makes, at its first output where it has several."""
    places = structure.layers.get(layer.name)
    if places is not None:
        return structure.graph.shape(places.output)[-1]
    return int(layer._inbound_nodes[-1].outputs[0].shape[-1])  # noqa: SLF001 - the only way where a layer has served twice


def _of_both(pair: Sequence[Amount | None]) -> tuple[Amount, Amount] | None:
    before, after = pair
    return None if before is None or after is None else (before, after)


def _weights(layer: Any) -> int:
    return sum(int(np.count_nonzero(kernel.numpy())) for kernel in kernels_in(layer))


def _mult_adds(structure: Structure, places: Places | None) -> int | None:
    """Return the mult-adds of a layer with kernels; None for one that is not known."""
    if places is None or not kernels_in(places.layer):
        return None
    graph, mult_adds = structure.graph, 0
    for position in {places.inner, places.output}:
        node = graph.nodes[position - len(graph.inputs)]
        mult_adds += node.operation.mult_adds([graph.shape(source) for source in node.inputs])
    return mult_adds


def _predicted_ms(by_position: Mapping[int, float], places: Places | None) -> float | None:
    """Return what a layer with kernels is predicted to take; None for one of which nothing is known."""
    if places is None or not kernels_in(places.layer):
        return None
    known = [by_position[place] for place in {places.inner, places.output} if place in by_position]
    return sum(known) if known else None


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
