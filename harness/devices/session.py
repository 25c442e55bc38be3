"""A session: one live agent on one device, spoken to by one thread, under the device's lease."""

from __future__ import annotations

import getpass
import hashlib
import json
import platform
import secrets
import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.convert.model import Model
from harness.devices.footing import PHONE_HOME, footing
from harness.devices.inventory import Device
from harness.devices.provision import agent_archive
from harness.devices.pushed import PushedModels
from harness.devices.transport import Stream, Transport, open_transport
from harness.errors import (
    AgentDied,
    AgentError,
    ConfigError,
    DeviceBusy,
    DeviceError,
    ProtocolMismatch,
    RemoteFailure,
    TimedOut,
    UnstableConditions,
)
from latency_agent import protocol
from latency_agent.protocol import Conditions, Facts, Hello, ModelFile, Placement, Repetition, Settings, SoloResult, SoloTask, TimedTask

REQUEST_TIMEOUT_S = 20.0
_START_TIMEOUT_S = 60.0
_GOVERNOR = "performance"
"""What the agent sets where it may."""
_GRACE_S = 10.0
_ALIVE_TIMEOUT_S = 5.0
_LINK_TIMEOUT_S = 15.0
_LEASE = "latency-harness.lease"

_ERRORS: dict[str, type[DeviceError]] = {
    "Busy": DeviceBusy,
    "DiskFull": RemoteFailure,
    "GovernorError": UnstableConditions,
    "NoLease": DeviceBusy,
    "PermissionError": RemoteFailure,
    "WorkerDied": AgentDied,
    "WorkerHung": TimedOut,
}
_HINTS = {
    "DiskFull": "free some, or take away what the harness put there: harness setup DEVICE --remove",
    "GovernorError": (
        "the user must be let do this without a password (visudo: USER ALL=(root) NOPASSWD: /usr/bin/tee "
        "/sys/devices/system/cpu/cpu[0-9]/cpufreq/scaling_governor, and the same of scaling_min_freq and scaling_max_freq for "
        "frequency_khz), or take `become` and `frequency_khz` out of devices.toml"
    ),
    "FrequencyError": "set `frequency_khz` of this device in devices.toml to a frequency that its core has, and let it cool",
    "CoreError": "set `core` of this device in devices.toml to an allowed core, or ask for fewer threads",
    "ImportError": "set `runtime` or `python` of this device in devices.toml to what it has",
    "MemoryError": "the model needs more memory than the device has free",
    "ModelError": "the runtime's own words are above: it lacks an operator, or a version of one; another runtime or precision may have it",
    "NoLease": "run the same command again: what was measured is stored",
    "PhoneError": "restart the phone, then run the same command again",
    "PermissionError": "if another user left the file behind, let them or root remove it",
    "TamperedModel": "is its disk sound, and nothing else writing to the harness's folder there? the same command pushes it again",
    "WorkerDied": "the runtime crashed on this model; the last lines it printed are stored with the failure",
    "WorkerHung": "if the model is that slow, give it more time: harness bench MODEL --max-time S",
}


