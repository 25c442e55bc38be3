"""Kernels as nn-Meter's builder measures them: JSON of kernels, each with what it was called, its configuration and its latency.

    {"conv-bn-relu": {"a1": {"config": {"HW": 28, "CIN": 32, "COUT": 64, "KERNEL_SIZE": 3, "STRIDES": 1}, "latency": "1.25 +- 0.02"}}}

Assumed, since the file does not say (Zhang et al. 2021): latencies are in ms, what follows +- is their standard deviation, padding is
"same".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.networks.blocks import Block, Conv, DenseLayer, Depthwise, GlobalPool, Pool, block_costs, block_key
from harness.networks.graph import Activation, Shape
from harness.tables.ofa_yaml import foreign
from harness.tables.reading import once
from harness.tables.table import LatencyTable, Row

_SETTINGS = {"HW", "CIN", "COUT", "KERNEL_SIZE", "STRIDES", "POOL_STRIDES"}
_LATENCY = re.compile(r"\s*([\d.eE+-]+?)\s*(?:\+-\s*([\d.eE+-]+))?\s*")
_ACTIVATIONS: dict[str, Activation] = {"": "linear", "-relu": "relu", "-relu6": "relu6", "-hswish": "hard_swish"}
_CONVOLUTION = re.compile(r"(conv|dwconv)-bn(|-relu|-relu6|-hswish)")


def read_nn_meter(path: Path, device: str | None = None) -> LatencyTable:
    """Return the table of a file of measured kernels; `device` is what to call where it was measured, by default the file's stem.

    A kernel that is none of our blocks has a row by its name and configuration. Of kernels that were measured several times the rows are
    one, their mean. Raises ConfigError that names the file and the kernel.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"cannot read {path}: {reason}", "give the path of a JSON file") from None
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}:{error.lineno}: the file is no JSON: {error.msg}", "nn-Meter's builder writes profiled_results.json"
        ) from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}", error.hint) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, brackets in brackets
        raise ConfigError(f"{path} cannot be read: {error}", "nn-Meter's builder writes profiled_results.json") from None
    rows: dict[str, list[Row]] = {}
    for name, kernel, measured in _kernels(data, path):
        try:
            row = _row(kernel, measured)
        except ConfigError as error:
            raise ConfigError(f"{path}: {name}: {error.message}", error.hint) from None
        rows.setdefault(row.key, []).append(row)
    return LatencyTable(foreign(device or path.stem), tuple(map(_mean, rows.values())))


def _kernels(data: object, path: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    if not isinstance(data, dict) or not all(isinstance(group, dict) for group in data.values()):
        raise ConfigError(
            f"{path} holds no kernels of nn-Meter", 'expected: {"conv-bn-relu": {"id": {"config": {...}, "latency": "1.2 +- 0.1"}}}'
        )
    for kernel, group in data.items():
        for name, measured in group.items():
            if not isinstance(measured, dict) or not isinstance(measured.get("config"), dict) or "latency" not in measured:
                raise ConfigError(f"{path}: {kernel} {name} has no config or no latency", "measure it again with nn-Meter's builder")
            yield f"{kernel} {name}", kernel, measured


def _row(kernel: str, measured: Mapping[str, Any]) -> Row:
    latency_ms, spread_ms = _latency(measured["latency"])
    placed = _placed(kernel, measured["config"])
    if placed is None:
        settings = "-".join(f"{name}:{value}" for name, value in sorted(measured["config"].items()))
        return Row(f"{kernel}-{settings}", None, (), latency_ms, spread_ms=spread_ms)
    return Row(block_key(*placed), *placed, latency_ms, spread_ms=spread_ms)


def _latency(value: object) -> tuple[float, float | None]:
    """Return a latency and its standard deviation, None where the file tells none."""
    match = _LATENCY.fullmatch(str(value))
    try:
        numbers = [] if match is None or isinstance(value, bool) else [float(part) for part in match.groups() if part is not None]
    except ValueError:
        numbers = []
    if not numbers or not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ConfigError(f"latency is {value!r}", 'expected: a number of ms, or "1.2 +- 0.1"')
    return numbers[0], numbers[1] if len(numbers) > 1 else None


def _placed(kernel: str, config: Mapping[str, Any]) -> tuple[Block, tuple[Shape, ...]] | None:
    """Return the block that a kernel is, and the shapes of its inputs; None where none of ours is the same."""
    counts = {name: value for name, value in config.items() if isinstance(value, int) and not isinstance(value, bool) and value > 0}
    if not set(config) <= _SETTINGS:
        return None  # a kernel of other settings is another
    try:
        block, given = _block(kernel, counts)
        block_costs(block, (given,))
    except (KeyError, ConfigError):
        return None
    return block, (given,)


def _block(kernel: str, counts: Mapping[str, int]) -> tuple[Block, Shape]:
    if kernel == "fc":
        return DenseLayer(counts["COUT"]), (counts["CIN"],)
    given = (counts["HW"], counts["HW"], counts["CIN"])
    if kernel == "global-avgpool":
        return GlobalPool(), given
    size = (counts["KERNEL_SIZE"], counts["KERNEL_SIZE"])
    if kernel in ("avgpool", "maxpool"):
        stride = counts.get("POOL_STRIDES") or counts["STRIDES"]
        return Pool("average" if kernel == "avgpool" else "max", size, (stride, stride)), given
    match = _CONVOLUTION.fullmatch(kernel)
    if match is None:
        raise KeyError(kernel)
    stride, activation = counts["STRIDES"], _ACTIVATIONS[match[2]]
    if match[1] == "dwconv":
        return Depthwise(size, (stride, stride), activation=activation), given
    return Conv(counts["COUT"], size, (stride, stride), activation=activation), given


def _mean(rows: list[Row]) -> Row:
    first = rows[0]
    spreads = [row.spread_ms for row in rows if row.spread_ms is not None]
    mean_ms = math.fsum(row.warm_ms for row in rows) / len(rows)
    return Row(first.key, first.block, first.inputs, mean_ms, spread_ms=max(spreads, default=None), processes=len(rows))
