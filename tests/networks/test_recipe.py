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
        ("[32, 32, 3]", "[true, true, 3]", "net.toml:2: input is [True, True, 3]"),
        ('{type = "global_pool"}', '{type = ["conv"]}', "net.toml:8: unknown block ['conv']"),
        ('{type = "global_pool"}', '{type = "branches", branches = [[{type = ["conv"]}]]}', "net.toml:8: unknown block ['conv']"),
        ('part = "wide"', 'part = ["wide"]', "net.toml:6: there is no part ['wide']"),
        ('[parts.wide]\ntype = "mbconv"\nexpansion = 3', "[parts]\nwide = 3", "net.toml:16: part 'wide' is a table, not 3"),
        ("[published]", "[training]\n\nnorm_momentum = 2.0\n[published]", "net.toml:21: norm_momentum is 2.0"),
        # Where the parts and the defaults are to blame.
        ('activation = "relu"', 'activatoin = "relu"', "net.toml:13: unknown key 'activatoin' of defaults; did you mean 'activation'?"),
        ('activation = "relu"', 'type = "conv"', "net.toml:13: unknown key 'type' of defaults"),
        ('activation = "relu"', 'activation = "rely"', "net.toml:13: activation of conv is 'rely'; did you mean 'relu'?"),
        ('activation = "relu"', "rate = true", "net.toml:13: rate of dropout is True"),
        ("expansion = 3", 'expansion = "3"', "net.toml:17: expansion of mbconv is '3'"),
        ("expansion = 3", "expantion = 3", "net.toml:17: unknown key 'expantion' of mbconv; did you mean 'expansion'?"),
        ("expansion = 3", 'scaled = "up"', "net.toml:17: scaled is 'up'"),
        ('type = "mbconv"', 'type = "mbcon"', "net.toml:16: unknown block 'mbcon'; did you mean 'mbconv'?"),
        ('type = "mbconv"', "", "net.toml:6: a block without a type"),
        # Where a block cannot take its input.
        ("[32, 32, 3]", "[2, 2, 3]", "net.toml:6: net: block 2 (mbconv-f24-s2-e3) on 1x1x16: a feature map of 1x1 is too small"),
        ('{type = "global_pool"}', '{type = "dropout", rate = 0.5}', "net.toml:9: net: block 6 (dense-u10-relu) on 8x8x64: a dense layer"),
        ("stride = 2}", 'padding = "valid", repeat = 20}', "net.toml:5: net: block 16 (conv-f16-k3-valid-relu) on 2x2x16: a feature map"),
    ],
)
def test_an_error_in_a_file_names_its_line(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError) as raised:
        recipe(TEXT.replace(old, new))
    assert message in str(raised.value)


def test_a_wrong_sum_of_a_cell_has_the_line_of_its_part() -> None:
    lines = ["input = [8, 8, 3]", "blocks = [", '  {part = "cell", filters = 4, inputs = 1},', "]"]
    lines += ["[parts.cell]", 'type = "cell"', 'sums = ["h"]', 'concat = ["0"]']
    with pytest.raises(ConfigError, match=r"net\.toml:7: 'h' is no sum of a cell"):
        recipe("\n".join(lines))


TABLES = """
input = [32, 32, 3]

[[blocks]]
type = "conv"
filters = 16

[[blocks]]  # the classifier
type = "global_pool"

[[blocks]]
type = "dense"
units = 10
"""


def test_blocks_may_be_tables_of_their_own() -> None:
    assert recipe(TABLES).network("net").blocks == (Conv(16), GlobalPool(), DenseLayer(10))
    with pytest.raises(ConfigError, match=r"net\.toml:11: unknown key 'unit' of dense"):
        recipe(TABLES.replace("units", "unit"))
    with pytest.raises(ConfigError, match=r"net\.toml:8: net: block 2 \(global_pool\) on 3072: global pooling takes a feature map"):
        recipe(TABLES.replace('"conv"\nfilters = 16', '"flatten"\n'))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the network"):
        read_recipe(tmp_path / "none.toml")
