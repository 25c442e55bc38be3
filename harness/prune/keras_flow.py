"""The operations of a functional Keras model in the order they run, those of models within it too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

Call = Callable[[Any, tuple[Any, ...], dict[str, Any]], list[Any]]
"""Takes a node of a Keras model and its arguments, values in place of tensors; gives the values of its outputs."""


def run(inputs: Sequence[Any], outputs: Sequence[Any], given: Sequence[Any], call: Call) -> list[Any]:
    """Return what comes out at `outputs`, tensors of a Keras model, where the values `given` stand at `inputs`.

    `call` computes each operation; a model that is used as a layer is gone through likewise.
    """
    values = {id(tensor): value for tensor, value in zip(inputs, given, strict=True)}
    for node in _in_order(outputs, set(values)):
        arguments, named = node.arguments.fill_in(values)
        made = (
            _within(node.operation, arguments[0] if arguments else named["inputs"], call)
            if _is_functional(node.operation)
            else call(node, arguments, named)
        )
        values.update({id(tensor): value for tensor, value in zip(node.outputs, made, strict=True)})
    return [values[id(tensor)] for tensor in outputs]


def _within(model: Any, given: Any, call: Call) -> list[Any]:
    """Return what a model gives that is used as a layer: it takes its inputs in a structure of its own."""
    from keras import tree

    return run(model.inputs, model.outputs, tree.flatten(given), call)


def _is_functional(operation: Any) -> bool:
    import keras

    if not isinstance(operation, keras.Model) or not getattr(operation, "inputs", None):
        return False
    return hasattr(operation.outputs[0], "_keras_history")


def _in_order(outputs: Sequence[Any], known: set[int]) -> Iterator[Any]:
    """Yield the nodes that lead to some tensors, each after those it reads, from the tensors that are known on."""
    done: set[int] = set()
    # A stack, since networks are deeper than Python's calls may be.
    stack = [(tensor, False) for tensor in reversed(outputs)]
    while stack:
        tensor, ready = stack.pop()
        if id(tensor) in known:
            continue
        operation, index, _ = tensor._keras_history  # noqa: SLF001 - the only way from a tensor to what made it
        node = operation._inbound_nodes[index]  # noqa: SLF001
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            yield node
        else:
            stack.append((tensor, True))
            stack += [(source, False) for source in reversed(node.input_tensors)]
