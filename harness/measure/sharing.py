"""Devices that share their models: only those that were found equal may."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from harness.errors import ConfigError
from harness.measure.equal import WITHIN
from harness.measure.rig import Rig
from harness.measure.samples import Subject
from harness.measure.store import Store


def check_equal(store: Store, rigs: Sequence[Rig]) -> None:
    """Raise ConfigError unless each pair of devices was found equal, within WITHIN, under the runtime and settings that they have now."""
    subjects = {rig.device.name: rig.subject(rig.references[0]) for rig in rigs}
    for (one, first), (other, second) in combinations(subjects.items(), 2):
        hint = f"harness devices equal {one} {other}; without --share each measures all"
        if _settings(first) != _settings(second):
            raise ConfigError(f"{one} runs {_settings(first)}, {other} {_settings(second)}: they cannot share models", hint)
        test = store.equivalence(first, second)
        if test is None or not test.equal or test.farthest > WITHIN:
            found = "were never compared" if test is None else f"may be {test.farthest:.1%} apart"
            raise ConfigError(f"{one} and {other} {found} under {_settings(first)}: they cannot share models", hint)


def _settings(subject: Subject) -> str:
    governor = "" if subject.governor is None else f", governor {subject.governor}"
    return f"{subject.runtime} {subject.runtime_version} on core {subject.cores[0]}, threads {subject.threads}{governor}"
