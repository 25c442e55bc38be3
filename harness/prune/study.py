"""A pruning of one model, method by method, step by step on the disk: one that was killed goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ConfigError
from harness.log import LineLog
from harness.prune.asked import UNSTRUCTURED, Asked, Told
from harness.prune.hashes import origin_hash, structure_hash
from harness.prune.magnitude import (
    Sensitivity,
    by_quality,
    by_shares,
    deviations,
    dropout_rates,
    rescale_dropout,
    sensitivities,
    shares_at,
    shares_within,
)
from harness.prune.masks import Masks, check_kernels, hold, kernels_of, release, share_kept, shares_of, zeros_of
from harness.prune.morphnet import MorphNet, check_alive
from harness.prune.netadapt import Cut, adapt, check_reachable
from harness.prune.resources import resource_of
from harness.prune.saliency import check_exact, least_salient, saliencies
from harness.prune.structure import Structure
from harness.tables.layers import LayerTable
from harness.tables.reading import plain, read
from harness.training.backend import load_keras
from harness.training.data import DataSet
from harness.training.fit import Recipe, accuracy_of, check_fits, fed, fit
from harness.training.isolated import Isolated
from harness.training.saved import load_model, save_model

EXAMPLES = 1000
"""Images by which the Hessian's diagonal is estimated."""

LOG, DENSE, CUT, PRUNED = "steps.jsonl", "dense.keras", "cut.keras", "pruned.keras"


@dataclass(frozen=True, eq=False)
class Pruned:
    """What became of a model: `dense` as it was, `model` as it is now, and how sensitive its kernels were, where that was asked."""

    dense: Any
    model: Any
    sensitivities: tuple[Sensitivity, ...]


def run_study(
    model: Any,
    trained: bool,
    asked: Asked,
    data: DataSet,
    recipe: Recipe,
    folder: Path,
    table: LayerTable | None = None,
    tell: Callable[[Told], None] = lambda _: None,
) -> Pruned:
    """Return a model, pruned; `folder` holds every step, and dense.keras and pruned.keras in the end. One that is trained is not changed.

    The same study goes on from there. Raises ConfigError for a target that cannot be reached, a table that lacks layers, data that do not
    fit the model, and a folder of another study, and TrainingFailed where training diverges.
    """
    structure = Structure(model)
    settings = {
        "model": structure_hash(structure),
        "asked": plain(asked),
        "data": data.sha256,
        "recipe": plain(recipe),
        "table": None if table is None else origin_hash(table),
    }
    _check(structure, trained, asked, data, table)
    with LineLog(folder / LOG, settings, "pruning") as log:
        work = _Work(asked, data, recipe, folder, log, tell)
        dense = work.dense(model, trained)
        copy = load_model(folder / DENSE)
        match asked.method:
            case "magnitude" | "obd":
                found = work.unstructured(copy)
            case "netadapt":
                found = work.netadapt(copy, table)
            case "morphnet":
                found = work.morphnet(copy, table)
        return Pruned(dense, found, work.sensitivities)


def _check(structure: Structure, trained: bool, asked: Asked, data: DataSet, table: LayerTable | None) -> None:
    """Raise ConfigError for what cannot be, before anything is trained."""
    check_fits(structure.model, data)
    if asked.method in UNSTRUCTURED:
        check_kernels(structure.model)
    if asked.quality is not None and trained:
        by_quality(structure.model, asked.quality, deviations(structure.model))
    if asked.method == "obd" and asked.hessian == "exact":
        check_exact(structure.model)
    if asked.method in UNSTRUCTURED:
        return
    resource = resource_of(asked.resource, structure, table)
    assert asked.target is not None
    if asked.method == "netadapt" and (amount := resource.of(structure.widths)) <= asked.target:
        what = f"{structure.model.name} has {resource.said(amount)}, no more than the target of {resource.said(asked.target)}"
        raise ConfigError(what, "give a target below it")
    if asked.method == "morphnet":
        check_alive(structure, resource, asked.target, asked.multiple)
    else:
        check_reachable(structure, resource, asked.target, asked.multiple)


