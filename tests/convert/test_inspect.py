from __future__ import annotations

import contextlib
import hashlib
import time
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from harness.convert.inspect import MAX_BYTES, inspect
from harness.convert.reference import reference_models
from harness.convert.shapes import settle
from harness.errors import ConfigError, ConversionError, HarnessError
from tests import models
from tests.cli import tiny_models

MODELS = (tiny_models.add(), tiny_models.hanging(), models.endless(), models.sigmoids(20, 64))


def write(folder: Path, data: bytes) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(data)
    return path


def test_a_file_is_described_from_its_bytes(tmp_path: Path) -> None:
    data = tiny_models.add()
    found = inspect(write(tmp_path, data))
    assert (found.sha256, found.size_bytes, found.precision) == (hashlib.sha256(data).hexdigest(), len(data), "float32")
    assert [(tensor.name, tensor.shape, tensor.dtype) for tensor in found.inputs] == [("input", (1, 8), "float32")]
    assert [tensor.name for tensor in found.outputs] == ["y"]
    assert (found.random, found.resource_variables) == (False, False)


def test_random_operators_are_seen(tmp_path: Path) -> None:
    assert inspect(write(tmp_path, models.endless())).random


def test_resource_variables_are_seen(tmp_path: Path) -> None:
    graph = tiny_models._graph([tiny_models._tensor("x", [1]), tiny_models._tensor("y", [1])], tiny_models._operator("", 0, [0], [1]))
    assert inspect(write(tmp_path, tiny_models._model([graph], ["READ_VARIABLE"]))).resource_variables


def test_an_unknown_custom_operator_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="custom operator NoSuchOp"):
        inspect(write(tmp_path, tiny_models.unresolved_custom_op()))


def test_a_dynamic_input_needs_a_shape(tmp_path: Path) -> None:
    inputs = inspect(write(tmp_path, tiny_models.dynamic())).inputs
    with pytest.raises(ConversionError) as caught:
        settle("m", inputs, {})
    assert "'input' has no fixed shape (1,?)" in str(caught.value)
    assert "--shape input=1,224" in str(caught.value)
    assert settle("m", inputs, {"input": (1, 5)}) == ((1, 5),)
    with pytest.raises(ConfigError, match="Did you mean 'input'"):
        settle("m", inputs, {"imput": (1, 5)})
    for dims in ((2, 5), (1, 0), (1, -1), (1,), (1, 5, 1)):
        with pytest.raises(ConfigError, match="cannot have the shape"):
            settle("m", inputs, {"input": dims})


def test_an_open_batch_is_one(tmp_path: Path) -> None:
    tensors = [tiny_models._tensor(name, [1, 8], signature=[-1, 8]) for name in ("input", "y")]
    data = tiny_models._model([tiny_models._graph(tensors, tiny_models._operator("Add", 0, [0, 0], [1]))], ["ADD"])
    found = inspect(write(tmp_path, data))
    assert found.inputs[0].shape == (-1, 8)
    assert settle("m", found.inputs, {}) == ((1, 8),) == found.default_shapes


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"TFL3", "not a .tflite"),
        (b"\0" * 64, "not a .tflite"),
        (b"PK\3\4" + b"x" * 400, "not a .tflite"),
        (b"\x10\0\0\0TFL3" + b"\xff" * 64, "not a sound .tflite"),
        (tiny_models.add()[:-40], "not a sound .tflite"),
    ],
)
def test_bytes_that_are_no_model_are_refused(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(ConversionError, match=says):
        inspect(write(tmp_path, data), "m")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        inspect(tmp_path / "absent.tflite")
    with pytest.raises(ConfigError, match="cannot be read"):
        inspect(tmp_path)
    huge = tmp_path / "huge.tflite"
    with huge.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(ConversionError, match="2 GiB"):
        inspect(huge)


def test_truncated_weights_are_found_wherever_the_file_is_cut(tmp_path: Path) -> None:
    data = reference_models()[0].path.read_bytes()
    for size in range(16, len(data) - 16, len(data) // 40):
        with pytest.raises(ConversionError):
            inspect(write(tmp_path, data[:size]))


@hypothesis.settings(max_examples=400)
@hypothesis.given(st.sampled_from(MODELS), st.data())
def test_damage_ends_in_an_error_of_the_harness_or_in_none(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, draw: st.DataObject
) -> None:
    mutated = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 6))):
        at = draw.draw(st.integers(0, len(mutated) - 5))
        mutated[at : at + 4] = draw.draw(st.binary(min_size=4, max_size=4) | st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\0\0\0\x40"]))
    cut = draw.draw(st.none() | st.integers(0, len(mutated)))
    started = time.perf_counter()
    with contextlib.suppress(HarnessError):
        inspect(write(tmp_path_factory.getbasetemp(), bytes(mutated[:cut])))
    assert time.perf_counter() - started < 60  # no count in the file is taken at its word
