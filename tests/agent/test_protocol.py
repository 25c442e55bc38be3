from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_agent.protocol import (
    Chunk,
    Conditions,
    Core,
    Facts,
    Hello,
    InputShape,
    ModelFile,
    Output,
    Placement,
    Repetition,
    Settings,
    SoloResult,
    SoloTask,
    TimedTask,
    decode,
    encode,
    seeded_input,
)

MESSAGES = (
    Hello,
    Core,
    Facts,
    Conditions,
    Placement,
    Settings,
    InputShape,
    ModelFile,
    SoloTask,
    TimedTask,
    Output,
    SoloResult,
    Chunk,
    Repetition,
)
CONDITIONS = Conditions(1, 0.5, None, None, 40.0, None, None, 9)
FLOATS = st.floats(allow_nan=False)
st.register_type_strategy(float, FLOATS)


@st.composite
def messages(draw: st.DrawFn) -> Any:
    return draw(st.from_type(draw(st.sampled_from(MESSAGES))))


@settings(max_examples=60)
@given(messages())
def test_a_message_comes_back_from_the_wire_unchanged(message: Any) -> None:
    assert decode(type(message), json.loads(json.dumps(encode(message)))) == message


@given(FLOATS.filter(float.is_integer).filter(lambda value: abs(value) < 2**53))
def test_a_float_that_was_written_as_an_integer_is_a_float(value: float) -> None:
    found = decode(Conditions, encode(CONDITIONS) | {"load_1min": int(value)})
    assert type(found.load_1min) is float
    assert found.load_1min == value


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(ValueError, match=r"Conditions: unknown fields \['humidity'\]"):
        decode(Conditions, encode(CONDITIONS) | {"humidity": 1})


def test_a_missing_field_is_named() -> None:
    data = encode(CONDITIONS)
    del data["free_disk_bytes"]
    with pytest.raises(ValueError, match=r"Conditions: .*free_disk_bytes"):
        decode(Conditions, data)


def test_conditions_that_were_stored_before_phones_told_theirs_are_read() -> None:
    data = encode(CONDITIONS)
    for name in ("battery_c", "charging", "thermal_status", "battery_saver", "settings"):
        del data[name]
    assert decode(Conditions, data) == CONDITIONS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("free_disk_bytes", "9"),
        ("free_disk_bytes", 9.0),
        ("free_disk_bytes", True),
        ("free_disk_bytes", None),
        ("load_1min", "0.5"),
        ("load_1min", True),
        ("governor", 3),
        ("governor", ["performance"]),
    ],
)
def test_a_wrong_type_is_named_with_its_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"Conditions\.{field}: expected"):
        decode(Conditions, encode(CONDITIONS) | {field: value})


def test_a_wrong_type_deep_inside_is_named_with_its_path() -> None:
    chunk = Chunk(0, 1, 1, (), (5,), (5,), (0,), None, None, None)
    data = encode(Repetition((chunk,), ((1,),), (0,), CONDITIONS, CONDITIONS, 7))
    data["before"]["load_1min"] = "busy"
    with pytest.raises(ValueError, match=r"Repetition\.before\.load_1min"):
        decode(Repetition, data)


@pytest.mark.parametrize("samples", [[1, 2.0], [1, True], [1, None], ["1"], 5, None])
def test_samples_are_integers_in_a_list(samples: object) -> None:
    data = encode(Chunk(0, 1, 1, (), (5,), (5,), (0,), None, None, None)) | {"wall_ns": samples}
    with pytest.raises(ValueError, match=r"Chunk\.wall_ns: expected"):
        decode(Chunk, data)


@pytest.mark.parametrize("data", [None, [], "x", 3])
def test_a_message_is_an_object(data: Any) -> None:
    with pytest.raises(ValueError, match="Placement: expected an object"):
        decode(Placement, data)


DTYPES = ("float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")


@given(
    st.lists(st.integers(0, 4), max_size=4).map(tuple),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32 - 1),
)
def test_the_seeded_input_is_the_same_at_every_call(shape: tuple[int, ...], dtype: str, seed: int) -> None:
    first, second = (seeded_input(shape, dtype, seed) for _ in range(2))
    assert first.shape == shape
    assert first.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(first, second)


def test_the_seeded_input_is_pinned() -> None:
    # Numbers stored on the host and inputs drawn on a device meet only if both draw these, with every numpy.
    np.testing.assert_allclose(seeded_input((3,), "float32", 0), [0.5488135, 0.71518937, 0.60276338], rtol=1e-7)
    assert seeded_input((4,), "int8", 0).tolist() == [44, -81, -11, 64]
    assert seeded_input((6,), "int32", 1).tolist() == [1, 1, 0, 0, 1, 1]


def test_seeds_give_different_inputs() -> None:
    assert not np.array_equal(seeded_input((8,), "float32", 0), seeded_input((8,), "float32", 1))


def test_8_bit_inputs_use_their_whole_range() -> None:
    drawn = seeded_input((20_000,), "uint8", 0)
    assert (drawn.min(), drawn.max()) == (0, 255)
    drawn = seeded_input((20_000,), "int8", 0)
    assert (drawn.min(), drawn.max()) == (-128, 127)
