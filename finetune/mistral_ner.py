"""Teaches a small Mistral `ner` in the format of the product, fully or as a LoRA adapter.

    python -m clinical.finetune.mistral_ner --base build/base --out build/tagger
    python -m clinical.finetune.mistral_ner --base build/tagger --out build/adapter --lora 16
    python -m clinical.finetune.mistral_ner --help

Prompt, chat format, tokens and constraint come from the product itself (`clinical.finetune.mistral_rows`).
The loss is that of the decisions of constrained decoding: at each place of the answer the probability of
the right token among those that the constraint allows there, not among the whole vocabulary.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical.corpora.catalog import find
from clinical.finetune.mistral_rows import Row, passages, row
from clinical.finetune.pretrain import apply_rate, learning_rate, optimizers
from clinical.finetune.provenance import history, provenance, write_history
from clinical.finetune.synthetic_notes import fillers, synthetic
from clinical.models.chat import detect
from clinical.models.fingerprint import fingerprint
from clinical.models.mistral import LocalMistral, hush_libraries, load_network, load_tokenizer, quiet_peft
from clinical.models.mistral_tagger import MistralTagger
from clinical.models.text_tokens import TextTokens
from clinical.prompts import templates
from clinical.prompts.labels import by_name, clinical_labels
from clinical.scoring.gold import read_gold
from clinical.scoring.spans import score

if TYPE_CHECKING:
    import torch

CORPORA = ("bc5cdr:train", "ncbi_disease:train", "maccrobat:train", "anatem:train")
# Rows of a like length go through the model together; this many are sorted at a time.
POOL = 1024
RowsOfEpoch = Callable[[int], list[Row]]


@dataclass(frozen=True)
class Recipe:
    """One training run.

    `copy_weight` is the weight of the loss on copied tokens, which decoding forces anyway; `synthetic` the number
    of made-up passages in each pass over the corpora.
    """

    corpora: tuple[str, ...] = CORPORA
    synthetic: int = 0
    prompt: str = "ner.short.v1"
    tokens: int = 1_500_000
    batch_tokens: int = 4096
    most_pieces: int = 96
    muon_lr: float = 0.01
    adam_lr: float = 2e-3
    copy_weight: float = 0.2
    lora_rank: int = 0
    seed: int = 0


def epoch(recipe: Recipe, tokens: TextTokens, chat: Any, number: int) -> list[Row]:
    """Return the rows of one pass over the corpora, cut and asked for differently each time, shuffled."""
    template = templates.load(recipe.prompt)
    choose = random.Random(f"{recipe.seed} {number}")
    seed = recipe.seed * 1000 + number
    # A corpus that is named twice is cut at other places the second time.
    cut = [
        passage
        for place, name in enumerate(recipe.corpora)
        for passage in passages(name, 100 * seed + place, recipe.most_pieces)
    ]
    if recipe.synthetic:
        cut += synthetic(recipe.synthetic, seed, fillers())
    rows = [made for passage in cut if (made := row(passage, template, chat, tokens, choose)) is not None]
    choose.shuffle(rows)
    return rows


def batches(rows: Sequence[Row], batch_tokens: int, choose: random.Random) -> list[list[Row]]:
    """Return the rows in batches of like length, in random order."""
    out: list[list[Row]] = []
    for start in range(0, len(rows), POOL):
        batch: list[Row] = []
        for one in sorted(rows[start : start + POOL], key=lambda one: len(one.ids)):
            if batch and (len(batch) + 1) * len(one.ids) > batch_tokens:
                out.append(batch)
                batch = []
            batch.append(one)
        out.append(batch)
    choose.shuffle(out)
    return out


def answer_logits(model: Any, batch: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits at each token of the answers, row after row, and the tokens themselves."""
    import torch

    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    width = max(len(one.ids) for one in batch)
    ids = torch.tensor([one.ids + [0] * (width - len(one.ids)) for one in batch])
    # Padding stands on the right, where causal attention never looks.
    hidden = causal.get_decoder()(input_ids=ids).last_hidden_state
    places = [(number, at) for number, one in enumerate(batch) for at in range(one.answer, len(one.ids))]
    rows_at = torch.tensor([number for number, _ in places])
    columns_at = torch.tensor([at for _, at in places])
    return causal.get_output_embeddings()(hidden[rows_at, columns_at - 1]), ids[rows_at, columns_at]


def decision_loss(model: Any, batch: Sequence[Row], copy_weight: float) -> torch.Tensor:
    """Return the mean loss of the decisions, plus that of all answer tokens times `copy_weight`, in nats."""
    import torch
    from torch.nn.functional import cross_entropy

    logits, target = answer_logits(model, batch)
    options = [allowed for one in batch for allowed in one.options]
    decisions = torch.tensor([place for place, allowed in enumerate(options) if len(allowed) > 1])
    most = max(len(allowed) for allowed in options)
    # A row of options is filled up with its first, which then counts once: the others are masked.
    table = torch.tensor([allowed + [-1] * (most - len(allowed)) for allowed in options])[decisions]
    scores = logits[decisions].gather(1, table.clamp(min=0)).masked_fill(table < 0, float("-inf"))
    right = (table == target[decisions, None]).int().argmax(1)
    return cross_entropy(scores, right) + copy_weight * cross_entropy(logits, target)


