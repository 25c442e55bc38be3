"""int8 files with weights carried over, held against Keras and against what TensorFlow's converter makes of the same examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from harness.convert.calibrated import write_calibrated
from harness.convert.carried import CarriedWeights
from harness.convert.flatbuffer import read_graphs
from harness.convert.keras_convert import convert, traceable_keras
from harness.networks.keras_build import build_keras
from harness.networks.named import network_named
from harness.networks.weights import spread


def logits(data: bytes, values: np.ndarray) -> np.ndarray:
    """Return the logarithms of an int8 file's outputs on each of a batch of inputs."""
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    (scale, zero_point), (out_scale, out_zero_point) = given["quantization"], made["quantization"]
    found = []
    for value in values:
        interpreter.set_tensor(given["index"], np.clip(np.rint(value[None] / scale + zero_point), -128, 127).astype(np.int8))
        interpreter.invoke()
        found.append((interpreter.get_tensor(made["index"]).astype(np.float64) - out_zero_point) * out_scale)
    every: np.ndarray = np.log(np.maximum(np.concatenate(found), out_scale / 2))
    return every


@pytest.mark.parametrize("name", ["lenet_5", "mobilenet_v2:width=0.35,resolution=64", "mobilenet_v3_small:resolution=64"])
def test_an_int8_file_computes_what_the_converters_own_does(name: str, tmp_path: Path) -> None:
    network = network_named(name)
    model = build_keras(network)
    spread(model)
    generator = np.random.default_rng(0)
    examples, unseen = (generator.random((count, *network.input), np.float32) for count in (16, 8))
    np.save(tmp_path / "examples.npy", examples)
    convert(traceable_keras(model, name, {}), "int8", tmp_path / "examples.npy", tmp_path / "model.tflite", tmp_path / "numbers.npz")
    direct = write_calibrated(network, CarriedWeights(model), examples)
    exact = np.log(np.maximum(model(unseen, training=False).numpy().astype(np.float64), 1 / 512))
    ours, theirs = (logits(data, unseen) for data in (direct, (tmp_path / "model.tflite").read_bytes()))
    errors = [float(np.abs(found - exact).mean()) for found in (ours, theirs)]
    assert errors[0] < 1.25 * errors[1] + 0.01
    (graph,) = read_graphs(direct, "model")
    assert {graph.tensors[index].dtype for index in (*graph.inputs, *graph.outputs)} == {"int8"}
