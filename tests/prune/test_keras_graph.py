"""The graph of a Keras model, against the network that it was made of."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.networks import graph as g
from harness.networks.channels import Channels
from harness.networks.foreign import Foreign, Norm
from harness.networks.fuse import fused
from harness.networks.keras_build import build_keras
from harness.networks.named import network_named
from harness.prune.keras_graph import graph_of
from harness.prune.masks import kernels_of

pytestmark = pytest.mark.usefixtures("keras")


def told(graph: g.Graph) -> Counter[Any]:
    """Return the operations of a graph with the shapes around them, in no order."""
    return Counter((node.operation, tuple(map(graph.shape, node.inputs)), node.output) for node in graph.nodes)


NAMES = ("lenet_5", "mobilenet_v3_small:width=0.35", "inception_v2:width=0.1")


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_of_a_network_s_model_is_that_of_the_network(name: str) -> None:
    network = network_named(name)
    found = graph_of(build_keras(network))
    graph, output = network.graph()
    graph, places = fused(graph, output)
    assert told(found.graph) == told(graph)
    assert found.whole == ()
    groups = [Channels(*one).groups for one in ((found.graph, found.output), (graph, places[output]))]
    assert Counter((group.channels, len(group.producers)) for group in groups[0]) == Counter(
        (group.channels, len(group.producers)) for group in groups[1]
    )


def of(*layers: Any, shape: tuple[int | None, ...] = (8, 8, 3)) -> Any:
    import keras

    return keras.Sequential([keras.Input(shape), *layers])


def operations(model: Any) -> list[g.Operation]:
    return [node.operation for node in graph_of(model).graph.nodes]


def test_a_sequential_model_has_a_graph() -> None:
    from keras import layers

    model = of(layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(2, activation="softmax"))
    assert operations(model) == [
        g.Convolution(4, (3, 3), (1, 1), "valid", norm=False, activation="relu"),
        g.Flatten(),
        g.Dense(2, "softmax"),
    ]


def test_batch_norm_and_activation_go_with_the_convolution_before_them() -> None:
    from keras import layers

    model = of(
        layers.Conv2D(4, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.Activation("hard_swish"),
        layers.BatchNormalization(),
    )
    assert operations(model) == [g.Convolution(4, (3, 3), activation="hard_swish"), Norm()]


def test_what_is_read_twice_stays_by_itself() -> None:
    import keras
    from keras import layers

    given = keras.Input((8, 8, 3))
    made = layers.Conv2D(4, 1, padding="same")(given)
    model = keras.Model(given, layers.Add()([made, layers.ReLU(6)(made)]))
    assert operations(model) == [g.Convolution(4, (1, 1), norm=False), g.Activate("relu6"), g.Add()]


def test_a_model_within_a_model_is_gone_through() -> None:
    import keras
    from keras import layers

    inner = of(layers.Conv2D(4, 1, name="inner"), layers.BatchNormalization(name="norm"))
    given = keras.Input((8, 8, 3))
    found = graph_of(keras.Model(given, layers.Dense(2)(layers.GlobalAveragePooling2D()(inner(given)))))
    assert [type(node.operation) for node in found.graph.nodes] == [g.Convolution, g.GlobalPooling, g.Dense]
    assert {"inner", "norm"} < set(found.layers)
    assert {"inner", "norm"} == set(graph_of(keras.Model(given, layers.Flatten()(inner(inputs=given)))).layers)


def test_applications_of_keras_have_graphs() -> None:
    import keras

    for build, options, whole in (
        (keras.applications.MobileNet, {"alpha": 0.25}, 0),
        (keras.applications.MobileNetV3Small, {"alpha": 0.75}, 0),
        (keras.applications.EfficientNetB0, {}, 1),
    ):
        found = graph_of(build(weights=None, input_shape=(64, 64, 3), **options))
        assert len(found.whole) == whole, found.whole
        assert len(Channels(found.graph, found.output).groups) > 5


def test_a_layer_that_is_not_known_is_named_and_left_whole() -> None:
    from keras import layers

    model = of(layers.Conv2D(4, 1), layers.LayerNormalization(name="normed"), layers.Conv2D(5, 1), layers.Conv2D(2, 1))
    found = graph_of(model)
    assert found.whole == ("normed",)
    assert [group.channels for group in Channels(found.graph, found.output).groups] == [5]


def test_what_a_layer_of_ones_own_computes_is_not_known() -> None:
    from keras import layers

    class Standardized(layers.Conv2D):  # type: ignore[misc]  # Keras has no types
        pass

    found = graph_of(of(Standardized(4, 1, name="own"), layers.Conv2D(5, 1), layers.Conv2D(2, 1)))
    assert found.whole == ("own",)
    assert [group.channels for group in Channels(found.graph, found.output).groups] == [5]


@pytest.mark.parametrize("name", ["dense_of_parts", "rescaled_by_channel", "flattened_otherwise"])
def test_layers_set_as_the_harness_does_not_know_them_are_left_whole(name: str) -> None:
    from keras import layers

    made = {
        "dense_of_parts": [layers.GlobalAveragePooling2D(), layers.Dense(6, name=name), layers.Dense(2)],
        "rescaled_by_channel": [layers.Rescaling([1.0, 2.0, 3.0, 4.0], name=name), layers.Conv2D(2, 1)],
        "flattened_otherwise": [layers.Flatten(data_format="channels_first", name=name), layers.Dense(2)],
    }[name]
    model = of(layers.Conv2D(4, 1), *made)
    if name == "dense_of_parts":
        model.get_layer(name).enable_lora(2)
    found = graph_of(model)
    assert found.whole == (name,)
    assert Channels(found.graph, found.output).groups == ()
    assert {kernel.path.rpartition("/")[0] for kernel in kernels_of(model).values()}.isdisjoint({"dense_of_parts"})


def test_an_activation_that_is_not_known_keeps_channels() -> None:
    from keras import layers

    model = of(layers.Conv2D(4, 1, activation="tanh"), layers.LeakyReLU(), layers.PReLU(name="prelu"), layers.Conv2D(2, 1))
    found = graph_of(model)
    assert found.whole == ()
    assert [group.channels for group in Channels(found.graph, found.output).groups] == [4]
    assert isinstance(found.graph.nodes[1].operation, Foreign)
    assert "prelu" in found.layers


def test_an_activation_may_be_given_as_a_layer() -> None:
    from keras import layers

    model = of(layers.Conv2D(4, 1, activation=layers.ReLU(6)), layers.Conv2D(6, 1, activation=layers.LeakyReLU()), layers.Conv2D(2, 1))
    found = graph_of(model)
    assert found.whole == ()
    assert found.graph.nodes[0].operation == g.Convolution(4, (1, 1), padding="valid", norm=False, activation="relu6")
    assert [group.channels for group in Channels(found.graph, found.output).groups] == [4, 6]
    with pytest.raises(ConfigError, match="the activation of learned has weights"):
        graph_of(of(layers.Conv2D(4, 1, activation=layers.PReLU(), name="learned")))


@pytest.mark.parametrize(
    ("function", "activation"),
    [
        ("ops.relu", "relu"),
        ("activations.relu", "relu"),
        ("ops.relu6", "relu6"),
        ("ops.sigmoid", "sigmoid"),
        ("ops.hard_silu", "hard_swish"),
    ],
)
def test_an_activation_may_be_a_function(function: str, activation: str) -> None:
    import keras
    from keras import layers

    module, name = function.split(".")
    given = keras.Input((8, 8, 3))
    made = getattr(getattr(keras, module), name)(layers.Conv2D(4, 1)(given))
    found = graph_of(keras.Model(given, layers.Conv2D(2, 1)(made)))
    assert found.whole == ()
    assert found.graph.nodes[0].operation == g.Convolution(4, (1, 1), padding="valid", norm=False, activation=activation)  # type: ignore[arg-type]


def test_what_is_broadcast_over_channels_is_left_whole() -> None:
    import keras
    from keras import layers

    given = keras.Input((8, 8, 3))
    made = layers.Conv2D(4, 1)(given)
    mask = layers.Conv2D(1, 1, activation="sigmoid")(made)
    for product in (made * mask, mask * made, layers.Multiply()([made, mask])):
        found = graph_of(keras.Model(given, layers.Conv2D(5, 1)(product)))
        assert len(found.whole) == 1
        assert Channels(found.graph, found.output).groups == ()


def test_a_softmax_in_the_middle_keeps_its_channels() -> None:
    import keras
    from keras import layers

    given = keras.Input((8, 8, 3))
    both = layers.Add()([layers.Conv2D(4, 1)(given), layers.Conv2D(4, 1)(given)])
    found = graph_of(keras.Model(given, layers.Conv2D(5, 1)(layers.Softmax()(both))))
    assert Channels(found.graph, found.output).groups == ()
    given = keras.Input((8, 8, 3))
    found = graph_of(keras.Model(given, layers.Conv2D(5, 1)(layers.Conv2D(4, 1, activation="glu", name="gated")(given))))
    assert found.whole == ("gated",)
    assert Channels(found.graph, found.output).groups == ()


def test_a_layer_with_weights_that_is_used_twice_is_an_error() -> None:
    import keras
    from keras import layers

    shared = layers.Conv2D(3, 1, name="shared")
    given = keras.Input((8, 8, 3))
    with pytest.raises(ConfigError, match="uses the layer shared 2 times"):
        graph_of(keras.Model(given, shared(shared(given))))


def test_a_model_that_does_not_say_what_it_is_made_of_is_an_error() -> None:
    import keras

    class Own(keras.Model):  # type: ignore[misc]  # Keras has no types
        pass

    with pytest.raises(ConfigError, match="does not say what it is made of"):
        graph_of(Own())
    with pytest.raises(ConfigError, match="has an input of no fixed size"):
        graph_of(of(keras.layers.Conv2D(3, 1), shape=(None, None, 3)))


def test_a_model_of_two_outputs_is_an_error() -> None:
    import keras

    given = keras.Input((4,))
    model = keras.Model(given, [keras.layers.Dense(2)(given), keras.layers.Dense(3)(given)])
    with pytest.raises(ConfigError, match="has 2 outputs"):
        graph_of(model)
