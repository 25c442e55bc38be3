"""Conversion in this process, of model objects: the same code as in the worker, without its start."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from harness.convert import keras_convert
from harness.convert.agreement import compare_outputs
from harness.convert.converter import Converter
from harness.convert.inspect import inspect
from harness.convert.model import Model, Precision
from harness.errors import ConfigError, ConversionError
from tests.cli import tiny_models
from tests.convert.device import run


def agrees(model: Model) -> bool:
    assert model.expected is not None, model.not_compared
    agreement = compare_outputs(model.expected, run(model), model.precision, "Keras")
    return agreement.ok and "says little" not in agreement.text


@pytest.fixture(scope="module")
def two_by_two(keras: Any) -> Any:
    """Return a model whose two inputs and two outputs tell apart every mix-up of their order."""
    keras.utils.set_random_seed(1)
    wide, image = keras.Input((48,), name="zeta"), keras.Input((6, 6, 3), name="alpha")
    features = keras.layers.Flatten()(keras.layers.Conv2D(40, 3, activation="relu")(image))
    joined = keras.layers.Concatenate()([keras.layers.Dense(60)(wide), keras.layers.Dense(60)(features)])
    outputs = [keras.layers.Dense(40, name="z")(joined), keras.layers.Dense(40, name="a", activation="sigmoid")(joined)]
    return keras.Model({"zeta": wide, "alpha": image}, outputs, name="two_by_two")


@pytest.mark.parametrize("precision", get_args(Precision))
def test_each_precision_converts_and_agrees_with_keras(converter: Converter, two_by_two: Any, precision: Precision) -> None:
    model = converter.submit(two_by_two, precision=precision).result()
    assert model.precision == precision
    assert {tensor.dtype for tensor in (*model.inputs, *model.outputs)} == {"int8" if precision == "int8" else "float32"}
    assert sorted(tensor.name for tensor in model.inputs) == ["alpha", "zeta"]
    assert (model.second_side, model.not_compared) == ("Keras", None)
    assert model.note == ("int8 calibrated on random data" if precision == "int8" else None)
    assert agrees(model)


def test_the_numbers_are_keras_own_on_the_input_that_the_device_is_fed(converter: Converter, two_by_two: Any) -> None:
    from latency_agent import protocol

    model = converter.submit(two_by_two, precision="int8").result()
    fed = {}
    for index, (tensor, (scale, zero)) in enumerate(zip(model.inputs, inspect(model.path).quantization, strict=True)):
        values = protocol.seeded_input(tensor.shape, "int8", index)
        fed[tensor.name] = ((values.astype(np.float64) - zero) * scale).astype(np.float32)
    wanted = two_by_two(fed, training=False)
    assert model.expected is not None
    with np.load(model.expected) as stored:
        for index, want in enumerate(wanted):
            np.testing.assert_allclose(stored[f"output_{index}"], want, atol=1e-5)


def test_a_sequential_model_with_whole_number_inputs(converter: Converter, keras: Any) -> None:
    layers = [keras.Input((8,), dtype="int32"), keras.layers.Embedding(50, 64), keras.layers.Flatten(), keras.layers.Dense(40)]
    for precision in get_args(Precision):
        model = converter.submit(keras.Sequential(layers), precision=precision).result()
        assert model.inputs[0].dtype == "int32"
        assert agrees(model)


def test_small_weights_that_stay_float_are_said_so(converter: Converter, keras: Any) -> None:
    model = converter.submit(keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)]), precision="dynamic").result()
    assert model.precision == "float32"
    assert model.note is not None
    assert "asked for dynamic" in model.note


def test_a_layer_of_the_users_own_converts_as_an_object(converter: Converter, keras: Any) -> None:
    class Scale(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(shape[-1],), initializer="random_normal")

        def call(self, values: Any) -> Any:
            return values * self.scale

    assert agrees(converter.submit(keras.Sequential([keras.Input((8,)), Scale()])).result())


def test_open_dimensions_need_a_shape(converter: Converter, keras: Any) -> None:
    picture = keras.Input((None, None, 3), name="picture")
    model = keras.Model(picture, keras.layers.Conv2D(4, 3)(picture), name="open")
    with pytest.raises(ConversionError, match=r"open: input 'picture' has no fixed shape") as caught:
        converter.submit(model).result()
    assert "--shape picture=1,224,224,3" in caught.value.hint
    with pytest.raises(ConfigError, match="Did you mean 'picture'"):
        converter.submit(model, shapes={"pictur": (1, 8, 8, 3)}).result()
    converted = converter.submit(model, shapes={"picture": (2, 8, 8, 3)}).result()
    assert (converted.inputs[0].shape, converted.shapes) == ((2, 8, 8, 3), ())
    assert agrees(converted)


def test_what_is_no_model_or_declares_no_inputs_is_refused(converter: Converter, keras: Any) -> None:
    class Undeclared(keras.Model):  # type: ignore[misc]
        def call(self, values: Any) -> Any:
            return values

    with pytest.raises(ConversionError, match="declares no inputs"):
        converter.submit(Undeclared()).result()
    with pytest.raises(ConfigError, match=r"builtins\.int is not a model"):
        converter.submit(3).result()
    with pytest.raises(ConfigError, match="unknown precision 'int4'"):
        converter.submit(keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)]), precision="int4").result()  # type: ignore[arg-type]


def test_what_tensorflow_lite_lacks_is_named(converter: Converter, keras: Any) -> None:
    import tensorflow as tf

    square = keras.Input((4, 4))
    model = keras.Model(square, keras.layers.Lambda(tf.linalg.inv, output_shape=(4, 4))(square), name="inverse")
    with pytest.raises(ConversionError, match=r"inverse: TensorFlow Lite cannot hold the model.*MatrixInverse"):
        converter.submit(model).result()


@pytest.mark.usefixtures("keras")
def test_a_model_without_its_weights_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    weights = np.ones((64, 64), np.float32)
    concrete = tf.function(lambda x: x @ weights).get_concrete_function(tf.TensorSpec((1, 64)))
    graph_def = concrete.graph.as_graph_def()
    path = tmp_path / "m.tflite"
    path.write_bytes(tiny_models.add())
    with pytest.raises(ConversionError, match="bytes for 4096 weights"):
        keras_convert._check_weights("m", inspect(path), graph_def, "float32")
    graph = tiny_models._graph([tiny_models._tensor("x", [1]), tiny_models._tensor("y", [1])], tiny_models._operator("", 0, [0], [1]))
    path.write_bytes(tiny_models._model([graph], ["VAR_HANDLE"]))
    with pytest.raises(ConversionError, match="reads variables that it does not hold"):
        keras_convert._check_weights("m", inspect(path), graph_def, "float32")


def test_a_model_with_control_flow_converts_and_agrees(converter: Converter, keras: Any) -> None:
    keras.utils.set_random_seed(1)
    sequence = keras.Input((5, 8), batch_size=1, name="sequence")
    model = keras.Model(sequence, keras.layers.Dense(4)(keras.layers.LSTM(6, unroll=False)(sequence)), name="recurrent")
    assert agrees(converter.submit(model).result())


def test_the_file_is_that_of_the_converter_s_own_freezing(converter: Converter, keras: Any) -> None:
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6, 6, 3), name="image"), keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()])
    ours = converter.submit(model).result()
    concrete = tf.function(lambda image: [model(image, training=False)]).get_concrete_function(tf.TensorSpec((1, 6, 6, 3), name="image"))
    theirs = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    assert ours.path.read_bytes() == theirs


def test_calibration_data_set_the_ranges(converter: Converter, keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    examples = tmp_path / "examples.npy"
    np.save(examples, np.linspace(-50, 50, 160, dtype=np.float32).reshape(20, 8))
    converted = converter.submit(model, precision="int8", calibration=examples).result()
    assert converted.note is None
    assert inspect(converted.path).quantization[0][0] == pytest.approx(100 / 255, rel=0.05)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((20, 7), np.float32), "holds float32 values of shape 20,7"),
        (np.zeros((20, 8), np.float64), "holds float64 values of shape 20,8"),
        (np.zeros((0, 8), np.float32), "shape 0,8"),
        (np.zeros((), np.float32), r"shape \(\)"),
        (np.full((20, 8), np.nan, np.float32), "not finite"),
        (np.array([{}]), r"not a \.npy file of numbers"),
    ],
)
def test_calibration_data_that_do_not_fit_are_refused(converter: Converter, keras: Any, tmp_path: Path, values: Any, says: str) -> None:
    np.save(tmp_path / "examples.npy", values)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    with pytest.raises(ConfigError, match=says) as caught:
        converter.submit(model, precision="int8", calibration=tmp_path / "examples.npy").result()
    if "pickle" not in str(caught.value):
        assert "needs float32 examples of shape 8 along the first axis" in caught.value.hint


def test_calibration_files_that_are_none_are_refused(converter: Converter, keras: Any, two_by_two: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    with pytest.raises(ConfigError, match="no such file"):
        converter.submit(model, precision="int8", calibration=tmp_path / "absent.npy").result()
    (tmp_path / "text.npy").write_text("1 2 3")
    with pytest.raises(ConfigError, match=r"not a \.npy file"):
        converter.submit(model, precision="int8", calibration=tmp_path / "text.npy").result()
    with pytest.raises(ConfigError, match="calibration data are for int8, not float16"):
        converter.submit(model, precision="float16", calibration=tmp_path / "text.npy").result()
    with pytest.raises(ConfigError, match="models of one input, it has 2"):
        converter.submit(two_by_two, precision="int8", calibration=tmp_path / "text.npy").result()
