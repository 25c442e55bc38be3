"""The devices of an inventory as they are found now."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from harness.devices.inventory import Device
from harness.devices.obstacles import obstacles
from harness.devices.provision import runtime_is_there
from harness.devices.session import Session
from harness.errors import HarnessError
from latency_agent.protocol import Conditions, Facts, Hello, Placement

DEADLINE_S = 15.0


@dataclass(frozen=True)
class Found:
    """What a device's agent says of it: who it is, what it has, where it would measure, and how it is at this moment.

    `obstacles` are what keeps it from measuring well.
    """

    hello: Hello
    facts: Facts
    placement: Placement
    conditions: Conditions
    obstacles: tuple[str, ...]


@dataclass(frozen=True)
class Surveyed:
    """A device of the inventory; `found` is None where it could not be looked at, for the reason in `problem`."""

    device: Device
    found: Found | None
    problem: str | None


def survey(devices: Sequence[Device], deadline_s: float = DEADLINE_S) -> tuple[Surveyed, ...]:
    """Return each device as it is found, all looked at beside each other; whichever has not answered after `deadline_s` is said not to.

    No lease is taken: what measures there meanwhile goes on.
    """
    answers: dict[str, Surveyed] = {}
    threads = [threading.Thread(target=_look, args=(device, answers), daemon=True, name=f"{device.name} survey") for device in devices]
    until = time.monotonic() + deadline_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    late = f"did not answer within {deadline_s:.0f} s"
    return tuple(answers.get(device.name) or Surveyed(device, None, late) for device in devices)


def _look(device: Device, answers: dict[str, Surveyed]) -> None:
    if device.transport == "local" and device.python is None and not runtime_is_there(device.runtime):
        answers[device.name] = Surveyed(device, None, "its runtime's environment is made when it is first measured on")
        return
    try:
        with Session.open(device) as session:
            facts, placement, now = session.facts, session.placement, session.conditions()
            found = Found(session.hello, facts, placement, now, tuple(obstacles(facts, placement, now)))
    except HarnessError as error:
        answers[device.name] = Surveyed(device, None, "; ".join(line for line in (error.message, error.hint) if line))
    else:
        answers[device.name] = Surveyed(device, found, None)
