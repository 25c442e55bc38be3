"""The command group: loads a command's file when it is called, and prints errors in one place."""

from __future__ import annotations

import importlib

import click

from harness.cli.options import print_error
from harness.errors import DeviceError, HarnessError

_MODULES = {
    "bench": "harness.cli.bench",
    "compare": "harness.cli.compare",
    "aa": "harness.cli.compare",
    "doctor": "harness.cli.doctor",
    "results": "harness.cli.results",
    "models": "harness.cli.models",
    "table": "harness.cli.table",
    "search": "harness.cli.search",
    "prune": "harness.cli.prune",
    "worker": "harness.cli.worker",
    "devices": "harness.cli.devices",
    "setup": "harness.cli.setup",
    "bundle": "harness.cli.bundle",
    "trust": "harness.cli.trust",
    "init": "harness.cli.init",
}
_KEPT = {
    "bench": ": what was measured is stored; the same command goes on from there",
    "compare": ": what was measured is stored; the same command goes on from there",
    "aa": ": what was measured is stored; the same command goes on from there",
    "table": ": what was measured is stored; the same command goes on from there",
    "search": ": what was tried is stored; the same command goes on from there",
    "prune": ": each step is stored; the same command goes on from there",
}
_INTERRUPTED = 130
"""What a shell reports for a program that SIGINT ended."""


class Commands(click.Group):
    """The commands of `_MODULES`, in that order; each is the object of its own name in its module."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help page."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Return the command, imported now, or None where there is none of that name."""
        if cmd_name not in _MODULES:
            return None
        command = getattr(importlib.import_module(_MODULES[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what it raises for its user is printed here, and nowhere else."""
        try:
            return super().invoke(ctx)
        except HarnessError as error:
            print_error(error.message, error.hint, error.stderr_tail if isinstance(error, DeviceError) else "")
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo(f"\ninterrupted{_KEPT.get(ctx.invoked_subcommand or '', '')}", err=True)
            ctx.exit(_INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="latency-harness", prog_name="harness")
def cli() -> None:
    """Measure how long neural networks take on the devices they will run on.

    `harness init` writes a device inventory, `harness doctor` says whether a device is fit to measure on,
    `harness bench MODEL` measures.
    """


def main() -> None:
    """Run the command line and exit: 0 done, 1 an error that is printed, 2 wrong usage, 130 interrupted."""
    cli(prog_name="harness")
