"""A kernel and a small root file system of an arm64 board, put together from Debian's packages: `python -m tests.board.image FOLDER`.

Its user `phone` has a root of its own, in which there is a static shell, and neither Python nor a C library.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from harness.devices import debian

TOOLS = {
    "qemu-system-aarch64": "qemu-system-arm",
    "dtc": "device-tree-compiler",
    "cpio": "cpio",
}
PACKAGES = ("linux-image-arm64", "openssh-server", "python3", "libstdc++6", "busybox-static")
UNPACKED = (
    "busybox-static",
    "libaudit1",
    "libbz2-1.0",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libcom-err2",
    "libcrypt1",
    "libexpat1",
    "libffi8",
    "libgcc-s1",
    "libgcrypt20",
    "libgpg-error0",
    "libgssapi-krb5-2",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "liblz4-1",
    "liblzma5",
    "libnsl2",
    "libpam0g",
    "libpcre2-8-0",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libselinux1",
    "libssl3",
    "libstdc++6",
    "libsystemd0",
    "libtirpc3",
    "libuuid1",
    "libwrap0",
    "libzstd1",
    "openssh-server",
    "openssh-sftp-server",
    "python3.11",
    "python3.11-minimal",
    "zlib1g",
)
"""What runs on the board; the rest that apt fetches with it is for boards that are installed."""

MODULES = ("virtio_mmio", "virtio_net", "cpufreq_dt", "bcm2835_thermal")
_WITHOUT = (
    "usr/share",
    "usr/lib/python3.11/test",
    "usr/lib/python3.11/idlelib",
    "usr/lib/python3.11/lib2to3",
    "usr/lib/python3.11/pydoc_data",
    "usr/lib/python3.11/distutils",
)
_INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /proc /sys /dev /tmp /run/sshd /home /root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o size=75%,mode=755 home /home
mkdir -p /home/board && chown 1000:1000 /home/board
mkdir -p /home/phone/bin /home/phone/data/local/tmp /home/phone/tmp /home/phone/proc /home/phone/sys /home/phone/dev
cp /bin/busybox /home/phone/bin && chroot /home/phone /bin/busybox --install -s /bin
mkdir /home/phone/system && ln -s ../bin /home/phone/system/bin
chown 2000:2000 /home/phone/data/local/tmp && chmod 1777 /home/phone/tmp
for each in proc sys dev; do mount -o bind /$each /home/phone/$each; done
for module in $(cat /modules/order); do insmod /modules/$module; done
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
test -x /setup && /setup
exec /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config
"""


def main() -> None:
    """Build the image into the folder that is named."""
    kernel, root = build(Path(sys.argv[1]))
    sys.stdout.write(f"{kernel} {root}\n")


def check_tools() -> None:
    """Fail with what to install where a program is missing."""
    missing = sorted(package for program, package in TOOLS.items() if shutil.which(program) is None)
    assert not missing, f"the arm64 board needs: apt install {' '.join(missing)}"


def build(folder: Path) -> tuple[Path, Path]:
    """Return a kernel and an initramfs, made in `folder` unless this script made them there before."""
    check_tools()
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    kernel, initramfs = folder / f"kernel-{key}", folder / f"root-{key}.cpio.gz"
    if not initramfs.exists():
        folder.mkdir(parents=True, exist_ok=True)
        work = folder.absolute() / "making"
        shutil.rmtree(work, ignore_errors=True)
        debs = debian.fetch(work / "apt", PACKAGES, "arm64", "bookworm")
        tree = work / "root"
        for name in UNPACKED:
            debian.unpack(debs[name], tree)
        image = next(path for name, path in debs.items() if name.startswith("linux-image-6"))
        debian.unpack(image, work / "kernel")
        furnish(tree, work / "kernel")
        (vmlinuz,) = (work / "kernel" / "boot").glob("vmlinuz-*")
        shutil.copy(vmlinuz, kernel)
        pack(tree, initramfs)
        shutil.rmtree(work)
    return kernel, initramfs


def furnish(tree: Path, kernel: Path) -> None:
    """Make a root file system of what the packages hold."""
    for part in _WITHOUT:
        shutil.rmtree(tree / part, ignore_errors=True)
    library = tree / "usr/lib/python3.11"
    # The board could compile it too, and does all else: an emulated core takes seconds for that.
    run(sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(tree), str(library))
    (tree / "usr/bin/python3").symlink_to("python3.11")
    (tree / "init").write_text(_INIT)
    (tree / "init").chmod(0o755)
    etc = tree / "etc"
    (etc / "passwd").write_text(
        "root:*:0:0:root:/root:/bin/sh\nsshd:*:100:65534::/run/sshd:/bin/false\nboard:*:1000:1000::/home/board:/bin/sh\n"
        "phone:*:2000:1000::/data/local/tmp:/bin/sh\n"
    )
    (etc / "group").write_text("root:x:0:\nboard:x:1000:\nnogroup:x:65534:\n")
    (etc / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (etc / "os-release").write_text('PRETTY_NAME="Debian test board"\n')
    (etc / "ssh/sshd_config").write_text("""\
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PasswordAuthentication no
UsePAM no
StrictModes no
UseDNS no
ClientAliveInterval 5
ClientAliveCountMax 2
Subsystem sftp internal-sftp
Match User phone
ChrootDirectory /home/phone
""")
    modules = tree / "modules"
    modules.mkdir()
    order = module_order(next((kernel / "lib/modules").iterdir()))
    for path in order:
        shutil.copy(path, modules / path.name)
    (modules / "order").write_text("".join(f"{path.name}\n" for path in order))


def module_order(folder: Path) -> list[Path]:
    """Return the files of MODULES and what they need, each behind what it needs."""
    files = {path.name.partition(".")[0].replace("-", "_"): path for path in folder.rglob("*.ko*")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = files.get(name)  # what is built in has no file
        if path is None or path in order:
            return
        told = subprocess.run(["modinfo", "-F", "depends", str(path)], check=True, capture_output=True, text=True).stdout
        for needed in told.strip().split(","):
            add(needed.replace("-", "_"))
        order.append(path)

    for name in MODULES:
        add(name)
    return order


def pack(tree: Path, to: Path) -> None:
    """Write a folder as a compressed cpio archive, everything in it root's."""
    names = "\n".join([".", *sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))])
    command = ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"]
    done = subprocess.run(command, input=names.encode(), cwd=tree, check=True, stdout=subprocess.PIPE)
    draft = to.with_suffix(".draft")
    draft.write_bytes(gzip.compress(done.stdout, 1))
    draft.replace(to)


def run(*command: str) -> None:
    """Run a command to its end."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


if __name__ == "__main__":
    main()
