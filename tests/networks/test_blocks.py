from __future__ import annotations

import pytest

from harness.errors import ConfigError
from harness.networks.blocks import (
    Block,
    Bottleneck,
    Conv,
    DenseLayer,
    Depthwise,
    DropoutLayer,
    FlattenMap,
    GlobalPool,
    MBConv,
    Pool,
    Separable,
    block_costs,
    block_graph,
    block_key,
    divisible,
)
from harness.networks.graph import Shape
from harness.networks.wiring import Branches, Cell, Gather, SkipConv

MAP: Shape = (14, 14, 16)
NORM = 2  # scale and shift


@pytest.mark.parametrize(
    ("block", "output", "parameters", "mult_adds"),
    [
        (Conv(32, (3, 3), (2, 2)), (7, 7, 32), 9 * 16 * 32 + NORM * 32, 49 * 9 * 16 * 32),
        (Conv(32, (3, 3), padding="valid", norm=False), (12, 12, 32), 9 * 16 * 32 + 32, 144 * 9 * 16 * 32),
        (Conv(32, (1, 5), groups=4), (14, 14, 32), 5 * 4 * 32 + NORM * 32, 196 * 5 * 4 * 32),
        (Depthwise((5, 5), (2, 2), multiplier=2), (7, 7, 32), 32 * 25 + NORM * 32, 49 * 32 * 25),
        (Separable(8, (3, 3)), (14, 14, 8), 16 * 9 + NORM * 16 + 16 * 8 + NORM * 8, 196 * (16 * 9 + 16 * 8)),
        (Separable(8, (3, 3), inner=False), (14, 14, 8), 16 * 9 + 16 * 8 + NORM * 8, 196 * (16 * 9 + 16 * 8)),
        (
            MBConv(24, (3, 3), (2, 2), 6),
            (7, 7, 24),
            16 * 96 + NORM * 96 + 96 * 9 + NORM * 96 + 96 * 24 + NORM * 24,
            196 * 16 * 96 + 49 * (96 * 9 + 96 * 24),
        ),
        (MBConv(16, expansion=1), (14, 14, 16), 16 * 9 + NORM * 16 + 16 * 16 + NORM * 16, 196 * (16 * 9 + 16 * 16)),
        (Bottleneck(4), (14, 14, 16), 16 * 4 + 9 * 16 + 4 * 16 + NORM * (4 + 4 + 16), 196 * (64 + 144 + 64)),
        (Pool("max", (3, 3), (2, 2)), (7, 7, 16), 0, 0),
        (Pool("average", (3, 3), (2, 2), "valid"), (6, 6, 16), 0, 0),
        (GlobalPool(), (16,), 0, 0),
        (FlattenMap(), (3136,), 0, 0),
        (DropoutLayer(0.5), MAP, 0, 0),
        (Branches(((Conv(8),), ())), (14, 14, 24), 16 * 8 + NORM * 8, 196 * 16 * 8),
    ],
    ids=lambda value: value.key if isinstance(value, Block) else "",
)
def test_a_block_knows_its_output_and_what_it_costs(block: Block, output: Shape, parameters: int, mult_adds: int) -> None:
    shape, costs = block_costs(block, (MAP,))
    assert shape == output
    assert (costs.parameters, costs.mult_adds) == (parameters, mult_adds)


def test_batch_norm_is_a_bias_at_inference() -> None:
    _, costs = block_costs(Conv(32, (3, 3)), (MAP,))
    assert costs.parameters - costs.weights == 32
    assert costs.activations == 14 * 14 * 32
    _, dense = block_costs(DenseLayer(10), ((16,),))
    assert (dense.parameters, dense.weights, dense.mult_adds, dense.activations) == (170, 170, 160, 10)


@pytest.mark.parametrize(
    ("block", "shape", "weights", "biases"),
    [
        (Conv(32, (3, 3)), MAP, 9 * 16 * 32, 32),
        (Conv(32, (3, 3), norm=False), MAP, 9 * 16 * 32, 32),
        (Depthwise((3, 3), multiplier=2), MAP, 9 * 32, 32),
        (Separable(8, (3, 3), inner=False), MAP, 9 * 16 + 16 * 8, 16 + 8),
        (DenseLayer(10), (16,), 160, 10),
        (Pool("max", (3, 3)), MAP, 0, 0),
    ],
)
def test_the_biases_of_int8_files_have_four_bytes(block: Block, shape: Shape, weights: int, biases: int) -> None:
    _, costs = block_costs(block, (shape,))
    assert (costs.weights, costs.biases) == (weights + biases, biases)
    assert costs.weight_bytes("float32") == 4 * (weights + biases)
    assert costs.weight_bytes("int8") == weights + 4 * biases
    assert costs.activation_bytes("float32") == 4 * costs.activation_bytes("int8") == 4 * costs.activations


def test_squeeze_and_excitation_is_sized_by_the_input_or_the_expanded_channels() -> None:
    plain, of_input, of_expanded = (
        block_costs(MBConv(16, expansion=6, **how), (MAP,))[1].parameters for how in ({}, {"se": 0.25}, {"se": 0.25, "se_of": "expanded"})
    )
    assert of_input - plain == (96 * 4 + 4) + (4 * 96 + 96)
    assert of_expanded - plain == (96 * 24 + 24) + (24 * 96 + 96)