def train(
    model: Any, recipe: Recipe, rows: RowsOfEpoch, loss_of: Callable[[Sequence[Row]], torch.Tensor]
) -> None:
    """Train the model in place until it has read the recipe's number of tokens."""
    import torch

    torch.manual_seed(recipe.seed)
    optimizer_list = _optimizers(model, recipe)
    began, done, shown = time.process_time(), 0, 0.0
    model.train()
    for number, batch in _stream(recipe, rows):
        # The schedule counts tokens, as steps hold different numbers of them.
        apply_rate(optimizer_list, learning_rate(done, recipe.tokens, warmup=recipe.tokens // 20))
        loss = loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        for optimizer in optimizer_list:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        done += sum(len(one.ids) for one in batch)
        shown = loss.item() if not shown else 0.95 * shown + 0.05 * loss.item()
        if number % 25 == 0:
            seconds = time.process_time() - began
            print(f"step {number} tokens {done} loss {shown:.4f} {seconds:.0f} core-s", flush=True)
        if done >= recipe.tokens:
            return


def _optimizers(model: Any, recipe: Recipe) -> list[torch.optim.Optimizer]:
    import torch

    if not recipe.lora_rank:
        return optimizers(model, recipe.muon_lr, recipe.adam_lr)
    # Muon makes every direction of a matrix equally long, which is not what the factors of LoRA are for.
    trained = [p for p in model.parameters() if p.requires_grad]
    return [torch.optim.AdamW(trained, lr=recipe.adam_lr, weight_decay=0.01)]


def _stream(recipe: Recipe, rows: RowsOfEpoch) -> Iterator[tuple[int, list[Row]]]:
    step = number = 0
    choose = random.Random(recipe.seed)
    while True:
        for batch in batches(rows(number), recipe.batch_tokens, choose):
            yield step, batch
            step += 1
        number += 1


def dev_f1(tagger: MistralTagger, gold: str, limit: int | None = None) -> float:
    """Return strict F1 in percent on a `corpus:split`, asking for the labels that it annotates."""
    standard = read_gold(gold, limit=limit)
    found = tagger.tag(standard.texts, by_name(standard.labels))
    right = [document.entities for document in standard.documents]
    return 100 * score(right, found, standard.labels).micro.strict.f1


def run(
    base: Path, out: Path, recipe: Recipe, dev: Sequence[str] = (), limit: int | None = None
) -> dict[str, float]:
    """Train on top of `base`, write model or adapter to `out`, and return strict F1 on each of `dev`."""
    began = provenance()
    hush_libraries()
    tokenizer = load_tokenizer(base)
    chat = detect(tokenizer)
    tokens = TextTokens(tokenizer, chat)
    model = load_network(base)
    if recipe.lora_rank:
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=recipe.lora_rank,
            lora_alpha=2 * recipe.lora_rank,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        with quiet_peft():
            model = get_peft_model(model, config)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{trained} parameters to train", flush=True)
    train(
        model,
        recipe,
        lambda number: epoch(recipe, tokens, chat, number),
        lambda batch: decision_loss(model, batch, recipe.copy_weight),
    )
    model.eval()
    tagger = MistralTagger(
        LocalMistral(str(out), model, tokenizer, chat),
        templates.load(recipe.prompt),
        chunk_pieces=recipe.most_pieces,
    )
    scores = {name: round(dev_f1(tagger, name, limit), 2) for name in dev}
    print(scores, flush=True)
    model.save_pretrained(out)
    if not recipe.lora_rank:
        tokenizer.save_pretrained(out)
    card: dict[str, object] = {
        "prompt": recipe.prompt,
        "prompt_sha256": templates.load(recipe.prompt).sha256,
        "chunk_pieces": recipe.most_pieces,
        "labels": _trained_labels(recipe),
    }
    if recipe.lora_rank:
        card["base_fingerprint"] = fingerprint(base)
    (out / "clinical.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    record = {
        "step": "ner, adapter" if recipe.lora_rank else "ner, all weights",
        **began,
        "corpora": recipe.corpora,
        "recipe": asdict(recipe),
        "parameters_trained": trained,
        "strict_f1": scores,
    }
    write_history([*history(base), record], out)
    return scores


def _trained_labels(recipe: Recipe) -> list[str]:
    found = {label for name in recipe.corpora for label in find(name.split(":")[0]).clinical_labels}
    return [label.name for label in clinical_labels() if label.name in found]


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True, help="folder of the model to begin with")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model or adapter")
    parser.add_argument("--corpora", default=",".join(CORPORA), help="corpus:split,… to train on")
    parser.add_argument("--tokens", type=int, default=Recipe.tokens, help="tokens to train on")
    parser.add_argument("--synthetic", type=int, default=0, help="made-up passages in each epoch")
    parser.add_argument(
        "--lora", type=int, default=0, metavar="RANK", help="train a LoRA adapter of this rank"
    )
    parser.add_argument("--muon-lr", type=float, default=Recipe.muon_lr)
    parser.add_argument("--adam-lr", type=float, default=Recipe.adam_lr)
    parser.add_argument("--copy-weight", type=float, default=Recipe.copy_weight)
    parser.add_argument("--dev", default="", help="corpus:split,… to score at the end")
    parser.add_argument("--limit", type=int, help="score only the first documents or sentences")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    import torch

    torch.set_num_threads(given.threads)
    recipe = Recipe(
        corpora=tuple(given.corpora.split(",")),
        synthetic=given.synthetic,
        tokens=given.tokens,
        muon_lr=given.muon_lr,
        adam_lr=given.adam_lr,
        copy_weight=given.copy_weight,
        lora_rank=given.lora,
        seed=given.seed,
    )
    run(given.base, given.out, recipe, [name for name in given.dev.split(",") if name], given.limit)


if __name__ == "__main__":
    main()
