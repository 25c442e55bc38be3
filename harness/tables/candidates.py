"""The candidates of a search space by their tokens, many at once: what a stage adds up to is found once, and looked up after that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError
from harness.networks.blocks import Block, block_costs, block_key
from harness.networks.graph import Shape
from harness.networks.space import Space, Stage, Tokens
from harness.tables.forms import Floats
from harness.tables.table import timed

if TYPE_CHECKING:
    from harness.tables.predict import Predictor

Integers = npt.NDArray[np.int64]
_MOST_CODES = 2**62


class Candidates:
    """Sums over the blocks of a space's candidates, as `Predictor.sums` has them.

    Within a stage a block that is repeated adds up before its uncertainty is squared; a block of two stages is taken for two. Raises
    ConfigError for a space with skips, where a stage alone does not tell what its blocks read.
    """

    def __init__(self, space: Space, predictor: Predictor) -> None:
        if space.skips:
            raise ConfigError(
                f"{space.name} has skips: tokens alone do not predict it", "predict networks: space.network(tokens) makes them"
            )
        self._space = space
        self._predictor = predictor
        self._stem = _Segment(predictor, lambda _: space.stem, ())
        self._stages = tuple(_of_stage(predictor, stage) for stage in space.stages)
        self._head = _Segment(predictor, lambda _: space.head, ())

    def sums(self, tokens: npt.NDArray[np.integer]) -> Floats:
        """Return the sums of candidates [candidates, columns] from tokens [candidates, positions].

        Raises MissingBlock, and ConfigError for the first that is no candidate.
        """
        given = self._checked(tokens)
        missing: list[str] = []
        shapes, where = [self._space.input], np.zeros(len(given), dtype=np.int64)
        total = np.zeros((len(given), self._predictor.columns))
        start = 0
        for segment in (self._stem, *self._stages, self._head):
            end = start + segment.positions
            sums, shapes, where = segment.look_up(given[:, start:end], shapes, where, missing)
            total += sums
            start = end
        self._predictor.check_known(missing)
        return total

    def _checked(self, tokens: npt.NDArray[np.integer]) -> Integers:
        positions = self._space.positions
        if not (tokens.ndim == 2 and tokens.shape[1] == len(positions) and np.issubdtype(tokens.dtype, np.integer)):
            what = f"an array {list(tokens.shape)} of {tokens.dtype} is no candidates of {self._space.name}"
            raise ConfigError(what, f"expected: whole numbers [candidates, {len(positions)}]")
        given = tokens.astype(np.int64)
        options = np.array([position.options for position in positions])
        wrong = ((given < 0) | (given >= options)).any(axis=1)
        start = 0
        for stage in self._space.stages:
            part = given[:, start : start + len(stage.positions)]
            start += len(stage.positions)
            if stage.per_layer and stage.head:
                active = np.array([stage.active((option,)) for option in range(len(stage.layers))])
                idle = np.arange(part.shape[1]) >= active[part[:, 0].clip(0, len(active) - 1)][:, None]
                wrong |= (idle & (part != 0)).any(axis=1)
        if wrong.any():
            self._space.checked(given[int(wrong.argmax())].tolist())
        return given


class _Segment:
    """Blocks in a row that some tokens choose: their sums and the shape behind them, by the tokens and the shape before them."""

    def __init__(self, predictor: Predictor, blocks: Callable[[Tokens], Sequence[Block]], options: Sequence[int]) -> None:
        self._predictor = predictor
        self._blocks = blocks
        self.positions = len(options)
        self._size = math.prod(options)
        if self._size > _MOST_CODES // 2**20:
            raise ConfigError(f"a stage has {self._size} candidates, too many to tell by a number", "predict networks instead of tokens")
        # Tokens are the digits of a number, of which each position has its own base.
        self._places = np.array([math.prod(options[index + 1 :]) for index in range(len(options))], dtype=np.int64)
        self._shapes: dict[Shape, int] = {}
        self._known: dict[int, tuple[Shape, list[float], list[str]]] = {}

    def look_up(
        self, tokens: Integers, shapes: Sequence[Shape], where: Integers, missing: list[str]
    ) -> tuple[Floats, list[Shape], Integers]:
        """Return sums [candidates, columns], the shapes behind the segment, and which of them each candidate has [candidates].

        `where` is which of `shapes` each has before it. Keys without a row are added to `missing`.
        """
        numbers = np.array([self._shapes.setdefault(shape, len(self._shapes)) for shape in shapes])
        codes, first, inverse = np.unique(numbers[where] * self._size + tokens @ self._places, return_index=True, return_inverse=True)
        found = []
        for code, index in zip(codes.tolist(), first.tolist(), strict=True):
            if code not in self._known:
                self._known[code] = self._summed(self._blocks(tuple(tokens[index].tolist())), shapes[where[index]])
            found.append(self._known[code])
        after = {shape: index for index, shape in enumerate(dict.fromkeys(shape for shape, _, _ in found))}
        for _, _, keys in found:
            missing += keys
        sums = np.array([sums for _, sums, _ in found]).reshape(-1, self._predictor.columns)
        behind = np.array([after[shape] for shape, _, _ in found], dtype=np.int64)
        return sums[inverse], list(after), behind[inverse]

    def _summed(self, blocks: Sequence[Block], shape: Shape) -> tuple[Shape, list[float], list[str]]:
        """Return the shape behind blocks, what they add up to, and the keys of those that have no row."""
        rows, missing = [], []
        for block in blocks:
            if timed(block):
                key = block_key(block, (shape,))
                row = self._predictor.row(key)
                if row is None:
                    missing.append(key)
                else:
                    rows.append(row)
            shape, _ = block_costs(block, (shape,))
        return shape, self._predictor.sums(rows), missing


def _of_stage(predictor: Predictor, stage: Stage) -> _Segment:
    return _Segment(predictor, lambda part: stage.blocks(part, 0), [position.options for position in stage.positions])
