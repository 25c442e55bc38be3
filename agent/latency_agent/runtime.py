"""The TFLite runtimes that the agent can use, by the one interface they share."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
from typing import Any, Dict, Iterator, List, Tuple

from latency_agent.protocol import InputShape, Output, seeded_input

MODULES: Dict[str, str] = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}


class ModelError(Exception):
    """The runtime refuses the model; the text is the runtime's."""


@functools.cache
def version(runtime: str) -> str:
    """Return the installed version of `runtime`; raises ImportError where it is not installed."""
    try:
        return importlib.metadata.version(runtime)
    except importlib.metadata.PackageNotFoundError:
        raise ImportError(f"{runtime} is not installed beside this Python") from None


def load(runtime: str, path: str, threads: int, shapes: Tuple[InputShape, ...]) -> Any:
    """Return an interpreter of the model at `path` with its tensors allocated."""
    interpreter_class = importlib.import_module(MODULES[runtime]).Interpreter
    with model_errors():
        interpreter = interpreter_class(model_path=path, num_threads=threads)
        indices = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
        for shape in shapes:
            if shape.name not in indices:
                raise ModelError(f"the model has no input {shape.name!r}; it has {sorted(indices)}")
            interpreter.resize_tensor_input(indices[shape.name], list(shape.dims))
        interpreter.allocate_tensors()
    return interpreter


@contextlib.contextmanager
def model_errors() -> Iterator[None]:
    """Raise as ModelError what the runtime raises on a model that it cannot load or run."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        raise ModelError(str(error)) from error


def fill_inputs(interpreter: Any, seed: int) -> None:
    """Set every input from the seed; input i takes `seed + i`."""
    for position, detail in enumerate(interpreter.get_input_details()):
        shape = tuple(int(size) for size in detail["shape"])
        interpreter.set_tensor(detail["index"], seeded_input(shape, detail["dtype"].__name__, seed + position))


def outputs(interpreter: Any) -> Tuple[Output, ...]:
    """Return the output tensors as they are after the last run."""
    import base64

    found = []
    for detail in interpreter.get_output_details():
        value = interpreter.get_tensor(detail["index"])
        scale, zero_point = detail["quantization"]
        data = base64.b64encode(value.astype(value.dtype.newbyteorder("<")).tobytes()).decode()
        found.append(Output(detail["name"], value.dtype.name, tuple(value.shape), data, float(scale), int(zero_point)))
    return tuple(found)


def delegated_nodes(interpreter: Any) -> Tuple[int, int]:
    """Return how many of the model's operators a delegate runs, and how many there are.

    The runtime appends one DELEGATE node per delegated part and leaves the operators it replaced in the list; they are those between
    the part's outputs and its inputs.
    """
    details: List[Dict[str, Any]] = interpreter._get_ops_details()  # noqa: SLF001 - no public way tells what was delegated
    operators = [detail for detail in details if detail["op_name"] != "DELEGATE"]
    producer = {int(tensor): position for position, operator in enumerate(operators) for tensor in operator["outputs"]}
    delegated = set()
    for part in details:
        if part["op_name"] != "DELEGATE":
            continue
        given = {int(tensor) for tensor in part["inputs"]}
        pending = [int(tensor) for tensor in part["outputs"]]
        while pending:
            tensor = pending.pop()
            position = producer.get(tensor)
            if position is None or tensor in given or position in delegated:
                continue
            delegated.add(position)
            pending.extend(int(needed) for needed in operators[position]["inputs"])
    return len(delegated), len(operators)


def preload(runtime: str) -> None:
    """Import the runtime, so that its loading counts in no figure."""
    importlib.import_module(MODULES[runtime])
