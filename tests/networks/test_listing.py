from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.errors import ConfigError
from harness.networks.listing import listed
from harness.networks.named import network_named


def test_what_papers_only_compare_with_is_listed_without_counts() -> None:
    only = {network.name: network.published for network in listed() if network.parameters is None}
    assert set(only) == {"shufflenet_1.5x", "squeezenext", "darts", "amoebanet_a", "pnasnet", "mnasnet_a2", "mnasnet_a3"}
    assert all(published.source and published.parameters and published.top_1 for published in only.values())
    assert only["mnasnet_a3"].pixel_1_ms == 103


def test_a_variant_that_a_paper_lists_is_counted_and_can_be_built() -> None:
    (variant,) = listed(["mobilenet_v2:width=1.4"])
    assert variant.parameters == pytest.approx(variant.published.parameters, rel=0.01)
    assert variant.mult_adds == pytest.approx(variant.published.mult_adds, rel=0.01)
    assert network_named(variant.name).name == variant.name


def test_an_unknown_network_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown network 'dart'; did you mean 'darts'\?"):
        listed(["dart"])


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
    assert len(rows) == 24
