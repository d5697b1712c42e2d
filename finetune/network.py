"""The small Mistral as it is trained: the layers of `MistralForCausalLM`, no more than training needs.

Parameters have the names of `transformers`, so weights go both ways as they are, and a test holds the two networks to
the same numbers. Being plain torch it compiles whole, with any batch shape.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from clinical.finetune.sizes import EPSILON, ROPE_THETA, Size


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.rms_norm(x.float(), self.weight.shape, self.weight, EPSILON)


class _Linear(nn.Linear):
    """A matrix, and what an adapter of low rank adds to it (LoRA; Hu et al. 2021) once there is one."""

    def __init__(self, given: int, returned: int) -> None:
        super().__init__(given, returned, bias=False)
        self.lora_A: nn.Parameter | None = None
        self.lora_B: nn.Parameter | None = None

    def adapt(self, rank: int, generator: torch.Generator) -> None:
        """Begin an adapter that adds nothing yet; from here on it alone is trained.

        The rows of the first matrix are about one long, so that what the second learns counts as it would in the whole
        matrix.
        """
        self.weight.requires_grad_(False)
        given = torch.randn(rank, self.in_features, generator=generator) / self.in_features**0.5
        self.lora_A = nn.Parameter(given.to(self.weight.device))
        self.lora_B = nn.Parameter(torch.zeros(self.out_features, rank, device=self.weight.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.lora_A is None or self.lora_B is None:
            return functional.linear(x, self.weight)
        return functional.linear(x, self.weight + self.lora_B @ self.lora_A)


class _Attention(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.q_proj = _Linear(size.hidden, size.heads * size.head)
        self.k_proj = _Linear(size.hidden, size.kv_heads * size.head)
        self.v_proj = _Linear(size.hidden, size.kv_heads * size.head)
        self.o_proj = _Linear(size.heads * size.head, size.hidden)

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
        self.gate_proj = _Linear(size.hidden, size.ffn)
        self.up_proj = _Linear(size.hidden, size.ffn)
        self.down_proj = _Linear(size.ffn, size.hidden)

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


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a model folder of `transformers`, of one file or several, in single precision."""
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= {name: weight.float() for name, weight in load_file(path).items()}
    return found


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

    def adapt(self, rank: int, seed: int) -> None:
        """Begin an adapter on every matrix of the layers; all else keeps its weights."""
        self.requires_grad_(False)
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, _Linear):
                module.adapt(rank, generator)

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
