from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.networks.catalogue import network_files, recipe_named, space_files, space_named
from harness.networks.named import is_name, network_named
from harness.networks.recipe import read_recipe


@pytest.mark.parametrize("text", ["mobilenet_v2", "mobilenet_v2:width=1", "mobilenet_v2:resolution=224,width=1.0"])
def test_defaults_written_out_are_the_same_network(text: str) -> None:
    assert network_named(text) == network_named("mobilenet_v2")
    assert network_named(text).name == "mobilenet_v2"


def test_the_canonical_name_names_the_same_network() -> None:
    network = network_named("mobilenet_v2:resolution=160,width=.50")
    assert network.name == "mobilenet_v2:width=0.5,resolution=160"
    assert network_named(network.name) == network
    assert network.input == (160, 160, 3)


def test_an_input_that_is_not_square_stays_as_it_is(tmp_path: Path) -> None:
    mine = tmp_path / "wide.toml"
    mine.write_text('input = [96, 128, 3]\nblocks = [\n  {type = "conv", filters = 8},\n]\n')
    assert network_named(str(mine)).input == (96, 128, 3)
    network = network_named(f"{mine}:resolution=96")
    assert (network.name, network.input) == ("wide:resolution=96", (96, 96, 3))


def test_a_flat_input_has_no_resolution(tmp_path: Path) -> None:
    mine = tmp_path / "flat.toml"
    mine.write_text('input = [784]\nblocks = [\n  {type = "dense", units = 10},\n]\n')
    assert network_named(str(mine)).input == (784,)
    with pytest.raises(ConfigError, match="'resolution=28' is not an option of flat\nflat has no options"):
        network_named(f"{mine}:resolution=28")
    with pytest.raises(ConfigError, match="flat: a flat input of 784 has no resolution"):
        read_recipe(mine).network("flat", resolution=28)


@pytest.mark.parametrize("name", sorted(network_files()))
def test_every_network_has_its_name(name: str) -> None:
    assert is_name(name)
    assert network_named(name) == recipe_named(name).network(name)


@pytest.mark.parametrize("name", sorted(space_files()))
def test_every_candidate_has_its_name(name: str) -> None:
    space = space_named(name)
    tokens = space.sample(random.Random(5))
    text = f"space:{name}/{space.encode(tokens)}"
    assert is_name(text)
    assert network_named(text) == space.network(tokens)


def test_a_space_of_ones_own_names_its_candidates(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(space_files()["mnasnet"].read_text())
    space = space_named("mnasnet")
    text = space.encode(space.sample(random.Random(7)))
    assert network_named(f"space:{mine}/{text}").hash == network_named(f"space:mnasnet/{text}").hash


def test_what_a_network_writes_of_itself_is_read_as_a_file(tmp_path: Path) -> None:
    network = space_named("mnasnet").network(space_named("mnasnet").sample(random.Random(6)))
    (tmp_path / "found.toml").write_text(network.to_toml())
    assert network_named(str(tmp_path / "found.toml")) == network


def test_a_copy_of_a_file_of_the_zoo_is_a_network_of_ones_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(network_files()["mnasnet_b1"].read_text().replace("filters = 320", "filters = 256"))
    network = network_named(str(mine))
    assert network.name == "mine"
    assert network.parameters < network_named("mnasnet_b1").parameters
    assert network_named(f"{mine}:width=0.5,resolution=96").input == (96, 96, 3)
    assert network_named(f"{mine}:width=0.5").parameters < network.parameters


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mobilnet_v2", "did you mean 'mobilenet_v2'"),
        ("quux", "Known: alexnet"),
        ("mobilenet_v2:depth=2", "Known options: width=NUMBER, resolution=NUMBER"),
        ("resnet_50:width=0.5", "Known options: resolution=NUMBER"),
        ("mobilenet_v2:width=0.5,width=0.5", "given twice"),
        ("mobilenet_v2:", "Known options"),
        ("mobilenet_v2:width", "Known options"),
        ("mobilenet_v2:width=wide", "'wide' is not a number"),
        ("mobilenet_v2:width=nan", "'nan' is not a number"),
        ("mobilenet_v2:width=0", "not a number above 0 and up to 10"),
        ("mobilenet_v2:width=1e308", "not a number above 0 and up to 10"),
        ("mobilenet_v2:resolution=20000", "whole number from 1 to 4096"),
        ("nowhere.toml:width=0.5", "cannot read the network nowhere.toml"),
        ("space:some/nowhere.toml", "cannot read"),
        ("mobilenet_v1:width=0.001", "leaves no channels"),
        ("mobilenet_v2:resolution=160.5", "whole number"),
        ("mobilenet_v2:resolution=٢٢٤", "whole number"),
        ("mobilenet_v2:resolution=0", "whole number"),
        ("alexnet:resolution=32", "alexnet:resolution=32: block"),
        ("space:mnasnet", "such as space:mnasnet/"),
        ("space:mnasnets/0", "did you mean 'mnasnet'"),
        ("space:mnasnet/000", "'000' is no candidate of mnasnet"),
    ],
)
def test_what_is_no_network_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        network_named(text)
    assert says in str(caught.value)


def test_a_candidate_of_another_space_is_refused() -> None:
    other = space_named("ofa")
    with pytest.raises(ConfigError, match="is no candidate of mnasnet"):
        network_named(f"space:mnasnet/{other.encode(other.sample(random.Random(0)))}")


def test_a_mistake_in_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('input = [32, 32, 3]\nblocks = [\n  {type = "convv", filters = 3},\n]\n')
    with pytest.raises(ConfigError, match=r"mine\.toml:3: .*convv"):
        network_named(str(tmp_path / "mine.toml"))
