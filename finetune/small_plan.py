"""The plan of a training run of a small Mistral: how much, of what, when, at which rates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace

from clinical.finetune.exercises import POOL, Mixture
from clinical.finetune.packed import DRILL

LATER_DRILLS = 0.1
"""The share of drills among the rows of other tasks once they are learned."""


@dataclass(frozen=True)
class Plan:
    """One run. `text_until` is the share of it that reads mostly text; the rest is mostly exercises.

    `tasks` is the share of rows of other tasks than `ner`; until `drills_until` all of them are drills, later a tenth.

    With `adapter_rank` an adapter of that rank (LoRA) on every matrix of the layers is trained, and no weight of the
    model. `copy_weight` is the weight of the plain loss on the answers of `ner`, which is taken on `copy_share` of the
    rows. With `meanings` the embeddings begin with those of MiniLM.
    """

    tokens: int = 400_000_000
    batch_tokens: int = 32_768
    text_until: float = 0.55
    text_before: float = 0.7
    text_after: float = 0.15
    text_length: int = 256
    tasks: float = 0.2
    drills_until: float = 0.3
    muon_lr: float = 0.02
    adam_lr: float = 3e-3
    weight_decay: float = 0.3
    warmup: float = 0.01
    decay: float = 0.6
    last_rate: float = 0.02
    copy_weight: float = 0.1
    copy_share: float = 0.5
    average: float = 0.999
    dropout: float = 0.0
    adapter_rank: int = 0
    meanings: bool = False
    seed: int = 0
    layers: dict[str, float] = field(default_factory=lambda: dict(Mixture().layers))

    @property
    def pools(self) -> int:
        """How many pools of batches the run has."""
        return max(1, round(self.tokens / self.batch_tokens / POOL))

    @property
    def steps(self) -> int:
        """How many steps the run has."""
        return self.pools * POOL

    def stages(self, tasks: Collection[str]) -> list[tuple[float, Mixture]]:
        """Return the mixtures and the shares of the run until which they hold; `tasks` are those that rows are of."""
        found = []
        for until in sorted({self.text_until, self.drills_until, 1.0}):
            early = until <= self.text_until
            share = (min(self.tasks, 0.05) if early else self.tasks) if tasks else 0.0
            drilled = (1.0 if until <= self.drills_until else LATER_DRILLS) if DRILL in tasks else 0.0
            text = self.text_before if early else self.text_after
            found.append(
                (until, Mixture(self.layers, text, share * (1 - drilled), share * drilled, self.text_length))
            )
        return found

    def rate(self, step: int) -> float:
        """Return the share of the full learning rate at this step."""
        warmup = max(1, round(self.warmup * self.steps))
        if step < warmup:
            return (step + 1) / warmup
        return min(1.0, max(self.last_rate, (self.steps - step) / max(1.0, self.decay * self.steps)))


def changed(plan: Plan, settings: Sequence[str], layers: Sequence[str]) -> Plan:
    """Return the plan with `name=value` settings; `layers.NAME=value` sets the share of a layer.

    Raises `ValueError` with what there is for a name or a value that will not do.
    """
    for setting in settings:
        name, _, value = setting.partition("=")
        layer = name.removeprefix("layers.")
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"{setting}: a setting is NAME=NUMBER") from None
        if name.startswith("layers."):
            if layer not in layers:
                raise ValueError(f"no layer {layer!r} in the data; there are: {', '.join(layers)}")
            plan = replace(plan, layers={**plan.layers, layer: number})
        elif name in asdict(plan) and name != "layers":
            plan = replace(plan, **{name: type(getattr(plan, name))(number)})
        else:
            raise ValueError(f"no setting {name!r}; there are: {', '.join(asdict(plan))}.NAME")
    return plan
