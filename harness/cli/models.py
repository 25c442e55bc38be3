"""`harness models`: the networks that the harness knows, beside what was published of them."""

from __future__ import annotations

import click

from harness.cli import options


@click.command()
@options.as_json
def models(as_json: bool) -> None:
    """List the networks of the zoo beside what was published.

    Parameters and mult-adds are counted from a network's blocks; parameters are the trained ones. A network without a count was only
    published: papers compare with it.
    """
    from harness.networks.catalogue import listed

    found = listed()
    if as_json:
        from harness.report.encode import to_json

        options.print_json(to_json(found))
        return
    from harness.report import table

    options.console().print(table.networks_table(found))
