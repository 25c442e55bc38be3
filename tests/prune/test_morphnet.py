"""MorphNet: the arithmetic of its expansion, its regularizer against the resource, and a whole round of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.networks.keras_build import build_keras
from harness.networks.layered import network_of_graph
from harness.networks.named import network_named
from harness.prune.morphnet import MorphNet, expand
from harness.prune.resources import Counted
from harness.prune.structure import Structure
from harness.tables.layers import LayerTable, layers_at_widths
from harness.training.fit import fit
from tests.prune.images import QUICK, convolutional, data, dense
from tests.prune.test_structure import worst
from tests.tables import given

pytestmark = pytest.mark.usefixtures("keras")


@dataclass(frozen=True)
class Sum:
    """A resource that is the sum of widths."""

    def of(self, widths: Sequence[int]) -> float:
        return float(sum(widths))

    def covers(self, _: Sequence[int]) -> bool:
        return True

    def nearest(self, widths: Sequence[int]) -> list[int]:
        return [min(width, 200) for width in widths]

    def gradient(self, widths: Sequence[int]) -> Any:
        return np.ones(len(widths))

    def said(self, amount: float) -> str:
        return f"{amount:g} channels"


def test_expansion_multiplies_what_is_alive() -> None:
    # At a factor of 1.5: of 100 channels 10 are left and become 15, of 100 80 and become 120.
    assert expand([10, 80], Sum(), 135) == [15, 120]
    assert expand([10, 80], Sum(), 136) == [15, 121]
    assert expand([10, 80], Sum(), 90) == [10, 80]
    assert expand([10, 80], Sum(), 140, multiple=8) == [16, 120]
    assert expand([10, 80], Sum(), 1000) == [25, 200]  # it is not known for more
    assert expand([43, 16], Sum(), 182, multiple=8) == [128, 48]  # 43 times 124/43 is 124 exactly, and rounded up


def test_what_is_alive_must_be_within_the_budget() -> None:
    with pytest.raises(ConfigError, match="what is alive has 90 channels already, more than 89 channels"):
        expand([10, 80], Sum(), 89)


def test_the_regularizer_is_the_cost_of_channels_times_their_scales() -> None:
    model = convolutional()
    structure = Structure(model)
    morph = MorphNet(structure, Counted(structure, "mult-adds"), 1e-6)
    scales = {"stem_norm": 0.5, "outer_norm": -2.0, "inner_norm": 0.25}
    for name, scale in scales.items():
        model.get_layer(name).gamma.assign(np.full(model.get_layer(name).gamma.shape, scale))
    per_stem, per_inner = Counted(structure, "mult-adds").gradient((16, 24))
    expected = 1e-6 * (per_stem * 16 * 2.0 + per_inner * 24 * 0.25)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    morph.remove()
    assert model.losses == []


def test_latency_is_a_resource_like_others() -> None:
    model = convolutional()
    structure = Structure(model)
    network = network_of_graph("convolutional", structure.graph, structure.output)
    latency = LayerTable(given.table(layers_at_widths(network, (0.5, 1.5)))).latency(structure.channels)
    morph = MorphNet(structure, latency, 1.0)
    assert float(sum(model.losses)) == pytest.approx(float(latency.gradient((16, 24)) @ (16, 24)), rel=1e-4)
    model.get_layer("inner_norm").gamma.assign(np.where(np.arange(24) < 20, 0.001, 1.0))
    morph.update()  # 4 channels were not measured: 8 are the nearest
    whole = latency.of((16, 24))
    assert morph.alive() == [16, 4]
    assert Structure(morph.shrunk(whole)).widths == (16, 4)
    wider = Structure(morph.expanded(whole)).widths
    assert latency.of(latency.nearest(wider)) <= whole
    assert wider[0] > 16
    with pytest.raises(ConfigError, match="at its narrowest it has"):
        morph.shrunk(0.1 * whole)


def test_a_model_that_was_fitted_before_is_regularized_too() -> None:
    model, images = convolutional(), data(64)
    model.compile("sgd", "sparse_categorical_crossentropy")
    pixels, labels = images.train[0].astype(np.float32) / 255, images.train[1]
    model.fit(pixels, labels, verbose=0)
    structure = Structure(model)
    amount = Counted(structure, "mult-adds").of(structure.widths)
    MorphNet(structure, Counted(structure, "mult-adds"), 100.0 / amount)
    scales = np.abs(model.get_layer("inner_norm").gamma.numpy()).sum()
    model.fit(pixels, labels, epochs=3, verbose=0)
    assert np.abs(model.get_layer("inner_norm").gamma.numpy()).sum() < 0.9 * scales


def test_dead_channels_count_for_nothing() -> None:
    model = convolutional()
    structure = Structure(model)
    morph = MorphNet(structure, Counted(structure, "mult-adds"), 1e-6)
    norm = model.get_layer("inner_norm")
    norm.gamma.assign(np.where(np.arange(24) < 18, 0.001, 1.0))
    assert morph.alive() == [16, 6]
    morph.update()
    per_stem, _ = Counted(structure, "mult-adds").gradient((16, 6))
    assert float(sum(model.losses)) == pytest.approx(1e-6 * (per_stem * 16 + 144 * 160 * (6 + 18 * 0.001)), rel=1e-4)
    assert morph.shrunk().get_layer("inner").filters == 6
    norm.gamma.assign(np.zeros(24))
    assert morph.alive() == [16, 1]


def test_costly_channels_die_while_it_trains_and_the_rest_grows() -> None:
    model, images = convolutional(), data()
    structure = Structure(model)
    resource = Counted(structure, "mult-adds")
    amount = resource.of(structure.widths)
    morph = MorphNet(structure, resource, 20.0 / amount)
    fit(model, images, replace(QUICK, epochs=6), callbacks=[morph.callback()])
    alive = morph.alive()
    assert resource.of(alive) < amount
    wider = morph.expanded(amount)
    widths = Structure(wider).widths
    assert all(now >= before for now, before in zip(widths, alive, strict=True))
    assert 0.8 * amount < Counted(Structure(wider), "mult-adds").of(widths) <= amount


def scaled(model: Any, inner: np.ndarray, outer: np.ndarray | float = 1.0) -> Any:
    """Give a model scales of its 24 inner and 16 outer channels, and return it."""
    model.get_layer("inner_norm").gamma.assign(inner)
    for name in ("stem_norm", "outer_norm"):
        model.get_layer(name).gamma.assign(np.broadcast_to(outer, 16))
    return model


def test_of_more_than_the_budget_the_smallest_scales_go() -> None:
    structure = Structure(scaled(convolutional(), np.linspace(1, 0.1, 24), 0.9))
    resource = Counted(structure, "mult-adds")
    morph = MorphNet(structure, resource, 1e-9)
    budget = resource.of((16, 12))
    smaller = morph.shrunk(budget)
    assert smaller.get_layer("inner_norm").gamma.numpy() == pytest.approx(np.linspace(1, 0.1, 24)[:12])
    assert Structure(smaller).widths == Structure(morph.expanded(budget)).widths == (16, 12)
    assert Structure(morph.shrunk(resource.of((16, 24)))).widths == (16, 24)


def test_no_budget_below_a_channel_of_each_group_is_met() -> None:
    structure = Structure(scaled(convolutional(), np.zeros(24)))
    resource = Counted(structure, "mult-adds")
    morph = MorphNet(structure, resource, 1e-9)
    assert Structure(morph.shrunk(resource.of((1, 1)))).widths == (1, 1)
    with pytest.raises(ConfigError, match="at its narrowest it has"):
        morph.shrunk(resource.of((1, 1)) - 1)


def test_of_equal_scales_all_groups_lose_their_share() -> None:
    structure = Structure(convolutional())
    resource = Counted(structure, "mult-adds")
    morph = MorphNet(structure, resource, 1e-9)
    assert Structure(morph.shrunk(resource.of((8, 12)))).widths == (8, 12)


def test_within_a_budget_widths_are_multiples_and_none_wider_than_it_was() -> None:
    structure = Structure(scaled(convolutional(), np.linspace(0.1, 1, 24)))
    resource = Counted(structure, "mult-adds")
    morph = MorphNet(structure, resource, 1e-9, multiple=10)
    assert Structure(morph.shrunk(resource.of((16, 24)))).widths == (16, 24)
    assert Structure(morph.shrunk(resource.of((16, 24)) - 1)).widths == (16, 20)
    assert Structure(morph.expanded(resource.of((16, 24)) - 1)).widths == (16, 20)


def test_a_model_without_batch_norm_is_an_error() -> None:
    structure = Structure(dense())
    with pytest.raises(ConfigError, match="has no batch norm that scales channels"):
        MorphNet(structure, Counted(structure, "parameters"), 1.0)


@pytest.mark.long
def test_inception_v2_is_shrunk_and_expanded() -> None:
    model = build_keras(network_named("inception_v2:width=0.1,resolution=64"))
    structure = Structure(model)
    resource = Counted(structure, "mult-adds")
    morph = MorphNet(structure, resource, 1e-9)
    generator = np.random.default_rng(0)
    for number in range(len(structure.groups)):
        for norm in structure.norms(number):
            if norm.scale:
                norm.gamma.assign(np.where(generator.random(norm.gamma.shape) < 0.4, 0.0, 1.0))
    alive = morph.alive()
    assert sum(alive) < 0.75 * sum(structure.widths)
    shrunk = morph.shrunk()
    assert Structure(shrunk).widths == tuple(alive)
    assert worst(shrunk, structure.masked(morph.kept())) <= 1e-5
    amount = resource.of(structure.widths)
    wider = Structure(morph.expanded(amount))
    assert 0.9 * amount < Counted(wider, "mult-adds").of(wider.widths) <= amount
