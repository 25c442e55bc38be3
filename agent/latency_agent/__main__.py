"""The agent's command line: `serve` for a session, `worker` for one repetition, and what else `harness` starts there."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

from latency_agent import install, runtime, server, settings, worker
from latency_agent.lease import Lease


def main() -> None:
    """Claim stdout for the protocol, so that nothing a native library prints can reach the wire, then do as told."""
    parser = argparse.ArgumentParser(prog="latency_agent")
    roles = parser.add_subparsers(dest="role", required=True)
    for role in ("serve", "worker"):
        timing = roles.add_parser(role)
        timing.add_argument("--runtime", choices=sorted(runtime.MODULES), required=True)
        timing.add_argument("--root", type=Path)
    for role in ("install", "put", "remove"):
        changing = roles.add_parser(role)
        changing.add_argument("--lease", type=Path, required=True)
        changing.add_argument("--owner", required=True)
        if role == "remove":
            changing.add_argument("--root", type=Path, required=True)
            changing.add_argument("become", nargs="*")
        else:
            changing.add_argument("--sha256", required=True)
            changing.add_argument("--into", type=Path, required=True)
            if role == "install":
                changing.add_argument("--packages", type=Path, required=True)
                changing.add_argument("--system-packages", action="store_true")
            else:
                changing.add_argument("--made", type=Path, required=True)
    guarding = roles.add_parser("guard")
    guarding.add_argument("--journal", type=Path, required=True)
    guarding.add_argument("become", nargs="*")
    options = parser.parse_args()
    if options.role in ("install", "put", "remove"):
        lease = Lease(options.lease, options.owner, secrets.token_hex(16))
        try:
            if options.role == "remove":
                install.remove(options.root, lease, options.become)
            elif options.role == "put":
                install.put(options.made, options.sha256, options.into, lease)
            else:
                install.install(options.packages, options.sha256, options.into, options.system_packages, lease)
        except install.NotDone as error:
            sys.exit(str(error))
        return
    if options.role == "guard":
        settings.guard(options.journal, options.become)
        return
    out_fd = os.dup(1)
    os.dup2(2, 1)
    if options.role == "worker":
        worker.main(options.runtime, out_fd)
    else:
        options.root.mkdir(parents=True, exist_ok=True)
        server.Server(options.runtime, options.root, sys.argv[0], 0, out_fd).serve()


if __name__ == "__main__":
    main()
