"""How many images a .tflite file tells right, run on this host."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.training.fit import Recipe, fed


def accuracy_of_file(file: bytes, part: tuple[Any, Any], classes: int, recipe: Recipe) -> float:
    """Return the share of a part of the data that a classifier tells right which reads one image [1, height, width, channels] at a time.

    An int8 file is fed by the scale of its input.
    """
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=file, num_threads=1)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = given["quantization"]
    right = 0
    for images, labels in fed(part, classes, tuple(int(size) for size in given["shape"][1:]), recipe).as_numpy_iterator():
        values = np.clip(np.rint(images / scale + zero_point), -128, 127).astype(np.int8) if scale else images
        for value, label in zip(values, labels, strict=True):
            interpreter.set_tensor(given["index"], value[None])
            interpreter.invoke()
            right += int(interpreter.get_tensor(made["index"]).argmax() == label.argmax())
    return right / len(part[1])
