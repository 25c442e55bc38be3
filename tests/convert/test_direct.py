"""Files written without TensorFlow, held against what TensorFlow's converter makes of the same network, and against Keras."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from harness.convert.calibrated import write_calibrated
from harness.convert.carried import CarriedWeights
from harness.convert.direct import DirectPrecision, write_block, write_chain, write_network
from harness.convert.flatbuffer import read_graphs
from harness.convert.keras_convert import convert, traceable_keras
from harness.convert.random_weights import RandomWeights
from harness.errors import ConfigError, ConversionError
from harness.networks.blocks import Activated, Block, Conv, DenseLayer, DropoutLayer, MBConv
from harness.networks.data import models_dir
from harness.networks.keras_build import build_keras
from harness.networks.network import Network
from harness.networks.recipe import read_recipe
from harness.networks.space_file import read_space
from harness.networks.weights import spread

ZOO = ("lenet_5", "mobilenet_v2", "mobilenet_v3_small", "nasnet_a_mobile", "inception_v2")


def zoo(name: str) -> Network:
    return read_recipe(models_dir() / f"{name}.toml").network(name)


def candidate(name: str, seed: int) -> Network:
    space = read_space(models_dir() / f"{name}.toml")
    return space.network(space.sample(random.Random(seed)))


CANDIDATE_OF_OFA = candidate("ofa", 4)
NETWORKS = [*map(zoo, ZOO), candidate("mnasnet", 0), CANDIDATE_OF_OFA, candidate("zoph_le_strides", 2)]
LONG = ("nasnet_a_mobile", "inception_v2", CANDIDATE_OF_OFA.name)
MADE = [pytest.param(network, marks=pytest.mark.long if network.name in LONG else ()) for network in NETWORKS]


@pytest.fixture(scope="module", params=MADE, ids=lambda network: network.name.partition("/")[0])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Network, Any, bytes, bytes]:
    """Return a network, its Keras model, what TensorFlow's converter makes of it, and what is written directly, of the same weights."""
    network: Network = request.param
    model = build_keras(network)
    spread(model)
    folder = tmp_path_factory.mktemp("direct")
    convert(traceable_keras(model, network.name, {}), "float32", None, folder / "model.tflite", folder / "numbers.npz")
    return network, model, (folder / "model.tflite").read_bytes(), write_network(network, CarriedWeights(model))


def operators(data: bytes) -> Counter[tuple[int, int, int, tuple[int, ...]]]:
    """Return the operators of a file: kind, version, fused activation, shape of the output."""
    model = schema.ModelT.InitFromPackedBuf(data)
    (graph,) = model.subgraphs
    found = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        fused = getattr(operator.builtinOptions, "fusedActivationFunction", 0)
        found.append((code.builtinCode, code.version, fused, tuple(map(int, graph.tensors[operator.outputs[0]].shape))))
    return Counter(found)


def names(data: bytes) -> set[str]:
    (graph,) = read_graphs(data, "model")
    return {operator.name for operator in graph.operators}


def output(data: bytes, values: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    found: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


def in_double(network: Network, model: Any) -> Any:
    """Return a Keras model in double precision: in single, a deep one of random weights adds up to 7e-4, by the CPU's kernels."""
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        exact = build_keras(network)
    finally:
        keras.config.set_dtype_policy(policy)
    exact.set_weights(model.get_weights())
    return exact


def test_the_operators_are_those_of_the_converter(made: tuple[Network, Any, bytes, bytes]) -> None:
    _, _, converted, direct = made
    assert operators(direct) == operators(converted)


def test_the_output_is_that_of_keras_with_the_same_weights(made: tuple[Network, Any, bytes, bytes]) -> None:
    network, model, _, direct = made
    values = np.random.default_rng(0).random((1, *network.input), np.float32)
    expected = in_double(network, model)(values.astype(np.float64), training=False).numpy()
    assert expected.std() > 1e-4
    np.testing.assert_allclose(output(direct, values), expected, atol=1e-4, rtol=0)


def test_the_parameters_are_those_that_are_counted(made: tuple[Network, Any, bytes, bytes]) -> None:
    network, model, _, direct = made
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == network.parameters
    (graph,) = read_graphs(direct, "model")
    stored = sum(tensor.constant_bytes for tensor in graph.tensors if tensor.dtype == "float32")
    assert stored == pytest.approx(4 * network.costs.weights, abs=8)  # and the constants of a hard sigmoid


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name.partition("/")[0])
def test_random_weights_keep_outputs_apart(network: Network) -> None:
    data = write_network(network)
    generator = np.random.default_rng(0)
    first, second = (output(data, generator.random((1, *network.input), np.float32)) for _ in range(2))
    assert first.sum() == pytest.approx(1, abs=1e-4)
    assert first.max() < 0.9
    assert first.max() > 2 * first.mean()
    assert np.abs(first - second).max() > 1e-4 * first.max()
    assert write_network(network) == data


@pytest.mark.parametrize(
    "network", [zoo("mobilenet_v3_small"), candidate("mnasnet", 3)], ids=lambda network: network.name.partition("/")[0]
)
def test_an_int8_file_has_the_operators_of_the_converter(network: Network, tmp_path: Path) -> None:
    model = build_keras(network)
    spread(model)
    convert(traceable_keras(model, network.name, {}), "int8", None, tmp_path / "model.tflite", tmp_path / "numbers.npz")
    direct = write_network(network, precision="int8")
    assert operators(direct) == operators((tmp_path / "model.tflite").read_bytes())
    (graph,) = read_graphs(direct, "model")
    assert {graph.tensors[index].dtype for index in (*graph.inputs, *graph.outputs)} == {"int8"}
    values = np.random.default_rng(0).integers(-128, 128, (1, *network.input), np.int8)
    assert len(set(output(direct, values).ravel().tolist())) > 1


