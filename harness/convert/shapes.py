"""The shapes that the user gives for dynamic inputs, held against what the model has."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from harness.convert.model import Tensor
from harness.errors import ConfigError, ConversionError

Shapes = Mapping[str, Sequence[int]]


def settle(model: str, inputs: Sequence[Tensor], shapes: Shapes) -> tuple[tuple[int, ...], ...]:
    """Return a static shape for each input: the given one, and batch 1 where only the batch is open.

    Raises ConfigError for a shape that does not fit its input or names none, ConversionError where an open dimension has none given.
    """
    known = [tensor.name for tensor in inputs]
    for name in shapes:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            guess = f"Did you mean {close[0]!r}? " if close else ""
            raise ConfigError(
                f"{model}: there is no input {name!r} to give a shape to", f"{guess}Its inputs: {', '.join(known) or 'none'}."
            )
    return tuple(_settle_one(model, tensor, shapes.get(tensor.name)) for tensor in inputs)


def _settle_one(model: str, tensor: Tensor, given: Sequence[int] | None) -> tuple[int, ...]:
    wanted = ",".join("?" if dim < 0 else str(dim) for dim in tensor.shape)
    if given is not None:
        dims = tuple(int(dim) for dim in given)
        fits = len(dims) == len(tensor.shape) and all(dim > 0 and has in (dim, -1) for dim, has in zip(dims, tensor.shape, strict=True))
        if not fits:
            text = ",".join(str(dim) for dim in dims)
            raise ConfigError(
                f"{model}: input {tensor.name!r} cannot have the shape {text}", f"It is {wanted}, where ? is any positive number."
            )
        return dims
    shape = (1, *tensor.shape[1:]) if tensor.shape[:1] == (-1,) else tensor.shape
    if -1 in shape:
        example = ",".join("224" if dim < 0 else str(dim) for dim in shape)
        raise ConversionError(
            f"{model}: input {tensor.name!r} has no fixed shape ({wanted})", f"Give it one, for example --shape {tensor.name}={example}"
        )
    return shape
