"""What the shares that Han et al. 2015 keep of each layer come to, beside what they report: arithmetic alone."""

from __future__ import annotations

from benchmarks import figures
from harness.networks.blocks import block_costs
from harness.networks.layered import layered
from harness.networks.named import network_named

SHARES = {
    "lenet_300_100": (8, 9, 26),
    "lenet_5": (66, 12, 8, 19),
    "alexnet": (84, 38, 35, 37, 37, 9, 9, 25),
    "vgg_16": (58, 22, 34, 36, 53, 24, 42, 32, 27, 34, 35, 29, 36, 4, 4, 23),
}
"""Percent of the weights that are kept, layer by layer (tables 3 to 6)."""

REPORTED = {"lenet_300_100": (22e3, 12), "lenet_5": (36e3, 12), "alexnet": (6.7e6, 9), "vgg_16": (10.3e6, 13)}
WITHIN = 0.05


def kept_of(name: str) -> tuple[float, int]:
    """Return how many weights are kept of a network's kernels, and how many there are."""
    network = layered(network_named(name))
    weights = [
        costs.weights - costs.biases
        for position, block in enumerate(network.blocks)
        for _, costs in [block_costs(block, network.inputs_of(position))]
        if costs.weights > costs.biases
    ]
    return sum(share / 100 * count for share, count in zip(SHARES[name], weights, strict=True)), sum(weights)


def main() -> None:
    """Count, and compare."""
    options = figures.arguments(__doc__)
    rows, met, said = [], True, []
    for name, (reported, rate) in REPORTED.items():
        kept, whole = kept_of(name)
        rows.append((name, f"{whole:,}", f"{kept:,.0f}", f"{reported:,.0f}", f"{whole / kept:.1f}", f"{rate}"))
        said.append(f"{name} {whole / kept:.1f}x to {kept / 1e6:.3g}M")
        met = met and abs(kept / reported - 1) <= WITHIN
    figures.table(("network", "weights", "kept", "reported", "times fewer", "reported"), rows)
    figures.finish(
        options,
        figure=", ".join(said),
        compared=", ".join(f"{name} {rate}x to {reported / 1e6:.3g}M" for name, (reported, rate) in REPORTED.items()),
        goal=f"kept weights within {WITHIN:.0%} of the paper's",
        met=met,
    )


if __name__ == "__main__":
    main()
