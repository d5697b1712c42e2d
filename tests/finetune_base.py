"""A model small enough to be trained in a test, and recipes for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clinical.finetune.recipe import Recipe, parse

SENTENCES = [
    "The patient was given aspirin for chest pain.",
    "No fever, no cough. Metformin 500 mg daily.",
    "Warfarin was stopped after a bleed. INR was 3.1.",
    "Admitted with pneumonia and treated with amoxicillin.",
]


def write_base(folder: Path, hidden: int = 64, layers: int = 2) -> Path:
    """Write a Mistral of random weights with a tokenizer of its own, and return its folder."""
    from clinical.finetune.pretrain import new_model
    from clinical.finetune.sizes import Size
    from clinical.finetune.tokenizer import CONTROL_TOKENS, train_tokenizer
    from clinical.prompts.labels import clinical_labels

    tokenizer = train_tokenizer(SENTENCES * 3, [label.name for label in clinical_labels()], 450)
    vocabulary = tokenizer.get_vocab()
    shape = Size(
        hidden=hidden, layers=layers, heads=2, kv_heads=1, ffn=2 * hidden, vocab=len(tokenizer), context=1024
    )
    model = new_model(shape, {token: vocabulary[token] for token in CONTROL_TOKENS}, seed=0)
    import torch

    for layer in model.model.layers:  # zeros would leave nothing for an adapter to begin with
        for matrix in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
            torch.nn.init.normal_(matrix, std=0.05)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def recipe(
    base: Path | str, *changes: str, data: str = "[{task: ner, corpus: synthetic, limit: 24}]"
) -> Recipe:
    """Return a recipe that trains in seconds."""
    text = f"""
base: {base}
method: lora
precision: fp32
prompt: {{ner: ner.short.v1}}
chunk_pieces: 96
max_length: 1024
data: {data}
dev: [{{task: ner, corpus: synthetic, limit: 4}}]
lora: {{r: 4, alpha: 8, dropout: 0.1}}
train: {{epochs: 1, batch: 2, learning_rate: 1e-2, schedule: constant, warmup: 0, log_every: 1}}
evaluate: {{every: 4, rows: 4}}
"""
    return parse(text, "small.yaml", changes)


def lasting(folder: Path) -> list[dict[str, Any]]:
    """Return what a run recorded, but for what differs between two runs that do the same."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    passing = ("seconds", "tokens_per_second", "memory_mb")
    return [{key: value for key, value in json.loads(line).items() if key not in passing} for line in lines]
