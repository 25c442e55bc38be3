"""From what the user names to a `Model`: converted where need be, kept in the cache, with numbers to hold a device's outputs against."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

from harness.convert import cache
from harness.convert.cached_model import model_of, written_file
from harness.convert.children import Children
from harness.convert.direct import DirectPrecision, check_size, write_network
from harness.convert.host_outputs import SECOND_SIDE, write_host_outputs
from harness.convert.inspect import inspect
from harness.convert.model import Model, Precision
from harness.convert.shapes import Shapes, settle
from harness.convert.source import ACCEPTED, Source, resolve
from harness.convert.warm_worker import WarmWorker
from harness.convert.worker import FILE, NUMBERS, Converted, Job
from harness.errors import ConfigError, HarnessError
from harness.files import StrPath
from harness.networks.network import Network

_RANDOM_SCALES = "int8 with random weights and scales: its latency is that of a calibrated model, its outputs are of no use"

ModelLike = Any
"""A text, a path, a Network, or a keras.Model object (which only TensorFlow could name the type of)."""


def name_of(model: ModelLike) -> str:
    """Return how the user named a model, a Keras object by its own name."""
    return os.fspath(model) if isinstance(model, str | os.PathLike) else str(getattr(model, "name", model))


class Converter:
    """Prepares models, one after the other, in processes that keep to `cores` (all where empty).

    TensorFlow is started by the first model that is neither a .tflite file, nor in the cache, nor a network in float32 or int8, which is
    written without it. Close it, or use it in a `with`.
    """

    def __init__(self, cores: Sequence[int] = ()) -> None:
        self._cores = tuple(cores)
        self._children = Children()
        self._worker = WarmWorker(self._cores)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="convert")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Drop the models that are waiting and end the processes."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._worker.close()
        self._children.close()
        self._thread.shutdown(wait=True)

    def submit(
        self,
        source: ModelLike,
        *,
        precision: Precision | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        calibration: StrPath | None = None,
    ) -> Future[Model]:
        """Return the future of a prepared model; what is wrong with it is raised from there.

        `shapes` gives dynamic inputs theirs. `precision` is float32 unless given, and must not be given for a .tflite file, which has
        its own. A model object is converted before this returns: only this process has its weights and its layers' code.
        """
        given = {name: tuple(int(dim) for dim in dims) for name, dims in (shapes or {}).items()}
        examples = None if calibration is None else Path(calibration)
        if isinstance(source, Network):
            source = Source("network", source.name, network=source)
        if isinstance(source, (str, os.PathLike, Source)):
            return self._thread.submit(self._prepare, source, precision, given, examples)
        future: Future[Model] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(_prepare_object(source, precision or "float32", given, examples))
        except HarnessError as error:
            future.set_exception(error)
        return future

    def _prepare(
        self, text: str | os.PathLike[str] | Source, precision: Precision | None, shapes: Shapes, calibration: Path | None
    ) -> Model:
        source = text if isinstance(text, Source) else resolve(text)
        if source.kind == "tflite":
            if precision is not None or calibration is not None:
                what = "precision" if precision is not None else "calibration"
                raise ConfigError(
                    f"{source.name}: a .tflite file has its precision already", f"Leave --{what} out, or pass the model it was made from."
                )
            assert source.path is not None
            return prepare_tflite(source.path, source.name, shapes, self._cores, self._children)
        settings = _settings(precision or "float32", shapes, calibration)
        if source.network is not None and precision in (None, "float32", "int8") and calibration is None:
            return self._prepare_written(source.network, source.name, "int8" if precision == "int8" else "float32", shapes)
        return self._prepare_converted(source, precision or "float32", shapes, calibration, settings)

    def _prepare_written(self, network: Network, name: str, precision: DirectPrecision, shapes: Shapes) -> Model:
        """Write the network's file without TensorFlow: its weights are random in any case, and its operators the converter's."""
        key = written_file(f"network:{network.sha256}", precision, lambda: write_network(network, precision=precision))
        model = prepare_tflite(cache.model_file(key), name, shapes, self._cores, self._children)
        return model if precision == "float32" else replace(model, note=_RANDOM_SCALES)

    def _prepare_converted(
        self, source: Source, precision: Precision, shapes: Shapes, calibration: Path | None, settings: Mapping[str, object]
    ) -> Model:
        if source.network is not None:
            check_size(source.network)
            content = f"{source.network.sha256} {source.network.training}"
        else:
            assert source.path is not None
            content = cache.hash_path(source.path)
        key = cache.key_of(f"{source.kind}:{content}", settings, ("tensorflow", "keras"))
        entry = cache.find(key)
        if entry is None or entry.model_sha256 is None:
            with cache.workspace() as folder:
                given = source.path
                if source.network is not None:
                    given = folder / "network.toml"
                    given.write_text(source.network.to_toml(), "utf-8")
                job = Job(
                    name=source.name,
                    path=str(given),
                    precision=precision,
                    shapes={name: list(dims) for name, dims in shapes.items()},
                    calibration=None if calibration is None else str(calibration),
                    folder=str(folder),
                )
                entry = _keep(key, folder, Converted(**self._worker.run(job)))
        return _converted(source.name, key, entry)


def prepare_tflite(path: Path, name: str, shapes: Shapes, cores: Sequence[int] = (), children: Children | None = None) -> Model:
    """Return the model in a .tflite file with the host's numbers for it; raises ConfigError or ConversionError."""
    inspection = inspect(path, name)
    settled = settle(name, inspection.inputs, shapes)
    needed = {
        tensor.name: dims
        for tensor, dims, default in zip(inspection.inputs, settled, inspection.default_shapes, strict=True)
        if dims != default
    }
    key = cache.key_of(f"tflite:{inspection.sha256}", {"shapes": needed}, ("ai-edge-litert", "numpy"))
    entry = cache.Entry(None, None, None, "random operators", None) if inspection.random else cache.find(key)
    if entry is None or (entry.numbers_sha256 is None and entry.not_compared is None):
        with cache.workspace() as folder:
            numbers = folder / NUMBERS
            done = write_host_outputs(path, numbers, needed, inspection.precision, cores, children or Children())
            if done.not_compared is not None and not done.lasting:
                entry = cache.Entry(None, None, None, done.not_compared, None)
            else:
                computed = done.not_compared is None
                entry = cache.keep(
                    key,
                    None,
                    numbers if computed else None,
                    second_side=SECOND_SIDE if computed else None,
                    not_compared=done.not_compared,
                    note=None,
                )
    return model_of(name, path, inspection, key, entry, needed)


