"""The adapter on a small model as a folder: what peft reads, with its card and its history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical.finetune.provenance import write_history
from clinical.models.fingerprint import fingerprint, tokenizer_sha256

if TYPE_CHECKING:
    import torch

CARD = {
    "prompt": "ner.short.v1",
    "prompts": {
        "ask": "ask.quote.v1",
        "search": "search.v1",
        "summarize": "summarize.extract.v1",
        "summarize.question": "summarize.question.v1",
    },
    "chunk_pieces": 96,
}
"""The prompts that rows are written in, and how much of a note the model saw at a time."""

# What peft puts around the names of the matrices.
_BEFORE, _BEHIND = "base_model.model.", ".weight"


def write_adapter(
    weights: Mapping[str, torch.Tensor], base: Path, out: Path, steps: Sequence[dict[str, Any]]
) -> None:
    """Write the adapter's matrices (`….lora_A` and `….lora_B`) to `out`, tied to the base that they were trained on.

    `steps` are the records of all training that led to them.
    """
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    named = {f"{_BEFORE}{name}{_BEHIND}": weight.half() for name, weight in weights.items()}
    save_file(named, out / "adapter_model.safetensors", metadata={"format": "pt"})
    ranks = {weight.shape[0] for name, weight in weights.items() if name.endswith("lora_A")}
    (rank,) = ranks
    config = {
        "base_model_name_or_path": base.name,
        "bias": "none",
        "inference_mode": True,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": sorted({name.split(".")[-2] for name in weights}),
        "task_type": "CAUSAL_LM",
    }
    _write(out / "adapter_config.json", config)
    tied = {
        "base": base.name,
        "base_fingerprint": fingerprint(base),
        "tokenizer_sha256": tokenizer_sha256(base),
    }
    _write(out / "clinical.json", {**CARD, **tied, "rank": rank})
    write_history(list(steps), out)


def read_adapter(folder: Path) -> dict[str, torch.Tensor]:
    """Return the matrices of an adapter as they were given to `write_adapter`."""
    from safetensors.torch import load_file

    held = load_file(folder / "adapter_model.safetensors")
    return {name.removeprefix(_BEFORE).removesuffix(_BEHIND): weight.float() for name, weight in held.items()}


def rank_of(folder: Path) -> int:
    """Return the rank of an adapter."""
    return int(json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["r"])


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
