"""The second side for a given .tflite file: what the host's runtime computes with its plain kernels, in a process of its own.

`python -m harness.convert.host_outputs MODEL NUMBERS SHAPES PRECISION` is that process: a damaged model may end it, and only it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.convert.children import Children, end_with_parent, module
from harness.convert.model import Precision
from latency_agent import protocol

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import OpResolverType

SECOND_SIDE = "host reference kernels"
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class HostOutputs:
    """Whether the numbers were written, or why not; `lasting` where the reason lies in the model, not in the moment."""

    not_compared: str | None
    lasting: bool


def write_host_outputs(
    model: Path, numbers: Path, shapes: Mapping[str, Sequence[int]], precision: Precision, cores: Sequence[int], children: Children
) -> HostOutputs:
    """Run the model on the seeded inputs, as one of `children`, and write its outputs to `numbers`: `output_0`, `output_1`, ...

    For int8, `apart_0`, `apart_1`, ... say besides how far the host's two sets of kernels are from one another, at most.
    """
    given = json.dumps({name: list(dims) for name, dims in shapes.items()})
    argv = module("harness.convert.host_outputs", str(model), str(numbers), given, precision)
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


def _main(model: str, numbers: str, shapes: str, precision: str) -> None:
    from ai_edge_litert.interpreter import OpResolverType

    given = json.loads(shapes)
    # Without delegates: the device's runtime applies XNNPACK, and a second side that ran the same code would prove little.
    outputs = _run(model, given, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    stored: dict[str, Any] = {f"output_{index}": value for index, value in enumerate(outputs)}
    if precision == "int8":
        for index, (one, other) in enumerate(zip(outputs, _run(model, given, OpResolverType.BUILTIN_REF), strict=True)):
            stored[f"apart_{index}"] = np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0)
    with Path(numbers).open("wb") as stream:
        np.savez(stream, **stored)


def _run(model: str, given: Mapping[str, Sequence[int]], resolver: OpResolverType) -> list[npt.NDArray[Any]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model, num_threads=1, experimental_op_resolver_type=resolver)
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
        if value.dtype.kind not in "bfiu":
            raise TypeError(f"output {detail['name']!r} holds no numbers")
        scale, zero_point = detail["quantization"]
        outputs.append(((value.astype(np.float64) - zero_point) * scale).astype(np.float32) if scale else value)
    return outputs


if __name__ == "__main__":
    end_with_parent()
    _main(*sys.argv[1:])
