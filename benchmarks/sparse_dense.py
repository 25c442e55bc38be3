"""What zeros gain on the device: a network whole, with most weights zero, the same for sparse kernels, and with channels removed.

Weights are random: what a zero costs does not depend on how it came about. All are measured side by side, and drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from benchmarks import figures
from harness.convert.converter import Converter, prepare_tflite
from harness.files import whole_file
from harness.networks.keras_build import build_keras
from harness.networks.named import network_named
from harness.prune.magnitude import by_shares
from harness.prune.masks import hold, kernels_of
from harness.prune.netadapt import strongest
from harness.prune.resources import Counted
from harness.prune.sparse_file import sparse_tflite
from harness.prune.structure import Structure
from harness.report.plots import COLOURS, style
from harness.tables.wholes import measured
from harness.training.backend import load_keras

KEPT = (0.5, 0.3, 0.2, 0.1)
"""Shares of the weights of each kernel that are kept, and of the mult-adds where channels are removed."""


def main() -> None:
    """Make the files, measure them, and compare."""
    options = figures.arguments(__doc__, model="mobilenet_v2")
    state = figures.State("sparse_dense", options, model=options.model)
    made = files(state.folder, options.model)
    if not state.rows("measured"):
        with figures.turn():
            models = [prepare_tflite(path, name, {}) for name, path in made.items()]
            latencies_ms = [one.latency_ms for one in measured(models, "local", results=state.folder)]
        state.add("measured", latencies_ms=dict(zip(made, latencies_ms, strict=True)))
    (row,) = state.rows("measured")
    taken_ms: dict[str, float] = row["latencies_ms"]
    dense_ms = taken_ms["dense"]
    figures.table(
        ("", *(f"{share:.0%} kept" for share in KEPT)),
        [(kind, *(f"{dense_ms / taken_ms[f'{kind} {share:g}']:.2f}x" for share in KEPT)) for kind in ("zeros", "sparse", "channels")],
    )
    picture = state.folder / "sparse_dense.png"
    draw(taken_ms, options.model, picture)
    print(f"dense {dense_ms:.2f} ms; drawn in {picture}")

    def quicker(kind: str) -> str:
        return ", ".join(f"{dense_ms / taken_ms[f'{kind} {share:g}']:.2f}" for share in KEPT)

    figures.finish(
        options,
        figure=f"times quicker at {', '.join(f'{share:.0%}' for share in KEPT)} kept: zeros {quicker('zeros')}; "
        f"sparse kernels {quicker('sparse')}; channels removed {quicker('channels')}",
        compared=f"{options.model} whole, {dense_ms:.2f} ms",
        goal="shown, with the picture",
        met=all(sparse_tensors(made[f"sparse {share:g}"]) > 0 for share in KEPT),
        commits=state.commits(),
    )


def files(folder: Path, name: str) -> dict[str, Path]:
    """Return the files of all arms, written unless they were."""
    names = ["dense", *(f"{kind} {share:g}" for kind in ("zeros", "sparse", "channels") for share in KEPT)]
    made = {each: folder / f"{each.replace(' ', '-')}.tflite" for each in names}
    if made["channels 0.1"].exists():  # the last one that is written
        return made
    load_keras()
    model = build_keras(network_named(name))
    write(made["dense"], converted(model))
    structure = Structure(model)
    for share in KEPT:
        sparse = structure.masked({})
        hold(sparse, by_shares(sparse, dict.fromkeys(kernels_of(sparse), share)))
        write(made[f"zeros {share:g}"], converted(sparse))
        write(made[f"sparse {share:g}"], sparse_tflite(sparse))
        write(made[f"channels {share:g}"], converted(narrowed(structure, share)))
    return made


def write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    with whole_file(path) as draft:
        draft.write_bytes(data)


def sparse_tensors(path: Path) -> int:
    """Return how many tensors of a .tflite file are stored without their zeros."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    return sum(tensor.sparsity is not None for tensor in model.subgraphs[0].tensors)


def converted(model: Any) -> bytes:
    """Return the file that the harness makes of a model."""
    with Converter() as converter:
        return converter.submit(model).result().path.read_bytes()


def narrowed(structure: Structure, share: float) -> Any:
    """Return a model whose groups keep as many of their strongest channels, all the same share, as leave so much of the mult-adds."""
    counted = Counted(structure, "mult-adds")
    whole = counted.of(structure.widths)
    for part in np.linspace(1, 0, 200):
        widths = [max(1, round(part * width / 8) * 8) if width > 8 else width for width in structure.widths]
        if counted.of(widths) <= share * whole:
            break
    return structure.shrunk({number: strongest(structure, number, width) for number, width in enumerate(widths)})


def draw(latencies_ms: dict[str, float], name: str, path: Path) -> None:
    """Draw how much quicker each arm is, by what is kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    style(axes)
    labels = {"zeros": "zeros in dense kernels", "sparse": "sparse kernels", "channels": "channels removed (mult-adds kept)"}
    for colour, (kind, label) in zip(COLOURS, labels.items(), strict=False):
        quicker = [latencies_ms["dense"] / latencies_ms[f"{kind} {share:g}"] for share in KEPT]
        axes.plot([100 * share for share in KEPT], quicker, "o-", color=colour, label=label)
    axes.plot([100 * share for share in KEPT], [1 / share for share in KEPT], ":", color="#9a9a9a", label="were time in proportion")
    axes.set_xlabel("kept, %")
    axes.set_ylabel(f"times quicker than {name} whole")
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
