"""Tiny models of random weights behind every kind of tokenizer: what holds for them holds for any model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from clinical.models.chat import PLAIN, V1, V3
from clinical.models.language_model import Constraint, Message, Request
from clinical.models.mistral import LocalMistral
from clinical.prompts.templates import Part

TOKENIZERS = ("own", "v1", "v3", "merging")
_FILES = {"v1": "tokenizer.model.v1", "v3": "mistral_instruct_tokenizer_240323.model.v3"}


def random_model(kind: str, folder: Path, seed: int = 1, **config: Any) -> LocalMistral:
    """Return a model whose answers are noise; `kind` is one of `TOKENIZERS`."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    tokenizer = _tokenizer(kind, folder)
    torch.manual_seed(seed)
    shape = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "sliding_window": None,
        "initializer_range": 0.3,
        "max_position_embeddings": 512,
    }
    network = MistralForCausalLM(MistralConfig(vocab_size=len(tokenizer), **{**shape, **config})).eval()
    chat = {"v1": V1, "v3": V3, "own": V3}.get(kind, PLAIN)
    return LocalMistral("random", network, tokenizer, chat)


def _tokenizer(kind: str, folder: Path) -> Any:
    if kind == "own":
        from clinical.finetune.tokenizer import train_tokenizer

        return train_tokenizer(["The patient has diabetes and no fever."] * 3, ["Disease", "Drug"], 400)
    if kind == "merging":
        return _merging_tokenizer()
    import mistral_common
    from transformers import LlamaTokenizer

    data = Path(mistral_common.__file__).parent / "data"
    shutil.copy(data / _FILES[kind], folder / "tokenizer.model")
    return LlamaTokenizer.from_pretrained(folder)


def _merging_tokenizer() -> Any:
    """A byte-level BPE that cuts at nothing: "1, 2" and "2, 1" are single tokens, "12," is another."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lists = [", ".join(map(str, range(first, 14))) for first in range(1, 13)]
    backend.train_from_iterator([*lists, "none", "no, none of the 12, 13, no"] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def ask(text: str, constraint: Constraint | None = None, **options: Any) -> Request:
    """Return a request about a text."""
    return Request((Message("user", (Part("Read: "), Part(text, "text"))),), constraint, **options)
