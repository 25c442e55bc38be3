"""Weights removed one by one: which ones, held at zero, how often, and what that takes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.prune.magnitude import (
    Sensitivity,
    by_quality,
    by_shares,
    deviations,
    dropout_rates,
    largest,
    rescale_dropout,
    sensitivities,
    shares_at,
    shares_within,
)
from harness.prune.masks import hold, kernels_of, release, share_kept, shares_of, zeros_of
from harness.prune.sizes import sizes_of, sparse_bytes
from harness.training.fit import accuracy_of, fit
from harness.training.layers import layers_of
from tests.prune.images import CLASSES, QUICK, convolutional, data, dense

pytestmark = pytest.mark.usefixtures("keras")


def test_the_largest_weights_stay() -> None:
    weights = np.array([[0.1, -3.0], [2.0, -0.5]], np.float32)
    assert largest(weights, 0.5).tolist() == [[False, True], [True, False]]
    assert largest(weights, 0.01).sum() == 1


def test_a_threshold_of_a_quality_is_so_many_deviations() -> None:
    model = dense()
    spreads = deviations(model)
    for path, mask in by_quality(model, 1.0, spreads).items():
        kernel = kernels_of(model)[path].numpy()
        assert (mask == (np.abs(kernel) > kernel.std())).all()
    with pytest.raises(ConfigError, match=r"9 standard deviations leave nothing of .*first/kernel"):
        by_quality(model, 9.0, spreads)
    before = by_quality(model, 1.0, spreads)
    hold(model, before)
    assert all((mask == before[path]).all() for path, mask in by_quality(model, 1.0, spreads).items())


def test_weights_held_at_zero_stay_there_while_others_learn() -> None:
    model = convolutional()
    masks = by_shares(model, dict.fromkeys(kernels_of(model), 0.3))
    hold(model, masks)
    before = {path: kernel.numpy() for path, kernel in kernels_of(model).items()}
    fit(model, data(), QUICK, steps=5)
    for path, kernel in kernels_of(model).items():
        after = kernel.numpy()
        assert (after[~masks[path]] == 0).all()
        assert (after[masks[path]] != before[path][masks[path]]).any()
    assert share_kept(zeros_of(model)) == pytest.approx(0.3, abs=0.01)
    release(model)
    fit(model, data(), QUICK, steps=2)
    assert share_kept(zeros_of(model)) > 0.9


def test_constraints_of_the_model_s_own_are_kept() -> None:
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_constraint="non_neg", name="one")])
    kernel = model.get_layer("one").kernel
    own = kernel.constraint
    masks = by_shares(model, dict.fromkeys(kernels_of(model), 0.5))
    hold(model, masks)
    hold(model, masks)
    (mask,) = masks.values()
    assert (np.asarray(kernel.constraint(np.full((4, 3), -1.0, np.float32))) == 0).all()
    assert (np.asarray(kernel.constraint(np.ones((4, 3), np.float32))) == mask).all()
    release(model)
    assert kernel.constraint is own


SCAN = (Sensitivity("a", (1.0, 0.5, 0.1), (0.9, 0.9, 0.5)), Sensitivity("b", (1.0, 0.5, 0.1), (0.9, 0.8, 0.2)))


def test_shares_follow_from_the_loss_that_is_allowed() -> None:
    assert shares_within(SCAN, 0.0) == pytest.approx({"a": 0.5, "b": 1.0})
    found = shares_within(SCAN, 0.1)
    assert found["a"] == pytest.approx(0.4)
    assert found["b"] == pytest.approx(0.5)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.3, 0.12, 0.05, 0.01])
def test_shares_add_up_to_the_share_of_all(share: float) -> None:
    sizes = {"a": 3000, "b": 1000}
    found = shares_at(SCAN, sizes, share)
    assert sum(sizes[path] * kept for path, kept in found.items()) / 4000 == pytest.approx(share, rel=0.02)


def test_a_kernel_never_gets_back_what_it_lost() -> None:
    scan = (Sensitivity("a", (1.0, 0.5, 0.1), (0.9, 0.8, 0.2)), Sensitivity("b", (1.0, 0.5, 0.1, 0.05), (0.9, 0.8, 0.8, 0.1)))
    sizes = {"a": 1000, "b": 1000}
    before = {"a": 1.0, "b": 1.0}
    for share in np.linspace(0.99, 0.02, 60):
        found = shares_at(scan, sizes, float(share))
        assert all(found[path] <= before[path] + 1e-9 for path in sizes)
        before = found


def test_a_scan_tries_each_kernel_by_itself() -> None:
    model, given = convolutional(), data()
    fit(model, given, replace(QUICK, epochs=4))
    judged = partial(accuracy_of, part=given.validation, classes=CLASSES, recipe=QUICK)
    before = [weight.copy() for weight in model.get_weights()]
    told: list[Sensitivity] = []
    found = sensitivities(model, judged, (1.0, 0.5, 0.01), told.append, {"head/kernel": SCAN[0]})
    assert [one.kernel for one in told] == ["stem/kernel", "inner/kernel", "outer/kernel"]
    assert found[-1] == SCAN[0]
    assert all(one.accuracies[0] == judged(model) for one in told)
    assert min(one.accuracies[-1] for one in told) < judged(model)
    assert all((one == other).all() for one, other in zip(before, model.get_weights(), strict=True))


def test_rounds_remove_as_large_a_part_of_what_is_left() -> None:
    assert shares_of(0.125, 3) == pytest.approx((0.5, 0.25, 0.125))


def test_dropout_follows_the_connections_that_are_left_before_it() -> None:
    model = dense()
    rates = dropout_rates(model)
    for share in (0.5, 0.25):  # from the rates of the whole model, not from those of the round before
        rescale_dropout(model, by_shares(model, dict.fromkeys(kernels_of(model), share)), rates)
        assert dropout_rates(model)["dropout"] == pytest.approx(rates["dropout"] * share**0.5)


def test_dropout_of_each_branch_follows_its_own_layers() -> None:
    import keras
    from keras import layers

    given = keras.Input((8, 8, 4))
    one = layers.Dropout(0.4, name="of_one")(layers.Dense(10, name="one")(layers.Flatten()(given)))
    mixed = layers.ReLU()(layers.SeparableConv2D(10, 3, name="other")(given))
    other = layers.Dropout(0.4, name="of_other")(layers.GlobalAveragePooling2D()(mixed))
    both = layers.Dropout(0.4, name="of_both")(layers.Concatenate()([one, other]))
    early = layers.Dropout(0.4, name="of_none")(given)
    model = keras.Model(given, layers.Dense(2, name="head")(layers.Concatenate()([both, layers.Flatten()(early)])))
    shares = {path: {"one": 0.25, "other": 0.5}.get(path.split("/")[-2], 1.0) for path in kernels_of(model)}
    rescale_dropout(model, by_shares(model, shares), dropout_rates(model))
    found = dropout_rates(model)
    assert found["of_one"] == pytest.approx(0.4 * 0.5)
    assert found["of_other"] == pytest.approx(0.4 * 0.5**0.5, rel=0.02)
    left = (0.25 * 2560 + 0.5 * 76) / (2560 + 76)
    assert found["of_both"] == pytest.approx(0.4 * left**0.5, rel=0.02)
    assert found["of_none"] == 0.4


def test_the_size_without_zeros_counts_each_weight_and_its_gap() -> None:
    assert sparse_bytes(np.array([1.0, 0, 0, 2.0], np.float32)) == 10
    assert sparse_bytes(np.array([0.0] * 300 + [1.0], np.float32)) == 10
    assert sparse_bytes(np.zeros(8, np.float32)) == 0
    model = dense()
    sizes = sizes_of(model)
    assert sizes.dense_bytes == 4 * model.count_params()
    assert sizes.sparse_bytes == sizes.dense_bytes  # without zeros it is the smaller
    hold(model, by_shares(model, dict.fromkeys(kernels_of(model), 0.1)))
    pruned = sizes_of(model)
    assert pruned.sparse_bytes < 0.3 * sizes.dense_bytes
    assert pruned.zlib_bytes < 0.4 * sizes.zlib_bytes


def test_layers_of_models_within_a_model_are_found() -> None:
    import keras

    given = keras.Input((12, 12, 1))
    model = keras.Model(given, dense()(given))
    assert [layer.name for layer in layers_of(model)][-3:] == ["first", "dropout", "second"]
