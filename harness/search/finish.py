"""The end of a study: the best candidate trained longer, converted, and measured on the devices that it was searched for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.convert.converter import prepare_tflite
from harness.errors import ConfigError
from harness.files import StrPath, whole_file
from harness.measure.benchmark import bench
from harness.measure.result import FailedResult, Progress
from harness.networks.network import Network
from harness.networks.space import Space
from harness.search.run import Parallel, Quality
from harness.search.study import Searched, Study, Target
from harness.search.train import Trainer, train
from harness.tables.reading import plain, read_file, write_file
from harness.tables.wholes import measured
from harness.training.data import DataSet
from harness.training.file_accuracy import accuracy_of_file
from harness.training.fit import Recipe, fed
from harness.training.isolated import Isolated
from harness.training.saved import load_model, save_model

KERAS, TFLITE, REPORT = "best.keras", "best.tflite", "best.json"
EXAMPLES = 200
"""Images by which an int8 model's ranges are found."""


@dataclass(frozen=True)
class Verified:
    """The found model on a device: its latency as its table predicts, as a table's networks are measured, and as `harness bench` finds it.

    `measured_ms` is to be held against `predicted_ms`: both are what the device takes by itself. `latency_ms` is a median, and includes
    what others cost it. Nothing is predicted without a table.
    """

    device: str
    target_ms: float
    predicted_ms: float | None
    measured_ms: float
    latency_ms: float
    interval_ms: tuple[float, float] | None
    verdict: str


@dataclass(frozen=True)
class Final:
    """The candidate that a study ends with, trained: its accuracies on validation data, epoch by epoch, and that on the test data.

    `file_accuracy` is that of its .tflite file, once there is one. `made_with` tells a report of other settings apart.
    """

    candidate: str
    epochs: int
    accuracies: tuple[float, ...]
    test_accuracy: float
    devices: tuple[Verified, ...]
    made_with: str
    file_accuracy: float | None = None


@dataclass(frozen=True, eq=False)
class Training:
    """How the candidates of a study are trained, and the best of them in the end: by the same recipe for `final_epochs`, at full size."""

    data: DataSet
    recipe: Recipe
    final_epochs: int = 30
    seed: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """What a search must have been made with to be gone on with."""
        return {"data": [self.data.name, self.data.sha256], "recipe": plain(self.recipe), "training_seed": self.seed}

    def quality(self, space: Space, ray: str | None = None) -> AbstractContextManager[Quality | Parallel]:
        """Return the quality of candidates, to be used in a `with`: trained in a process of their own, or by a Ray cluster's hosts."""
        make = partial(Trainer, space, self.data, self.recipe, self.seed)
        if ray is None:
            return Isolated(make)
        from harness.search.on_ray import OnRay

        return nullcontext(OnRay(make, ray))

    def finish(
        self,
        study: Study,
        found: Searched,
        folder: Path,
        *,
        inventory: StrPath | None = None,
        results: StrPath | None = None,
        each: Callable[[int, float], None] | None = None,
        progress: Callable[[Progress], None] | None = None,
        ray: str | None = None,
    ) -> Final | None:
        """Return what becomes of the best candidate, and write best.keras, best.tflite and best.json into `folder`.

        What stands there of the same candidate and recipe is not done again; None where there is no best one, or no epochs for it.
        `each` is told every epoch and its accuracy. Raises TrainingFailed where training fails, and ConfigError where a device cannot run
        the model.
        """
        if found.best is None or not self.final_epochs:
            return None
        network = study.space.network(found.best.tokens)
        made_with = hashlib.sha256(json.dumps([network.sha256, self.settings, self.final_epochs]).encode()).hexdigest()
        final = read_file(Final, folder / REPORT)
        recipe = replace(self.recipe, epochs=self.final_epochs, resolution=None)
        if final is None or final.made_with != made_with:
            trained = train(network, self.data, recipe, self.seed, tested=True, each=each)
            assert trained.test_accuracy is not None
            save_model(trained.model, folder / KERAS)
            final = Final(network.name, self.final_epochs, trained.accuracies, trained.test_accuracy, (), made_with)
            write_file(final, folder / REPORT)  # what fails from here on, as a device that is away, costs no second training
        if final.file_accuracy is None:
            file = tflite_of(network, load_model(folder / KERAS), self.data, recipe, precision_of(study.targets))
            with whole_file(folder / TFLITE) as draft:
                draft.write_bytes(file)
            final = replace(final, file_accuracy=accuracy_of_file(file, self.data.test, self.data.classes, recipe))
            write_file(final, folder / REPORT)
        if not final.devices:
            if ray is None:
                verified = [verify(folder / TFLITE, network, target, inventory, results, progress) for target in study.targets]
            else:
                from harness.search.ray_devices import verify_there

                verified = [verify_there(folder / TFLITE, network, target, ray, inventory, results) for target in study.targets]
            final = replace(final, devices=tuple(verified))
            write_file(final, folder / REPORT)
        return final


def tflite_of(network: Network, model: Any, data: DataSet, recipe: Recipe, precision: str) -> bytes:
    """Return the .tflite file of a network with the weights of its Keras model; int8 by the ranges that some of the data show."""
    from harness.convert.calibrated import write_calibrated
    from harness.convert.carried import CarriedWeights
    from harness.convert.direct import write_network

    weights = CarriedWeights(model)
    if precision != "int8":
        return write_network(network, weights)
    images, labels = data.train
    batches = fed((images[:EXAMPLES], labels[:EXAMPLES]), data.classes, network.input, recipe).as_numpy_iterator()
    return write_calibrated(network, weights, np.concatenate([shown for shown, _ in batches]))


def verify(
    file: Path,
    network: Network,
    target: Target,
    inventory: StrPath | None,
    results: StrPath | None,
    progress: Callable[[Progress], None] | None,
) -> Verified:
    """Return a network's latency on the device of a target, predicted and measured; raises DeviceError where it cannot be run."""
    _, threads = target.settings
    model = prepare_tflite(file, network.name, {})
    where: dict[str, Any] = {"inventory": inventory, "results": results, "progress": progress}
    (whole,) = measured([model], target.device, threads, like=target.origin, fresh=True, **where)
    (found,) = bench(file, device=target.device, threads=threads, **where)
    if isinstance(found, FailedResult):
        raise ConfigError(f"{target.device} cannot run {file}: {found.error}", "its kernels may differ there: harness bench says more")
    return Verified(
        target.device,
        target.latency_ms,
        None if target.table is None else target.table.predict(network).latency_ms,
        whole.latency_ms,
        found.latency_ms,
        found.interval_ms,
        found.verdict,
    )


def precision_of(targets: Sequence[Target]) -> str:
    """Return the precision of the models that tables are of; raises ConfigError where it is not one, or not told."""
    precisions = {target.settings[0] for target in targets}
    if len(precisions) > 1:
        raise ConfigError(f"tables of {' and '.join(sorted(precisions))} models", "search with tables of one precision")
    return precisions.pop()
