"""Spaces small enough to go through every candidate of: choices of a stage, of a layer, and of skips."""

from __future__ import annotations

import itertools
from pathlib import Path

from harness.networks.space import Space, Tokens
from harness.networks.space_file import read_space

_ENDS = """
stem = [{type = "conv", filters = 8, kernel = 3, stride = 2, activation = "relu"}]
head = [{type = "global_pool"}, {type = "dense", units = 10, activation = "softmax"}]
"""
_CONVS = """
[fixed]
type = "conv"
activation = "relu"
"""
TEXTS = {
    "stages": f"""
title = "choices of a stage"
input = [16, 16, 3]
{_ENDS}
stages = [{{filters = [8, 16], layers = [1, 2], stride = 2}}, {{filters = [16], layers = [1, 2, 3]}}]
[choices]
kernel = [1, 3, 5]
{_CONVS}""",
    "layers": f"""
title = "choices of a layer"
input = [16, 16, 3]
per_layer = true
{_ENDS}
stages = [{{filters = 8, layers = [1, 2, 3], stride = 2}}, {{filters = 16, layers = [1, 2]}}]
[choices]
kernel = [1, 3, 5]
{_CONVS}""",
    "skips": """
title = "which layers each layer reads"
input = [16, 16, 3]
per_layer = true
skips = true
stages = [{layers = 4}]
head = [{type = "global_pool"}, {type = "dense", units = 10, activation = "softmax"}]
[choices]
kernel_width = [1, 3]
filters = [8, 16]
[fixed]
op = "skip_conv"
""",
}


def small(name: str, folder: Path) -> Space:
    """Return the space of this name."""
    path = folder / f"{name}.toml"
    path.write_text(TEXTS[name])
    return read_space(path)


def every(space: Space) -> list[Tokens]:
    """Return all candidates of a space."""
    found = itertools.product(*(range(position.options) for position in space.positions))
    return [tokens for tokens in found if _is_candidate(space, tokens)]


def _is_candidate(space: Space, tokens: Tokens) -> bool:
    return not any(any(part[stage.active(part) :]) for stage, part in zip(space.stages, space.parts(tokens), strict=True))
