"""The conversion process: `python -m harness.convert.worker`. Reads a job a line, answers a line each; TensorFlow stays loaded."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from harness.convert.children import end_with_parent
from harness.convert.model import Precision
from harness.errors import ConfigError, ConversionError

FILE = "model.tflite"
NUMBERS = "expected.npz"


@dataclass(frozen=True)
class Job:
    """What to convert: what its user calls it, its path, and the folder that the model and its numbers go to."""

    name: str
    path: str
    precision: Precision
    shapes: dict[str, list[int]]
    calibration: str | None
    folder: str


@dataclass(frozen=True)
class Converted:
    """What became of a model: the numbers lie beside the file unless `not_compared` says why not."""

    second_side: str | None
    not_compared: str | None
    note: str | None


def _answer(job: Job) -> dict[str, Any]:
    from harness.convert.keras_convert import convert
    from harness.convert.load import load
    from harness.convert.source import resolve

    folder = Path(job.folder)
    try:
        model = load(replace(resolve(Path(job.path)), name=job.name), job.shapes)
        calibration = Path(job.calibration) if job.calibration else None
        done = convert(model, job.precision, calibration, folder / FILE, folder / NUMBERS)
    except (ConfigError, ConversionError) as error:
        return {"error": {"kind": type(error).__name__, "message": error.message, "hint": error.hint}}
    return {"converted": asdict(done)}


def claim_stdout() -> IO[str]:
    """Return a stream to the real stdout, and send what libraries print there to stderr instead."""
    wire = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return wire


def load_tensorflow() -> None:
    """Load TensorFlow as conversion needs it; it must not have been loaded before."""
    os.environ.update(
        KERAS_BACKEND="tensorflow",
        CUDA_VISIBLE_DEVICES="-1",  # conversion is a matter of the CPU, and a busy accelerator would fail it
        TF_CPP_MIN_LOG_LEVEL="3",
        TF_ENABLE_ONEDNN_OPTS="0",  # the second side's numbers must not depend on which kernels this CPU offers
    )
    import tensorflow as tf

    # TensorFlow counts the machine's cores, not those that this process may use.
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def main() -> None:
    """Serve jobs from stdin until it closes."""
    wire = claim_stdout()
    load_tensorflow()
    for line in sys.stdin:
        print(json.dumps(_answer(Job(**json.loads(line)))), file=wire, flush=True)


if __name__ == "__main__":
    end_with_parent()  # the end of stdin is not seen in the middle of a job
    main()
