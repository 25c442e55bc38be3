"""The file system of a phone, put together from Debian's packages: `python -m tests.phone.image FOLDER`.

Debian's adbd and toybox run with their own loader and libraries in /debian, and the shell is static. So no library lies where a
program looks for one: as on Android, what needs glibc has to bring it. A process is named as the loader was called: /debian/as has
a name of the loader for each program.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from harness.devices import debian

SUITE = "trixie"
PACKAGES = ("adbd", "mksh", "toybox")
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_TOYBOX = """\
#!/system/bin/sh
exec "/debian/as/${0##*/}" --library-path /debian/lib --argv0 "${0##*/}" /debian/toybox "$@"
"""
_GETPROP = """\
#!/system/bin/sh
test $# = 0 && exec cat /stand-in/getprop
while read -r line; do
    case $line in "[$1]: ["*) line=${line#"[$1]: ["}; print -r -- "${line%]}"; exit ;; esac
done < /stand-in/getprop
print -r -- "$2"
"""
_DUMPSYS = """\
#!/system/bin/sh
print -r -- "dumpsys $*" >> /stand-in/told
for each in "$*" "$1"; do test -f "/stand-in/dumpsys/$each" && exec cat "/stand-in/dumpsys/$each"; done
print -ru2 -- "Can't find service: $1"
"""
_TOLD = """\
#!/system/bin/sh
told="${0##*/} $*"
print -r -- "$told" >> /stand-in/told
test ! -f "/stand-in/answers/$told" || exec cat "/stand-in/answers/$told"
test ! -f "/stand-in/refusals/$told" || { cat "/stand-in/refusals/$told" >&2; exit 255; }
test "$told" != "svc power stayon true" || set put global stay_on_while_plugged_in 7
kept="/stand-in/settings/$2 $3"
case $told in
    "settings get "*) test -f "$kept" && cat "$kept" || print null ;;
    "settings put "* | "svc power stayon true") rm -f "$kept"; print -r -- "$4" > "$kept" ;;
    "settings delete "*) rm -f "$kept"; print "Deleted 1 rows" ;;
esac
"""
_PROPERTIES = """\
[ro.board.platform]: [zuma]
[ro.build.id]: [AP2A.240805.005]
[ro.build.version.release]: [14]
[ro.build.version.sdk]: [34]
[ro.hardware]: [zuma]
[ro.product.board]: [shiba]
[ro.product.cpu.abi]: [x86_64]
[ro.product.cpu.abilist]: [x86_64]
[ro.product.device]: [shiba]
[ro.product.manufacturer]: [Google]
[ro.product.model]: [Pixel 8]
[ro.serialno]: [37201FDJH003KW]
[sys.boot_completed]: [1]
"""
_BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Dock powered: false
  Max charging current: 500000
  Max charging voltage: 5000000
  Charge counter: 3541000
  status: 2
  health: 2
  present: true
  level: 83
  scale: 100
  voltage: 4213
  temperature: 326
  technology: Li-ion
"""
_THERMAL = """\
IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 2
\tkilled: false
\tbroadcasts count: -1
ThermalStatusListeners:
\tcallbacks: 3
\tkilled: false
\tbroadcasts count: -1
Thermal Status: 0
Cached temperatures:
\tTemperature{mValue=41.0, mType=3, mName=VIRTUAL-SKIN, mStatus=1}
\tTemperature{mValue=39.5, mType=0, mName=BIG, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL AIDL 2  connected: yes
Current temperatures from HAL:
\tTemperature{mValue=25.6, mType=0, mName=AP, mStatus=0}
\tTemperature{mValue=31.25, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
\tTemperature{mValue=32.6, mType=2, mName=battery, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
Temperature static thresholds from HAL:
\tTemperatureThreshold{mType=3, mName=VIRTUAL-SKIN, mHotThrottlingThresholds=[NaN, 39.0, 43.0, 45.0, 46.5, 52.0, 55.0], \
mColdThrottlingThresholds=[NaN, NaN, NaN, NaN, NaN, NaN, NaN]}
"""


def main() -> None:
    """Build the image into the folder that is named."""
    sys.stdout.write(f"{build(Path(sys.argv[1]))}\n")


def build(folder: Path) -> Path:
    """Return the folder that holds a phone's files, made in `folder` unless this script made it there before."""
    tree = folder / f"root-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]}"
    if not tree.exists():
        work = folder.absolute() / "making"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        for path in debian.fetch(work / "apt", PACKAGES, "amd64", SUITE).values():
            debian.unpack(path, work / "packages")
        furnish(work / "root", work / "packages")
        (work / "root").rename(tree)
        shutil.rmtree(work)
    return tree


def furnish(root: Path, packages: Path) -> None:
    """Make a phone's file system of what the packages hold."""
    for part in (
        "data/local/tmp",
        "debian/as",
        "dev",
        "etc",
        "mnt/small",
        "proc",
        "stand-in/answers",
        "stand-in/dumpsys",
        "stand-in/refusals",
        "stand-in/settings",
        "sys",
        "system/bin",
    ):
        (root / part).mkdir(parents=True)
    for part, mode in (("data/local/tmp", 0o771), ("data/local", 0o751), ("data", 0o771)):
        (root / part).chmod(mode)
    os.chown(root / "data/local/tmp", 2000, 2000)
    libraries, own = packages / _LIBRARIES, root / "debian/lib"
    shutil.copytree(libraries, own, symlinks=True, ignore=shutil.ignore_patterns("gconv"))
    shutil.copy(packages / "usr/lib/android-sdk/platform-tools/adbd", root / "debian/adbd")
    shutil.copy(packages / "usr/bin/toybox", root / "debian/toybox")
    commands = root / "system/bin"
    shutil.copy(packages / "usr/bin/mksh-static", commands / "sh")
    (root / "bin").symlink_to("system/bin")
    scripts = {"toybox": _TOYBOX, "getprop": _GETPROP, "dumpsys": _DUMPSYS, "cmd": _TOLD}
    for name, text in scripts.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    loader = [str(own / "ld-linux-x86-64.so.2"), "--library-path", str(own)]
    toys = run(*loader, str(root / "debian/toybox")).split()
    for name in toys:
        (commands / name).symlink_to("toybox")
    for name in ("adbd", "toybox", *toys):
        (root / "debian/as" / name).symlink_to("../lib/ld-linux-x86-64.so.2")
    for name in ("settings", "svc"):
        (commands / name).symlink_to("cmd")
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nshell:x:2000:2000::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nshell:x:2000:\n")
    (root / "stand-in/getprop").write_text(_PROPERTIES)
    (root / "stand-in/dumpsys/battery").write_text(_BATTERY)
    (root / "stand-in/dumpsys/thermalservice").write_text(_THERMAL)
    (root / "stand-in/dumpsys/deviceidle force-idle").write_text("Now forced in to deep idle mode\n")
    (root / "stand-in/dumpsys/deviceidle unforce").write_text("Light state: ACTIVE, deep state: ACTIVE\n")
    (root / "stand-in/settings/global low_power").write_text("0\n")
    (root / "stand-in/settings/global stay_on_while_plugged_in").write_text("0\n")
    (root / "stand-in/settings").chmod(0o777)
    (root / "stand-in/told").touch()
    (root / "stand-in/told").chmod(0o666)


def run(*command: str) -> str:
    """Run a command to its end and return what it wrote."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


if __name__ == "__main__":
    main()