def test_what_is_passed_on_keeps_its_scale() -> None:
    (graph,) = read_graphs(write_network(zoo("inception_v2"), precision="int8"), "model")
    passing = [operator for operator in graph.operators if operator.name in ("CONCATENATION", "MAX_POOL_2D", "AVERAGE_POOL_2D")]
    assert len(passing) > 20
    for operator in passing:
        assert len({graph.tensors[index].scale for index in (*operator.inputs, *operator.outputs)}) == 1


def test_operators_of_one_kind_share_the_version_that_one_of_them_needs() -> None:
    blocks = (Conv(8, (3, 3)), Conv(8, (3, 3), groups=2), Conv(8, (1, 1)))
    model = schema.ModelT.InitFromPackedBuf(write_network(Network("grouped", (8, 8, 4), blocks)))
    assert [(code.builtinCode, code.version) for code in model.operatorCodes] == [(schema.BuiltinOperator.CONV_2D, 6)]


def test_each_of_two_activations_in_a_row_is_there() -> None:
    blocks = (DenseLayer(8, "linear"), Activated("relu"), DropoutLayer(0.5), Activated("softmax"))
    data = write_network(Network("chain", (4,), blocks))
    assert names(data) == {"FULLY_CONNECTED", "SOFTMAX"}
    assert output(data, np.ones((1, 4), np.float32)).sum() == pytest.approx(1)


def test_weights_of_ones_own_in_int8_take_examples() -> None:
    network = Network("dense", (4,), (DenseLayer(2, "linear"),))
    with pytest.raises(ConfigError, match="dense: int8 with weights of one's own takes examples") as caught:
        write_network(network, RandomWeights(network.graph()[0]), "int8")
    assert "write_calibrated" in caught.value.hint


def test_the_weights_of_another_network_are_refused() -> None:
    model = build_keras(Network("dense", (4,), (DenseLayer(2, "linear"),)))
    for other in (Network("wider", (5,), (DenseLayer(2, "linear"),)), Network("deeper", (4,), (DenseLayer(2), DenseLayer(2)))):
        with pytest.raises(ConversionError) as caught:
            write_network(other, CarriedWeights(model))
        assert "build_keras" in caught.value.hint


def test_an_int8_channel_of_zeros_keeps_its_bias() -> None:
    class Pruned:
        def kernel(self, node: int, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
            assert (node, fan_in) == (0, 4)
            found = np.full(shape, 0.5, np.float32)
            found[0] = 0
            return found

        def bias(self, node: int, size: int) -> np.ndarray:
            assert node == 0
            return np.full(size, 1.0, np.float32)

    network = Network("pruned", (4,), (DenseLayer(2, "linear"),))
    data = write_calibrated(network, Pruned(), np.ones((3, 4), np.float32))
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], np.full((1, 4), 127, np.int8))
    interpreter.invoke()
    scale, zero_point = made["quantization"]
    found = (interpreter.get_tensor(made["index"]).astype(np.float64) - zero_point) * scale
    assert found[0].tolist() == pytest.approx([1.0, 3.0], abs=0.05)


@pytest.mark.parametrize("examples", [np.ones((2, 5), np.float32), np.ones((2, 4)), np.ones((0, 4), np.float32)])
def test_examples_that_do_not_fit_are_refused(examples: np.ndarray) -> None:
    network = Network("dense", (4,), (DenseLayer(2, "linear"),))
    with pytest.raises(ConfigError, match="dense: examples are"):
        write_calibrated(network, RandomWeights(network.graph()[0]), examples)


def test_a_block_is_a_model_of_its_own() -> None:
    block = MBConv(24, (5, 5), (2, 2), 6, 0.25)
    data = write_block(block, ((14, 14, 16),))
    assert output(data, np.zeros((1, 14, 14, 16), np.float32)).shape == (1, 7, 7, 24)
    assert operators(write_block(Conv(8, (3, 3)), ((4, 4, 3),))) == {(schema.BuiltinOperator.CONV_2D, 1, 0, (1, 4, 4, 8)): 1}


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize(
    ("block", "shape", "ends"),
    [(Conv(16, (3, 3), activation="relu", skip="identity"), (8, 8, 16), 1), (MBConv(24, (5, 5), (2, 2), 6, 0.25), (14, 14, 16), 3)],
    ids=["in a row", "side by side"],
)
def test_a_chain_holds_copies_of_a_block(block: Block, shape: tuple[int, ...], ends: int, precision: DirectPrecision) -> None:
    data = write_chain(block, (shape,), 3, precision)
    alone = operators(write_block(block, (shape,), precision=precision))
    assert operators(data) == Counter({operator: 3 * count for operator, count in alone.items()})
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    interpreter.invoke()
    assert (len(interpreter.get_input_details()), len(interpreter.get_output_details())) == (ends, ends)


def test_other_networks_load() -> None:
    for name in ("alexnet", "lenet_300_100", "mnasnet_small", "mobilenet_v1", "mobilenet_v3_large_minimalistic"):
        network = zoo(name)
        assert output(write_network(network), np.zeros((1, *network.input), np.float32)).shape == (1, *network.shapes[-1])
