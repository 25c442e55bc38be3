"""What is stored, as pandas data frames, and frames as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, fields
from datetime import datetime
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from harness.devices.inventory import load_inventory
from harness.errors import ConfigError, StoreError
from harness.files import StrPath, whole_file
from harness.measure import stats
from harness.measure.compare import comparison_of
from harness.measure.context import context_of
from harness.measure.result import Comparison, Result
from harness.measure.rows import Pairing, Row, Unmeasured
from harness.measure.samples import METHOD_VERSION, REFERENCES, Failure, Measurement
from harness.measure.store import Store
from harness.measure.summary import summarise

if TYPE_CHECKING:
    import pandas as pd

_RESULT_PAIRS = {"interval_ms": ("interval_low_ms", "interval_high_ms")}
_COMPARISON_PAIRS = {"interval": ("interval_low", "interval_high"), "measurement_ids": ("measurement_id_a", "measurement_id_b")}
_FAILED = {"error_kind": "string", "error": "string", "stderr_tail": "string"}
_DTYPES = {int: "Int64", float: "float64", bool: "boolean", str: "string", datetime: "datetime64[us, UTC]"}


def results(
    *,
    device: str | None = None,
    model: str | None = None,
    since: datetime | None = None,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
) -> pd.DataFrame:
    """Return the stored benchmarks, a row each, failures too; `results_frame` says which columns.

    Only those on `device`, of `model` (a name, or 8 or more digits that a SHA-256 starts with), measured at `since` or later.
    The store is in the folder `results`, else beside the device inventory. Raises StoreError where there is none.
    """
    with _store(inventory, results) as store:

        def derive(measurement: Measurement) -> Result:
            return summarise(measurement, context_of(store, measurement.subject, measurement.repetitions[0].taken_at), from_store=True)

        return results_frame(store, summarise=derive, device=device, model=model, since=since)


def comparisons(
    *,
    device: str | None = None,
    model: str | None = None,
    since: datetime | None = None,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
) -> pd.DataFrame:
    """Return the stored comparisons that have ended, a row each, the newest first.

    The columns are the fields of `Comparison`, pairs of values as two, then `error_kind`, `error` and `stderr_tail`, which only a failed
    one has. Only those with `device`, with `model` (a name), that ended `since`; samples that were arranged by an older method stay in the
    store and are not judged. The store is found as by `results`; raises StoreError like it.
    """
    import pandas as pd

    with _store(inventory, results) as store:
        records = [
            _record(comparison_of(store, pairing), _COMPARISON_PAIRS) if outcome == "measured" else _of_failed(store, pairing)
            for pairing, outcome in store.comparisons("compare", device=device, model=model, since=since)
            if outcome != "unfinished" and store.row(pairing.a).subject.method == METHOD_VERSION
        ]
    columns = _columns(Comparison, _COMPARISON_PAIRS) | _FAILED
    return pd.DataFrame(records, columns=list(columns)).astype(columns)


def samples(measurement_id: int, *, inventory: StrPath | None = None, results: StrPath | None = None) -> pd.DataFrame:
    """Return the samples of one stored benchmark, a row each; `samples_frame` says which columns.

    The store is found as by `results`. Raises StoreError where it does not hold that benchmark.
    """
    with _store(inventory, results) as store:
        return samples_frame(store.measurement(measurement_id))


def results_frame(
    store: Store,
    *,
    summarise: Callable[[Measurement], Result],
    device: str | None = None,
    model: str | None = None,
    since: datetime | None = None,
) -> pd.DataFrame:
    """Return one row per stored benchmark that has ended, newest first, with what `summarise` derives from its samples.

    The samples of comparisons are arranged otherwise, and left out. A model that failed before a benchmark of it could start has a row
    with its error, and no measurement id.

    The columns are the fields of `Result`, but for `interval_ms`, which becomes `interval_low_ms` and `interval_high_ms`, and for
    lists, which become text; then `error_kind` and `error`, which only a failed benchmark has. What a row lacks is missing in it.
    """
    import pandas as pd

    columns = _result_columns()
    records = [
        _of_failure(row, row.failure) if row.failure is not None else _of_measured(store, row, summarise)
        for row in store.rows(device=device, model=model, since=since)
        if row.outcome != "unfinished" and row.subject.design == "benchmark"
    ]
    records += map(_of_unmeasured, store.unmeasured(device=device, model=model, since=since))
    records.sort(key=itemgetter("measured_at"), reverse=True)
    return pd.DataFrame(records, columns=list(columns)).astype(columns)


def samples_frame(measurement: Measurement) -> pd.DataFrame:
    """Return one row per sample of a measurement, the reference models' among them, in the order they were taken.

    Of models taken in turn the samples of one come before those of the other.

    `repetition` and `chunk` count from 0; `model` is a SHA-256 and `role` "reference" or "candidate". `start_ns` is that of the
    chunk, on the device's monotonic clock. `latency_ns` is the wall time of one run: `wall_ns` over `repeats`. `disturbed` samples are
    left out of estimates.
    """
    import numpy as np
    import pandas as pd

    taken = [
        (number, position, repetition, chunk)
        for number, repetition in enumerate(measurement.repetitions)
        for position, chunk in enumerate(repetition.data.chunks)
    ]
    threads = measurement.subject.threads
    sizes = [len(chunk.wall_ns) for _, _, _, chunk in taken]

    def each(values: list[int]) -> Any:
        return np.repeat(np.array(values, np.int64), sizes)

    def all_of(name: str) -> Any:
        return np.fromiter(chain.from_iterable(getattr(chunk, name) for _, _, _, chunk in taken), np.int64)

    models = np.array([repetition.models[chunk.model] for _, _, repetition, chunk in taken], dtype=object)
    roles = np.array(["reference" if chunk.model < REFERENCES else "candidate" for *_, chunk in taken], dtype=object)
    wall_ns = all_of("wall_ns")
    repeats = each([chunk.repeats for *_, chunk in taken])
    return pd.DataFrame(
        {
            "repetition": each([number for number, *_ in taken]),
            "chunk": each([position for _, position, *_ in taken]),
            "model": pd.Series(np.repeat(models, sizes), dtype="string"),
            "role": pd.Series(np.repeat(roles, sizes), dtype="string"),
            "start_ns": each([chunk.start_ns for *_, chunk in taken]),
            "wall_ns": wall_ns,
            "cpu_ns": all_of("cpu_ns"),
            "repeats": repeats,
            "latency_ns": wall_ns / repeats,
            "switches": all_of("switches"),
            "disturbed": np.concatenate([np.zeros(0, bool), *(stats.disturbed(chunk, threads) for *_, chunk in taken)]),
        }
    )


def export(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as CSV, Parquet or JSON (a list of records), as the suffix of `path` says.

    A reader finds the old file or the whole new one. Raises ConfigError for another suffix, and where the file cannot be written.
    """
    writers: dict[str, Callable[[Path], object]] = {
        ".csv": lambda to: frame.to_csv(to, index=False),
        ".parquet": lambda to: frame.to_parquet(to, index=False),
        ".json": lambda to: frame.to_json(to, orient="records", date_format="iso", date_unit="us", double_precision=15, indent=2),
    }
    write = writers.get(path.suffix.lower())
    if write is None:
        raise ConfigError(f"cannot export to {path}: unknown kind of file {path.suffix!r}", f"Known are {', '.join(writers)}.")
    with whole_file(path) as draft:
        write(draft)


