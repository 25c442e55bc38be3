from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.networks.blocks import Conv, MBConv, block_key
from harness.networks.data import models_dir
from harness.networks.network import Training
from harness.networks.space import Space, unique_blocks
from harness.networks.space_file import parse_space, read_space
from harness.networks.wiring import Gather, SkipConv

SPACES = [read_space(models_dir() / f"{name}.toml") for name in ("mnasnet", "ofa", "zoph_le")]
EACH = pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)

TEXT = """
input = [16, 16, 3]
per_layer = true
stages = [
  {filters = 8, layers = [1, 2], stride = 2},
]
head = [
  {type = "global_pool"},
]

[choices]
kernel = [3, 5]
expansion = [1, 3, 6]

[fixed]
op = "mbconv"
"""


def space(text: str = TEXT) -> Space:
    return parse_space(text, Path("tiny.toml"))


@EACH
@given(seed=st.integers(0, 2**32))
def test_a_candidate_survives_its_text_and_makes_a_network(space: Space, seed: int) -> None:
    tokens = space.sample(random.Random(seed))
    text = space.encode(tokens)
    assert space.decode(text) == tokens
    network = space.network(tokens)
    assert network.name == f"space:{space.name}/{text}"
    assert network.shapes[-1] == (10 if space.name == "zoph_le" else 1000,)
    assert space.costs(tokens) == network.costs


def test_strides_that_are_chosen_freely_make_networks() -> None:
    space = read_space(models_dir() / "zoph_le_strides.toml")
    steepest, layer = [], -1  # every layer reads the one before, in the largest strides
    for position in space.positions:
        layer += position.name == "kernel_height"
        steepest.append(int(position.name == f"skip {layer - 1}") if position.name.startswith("skip") else position.options - 1)
    network = space.network(space.checked(steepest))
    assert network.shapes[1:6] == ((11, 11, 64), (4, 4, 64), (2, 2, 64), (1, 1, 64), (1, 1, 64))
    assert network.shapes[-1] == (10,)


@EACH
@given(seed=st.integers(0, 2**32))
def test_a_mutation_changes_one_choice(space: Space, seed: int) -> None:
    generator = random.Random(seed)
    tokens = space.sample(generator)
    mutated = space.checked(space.mutate(tokens, generator))
    changed = [space.positions[index].name for index in range(len(tokens)) if tokens[index] != mutated[index]]
    assert len(changed) == 1 or "layers" in changed


