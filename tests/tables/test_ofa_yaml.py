from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from harness.errors import ConfigError, MissingBlock
from harness.networks.blocks import Block, Conv, DenseLayer, GlobalPool, MBConv
from harness.networks.catalogue import space_named
from harness.networks.graph import Shape
from harness.networks.named import network_named
from harness.tables.adapters import OfaLatencyTable
from harness.tables.ofa_names import Flavour, block_named, flavour_of_config, layer_names, name_for
from harness.tables.ofa_yaml import read_ofa, write_ofa
from harness.tables.table import LatencyTable, Row
from tests.tables import given

OFA = """
AvgPool2D-input:4x4x48-output:1x1x48: {count: 5, mean: 0.01, std: 0.001}
Conv-input:8x8x3-output:4x4x16: {count: 500, mean: 1.0, std: 0.02}
Conv_1-input:4x4x16-output:4x4x48: {count: 500, mean: 0.5, std: 0.02}
Conv_2-input:1x1x48-output:1x1x64: {count: 500, mean: 0.25, std: 0.1}
Logits-input:1x1x64-output:10: {count: 500, mean: 0.125, std: 0.07}
expanded_conv-input:4x4x16-output:4x4x16-expand:16-kernel:3-stride:1-idskip:1-se:0-hs:0: {count: 500, mean: 2.0, std: 0.02}
expanded_conv-input:4x4x16-output:4x4x16-expand:56-kernel:5-stride:1-idskip:0-se:1-hs:1: {count: 54, mean: 4.0, std: 0.08}
"""
PROXYLESSNAS = """
Conv-input:8x8x3-output:4x4x16: {count: 982, mean: 4.0, var: 0.25}
Logits-input:2x2x64-output:10: {count: 982, mean: 0.3, var: 0.05}
expanded_conv-input:4x4x16-output:2x2x24-expand:3-kernel:7-stride:2-idskip:0: {count: 164, mean: 6.0, var: 0.09}
"""
CONFIG = {
    "name": "MobileNetV3",
    "first_conv": {"out_channels": 16},
    "blocks": [
        {
            "mobile_inverted_conv": {
                "in_channels": 16,
                "out_channels": 16,
                "kernel_size": 3,
                "stride": 1,
                "expand_ratio": 1,
                "mid_channels": None,
                "act_func": "relu",
                "use_se": False,
            },
            "shortcut": {"name": "IdentityLayer"},
        },
        {"mobile_inverted_conv": {"name": "ZeroLayer", "stride": 1}, "shortcut": {"name": "IdentityLayer"}},
        {
            "mobile_inverted_conv": {
                "in_channels": 16,
                "out_channels": 16,
                "kernel_size": 5,
                "stride": 1,
                "expand_ratio": 3.5,
                "mid_channels": 56,
                "act_func": "h_swish",
                "use_se": True,
            },
            "shortcut": None,
        },
    ],
    "final_expand_layer": {"in_channels": 16, "out_channels": 48},
    "feature_mix_layer": {"in_channels": 48, "out_channels": 64},
    "classifier": {"in_features": 64, "out_features": 10},
}
SQUEEZED = MBConv(16, (5, 5), expansion=3.5, se=0.25, se_of="expanded", gate="hard_sigmoid", activation="hard_swish", skip="none")


def read(tmp_path: Path, text: str) -> LatencyTable:
    path = tmp_path / "note10.yaml"
    path.write_text(text)
    return read_ofa(path)


