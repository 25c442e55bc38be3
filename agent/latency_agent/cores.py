"""Which core to measure on, and staying there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Collection, List, Optional, Sequence, Set, Tuple

from latency_agent.protocol import Core, Placement

SYSFS = Path("/sys")


class CoreError(Exception):
    """The wanted core may not be used; the text names those that may."""


def read_text(path: Path) -> Optional[str]:
    """Return the stripped text of a file of /proc or /sys, None where the kernel has or shows none."""
    try:
        return path.read_text().strip("\x00 \n")
    except OSError:
        return None


def read_int(path: Path) -> Optional[int]:
    """Return the number in a file of /proc or /sys, None where there is none."""
    text = read_text(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def parse_cpu_list(text: str) -> Tuple[int, ...]:
    """Return the CPUs of a kernel list such as `0-3,6` (or `0 1 2`, as cpufreq writes them)."""
    cpus: List[int] = []
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


def read_cores(allowed: Collection[int], sysfs: Path = SYSFS) -> Tuple[Core, ...]:
    """Return the device's online cores with what the kernel tells of each; `allowed` holds those that the agent was started on."""
    cpu_root = sysfs / "devices/system/cpu"
    online = read_text(cpu_root / "online")
    found = []
    for index in parse_cpu_list(online) if online else sorted(allowed):
        folder = cpu_root / f"cpu{index}"
        policy = parse_cpu_list(read_text(folder / "cpufreq/related_cpus") or "")
        package = parse_cpu_list(read_text(folder / "topology/package_cpus_list") or "")
        found.append(
            Core(
                index=index,
                capacity=read_int(folder / "cpu_capacity"),
                max_khz=read_int(folder / "cpufreq/cpuinfo_max_freq"),
                # PCs have a frequency policy for each core, which makes no cluster of it.
                cluster=policy if len(policy) > 1 else package or (index,),
                allowed=index in allowed,
                siblings=parse_cpu_list(read_text(folder / "topology/thread_siblings_list") or ""),
            )
        )
    return tuple(found)


def governor(core: int, sysfs: Path = SYSFS) -> Optional[str]:
    """Return the frequency governor of a core."""
    return read_text(sysfs / f"devices/system/cpu/cpu{core}/cpufreq/scaling_governor")


def place(cores: Sequence[Core], threads: int, wanted: Optional[int] = None, sysfs: Path = SYSFS) -> Placement:
    """Return the cores for `threads` threads: the biggest ones of one cluster, or those of the core that the user wants.

    Raises CoreError, naming the cores that may be used, where there are too few or the wanted one is not among them.
    """
    allowed = [core for core in cores if core.allowed]
    names = ", ".join(str(core.index) for core in allowed)
    if wanted is not None and wanted not in {core.index for core in allowed}:
        raise CoreError(f"core {wanted} may not be used; allowed: {names}")
    rooms = {core.index: [other for other in allowed if other is core or other.index in core.cluster] for core in allowed}
    most = max(len(room) for index, room in rooms.items() if wanted in (None, index))
    if most < threads:
        whose = "the largest" if wanted is None else f"core {wanted}'s"
        raise CoreError(f"{threads} threads need {threads} cores of one cluster; {whose} has {most}; allowed: {names}")
    if wanted is None:
        fitting = [core for core in allowed if len(rooms[core.index]) >= threads]
        first = max(fitting, key=_size)
        chosen_by = _reason(fitting, first)
        if len(fitting) < len(allowed):
            chosen_by += f" in a cluster of {threads}"
    else:
        first = next(core for core in allowed if core.index == wanted)
        chosen_by = "named by the user"
    # Hardware threads of one core come last: they share its units.
    taken: Set[int] = set(first.siblings)
    ranked = []
    for core in sorted((core for core in rooms[first.index] if core is not first), key=_size, reverse=True):
        ranked.append((core.index in taken, core.index))
        taken.update(core.siblings)
    chosen = (first.index, *(index for _, index in sorted(ranked, key=lambda entry: entry[0])[: threads - 1]))
    return Placement(cores=chosen, chosen_by=chosen_by, governor=governor(first.index, sysfs))


def _size(core: Core) -> Tuple[int, int, int]:
    # Among equals the highest index: the first core serves most interrupts.
    return core.capacity or 0, core.max_khz or 0, core.index


def _reason(allowed: Sequence[Core], first: Core) -> str:
    if first.capacity is not None and any(core.capacity != first.capacity for core in allowed):
        return "largest cpu_capacity"
    if first.max_khz is not None and any(core.max_khz != first.max_khz for core in allowed):
        return "highest maximum frequency"
    return "any allowed core: the kernel tells of no difference"


def pin(cores: Sequence[int]) -> Tuple[int, ...]:
    """Pin this process to `cores` and return the affinity read back; raises CoreError where the kernel refuses."""
    try:
        os.sched_setaffinity(0, cores)
    except OSError as error:
        allowed = ", ".join(str(core) for core in sorted(os.sched_getaffinity(0)))
        raise CoreError(f"cores {list(cores)} may not be used ({error.strerror}); allowed: {allowed}") from None
    found = tuple(sorted(os.sched_getaffinity(0)))
    if set(found) != set(cores):
        raise CoreError(f"asked for cores {list(cores)}, the kernel gave {list(found)}: the cpuset allows no more")
    return found
