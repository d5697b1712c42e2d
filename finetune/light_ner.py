"""Train the light tagger: one LoRA adapter on MiniLM and one tagging head per annotation scheme.

    clinical finetune light-ner --out out/first
    clinical finetune light-ner --start out/first --out out/light-ner --set …

Every window of text belongs to one corpus and trains the shared adapter through that corpus's own head, so that
corpora with different guidelines help each other without being forced to agree. What is saved is the adapter (peft),
the heads, and a record of recipe, provenance and scores on the held-out part of the training data.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from clinical.finetune.light_batches import LONGEST, plan, tensors
from clinical.finetune.light_data import Scheme, Stream, Window, cut, load_schemes
from clinical.finetune.light_model import BASE, Tagger, build, save
from clinical.finetune.provenance import provenance
from clinical.models import minilm
from clinical.models.tag_decoding import best_path, spans
from clinical.models.word_pieces import SHAPES


@dataclass(frozen=True)
class Recipe:
    """What a run is made of. `passes`: how often each scheme's text is read; `batch_pieces`: word pieces a step."""

    passes: Mapping[str, float] = field(
        default_factory=lambda: {
            "bc5cdr": 8.0,
            "ncbi_disease": 7.0,
            "clinical": 12.0,
            "anatem": 3.0,
            "bc2gm": 1.5,
            "linnaeus": 0.7,
            "craft": 1.2,
        }
    )
    rank: int = 64
    embedding_rank: int = 16
    learning_rate: float = 1e-3
    head_learning_rate: float = 2e-3
    warmup_share: float = 0.05
    batch_pieces: int = 2048
    dropout: float = 0.1
    weight_decay: float = 0.01
    average_decay: float = 0.998
    seed: int = 20
    threads: int = 1


class Average:
    """The exponential moving average of the trained weights, which scores better than the last ones."""

    def __init__(self, weights: Sequence[torch.nn.Parameter], decay: float) -> None:
        self.weights = weights
        self.decay = decay
        self.kept = [weight.detach().clone() for weight in weights]
        self.steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now; early steps count more, so that the start is forgotten."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 9))
        for kept, now in zip(self.kept, self.weights, strict=True):
            kept.lerp_(now, 1 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Put the average in the place of the weights."""
        for kept, now in zip(self.kept, self.weights, strict=True):
            now.copy_(kept)


def train(tagger: Tagger, steps: Sequence[list[Window]], recipe: Recipe, log: Path) -> None:
    """Train the tagger on these batches in their order; its weights end as the average over the end of the run."""
    torch.set_num_threads(recipe.threads)
    bfloat16 = torch.cpu._is_avx512_bf16_supported()  # elsewhere it is slower than float32
    rng = random.Random(recipe.seed)
    heads = list(tagger.heads.parameters())
    adapter = [weight for weight in tagger.encoder.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": adapter, "lr": recipe.learning_rate},
            {"params": heads, "lr": recipe.head_learning_rate},
        ],
        weight_decay=recipe.weight_decay,
        betas=(0.9, 0.98),
    )
    warmup = max(1, int(recipe.warmup_share * len(steps)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, max(0.02, (len(steps) - step) / (len(steps) - warmup))),
    )
    average = Average([*adapter, *heads], recipe.average_decay)
    progress = Progress(len(steps), log)
    tagger.train()
    for batch in steps:
        arguments, tags = tensors(batch, rng)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            logits = tagger(**arguments, scheme=batch[0].scheme).float()
        loss = torch.nn.functional.cross_entropy(logits, tags)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*adapter, *heads], 1.0)
        optimizer.step()
        schedule.step()
        average.update()
        progress.add(batch[0].scheme, loss.item(), int(arguments["mask"].sum()))
    average.apply()
    tagger.eval()


class Progress:
    """Writes one line of JSON every fifty steps: speed, and each scheme's recent loss."""

    def __init__(self, steps: int, log: Path) -> None:
        self.steps, self.log = steps, log
        self.done = self.pieces = 0
        self.started = time.perf_counter()
        self.losses: dict[str, deque[float]] = {}

    def add(self, scheme: str, loss: float, pieces: int) -> None:
        """Count one step."""
        self.done += 1
        self.pieces += pieces
        self.losses.setdefault(scheme, deque(maxlen=30)).append(loss)
        if self.done % 50 == 0 or self.done == self.steps:
            self._write()

    def _write(self) -> None:
        seconds = time.perf_counter() - self.started
        line = {
            "step": self.done,
            "steps": self.steps,
            "seconds": round(seconds),
            "pieces_per_second": round(self.pieces / seconds),
            "loss": {name: round(sum(recent) / len(recent), 4) for name, recent in self.losses.items()},
        }
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@torch.inference_mode()
def score(tagger: Tagger, scheme: Scheme, streams: Sequence[Stream]) -> dict[str, float]:
    """Return strict precision, recall and F1 on held-out text, decoded as in use, window by window."""
    rng = random.Random(0)
    windows = sorted(
        (window for stream in streams for window in cut(stream, LONGEST, rng, whole=True)),
        key=lambda window: len(window.ids),
    )
    hits = found = gold = 0
    for start in range(0, len(windows), 16):
        batch = windows[start : start + 16]
        arguments, _ = tensors(batch)
        scores = tagger(**arguments, scheme=scheme.name).log_softmax(-1).numpy()
        at = 0
        for window in batch:
            guess = set(spans(best_path(scores[at : at + len(window.tags)])))
            truth = set(spans(window.tags))
            at += len(window.tags)
            hits, found, gold = hits + len(guess & truth), found + len(guess), gold + len(truth)
    return {
        "precision": round(hits / max(found, 1), 4),
        "recall": round(hits / max(gold, 1), 4),
        "f1": round(2 * hits / max(found + gold, 1), 4),
        "entities": gold,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score on held-out text and save."""
    parser = argparse.ArgumentParser(
        prog="light-ner", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for adapter, heads and log")
    parser.add_argument(
        "--start", type=Path, metavar="FOLDER", help="go on from a tagger that was trained before"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=JSON", help="change a value of the recipe"
    )
    options = parser.parse_args(arguments)
    changes = {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in options.set)}
    recipe = Recipe(**changes)
    options.out.mkdir(parents=True, exist_ok=True)
    schemes, training, held_out = load_schemes(list(recipe.passes), recipe.seed)
    tagger = build(
        schemes,
        rank=recipe.rank,
        embedding_rank=recipe.embedding_rank,
        dropout=recipe.dropout,
        seed=recipe.seed,
        start=options.start,
    )
    steps = plan(training, recipe.passes, recipe.batch_pieces, random.Random(recipe.seed))
    train(tagger, steps, recipe, options.out / "log.jsonl")
    scores = {scheme.name: score(tagger, scheme, held_out[scheme.name]) for scheme in schemes}
    print(json.dumps(scores, indent=1))
    save(tagger, options.out)
    before = (
        json.loads((options.start / "tagger.json").read_text(encoding="utf-8")) if options.start else None
    )
    record = {
        "base": BASE,
        "base_sha256": minilm.WEIGHTS_SHA256,
        "shapes": list(SHAPES),
        "schemes": (before["schemes"] if before else {})
        | {scheme.name: list(scheme.tags) for scheme in schemes},
        "recipe": asdict(recipe),
        "held_out_scores": scores,
        "provenance": provenance(),
        "before": before and {key: before[key] for key in ("recipe", "held_out_scores", "provenance")},
    }
    (options.out / "tagger.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
