"""The trainer of a small Mistral: the losses of a batch, a step, the average of the weights, and how good it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from clinical.finetune.exercises import COPY, Batch, held_out
from clinical.finetune.network import Network, weights_of
from clinical.finetune.packed import Packed
from clinical.finetune.sizes import Size
from clinical.finetune.small_adapter import read_adapter
from clinical.finetune.small_plan import Plan


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
        weights = weights_of(folder)
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
