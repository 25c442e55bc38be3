from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.errors import ConfigError
from harness.networks.catalogue import listed, network_files, recipe_named, space_files, space_named


def test_networks_and_spaces_are_told_apart() -> None:
    assert set(space_files()) == {"mnasnet", "ofa", "zoph_le"}
    assert len(network_files()) == 16
    assert not set(space_files()) & set(network_files())
    assert recipe_named("lenet_5").network("lenet_5").parameters == 431_080
    assert space_named("ofa").name == "ofa"


def test_an_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown network 'mobilnet_v2'; did you mean 'mobilenet_v2'\?"):
        recipe_named("mobilnet_v2")
    with pytest.raises(ConfigError, match=r"unknown search space 'mnasnet_a1'; did you mean 'mnasnet'\?"):
        space_named("mnasnet_a1")


def test_what_papers_only_compare_with_is_listed_without_counts() -> None:
    only = {network.name: network.published for network in listed() if network.parameters is None}
    assert set(only) == {"shufflenet_1.5x", "squeezenext", "darts", "amoebanet_a", "pnasnet", "mnasnet_a2", "mnasnet_a3"}
    assert all(published.source and published.parameters and published.top_1 for published in only.values())
    assert only["mnasnet_a3"].pixel_1_ms == 103


def test_models_are_listed_beside_what_was_published() -> None:
    found = CliRunner().invoke(cli, ["models"])
    assert found.exit_code == 0
    (line,) = [line for line in found.stdout.splitlines() if line.split()[:1] == ["mnasnet_a1"]]
    assert line.split()[1:8] == ["3.89M", "(3.90M)", "312M", "(312M)", "75.2%", "92.5%", "78.00"]
    assert any(line.split()[:3] == ["pnasnet", "(5.10M)", "(588M)"] for line in found.stdout.splitlines())


def test_models_are_listed_for_programs() -> None:
    rows = json.loads(CliRunner().invoke(cli, ["models", "--json"]).stdout)
    (row,) = [row for row in rows if row["name"] == "vgg_16"]
    assert row["parameters"] == 138_357_544
    assert row["published"]["mult_adds"] == 15.5e9
    assert len(rows) == 23
