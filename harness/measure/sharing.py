"""Devices that share their models: only those that were found equal may."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from harness.errors import ConfigError
from harness.measure.rig import Rig
from harness.measure.store import Store


def check_equal(store: Store, rigs: Sequence[Rig]) -> None:
    """Raise ConfigError unless each pair of devices was found equal under the runtime and settings that they have now."""
    subjects = {rig.device.name: rig.subject(rig.references[0]) for rig in rigs}
    for (one, first), (other, second) in combinations(subjects.items(), 2):
        test = store.equivalence(first, second)
        if test is None or not test.equal:
            found = "were never compared" if test is None else f"may be {test.farthest:.1%} apart, beyond {test.within:.1%},"
            settings = f"{second.runtime} {second.runtime_version}, {second.threads} thread{'s' if second.threads > 1 else ''}"
            raise ConfigError(
                f"{one} and {other} {found} under {settings}: they cannot share models",
                f"harness devices equal {one} {other}; without --share each measures all",
            )
