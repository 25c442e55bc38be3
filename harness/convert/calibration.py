"""The examples that an int8 conversion takes its ranges from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.convert.model import Tensor
from harness.errors import ConfigError
from latency_agent import protocol

RANDOM_BATCHES = 8
MOST_BATCHES = 256
"""More examples hardly move a range and each costs a run of the unoptimised model."""

_FIRST_SEED = 1000  # apart from the seeds of the inputs that the device is fed: they are 0 and up


@dataclass(frozen=True)
class Calibration:
    """Batches of inputs, each with one array an input of the model; `random` where nobody gave examples."""

    batches: tuple[tuple[npt.NDArray[np.generic], ...], ...]
    random: bool


def random_examples(inputs: Sequence[Tensor]) -> Calibration:
    """Return seeded examples in the range that the device is fed."""
    batches = tuple(
        tuple(
            protocol.seeded_input(tensor.shape, tensor.dtype, _FIRST_SEED + batch * len(inputs) + index)
            for index, tensor in enumerate(inputs)
        )
        for batch in range(RANDOM_BATCHES)
    )
    return Calibration(batches, random=True)


def read_examples(path: Path, model: str, inputs: Sequence[Tensor]) -> Calibration:
    """Return the examples in a .npy file whose first axis counts them; raises ConfigError where they do not fit the model's input."""
    if len(inputs) != 1:
        raise ConfigError(
            f"{model}: calibration data fit models of one input, it has {len(inputs)}", "Leave --calibration out: random data are used."
        )
    (tensor,) = inputs
    batch, *example = tensor.shape or (1,)
    expected = f"{tensor.dtype} examples of shape {','.join(map(str, example)) or '()'} along the first axis"
    hint = f"{model} needs {expected}: numpy.save('{path.name}', array)."
    try:
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{path}: not a .npy file of numbers ({error})", hint) from error
    if not isinstance(data, np.ndarray):
        raise ConfigError(f"{path}: an .npz archive, not a .npy file", hint)
    if data.dtype != np.dtype(tensor.dtype) or list(data.shape[1:]) != example or data.ndim == 0 or len(data) < batch:
        raise ConfigError(f"{path}: holds {data.dtype} values of shape {','.join(map(str, data.shape)) or '()'}", hint)
    count = min(len(data) // batch, MOST_BATCHES)
    batches = tuple((np.array(data[index * batch : (index + 1) * batch]),) for index in range(count))
    if data.dtype.kind == "f" and not all(np.isfinite(values).all() for (values,) in batches):
        raise ConfigError(f"{path}: holds values that are not finite", hint)
    return Calibration(batches, random=False)