def test_sizes_are_those_of_the_papers_spaces() -> None:
    mnasnet, ofa, zoph_le = SPACES
    assert mnasnet.size == (4 * 2 * 2 * 3 * 3) ** 7 * 2 * 3 * 3 * 3 * 3 * 3 * 2
    assert ofa.size == (9**2 + 9**3 + 9**4) ** 5
    assert zoph_le.size == 64**15 * 2 ** (15 * 14 // 2)


def test_every_candidate_is_as_likely() -> None:
    small, generator = space(), random.Random(0)
    assert small.size == 6 + 36
    counts = Counter(small.sample(generator) for _ in range(42 * 200))
    assert len(counts) == 42
    assert all(130 < count < 280 for count in counts.values())


def test_the_same_seed_gives_the_same_candidates() -> None:
    for each in SPACES:
        assert [each.sample(random.Random(7)) for _ in range(2)] == [each.sample(random.Random(7))] * 2


def test_what_layers_that_are_not_there_chose_is_0() -> None:
    assert space().checked([1, 1, 2, 1, 2]) == (1, 1, 2, 1, 2)
    with pytest.raises(ConfigError, match="chooses for layers that it does not have"):
        space().checked([0, 1, 2, 1, 2])


def test_a_per_layer_choice_is_each_layers_own() -> None:
    network = space().network(space().decode("10212"))
    assert network.blocks[:2] == (MBConv(8, (3, 3), (2, 2), 6), MBConv(8, (5, 5), expansion=6))


@EACH
def test_unique_blocks_hold_those_of_any_candidate(space: Space) -> None:
    if space.name == "zoph_le":
        first = list(itertools.islice(unique_blocks(space), 64 * 5))
        assert len({block_key(*one) for one in first}) == len(first)
        assert {shapes for _, shapes in first} == {((32, 32, 3),), *(((32, 32, filters),) for filters in (24, 36, 48, 64))}
        return
    keys = {block_key(*one) for one in unique_blocks(space)}
    generator = random.Random(1)
    for _ in range(50):
        assert set(space.network(space.sample(generator)).block_keys) <= keys
    assert len(keys) == len(list(unique_blocks(space)))


def test_what_nothing_reads_goes_to_the_end() -> None:
    zoph_le = SPACES[2]
    tokens = [0] * len(zoph_le.positions)
    network = zoph_le.network(tokens)
    *convolutions, gathered, _, _ = network.blocks
    assert all(isinstance(block, SkipConv) and block.inputs == (0,) for block in convolutions)
    assert isinstance(gathered, Gather)
    assert gathered.inputs == tuple(range(1, 16))
    third = next(index for index, one in enumerate(zoph_le.positions) if (one.where, one.name) == ("stage 1 layer 3", "skip 1"))
    tokens[third] = 1
    network = zoph_le.network(tokens)
    assert network.blocks[2] == SkipConv(24, (1, 1), (2,))
    assert network.blocks[15] == Gather((1, *range(3, 16)))


@pytest.mark.parametrize("text", ["", "1021", "10212-0", "1021A", "00 12"])
def test_text_of_another_space_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no candidate of tiny\none looks like xxxxx"):
        space().decode(text)


def test_a_token_out_of_range_is_named() -> None:
    with pytest.raises(ConfigError, match="stage 1 layer 1: expansion is option 3, and tiny has 3"):
        space().decode("10312")
    with pytest.raises(ConfigError, match="4 tokens are no candidate of tiny"):
        space().network([0, 0, 0, 0])


def test_nothing_to_choose_cannot_mutate() -> None:
    only = space(TEXT.replace("[1, 2]", "1").replace("[3, 5]", "[3]").replace("[1, 3, 6]", "[6]"))
    assert only.size == 1
    with pytest.raises(ConfigError, match="one candidate alone"):
        only.mutate(only.sample(random.Random(0)), random.Random(0))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("per_layer", "per_layers", "tiny.toml:3: unknown key 'per_layers'; did you mean 'per_layer'?"),
        ("layers = [1, 2]", "layers = [0]", "tiny.toml:5: layers are [0]"),
        ("filters = 8", "filters = [8, 8]", "tiny.toml:5: the choices of filters are [8, 8]"),
        ("kernel = [3, 5]", "kernel = 3", "tiny.toml:12: the choices of kernel are 3\nwrite a list"),
        ('"global_pool"', '"global_pol"', "tiny.toml:8: unknown block 'global_pol'; did you mean 'global_pool'?"),
        ('op = "mbconv"', 'op = "mbcon"', "tiny.toml:16: unknown op 'mbcon'; did you mean 'mbconv'?"),
        ("expansion", "expantion", "tiny.toml:13: unknown key 'expantion' of mbconv; did you mean 'expansion'?"),
        ("per_layer = true", "skips = true", "tiny.toml:3: skips need one stage"),
        ("stages = [", "stages = [ [", "tiny.toml:"),
        ("input = [16, 16, 3]", "", "tiny.toml: a search space has input"),
        ("[16, 16, 3]", "[16, true, 3]", "tiny.toml:2: input is [16, True, 3]"),
        ("layers = [1, 2]", "layers = [2, 2]", "tiny.toml:5: layers are [2, 2]"),
        ("filters = 8", 'filters = "8"', "tiny.toml:5: filters of mbconv is '8'"),
        ("filters = 8, ", "", "tiny.toml:5: mbconv lacks filters"),
        ("filters = 8", 'filters = 8, op = ["mbconv", "con"]', "tiny.toml:5: unknown op 'con'; did you mean 'conv'?"),
        ("kernel = [3, 5]", "kernel = [3, 3]", "tiny.toml:12: the choices of kernel are [3, 3]"),
        ("kernel = [3, 5]", 'kernel = [3, "five", 7]', "tiny.toml:12: kernel of mbconv is 'five'"),
        ("kernel = [3, 5]", 'kernel_width = [3]\nkernel_height = [1, "x", 3]', "tiny.toml:13: kernel_height is 'x'"),
        ("kernel = [3, 5]", "kernel_height = [1, 0, 3]", "tiny.toml:12: kernel_height is 0"),
        ("kernel = [3, 5]", 'op = ["mbconv", "dense", "mbconv"]', "tiny.toml:12: the choices of op"),
        ("kernel = [3, 5]", 'op = ["mbconv", "conv", "bottleneck"]', "tiny.toml:13: unknown key 'expansion' of conv"),
        ("kernel = [3, 5]", 'op = ["mbconv", {type = "mbconv", se = true}]', "tiny.toml:12: se of mbconv is True"),
        ('op = "mbconv"', 'op = ["mbconv"]', "tiny.toml:16: unknown op ['mbconv']"),
        ('op = "mbconv"', 'op = {type = "mbconv", se = "much"}', "tiny.toml:16: se of mbconv is 'much'"),
        ('op = "mbconv"', 'op = "mbconv"\nse = "much"', "tiny.toml:17: se of mbconv is 'much'"),
        ('op = "mbconv"', 'op = "bottleneck"\nkernel_width = 3', "tiny.toml:12: unknown key 'kernel' of bottleneck"),
        ('op = "mbconv"', 'type = "mbcon"', "tiny.toml:16: unknown block 'mbcon'"),
        ('op = "mbconv"', "", "tiny.toml:5: a block without a type"),
        ('op = "mbconv"', 'op = "mbconv"\n[training]\ninitializer = "he"', "tiny.toml:18: initializer is 'he'"),
        ("per_layer = true", "per_layer = true\nskips = true", "tiny.toml:17: with skips a layer reads several others"),
        (
            "[16, 16, 3]",
            "[1, 1, 3]",
            "tiny.toml:5: a candidate of it fails: space:tiny/00000: block 1 (mbconv-f8-s2) on 1x1x3: a feature map",
        ),
        ('{type = "global_pool"}', '{type = "dense", units = 10}', "tiny.toml:8: a candidate of it fails: space:tiny/00000: block 2 "),
        ("head = [", 'stem = [\n  {type = "flatten"},\n]\nhead = [', "tiny.toml:5: a candidate of it fails: space:tiny/00000: block 2 "),
        (
            "input",
            'stem = [\n  {type = "dense", units = 10},\n]\ninput',
            "tiny.toml:3: a candidate of it fails: space:tiny/00000: block 1 ",
        ),
    ],
)
def test_an_error_in_a_file_names_its_line(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError) as raised:
        space(TEXT.replace(old, new))
    assert message in str(raised.value)


