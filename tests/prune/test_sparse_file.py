"""A file without the zeros of its kernels."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from harness.prune.magnitude import by_shares
from harness.prune.masks import hold, kernels_of
from harness.prune.sparse_file import sparse_tflite


@pytest.mark.usefixtures("keras")
def test_a_kernel_of_zeros_is_stored_without_them_and_computes_the_same() -> None:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((12, 12, 8)), layers.Conv2D(64, 1, activation="relu"), layers.Conv2D(64, 1), layers.GlobalAveragePooling2D()]
    )
    whole = sparse_tflite(model)
    hold(model, by_shares(model, dict.fromkeys(kernels_of(model), 0.1)))
    made = sparse_tflite(model)
    tensors = schema.ModelT.InitFromPackedBuf(made, 0).subgraphs[0].tensors
    assert any(tensor.sparsity is not None for tensor in tensors)
    assert len(made) < 0.7 * len(whole)
    interpreter = Interpreter(model_content=made)
    interpreter.allocate_tensors()
    image = np.random.default_rng(0).random((1, 12, 12, 8), np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert found == pytest.approx(model(image, training=False).numpy(), abs=1e-5)
