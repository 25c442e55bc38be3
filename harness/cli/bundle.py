"""`harness bundle`: what a device without Python needs, in one file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("architecture")
@click.option("--runtime", help="The runtime in it. Default: ai-edge-litert where it has wheels, else tflite-runtime.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The file. Default: RUNTIME-ARCHITECTURE.tar, here.")
def bundle(architecture: str, runtime: str | None, output: Path | None) -> None:
    """Make a bundle for ARCHITECTURE: arm64, armhf or amd64.

    It holds Python, numpy and a runtime, made of Debian's packages and of wheels, with their licences, and runs from any folder, without
    root. `harness setup PHONE` makes the one that it needs itself; a machine without apt is given one: harness setup PHONE --bundle FILE.
    """
    from harness.devices import bundle as bundles
    from harness.files import whole_file

    made = bundles.bundle_for(architecture, runtime, lambda line: click.echo(line, err=True))
    kind = bundles.described(made)
    target = output or Path(f"{kind.runtime}-{kind.architecture}.tar")
    with whole_file(target) as draft:
        draft.write_bytes(made.read_bytes())
    click.echo(f"wrote {target}: {kind.runtime} for {kind.architecture}, {made.stat().st_size / 1e6:.1f} MB", err=True)