@pytest.mark.parametrize(
    ("flavour", "name", "block", "inputs"),
    [
        ("ofa", "Conv-input:8x8x3-output:4x4x16", Conv(16, (3, 3), (2, 2), activation="hard_swish"), (8, 8, 3)),
        ("ofa", "Conv_1-input:4x4x16-output:4x4x48", Conv(48, activation="hard_swish"), (4, 4, 16)),
        ("ofa", "Conv_2-input:1x1x48-output:1x1x64", Conv(64, activation="hard_swish"), (1, 1, 48)),
        ("ofa", "AvgPool2D-input:4x4x48-output:1x1x48", GlobalPool(), (4, 4, 48)),
        ("ofa", "Logits-input:1x1x64-output:10", DenseLayer(10), (64,)),
        ("ofa", "expanded_conv-input:4x4x16-output:4x4x16-expand:56-kernel:5-stride:1-idskip:0-se:1-hs:1", SQUEEZED, (4, 4, 16)),
        ("proxylessnas", "Conv-input:8x8x3-output:4x4x16", Conv(16, (3, 3), (2, 2), activation="relu6"), (8, 8, 3)),
        (
            "proxylessnas",
            "expanded_conv-input:4x4x16-output:2x2x24-expand:3-kernel:7-stride:2-idskip:0",
            MBConv(24, (7, 7), (2, 2), 3, activation="relu6"),
            (4, 4, 16),
        ),
    ],
)
def test_a_name_stands_for_a_block_and_back(flavour: Flavour, name: str, block: Block, inputs: Shape) -> None:
    assert block_named(name, flavour) == (block, (inputs,))
    assert name_for(block, (inputs,), flavour) == name


@pytest.mark.parametrize(
    "name",
    [
        "Conv-input:8x8x3-output:8x8x16",  # of another stride
        "Logits-input:2x2x64-output:10",  # with the pooling in it
        "expanded_conv-input:4x4x16-output:2x2x24-expand:56-kernel:5-stride:2-idskip:1-se:0-hs:0",  # nothing to add
        "expanded_conv-input:4x4x16-output:4x4x16-expand:55-kernel:5-stride:1-idskip:0-se:0-hs:0",  # no multiple of 8
        "expanded_conv-input:4x4x16-output:4x4x16-expand:56-kernel:5-stride:1-idskip:0",
        "Conv-input:8x8x3-output:4x4x16-kernel:3",
        "Conv-input:8x3-output:4x4x16",
        "Shuffle-input:8x8x3-output:4x4x16",
        "Conv-input:112xx3-output:4x4x16",
        "Conv-input:8x8x3-output:4x4x0",
        "Conv-input:8x8x0-output:4x4x16",
        "expanded_conv-input:4x4x0-output:4x4x16-expand:56-kernel:5-stride:1-idskip:0-se:0-hs:0",
        "expanded_conv-input:4x4x16-output:4x4x24-expand:56-kernel:5-stride:0-idskip:0-se:0-hs:0",
        f"Conv-input:{10**400}x8x3-output:4x4x16",
        "something else",
    ],
)
def test_what_is_none_of_our_blocks_is_none(name: str) -> None:
    assert block_named(name, "ofa") is None


@pytest.mark.parametrize(
    ("block", "inputs"),
    [
        (MBConv(16, (3, 5)), ((4, 4, 16),)),
        (MBConv(16, skip="pool"), ((4, 4, 16),)),
        (MBConv(16, se=0.25), ((4, 4, 16),)),
        (MBConv(16, activation="sigmoid"), ((4, 4, 16),)),
        (Conv(16, (5, 5), (2, 2), activation="hard_swish"), ((8, 8, 3),)),
        (Conv(16, activation="hard_swish", groups=2), ((8, 8, 4),)),
        (DenseLayer(10, "softmax"), ((64,),)),
    ],
)
def test_a_block_without_a_name_of_theirs_gets_none(block: Block, inputs: tuple[Shape, ...]) -> None:
    assert name_for(block, inputs, "ofa") is None


def test_blocks_of_the_space_of_ofa_have_names() -> None:
    space = space_named("ofa")
    network = space.network([0] * len(space.positions))
    names = [name_for(block, network.inputs_of(place), "ofa") for place, block in enumerate(network.blocks)]
    assert [name.split("-")[0] if name else None for name in names] == [
        "Conv",
        *["expanded_conv"] * 11,
        *("Conv_1", "AvgPool2D", None, None, None),
    ]


