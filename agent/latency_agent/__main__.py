"""The agent's command line: `serve` for a session, `worker` for one repetition."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from latency_agent import runtime, server, worker


def main() -> None:
    """Claim stdout for the protocol, so that nothing a native library prints can reach the wire, then serve."""
    parser = argparse.ArgumentParser(prog="latency_agent")
    parser.add_argument("role", choices=("serve", "worker"))
    parser.add_argument("--runtime", choices=sorted(runtime.MODULES), required=True)
    parser.add_argument("--root", type=Path)
    options = parser.parse_args()
    out_fd = os.dup(1)
    os.dup2(2, 1)
    if options.role == "worker":
        worker.main(options.runtime, out_fd)
    else:
        options.root.mkdir(parents=True, exist_ok=True)
        server.Server(options.runtime, options.root, sys.argv[0], 0, out_fd).serve()


if __name__ == "__main__":
    main()
