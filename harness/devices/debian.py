"""Packages of Debian, of any architecture, fetched by this machine's apt into a folder of their own; nothing is installed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ConfigError, HarnessError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TOOLS = {"apt-get": "apt", "dpkg-deb": "dpkg"}


def fetch(folder: Path, packages: Sequence[str], architecture: str, suite: str) -> dict[str, Path]:
    """Return these packages and all that they need, by name, as files in `folder`; apt checks their signatures and hashes.

    They come from the mirror that this machine's apt uses. Raises ConfigError on a machine without Debian's apt, HarnessError where they
    cannot be had.
    """
    missing = [package for program, package in _TOOLS.items() if shutil.which(program) is None]
    missing += [] if KEYRING.exists() else ["debian-archive-keyring"]
    if missing:
        raise ConfigError("this takes packages of Debian, and there is no apt for them here", f"Debian: apt install {' '.join(missing)}")
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n")
    (folder / "apt.conf").write_text(f"""\
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
""")
    environment = os.environ | {"APT_CONFIG": str(folder / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}
    _run("apt-get", "-qq", "update", environment=environment)
    _run("apt-get", "-qq", "-y", "--download-only", "install", *packages, environment=environment)
    return {path.name.partition("_")[0]: path for path in sorted((folder / "cache" / "archives").glob("*.deb"))}


def unpack(package: Path, folder: Path) -> None:
    """Put the files of a package into a folder. Raises HarnessError where it is damaged."""
    _run("dpkg-deb", "-x", str(package), str(folder))


def _mirror() -> str:
    """Return the address that this machine's own release of Debian comes from."""
    release = platform.freedesktop_os_release()
    own = release.get("VERSION_CODENAME")
    if release["ID"] != "debian":
        raise ConfigError(f"this takes packages of Debian, and this machine runs {release['NAME']}", "do it on one that runs Debian")
    columns = ("--no-release-info", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
    for line in _run("apt-get", "indextargets", *columns).splitlines():
        suite, component, address = line.split()
        if (suite, component) == (own, "main"):
            return address
    raise ConfigError("this takes packages of Debian, and apt's settings here name no mirror of it", "see /etc/apt/sources.list.d")


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise HarnessError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}", "is the mirror that apt uses reachable? apt-get update")
    return done.stdout
