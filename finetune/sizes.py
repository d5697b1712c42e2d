"""The shapes of the small Mistrals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

EPSILON = 1e-6
ROPE_THETA = 10_000.0


@dataclass(frozen=True)
class Size:
    """The shape of a model. Narrow heads (32) give a small model enough of them to find its place."""

    hidden: int = 192
    layers: int = 6
    heads: int = 6
    kv_heads: int = 2
    ffn: int = 448
    vocab: int = 4096
    context: int = 2048

    @property
    def head(self) -> int:
        """The width of a head."""
        return self.hidden // self.heads

    def config(self, control: dict[str, int]) -> dict[str, Any]:
        """Return the arguments of `MistralConfig`."""
        return {
            "vocab_size": self.vocab,
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head,
            "max_position_embeddings": self.context,
            "rms_norm_eps": EPSILON,
            "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
            "sliding_window": None,
            "tie_word_embeddings": True,
            "pad_token_id": control["<pad>"],
            "bos_token_id": control["<s>"],
            "eos_token_id": control["</s>"],
        }


SIZES = {
    # 2.9 million parameters: what a CPU core can train in hours.
    "6x192": Size(),
    # 11.1, 18.1 and 28.8 million, for a GPU; in half precision 22, 36 and 58 MB.
    "8x320": Size(hidden=320, layers=8, heads=10, kv_heads=2, ffn=896, vocab=8192),
    "10x384": Size(hidden=384, layers=10, heads=12, kv_heads=2, ffn=1024, vocab=8192),
    "12x448": Size(hidden=448, layers=12, heads=14, kv_heads=2, ffn=1216, vocab=8192),
    # For tests.
    "toy": Size(hidden=64, layers=2, heads=2, kv_heads=1, ffn=96, vocab=600, context=512),
}


def size_of(config: dict[str, Any]) -> Size:
    """Return the size of a model from its `config.json`."""
    return Size(
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        ffn=config["intermediate_size"],
        vocab=config["vocab_size"],
        context=config["max_position_embeddings"],
    )
