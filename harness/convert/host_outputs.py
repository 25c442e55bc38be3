"""The second side for a given .tflite file: what the host's runtime computes with its plain kernels, in a process of its own.

`python -m harness.convert.host_outputs MODEL NUMBERS SHAPES` is that process: a damaged model may end it, and only it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.convert.children import Children, end_with_parent, module
from latency_agent import protocol

SECOND_SIDE = "host reference kernels"
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class HostOutputs:
    """Whether the numbers were written, or why not; `lasting` where the reason lies in the model, not in the moment."""

    not_compared: str | None
    lasting: bool


def write_host_outputs(
    model: Path, numbers: Path, shapes: Mapping[str, Sequence[int]], cores: Sequence[int], children: Children
) -> HostOutputs:
    """Run the model once on the seeded inputs, as one of `children`, and write its outputs to `numbers`."""
    given = json.dumps({name: list(dims) for name, dims in shapes.items()})
    argv = module("harness.convert.host_outputs", str(model), str(numbers), given)
    try:
        done = children.run(argv, cores, TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return HostOutputs(f"the host's runtime took more than {TIMEOUT_S:.0f} s", lasting=False)
    if done.returncode == 0:
        return HostOutputs(None, lasting=True)
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    last = lines[-1][-300:] if lines else "it printed nothing"
    if done.returncode == 1:
        return HostOutputs(f"the host's runtime cannot run the model: {last}", lasting=True)
    how = f"died of signal {-done.returncode}" if done.returncode < 0 else f"ended with {done.returncode}"
    return HostOutputs(f"the host's runtime {how}: {last}", lasting=False)


def _main(model: str, numbers: str, shapes: str) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # Without delegates: the device's runtime applies XNNPACK, and a second side that ran the same code would prove little.
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_path=model, num_threads=1, experimental_op_resolver_type=resolver)
    given = json.loads(shapes)
    for detail in interpreter.get_input_details():
        if detail["name"] in given:
            interpreter.resize_tensor_input(detail["index"], given[detail["name"]])
    interpreter.allocate_tensors()
    for index, detail in enumerate(interpreter.get_input_details()):
        shape = tuple(int(dim) for dim in detail["shape"])
        interpreter.set_tensor(detail["index"], protocol.seeded_input(shape, np.dtype(detail["dtype"]).name, index))
    interpreter.invoke()
    outputs = {}
    for index, detail in enumerate(interpreter.get_output_details()):
        value = interpreter.get_tensor(detail["index"])
        if value.dtype.kind not in "bfiu":
            raise TypeError(f"output {detail['name']!r} holds no numbers")
        scale, zero_point = detail["quantization"]
        outputs[f"output_{index}"] = ((value.astype(np.float64) - zero_point) * scale).astype(np.float32) if scale else value
    with Path(numbers).open("wb") as stream:
        np.savez(stream, **outputs)


if __name__ == "__main__":
    end_with_parent()
    _main(*sys.argv[1:])
