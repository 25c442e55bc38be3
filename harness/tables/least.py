"""The least latency that a search space can reach: whether a target is within it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from harness.networks.blocks import Block, block_costs, block_key
from harness.networks.graph import Shape
from harness.networks.space import Space, Stage, Tokens
from harness.tables.predict import Predictor
from harness.tables.table import LatencyTable, timed

Reached = dict[Shape, tuple[float, Tokens]]
"""By the shape that is reached: in how many ms at least, and the tokens that do it."""


def least(table: LatencyTable, space: Space) -> tuple[Tokens, float] | None:
    """Return the candidate that a table predicts the least latency of, and that in ms; exactly, since blocks add up.

    None for a space with skips, where a layer's input does not tell what came before. Raises MissingBlock.
    """
    if space.skips:
        return None
    predictor = table.predictor
    reached = _behind(predictor, {space.input: (0.0, ())}, [(space.stem, ())])
    for stage in space.stages:
        reached = _by_layer(predictor, stage, reached) if stage.per_layer else _behind(predictor, reached, _candidates(stage))
    took_ms, tokens = min(_behind(predictor, reached, [(space.head, ())]).values())
    return tokens, took_ms + predictor.constant_ms


def _behind(predictor: Predictor, before: Reached, parts: Iterable[tuple[Sequence[Block], Tokens]]) -> Reached:
    """Return what is reached behind any of these blocks in a row, each with the tokens that choose them."""
    after: Reached = {}
    for blocks, part in parts:
        for start, (took_ms, tokens) in before.items():
            shape, total_ms = start, took_ms
            for block in blocks:
                if timed(block):
                    total_ms += predictor.block_ms(block_key(block, (shape,)))
                shape, _ = block_costs(block, (shape,))
            after[shape] = min(after.get(shape, (float("inf"), ())), (total_ms, tokens + part))
    return after


def _candidates(stage: Stage) -> list[tuple[Sequence[Block], Tokens]]:
    """Return the blocks of all candidates of a stage whose layers are alike."""
    return [(stage.blocks(part, 0), part) for part in itertools.product(*(range(position.options) for position in stage.positions))]


def _by_layer(predictor: Predictor, stage: Stage, before: Reached) -> Reached:
    """Return what is reached behind a stage whose layers are chosen one by one."""
    options = list(itertools.product(*(range(len(choice.options)) for choice in stage.choices)))
    idle = len(stage.choices)
    after: Reached = {}
    heads = {layers: (index,) * stage.head for index, layers in enumerate(stage.layers)}
    for layers, head in heads.items():
        reached = {shape: (took_ms, tokens + head) for shape, (took_ms, tokens) in before.items()}
        for layer in range(layers):
            made = [((_layer(stage, layer, chosen),), chosen) for chosen in options]
            reached = _behind(predictor, reached, made)
        for shape, (took_ms, tokens) in reached.items():
            whole = (took_ms, tokens + (0,) * (idle * (stage.most - layers)))
            after[shape] = min(after.get(shape, whole), whole)
    return after


def _layer(stage: Stage, layer: int, chosen: Tokens) -> Block:
    """Return one layer of a stage, 0 the first."""
    part = (stage.layers.index(stage.most),) * stage.head + chosen * stage.most
    return stage.blocks(part, 0)[layer]
