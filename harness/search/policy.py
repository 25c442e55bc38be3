"""Policy gradients on a controller: REINFORCE as Zoph and Le have it, and PPO as MnasNet has it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.networks.space import Space, Tokens
from harness.search.controller import Controller
from harness.search.trial import Trial

_MOST = 5.0
"""Spreads that an advantage counts for at most."""


class Reinforce:
    """REINFORCE with a moving average of rewards as its baseline (Zoph and Le 2017, section 3.2), by Adam."""

    def __init__(self, space: Space, seed: int = 0, *, learning_rate: float = 0.0006, decay: float = 0.95, entropy: float = 0.0) -> None:
        """Take the learning rate, the share of the baseline that stays at each batch, and what a nat of entropy is worth."""
        self._controller = Controller(space, seed)
        import keras
        import tensorflow as tf

        with self._controller.on_cpu():
            optimizer = keras.optimizers.Adam(learning_rate)
            optimizer.build(self._controller.weights)
        self._applied = tf.function(optimizer.apply)
        self._decay = decay
        self._entropy = entropy
        self._baseline: float | None = None
        self._spread = 0.0

    def ask(self, count: int) -> list[Tokens]:
        """Return candidates that the controller draws."""
        return self._controller.sample(count)

    def tell(self, trials: Sequence[Trial]) -> None:
        """Make candidates that earned more than the baseline more probable; those without a reward teach nothing."""
        earned = [(trial.tokens, trial.reward) for trial in trials if trial.reward is not None]
        if not earned:
            return
        tokens, rewards = [one for one, _ in earned], np.array([reward for _, reward in earned], dtype=np.float32)
        mean = float(rewards.mean())
        before = mean if self._baseline is None else self._baseline  # of the candidates before these
        self._baseline = self._decay * before + (1 - self._decay) * mean
        spread = rewards.std() if len(rewards) > 1 else abs(rewards[0] - before)
        self._spread = max(self._decay * self._spread, float(spread))
        with self._controller.on_cpu():
            self._learn(tokens, rewards - np.float32(before))

    def _learn(self, tokens: Sequence[Tokens], advantages: np.ndarray) -> None:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logs, entropies = self._controller.told(tokens)
            loss = -tf.reduce_mean(advantages * logs + self._entropy * entropies)
        self._apply(tape, loss)

    def _apply(self, tape: object, loss: object) -> None:
        self._applied(tape.gradient(loss, self._controller.weights, unconnected_gradients="zero"))  # type: ignore[attr-defined]


class Ppo(Reinforce):
    """Proximal policy optimization (Schulman et al. 2017, equation 7): several steps a batch, none of which may go far from its policy.

    An action is the choice at one step of the controller; what the candidate earned counts for each.
    """

    def __init__(
        self,
        space: Space,
        seed: int = 0,
        *,
        learning_rate: float = 0.003,
        decay: float = 0.9,
        entropy: float = 0.01,
        clip: float = 0.2,
        epochs: int = 4,
    ) -> None:
        """Take what `Reinforce` does, how far the ratio of probabilities may go from 1, and how many steps each batch is used for."""
        super().__init__(space, seed, learning_rate=learning_rate, decay=decay, entropy=entropy)
        self._clip = clip
        self._epochs = epochs

    def _learn(self, tokens: Sequence[Tokens], advantages: np.ndarray) -> None:
        import tensorflow as tf

        if not self._spread:
            return  # whatever was drawn so far earned the same
        # Rewards that happen to be alike in one batch teach no more than their usual spread lets them.
        scaled = np.clip(advantages / np.float32(self._spread), -_MOST, _MOST)
        before = tf.stop_gradient(self._controller.told_by_step(tokens)[0])
        for _ in range(self._epochs):
            with tf.GradientTape() as tape:
                logs, entropies = self._controller.told_by_step(tokens)
                ratio = tf.exp(logs - before)
                clipped = tf.clip_by_value(ratio, 1 - self._clip, 1 + self._clip)
                gain = tf.reduce_sum(tf.minimum(ratio * scaled[:, None], clipped * scaled[:, None]), axis=1)
                loss = -tf.reduce_mean(gain + self._entropy * entropies)
            self._apply(tape, loss)
