"""Blocks by the names that the latency tables of ProxylessNAS and Once-for-All give them.

`expanded_conv-input:112x112x24-output:56x56x32-expand:144-kernel:3-stride:2-idskip:0-se:0-hs:0`: OFA's tables name MobileNetV3's blocks,
`expand` being the expanded channels (Cai et al. 2020); those of ProxylessNAS end at `idskip`, and `expand` is the ratio (Cai et al. 2019).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from harness.errors import ConfigError
from harness.networks.blocks import Block, Conv, DenseLayer, GlobalPool, MBConv, block_costs
from harness.networks.graph import Activation, Shape, text_of

Flavour = Literal["ofa", "proxylessnas"]
FLAVOURS: tuple[Flavour, ...] = ("ofa", "proxylessnas")

Placed = tuple[Block, tuple[Shape, ...]]
"""A block and the shapes of its inputs."""

_NAME = re.compile(r"(?P<kind>\w+)-input:(?P<input>\d+(x\d+)*)-output:(?P<output>\d+(x\d+)*)(?P<rest>(-\w+:\d+)*)")
_MOST = 10**6
"""Of any number in a name: what is larger is none of a network."""
_ACTIVATIONS: dict[Flavour, Activation] = {"ofa": "hard_swish", "proxylessnas": "relu6"}


def flavour_of(names: Sequence[str]) -> Flavour:
    """Return whose names these are.

    Only OFA's say of blocks whether there is squeeze-and-excitation; without any blocks OFA's are those with a pooling, a second 1x1
    convolution or a dense layer.
    """
    if blocks := [name for name in names if name.startswith("expanded_conv-")]:
        return "ofa" if any("-se:" in name for name in blocks) else "proxylessnas"
    return "ofa" if any(name.startswith(("AvgPool2D-", "Conv_2-", "Logits-")) for name in names) else "proxylessnas"


def name_of(kind: str, given: Sequence[int], output: Sequence[int], **settings: float) -> str:
    """Return a name from its parts, as OFA's and ProxylessNAS's own code puts it together."""
    parts = [kind, f"input:{text_of(tuple(given))}", f"output:{text_of(tuple(output))}"]
    return "-".join(parts + [f"{setting}:{int(value)}" for setting, value in settings.items()])


def block_named(name: str, flavour: Flavour) -> Placed | None:
    """Return the block that a name stands for and its inputs' shapes; None where none of ours is the same."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    given, output = (tuple(map(int, match[part].split("x"))) for part in ("input", "output"))
    settings = {key: int(value) for key, value in (part.split(":") for part in match["rest"].split("-")[1:])}
    sizes = [*given, *output, *(settings.get(key, 1) for key in ("kernel", "stride", "expand"))]
    if not all(0 < size <= _MOST for size in sizes):
        return None
    placed = _placed(match["kind"], given, output, settings, flavour)
    if placed is None:
        return None
    try:
        made, _ = block_costs(*placed)
    except ConfigError:
        return None
    return placed if made in (output, output[2:]) else None


def _placed(kind: str, given: Shape, output: Shape, settings: dict[str, int], flavour: Flavour) -> Placed | None:
    filters, activation = output[-1], _ACTIVATIONS[flavour]
    if kind == "expanded_conv":
        made = _mbconv(given, output, settings, flavour)
        return None if made is None else (made, (given,))
    if settings:
        return None
    if kind == "Conv":
        return Conv(filters, (3, 3), (2, 2), activation=activation), (given,)
    if kind in ("Conv_1", "Conv_2"):
        return Conv(filters, activation=activation), (given,)
    if kind == "AvgPool2D":
        return GlobalPool(), (given,)
    if kind == "Logits" and given[:-1] in ((1, 1), ()):  # on a larger map it is ProxylessNAS's, which counts the pooling in
        return DenseLayer(filters), (given[-1:],)
    return None


def _mbconv(given: Shape, output: Shape, settings: dict[str, int], flavour: Flavour) -> MBConv | None:
    ours = flavour == "ofa"
    if set(settings) != {"expand", "kernel", "stride", "idskip", *(("se", "hs") if ours else ())}:
        return None
    channels, expand = given[-1], settings["expand"]
    expansion = expand / channels if ours else float(expand)
    block = MBConv(output[-1], (settings["kernel"],) * 2, (settings["stride"],) * 2, expansion)
    if ours:
        activation: Activation = "hard_swish" if settings["hs"] else "relu"
        block = replace(block, se=0.25 if settings["se"] else 0.0, se_of="expanded", gate="hard_sigmoid", activation=activation)
    else:
        block = replace(block, activation="relu6")
    if ours and block.expanded(channels) != expand:
        return None
    alike = given == output and settings["stride"] == 1
    if settings["idskip"]:
        return block if alike else None
    return replace(block, skip="none") if alike else block


