"""Latency of files written without TensorFlow against its converter's files of the same networks, in alternation, float32 and int8."""

from __future__ import annotations

from pathlib import Path

from benchmarks import figures
from harness.convert.direct import DirectPrecision, write_network
from harness.convert.keras_convert import convert, traceable_keras
from harness.networks.keras_build import build_keras
from harness.networks.named import network_named
from harness.networks.weights import spread

NAMES = (
    "lenet_5",
    "alexnet",
    "inception_v2",
    "resnet_50:resolution=96",
    "mobilenet_v1:width=0.5",
    "mobilenet_v3_small",
    "mnasnet_a1",
    "nasnet_a_mobile:resolution=128",
)
PRECISIONS: tuple[DirectPrecision, ...] = ("float32", "int8")
WITHIN = 0.01


def main() -> None:
    """Write and convert what is missing, compare what was not yet compared, then report."""
    options = figures.arguments(__doc__, count=len(NAMES), processes=12)
    state = figures.State("direct_latency", options, processes=str(options.processes))
    wanted = [(name, precision) for name in NAMES[: options.count] for precision in PRECISIONS]
    for name, precision in wanted[len(state.rows("pair")) :]:
        with figures.turn():
            direct, converted = files(state.folder / "models", name, precision)
        found = state.harness("compare", str(converted), str(direct), "--processes", str(options.processes))
        fields = ("a_ms", "b_ms", "ratio", "interval", "verdict")
        state.add("pair", name=name, precision=precision, **{field: found[field] for field in fields})
    rows = state.rows("pair")
    figures.table(
        ("network", "precision", "converter ms", "direct ms", "ratio", "95% interval", "verdict"),
        [
            (
                row["name"],
                row["precision"],
                f"{row['a_ms']:.4f}",
                f"{row['b_ms']:.4f}",
                f"{row['ratio']:.4f}",
                "{:.4f} - {:.4f}".format(*row["interval"]),
                row["verdict"],
            )
            for row in rows
        ],
    )
    worst = max(rows, key=lambda row: abs(row["ratio"] - 1))
    within = sum(abs(row["ratio"] - 1) <= WITHIN for row in rows)
    compatible = sum(row["interval"][0] <= 1 + WITHIN and row["interval"][1] >= 1 - WITHIN for row in rows)
    figures.finish(
        options,
        figure=f"{within} of {len(rows)} ratios within 1%, worst {worst['ratio'] - 1:+.2%} ({worst['name']} {worst['precision']})",
        compared=f"TensorFlow's converter; the 95% interval of {compatible} reaches within 1%",
        goal="all ratios within 1%",
        met=within == len(rows),
        commits=state.commits(),
    )


def files(folder: Path, name: str, precision: DirectPrecision) -> tuple[Path, Path]:
    """Return both files of a network, made where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace(':', '-')}-{precision}"
    direct, converted = folder / f"{stem}-direct.tflite", folder / f"{stem}-converted.tflite"
    if not converted.exists():
        network = network_named(name)
        model = build_keras(network)
        spread(model)
        convert(traceable_keras(model, name, {}), precision, None, converted.with_suffix(".making"), folder / "numbers.npz")
        converted.with_suffix(".making").rename(converted)
        direct.write_bytes(write_network(network, precision=precision))
    return direct, converted


if __name__ == "__main__":
    main()
