"""Searches that outgrow one machine: children trained as tasks of a Ray cluster, candidates measured by whichever host has the device.

Ray is the extra `ray`. A cluster starts by `ray start --head` on one host; others join it by `harness worker`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.errors import ConfigError, TrainingFailed
from harness.networks.space import Tokens
from harness.search.run import Quality
from harness.training.isolated import MOST

LOOKED_AFTER_S = 30.0
"""How long a task is waited for before its host is looked after."""

_ONLY_HERE = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
"""By it Ray listens on the loopback interface alone, on Linux too. It must be there before Ray is imported, and no host can join then."""

_START = "start one: ray start --head"
DEVICE = "device:"
"""Before a device's name it names the resource of a host that has it, of which there is one."""


def load_ray() -> Any:
    """Return Ray; raises ConfigError where it is not installed."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's default to come, of which it warns otherwise
    try:
        import ray
    except ImportError:
        raise ConfigError("Ray is not installed", "pip install 'latency-harness[ray]'") from None
    return ray


def use_token() -> None:
    """Let Ray authenticate by this user's token where there is one, as `ray start` does: a cluster that has one refuses all others."""
    known = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ or (Path.home() / ".ray" / "auth_token").exists()
    if known:
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def check_reached(address: str) -> None:
    """Raise ConfigError where nothing listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=LOOKED_AFTER_S).close()
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Ray cluster at {address}: {error}", _START) from None


def join(address: str, cpus: int | None = None) -> None:
    """Connect this process to a cluster, unless it is; `local` starts one of this machine alone, with so many processors.

    Raises ConfigError where there is none.
    """
    if address == "local":
        os.environ.setdefault(*_ONLY_HERE)
    else:
        use_token()
    ray = load_ray()
    if ray.is_initialized():
        return
    if ":" in address:
        check_reached(address)  # Ray itself would try for minutes
    alone = {"include_dashboard": False, "num_cpus": cpus} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **alone)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"no Ray cluster at {address}: {str(error).splitlines()[0]}", _START) from None


class OnRay:
    """A quality that is evaluated by tasks of a cluster, as many at once as have their processors and GPUs there.

    A task whose process ends unasked, as where memory runs out, has failed; one whose host is lost is tried once more elsewhere.
    """

    def __init__(self, make: Callable[[], Quality], address: str = "auto", *, cpus: float = 1, gpus: float | None = None) -> None:
        """Take what makes the quality in a process of the cluster, and what each task needs there; one GPU, if the cluster has any.

        Raises ConfigError without a cluster, and where none of its hosts has as much.
        """
        join(address)
        ray = load_ray()
        gpus = float("GPU" in ray.cluster_resources()) if gpus is None else gpus
        self._needs = {"CPU": cpus, "GPU": gpus}
        self._check()
        self._key, self._make = uuid4().hex, [ray.put(make)]  # in a list: a task that has made its quality fetches it no more
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=MOST)(_evaluated)

    def each(self, candidates: Sequence[Tokens]) -> Iterator[tuple[Tokens, float | TrainingFailed]]:
        """Yield each candidate with its quality, or why it has none, as soon as it is known."""
        ray = load_ray()
        waiting = {self._task.remote(self._key, self._make, tokens): (tokens, 1) for tokens in candidates}
        while waiting:
            ended, _ = ray.wait(list(waiting), num_returns=1, timeout=LOOKED_AFTER_S)
            if not ended:
                self._check()
                continue
            (done,) = ended
            tokens, tries = waiting.pop(done)
            try:
                value, failure = ray.get(done)
            except ray.exceptions.NodeDiedError:
                if tries:
                    waiting[self._task.remote(self._key, self._make, tokens)] = (tokens, tries - 1)
                    continue
                yield tokens, TrainingFailed("its host was lost, twice", "are the cluster's hosts well?")
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
                yield tokens, TrainingFailed("its process was killed, as happens where memory runs out", "a smaller batch may fit")
            else:
                yield tokens, value if failure is None else TrainingFailed(failure)

    def _check(self) -> None:
        """Raise ConfigError where no host that is there has all that a task takes: it would wait for ever."""
        alive = [node["Resources"] for node in load_ray().nodes() if node["Alive"]]
        if not any(all(host.get(name, 0.0) >= count for name, count in self._needs.items()) for host in alive):
            wanted = " and ".join(f"{count:g} {name}" for name, count in self._needs.items() if count)
            there = "; ".join(f"{host.get('CPU', 0.0):g} CPU, {host.get('GPU', 0.0):g} GPU" for host in alive) or "none"
            raise ConfigError(f"no host of the Ray cluster has {wanted}, which a trial takes", f"its hosts: {there}")


_qualities: dict[str, Quality] = {}
"""What was made in this process of the cluster for one search: the last one alone."""


def _evaluated(key: str, make: list[Any], tokens: Tokens) -> tuple[float, str | None]:
    if key not in _qualities:
        _qualities.clear()
        _qualities[key] = load_ray().get(make[0])()
    try:
        return float(_qualities[key](tokens)), None
    except TrainingFailed as error:
        return 0.0, str(error)