def _prepare_object(model: Any, precision: Precision, shapes: Shapes, calibration: Path | None) -> Model:
    """Convert a model object here. Saving it for another process would lose what a .keras file cannot hold: layers of the user's own."""
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(model, keras.Model):
        raise ConfigError(
            f"{type(model).__module__}.{type(model).__qualname__} is not a model", f"Pass a keras.Model object, or a text. {ACCEPTED}"
        )
    from harness.convert.keras_convert import convert, traceable_keras

    name = str(model.name)
    settings = _settings(precision, shapes, calibration)
    with cache.workspace() as folder:
        file = folder / FILE
        done = convert(traceable_keras(model, name, shapes), precision, calibration, file, folder / NUMBERS)
        key = cache.key_of(f"object:{cache.hash_path(file)}", settings, ("tensorflow", "keras"))
        return _converted(name, key, _keep(key, folder, done))


def _settings(precision: Precision, shapes: Shapes, calibration: Path | None) -> dict[str, object]:
    if precision not in get_args(Precision):
        raise ConfigError(f"unknown precision {precision!r}", f"Known: {', '.join(get_args(Precision))}.")
    if calibration is not None and precision != "int8":
        raise ConfigError(f"{calibration}: calibration data are for int8, not {precision}", "Leave --calibration out, or ask for int8.")
    if calibration is not None and not _is_file(calibration):
        raise ConfigError(f"{calibration}: no such file", "Pass a .npy file whose first axis counts the examples.")
    examples = None if calibration is None else cache.hash_path(calibration)
    return {"precision": precision, "shapes": {name: list(dims) for name, dims in shapes.items()}, "calibration": examples}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})", "Check the path and its permissions.") from error


def _keep(key: str, folder: Path, done: Converted) -> cache.Entry:
    numbers = folder / NUMBERS if done.not_compared is None else None
    return cache.keep(key, folder / FILE, numbers, second_side=done.second_side, not_compared=done.not_compared, note=done.note)


def _converted(name: str, key: str, entry: cache.Entry) -> Model:
    path = cache.model_file(key)
    return model_of(name, path, inspect(path, name), key, entry)