def test_a_skip_is_added_where_shapes_agree() -> None:
    def additions(block: Block) -> int:
        return sum(type(node.operation).__name__ == "Add" for node in block_graph(block, (MAP,))[0].nodes)

    assert additions(MBConv(16, expansion=3)) == 1
    assert additions(MBConv(24, expansion=3)) == additions(MBConv(16, (3, 3), (2, 2))) == additions(MBConv(16, skip="none")) == 0
    assert additions(MBConv(16, (3, 3), (2, 2), skip="pool")) == 1


def test_a_fractional_expansion_is_rounded_to_a_multiple_of_8() -> None:
    assert MBConv(80, expansion=2.3).expanded(80) == 184
    assert MBConv(24, expansion=3.66667).expanded(24) == 88
    assert MBConv(24, expansion=6).expanded(12) == 72


@pytest.mark.parametrize(("value", "rounded"), [(11.2, 16), (33.6, 32), (5, 8), (1, 8), (24, 24), (18, 24), (12, 16)])
def test_rounding_loses_at_most_a_tenth(value: float, rounded: int) -> None:
    assert divisible(value) == rounded


def test_a_key_says_what_a_block_is() -> None:
    block = MBConv(40, (5, 5), (2, 2), 6, 0.25)
    assert block_key(block, ((56, 56, 24),)) == "mbconv-f40-k5-s2-e6-se0.25@56x56x24"
    assert Conv(32, (3, 1), activation="relu6").key == "conv-f32-k3x1-relu6"
    assert Branches(((Conv(8),), (Pool("max", (3, 3)), Conv(4)))).key == "branches-branches:((conv-f8),(pool-max-k3,conv-f4))"


def test_where_inputs_come_from_is_not_in_the_key() -> None:
    near, far = SkipConv(8, (3, 3), (2, 1)), SkipConv(8, (3, 3), (3, 0))
    assert near.key == far.key == "skip_conv-f8-k3"
    assert near.reads(4) == (2, 1)


def test_smaller_inputs_are_padded_before_they_are_joined() -> None:
    shape, costs = block_costs(SkipConv(8, (1, 1), (1, 0)), ((7, 7, 4), (14, 14, 3)))
    assert shape == (14, 14, 8)
    assert costs.parameters == 7 * 8 + NORM * 8
    assert block_costs(Gather((0,)), (MAP,))[0] == MAP


@pytest.mark.parametrize(
    ("block", "shape", "message"),
    [
        (Conv(8, (3, 3), (2, 2)), (1, 1, 16), "a feature map of 1x1 is too small for a stride of 2x2"),
        (Conv(8, (5, 5), padding="valid"), (4, 9, 16), "a feature map of 4x9 is too small for a 5x5 window"),
        (Conv(9, groups=2), (4, 4, 16), "2 groups do not divide 16 channels and 9 filters\nuse a number of groups that divides both"),
        (Conv(8), (16,), "a convolution takes a feature map, not a flat input of 16\nput it before the flatten or global_pool"),
        (DenseLayer(8), (4, 4, 16), "a dense layer takes a flat input, not 4x4x16"),
        (Branches(((Conv(8, stride=(2, 2)),), ())), (4, 4, 16), "different sizes cannot be concatenated: 2x2x8, 4x4x16"),
    ],
)
def test_an_input_that_a_block_cannot_take_is_an_error(block: Block, shape: Shape, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        block_costs(block, (shape,))


def test_flat_outputs_cannot_be_gathered() -> None:
    with pytest.raises(ConfigError, match="a concatenation of earlier outputs takes a feature map, not a flat input of 16"):
        block_costs(Gather((0, 1)), (MAP, (16,)))


def test_inputs_must_be_earlier_outputs() -> None:
    for inputs in ((5,), (-1,), ()):
        with pytest.raises(ConfigError, match="give positions from 0, the network's input, to 4"):
            SkipConv(8, (3, 3), inputs).reads(4)


CELL = Cell(8, ("sep3 h + p", "avg3 0 + max3 h"), ("p", "1"), (1, 1))


def test_a_cell_brings_both_inputs_to_its_filters() -> None:
    same = block_costs(CELL, ((14, 14, 16), (14, 14, 8)))
    assert same[0] == (14, 14, 16)
    adapted = block_costs(CELL, ((14, 14, 16), (14, 14, 24)))
    assert adapted[1].parameters - same[1].parameters == 24 * 8 + NORM * 8
    reduced = block_costs(CELL, ((14, 14, 16), (28, 28, 24)))
    assert reduced[1].parameters - same[1].parameters == 24 * 8 + NORM * 8
    assert reduced[0] == (14, 14, 16)


def test_a_cell_with_two_inputs_is_not_the_first_block() -> None:
    assert CELL.reads(1) == (1, 0)
    with pytest.raises(ConfigError, match="cannot be the first block\nwrite inputs = 1"):
        CELL.reads(0)
    with pytest.raises(ConfigError, match="inputs of a cell are 3"):
        Cell(8, ("h + p",), ("0",), inputs=3)


@pytest.mark.parametrize("text", ["sep3 h", "sep4 h + p", "h + 0", "h + p + p", "", "h + \u0660"])
def test_a_sum_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="is no sum of a cell"):
        Cell(8, (text,), ("0",))


def test_only_what_a_cell_has_is_concatenated() -> None:
    with pytest.raises(ConfigError, match=r"\['2'\] cannot be concatenated"):
        Cell(8, ("h + p",), ("2",))
