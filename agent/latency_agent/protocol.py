"""The wire contract between harness and agent: JSON lines, one object each.

The harness writes requests, `{"id": 1, "op": "hello", "args": {...}}`; the agent answers each with
`{"id": 1, "result": {...}}` or `{"id": 1, "error": {"kind": ..., "message": ..., "stderr_tail": ...}}`, in order. A request
whose op is `ping` is a heartbeat and gets no answer. The agent ends on EOF, and when it has heard nothing
for `HEARTBEAT_TIMEOUT_S`.

Version 2: models may be timed in turn within a chunk. Version 3: room can be made for a model. Version 4: what a phone tells of
its battery and its heat; `hold` sets its settings too, in place of `govern`.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple, Type, TypeVar

VERSION = 5
HEARTBEAT_INTERVAL_S = 2.0
HEARTBEAT_TIMEOUT_S = 20.0

T = TypeVar("T")


@dataclass(frozen=True)
class Hello:
    """Who the agent is: the answer to `hello`. `clock_step_ns` is the smallest step that its clock was seen to take."""

    protocol: int
    python: str
    machine: str
    runtime: str
    runtime_version: str
    clock_step_ns: int
    pid: int


@dataclass(frozen=True)
class Core:
    """One CPU of the device; what the kernel does not tell is None. `siblings` are the hardware threads of its core."""

    index: int
    capacity: Optional[int]
    max_khz: Optional[int]
    cluster: Tuple[int, ...]
    allowed: bool
    siblings: Tuple[int, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What a device is: the answer to `facts`. `machine_id_sha256` hashes the machine or board id.

    `cpuset` is the name of the set of cores that the agent was started in, None where the kernel has no such sets.
    """

    machine_id_sha256: str
    cpu_model: str
    cores: Tuple[Core, ...]
    kernel: str
    os_build: str
    memory_bytes: int
    l2_bytes: Optional[int]
    last_level_cache_bytes: Optional[int]
    cpuset: Optional[str] = None


@dataclass(frozen=True)
class Conditions:
    """How a device is at one moment: the answer to `conditions`. What a machine lacks is None, never zero.

    `cooling_state` is how many steps the kernel holds a core's frequency down for its heat, 0 where it does not. `throttle_flags` are
    those of a Raspberry Pi's firmware (`vcgencmd get_throttled`): bits 0 to 3 what limits it now (voltage, frequency cap, throttling,
    soft temperature limit), bits 16 to 19 what did since it was started. `thermal_status` is how far Android holds the phone back for
    its heat: 0 for not at all, 1 for light, to 6, at which it shuts down. `settings` names what the session has set.
    """

    monotonic_ns: int
    load_1min: Optional[float]
    governor: Optional[str]
    frequency_khz: Optional[int]
    temperature_c: Optional[float]
    battery_percent: Optional[int]
    available_memory_bytes: Optional[int]
    free_disk_bytes: int
    cooling_state: Optional[int] = None
    throttle_flags: Optional[int] = None
    battery_c: Optional[float] = None
    charging: Optional[bool] = None
    thermal_status: Optional[int] = None
    battery_saver: Optional[bool] = None
    settings: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Placement:
    """Which cores a benchmark runs on, and how they were chosen: the answer to `place`."""

    cores: Tuple[int, ...]
    chosen_by: str
    governor: Optional[str]


@dataclass(frozen=True)
class Settings:
    """The answer to `hold`: what was set and will be put back, and what the device does not let one set, with its words."""

    held: Tuple[str, ...]
    refused: Tuple[str, ...]


@dataclass(frozen=True)
class InputShape:
    """The shape to give a dynamic input."""

    name: str
    dims: Tuple[int, ...]


@dataclass(frozen=True)
class ModelFile:
    """A model on the device, addressed by content."""

    sha256: str
    path: str
    shapes: Tuple[InputShape, ...] = ()


@dataclass(frozen=True)
class SoloTask:
    """A repetition that loads one model and nothing else: init, first run, peak memory, outputs."""

    model: ModelFile
    cores: Tuple[int, ...]
    threads: int
    seed: int
    warmup_ns: int
    timeout_s: float


