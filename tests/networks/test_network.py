from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.networks.blocks import Block, Conv, DenseLayer, DropoutLayer, GlobalPool, MBConv, Pool, Separable
from harness.networks.graph import ACTIVATIONS
from harness.networks.network import BlockError, Network
from harness.networks.wiring import Branches, Cell, SkipConv

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))
FILTERS = st.integers(1, 32)
ACTIVATION = st.sampled_from(ACTIVATIONS[:-1])
SHARES = st.sampled_from((0.0, 0.25, 0.5))
SKIPS = st.sampled_from(("identity", "pool", "none"))
CONVS = st.builds(Conv, FILTERS, SIZES, norm=st.booleans(), activation=ACTIVATION, se=SHARES, skip=SKIPS)
PLAIN: st.SearchStrategy[Block] = st.one_of(
    CONVS,
    st.builds(Separable, FILTERS, SIZES, multiplier=st.integers(1, 2), inner=st.booleans(), activation=ACTIVATION, skip=SKIPS),
    st.builds(MBConv, FILTERS, SIZES, expansion=st.sampled_from((1.0, 2.5, 6.0)), se=SHARES, activation=ACTIVATION, skip=SKIPS),
    st.builds(Pool, st.sampled_from(("max", "average")), SIZES),
    st.builds(DropoutLayer, st.sampled_from((0.1, 0.5))),
    st.builds(Branches, st.lists(st.lists(CONVS, max_size=2).map(tuple), min_size=1, max_size=3).map(tuple)),
    st.builds(SkipConv, FILTERS, SIZES, st.just((0,))),
)
TAIL = (GlobalPool(), DenseLayer(10, "softmax"))
NETWORKS = st.builds(
    lambda blocks, size: Network("random", (size, size, 3), (*blocks, *TAIL)), st.lists(PLAIN, max_size=5), st.integers(5, 20)
)
SMALL = Network("small", (8, 8, 3), (Conv(4, (3, 3), (2, 2)), *TAIL))


@given(NETWORKS)
def test_a_network_is_the_same_after_toml_and_json(network: Network) -> None:
    assert Network.from_toml(network.to_toml()) == network
    assert Network.from_json(network.to_json()) == network


@given(NETWORKS)
def test_what_blocks_cost_is_what_the_whole_graph_costs(network: Network) -> None:
    graph, output = network.graph()
    assert graph.costs() == network.costs
    assert graph.shape(output) == network.shapes[-1] == (10,)
    assert len(network.shapes) == len(network.blocks) + 1


def test_a_block_has_a_line_of_its_own() -> None:
    assert SMALL.to_toml().splitlines()[2:5] == [
        "blocks = [",
        '    {type = "conv", filters = 4, kernel = 3, stride = 2},',
        '    {type = "global_pool"},',
    ]


def test_the_hash_is_of_what_is_computed() -> None:
    assert replace(SMALL, name="other").hash == SMALL.hash
    assert replace(SMALL, input=(9, 9, 3)).hash != SMALL.hash
    assert replace(SMALL, blocks=(Conv(4, (3, 3), (2, 2), activation="relu"), *TAIL)).hash != SMALL.hash
    assert len(SMALL.hash) == 12
    whole, decimal = (replace(SMALL, blocks=(MBConv(4, expansion=expansion), *TAIL)) for expansion in (6, 6.0))
    assert whole == decimal
    assert whole.hash == decimal.hash


def test_block_keys_name_the_shapes_of_all_inputs() -> None:
    cell = Cell(4, ("h + p",), ("0",))
    network = Network("cells", (8, 8, 3), (Conv(4), cell, *TAIL))
    assert network.block_keys[1].endswith("@8x8x4+8x8x3")


def test_a_block_that_cannot_take_its_input_is_named() -> None:
    network = Network("net", (4, 4, 3), (Conv(8, (3, 3), (4, 4)), Conv(8, (3, 3), (2, 2))))
    with pytest.raises(BlockError, match=r"net: block 2 \(conv-f8-k3-s2\) on 1x1x8: a feature map of 1x1 is too small") as raised:
        assert network.shapes
    assert raised.value.position == 1


def test_bytes_are_those_of_all_blocks() -> None:
    assert SMALL.weight_bytes("float32") == 4 * (9 * 3 * 4 + 4 + 4 * 10 + 10)
    assert SMALL.weight_bytes("int8") == 9 * 3 * 4 + 4 * 10 + 4 * (4 + 10)
    assert SMALL.activation_bytes("float32") == 4 * (4 * 4 * 4 + 4 + 10)
    assert SMALL.activation_bytes("int8") == 4 * 4 * 4 + 4 + 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "a network is a name, an input shape and blocks"),
        ("[1]", "a network is a JSON object, not list"),
        ("{", "this is no JSON"),
        ('{"name": "x", "input": [8], "block": []}', "a network is a name"),
        ('{"name": "x", "input": [0], "blocks": []}', "input is [0]"),
        ('{"name": "x", "input": [8, 8], "blocks": []}', "input is [8, 8]"),
        ('{"name": "x", "input": [true, true, 3], "blocks": []}', "input is [True, True, 3]"),
        ('{"name": "x", "input": "8x8", "blocks": []}', "input is '8x8'"),
        ('{"name": "x", "input": [8], "blocks": [{}]}', "a block without a type"),
        ('{"name": "x", "input": [8], "blocks": [{"type": ["dense"]}]}', "unknown block ['dense']"),
        ('{"name": "x", "input": [8], "blocks": [{"type": "branches", "branches": []}]}', "branches are []"),
        ('{"name": "x", "input": [8], "blocks": [{"type": "dropout", "rate": Infinity}]}', "rate of dropout is inf"),
        ('{"name": "x", "input": [8], "blocks": [{"type": "dens"}]}', "unknown block 'dens'; did you mean 'dense'?"),
        ('{"name": "x", "input": [8], "blocks": [{"type": "dense", "unit": 3}]}', "unknown key 'unit' of dense; did you mean 'units'?"),
        ('{"name": "x", "input": [8], "blocks": [{"type": "dense"}]}', "dense lacks units"),
        ('{"name": "x", "input": [8], "blocks": [{"type": "dense", "units": true}]}', "units of dense is True"),
        ('{"name": "x", "input": [8], "blocks": [{"type": "conv", "filters": 3, "kernel": [1, 2, 3]}]}', "write a whole number, or"),
        ('{"name": "x", "input": [8], "blocks": [{"type": "conv", "filters": 3, "padding": "sme"}]}', "did you mean 'same'?"),
        ('{"name": "x", "input": [8], "blocks": [3]}', "a block is a table, not 3"),
    ],
)
def test_what_is_no_network_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Network.from_json(text)
    assert message in str(raised.value)
