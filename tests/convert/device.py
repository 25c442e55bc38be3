"""Stands for a device in these tests: the runtime with its default delegates, fed as the agent feeds it."""

from __future__ import annotations

import base64

import numpy as np

from harness.convert.model import Model
from latency_agent import protocol


def run(model: Model, threads: int = 1) -> tuple[protocol.Output, ...]:
    """Return the outputs of the first run."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(model.path), num_threads=threads)
    given = {shape.name: shape.dims for shape in model.shapes}
    for detail in interpreter.get_input_details():
        if detail["name"] in given:
            interpreter.resize_tensor_input(detail["index"], given[detail["name"]])
    interpreter.allocate_tensors()
    for index, detail in enumerate(interpreter.get_input_details()):
        shape = tuple(int(dim) for dim in detail["shape"])
        interpreter.set_tensor(detail["index"], protocol.seeded_input(shape, np.dtype(detail["dtype"]).name, index))
    interpreter.invoke()
    outputs = []
    for detail in interpreter.get_output_details():
        value = interpreter.get_tensor(detail["index"])
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        scale, zero_point = detail["quantization"]
        outputs.append(protocol.Output(detail["name"], value.dtype.name, value.shape, data, float(scale), int(zero_point)))
    return tuple(outputs)
