"""Makes the sentence selector's encoder ready for this machine, once: adapter merged, int8, kept in the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from clinical.models import minilm
from clinical.models.prepared import export, int8_file, quiet

if TYPE_CHECKING:
    from transformers import BertModel

# Counted up when the graph below changes for the same weights.
_FORMAT = 1


def ready_selector(adapter: Path) -> Path:
    """Return the int8 encoder with this adapter merged in, as an ONNX file; made first if it is not there yet.

    Inputs `ids` and `types`: int64 (1, pieces); types are 0 for the question and 1 for the note. Output `hidden`:
    float32 (1, pieces, 384).
    """
    made_of = hashlib.sha256(f"{_FORMAT} {minilm.WEIGHTS_SHA256}".encode())
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        made_of.update((adapter / name).read_bytes())
    return int8_file(
        "light",
        f"selector-{made_of.hexdigest()[:16]}",
        "the answering model",
        lambda target: _export(merged_encoder(adapter), target),
    )


def merged_encoder(adapter: Path) -> BertModel:
    """Return the encoder in torch, float32, with the adapter merged into its weights: the reference for the rest."""
    import torch
    from peft import PeftModel
    from transformers import BertModel

    with quiet():
        base = BertModel.from_pretrained(minilm.folder(), add_pooling_layer=False, dtype=torch.float32)
        merged: BertModel = PeftModel.from_pretrained(base, adapter).float().merge_and_unload()
    merged.eval()
    return merged


def _export(encoder: BertModel, target: Path) -> None:
    import torch

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, ids: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
            hidden: torch.Tensor = self.encoder(input_ids=ids, token_type_ids=types).last_hidden_state
            return hidden

    ids = torch.ones((1, 16), dtype=torch.int64)
    encoder.set_attn_implementation("eager")
    pieces = {1: "pieces"}
    export(
        Hidden(),
        {"ids": ids, "types": torch.zeros_like(ids)},
        "hidden",
        {"ids": pieces, "types": pieces, "hidden": pieces},
        target,
    )