def test_a_missing_file_is_an_error_that_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the search space .*none\.toml.*\ngive the path of a \.toml file"):
        read_space(tmp_path / "none.toml")


TABLES = """
input = [16, 16, 3]
per_layer = true

[[stem]]
type = "conv"
filters = 8

[[stages]]
filters = 8
layers = [1, 2]
stride = 2

[[stages]]
filters = 16
layers = [2, 1]

[[head]]
type = "global_pool"

[choices]
kernel = [3, 5]

[fixed]
op = "mbconv"
"""


def test_stages_may_be_tables_of_their_own() -> None:
    found = space(TABLES)
    assert [stage.layers for stage in found.stages] == [(1, 2), (2, 1)]
    assert found.network(found.decode("000-011")).blocks[0] == Conv(8)
    for old, new, message in (
        ('"global_pool"', '"global_pol"', "tiny.toml:18: unknown block 'global_pol'"),
        ("filters = 16", "filters = [16, 16]", "tiny.toml:14: the choices of filters"),
        ("filters = 16\n", 'filters = 16\npadding = "sme"\n', "tiny.toml:14: unknown key 'padding' of mbconv"),
    ):
        with pytest.raises(ConfigError, match=message):
            space(TABLES.replace(old, new))


def test_candidates_are_trained_as_the_file_says() -> None:
    found = space(TEXT + "[training]\nnorm_momentum = 0.9\n")
    assert found.network(found.decode("00000")).training == Training(norm_momentum=0.9)
    mnasnet, ofa, zoph_le = (each.network(each.sample(random.Random(0))).training for each in SPACES)
    assert mnasnet == Training(initializer="he_normal_fan_out")
    assert ofa == Training(norm_momentum=0.9, norm_epsilon=1e-5, initializer="he_normal_fan_out")
    assert zoph_le == Training()


def test_the_unique_blocks_of_a_space_with_skips_are_its_stem_and_its_convolutions() -> None:
    text = TEXT.replace("per_layer = true", "per_layer = true\nskips = true").replace('"mbconv"', '"skip_conv"')
    small = space(text.replace("expansion = [1, 3, 6]", "").replace("head = [", 'stem = [{type = "conv", filters = 4}]\nhead = ['))
    assert [type(block) for block, _ in unique_blocks(small)] == [Conv, *[SkipConv] * 6]
