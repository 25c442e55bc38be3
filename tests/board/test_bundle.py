"""The bundles for arm, on an arm64 kernel, in a root that has neither Python nor a C library: minutes, run by `make test-board`."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from harness.convert.reference import reference_models
from harness.devices import phone
from harness.devices.footing import board_root, environment
from harness.devices.inventory import Device
from harness.devices.provision import agent_archive
from harness.devices.session import Session, lease_path, owner
from harness.devices.ssh import SshTransport
from harness.devices.transport import Transport
from latency_agent.protocol import TimedTask
from tests.board.board import Board
from tests.phone.bundles import kept_bundle

_RUNS = 3


@pytest.mark.parametrize(
    ("architecture", "runtime", "bits", "delegates"),
    [
        ("arm64", "ai-edge-litert", 64, True),
        ("arm64", "tflite-runtime", 64, True),
        ("armhf", "tflite-runtime", 32, False),  # its wheel holds no XNNPACK
    ],
)
def test_a_bundle_runs_on_arm(board: Board, architecture: str, runtime: str, bits: int, delegates: bool) -> None:
    device = replace(board.device, user="phone", runtime=runtime)
    transport = SshTransport(device)
    try:
        assert said(transport, "ls /").split() == ["bin", "data", "dev", "proc", "sys", "system", "tmp"]
        python = install(device, transport, architecture, runtime)
        assert said(transport, f"{python} -I -c 'import struct; print(8 * struct.calcsize(\"P\"))'") == f"{bits}\n"
    finally:
        transport.close()
    with Session.open(device) as session:
        assert session.hello.runtime == runtime
        session.acquire()
        model = reference_models()[0]
        solo = session.solo(model, seed=0, warmup_ns=0, timeout_s=60)
        assert solo.delegated_nodes == (solo.total_nodes if delegates else 0)
        cores = session.placement.cores
        timed = session.timed(TimedTask((session.push(model),), ((0,),), cores, len(cores), 0, 0, (0,), (_RUNS,), (0,), None, 60.0))
    assert len(timed.chunks[0].wall_ns) == _RUNS


def install(device: Device, transport: Transport, architecture: str, runtime: str) -> str:
    """Put a bundle where setup puts one on a phone, and return its Python."""
    root = board_root(device, transport, time.monotonic() + 60)
    agent = f"{root}/{agent_archive().name}"
    transport.push(agent_archive(), agent, time.monotonic() + 60)
    lease = ("--lease", lease_path(device), "--owner", owner())
    phone.install(device, transport, kept_bundle(architecture, runtime), agent, f"{root}/runtimes/{runtime}", lease)
    return environment(root, runtime)


def said(transport: Transport, script: str) -> str:
    done = transport.run(["sh", "-c", script], time.monotonic() + 60)
    assert done.exit == 0, done.stderr.decode()
    return done.stdout.decode()
