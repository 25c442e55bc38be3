"""Networks known by name: `mobilenet_v2`, `mobilenet_v2:width=0.5,resolution=160`."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Any

from harness.errors import ConfigError
from harness.networks.weights import spread

SEED = 0
WIDTHS = (0.1, 4.0)
RESOLUTION = 224


@dataclass(frozen=True)
class Application:
    """What stands for a name: a constructor of keras.applications, its fixed arguments and what it can be asked for."""

    constructor: str
    arguments: tuple[tuple[str, bool], ...] = ()
    has_width: bool = False
    resolutions: tuple[int, int] = (32, 1024)


_V3 = (("include_preprocessing", False),)

APPLICATIONS = {
    "mobilenet_v1": Application("MobileNet", has_width=True),
    "mobilenet_v2": Application("MobileNetV2", has_width=True),
    "mobilenet_v3_large": Application("MobileNetV3Large", _V3, has_width=True),
    "mobilenet_v3_large_minimalistic": Application("MobileNetV3Large", (*_V3, ("minimalistic", True)), has_width=True),
    "mobilenet_v3_small": Application("MobileNetV3Small", _V3, has_width=True),
    "mobilenet_v3_small_minimalistic": Application("MobileNetV3Small", (*_V3, ("minimalistic", True)), has_width=True),
    "nasnet_a_mobile": Application("NASNetMobile"),
    "resnet_50": Application("ResNet50"),
    # The first dense layer grows with the square of the resolution: beyond 320 the file nears the 2 GiB that a .tflite can be.
    "vgg_16": Application("VGG16", resolutions=(32, 320)),
}


@dataclass(frozen=True)
class ZooName:
    """A named network at one width and resolution; equal where the network is."""

    name: str
    width: float = 1.0
    resolution: int = RESOLUTION

    def __str__(self) -> str:
        """Return the canonical text: options at their defaults are left out."""
        options = []
        if self.width != 1.0:
            options.append(f"width={self.width!r}")
        if self.resolution != RESOLUTION:
            options.append(f"resolution={self.resolution}")
        return f"{self.name}:{','.join(options)}" if options else self.name


def names() -> tuple[str, ...]:
    """Return the known names, sorted."""
    return tuple(sorted(APPLICATIONS))


def parse(text: str) -> ZooName:
    """Return the network that `text` names; raises ConfigError where there is none such."""
    name, colon, rest = text.partition(":")
    application = APPLICATIONS.get(name)
    if application is None:
        close = difflib.get_close_matches(name, APPLICATIONS, n=1)
        guess = f"Did you mean {close[0]}? " if close else ""
        raise ConfigError(f"unknown network {name!r}", f"{guess}Known: {', '.join(names())}. A file or folder is given by its path.")
    known = ("width", "resolution") if application.has_width else ("resolution",)
    options: dict[str, str] = {}
    for item in rest.split(",") if colon else ():
        key, equals, value = item.partition("=")
        if not equals or key not in known or key in options:
            what = "is given twice" if key in options else "is not an option"
            raise ConfigError(f"{text}: {item!r} {what} of {name}", f"Known options: {', '.join(f'{option}=NUMBER' for option in known)}.")
        options[key] = value
    return ZooName(
        name, _width(text, options.get("width", "1")), _resolution(text, application, options.get("resolution", str(RESOLUTION)))
    )


def _width(text: str, value: str) -> float:
    try:
        width = float(value)
    except ValueError:
        width = math.nan
    if not WIDTHS[0] <= width <= WIDTHS[1]:
        raise ConfigError(f"{text}: width {value!r} is not a number from {WIDTHS[0]} to {WIDTHS[1]}", "For example width=0.5.")
    return width


def _resolution(text: str, application: Application, value: str) -> int:
    low, high = application.resolutions
    if not (value.isascii() and value.isdecimal() and len(value) < 10 and low <= int(value) <= high):
        raise ConfigError(f"{text}: resolution {value!r} is not a whole number from {low} to {high}", "For example resolution=160.")
    return int(value)


def build(zoo: ZooName) -> Any:
    """Return the Keras model, its weights random but the same each time. Loads TensorFlow."""
    import keras

    application = APPLICATIONS[zoo.name]
    arguments: dict[str, Any] = dict(application.arguments)
    if application.has_width:
        arguments["alpha"] = zoo.width
    keras.backend.clear_session()
    keras.utils.set_random_seed(SEED)
    shape = (zoo.resolution, zoo.resolution, 3)
    model = getattr(keras.applications, application.constructor)(input_shape=shape, weights=None, **arguments)
    spread(model)
    return model
