"""Trains a small Mistral from nothing, tokenizer and all, on the permitted corpora.

On a machine with the corpora everything is labelled and packed; on one with a GPU, which needs torch, transformers,
numpy, safetensors and a checkout of this project and no more, it is trained in pieces; and back here it is judged.

    # 1. Here (CPU; about five minutes of one core, half of them silver labels; a corpus that is done stays done). With
    #    those of MedQuAD the file would be larger than 50 MB.
    clinical finetune pretrain silver  --out build/silver \\
        --corpora maccrobat,ncbi_disease,anatem,mts_dialog,aci_bench,pubmedqa
    clinical finetune pretrain prepare --silver build/silver --vocab 8192 --out build/mini

    # 2. There, in the root of the checkout, with build/mini in its place. This call ends within nine and a half
    #    minutes, and the same call again goes on, until it says that the run is complete. What travels back is in
    #    $OUT: half precision, at most eight files of at most 16 MB.
    python -m clinical.finetune.small_training --data build/mini --out build/run --resume --minutes 8.5 --workers 12 \\
        --size 8x320 --tokens 300e6 --set batch_tokens=65536 dropout=0.1 text_length=512 --send "$OUT"

    # 3. Here, with those files in build/model: card, checksums and one file of weights; then judge.
    clinical finetune pretrain release --base build/model --tokenizer build/mini --out build/clinical-mini \\
        --gold ncbi_disease:dev,maccrobat:dev
    clinical evaluate ner --gold bc5cdr:test --systems light@bc5cdr,mistral:build/clinical-mini
    # And an adapter, if a task wants more:
    clinical finetune mini-suite --base build/clinical-mini --set "lora.start=''" --out build/suite

Minutes on one H200-class GPU, from the arithmetic (six operations for each parameter and token, at an eighth of 790
TFLOP/s, plus two minutes to start and compile; not measured yet): 8x320, 300 million tokens: 6; 10x384, 300 million:
8; 12x448, 400 million: 14. At the end of each call stand the bits per byte of held-out text and an F1 on held-out
mentions. Choices (dropout, rates, weight decay, shares of the layers; `meanings=1`, embeddings that begin with
MiniLM's) are made by them, in trials of 60 million tokens, about three minutes each. The text is 6.7 million tokens at
a vocabulary of 8,192: a run of 300 million reads it some 20 times, and each gold passage of BC5CDR about 25 times,
hence the dropout and the weight decay.

Without a subcommand it is the small all-in-one run on a CPU that clinical-mini began with:

    clinical finetune pretrain --out build/base

What comes out is an ordinary `MistralForCausalLM` folder. In the all-in-one run a share of the rows asks the model to
repeat a text (`[INST] text[/INST] text`), because the task it is made for is to copy a note with tags in it.
Muon for the matrices and AdamW for the rest reached in 120 steps a loss that AdamW alone did not come near.
"""

from __future__ import annotations

import argparse
import importlib
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clinical.corpora.catalog import find
from clinical.corpora.records import read, read_records
from clinical.corpora.typography import detokenize
from clinical.finetune.provenance import provenance, write_history
from clinical.finetune.sizes import Size
from clinical.finetune.tokenizer import CONTROL_TOKENS, train_tokenizer
from clinical.models.pieces import split_pieces
from clinical.prompts.labels import clinical_labels

if TYPE_CHECKING:
    import torch
    from transformers import MistralForCausalLM, PreTrainedTokenizerFast

NER_CORPORA = ("bc5cdr", "ncbi_disease", "maccrobat", "anatem", "bc2gm", "craft", "linnaeus")
TEXT_FIELDS = {"medquad": "answer", "pubmedqa": "contexts", "mts_dialog": "target", "aci_bench": "target"}


@dataclass(frozen=True)
class Recipe:
    """One pretraining run. `copy_share` is the share of tokens in rows that repeat a text."""

    tokens: int = 4_500_000
    batch: int = 16
    length: int = 256
    muon_lr: float = 0.02
    adam_lr: float = 3e-3
    copy_share: float = 0.2
    seed: int = 0


