"""The small Mistral as it is trained: the layers of `MistralForCausalLM`, no more than training needs.

Parameters have the names of `transformers`, so weights go both ways as they are, and a test holds the two networks to
the same numbers. Being plain torch it compiles whole, with any batch shape.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

EPSILON = 1e-6
ROPE_THETA = 10_000.0


@dataclass(frozen=True)
class Size:
    """The shape of a model."""

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


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x.float(), self.weight.shape, self.weight, EPSILON)


class _Attention(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.q_proj = nn.Linear(size.hidden, size.heads * size.head, bias=False)
        self.k_proj = nn.Linear(size.hidden, size.kv_heads * size.head, bias=False)
        self.v_proj = nn.Linear(size.hidden, size.kv_heads * size.head, bias=False)
        self.o_proj = nn.Linear(size.heads * size.head, size.hidden, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape

        def heads(y: torch.Tensor, count: int) -> torch.Tensor:
            return y.view(batch, length, count, self.size.head).transpose(1, 2)

        v = heads(self.v_proj(x), self.size.kv_heads)
        q = _rotated(heads(self.q_proj(x), self.size.heads), cos, sin).to(v.dtype)
        k = _rotated(heads(self.k_proj(x), self.size.kv_heads), cos, sin).to(v.dtype)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        out: torch.Tensor = self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))
        return out


def _rotated(y: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    left, right = y.chunk(2, -1)
    return y * cos + torch.cat((-right, left), -1) * sin


class _FeedForward(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(size.hidden, size.ffn, bias=False)
        self.up_proj = nn.Linear(size.hidden, size.ffn, bias=False)
        self.down_proj = nn.Linear(size.ffn, size.hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class _Layer(nn.Module):
    def __init__(self, size: Size, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.input_layernorm = _Norm(size.hidden)
        self.self_attn = _Attention(size)
        self.post_attention_layernorm = _Norm(size.hidden)
        self.mlp = _FeedForward(size)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x = x + self._dropped(self.self_attn(self.input_layernorm(x), cos, sin))
        return x + self._dropped(self.mlp(self.post_attention_layernorm(x)))

    def _dropped(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x


class _Body(nn.Module):
    def __init__(self, size: Size, dropout: float) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(size.vocab, size.hidden)
        self.layers = nn.ModuleList(_Layer(size, dropout) for _ in range(size.layers))
        self.norm = _Norm(size.hidden)


class Network(nn.Module):
    """The model: `forward` turns ids into the states that the next tokens are told from.

    `dropout` falls on what each half of a layer adds (Srivastava et al. 2014), in training alone.
    """

    def __init__(self, size: Size, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.size = size
        self.model = _Body(size, dropout)
        self._initialise(seed)
        angles = torch.arange(size.context).float()[:, None] * (
            1.0 / ROPE_THETA ** (torch.arange(0, size.head, 2).float() / size.head)
        )
        angles = torch.cat((angles, angles), -1)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def _initialise(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                # The matrices that write into the residual stream start at zero (muP; Yang et al. 2022).
                ends = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.0 if ends else 0.02, generator=generator)

    @property
    def embedding(self) -> torch.Tensor:
        """The embeddings, in and out."""
        return self.model.embed_tokens.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the last states, shape (rows, tokens, hidden). Padding stands on the right, out of sight."""
        length = ids.shape[1]
        cos, sin = self.cos[:length], self.sin[:length]  # type: ignore[index]
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        out: torch.Tensor = self.model.norm(x)
        return out


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


def described(size: Size) -> dict[str, int]:
    """Return the size as it is written into a record."""
    return asdict(size)