@pytest.mark.parametrize("text", [OFA, PROXYLESSNAS])
def test_a_file_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    table = read(tmp_path, text)
    assert write_ofa(table, tmp_path / "again.yaml") == ()
    before, after = yaml.safe_load(text), yaml.safe_load((tmp_path / "again.yaml").read_text())
    assert after.keys() == before.keys()
    for name, entry in before.items():
        assert after[name] == pytest.approx(entry)


def test_what_theirs_says_has_its_place_in_ours(tmp_path: Path) -> None:
    table = read(tmp_path, PROXYLESSNAS)
    stem, logits, _ = table.rows
    assert (stem.warm_ms, stem.spread_ms, stem.samples, stem.interval_ms) == (4.0, 0.5, 982, None)
    assert (logits.key, logits.block) == ("Logits-input:2x2x64-output:10", None)
    assert (table.origin.device, table.origin.fingerprint, table.origin.threads) == ("note10", None, None)


def test_an_imported_table_survives_our_own_file(tmp_path: Path) -> None:
    table = read(tmp_path, PROXYLESSNAS)
    assert LatencyTable.load(table.save(tmp_path / "table.json")) == table


def test_rows_that_theirs_cannot_name_are_told(tmp_path: Path) -> None:
    table = given.table_of(network_named("mobilenet_v2"))
    left_out = write_ofa(table, tmp_path / "t.yaml")
    assert left_out == ("global_pool@7x7x1280", "dense-u1000-softmax@1280")
    assert len(yaml.safe_load((tmp_path / "t.yaml").read_text())) == len(table.rows) - 2


def test_a_table_of_which_theirs_can_name_nothing_is_not_written(tmp_path: Path) -> None:
    table = given.table_of(network_named("lenet_300_100"))
    with pytest.raises(ConfigError, match="no block of pi4's table has a name in tables of proxylessnas"):
        write_ofa(table, tmp_path / "t.yaml", "proxylessnas")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: !!python/object/apply:os.system [ls]", r"note10.yaml:1: could not determine a constructor for the tag .*\n.*remove the tag"),
        ("a: !own {mean: 1}", r"note10.yaml:1: could not determine a constructor for the tag '!own'"),
        ("a: {mean: 1}\nb: {mean: 1}\na: {mean: 2}", r"note10.yaml:1: 'a' stands twice"),
        ("a: {mean: 1, mean: 2}", "'mean' stands twice"),
        ("a: {mean: -1}", "note10.yaml: a: mean is -1"),
        ("a: {mean: .nan}", "note10.yaml: a: mean is nan"),
        ("a: {mean: .inf}", "note10.yaml: a: mean is inf"),
        ("a: {mean: true}", "note10.yaml: a: mean is True"),
        ("a: {mean: 1, variance: 2}", "note10.yaml: a: it holds"),
        ("a: {mean: 1, std: 2, var: 2}", "note10.yaml: a: it holds"),
        ("a: {count: 1}", "note10.yaml: a: it holds"),
        ("a: 3", "note10.yaml: a: it holds 3"),
        ("3: {mean: 1}", "the name of a block is no text"),
        ("? {a: 1}\n: {mean: 1}", "note10.yaml:1: found unhashable key"),
        ("[1, 2]", "is no latency table of OFA or ProxylessNAS"),
        ("", "is no latency table of OFA or ProxylessNAS"),
        ("a: {mean: 1", "note10.yaml:"),
        ("a: \x00", "note10.yaml"),
        ("a: {mean: 2001-99-99}", "note10.yaml: a value of it cannot be read: month must be in 1..12"),
        (f"a: {{mean: {'9' * 5000}}}", "note10.yaml: a value of it cannot be read"),
        ("a: {mean: !!int foo}", "note10.yaml: a value of it cannot be read"),
        ("a: {mean: !!bool foo}", "note10.yaml: a value of it cannot be read"),
        ("a: {mean: !!timestamp foo}", "note10.yaml: a value of it cannot be read"),
        ("[" * 5000, "note10.yaml: a value of it cannot be read"),
        ('"\\ud800": {mean: 1}', "which cannot be written"),
        ("a: &x {mean: 1}\nb: *y", "note10.yaml:2: found undefined alias"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, text)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_ofa(tmp_path / "none.yaml")


