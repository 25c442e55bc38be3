"""A network of its own for a test's board, with a cable that can be pulled out. Needs root."""

from __future__ import annotations

import itertools
import os
import subprocess


def allowed() -> bool:
    """Return whether this user may make networks: root may, but not in every container."""
    name = f"lh{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode == 0
    return made and subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True).returncode == 0


_NUMBERS = itertools.count(1)


class Namespace:
    """A network namespace behind a pair of virtual interfaces; `address` is the board's end."""

    def __init__(self) -> None:
        number = next(_NUMBERS) % 63  # There is room for so many at a time.
        self.name = f"lh{os.getpid()}-{number}"
        self._cable = f"lh{os.getpid() % 100_000}v{number}"
        network = f"10.231.{os.getpid() % 256}"
        self.address = f"{network}.{4 * number + 2}"
        _ip("netns", "add", self.name)
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("addr", "add", f"{network}.{4 * number + 1}/30", "dev", self._cable)
        _ip("link", "set", self._cable, "up")
        for command in (("addr", "add", f"{self.address}/30", "dev", "eth0"), ("link", "set", "eth0", "up"), ("link", "set", "lo", "up")):
            _ip("-n", self.name, *command)

    def plug(self, *, into: bool) -> None:
        """Plug the cable in, or pull it out."""
        _ip("link", "set", self._cable, "up" if into else "down")

    def close(self) -> None:
        _ip("link", "delete", self._cable)
        _ip("netns", "delete", self.name)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
