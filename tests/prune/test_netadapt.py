"""NetAdapt: what it cuts in a step, and that it comes to its budget by the most accurate way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.errors import ConfigError, TrainingFailed
from harness.prune.netadapt import Budgets, Cut, adapt, budget_of, cuts_of, strongest
from harness.prune.resources import Counted
from harness.prune.structure import Structure
from tests.prune.images import convolutional

pytestmark = pytest.mark.usefixtures("keras")

BUDGETS = Budgets(0.2, 1.0, 4)


def mult_adds(structure: Structure) -> Counted:
    return Counted(structure, "mult-adds")


def test_each_group_is_cut_as_little_as_meets_the_budget() -> None:
    structure = Structure(convolutional())
    resource = mult_adds(structure)
    amount = resource.of(structure.widths)
    for share in (0.95, 0.8, 0.6):
        for number, width in cuts_of(structure, resource, share * amount, 4).items():
            widths = list(structure.widths)
            widths[number] = width
            assert width % 4 == 0
            assert resource.of(widths) <= share * amount
            widths[number] = width + 4
            assert resource.of(widths) > share * amount


def test_the_budget_falls_to_the_target_and_no_further() -> None:
    assert budget_of(100.0, 10.0, 100.0, 0, Budgets(0.1, 0.5)) == 90
    assert budget_of(90.0, 10.0, 100.0, 1, Budgets(0.1, 0.5)) == 85
    assert budget_of(12.0, 10.0, 100.0, 0, Budgets(0.1, 0.5)) == 10


def test_the_channels_with_the_largest_weights_stay() -> None:
    model = convolutional()
    structure = Structure(model)
    for name in ("stem", "outer"):
        kernel = model.get_layer(name).kernel
        weights = kernel.numpy()
        weights[..., [2, 7, 11]] *= 50
        kernel.assign(weights)
    assert np.flatnonzero(strongest(structure, 0, 3)).tolist() == [2, 7, 11]


def test_the_most_accurate_cut_of_each_step_is_taken() -> None:
    made: list[Cut] = []
    steps: list[int] = []

    def train(model: Any, step: int) -> float:
        """Prefer to lose channels of the inner layer."""
        return float(model.get_layer("stem").filters + 0.01 * model.get_layer("inner").filters - step)

    def resource(structure: Structure) -> Counted:
        return mult_adds(structure)

    model = convolutional()
    start = mult_adds(Structure(model)).of((16, 24))
    found = adapt(model, resource, 0.5 * start, train, BUDGETS, cut=made.append, stepped=lambda taken, _: steps.append(taken.step))
    assert found.get_layer("stem").filters == 16
    assert mult_adds(Structure(found)).of(Structure(found).widths) <= 0.5 * start
    assert steps == list(range(len(steps)))
    assert {one.group for one in made} == {"stem and 1 more", "inner"}
    trained: list[int] = []

    def count(model: Any, step: int) -> float:
        trained.append(step)
        return train(model, step)

    again = adapt(model, resource, 0.5 * start, count, BUDGETS, known=made)
    assert again.get_layer("inner").filters == found.get_layer("inner").filters
    assert len(trained) == len(steps)  # the best of each step alone, whose weights are not known


def test_a_cut_that_cannot_be_trained_is_not_taken() -> None:
    made: list[Cut] = []

    def train(model: Any, step: int) -> float:
        if step == 0 and model.get_layer("inner").filters < 24:
            raise TrainingFailed("its loss is nan after epoch 1", "a lower learning rate may help")
        return 0.5

    start = mult_adds(Structure(convolutional())).of((16, 24))
    found = adapt(convolutional(), mult_adds, 0.8 * start, train, BUDGETS, cut=made.append)
    assert [(one.group, one.accuracy) for one in made] == [("stem and 1 more", 0.5), ("inner", None)]
    assert found.get_layer("inner").filters == 24
    with pytest.raises(TrainingFailed, match="no cut of step 1 could be trained"):
        adapt(convolutional(), mult_adds, 0.8 * start, lambda *_: 0.5, BUDGETS, known=[replace(one, accuracy=None) for one in made])


def test_a_step_that_no_group_can_take_alone_is_made_smaller() -> None:
    model = convolutional()
    start = mult_adds(Structure(model)).of((16, 24))
    steps: list[int] = []
    target = 0.12 * start  # both groups must shrink far, and neither brings it there in one step of 88%
    found = adapt(model, mult_adds, target, lambda *_: 0.5, Budgets(0.88, 1.0, 4), stepped=lambda taken, _: steps.append(taken.step))
    assert mult_adds(Structure(found)).of(Structure(found).widths) <= target
    assert len(steps) > 1


def test_a_target_that_no_cut_reaches_is_an_error() -> None:
    with pytest.raises(ConfigError, match="cannot be reached: at its narrowest the network has"):
        adapt(convolutional(), mult_adds, 10.0, lambda *_: 0.5, BUDGETS)


def test_derivatives_of_counts_are_exact() -> None:
    structure = Structure(convolutional())
    counted = mult_adds(structure)
    first, second = counted.gradient((16, 24))
    # The stem, the inner layer and the outer one work on 144 places.
    assert first == 144 * (9 + 9 * 24 + 24) + 4
    assert second == 144 * (9 * 16 + 16)
