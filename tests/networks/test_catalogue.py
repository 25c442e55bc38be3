from __future__ import annotations

import pytest

from harness.errors import ConfigError
from harness.networks.catalogue import network_files, recipe_named, space_files, space_named


def test_networks_and_spaces_are_told_apart() -> None:
    assert set(space_files()) == {"mnasnet", "mnasnet_cifar", "ofa", "zoph_le", "zoph_le_strides"}
    assert len(network_files()) == 16
    assert not set(space_files()) & set(network_files())
    assert recipe_named("lenet_5").network("lenet_5").parameters == 431_080
    assert space_named("ofa").name == "ofa"


def test_an_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown network 'mobilnet_v2'; did you mean 'mobilenet_v2'\?"):
        recipe_named("mobilnet_v2")
    with pytest.raises(ConfigError, match=r"unknown search space 'mnasnet_a1'; did you mean 'mnasnet'\?"):
        space_named("mnasnet_a1")
