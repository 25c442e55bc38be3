"""Our raw median against a plain loop and against ai-edge-litert's own tool, in alternation on the same core.

A round measures each model once with each of them, one fresh process each, for as long as one another, in an order that
changes from round to round. What is compared is the median, over the rounds, of ours over theirs. Beside it stands the ratio of the two
loops in turn in one process, in which nothing but the loops differs.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks import figures, rigs, tool
from harness.convert.model import Model
from harness.measure import plan
from harness.measure.rig import Rig
from models.reference.write import Writer

ZOO = ("mobilenet_v2:width=0.1,resolution=64", "mobilenet_v2:width=0.5,resolution=160", "resnet_50:resolution=64", "resnet_50")
SHARE = 0.01
LEAST_NS = 100.0
TOOL_FROM_NS = 1e6
PLAIN = Path(__file__).parent / "plain_loop.py"
IN_TURN = [sys.executable, "-m", "benchmarks.loops_in_turn"]


def main() -> None:
    """Measure the rounds that are missing, then print a line per model."""
    options = figures.arguments(__doc__, count=40)
    state = figures.State("fidelity", options)
    with figures.turn():
        models = rigs.models([small_model(state.folder), *ZOO])
    if len(state.rows("typical")) < len(models):
        with figures.turn(), rigs.rig(state.folder) as rig:
            for model in models[len(state.rows("typical")) :]:
                state.add("typical", model=model.name, ns=rigs.typical_ns(rig, model))
    typical: dict[str, float] = {row["model"]: row["ns"] for row in state.rows("typical")}
    for position in range(len(state.rows("round")), options.count * len(models)):
        number, model = position // len(models), models[position % len(models)]
        with figures.turn(), rigs.rig(state.folder) as rig:
            state.add("round", model=model.name, **one_round(rig, model, typical[model.name], number))
    report(options, [line(model.name, [row for row in state.rows("round") if row["model"] == model.name]) for model in models], state)


def small_model(folder: Path) -> Path:
    """Return a model of about 10 us."""
    writer = Writer([1, 16, 16, 16])
    writer.convolution(3, 16)
    path = folder / "one_convolution.tflite"
    path.write_bytes(writer.model("one convolution"))
    return path


def one_round(rig: Rig, model: Model, typical: float, number: int) -> dict[str, float]:
    """Return the nanoseconds that each way of measuring gives, in the order of round `number`."""
    chunks, chunk_runs = plan.candidate_chunks(typical)
    runs, seconds = chunks * chunk_runs, chunks * plan.CANDIDATE_CHUNK_NS / 1e9
    core = rig.session.placement.cores[0]
    loop = [sys.executable, "-I", str(PLAIN), str(model.path), "--core", str(core), "--runs", str(runs), "--seconds", str(seconds)]
    ways = {
        "ours_ns": lambda: rigs.repetition_ns(rig, model, typical),
        "plain_ns": lambda: float(figures.output(loop)),
        "tool_ns": lambda: (
            1e6
            * tool.median_ms(
                model.path, (core,), runs=max(runs, math.ceil(seconds * 1e9 / typical)), warm_up=max(3, math.ceil(plan.WARMUP_NS / typical))
            )
        ),
    }
    order = [way for way in ways if way != "tool_ns" or typical >= TOOL_FROM_NS]
    order = order[number % len(order) :] + order[: number % len(order)]
    found = {way: ways[way]() for way in (order if number // len(order) % 2 == 0 else reversed(order))}
    in_turn = json.loads(figures.output([*IN_TURN, str(model.path), "--core", str(core)]))
    return found | {"in_turn": statistics.median(in_turn)}


def line(name: str, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a model's medians, and how far ours is from each other way: the median of the rounds' ratios less 1, with its 95% interval."""
    found: dict[str, Any] = {"model": name.rpartition("/")[2]}
    for way in ("ours_ns", "plain_ns", "tool_ns"):
        values = [row[way] for row in rounds if way in row]
        if not values:
            continue
        found[way] = statistics.median(values)
        found[f"off_{way}"] = off([row["ours_ns"] / row[way] for row in rounds])
    return found | {"off_in_turn": off([row["in_turn"] for row in rounds])}


def off(ratios: list[float]) -> tuple[float, float, float]:
    """Return the median of ratios less 1, with its 95% interval."""
    less = sorted(ratio - 1 for ratio in ratios)
    rank = max(0, math.floor(len(less) / 2 - 0.98 * math.sqrt(len(less))))
    return statistics.median(less), less[rank], less[-1 - rank]


def report(options: figures.Options, lines: list[dict[str, Any]], state: figures.State) -> None:
    """Print the table and the closing line."""
    rows, met = [], True
    worst: dict[str, tuple[float, float]] = {}
    for found in lines:
        in_turn = "{:+.2%} ({:+.2%} to {:+.2%})".format(*found["off_in_turn"])
        row = [found["model"], f"{found['ours_ns'] / 1e6:.5f}"]
        for way in ("plain_ns", "tool_ns"):
            if way not in found:
                row += ["", "", ""]
                continue
            middle, low, high = found[f"off_{way}"]
            allowed = max(SHARE, LEAST_NS / found[way])
            met = met and abs(middle) <= allowed
            worst[way] = max(worst.get(way, (0.0, 0.0)), (abs(middle) / allowed, middle))
            row += [f"{found[way] / 1e6:.5f}", f"{middle:+.2%} ({low:+.2%} to {high:+.2%})", f"{allowed:.2%}"]
        rows.append([*row, in_turn])
    header = ("model", "ours ms", "plain ms", "ours over plain", "allowed", "tool ms", "ours over tool", "allowed", "loops in turn")
    figures.table(header, rows)
    turns = ", ".join(f"{found['off_in_turn'][0]:+.2%}" for found in lines)
    offs = ", ".join(f"{found['model']} {found['ours_ns'] / 1e6:.3g} ms {found['off_plain_ns'][0]:+.2%}" for found in lines)
    figures.finish(
        options,
        figure=f"ours against the plain loop at worst {worst['plain_ns'][1]:+.2%}, against the tool {worst['tool_ns'][1]:+.2%}",
        compared=f"plain loop: {offs}; both loops in turn in one process: {turns}",
        goal="within 1%, or 0.1 us where that is more",
        met=met,
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
