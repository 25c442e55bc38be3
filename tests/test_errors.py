"""Errors that come from other processes."""

from __future__ import annotations

import pickle

import pytest

from harness import errors
from harness.errors import ConfigError, DeviceError, HarnessError, MissingBlock


def every(kind: type[HarnessError]) -> list[type[HarnessError]]:
    return [kind, *(one for each in kind.__subclasses__() if each.__module__ == errors.__name__ for one in every(each))]


@pytest.mark.parametrize("kind", every(HarnessError), ids=lambda kind: kind.__name__)
def test_an_error_is_the_same_in_another_process(kind: type[HarnessError]) -> None:
    if issubclass(kind, MissingBlock):
        error: HarnessError = kind(("conv@1x1x1",), "pi4", "measure it")
    elif issubclass(kind, DeviceError):
        error = kind("pi4", "it is off", "switch it on", "its last words")
    else:
        error = kind("a file is wrong", "right it")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), vars(again)) == (str(error), vars(error))


def test_every_error_is_there() -> None:
    assert {ConfigError, DeviceError, MissingBlock} < set(every(HarnessError))
