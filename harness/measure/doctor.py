"""Whether a device is fit to measure on: check by check, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median

from harness.convert.reference import reference_models
from harness.devices.inventory import load_inventory
from harness.devices.obstacles import barred_cores, thermal
from harness.devices.session import Session
from harness.files import StrPath
from harness.measure import plan, stats
from harness.measure.affinity import kept_off
from harness.measure.result import Check
from latency_agent.protocol import Conditions, Facts, Placement, Repetition, Settings, SoloResult

_LEAST_DISK_BYTES = 1 << 30
_LEAST_MEMORY_BYTES = 512 << 20
_COARSEST_CLOCK_NS = 1000
_HOTTEST_C = 70.0
_LOWEST_BATTERY_PERCENT = 30
_BUSY_SHARE = 0.02
_UNSTEADY_SPREAD = 0.02
_CHUNKS = 20


def doctor(device: str | None = None, *, inventory: StrPath | None = None) -> tuple[Check, ...]:
    """Return what was looked at on the device, each with what was found and, where it is not well, what to do.

    Takes the device's lease and runs the mobile reference model for about a second.
    """
    found = load_inventory(inventory).device(device)
    with ExitStack() as stack:
        session = stack.enter_context(Session.open(found))
        stack.enter_context(kept_off(session.occupied_cores))
        session.acquire()
        before = session.conditions()
        reference = reference_models()[0]
        solo = session.solo(reference, seed=plan.SEED, warmup_ns=plan.WARMUP_NS, timeout_s=60)
        pushed = session.push(reference)
        repetition = session.timed(
            plan.timed_task(
                (pushed,), (), ((0,),) * _CHUNKS, cores=session.placement.cores, chunk_ns=0, chunk_runs=0, flush=None, timeout_s=60
            )
        )
    limit_c = found.temperature_limit_c or _HOTTEST_C
    return (
        _core(session),
        *_cpuset(session.facts, session.placement),
        _governor(before, phone=found.transport == "adb"),
        *(_settings(session.settings) if found.transport == "adb" else ()),
        _temperature(before, limit_c),
        *_heat(before),
        _battery(before),
        *_power(before),
        _load(repetition),
        _steadiness(repetition),
        _steal(repetition),
        _clock(session),
        _runtime(session, solo),
        _memory(before),
        _disk(before),
    )


def _core(session: Session) -> Check:
    placement = session.placement
    told = any(core.max_khz is not None for core in session.facts.cores) or len({core.capacity for core in session.facts.cores}) > 1
    return Check(
        "core",
        ok=True if told else None,
        found=f"core {placement.cores[0]} ({placement.chosen_by})",
        advice="" if told else "the kernel tells of no big core; name one with `core` in devices.toml if you know better",
    )


def _cpuset(facts: Facts, placement: Placement) -> Iterator[Check]:
    if (barred := barred_cores(facts, placement)) is not None:
        yield Check("cpuset", ok=False, found=barred, advice="what is measured is a smaller core: only root may move it elsewhere")


def _settings(made: Settings) -> Iterator[Check]:
    for refusal in made.refused:
        yield Check("settings", ok=False, found=refusal, advice="the phone does not allow it: keep it cool, and look at the verdict")
    if made.held:
        yield Check("settings", ok=True, found=", ".join(made.held), advice="")


def _governor(now: Conditions, *, phone: bool = False) -> Check:
    if now.governor is None:
        return Check("governor", None, "the kernel shows no frequency governor", "a virtual machine's frequency is its host's affair")
    fit = now.governor == "performance"
    if phone and "fixed performance mode" in now.settings:
        return Check("governor", ok=True, found=f"{now.governor}, in fixed performance mode", advice="")
    become = (
        'become = "su 0" lets the harness set it on a rooted phone'
        if phone
        else 'become = "sudo -n" for this device in devices.toml lets the harness set it'
    )
    return Check("governor", fit, now.governor, "" if fit else become)


def _temperature(now: Conditions, limit_c: float) -> Check:
    if now.temperature_c is None:
        return Check("temperature", None, "the kernel shows no thermal zone", "throttling shows in the samples alone")
    fit = now.temperature_c <= limit_c
    return Check("temperature", fit, f"{now.temperature_c:.0f} C", "" if fit else f"let it cool below {limit_c:.0f} C")


def _heat(now: Conditions) -> Iterator[Check]:
    status = now.thermal_status
    if status is not None:
        yield Check("thermal status", status == 0, thermal(status), "let it cool, out of its case and off its charger" if status else "")


def _battery(now: Conditions) -> Check:
    if now.battery_percent is None:
        return Check("battery", ok=True, found="none", advice="")
    fit = now.battery_percent >= _LOWEST_BATTERY_PERCENT
    return Check("battery", fit, f"{now.battery_percent}%", "" if fit else "charge it: many devices slow down on a low battery")


def _power(now: Conditions) -> Iterator[Check]:
    if now.charging is not None:
        advice = "that warms it: let it charge to the full first, or reach it over Wi-Fi" if now.charging else ""
        yield Check("charging", not now.charging, "yes" if now.charging else "no", advice)
    if now.battery_saver is not None:
        advice = "it holds the phone back: switch it off" if now.battery_saver else ""
        yield Check("battery saver", not now.battery_saver, "on" if now.battery_saver else "off", advice)


def _load(repetition: Repetition) -> Check:
    flags = [bool(flag) for chunk in repetition.chunks for flag in stats.disturbed(chunk, 1)]
    share = sum(flags) / len(flags)
    fit = share <= _BUSY_SHARE
    load = repetition.before.load_1min
    found = f"{share:.1%} of samples disturbed" + ("" if load is None else f", load {load:.2f}")
    return Check(
        "other load", fit, found, "" if fit else "something else runs on this core: stop it, or name another `core` in devices.toml"
    )


def _steadiness(repetition: Repetition) -> Check:
    latencies = [stats.chunk_latency_ns(chunk, 1) for chunk in repetition.chunks]
    middle = median(latencies)
    spread = median(abs(latency - middle) for latency in latencies) / middle
    fit = spread <= _UNSTEADY_SPREAD
    return Check(
        "steadiness",
        fit,
        f"the reference model varies by {spread:.1%}",
        "" if fit else "expect wide intervals; `harness aa MODEL` tells how wide",
    )


def _steal(repetition: Repetition) -> Check:
    stolen = [chunk.steal_ns for chunk in repetition.chunks if chunk.steal_ns is not None]
    if not stolen:
        return Check("steal", None, "the kernel does not tell", "")
    share = sum(stolen) / repetition.wall_ns
    fit = share <= _BUSY_SHARE
    return Check(
        "steal", fit, f"{share:.1%} of the time", "" if fit else "the hypervisor gives this core to others: use a dedicated machine"
    )


def _clock(session: Session) -> Check:
    step_ns = session.hello.clock_step_ns
    fit = step_ns <= _COARSEST_CLOCK_NS
    return Check("clock", fit, f"steps of {step_ns} ns", "" if fit else "short models need a finer clock; check the kernel's clocksource")


def _runtime(session: Session, solo: SoloResult) -> Check:
    hello = session.hello
    delegated = solo.delegated_nodes == solo.total_nodes
    return Check(
        "runtime",
        delegated,
        f"{hello.runtime} {hello.runtime_version} on Python {hello.python}, {solo.delegated_nodes}/{solo.total_nodes} operators delegated",
        "" if delegated else "the XNNPACK delegate is not applied: expect the latencies of slower kernels",
    )


def _memory(now: Conditions) -> Check:
    free = now.available_memory_bytes
    if free is None:
        return Check("memory", None, "the kernel does not tell", "")
    fit = free >= _LEAST_MEMORY_BYTES
    return Check("memory", fit, f"{free / 2**30:.1f} GiB available", "" if fit else "close other programs")


def _disk(now: Conditions) -> Check:
    fit = now.free_disk_bytes >= _LEAST_DISK_BYTES
    return Check("free disk", fit, f"{now.free_disk_bytes / 2**30:.1f} GiB", "" if fit else "free at least 1 GiB for models")
