"""One repetition in an invocation of its own: `python -m benchmarks.one_repetition MODEL FOLDER` prints its median in nanoseconds."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import rigs


def main() -> None:
    """Measure the model once, with the store in the folder."""
    name, folder = sys.argv[1:]
    (model,) = rigs.models([name])
    with rigs.rig(Path(folder)) as rig:
        print(rigs.repetition_ns(rig, model, rigs.typical_ns(rig, model)))


if __name__ == "__main__":
    main()
