"""The layers of a Keras model, those of models within it too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def layers_of(model: Any) -> Iterator[Any]:
    """Yield the layers of a Keras model that hold no others."""
    for layer in model.layers:
        if getattr(layer, "layers", None):
            yield from layers_of(layer)
        else:
            yield layer


def of_keras(layer: Any) -> bool:
    """Return whether a layer computes what Keras' own of its class does: one that is made of it may compute anything, and so with LoRA."""
    return type(layer).__module__.partition(".")[0] == "keras" and not getattr(layer, "lora_enabled", False)


def trace_anew(model: Any) -> None:
    """Let Keras trace a model anew when it is fitted: what was changed of its regularizers and constraints would go unnoticed else."""
    model.train_function = None


def seed_chance(model: Any, seed: int) -> None:
    """Set what dropout and other chance in a Keras model goes on from, whatever was drawn before."""
    for number, layer in enumerate(layers_of(model)):
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign([seed, number])
