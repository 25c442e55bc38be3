"""From a Keras model or a SavedModel to a .tflite file. Loads TensorFlow.

The path is trace, freeze, convert: it gives the same file as `from_keras_model` in a fifth of the time. Other paths can yield a file
without its weights, silently; so what comes out is checked for what that leaves behind.
"""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.convert.calibration import Calibration, random_examples, read_examples
from harness.convert.inspect import Inspection, inspect
from harness.convert.model import Precision, Tensor
from harness.convert.shapes import Shapes, settle
from harness.convert.worker import Converted
from harness.errors import ConversionError
from latency_agent import protocol

_LEAST_WEIGHT_BYTES = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}
RANDOM_CALIBRATION = "int8 calibrated on random data"


@dataclass(frozen=True)
class Traceable:
    """A model ready to trace: its inputs with static shapes, in the order in which `call` takes them.

    `call` returns the flat list of outputs; `second_side` says what computes them.
    """

    name: str
    inputs: tuple[Tensor, ...]
    call: Callable[..., list[Any]]
    second_side: str


def traceable_keras(model: Any, name: str, shapes: Shapes) -> Traceable:
    """Return a Keras model as something to trace; raises ConversionError where it declares no inputs."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ConversionError(
            f"{name}: Keras runs on {keras.backend.backend()} here", "Set KERAS_BACKEND=tensorflow before Keras is imported."
        )
    declared = getattr(model, "inputs", None)
    if not declared:
        raise ConversionError(
            f"{name}: the model declares no inputs",
            "Build it from keras.Input, or write it with model.export(FOLDER) and pass that SavedModel folder.",
        )
    open_inputs = tuple(
        Tensor(item.name, tuple(-1 if dim is None else int(dim) for dim in item.shape), str(item.dtype)) for item in declared
    )
    static = settle(name, open_inputs, shapes)
    structure = None if isinstance(model, keras.Sequential) else model.input  # a Sequential has no such attribute before it is called

    def call(*values: Any) -> list[Any]:
        packed = values[0] if structure is None else keras.tree.pack_sequence_as(structure, list(values))
        return list(keras.tree.flatten(model(packed, training=False)))

    return Traceable(name, _with_shapes(open_inputs, static), call, "Keras")


def traceable_saved_model(loaded: Any, name: str, shapes: Shapes) -> Traceable:
    """Return the serving signature of a loaded SavedModel as something to trace."""
    signatures = loaded.signatures
    if "serving_default" in signatures:
        signature = signatures["serving_default"]
    elif len(signatures) == 1:
        signature = next(iter(signatures.values()))
    else:
        found = ", ".join(sorted(signatures)) or "none"
        raise ConversionError(
            f"{name}: no signature serving_default (signatures: {found})", "Save it with one: Keras' model.export(FOLDER) does."
        )
    specs = signature.structured_input_signature[1]
    for key, spec in specs.items():
        if spec.shape.rank is None:
            raise ConversionError(
                f"{name}: input {key!r} has no number of dimensions", "Save it with a signature that declares the shape's rank."
            )
    open_inputs = tuple(
        Tensor(key, tuple(-1 if dim is None else int(dim) for dim in spec.shape), spec.dtype.name) for key, spec in specs.items()
    )
    static = settle(name, open_inputs, shapes)
    keys = tuple(specs)

    def call(*values: Any) -> list[Any]:
        assert loaded is not None  # keeps the variables alive: a signature holds its model weakly
        outputs = signature(**dict(zip(keys, values, strict=True)))
        return [outputs[key] for key in sorted(outputs)]

    return Traceable(name, _with_shapes(open_inputs, static), call, "TensorFlow")


def _with_shapes(tensors: tuple[Tensor, ...], shapes: tuple[tuple[int, ...], ...]) -> tuple[Tensor, ...]:
    return tuple(Tensor(tensor.name, shape, tensor.dtype) for tensor, shape in zip(tensors, shapes, strict=True))


def convert(model: Traceable, precision: Precision, calibration: Path | None, file: Path, numbers: Path) -> Converted:
    """Write the model to `file` and its outputs on the seeded inputs to `numbers`; return what else there is to know.

    Raises ConversionError where TensorFlow Lite cannot hold the model.
    """
    import tensorflow as tf

    for tensor in model.inputs:
        if tensor.dtype in {"string", "resource", "variant"}:
            raise ConversionError(
                f"{model.name}: input {tensor.name!r} takes {tensor.dtype} values", "Only numbers and booleans can be fed to a model."
            )
    names = _operator_names(model.inputs)
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for tensor, name in zip(model.inputs, names, strict=True)]
    examples = _examples(model, precision, calibration)
    with quiet(), _as_conversion_error(model.name):
        concrete = tf.function(model.call).get_concrete_function(*specs)
        inputs = [tensor for tensor in concrete.inputs if tensor.dtype != tf.resource]
        graph = _frozen_graph(concrete)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
        if not graph.library.function:
            # The converter's own freezing would trace the frozen graph once more, which takes as long as all the rest; only functions
            # (control flow) need that.
            converter._freeze_concrete_function = lambda: (graph, inputs, concrete.outputs, concrete)  # noqa: SLF001
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if examples is not None:
            order = [names.index(_bare(tensor.name)) for tensor in inputs]
            converter.representative_dataset = lambda: ([example[index] for index in order] for example in examples.batches)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.int8
            converter.inference_output_type = tf.int8
        file.write_bytes(converter.convert())
    inspection = inspect(file, model.name)
    _check_weights(model.name, inspection, graph, precision)
    not_compared = _write_numbers(model, inspection, names, [_bare(tensor.name) for tensor in concrete.outputs], numbers)
    notes = [RANDOM_CALIBRATION] if examples is not None and examples.random else []
    if inspection.precision != precision:
        notes.append(f"asked for {precision}, but its tensors are {inspection.precision}: the converter leaves small weights as they are")
    return Converted(None if not_compared else model.second_side, not_compared, "; ".join(notes) or None)


def _frozen_graph(concrete: Any) -> Any:
    """Return the graph of a traced function, its variables replaced by constants.

    `convert_variables_to_constants_v2` does these two steps and then traces the result, see `convert`.
    """
    from tensorflow.python.framework import convert_to_constants

    data = convert_to_constants._FunctionConverterDataInEager(  # noqa: SLF001
        func=concrete, lower_control_flow=False, aggressive_inlining=False
    )
    graph, _ = convert_to_constants._replace_variables_by_constants(converter_data=data)  # noqa: SLF001
    return graph


def _operator_names(inputs: tuple[Tensor, ...]) -> list[str]:
    """Return a name for each input that TensorFlow takes as it is, so that it can be found again in the .tflite file."""
    names: list[str] = []
    for tensor in inputs:
        name = re.sub(r"[^A-Za-z0-9_.]", "_", tensor.name).lstrip("_.") or "input"
        names.append(name if name.lower() not in (other.lower() for other in names) else f"{name}_{len(names)}")
    return names


def _bare(name: str) -> str:
    return name.rsplit(":", 1)[0]


def _examples(model: Traceable, precision: Precision, calibration: Path | None) -> Calibration | None:
    if precision != "int8":
        return None
    return random_examples(model.inputs) if calibration is None else read_examples(calibration, model.name, model.inputs)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the converter's advice to its own callers off the terminal."""
    loggers = [logging.getLogger("absl"), logging.getLogger("tensorflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _as_conversion_error(name: str) -> Iterator[None]:
    """Turn what tracing, freezing and converting raise on a model that TensorFlow Lite cannot hold into a ConversionError."""
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    try:
        yield
    except (ConverterError, tf.errors.OpError, ValueError, TypeError, RuntimeError, NotImplementedError, KeyError, AttributeError) as error:
        hint = "Convert it to a .tflite file with your own settings and pass that file."
        raise ConversionError(
            f"{name}: TensorFlow Lite cannot hold the model: {_reason(str(error) or type(error).__name__)}", hint
        ) from error


def _reason(text: str) -> str:
    """Return the line of a converter's error that says why, not the pages of its trace."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for marker in (
        "neither a custom op nor a flex op",
        "Ops that need custom implementation",
        "Ops that can be supported by the flex runtime",
    ):
        for line in lines:
            if marker in line:
                return line[-300:]
    # An error in the model's own code comes with its trace first and its message last.
    return (lines[-1 if lines[0].startswith("in user code") else 0] if lines else text)[:300]


def _check_weights(name: str, inspection: Inspection, graph: Any, precision: Precision) -> None:
    hint = "The converter lost them: convert the model to a .tflite file yourself and pass that."
    if inspection.resource_variables:
        raise ConversionError(f"{name}: the converted model reads variables that it does not hold", hint)
    weights = sum(
        int(np.prod([dim.size for dim in node.attr["value"].tensor.tensor_shape.dim], dtype=np.int64))
        for node in graph.node
        if node.op == "Const"
    )
    # A tenth: folding and sharing equal weights make a sound file smaller than its graph, a lost weight makes it tiny.
    if inspection.size_bytes * 10 < weights * _LEAST_WEIGHT_BYTES[precision]:
        raise ConversionError(f"{name}: the converted model has {inspection.size_bytes} bytes for {weights} weights", hint)


def _write_numbers(model: Traceable, inspection: Inspection, names: list[str], output_names: list[str], numbers: Path) -> str | None:
    """Write what the original computes on the inputs that the device will be fed; return why that is not possible, or None."""
    if inspection.random:
        return "random operators"
    values = [np.zeros(tensor.shape, tensor.dtype) for tensor in model.inputs]  # an input that the converter dropped has no say
    for index, (tensor, (scale, zero_point)) in enumerate(zip(inspection.inputs, inspection.quantization, strict=True)):
        if _bare(tensor.name) not in names:
            return f"the converter renamed an input to {tensor.name!r}"
        target = names.index(_bare(tensor.name))
        fed = protocol.seeded_input(model.inputs[target].shape, tensor.dtype, index)
        if scale and tensor.dtype != model.inputs[target].dtype:
            fed = (fed.astype(np.float64) - zero_point) * scale
        values[target] = fed.astype(model.inputs[target].dtype)
    with _as_conversion_error(model.name):
        outputs = [np.asarray(output) for output in model.call(*values)]
    converted = [_bare(tensor.name) for tensor in inspection.outputs]
    if len(converted) != len(outputs):
        return f"the model has {len(outputs)} outputs, the converted one {len(converted)}"
    if sorted(converted) == sorted(output_names) and len(set(converted)) == len(converted):
        outputs = [outputs[output_names.index(name)] for name in converted]
    with numbers.open("wb") as stream:
        np.savez(stream, **{f"output_{index}": output for index, output in enumerate(outputs)})  # type: ignore[arg-type]
    return None
