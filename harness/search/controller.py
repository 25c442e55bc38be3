"""The controller of Zoph and Le (2017): an LSTM that chooses a candidate token by token, each fed back as the next input.

Skip connections are chosen at an anchor behind the other tokens of a layer, each by a sigmoid over what the controller remembers of the
earlier layer's anchor and of this one's (their equation 3). A space without them, as MnasNet's, has softmaxes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError
from harness.networks.space import Space, Tokens

Tensor = Any
"""A tensor of TensorFlow, which has no types."""

UNITS, LAYERS = 35, 2
SCALE = 0.08
"""Weights begin uniform in plus or minus this (Zoph and Le 2017, section 4.1)."""

_NEVER = -1e9
"""A logit that is never chosen, and whose probability times its logarithm is still a number."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """One step of the LSTM: a token by a softmax, or the anchor of a layer, whose skips are tokens in a row from `first`."""

    first: int
    options: int
    skips: int = 0
    anchors: tuple[int, ...] = ()


def steps_of(space: Space) -> tuple[Step, ...]:
    """Return the steps that choose a candidate. `anchors` are the numbers of the steps of earlier layers' anchors."""
    steps: list[Step] = []
    start = 0
    for stage in space.stages:
        anchors: list[int] = []
        position = start + stage.head
        if stage.head:
            steps.append(Step(start, stage.positions[0].options))
        for layer in range(stage.most if stage.per_layer else 1):
            for choice in stage.choices:
                steps.append(Step(position, len(choice.options)))
                position += 1
            if stage.skips:
                steps.append(Step(position, 0, layer, tuple(anchors)))
                anchors.append(len(steps) - 1)
                position += layer
        start += len(stage.positions)
    return tuple(steps)


def active(space: Space, tokens: Integers) -> npt.NDArray[np.bool_]:
    """Return which tokens [candidates, positions] are of layers that are there."""
    found = np.ones(tokens.shape, dtype=bool)
    start = 0
    for stage in space.stages:
        end = start + len(stage.positions)
        if stage.per_layer and stage.head:
            counts = np.array([stage.active((option,)) for option in range(len(stage.layers))])
            found[:, start:end] = np.arange(end - start) < counts[tokens[:, start]][:, None]
        start = end
    return found


