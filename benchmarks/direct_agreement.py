"""Files written without TensorFlow against its converter and Keras, for every network of the zoo: operators, and outputs.

Prints a line for each figure: whether the operators are those that the converter gives, in float32 and int8 (kinds, versions, fused
activations and output shapes), and how far the outputs are from Keras with the same weights.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from benchmarks import figures
from harness.convert.carried import CarriedWeights
from harness.convert.direct import write_network
from harness.convert.keras_convert import convert, traceable_keras
from harness.networks.catalogue import network_files
from harness.networks.keras_build import build_keras
from harness.networks.named import network_named
from harness.networks.weights import spread

MOST_OFF = 1e-4
RESOLUTION = "vgg_16:resolution=64"
"""VGG-16 at 224 pixels takes the converter's int8 calibration many minutes; its operators are the same at any resolution."""


def main() -> None:
    """Write, convert and compare the networks that are missing, then report."""
    options = figures.arguments(__doc__, count=100)
    state = figures.State("direct_agreement", options)
    names = [RESOLUTION if name == "vgg_16" else name for name in network_files()][: options.count]
    for name in names[len(state.rows("network")) :]:
        with figures.turn():
            state.add("network", name=name, **compared(name))
    rows = state.rows("network")
    figures.table(
        ("network", "operators float32", "int8", "off Keras"),
        [(row["name"], row["float32"] or "equal", row["int8"] or "equal", f"{row['off']:.1e}") for row in rows],
    )
    differing = [f"{row['name']} {precision}: {row[precision]}" for precision in ("float32", "int8") for row in rows if row[precision]]
    figures.finish(
        options,
        figure=f"operators of {len(rows)} networks equal the converter's in float32 and int8, but for {len(differing)}",
        compared="; ".join(differing) or "all equal",
        goal="equal for every zoo network; what differs is named",
        met=not differing,
        commits=state.commits(),
    )
    worst = max(rows, key=lambda row: float(row["off"]))
    figures.finish(
        options,
        figure=f"outputs within {worst['off']:.1e} of Keras with the same weights ({worst['name']})",
        compared=f"{len(rows)} networks, float32, random weights carried over",
        goal=f"{MOST_OFF:.0e}",
        met=worst["off"] <= MOST_OFF,
        commits=state.commits(),
    )


def compared(name: str) -> dict[str, Any]:
    """Return what differs in each precision, empty where nothing does, and how far the outputs are from Keras."""
    network = network_named(name)
    model = build_keras(network)
    spread(model)
    direct = {"float32": write_network(network, CarriedWeights(model)), "int8": write_network(network, precision="int8")}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        file, numbers = Path(folder) / "model.tflite", Path(folder) / "numbers.npz"
        for precision in ("float32", "int8"):
            convert(traceable_keras(model, name, {}), precision, None, file, numbers)
            found[precision] = difference(operators(direct[precision]), operators(file.read_bytes()))
    values = np.random.default_rng(0).random((1, *network.input), np.float32)
    found["off"] = float(np.abs(output(direct["float32"], values) - model(values, training=False).numpy()).max())
    return found


def operators(data: bytes) -> Counter[str]:
    """Return the operators of a file: kind, version, fused activation, shape of the output."""
    model = schema.ModelT.InitFromPackedBuf(data)
    (graph,) = model.subgraphs
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    found: Counter[str] = Counter()
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        fused = getattr(operator.builtinOptions, "fusedActivationFunction", 0)
        shape = "x".join(map(str, graph.tensors[operator.outputs[0]].shape))
        found[f"{names[code.builtinCode]} v{code.version} activation {fused} {shape}"] += 1
    return found


def difference(ours: Counter[str], theirs: Counter[str]) -> str:
    """Return what one side has more of than the other."""
    parts = [f"{count} more {what}" for what, count in (ours - theirs).items()]
    return ", ".join(parts + [f"{count} fewer {what}" for what, count in (theirs - ours).items()])


def output(data: bytes, values: np.ndarray) -> np.ndarray:
    """Return what the runtime computes."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], values)
    interpreter.invoke()
    found: np.ndarray = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


if __name__ == "__main__":
    main()