def test_the_estimator_adds_up_a_network_as_theirs_does(tmp_path: Path) -> None:
    estimator = OfaLatencyTable(read(tmp_path, OFA))
    expected_ms = 1.0 + 2.0 + 4.0 + 0.5 + 0.01 + 0.25 + 0.125
    assert estimator.predict_network_latency_given_config(CONFIG, 8) == pytest.approx(expected_ms)
    assert estimator.predict_network_latency(SimpleNamespace(config=CONFIG), image_size=8) == pytest.approx(expected_ms)


def test_a_file_of_theirs_reads_as_what_was_written(tmp_path: Path) -> None:
    swish, relu6 = Conv(16, (3, 3), (2, 2), activation="hard_swish"), Conv(16, (3, 3), (2, 2), activation="relu6")
    pooled = given.table([(swish, ((8, 8, 3),)), (GlobalPool(), ((4, 4, 16),))])
    foreign = Row("x-se:1", None, (), 1.0)
    for table in (pooled, given.table([(relu6, ((8, 8, 3),))]).with_rows([foreign])):
        assert write_ofa(table, tmp_path / "t.yaml") == ()
        assert set(read_ofa(tmp_path / "t.yaml").by_key) == set(table.by_key)
    with pytest.raises(ConfigError, match="nothing in these names tells that they are ofa's"):
        write_ofa(given.table([(swish, ((8, 8, 3),))]), tmp_path / "t.yaml")


def test_the_estimator_asks_for_the_blocks_of_the_network_s_kind(tmp_path: Path) -> None:
    theirs = read(tmp_path, PROXYLESSNAS)
    swish = Row.of(Conv(16, (3, 3), (2, 2), activation="hard_swish"), ((8, 8, 3),), 9.0)
    relu6 = Row.of(Conv(16, (3, 3), (2, 2), activation="relu6"), ((8, 8, 3),), 1.0)
    both = theirs.with_rows([swish, relu6])
    asked = ("Conv", [8, 8, 3], [4, 4, 16])
    assert OfaLatencyTable(both).query(*asked) == 9.0
    assert OfaLatencyTable(both, "proxylessnas").query(*asked) == 1.0
    assert flavour_of_config(CONFIG) == "ofa"


def test_the_estimator_answers_queries_of_both(tmp_path: Path) -> None:
    ofa = OfaLatencyTable(read(tmp_path, OFA))
    assert ofa.query("Conv", [8, 8, 3], [4, 4, 16]) == 1.0
    block = ofa.query("expanded_conv", [4, 4, 16], [4, 4, 16], mid=16, ks=3, stride=1, id_skip=1, se=0, h_swish=0)
    assert block == 2.0
    theirs = OfaLatencyTable(read(tmp_path, PROXYLESSNAS))
    assert theirs.query("expanded_conv", [4, 4, 16], [2, 2, 24], expand=3, ks=7, stride=2, id_skip=0) == 6.0
    assert theirs.query("Logits", [2, 2, 64], [10]) == 0.3


def test_the_estimator_guesses_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingBlock, match="lacks a block: Conv-input:16x16x3-output:8x8x16"):
        OfaLatencyTable(read(tmp_path, OFA)).predict_network_latency_given_config(CONFIG, 16)


@pytest.mark.parametrize("config", [{}, {"first_conv": None}, {"first_conv": {"out_channels": 8}, "blocks": [3]}])
def test_what_is_no_configuration_is_an_error(config: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="this is no configuration"):
        list(layer_names(config, 8))
