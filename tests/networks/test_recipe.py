from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.networks.blocks import Conv, DenseLayer, GlobalPool, MBConv
from harness.networks.data import models_dir
from harness.networks.recipe import Recipe, parse_recipe, read_recipe

NETWORKS = sorted(path for path in models_dir().glob("*.toml") if "blocks =" in path.read_text())
UNEXPLAINED = {("mobilenet_v3_small_minimalistic", "mult_adds")}
"""Counts that no reading of the published layers gives; the file says so."""

TEXT = """
input = [32, 32, 3]
width = "divisible"
blocks = [
  {type = "conv", filters = 16, kernel = 3, stride = 2},
  {part = "wide", filters = 24, stride = 2, repeat = 2},
  {type = "conv", filters = 64, scaled = "grown"},
  {type = "global_pool"},
  {type = "dense", units = 10},
]

[defaults]
activation = "relu"

[parts.wide]
type = "mbconv"
expansion = 3

[published]
parameters = 1e4
source = "nobody"
"""


def recipe(text: str = TEXT) -> Recipe:
    return parse_recipe(text, Path("net.toml"))


def test_all_networks_are_there() -> None:
    assert [path.stem for path in NETWORKS] == [
        "alexnet",
        "inception_v2",
        "lenet_300_100",
        "lenet_5",
        "mnasnet_a1",
        "mnasnet_b1",
        "mnasnet_small",
        "mobilenet_v1",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "mobilenet_v3_large_minimalistic",
        "mobilenet_v3_small",
        "mobilenet_v3_small_minimalistic",
        "nasnet_a_mobile",
        "resnet_50",
        "vgg_16",
    ]


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_counts_are_within_a_percent_of_the_published_ones(path: Path) -> None:
    read = read_recipe(path)
    network = read.network(path.stem)
    for name in ("parameters", "mult_adds"):
        published = getattr(read.published, name)
        if published is not None and (path.stem, name) not in UNEXPLAINED:
            assert getattr(network, name) == pytest.approx(published, rel=0.01), name
    assert read.published.source
    assert network.shapes[-1] in ((1000,), (10,))


@pytest.mark.parametrize(
    ("name", "width", "resolution", "parameters", "mult_adds"),
    [
        ("mobilenet_v1", 0.25, 128, 0.47e6, 13.6e6),  # Howard et al. 2017, Table 8: 0.5M and 14M
        ("mobilenet_v1", 0.5, 160, 1.33e6, 76e6),  # Table 7 and 8: 1.3M, 77M
        ("mobilenet_v2", 0.35, 224, 1.66e6, 59e6),  # Tan et al. 2019, Table 4
        ("mobilenet_v2", 1.4, 224, 6.1e6, 585e6),  # Sandler et al. 2018, Table 4 (6.9M with its classifier of 1001)
        ("mnasnet_a1", 0.35, 224, 1.7e6, 63e6),  # Tan et al. 2019, Table 4
        ("mnasnet_a1", 1.4, 224, 6.1e6, 591.5e6),  # the authors' code, README
    ],
)
def test_widths_and_resolutions_are_those_of_the_papers(
    name: str, width: float, resolution: int, parameters: float, mult_adds: float
) -> None:
    network = read_recipe(models_dir() / f"{name}.toml").network(name, width, resolution)
    assert network.parameters == pytest.approx(parameters, rel=0.03)
    assert network.mult_adds == pytest.approx(mult_adds, rel=0.03)


def test_a_line_may_repeat_and_share() -> None:
    network = recipe().network("net")
    assert network.blocks == (
        Conv(16, (3, 3), (2, 2), activation="relu"),
        MBConv(24, stride=(2, 2), expansion=3),
        MBConv(24, expansion=3),
        Conv(64, activation="relu"),
        GlobalPool(),
        DenseLayer(10, "relu"),
    )


def test_widths_scale_filters_as_the_file_says() -> None:
    def filters(width: float) -> list[int]:
        return [block.filters for block in recipe().network("net", width).blocks if isinstance(block, Conv | MBConv)]

    assert filters(0.5) == [8, 16, 16, 64]
    assert filters(2.0) == [32, 48, 48, 128]
    with pytest.raises(ConfigError, match=r"net:width=0\.01: a width of 0\.01 leaves no channels of 16"):
        recipe(TEXT.replace("divisible", "floor")).network("net:width=0.01", 0.01)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kernel = 3, stride = 2", "kernal = 3", "net.toml:5: unknown key 'kernal' of conv; did you mean 'kernel'?"),
        ('part = "wide"', 'part = "wid"', "net.toml:6: there is no part 'wid'; did you mean 'wide'?"),
        ("repeat = 2", "repeat = 0", "net.toml:6: repeat is 0"),
        ('scaled = "grown"', 'scaled = "up"', "net.toml:7: scaled is 'up'"),
        ('{type = "global_pool"}', "7", "net.toml:8: a block is a table, not 7"),
        ('"divisible"', '"floors"', "net.toml:3: width is 'floors'; did you mean 'floor'?"),
        ("[32, 32, 3]", "[32, 32]", "net.toml:2: input is [32, 32]"),
        ("parameters = 1e4", 'parameters = "many"', "net.toml:20: parameters is a number, not 'many'"),
        ("parameters = 1e4", "params = 1e4", "net.toml:20: unknown key 'params'; did you mean 'parameters'?"),
        ("[published]", "[publish]", "unknown key 'publish'; did you mean 'published'?"),
        ("blocks = [", "blocks = [ [", "net.toml:"),
        ("input = [32, 32, 3]", "", "net.toml: a network has input"),
    ],
)
def test_an_error_in_a_file_names_its_line(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError) as raised:
        recipe(TEXT.replace(old, new))
    assert message in str(raised.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the network"):
        read_recipe(tmp_path / "none.toml")
