"""Models whose files the cache keeps; among them those that are written without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.convert import cache
from harness.convert.direct import DirectPrecision
from harness.convert.inspect import Inspection, inspect
from harness.convert.model import Model
from latency_agent import protocol


def written_file(source: str, precision: DirectPrecision, write: Callable[[], bytes]) -> str:
    """Return the cache's key of the file that `write` gives for `source`, a hash with its kind; it is written unless it is there."""
    key = cache.key_of(source, {"precision": precision}, ("ai-edge-litert", "numpy"))
    entry = cache.find(key)
    if entry is None or entry.model_sha256 is None:
        with cache.workspace() as folder:
            file = folder / "written.tflite"
            file.write_bytes(write())
            cache.keep(key, file, None, second_side=None, not_compared="the host's numbers have an entry of their own", note=None)
    return key


def written_model(source: str, name: str, precision: DirectPrecision, write: Callable[[], bytes]) -> Model:
    """Return the model in such a file, whose weights are random and whose outputs nobody compares: only its speed is looked at."""
    key = written_file(source, precision, write)
    path = cache.model_file(key)
    return model_of(name, path, inspect(path, name), key, cache.Entry(None, None, None, "random weights", None))


def model_of(
    name: str, path: Path, inspection: Inspection, key: str, entry: cache.Entry, shapes: Mapping[str, Sequence[int]] | None = None
) -> Model:
    """Return the model in the file `path`, whose numbers are those of the cache's `entry` of `key`."""
    return Model(
        name=name,
        path=path,
        sha256=inspection.sha256,
        size_bytes=inspection.size_bytes,
        precision=inspection.precision,
        inputs=inspection.inputs,
        outputs=inspection.outputs,
        second_side=entry.second_side,
        expected=cache.numbers_file(key) if entry.numbers_sha256 else None,
        not_compared=entry.not_compared,
        note=entry.note,
        shapes=tuple(protocol.InputShape(tensor, tuple(dims)) for tensor, dims in (shapes or {}).items()),
    )