class Session:
    """A live agent; `facts` and `placement` say where it measures, `settings` what was set there since it holds the lease."""

    def __init__(self, device: Device, transport: Transport, stream: Stream) -> None:
        self.device = device
        self._transport = transport
        self._stream = stream
        self._requests = 0
        self._models = PushedModels(
            device.name, transport, lambda operation, args, timeout_s: self.request(operation, args, timeout_s=timeout_s)
        )
        self._closing = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, daemon=True, name=f"{device.name} heartbeat")
        self._heartbeat.start()
        self.hello: Hello
        self.facts: Facts
        self.placement: Placement
        self.agent_sha256: str
        self.holder: str | None = None
        self.settings = Settings((), ())

    @classmethod
    def open(
        cls,
        device: Device,
        *,
        threads: int = 1,
        announce: Callable[[str], None] | None = None,
    ) -> Self:
        """Return a session whose agent answers and is placed on its cores; it measures once it holds the lease, see `acquire`.

        `announce` is told, in one line, before something takes long. Raises ProtocolMismatch, AgentError for a core that may not be
        used, and the errors of the transport.
        """
        if device.transport == "local" and platform.system() != "Linux":
            raise ConfigError(
                f"{device.name}: this machine runs {platform.system()}; only Linux can be measured on",
                "measure on a board or phone instead: [devices.NAME] in devices.toml",
            )
        archive = agent_archive()
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest not in archive.name:
            raise ConfigError(f"{archive} is damaged", "remove it: it is made again")
        transport = open_transport(device)
        try:
            stream = cls._start(device, transport, archive, digest, announce)
        except BaseException:
            transport.close()
            raise
        session = cls(device, transport, stream)
        try:
            session.agent_sha256 = digest
            hello = session.request("hello", timeout_s=_START_TIMEOUT_S)
            if hello.get("protocol") != protocol.VERSION:
                raise ProtocolMismatch(
                    device.name,
                    f"the agent speaks protocol {hello.get('protocol')}, the harness {protocol.VERSION}",
                    "is the harness installed whole? its agent comes with it",
                )
            session.hello = protocol.decode(Hello, hello)
            session.facts = protocol.decode(Facts, session.request("facts"))
            placement = protocol.decode(Placement, session.request("place", {"threads": threads, "core": device.core}))
            governed = device.become is not None and placement.governor is not None
            locked = "" if device.frequency_khz is None else f" at {device.frequency_khz} kHz"
            session.placement = replace(placement, governor=_GOVERNOR + locked) if governed else placement
        except BaseException:
            session.close()
            raise
        return session

    @staticmethod
    def _start(device: Device, transport: Transport, archive: Path, digest: str, announce: Callable[[str], None] | None) -> Stream:
        """Return the agent's process on the device, the agent pushed there unless it was."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        where = footing(device, transport, deadline, announce)
        deadline = time.monotonic() + _START_TIMEOUT_S  # an environment that was made on the way took its own time
        remote_archive = f"{where.root}/{archive.name}"
        if not transport.run(["sha256sum", remote_archive], deadline).stdout.startswith(digest.encode()):
            transport.push(archive, remote_archive, deadline)
        command = [where.python, "-I", remote_archive, "serve", "--runtime", where.runtime, "--root", where.root]
        return transport.stream(command, deadline)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def occupied_cores(self) -> frozenset[int]:
        """This machine's cores that nothing else may run on, the measured ones with their hardware siblings; none for other machines."""
        if self.device.transport != "local":
            return frozenset()
        measured = set(self.placement.cores)
        return frozenset(measured.union(*(core.siblings for core in self.facts.cores if core.index in measured)))

    @property
    def fingerprint(self) -> str:
        """What names the device itself: hashed board id, CPU model, cores with capacities, kernel and OS build."""
        facts = self.facts
        cores = [(core.index, core.capacity, core.max_khz) for core in facts.cores]
        text = json.dumps([facts.machine_id_sha256, facts.cpu_model, cores, facts.kernel, facts.os_build])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def acquire(
        self,
        *,
        token: str | None = None,
        replaces: str | None = None,
        wait_s: float = 20.0,
        waiting: Callable[[str], None] | None = None,
    ) -> None:
        """Take the device's lease, and set what calms it: a phone's settings, and where devices.toml says how (`become`) its governor.

        Sessions with the same `token` share a lease: two runtimes on one machine. `replaces` is the `holder` of a lost session with this
        token: its agent may still measure, and is ended.

        Raises DeviceBusy when another session still holds it after `wait_s`, which is longer than a dead session's lease lives.
        """
        token = token or secrets.token_hex(16)
        deadline = time.monotonic() + wait_s
        while True:
            try:
                answer = self.request("acquire", {"path": lease_path(self.device), "owner": owner(), "token": token, "replaces": replaces})
            except DeviceBusy as busy:
                if time.monotonic() > deadline:
                    busy.hint = "wait for it to finish: two sessions on one device would disturb each other"
                    raise
                if waiting is not None:
                    waiting(busy.message)
                time.sleep(0.5)
            else:
                break
        self.holder = str(answer["holder"])
        become = shlex.split(self.device.become or "")
        if become or self.device.transport == "adb":
            wanted = {"cores": self.placement.cores if become else (), "frequency_khz": self.device.frequency_khz, "become": become}
            self.settings = protocol.decode(Settings, self.request("hold", wanted, timeout_s=_START_TIMEOUT_S))

    def conditions(self) -> Conditions:
        """Return how the device is now."""
        return protocol.decode(Conditions, self.request("conditions", {"core": self.placement.cores[0]}))

    def solo(self, model: Model, *, seed: int, warmup_ns: int, timeout_s: float) -> SoloResult:
        """Return init time, first run, peak memory and outputs of `model` from a process that loads nothing else."""
        task = SoloTask(
            model=self.push(model),
            cores=self.placement.cores,
            threads=len(self.placement.cores),
            seed=seed,
            warmup_ns=warmup_ns,
            timeout_s=timeout_s,
        )
        return protocol.decode(SoloResult, self.request("solo", protocol.encode(task), timeout_s=timeout_s + _GRACE_S))

    def timed(self, task: TimedTask) -> Repetition:
        """Return the samples of a repetition."""
        return protocol.decode(Repetition, self.request("timed", protocol.encode(task), timeout_s=task.timeout_s + _GRACE_S))

    def push(self, model: Model) -> ModelFile:
        """Return where the model lies on the device, pushed there unless its bytes already were."""
        return self._models.place(model)

    def push_ahead(self, model: Model) -> None:
        """Begin to push a model while others are measured, where the device is another machine."""
        if self.device.transport != "local":
            self._models.send_ahead(model)

    def request(self, operation: str, arguments: dict[str, Any] | None = None, *, timeout_s: float = REQUEST_TIMEOUT_S) -> dict[str, Any]:
        """Return the agent's result for `operation`; its errors are raised as the harness's own."""
        self._requests += 1
        deadline = time.monotonic() + timeout_s
        line = json.dumps({"id": self._requests, "op": operation, "args": arguments or {}}).encode() + b"\n"
        self._stream.send(line, deadline)
        said = self._stream.receive(deadline)
        try:
            answer = json.loads(said)
        except ValueError:
            raise AgentError(self.device.name, f"the agent's answer cannot be read: {said[:80]!r}") from None
        if answer["id"] != self._requests:
            raise ProtocolMismatch(
                self.device.name,
                f"the agent answered request {answer['id']} instead of {self._requests}",
                "run the same command again: what was measured is stored",
            )
        if "error" in answer:
            error = answer["error"]
            kind = _ERRORS.get(error["kind"], AgentError)
            raise kind(self.device.name, error["message"], _HINTS.get(error["kind"], ""), error["stderr_tail"])
        return dict(answer["result"])

    def alive(self) -> bool:
        """Return whether the agent still answers."""
        try:
            self.request("hello", timeout_s=_ALIVE_TIMEOUT_S)
        except DeviceError:
            return False
        return True

    def close(self) -> None:
        """End the agent, which gives the lease back, and let go of the device."""
        self._closing.set()
        self._models.stop()
        self._heartbeat.join()
        self._stream.close(time.monotonic() + _GRACE_S)
        self._transport.close()
        self._models.close()

    def _beat(self) -> None:
        line = json.dumps({"id": 0, "op": "ping"}).encode() + b"\n"
        while not self._closing.wait(protocol.HEARTBEAT_INTERVAL_S):
            try:
                self._stream.send(line, time.monotonic() + protocol.HEARTBEAT_TIMEOUT_S)
                self._transport.probe(time.monotonic() + _LINK_TIMEOUT_S)
            except DeviceError:
                # The request under way meets the same dead stream and tells of it.
                return


def lease_path(device: Device) -> str:
    """Return the path of a device's lease, one for all its users; the agent opens it without following links."""
    return f"{PHONE_HOME if device.transport == 'adb' else '/tmp'}/{_LEASE}"  # noqa: S108


def owner() -> str:
    """Return who measures, as others who wait for the device are told."""
    return f"{getpass.getuser()}@{platform.node()}"