@dataclass(frozen=True)
class TimedTask:
    """A repetition that times several models in one process, chunk by chunk.

    `schedule` holds, entry by entry, indices into `models`. An entry of one model is a chunk; one of several is a chunk of each, their
    samples taken in turn. `chunk_ns` and `chunk_runs` say, per model, how long a chunk lasts at least and how many runs it holds at
    least (of an entry of several the largest counts, as samples of each). `settle_ns` says, per model, for how long runs are discarded
    before a chunk of it, 3 at least; 0: none are. Before samples in turn they always are. In a cold repetition a buffer of
    `flush_bytes` is written before each run; None measures warm.
    """

    models: Tuple[ModelFile, ...]
    schedule: Tuple[Tuple[int, ...], ...]
    cores: Tuple[int, ...]
    threads: int
    seed: int
    warmup_ns: int
    chunk_ns: Tuple[int, ...]
    chunk_runs: Tuple[int, ...]
    settle_ns: Tuple[int, ...]
    flush_bytes: Optional[int]
    timeout_s: float


@dataclass(frozen=True)
class Output:
    """One output tensor of the first run: raw little-endian bytes in base64, its quantization as (scale, zero point)."""

    name: str
    dtype: str
    shape: Tuple[int, ...]
    data_base64: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class SoloResult:
    """The answer to `solo`. `warmup_ns` holds the untimed runs one by one; the estimate rests on none of them.

    `peak_memory_bytes` is what loading and running the model added to the worker's resident memory at its highest.
    """

    init_ns: int
    first_ns: int
    peak_memory_bytes: int
    delegated_nodes: Optional[int]
    total_nodes: Optional[int]
    warmup_ns: Tuple[int, ...]
    outputs: Tuple[Output, ...]
    affinity: Tuple[int, ...]
    wall_ns: int


@dataclass(frozen=True)
class Chunk:
    """Samples of one model, taken one after the other, or in turn with those of the chunks beside it that have the same `start_ns`.

    `wall_ns`, `cpu_ns` and `switches` have one entry a sample; a sample is `repeats` runs and its
    times are theirs together. `discarded_ns` are the runs after the change of model that do not count; of samples in turn, the first
    of each turn.
    """

    model: int
    start_ns: int
    repeats: int
    discarded_ns: Tuple[int, ...]
    wall_ns: Tuple[int, ...]
    cpu_ns: Tuple[int, ...]
    switches: Tuple[int, ...]
    frequency_khz: Optional[int]
    temperature_c: Optional[float]
    steal_ns: Optional[int]


@dataclass(frozen=True)
class Repetition:
    """The answer to `timed`: all samples of one worker process, with what they were taken under."""

    chunks: Tuple[Chunk, ...]
    warmup_ns: Tuple[Tuple[int, ...], ...]
    affinity: Tuple[int, ...]
    before: Conditions
    after: Conditions
    wall_ns: int


def encode(message: Any) -> Any:
    """Return the JSON form of a message of this module: nested dictionaries and lists."""
    return dataclasses.asdict(message)


def decode(kind: Type[T], data: Dict[str, Any]) -> T:
    """Return the message of type `kind` whose JSON form is `data`; raises ValueError where it does not fit."""
    return typing.cast(T, _decode(kind, data, kind.__name__))


def _decode(kind: Any, data: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        if not isinstance(data, dict):
            raise ValueError(f"{where}: expected an object, got {data!r:.80}")
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(data) - set(hints))
        if unknown:
            raise ValueError(f"{where}: unknown fields {unknown}")
        try:
            return typing.cast(Any, kind)(**{name: _decode(hints[name], value, f"{where}.{name}") for name, value in data.items()})
        except TypeError as error:
            raise ValueError(f"{where}: {error}") from None
    origin = typing.get_origin(kind)
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            raise ValueError(f"{where}: expected a list, got {data!r:.80}")
        item = typing.get_args(kind)[0]
        if item is int:
            return tuple(_integers(data, where))
        return tuple(_decode(item, value, where) for value in data)
    if origin is typing.Union:
        return None if data is None else _decode(typing.get_args(kind)[0], data, where)
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (kind is int and isinstance(data, bool)):
        raise ValueError(f"{where}: expected {kind.__name__}, got {data!r:.80}")
    return data


def _integers(data: Any, where: str) -> Any:
    if not all(type(value) is int for value in data):
        raise ValueError(f"{where}: expected integers")
    return data


def seeded_input(shape: Tuple[int, ...], dtype: str, seed: int) -> Any:
    """Return the array that both sides feed to an input of `shape` and `dtype`: numpy, the same for the same seed.

    Floats are uniform in [0, 1), 8-bit integers uniform over their range, wider integers and booleans 0 or 1 (they are indices or
    masks). The legacy generator is used because its stream is frozen across numpy versions.
    """
    import numpy as np

    generator = np.random.RandomState(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return generator.random_sample(shape).astype(kind)
    if kind.itemsize == 1 and kind.kind in "iu":
        limits = np.iinfo(kind)
        return generator.randint(limits.min, limits.max + 1, size=shape).astype(kind)
    return generator.randint(0, 2, size=shape).astype(kind)
