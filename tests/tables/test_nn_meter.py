from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.networks.blocks import Block, Conv, DenseLayer, Depthwise, GlobalPool, Pool
from harness.networks.graph import Shape
from harness.tables.nn_meter import read_nn_meter
from harness.tables.table import LatencyTable

CONVOLUTION = {"HW": 28, "CIN": 32, "COUT": 64, "KERNEL_SIZE": 3, "STRIDES": 2}


def read(tmp_path: Path, data: object) -> LatencyTable:
    path = tmp_path / "pixel4.json"
    path.write_text(json.dumps(data))
    return read_nn_meter(path)


def kernel(name: str, config: dict[str, Any], latency: object = "1.25 +- 0.02") -> dict[str, Any]:
    return {name: {"id_0": {"model": "x.tflite", "shapes": [[28, 28, 32]], "config": config, "latency": latency}}}


@pytest.mark.parametrize(
    ("name", "config", "block", "given"),
    [
        ("conv-bn-relu", CONVOLUTION, Conv(64, (3, 3), (2, 2), activation="relu"), (28, 28, 32)),
        ("conv-bn-hswish", CONVOLUTION, Conv(64, (3, 3), (2, 2), activation="hard_swish"), (28, 28, 32)),
        ("conv-bn", CONVOLUTION, Conv(64, (3, 3), (2, 2)), (28, 28, 32)),
        ("dwconv-bn-relu6", CONVOLUTION, Depthwise((3, 3), (2, 2), activation="relu6"), (28, 28, 32)),
        ("fc", {"CIN": 64, "COUT": 10}, DenseLayer(10), (64,)),
        ("global-avgpool", {"HW": 7, "CIN": 64}, GlobalPool(), (7, 7, 64)),
        ("maxpool", {"HW": 28, "CIN": 32, "KERNEL_SIZE": 3, "POOL_STRIDES": 2}, Pool("max", (3, 3), (2, 2)), (28, 28, 32)),
        ("avgpool", {"HW": 28, "CIN": 32, "KERNEL_SIZE": 3, "STRIDES": 1}, Pool("average", (3, 3)), (28, 28, 32)),
    ],
)
def test_a_kernel_is_one_of_our_blocks(tmp_path: Path, name: str, config: dict[str, Any], block: Block, given: Shape) -> None:
    (row,) = read(tmp_path, kernel(name, config)).rows
    assert (row.block, row.inputs) == (block, (given,))
    assert (row.warm_ms, row.spread_ms) == (1.25, 0.02)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("channelshuffle", {"HW": 28, "CIN": 32}),
        ("conv-bn-relu", {"HW": 28}),
        ("conv-bn-relu", CONVOLUTION | {"KERNEL_SIZE": "3"}),
        ("conv-bn-relu", CONVOLUTION | {"PADDING": "valid"}),
        ("conv-bn-relu", CONVOLUTION | {"GROUPS": 4}),
    ],
)
def test_another_kernel_keeps_its_name(tmp_path: Path, name: str, config: dict[str, Any]) -> None:
    (row,) = read(tmp_path, kernel(name, config)).rows
    assert row.block is None
    assert row.key.startswith(f"{name}-")
    assert "HW:28" in row.key


@pytest.mark.parametrize(
    ("latency", "expected"), [("37.53 +- 0.314", (37.53, 0.314)), ("2e-3+-1e-4", (0.002, 0.0001)), ("4", (4, None)), (4.5, (4.5, None))]
)
def test_latencies_come_as_text_or_numbers(tmp_path: Path, latency: object, expected: tuple[float, float | None]) -> None:
    (row,) = read(tmp_path, kernel("conv-bn", CONVOLUTION, latency)).rows
    assert (row.warm_ms, row.spread_ms) == expected


def test_a_kernel_that_was_measured_twice_is_one_row(tmp_path: Path) -> None:
    data = kernel("conv-bn", CONVOLUTION, "1 +- 0.1")
    data["conv-bn"]["id_1"] = kernel("conv-bn", CONVOLUTION, "3 +- 0.3")["conv-bn"]["id_0"]
    (row,) = read(tmp_path, data).rows
    assert (row.warm_ms, row.spread_ms, row.processes) == (2, 0.3, 2)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "holds no kernels"),
        ({"conv-bn": []}, "holds no kernels"),
        ({}, "without rows"),
        ({"conv-bn": {"id": {"config": {}}}}, "conv-bn id has no config or no latency"),
        (kernel("conv-bn", CONVOLUTION, "fast"), "conv-bn id_0: latency is 'fast'"),
        (kernel("conv-bn", CONVOLUTION, "-1 +- 2"), "conv-bn id_0: latency is '-1"),
        (kernel("conv-bn", CONVOLUTION, True), "conv-bn id_0: latency is True"),
        (kernel("conv-bn", CONVOLUTION, "1e999"), "conv-bn id_0: latency is '1e999'"),
        (kernel("conv-bn", CONVOLUTION, None), "conv-bn id_0: latency is None"),
        (kernel("conv-bn", CONVOLUTION, "1-2"), "conv-bn id_0: latency is '1-2'"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, data: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, data)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"conv-bn": {"a": 1, "a": 2}}', "'a' stands twice in one object"),
        ('{"conv-bn": ' + "9" * 5000 + "}", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"\\ud800": {"a": {"config": {}, "latency": 1}}}', "which cannot be written"),
    ],
)
def test_odd_json_is_one_clear_error(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_nn_meter(tmp_path / "t.json")


def test_a_file_that_is_cut_short_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{\n"conv-bn": {')
    with pytest.raises(ConfigError, match=r"t\.json:2: the file is no JSON"):
        read_nn_meter(path)