class _Work:
    """The steps of one study, each done once."""

    def __init__(self, asked: Asked, data: DataSet, recipe: Recipe, folder: Path, log: LineLog, tell: Callable[[Told], None]) -> None:
        self._asked = asked
        self._data = data
        self._recipe = recipe
        self._folder = folder
        self._log = log
        self._tell = tell
        self.sensitivities: tuple[Sensitivity, ...] = ()

    def dense(self, model: Any, trained: bool) -> Any:
        """Return the model that is pruned, trained if it was not."""
        path = self._folder / DENSE
        if self._lines("dense"):
            return load_model(path)
        accuracy = None
        if not trained:
            accuracy = self._train(model, self._asked.dense_epochs, "training the dense model", anew=True)
        save_model(model, path)
        self._note("dense", accuracy=accuracy)
        return model

    def unstructured(self, model: Any) -> Any:
        """Return the model with weights removed one by one."""
        asked = self._asked
        rounds = asked.rounds
        shares = tuple((number + 1) / rounds for number in range(rounds)) if asked.keep is None else shares_of(asked.keep, rounds)
        if asked.method == "magnitude":
            self.sensitivities = self._scan(model)
        rates, spreads = dropout_rates(model), deviations(model)
        if asked.quality is not None:
            by_quality(model, asked.quality, spreads)  # one that is too large is told before the rounds
        done = self._lines("round")
        if done:
            model = load_model(self._folder / _round(len(done) - 1))
        for number in range(len(done), rounds):
            self._tell(Told("choosing weights", number, rounds))
            masks = self._chosen(model, shares[number], spreads)
            hold(model, masks)
            rescale_dropout(model, masks, rates)
            accuracy = self._train(model, asked.epochs, f"round {number + 1} of {rounds}")
            save_model(model, self._folder / _round(number))
            self._note("round", number=number, kept=share_kept(zeros_of(model)), accuracy=accuracy)
        hold(model, zeros_of(model))
        found = self._final(model)
        release(found)
        return found

    def netadapt(self, model: Any, table: LayerTable | None) -> Any:
        """Return the model with fewer channels, cut group by group."""
        asked = self._asked
        assert asked.target is not None
        steps = self._lines("step")
        structure = Structure(model)
        resource = resource_of(asked.resource, structure, table)
        start = resource.of(structure.widths)
        if steps:
            model = load_model(self._folder / _step(len(steps) - 1))

        def cut(one: Cut) -> None:
            self._note("cut", **plain(one))
            said = "could not be trained" if one.accuracy is None else f"accuracy {one.accuracy:.4f}"
            self._tell(Told(f"step {one.step + 1}", 0, 0, f"{one.group} to {one.width}: {said}"))

        def stepped(taken: Cut, current: Any) -> None:
            save_model(current, self._folder / _step(taken.step))
            self._note("step", number=taken.step)
            said = f"took {taken.group} at {taken.width}, accuracy {taken.accuracy:.4f}"
            self._tell(Told(f"step {taken.step + 1} done", 0, 0, f"{said}: {resource.said(taken.amount)} left"))

        draft = self._folder / CUT
        with Isolated(partial(_trainer, self._data, self._recipe, asked)) as trained:

            def train(current: Any, step: int) -> float:
                accuracy = trained((save_model(current, draft), step))
                current.load_weights(draft)
                return accuracy

            found = adapt(
                model,
                lambda structure: resource_of(asked.resource, structure, table),
                asked.target,
                train,
                replace(asked.budgets, multiple=asked.multiple),
                known=[read(Cut, line, "a cut") for line in self._lines("cut")],
                cut=cut,
                stepped=stepped,
                start=start,
                first=len(steps),
            )
        draft.unlink(missing_ok=True)
        return self._final(found)

    def morphnet(self, model: Any, table: LayerTable | None) -> Any:
        """Return the model at other widths: shrunk and expanded round by round, then trained from new weights."""
        asked = self._asked
        assert asked.target is not None
        done = self._lines("round")
        if done:
            model = load_model(self._folder / _round(len(done) - 1))
        for number in range(len(done), asked.rounds):
            structure = Structure(model)
            resource = resource_of(asked.resource, structure, table)
            # What the round before left may be narrower than the resource is known for.
            morph = MorphNet(structure, resource, asked.strength / resource.of(resource.nearest(structure.widths)), multiple=asked.multiple)
            phase = f"shrinking, round {number + 1} of {asked.rounds}"
            accuracy = self._train(model, asked.epochs, phase, [morph.callback()], anew=number > 0)
            model = morph.expanded(asked.target)
            save_model(model, self._folder / _round(number))
            widths = list(Structure(model).widths)
            self._note("round", number=number, accuracy=accuracy, alive=morph.alive(), widths=widths)
        return self._final(model, anew=True)

    def _chosen(self, model: Any, share: float, spreads: Mapping[str, float]) -> Masks:
        """Return which weights stay after a round, none of them zero already; of thresholds `share` is the part that is reached then."""
        asked, masks = self._asked, zeros_of(model)
        if asked.method == "magnitude":
            if asked.quality is not None:
                found = by_quality(model, share * asked.quality, spreads)
            elif asked.loss is not None:
                found = by_shares(model, shares_within(self.sensitivities, share * asked.loss))
            else:
                sizes = {path: int(np.prod(kernel.shape)) for path, kernel in kernels_of(model).items()}
                found = by_shares(model, shares_at(self.sensitivities, sizes, share))
            return {path: mask & masks[path] for path, mask in found.items()}
        images, labels = self._data.train
        batches = fed((images[:EXAMPLES], labels[:EXAMPLES]), self._data.classes, tuple(model.input_shape[1:]), self._recipe)
        shown = np.concatenate([batch for batch, _ in batches.as_numpy_iterator()])
        return least_salient(saliencies(model, shown, labels[:EXAMPLES], asked.hessian), share, masks)

    def _scan(self, model: Any) -> tuple[Sensitivity, ...]:
        known = {one.kernel: one for one in (read(Sensitivity, line, "a sensitivity") for line in self._lines("sensitivity"))}
        total = len(kernels_of(model))

        def each(one: Sensitivity) -> None:
            known[one.kernel] = one
            self._note("sensitivity", **plain(one))
            self._tell(Told("sensitivity of kernels", len(known), total, one.kernel))

        judged = partial(accuracy_of, part=self._data.validation, classes=self._data.classes, recipe=self._recipe)
        return sensitivities(model, judged, each=each, known=known)

    def _final(self, model: Any, *, anew: bool = False) -> Any:
        path = self._folder / PRUNED
        if self._lines("final"):
            return load_model(path)
        epochs = self._asked.final_epochs
        accuracy = self._train(model, epochs, "training what is left", anew=anew) if epochs else None
        save_model(model, path)
        self._note("final", accuracy=accuracy)
        return model

    def _train(self, model: Any, epochs: int, phase: str, callbacks: Sequence[Any] = (), *, anew: bool = False) -> float:
        def each(epoch: int, accuracy: float) -> None:
            self._tell(Told(phase, epoch, epochs, f"accuracy {accuracy:.4f}"))

        self._tell(Told(phase, 0, epochs))
        recipe = replace(self._recipe, epochs=epochs, learning_rate=self._asked.dense_rate if anew else self._recipe.learning_rate)
        return fit(model, self._data, recipe, self._asked.seed, each=each, callbacks=callbacks).accuracies[-1]

    def _lines(self, kind: str) -> list[dict[str, Any]]:
        return [line[kind] for line in self._log.lines if kind in line]

    def _note(self, kind: str, **told: Any) -> None:
        self._log.append({kind: told})
        self._log.lines.append({kind: told})


def _trainer(data: DataSet, recipe: Recipe, asked: Asked) -> Callable[[tuple[Path, int]], float]:
    """Return what trains the model of a file for a step of NetAdapt, in place, and returns its accuracy."""
    load_keras()

    def train(given: tuple[Path, int]) -> float:
        path, step = given
        model = load_model(path)
        accuracy = fit(model, data, recipe, asked.seed + step, steps=asked.batches).accuracies[-1]
        save_model(model, path)
        return accuracy

    return train


def _round(number: int) -> str:
    return f"round-{number:02}.keras"


def _step(number: int) -> str:
    return f"step-{number:02}.keras"
