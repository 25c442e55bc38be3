"""What a pruning is asked to do, and what it tells under way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from harness.errors import ConfigError
from harness.prune.netadapt import Budgets
from harness.prune.resources import Kind
from harness.prune.saliency import Diagonal

Method = Literal["magnitude", "obd", "netadapt", "morphnet"]
UNSTRUCTURED: tuple[Method, ...] = ("magnitude", "obd")


@dataclass(frozen=True)
class Asked:
    """How a model is to be pruned.

    `keep` is the share of weights to keep (magnitude, obd); instead magnitude takes thresholds of `quality` times a kernel's standard
    deviation, or such that each kernel by itself costs no more than `loss` of accuracy. `target` is the amount of the `resource` to have
    (netadapt, morphnet: latency in ms, mult-adds or parameters). `rounds` of `epochs` follow one another, for netadapt steps of `batches`
    for each cut; in the end the model is trained for `final_epochs`. A model that comes untrained is trained for `dense_epochs` first. What
    starts from new weights is trained at `dense_rate`, not at the recipe's.
    """

    method: Method
    keep: float | None = None
    quality: float | None = None
    loss: float | None = None
    resource: Kind = "latency"
    target: float | None = None
    rounds: int = 5
    epochs: int = 1
    batches: int = 50
    final_epochs: int = 10
    dense_epochs: int = 20
    strength: float = 10.0
    hessian: Diagonal = "gauss-newton"
    dense_rate: float = 0.05
    budgets: Budgets = field(default_factory=Budgets)
    seed: int = 0

    @property
    def multiple(self) -> int:
        """What widths are multiples of: of the budgets' where channels cost latency, of 1 where they are counted."""
        return self.budgets.multiple if self.resource == "latency" else 1

    def __post_init__(self) -> None:
        if self.method in UNSTRUCTURED:
            given = [name for name in ("keep", "quality", "loss") if getattr(self, name) is not None]
            if self.method == "obd" and given != ["keep"]:
                raise ConfigError("obd ranks all weights by their saliency", "give the share to keep, and nothing else")
            if len(given) != 1:
                raise ConfigError(f"magnitude is given {' and '.join(given) or 'nothing'} to keep by", "give one of keep, quality and loss")
            if self.keep is not None and not 0 < self.keep < 1:
                raise ConfigError(f"the share to keep is {self.keep:g}", "expected: a number between 0 and 1")
        elif self.target is None:
            raise ConfigError(f"{self.method} cuts channels down to a target", "give it")
        elif self.method == "morphnet" and not self.final_epochs:
            raise ConfigError("morphnet ends in a network of new weights", "give it epochs to train them")


@dataclass(frozen=True)
class Told:
    """What is happening: a phase such as `round 2 of 5`, how far it is, and what it has come to."""

    phase: str
    done: int
    total: int
    about: str = ""
