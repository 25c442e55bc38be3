"""How fast bytes and requests reach a board over SSH: pushing against `scp`, a request over the open session, a fresh command."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks import figures
from harness.devices.session import Session
from harness.devices.ssh import SshTransport
from tests.devices.sshd import Sshd

SIZE_BYTES = 15 << 20
LEAST_RATIO = 2.0
REQUEST_MS = 0.2
COMMAND_MS = 5.0
PER_ROUND = 50


def main() -> None:
    """Take the rounds, in each of which everything is done in turn, then report."""
    options = figures.arguments(__doc__, count=20)
    state = figures.State("ssh_speed", options)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        sshd = Sshd(folder / "board")
        try:
            measure(options, state, sshd, folder)
        finally:
            sshd.stop()
    report(options, state)


def measure(options: figures.Options, state: figures.State, sshd: Sshd, folder: Path) -> None:
    """Add the rounds that are missing."""
    payload = folder / "payload"
    payload.write_bytes(os.urandom(SIZE_BYTES))
    transport = SshTransport(sshd.device)
    device = replace(sshd.device, runtime="ai-edge-litert", python=sys.executable)
    scp = ["scp", "-q", "-F", str(sshd.config), str(payload), f"{sshd.name}:{folder}/by_scp"]
    with Session.open(device) as session:
        transport.run(["true"], figures.soon())
        for _ in range(len(state.rows("round")), options.count):
            with figures.turn():
                state.add(
                    "round",
                    push_s=figures.taken(lambda: transport.push(payload, f"{folder}/pushed", figures.soon())),
                    scp_s=figures.taken(lambda: subprocess.run(scp, check=True)),
                    request_s=statistics.median(figures.taken(lambda: session.request("hello")) for _ in range(PER_ROUND)),
                    command_s=statistics.median(figures.taken(lambda: transport.run(["true"], figures.soon())) for _ in range(PER_ROUND)),
                    ssh_s=figures.taken(lambda: subprocess.run(["ssh", "-F", str(sshd.config), sshd.name, "true"], check=True)),
                )
    transport.close()


def report(options: figures.Options, state: figures.State) -> None:
    """Print the closing lines."""
    median_s = {name: statistics.median(state.column("round", f"{name}_s")) for name in ("push", "scp", "request", "command", "ssh")}
    ratio = median_s["scp"] / median_s["push"]
    figures.finish(
        options,
        figure=f"push of 15 MiB at {SIZE_BYTES / median_s['push'] / 1e6:.0f} MB/s, {ratio:.1f} times scp",
        compared=f"scp, connecting included, {SIZE_BYTES / median_s['scp'] / 1e6:.0f} MB/s",
        goal=f"at least {LEAST_RATIO:.0f} times its throughput",
        met=ratio >= LEAST_RATIO,
        commits=state.commits(),
    )
    request_ms, command_ms = 1000 * median_s["request"], 1000 * median_s["command"]
    figures.finish(
        options,
        figure=f"a request over the open session {request_ms:.3f} ms, a fresh command {command_ms:.2f} ms",
        compared=f"`ssh board true` {1000 * median_s['ssh']:.0f} ms",
        goal=f"{REQUEST_MS} ms and {COMMAND_MS:.0f} ms or less",
        met=request_ms <= REQUEST_MS and command_ms <= COMMAND_MS,
        commits=state.commits(),
    )


if __name__ == "__main__":
    main()
