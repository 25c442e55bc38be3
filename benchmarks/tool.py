"""ai-edge-litert's own benchmark tool, in a process of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import figures
from harness.convert.children import pinned

MODULE = "ai_edge_litert.tools.benchmark_litert_model"


def median_ms(model: Path, cores: Sequence[int] = (), runs: int | None = None, warm_up: int | None = None) -> float:
    """Return the tool's median, which it rounds to 0.01 ms; without `cores`, `runs` and `warm_up` as the tool does by itself."""
    asked = [] if runs is None else ["--num_runs", str(runs)]
    asked += [] if warm_up is None else ["--warmup_runs", str(warm_up)]
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "result.json"
        argv = [sys.executable, "-m", MODULE, "--model", str(model), "--result_json", str(answer), *asked]
        figures.output(pinned(argv, cores))
        return float(json.loads(answer.read_text())["latency"]["median_ms"])
