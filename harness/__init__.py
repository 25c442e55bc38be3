"""Measures how long neural networks take on the devices they will run on.

The names below load what they need when they are first used: `import harness` alone is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.convert.direct import write_network
    from harness.errors import HarnessError
    from harness.measure.aa import aa
    from harness.measure.benchmark import bench
    from harness.measure.compare import compare
    from harness.measure.doctor import doctor
    from harness.measure.equal import equal
    from harness.measure.frames import comparisons, results, samples
    from harness.measure.result import AAReport, Comparison, FailedResult, Result
    from harness.networks.catalogue import space_named
    from harness.networks.keras_build import build_keras
    from harness.networks.named import network_named
    from harness.report.plots import plot_samples
    from harness.search.optuna_search import optuna_objective
    from harness.tables.table import LatencyTable

__all__ = [
    "AAReport",
    "Comparison",
    "FailedResult",
    "HarnessError",
    "LatencyTable",
    "Result",
    "aa",
    "bench",
    "build_keras",
    "compare",
    "comparisons",
    "doctor",
    "equal",
    "network_named",
    "optuna_objective",
    "plot_samples",
    "results",
    "samples",
    "space_named",
    "write_network",
]

_HOMES = {
    "AAReport": "harness.measure.result",
    "Comparison": "harness.measure.result",
    "FailedResult": "harness.measure.result",
    "HarnessError": "harness.errors",
    "LatencyTable": "harness.tables.table",
    "Result": "harness.measure.result",
    "aa": "harness.measure.aa",
    "bench": "harness.measure.benchmark",
    "build_keras": "harness.networks.keras_build",
    "compare": "harness.measure.compare",
    "comparisons": "harness.measure.frames",
    "doctor": "harness.measure.doctor",
    "equal": "harness.measure.equal",
    "network_named": "harness.networks.named",
    "optuna_objective": "harness.search.optuna_search",
    "plot_samples": "harness.report.plots",
    "results": "harness.measure.frames",
    "samples": "harness.measure.frames",
    "space_named": "harness.networks.catalogue",
    "write_network": "harness.convert.direct",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