def texts(split: str = "train", seed: int = 0) -> Iterator[str]:
    """Yield the texts of the permitted corpora: documents, or passages of sentences in their order.

    Half of the passages of tokenized corpora get the typography of a note back.
    """
    choose = random.Random(seed)
    for name in NER_CORPORA:
        sentences = [document.text for document in read(name, split)]
        if not find(name).tokenized:
            yield from sentences
            continue
        for start in range(0, len(sentences), 8):
            group = sentences[start : start + 8]
            if choose.random() < 0.5:
                group = [detokenize(sentence, [])[0] for sentence in group]
            yield " ".join(group)
    for name, field in TEXT_FIELDS.items():
        seen: set[str] = set()
        for record in read_records(name, split):
            value = record[field]
            text = " ".join(value) if isinstance(value, list) else value
            if text not in seen:
                seen.add(text)
                yield text


def encoder(tokenizer: PreTrainedTokenizerFast) -> Callable[[str], list[int]]:
    """Return the function that turns a text into ids piece by piece, as the product does."""
    known: dict[str, list[int]] = {}
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True

    def encode(text: str) -> list[int]:
        ids: list[int] = []
        for piece in split_pieces(text):
            if piece not in known:
                known[piece] = backend.encode(piece, add_special_tokens=False).ids
            ids += known[piece]
        return ids

    return encode