class Controller:
    """Chooses candidates of a space, and tells how probable they were to be chosen. On the CPU: it is small."""

    def __init__(self, space: Space, seed: int = 0, units: int = UNITS, layers: int = LAYERS) -> None:
        """Make its weights from the seed; raises ConfigError where Keras runs on another backend, and for a space of one candidate."""
        if not space.positions:
            raise ConfigError(f"{space.name} has one candidate: there is nothing to choose", "give a stage a list of options")
        from harness.training.backend import load_keras

        load_keras()
        import keras
        import tensorflow as tf

        self._tf = tf
        self._space = space
        self._steps = steps_of(space)
        self._generator = np.random.default_rng(seed)
        most = max(step.options for step in self._steps)
        fresh = iter(range(seed * 1000, seed * 1000 + 1000))

        def weight(*shape: int) -> Tensor:
            return tf.Variable(tf.random.stateless_uniform(shape, (seed, next(fresh)), -SCALE, SCALE))

        def uniform() -> Any:
            return keras.initializers.RandomUniform(-SCALE, SCALE, seed=next(fresh))

        with self.on_cpu():
            self._layers = [
                keras.layers.LSTM(
                    units,
                    kernel_initializer=uniform(),
                    recurrent_initializer=uniform(),
                    unit_forget_bias=False,
                    return_sequences=True,
                    use_cudnn=False,
                )
                for _ in range(layers)
            ]
            for layer in self._layers:
                layer.build((None, len(self._steps), units))
            self._units = units
            # What follows a token is told by an embedding of its position and its value; that of an anchor has one value.
            self._embedded = weight(len(self._steps), most, units)
            self._first = weight(1, units)
            self._softmax = weight(len(self._steps), units, most)
            options = np.array([step.options for step in self._steps])
            self._closed = tf.constant(np.where(np.arange(most) < options[:, None], 0.0, _NEVER), tf.float32)
            self._earlier, self._here, self._attention = weight(units, units), weight(units, units), weight(units, 1)
            own = [self._embedded, self._first, self._softmax, self._earlier, self._here, self._attention]
        self._told = tf.function(self._log_probabilities, reduce_retracing=True)
        self._stepped = tf.function(self._step, reduce_retracing=True)
        self.weights = [*own, *(each.value for layer in self._layers for each in layer.trainable_variables)]

    def on_cpu(self) -> AbstractContextManager[None]:
        """Let TensorFlow compute on the CPU: it is as fast with so little, the same each time, and leaves a GPU to children."""
        found: AbstractContextManager[None] = self._tf.device("CPU:0")
        return found

    def sample(self, count: int) -> list[Tokens]:
        """Return candidates, chosen by the controller's probabilities."""
        tf = self._tf
        tokens = np.zeros((count, len(self._space.positions)), dtype=np.int64)
        with self.on_cpu():
            states = [[tf.zeros((count, self._units))] * 2 for _ in self._layers]
            value = tf.repeat(self._first, count, axis=0)
            told: list[Tensor] = []
            for number, step in enumerate(self._steps):
                value, states = self._stepped(value, states)
                told.append(value)
                chosen = np.zeros(count, dtype=np.int64)
                if step.options:
                    logits = np.asarray((value @ self._softmax[number])[:, : step.options], dtype=np.float64)
                    # The largest of logits with Gumbel noise is drawn by their softmax.
                    chosen = (logits + self._generator.gumbel(size=logits.shape)).argmax(axis=1)
                    chosen[~active(self._space, tokens)[:, step.first]] = 0  # what is fed back must be what is told later on
                    tokens[:, step.first] = chosen
                elif step.skips:
                    earlier = tf.stack([told[anchor] for anchor in step.anchors], axis=1)
                    logits = np.asarray(self._attended(earlier, value), dtype=np.float64)
                    tokens[:, step.first : step.first + step.skips] = self._generator.random(logits.shape) < 1 / (1 + np.exp(-logits))
                value = tf.gather(self._embedded[number], chosen)
        tokens[~active(self._space, tokens)] = 0
        return [tuple(line) for line in tokens.tolist()]

    def told(self, tokens: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
        """Return the logarithm of each candidate's probability [candidates] and the entropy of its choices [candidates].

        Differentiable in `weights`. Tokens of layers that are not there take no part.
        """
        logs, entropies = self.told_by_step(tokens)
        return self._tf.reduce_sum(logs, axis=1), entropies

    def told_by_step(self, tokens: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
        """Return the logarithms of the probabilities of each candidate's steps [candidates, steps], and the entropies as `told` does."""
        array = np.array(tokens, dtype=np.int64)
        with self.on_cpu():
            logs, entropies = self._told(self._tf.constant(array), self._tf.constant(active(self._space, array).astype(np.float32)))
        return logs, entropies

    def _log_probabilities(self, tokens: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        tf = self._tf
        # An anchor has no token of its own: it reads a place behind all others, where there is none.
        places = [step.first if step.options else tokens.shape[1] for step in self._steps]
        chosen, taking = (tf.gather(tf.pad(each, ((0, 0), (0, 1))), places, axis=1) for each in (tokens, there))
        embedded = tf.einsum("cso,sou->csu", tf.one_hot(chosen, self._softmax.shape[2]), self._embedded)
        first = tf.repeat(self._first[None], tf.shape(tokens)[0], axis=0)
        value = tf.concat([first, embedded[:, :-1]], axis=1)
        for layer in self._layers:
            value = layer(value)
        log = tf.nn.log_softmax(tf.einsum("csu,suo->cso", value, self._softmax) + self._closed)
        logs = tf.unstack(taking * tf.gather(log, chosen, axis=2, batch_dims=2), axis=1)
        entropies = -tf.reduce_sum(taking * tf.reduce_sum(tf.exp(log) * log, axis=2), axis=1)
        for number, step in enumerate(self._steps):
            if step.skips:
                skips = slice(step.first, step.first + step.skips)
                logits = self._attended(tf.gather(value, step.anchors, axis=1), value[:, number])
                probable = tf.math.log_sigmoid((2 * tf.cast(tokens[:, skips], tf.float32) - 1) * logits)
                share = tf.sigmoid(logits)
                entropy = -(share * tf.math.log_sigmoid(logits) + (1 - share) * tf.math.log_sigmoid(-logits))
                logs[number] = tf.reduce_sum(there[:, skips] * probable, axis=1)
                entropies += tf.reduce_sum(there[:, skips] * entropy, axis=1)
        return tf.stack(logs, axis=1), entropies

    def _step(self, value: Tensor, states: list[list[Tensor]]) -> tuple[Tensor, list[list[Tensor]]]:
        """Return what the layers tell of a value [candidates, units], and their states behind it."""
        after = []
        for layer, state in zip(self._layers, states, strict=True):
            value, held = layer.cell(value, state)
            after.append(held)
        return value, after

    def _attended(self, earlier: Tensor, here: Tensor) -> Tensor:
        """Return the logits of skips [candidates, anchors] from what was told at earlier anchors [candidates, anchors, units] and here."""
        tf = self._tf
        return tf.squeeze(tf.tanh(earlier @ self._earlier + (here @ self._here)[:, None]) @ self._attention, axis=2)
