"""Results and samples to print and draw: made up, but of the shape that a benchmark gives."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from harness.measure.result import AAReport, Check, Comparison, Result

_RESULT = Result(
    model="mobilenet_v2",
    sha256="ab" * 32,
    device="local",
    runtime="ai-edge-litert",
    runtime_version="2.3.0",
    precision="float32",
    core=1,
    cores=(1,),
    core_chosen_by="cpu_capacity",
    governor=None,
    settings=(),
    threads=1,
    cold=False,
    latency_ms=3.412,
    latency_corrected_ms=3.301,
    interval_ms=(3.38, 3.444),
    interval_scope="visits",
    p5_ms=3.36,
    p90_ms=3.6,
    p95_ms=3.71,
    p99_ms=4.25,
    min_ms=3.3,
    init_ms=21.4,
    first_ms=12.2,
    peak_memory_bytes=61_300_000,
    model_size_bytes=14_000_000,
    delegated_nodes=65,
    total_nodes=66,
    runs=2_400,
    processes=5,
    disturbed_share=0.021,
    reference_drift=0.034,
    elasticity=0.92,
    numbers="within 1e-03 of Keras",
    note="random weights",
    warnings=("reference kernels ran part of the model",),
    verdict="steady",
    from_store=False,
    measured_at=datetime(2026, 11, 22, 18, 30, tzinfo=UTC),
    fingerprint="cd" * 32,
    measurement_id=7,
)


def result(**changes: Any) -> Result:
    """Return a result, with `changes` to its fields."""
    return replace(_RESULT, **changes)


def stored() -> pd.DataFrame:
    """Return a benchmark that succeeded and one that failed, as `harness.results` does."""
    row = asdict(_RESULT) | {"interval_low_ms": 3.38, "interval_high_ms": 3.444, "cores": "1", "warnings": ""}
    del row["interval_ms"]
    failure = {"model": "broken.tflite", "device": "local", "measured_at": _RESULT.measured_at, "error": "it is empty\nmore"}
    frame = pd.DataFrame([row, failure]).astype({"threads": "Int64", "runs": "Int64", "verdict": "string", "error": "string"})
    return frame.astype({"measured_at": "datetime64[us, UTC]"})


def comparison() -> Comparison:
    return Comparison(
        a="a.tflite",
        b="b.tflite",
        device_a="local",
        device_b="local",
        threads=1,
        a_ms=3.4,
        b_ms=3.74,
        ratio=1.1,
        interval=(1.09, 1.11),
        difference=True,
        processes=5,
        pairs=120,
        sentence="b.tflite is 10.0% slower than a.tflite.",
        verdict="steady",
        measured_at=datetime(2026, 11, 22, 18, 30, tzinfo=UTC),
        measurement_ids=(3, 4),
    )


def aa_report() -> AAReport:
    return AAReport(
        model="mobilenet_v2",
        device="local",
        runtime="ai-edge-litert",
        pairs=40,
        false_positives=2,
        false_positive_rate=0.05,
        smallest_difference=0.006,
        between_visit_spread=0.011,
        visits=8,
        latency_ms=3.4,
        measured_at=datetime(2026, 11, 22, 18, 30, tzinfo=UTC),
    )


def checks() -> tuple[Check, ...]:
    return (
        Check(name="core", ok=True, found="core 1, capacity 1024", advice="never printed"),
        Check(name="governor", ok=None, found="not told", advice="Virtual machines have none."),
        Check(name="load", ok=False, found="1.9", advice="End what else runs."),
    )


def samples(latency_ms: float = 3.412, processes: int = 5, chunks: int = 8, per_chunk: int = 60, seed: int = 1) -> pd.DataFrame:
    """Return samples as `harness.samples` does: processes with offsets of their own, a skewed tail, disturbed outliers, a reference."""
    generator = np.random.default_rng(seed)
    rows = []
    clock_ns = 10**12
    for repetition in range(processes):
        centre = latency_ms * (1 + generator.normal(0, 0.006))
        for chunk in range(chunks):
            role = "reference" if chunk % 4 == 3 else "candidate"
            scale = 0.1 if role == "reference" else 1.0
            start_ns = clock_ns
            for _ in range(per_chunk):
                disturbed = generator.random() < 0.03
                wall_ms = scale * centre * (1 + generator.gamma(2, 0.006) + (generator.exponential(0.9) if disturbed else 0))
                wall_ns = int(wall_ms * 1e6)
                cpu_ns = int(wall_ns * 0.998)
                rows.append(
                    (
                        repetition,
                        chunk,
                        _RESULT.sha256 if role == "candidate" else "ef" * 32,
                        role,
                        start_ns,
                        wall_ns,
                        cpu_ns,
                        1,
                        float(wall_ns),
                        int(disturbed),
                        disturbed,
                    )
                )
                clock_ns += wall_ns
        clock_ns += 900_000_000
    columns = ["repetition", "chunk", "model", "role", "start_ns", "wall_ns", "cpu_ns", "repeats", "latency_ns", "switches", "disturbed"]
    return pd.DataFrame(rows, columns=columns)