def name_for(block: Block, inputs: tuple[Shape, ...], flavour: Flavour) -> str | None:
    """Return the name of a block on inputs of these shapes; None where the names of that flavour have none for it."""
    if len(inputs) != 1:
        return None
    (given,) = inputs
    output, _ = block_costs(block, inputs)
    name = None
    if isinstance(block, MBConv):
        name = _mbconv_name(block, given, output, flavour)
    elif isinstance(block, Conv) and block.kernel == (1, 1):
        name = name_of("Conv_2" if given[:2] == (1, 1) else "Conv_1", given, output)
    elif isinstance(block, Conv):
        name = name_of("Conv", given, output)
    elif isinstance(block, GlobalPool) and flavour == "ofa":
        name = name_of("AvgPool2D", given, (1, 1, *output))
    elif isinstance(block, DenseLayer) and flavour == "ofa":
        name = name_of("Logits", (1, 1, *given), output)
    if name is None:
        return None
    found = block_named(name, flavour)
    return name if found is not None and _same(found[0], block) else None


def _mbconv_name(block: MBConv, given: Shape, output: Shape, flavour: Flavour) -> str | None:
    if len({*block.kernel}) > 1 or len({*block.stride}) > 1 or block.skip == "pool":
        return None
    added = block.skip == "identity" and given == output
    common = {"kernel": block.kernel[0], "stride": block.stride[0], "idskip": added}
    if flavour == "proxylessnas":
        return name_of("expanded_conv", given, output, expand=block.expansion, **common)
    flags = {"se": bool(block.se), "hs": block.activation == "hard_swish"}
    return name_of("expanded_conv", given, output, expand=block.expanded(given[-1]), **common, **flags)


def _same(one: Block, other: Block) -> bool:
    """Return whether two blocks compute the same; what squeeze-and-excitation would be does not count where there is none."""
    return _plain(one) == _plain(other)


def _plain(block: Block) -> Block:
    if not isinstance(block, MBConv):
        return block
    shown = replace(block, skip="identity")
    return shown if block.se else replace(shown, se_of="input", gate="sigmoid")


def flavour_of_config(config: Mapping[str, Any]) -> Flavour:
    """Return whose network a configuration describes: OFA's alone expand once more in the end."""
    return "ofa" if "final_expand_layer" in config else "proxylessnas"


def layer_names(config: Mapping[str, Any], image_size: int) -> Iterator[str]:
    """Yield the names of the layers of a network's configuration, as OFA and ProxylessNAS write them beside their weights.

    Raises ConfigError where it is none.
    """
    try:
        yield from _layers(config, image_size)
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"this is no configuration of a network of OFA or ProxylessNAS: {error!r}", "give its net.config") from None


def _layers(config: Mapping[str, Any], image_size: int) -> Iterator[str]:
    size = (image_size + 1) // 2
    yield name_of("Conv", (image_size, image_size, 3), (size, size, config["first_conv"]["out_channels"]))
    ours = flavour_of_config(config) == "ofa"
    for block in config["blocks"]:
        layer = block["mobile_inverted_conv"] if "mobile_inverted_conv" in block else block["conv"]
        if layer is None or layer.get("name") == "ZeroLayer":
            continue
        ratio, channels = layer["expand_ratio"], layer["in_channels"]
        made = (size - 1) // layer["stride"] + 1
        settings = {"kernel": layer["kernel_size"], "stride": layer["stride"], "idskip": block["shortcut"] is not None}
        if ours:
            ratio = layer["mid_channels"] or round(channels * ratio)
            settings |= {"se": layer["use_se"], "hs": layer["act_func"] == "h_swish"}
        yield name_of("expanded_conv", (size, size, channels), (made, made, layer["out_channels"]), expand=ratio, **settings)
        size = made
    last = config["final_expand_layer"] if ours else config["feature_mix_layer"]
    yield name_of("Conv_1", (size, size, last["in_channels"]), (size, size, last["out_channels"]))
    if ours:
        mixed = config["feature_mix_layer"]
        yield name_of("AvgPool2D", (size, size, last["out_channels"]), (1, 1, last["out_channels"]))
        yield name_of("Conv_2", (1, 1, mixed["in_channels"]), (1, 1, mixed["out_channels"]))
        size = 1
    yield name_of("Logits", (size, size, config["classifier"]["in_features"]), (config["classifier"]["out_features"],))
