from __future__ import annotations

import pytest

from harness.errors import ConfigError
from harness.networks import zoo


@pytest.mark.parametrize("text", ["mobilenet_v2", "mobilenet_v2:width=1", "mobilenet_v2:resolution=224,width=1.0"])
def test_defaults_written_out_are_the_same_network(text: str) -> None:
    assert zoo.parse(text) == zoo.ZooName("mobilenet_v2")
    assert str(zoo.parse(text)) == "mobilenet_v2"


def test_the_canonical_text_names_the_same_network() -> None:
    name = zoo.parse("mobilenet_v2:resolution=160,width=.50")
    assert str(name) == "mobilenet_v2:width=0.5,resolution=160"
    assert zoo.parse(str(name)) == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mobilnet_v2", "Did you mean mobilenet_v2"),
        ("quux", "Known: mobilenet_v1"),
        ("mobilenet_v2:depth=2", "Known options: width=NUMBER, resolution=NUMBER"),
        ("resnet_50:width=0.5", "Known options: resolution=NUMBER"),
        ("mobilenet_v2:width=0.5,width=0.5", "given twice"),
        ("mobilenet_v2:", "Known options"),
        ("mobilenet_v2:width", "Known options"),
        ("mobilenet_v2:width=wide", "'wide' is not a number"),
        ("mobilenet_v2:width=nan", "'nan' is not a number"),
        ("mobilenet_v2:width=0", "from 0.1"),
        ("mobilenet_v2:width=1e9", "to 4.0"),
        ("mobilenet_v2:resolution=31", "from 32"),
        ("mobilenet_v2:resolution=160.5", "whole number"),
        ("mobilenet_v2:resolution=٢٢٤", "whole number"),
        ("vgg_16:resolution=1024", "to 320"),
    ],
)
def test_what_is_no_network_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        zoo.parse(text)
    assert says in str(caught.value)


def test_every_name_stands_for_a_constructor_of_keras() -> None:
    import keras

    assert all(hasattr(keras.applications, zoo.APPLICATIONS[name].constructor) for name in zoo.names())