def rows(
    documents: Sequence[list[int]], control: dict[str, int], recipe: Recipe, tokens: int
) -> list[list[int]]:
    """Return `tokens` ids in rows of the recipe's length: documents end to end, and passages to repeat."""
    choose = random.Random(recipe.seed)
    out: list[list[int]] = []
    buffer: list[int] = []
    order: list[int] = []
    copied = total = 0
    while len(out) * recipe.length < tokens:
        if not order:
            order = choose.sample(range(len(documents)), len(documents))
        ids = documents[order.pop()]
        if copied < recipe.copy_share * total:
            start = choose.randrange(max(1, len(ids) - 20))
            passage = ids[start : start + choose.randint(15, (recipe.length - 4) // 2)]
            row = [control["<s>"], control["[INST]"], *passage, control["[/INST]"], *passage, control["</s>"]]
            copied += len(row)
        else:
            row = [control["<s>"], *ids, control["</s>"]]
        total += len(row)
        buffer += row
        while len(buffer) >= recipe.length:
            out.append(buffer[: recipe.length])
            buffer = buffer[recipe.length :]
    choose.shuffle(out)
    return out


def new_model(size: Size, control: dict[str, int], seed: int) -> MistralForCausalLM:
    """Return an untrained Mistral; the matrices that write into the residual stream start at zero."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(seed)
    model = MistralForCausalLM(MistralConfig(**size.config(control)))
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
        torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    return model


def optimizers(model: torch.nn.Module, muon_lr: float, adam_lr: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the layers and AdamW for embeddings and norms."""
    import torch

    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for name, p in trained if p.ndim == 2 and "embed" not in name and "lm_head" not in name]
    chosen = {id(p) for p in matrices}
    rest = [p for _, p in trained if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=muon_lr, weight_decay=0.1),
        torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def learning_rate(step: int, steps: int, warmup: int = 40, decay: float = 0.65) -> float:
    """Return the share of the full rate at `step`: warm-up, constant, then linear to a twentieth."""
    if step < warmup:
        return (step + 1) / warmup
    left = (steps - step) / max(1, decay * steps)
    return max(0.05, min(1.0, left))


def apply_rate(optimizer_list: Sequence[torch.optim.Optimizer], share: float) -> None:
    """Set every optimizer to `share` of its full rate."""
    for optimizer in optimizer_list:
        for group in optimizer.param_groups:
            group.setdefault("full_lr", group["lr"])
            group["lr"] = group["full_lr"] * share


def next_token_loss(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of each next token, in nats."""
    import torch

    logits = model(ids[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def train(
    model: MistralForCausalLM, train_rows: list[list[int]], dev_rows: list[list[int]], recipe: Recipe
) -> float:
    """Train the model in place and return the held-out loss in nats per token."""
    import torch

    steps = math.ceil(len(train_rows) / recipe.batch)
    optimizer_list = optimizers(model, recipe.muon_lr, recipe.adam_lr)
    began = time.monotonic()
    model.train()
    for step in range(steps):
        ids = torch.tensor(train_rows[step * recipe.batch : (step + 1) * recipe.batch])
        apply_rate(optimizer_list, learning_rate(step, steps))
        loss = next_token_loss(model, ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizer_list:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 25 == 0:
            seconds = time.monotonic() - began
            print(f"step {step}/{steps} loss {loss.item():.3f} {seconds:.0f} s", flush=True)
        if step % 250 == 249:
            print(f"step {step} held-out {held_out(model, dev_rows):.3f}", flush=True)
            model.train()
    return held_out(model, dev_rows)


def held_out(model: torch.nn.Module, dev_rows: list[list[int]]) -> float:
    """Return the mean loss on rows that were not trained on."""
    import torch

    model.eval()
    with torch.no_grad():
        losses = [
            next_token_loss(model, torch.tensor(dev_rows[i : i + 16])).item()
            for i in range(0, len(dev_rows), 16)
        ]
    return sum(losses) / len(losses)


def run(out: Path, size: Size, recipe: Recipe) -> float:
    """Train tokenizer and model, write them to `out`, and return the held-out loss."""
    began = provenance()
    corpus = list(texts(seed=recipe.seed))
    tokenizer = train_tokenizer(corpus, [label.name for label in clinical_labels()], size.vocab)
    encode = encoder(tokenizer)
    vocabulary = tokenizer.get_vocab()
    control = {token: vocabulary[token] for token in CONTROL_TOKENS}
    documents = [encode(" " + text) for text in corpus]
    held_out_text = [
        " " + document.text for name in ("bc5cdr", "maccrobat") for document in read(name, "dev")
    ]
    dev = rows([encode(text) for text in held_out_text], control, recipe, 32 * recipe.length)
    train_rows = rows(documents, control, recipe, recipe.tokens)
    characters = sum(map(len, corpus))
    ids = sum(map(len, documents))
    print(f"{len(corpus)} texts, {characters} characters, {ids} tokens; {len(train_rows)} rows", flush=True)
    model = new_model(size, control, recipe.seed)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    loss = train(model, train_rows, dev, recipe)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    record = {
        "step": "pretraining",
        **began,
        "shape": asdict(size),
        "recipe": asdict(recipe),
        "corpora": [f"{name}:train" for name in (*NER_CORPORA, *TEXT_FIELDS)],
        "tokens_in_corpora": ids,
        "held_out_loss_nats_per_token": round(loss, 4),
    }
    write_history([record], out)
    return loss


COMMANDS = {
    "silver": "clinical.finetune.silver",
    "prepare": "clinical.finetune.packing",
    "train": "clinical.finetune.small_training",
    "release": "clinical.finetune.mistral_release",
}


def main() -> None:
    """Run the step that is named, or the all-in-one run."""
    named = sys.argv[1] if len(sys.argv) > 1 else ""
    if named in COMMANDS:
        module = COMMANDS[named]
        # The steps record how they were called.
        sys.argv = [f"{module.rpartition('.')[2]}.py", *sys.argv[2:]]
        importlib.import_module(module).main()
    else:
        _all_in_one()


def _all_in_one() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--tokens", type=int, default=Recipe.tokens, help="tokens to train on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(arguments.threads)
    loss = run(arguments.out, Size(), Recipe(tokens=arguments.tokens, seed=arguments.seed))
    print(f"held-out loss {loss:.3f} nats per token; written to {arguments.out}")


if __name__ == "__main__":
    main()
