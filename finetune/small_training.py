"""Trains a small Mistral on a packed file, in pieces that end when their minutes do and go on where they ended.

    python -m clinical.finetune.small_training --data build/mini --out build/run --size 8x320 --minutes 8.5 --resume

The same line again goes on, until the run is complete.

Needs torch, numpy and safetensors, no more (transformers writes the model when the run is complete). Muon for the
matrices and AdamW for the rest (Jordan et al. 2024), constant rate and then linear decay, and the moving average of
the weights as the result. On a GPU it computes in bfloat16 and compiled. On a CPU, a run in pieces ends with the very
weights of a run in one.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from clinical.finetune.exercises import COPY, POOL, Batch, Mixture, batches, held_out
from clinical.finetune.network import Network
from clinical.finetune.packed import DRILL, Packed
from clinical.finetune.provenance import history, provenance, write_history
from clinical.finetune.sizes import SIZES, Size, size_of
from clinical.finetune.small_adapter import CARD, rank_of, read_adapter, write_adapter

LATER_DRILLS = 0.1
"""The share of drills among the rows of other tasks once they are learned."""

CHECKPOINT = "checkpoint.pt"
EMBEDDING = "model.embed_tokens.weight"


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


class Trainer:
    """Model, optimizers and average, as they stand after `step` steps."""

    def __init__(
        self, plan: Plan, size: Size, packed: Packed, device: str, compiled: bool, bfloat16: bool
    ) -> None:
        self.plan, self.size, self.packed, self.device = plan, size, packed, device
        self.step = 0
        self.network = Network(size, plan.seed, plan.dropout).to(device)
        if plan.meanings:
            take_meanings(self.network, torch.from_numpy(packed.arrays["meanings"]))
        if plan.adapter_rank:
            self.network.adapt(plan.adapter_rank, plan.seed)
        self._trained = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        self._forward = torch.compile(self.network, dynamic=True) if compiled else self.network
        self._autocast = (lambda: torch.autocast(device, torch.bfloat16)) if bfloat16 else nullcontext
        self._optimizers = self._made_optimizers()
        self._average = self._weights()
        columns = [*packed.opening, *packed.closing]
        self._tags = torch.tensor(columns, device=device)

    def _made_optimizers(self) -> list[torch.optim.Optimizer]:
        matrices = [p for name, p in self._trained.items() if p.ndim == 2 and "embed" not in name]
        rest = [p for name, p in self._trained.items() if p.ndim != 2 or "embed" in name]
        plan = self.plan
        made: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=plan.muon_lr, weight_decay=plan.weight_decay)
        ]
        if rest:
            fused = self.device == "cuda"
            adam = torch.optim.AdamW(rest, lr=plan.adam_lr, betas=(0.9, 0.95), weight_decay=0.01, fused=fused)
            made.append(adam)
        return made

    def _weights(self) -> list[torch.Tensor]:
        """Return a copy of what is trained."""
        return [p.detach().clone() for p in self._trained.values()]

    def start_from(self, folder: Path) -> None:
        """Take over the weights of a model folder of `transformers`."""
        from safetensors.torch import load_file

        weights = load_file(folder / "model.safetensors")
        weights = {name: weight.float() for name, weight in weights.items()}
        if self.plan.adapter_rank:  # which begins anew
            weights |= {name: p.detach() for name, p in self._trained.items()}
        self.network.load_state_dict(weights)
        self._average = self._weights()

    def go_on_from(self, adapter: Path) -> None:
        """Take over the matrices of an adapter that `write_adapter` wrote."""
        begun = read_adapter(adapter)
        self.network.load_state_dict({**self.network.state_dict(), **begun})
        self._average = self._weights()

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the losses of a batch by name, in nats: `text`, `drill`, `task`, or `ner` and `copy`."""
        with self._autocast():
            states = self._forward(self._tensor(batch.ids)).flatten(0, 1)
            if batch.kind != "ner":
                return {batch.kind: self._plain(states, batch, batch.predict)}
            found = {"ner": self._decisions(states, batch)}
            share = batch.predict[: round(len(batch.predict) * self.plan.copy_share)]
            if self.plan.copy_weight and len(share):
                found["copy"] = self._plain(states, batch, share)
            return found

    def _plain(self, states: torch.Tensor, batch: Batch, predict: np.ndarray[Any, Any]) -> torch.Tensor:
        places = self._tensor(predict)
        logits = states[places - 1] @ self.network.embedding.T
        return functional.cross_entropy(logits.float(), self._tensor(batch.ids).flatten()[places].long())

    def _decisions(self, states: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the mean cross-entropy of the decisions, each among its options."""
        log = self._log_probabilities(states, batch)
        decision, column = self._tensor(batch.wanted_at).long().T
        return -(self._tensor(batch.wanted) * log[decision, column]).sum() / len(batch.places)

    def _log_probabilities(self, states: torch.Tensor, batch: Batch) -> torch.Tensor:
        at = states[self._tensor(batch.places) - 1]
        embedding = self.network.embedding
        copy = (at * embedding[self._tensor(batch.copies)]).sum(-1, keepdim=True)
        scores = torch.cat((copy, at @ embedding[self._tags].T), -1).float()
        options = self.options(batch)
        return scores.masked_fill(~options, float("-inf")).log_softmax(-1)

    def options(self, batch: Batch) -> torch.Tensor:
        """Return whether each decision has each column as an option: going on, opening a label, closing one."""
        states = self._tensor(batch.states)
        asked = self._tensor(batch.asked)[self._tensor(batch.rows)]
        outside = states < 0
        inside = torch.arange(asked.shape[1], device=self.device) == states[:, None]
        return torch.cat((torch.ones_like(outside)[:, None], asked & outside[:, None], inside), -1)

    def _tensor(self, array: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    def learn(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Take one step and return its losses."""
        if self.plan.dropout:
            torch.manual_seed(
                1_000_003 * self.plan.seed + self.step
            )  # a step draws alike, whatever came before
        rate = self.plan.rate(self.step)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("full_lr", group["lr"]) * rate
        losses = self.losses(batch)
        total = sum(
            (loss * (self.plan.copy_weight if name == "copy" else 1.0) for name, loss in losses.items()),
            start=torch.zeros((), device=self.device),
        )
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        # Early averages forget the start.
        decay = min(self.plan.average, self.step / (self.step + 9))
        with torch.no_grad():
            torch._foreach_lerp_(self._average, list(self._trained.values()), 1 - decay)
        return {name: loss.detach() for name, loss in losses.items()}

    def save(self, path: Path) -> None:
        """Write everything needed to go on, at once or not at all."""
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "average": self._average,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        for optimizer, held in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(held)
        self._average = state["average"]

    def averaged(self) -> dict[str, torch.Tensor]:
        """Return the averaged weights of what is trained, by name."""
        return {name: w.cpu().contiguous() for name, w in zip(self._trained, self._average, strict=True)}

    @torch.no_grad()
    def held_out_f1(self) -> dict[str, float]:
        """Return strict F1 in percent of the averaged model on the held-out layers, each mention by itself.

        Every decision is made behind the right answer up to there, so this is a little kinder than F1 in use; it needs
        no corpora, and choices can be made by it where the training runs.
        """
        counts: dict[str, NDArray[np.int64]] = {}
        with self._as_averaged(), self._autocast():
            for name, batch in held_out(self.packed, self.plan.batch_tokens):
                states = self.network(self._tensor(batch.ids)).flatten(0, 1)
                chosen = self._log_probabilities(states, batch).argmax(-1).cpu().numpy()
                counts[name] = counts.get(name, np.zeros(3, np.int64)) + mentions(batch, chosen)
        return {
            name: round(200 * hits / max(1, found + right), 2)
            for name, (hits, found, right) in counts.items()
        }

    @torch.no_grad()
    def bits_per_byte(self, length: int = 256, rows: int = 32) -> float:
        """Return what the averaged model needs for held-out text, in bits for each byte of UTF-8."""
        ids = self.packed.arrays["held_out"].astype(np.int64)
        nats = 0.0
        with self._as_averaged(), self._autocast():
            for start in range(0, len(ids), rows * length):
                part = ids[start : start + rows * length + 1]
                for stretch in _stretches(part, length):
                    given = self._tensor(stretch[:, :-1])
                    logits = self.network(given) @ self.network.embedding.T
                    wanted = self._tensor(stretch[:, 1:])
                    nats += functional.cross_entropy(
                        logits.float().flatten(0, 1), wanted.flatten(), reduction="sum"
                    ).item()
        return nats / math.log(2) / float(self.packed.header["held_out_bytes"])

    @contextmanager
    def _as_averaged(self) -> Iterator[None]:
        """Put the average in the place of the weights for a while."""
        kept = self._weights()
        self._put(self._average)
        self.network.eval()
        yield
        self._put(kept)
        self.network.train()

    @torch.no_grad()
    def _put(self, weights: Sequence[torch.Tensor]) -> None:
        for parameter, weight in zip(self._trained.values(), weights, strict=True):
            parameter.copy_(weight)


@torch.no_grad()
def take_meanings(network: Network, vectors: torch.Tensor) -> None:
    """Put the principal components of the vectors in the place of the embeddings, as large as those are.

    Tokens without a vector, and dimensions beyond the vectors', keep what they have.
    """
    embedding = network.embedding
    vectors = vectors.float().to(embedding.device)
    known = vectors.abs().sum(1) > 0
    centred = vectors[known] - vectors[known].mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    parts = centred @ directions[: embedding.shape[1]].T
    embedding[known, : parts.shape[1]] = parts * (embedding.std() / parts.std())


def mentions(batch: Batch, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many mentions are right, how many were opened, and how many there are.

    A decision outside begins a stretch, to which the decisions inside the mention that it opens belong.
    """
    wanted = np.zeros(len(chosen), np.int64)
    sure = batch.wanted > 0.5  # what is held out is annotated by hand
    wanted[batch.wanted_at[sure, 0]] = batch.wanted_at[sure, 1]
    starts = np.flatnonzero(batch.states < 0)
    all_right = np.logical_and.reduceat(chosen == wanted, starts)
    opened, right = chosen[starts] != COPY, wanted[starts] != COPY
    return np.array([(all_right & right).sum(), opened.sum(), right.sum()])


def _stretches(ids: np.ndarray[Any, Any], length: int) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the ids in rows of `length` and one more, the last row apart."""
    whole = (len(ids) - 1) // length
    if whole:
        yield np.stack([ids[row * length : (row + 1) * length + 1] for row in range(whole)])
    if len(ids) - 1 > whole * length:
        yield ids[None, whole * length :]


def batches_of(
    data: Path, packed: Packed, plan: Plan, first: int, workers: int = 0
) -> Generator[Batch, None, None]:
    """Yield the batches of a run from step `first` on."""
    stages = plan.stages(packed.header["tasks"])
    steps = range(first, plan.steps)
    return batches(data / "data.safetensors", plan.batch_tokens, plan.seed, stages, steps, workers)


def train(
    trainer: Trainer,
    stream: Iterator[Batch],
    out: Path,
    minutes: float | None,
    until: int | None = None,
    save_every: float = 4.0,
) -> bool:
    """Train until the run is complete, or step `until` is done, or the minutes are over; return whether it is."""
    began = saved = time.monotonic()
    tokens = 0
    shown: dict[str, list[torch.Tensor]] = {}
    steps = trainer.plan.steps if until is None else min(until, trainer.plan.steps)
    for batch in stream:
        if trainer.step >= steps:
            break
        for name, loss in trainer.learn(batch).items():
            shown.setdefault(name, []).append(loss)
        tokens += batch.tokens
        now = time.monotonic()
        if trainer.step % 50 == 0 or trainer.step == trainer.plan.steps:
            _log(out, trainer, shown, tokens, now - began)
            shown = {}
        if minutes is not None and now - began > 60 * minutes:
            break
        if now - saved > 60 * save_every:
            trainer.save(out / CHECKPOINT)
            saved = now
    trainer.save(out / CHECKPOINT)
    return trainer.step >= trainer.plan.steps


def _log(
    out: Path, trainer: Trainer, shown: dict[str, list[torch.Tensor]], tokens: int, seconds: float
) -> None:
    line = {
        "step": trainer.step,
        "steps": trainer.plan.steps,
        "tokens_per_second": round(tokens / seconds),
        "seconds": round(seconds),
        "core_seconds": round(time.process_time()),
        "loss": {name: round(float(torch.stack(found).mean()), 4) for name, found in sorted(shown.items())},
    }
    with (out / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(line, flush=True)


def write_model(trainer: Trainer, data: Path, out: Path, steps: list[dict[str, Any]]) -> None:
    """Write the averaged weights as a model folder of `transformers`: half precision, in files of at most 15 MB.

    `steps` are the records of all training that led to them.
    """
    from transformers import MistralConfig, MistralForCausalLM

    model = MistralForCausalLM(MistralConfig(**trainer.size.config(trainer.packed.control)))
    model.load_state_dict({**trainer.averaged(), "lm_head.weight": trainer.averaged()[EMBEDDING]})
    model.half().save_pretrained(out, max_shard_size="15MB")
    for path in out.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files that only their owner can read
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (data / name).is_file():
            shutil.copy(data / name, out / name)
    card = {**CARD, "labels": list(trainer.packed.labels)}
    (out / "clinical.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    write_history(steps, out)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of clinical.finetune.packing")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the run; the model is in OUT/model"
    )
    parser.add_argument("--size", choices=SIZES, default="8x320", help="layers x width")
    parser.add_argument("--start", type=Path, help="a model folder to begin with, instead of nothing")
    parser.add_argument(
        "--adapter", type=Path, help="an adapter on it to go on from, in place of all weights"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other values of the plan")
    parser.add_argument("--tokens", type=float, help="tokens of the whole run")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes of training")
    parser.add_argument("--until", type=int, metavar="STEP", help="stop after this step of the run")
    parser.add_argument("--resume", action="store_true", help="go on with the run in OUT, if there is one")
    parser.add_argument(
        "--send", type=Path, help="a folder to copy the files of the model to that must travel back"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    begun = (given.out / CHECKPOINT).is_file()
    resumed = given.resume and begun
    if not (given.data / "data.safetensors").is_file():
        parser.error(f"{given.data} has no data.safetensors; `clinical finetune pretrain prepare` makes it")
    if given.start and not (given.start / "model.safetensors").is_file():
        parser.error(f"{given.start} has no model.safetensors to begin with")
    if given.adapter and not (given.adapter / "adapter_model.safetensors").is_file():
        parser.error(f"{given.adapter} has no adapter_model.safetensors to go on from")
    if begun and not resumed:
        parser.error(f"there is a run in {given.out}: --resume goes on with it, another --out begins anew")
    packed = Packed.open(given.data / "data.safetensors")
    if resumed:
        held = json.loads((given.out / "run.json").read_text(encoding="utf-8"))
        plan, size, started = Plan(**held["plan"]), Size(**held["size"]), held["started"]
    else:
        try:
            plan = changed(Plan(), given.set, tuple(packed.layers))
        except ValueError as error:
            parser.error(str(error))
        started = provenance()
        if given.adapter:
            plan = replace(plan, adapter_rank=rank_of(given.adapter))
        if plan.adapter_rank and not given.start:
            parser.error("an adapter wants a model to be trained on: --start")
        if given.tokens:
            plan = replace(plan, tokens=int(given.tokens))
        size = SIZES[given.size]
        if given.start:
            size = size_of(json.loads((given.start / "config.json").read_text(encoding="utf-8")))
    given.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    trainer = Trainer(plan, size, packed, device, given.compile, given.bf16)
    if resumed:
        trainer.load(given.out / CHECKPOINT)
    else:
        if given.start:
            trainer.start_from(given.start)
        if given.adapter:
            trainer.go_on_from(given.adapter)
        written = {"plan": asdict(plan), "size": asdict(size), "started": started}
        (given.out / "run.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    parameters = sum(p.numel() for p in trainer.network.parameters())
    print(f"{parameters} parameters, step {trainer.step} of {plan.steps}, on {device}", flush=True)
    stream = batches_of(given.data, packed, plan, trainer.step, given.workers)
    complete = train(trainer, stream, given.out, given.minutes, given.until)
    stream.close()
    bits = trainer.bits_per_byte()
    f1 = trainer.held_out_f1()
    print(f"step {trainer.step} of {plan.steps}: {bits:.4f} bits per byte of held-out text, {f1}", flush=True)
    record = {
        "step": "training",
        **started,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "recipe": asdict(plan),
        "size": asdict(size),
        "corpora": [],
        "steps_done": trainer.step,
        "held_out_bits_per_byte": round(bits, 4),
        "held_out_f1": f1,
    }
    before = history(given.adapter or given.start) if given.start else []
    # What led to the start was packed from the same data, or from less.
    before += [step for step in history(given.data) if step not in before]
    made = given.out / ("adapter" if plan.adapter_rank else "model")
    if plan.adapter_rank:
        write_adapter(trainer.averaged(), given.start, made, [*before, record])
    else:
        write_model(trainer, given.data, made, [*before, record])
    if given.send:
        send(made, given.send)
    print("complete" if complete else "not complete: the same call with --resume goes on", flush=True)


def send(model: Path, folder: Path) -> None:
    """Copy what the release needs of a model: its weights, settings and history, not what came with the data."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(model.iterdir()):
        if ".safetensors" in path.name or path.name in ("config.json", "clinical.json", "history.json"):
            shutil.copy(path, folder / path.name)


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


if __name__ == "__main__":
    main()
