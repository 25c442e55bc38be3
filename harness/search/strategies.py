"""Strategies that need no controller: chance, and evolution."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from harness.errors import ConfigError
from harness.networks.space import Space, Tokens
from harness.search.trial import Trial


class RandomSearch:
    """Each candidate with the same probability: what every strategy is to be held against (Li and Talwalkar 2019)."""

    def __init__(self, space: Space, seed: int = 0) -> None:
        self._space = space
        self._generator = random.Random(seed)

    def ask(self, count: int) -> list[Tokens]:
        """Return random candidates."""
        return [self._space.sample(self._generator) for _ in range(count)]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learn nothing."""


class RegularizedEvolution:
    """Aging evolution (Real et al. 2019, Algorithm 1): the best of a sample has a child that differs in one choice; the oldest dies."""

    def __init__(self, space: Space, seed: int = 0, population: int = 100, sample: int = 25) -> None:
        """Take the sizes of the population and of the sample that a parent is the best of; raises ConfigError where that is larger."""
        if not 1 <= sample <= population:
            raise ConfigError(f"a sample of {sample} from a population of {population}", "expected: 1 <= sample <= population")
        self._space = space
        self._generator = random.Random(seed)
        self._sample = sample
        self._random = population
        self._population: deque[tuple[float, Tokens]] = deque(maxlen=population)

    def ask(self, count: int) -> list[Tokens]:
        """Return random candidates until the population is full, then children."""
        return [self._next() for _ in range(count)]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Let the candidates that have a reward live."""
        self._population.extend((trial.reward, trial.tokens) for trial in trials if trial.reward is not None)

    def _next(self) -> Tokens:
        if self._random or not self._population:
            self._random = max(0, self._random - 1)
            return self._space.sample(self._generator)
        drawn = self._generator.choices(self._population, k=self._sample)  # with replacement, as there
        return self._space.mutate(max(drawn, key=lambda one: one[0])[1], self._generator)