def _store(inventory: StrPath | None, results: StrPath | None) -> Store:
    return Store.open(results or load_inventory(inventory).results_dir, read_only=True)


def _columns(kind: type, pairs: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Return a column for each field of a dataclass, with its type; two for one of `pairs`."""
    columns: dict[str, str] = {}
    for name, hint in get_type_hints(kind).items():
        if name in pairs:
            columns |= dict.fromkeys(pairs[name], "Int64" if hint == tuple[int, int] else "float64")
        else:
            columns[name] = next((dtype for kind, dtype in _DTYPES.items() if hint in (kind, kind | None)), "string")
    return columns


def _result_columns() -> dict[str, str]:
    return _columns(Result, _RESULT_PAIRS) | _FAILED


def _record(value: Result | Comparison, pairs: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Return the fields of a dataclass, each of `pairs` as two."""
    record = {field.name: getattr(value, field.name) for field in fields(value)}
    for name, columns in pairs.items():
        record |= zip(columns, record.pop(name) or (None, None), strict=True)
    return record


def _of_failed(store: Store, pairing: Pairing) -> dict[str, Any]:
    """Return what is known of a comparison that failed."""
    a, b = store.row(pairing.a), store.row(pairing.b)
    known: dict[str, Any] = {"a": a.provenance.model, "b": b.provenance.model, "threads": a.subject.threads, "measured_at": a.measured_at}
    known |= {"device_a": a.provenance.device, "device_b": b.provenance.device, "measurement_id_a": a.id, "measurement_id_b": b.id}
    return known | _why(a.failure)


def _why(failure: Failure | None) -> dict[str, str]:
    assert failure is not None
    return dict(zip(_FAILED, astuple(failure), strict=True))


def _of_result(result: Result) -> dict[str, Any]:
    return _record(result, _RESULT_PAIRS) | {
        "cores": _cores(result.cores),
        "settings": "; ".join(result.settings),
        "warnings": "; ".join(result.warnings),
    }


def _of_unmeasured(row: Unmeasured) -> dict[str, Any]:
    """Return what is known of a model that failed before a benchmark could start."""
    return {"model": row.model, "device": row.device, "from_store": True, "measured_at": row.failed_at, **_why(row.failure)}


def _of_measured(store: Store, row: Row, summarise: Callable[[Measurement], Result]) -> dict[str, Any]:
    """Return what the samples of a benchmark say; of one whose samples are damaged, that they are."""
    try:
        return _of_result(summarise(store.measurement(row.id)))
    except StoreError as damaged:
        return _of_failure(row, Failure.of(damaged))


def _of_failure(row: Row, failure: Failure) -> dict[str, Any]:
    """Return what is known of a benchmark that gave no samples."""
    known = asdict(row.provenance) | asdict(row.subject)
    record = {name: known[name] for name in _result_columns() if name in known}
    return record | {
        "sha256": row.subject.model_sha256,
        "core": row.subject.cores[0],
        "cores": _cores(row.subject.cores),
        "from_store": True,
        "measured_at": row.measured_at,
        "measurement_id": row.id,
        **_why(failure),
    }


def _cores(cores: tuple[int, ...]) -> str:
    return ",".join(map(str, cores))
