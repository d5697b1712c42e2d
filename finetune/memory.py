"""How much memory and time a recipe takes, computed from the shape of the model before any weight is read.

Peak bytes = weights + adapter with its gradients and optimizer states + activations at their highest.

Weights. NF4 with double quantization keeps a layer in 1/2 byte a weight, 1/64 for the 8-bit scales and 4/(64*256) for
the scales of the scales; embeddings, output layer and norms stay in the compute type. Adapter (n weights): n times the
bytes of weight, gradient and states (`STATES`).

Activations that one layer keeps for the backward pass, per token (H width, D heads times head size, M width of the
feed-forward layer, c bytes of the compute type), found by reading what autograd saves and checked against what torch
allocates (`tests/test_finetune_memory.py`):

    norms                  2 * 4 H            their inputs, in fp32
    queries, keys, values  3 c D              keys and values repeated for each head
    attention              2 c D + 4 heads    its result, once more in the layout of the next layer
    feed-forward           3 c M              gate, activation, up
    adapter inputs         c in               once for targets that share an input; once for each target with dropout
                                              (which keeps its mask too) or with fp32 adapters in a bf16 model
    adapter                c r                for each target

Without checkpointing all layers keep theirs; with it each keeps its input (c H), and one layer at a time all of it.
On top comes, for a moment, the larger of what the backward pass of a layer holds (`BACKWARD`) and what the loss does:
TRL never builds all logits but tiles of 4096 tokens by 32768 words, one on a GPU, and some copies of it (`TILES`) in
fp32 on a CPU. A GPU's own context comes on top of everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from clinical.finetune.recipe import Recipe, Training

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
STATES = {"adamw_torch": None, "paged_adamw_32bit": 8.0, "paged_adamw_8bit": 2.0, "adamw_bnb_8bit": 2.0}
"""Bytes of optimizer states for each trained weight; `None`: twice the bytes of the weight."""
TILE_TOKENS, TILE_WORDS = 4096, 32768
TILES = 7
CUDA_CONTEXT = 0.9e9
BACKWARD = 2.0
"""What the backward pass of one layer holds for a moment: so many gradients of the size of the feed-forward layer."""
INPUTS = {
    "q_proj": "attention", "k_proj": "attention", "v_proj": "attention", "o_proj": "output",
    "gate_proj": "mlp", "up_proj": "mlp", "down_proj": "down",
}  # fmt: skip
"""The layers that an adapter can stand on, and the input that each one reads."""


@dataclass(frozen=True)
class Shape:
    """The shape of a Mistral or Llama."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    ffn: int
    vocab: int
    tied: bool = False

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Return the shape that a config of `transformers` tells, or the same as a dictionary."""
        known: dict[str, Any] = config if isinstance(config, dict) else config.to_dict()
        get = known.get
        heads = int(known["num_attention_heads"])
        return cls(
            int(known["hidden_size"]),
            int(known["num_hidden_layers"]),
            heads,
            int(get("num_key_value_heads") or heads),
            int(get("head_dim") or known["hidden_size"] // heads),
            int(known["intermediate_size"]),
            int(known["vocab_size"]),
            bool(get("tie_word_embeddings") or False),
        )

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each layer that an adapter can stand on."""
        h, d, kv = self.hidden, self.heads * self.head_size, self.kv_heads * self.head_size
        return {
            "q_proj": (h, d), "k_proj": (h, kv), "v_proj": (h, kv), "o_proj": (d, h),
            "gate_proj": (h, self.ffn), "up_proj": (h, self.ffn), "down_proj": (self.ffn, h),
        }  # fmt: skip

    @property
    def in_layers(self) -> int:
        """The weights of all layers' matrices: those that are quantized."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.sizes.values())

    @property
    def others(self) -> int:
        """Embeddings, output layer and norms."""
        return self.vocab * self.hidden * (1 if self.tied else 2) + (2 * self.layers + 1) * self.hidden

    def targets(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the layers that a recipe's `lora.targets` mean."""
        return (
            tuple(self.sizes)
            if "all-linear" in names
            else tuple(name for name in self.sizes if name in names)
        )

    def adapter(self, r: int, names: Sequence[str]) -> int:
        """Return the weights of a LoRA adapter."""
        return self.layers * sum(r * sum(self.sizes[name]) for name in self.targets(names))


MISTRAL_7B = Shape(4096, 32, 32, 8, 128, 14336, 32768)
LLAMA2_7B = Shape(4096, 32, 32, 32, 128, 11008, 32000)


@dataclass(frozen=True)
class Estimate:
    """Bytes by part; `peak` is their sum. `device` is `cuda` or `cpu`.

    `activations` stay from the forward to the backward pass, `working` is what is held for a moment on top of them.
    """

    weights: float
    adapter: float
    gradients: float
    optimizer: float
    activations: float
    working: float
    device: str

    @property
    def peak(self) -> float:
        """The most that tensors take at one time."""
        parts = (self.weights, self.adapter, self.gradients, self.optimizer, self.activations, self.working)
        return sum(parts)

    @property
    def needed(self) -> float:
        """What must be free on the device: on a GPU its context comes on top."""
        return self.peak + (CUDA_CONTEXT if self.device == "cuda" else 0.0)


def compute_bytes(recipe: Recipe, device: str) -> int:
    """Return the bytes of a number in the arithmetic of a recipe."""
    if recipe.precision == "auto":
        return 2 if device == "cuda" and recipe.method != "full" else 4
    return 2 if recipe.precision == "bf16" else 4


def adapter_bytes(recipe: Recipe, device: str) -> int:
    """Return the bytes of a weight of an adapter: bf16 on 4-bit weights on a GPU (as in the QLoRA paper), else fp32."""
    return 2 if recipe.method == "qlora" and compute_bytes(recipe, device) == 2 else 4


def estimate(
    recipe: Recipe,
    shape: Shape,
    device: str,
    longest: int | None = None,
    *,
    checkpointing: bool | None = None,
) -> Estimate:
    """Return the memory of a step on the longest batch; `longest` is its row's length, by default the maximum.

    `checkpointing` is by default what the driver does: what the recipe says on a GPU, nothing on a CPU.
    """
    c = compute_bytes(recipe, device)
    length = recipe.max_length if recipe.packing else min(longest or recipe.max_length, recipe.max_length)
    tokens = recipe.train.batch * length
    frozen = recipe.method != "full"
    if recipe.method == "qlora":
        weights = shape.in_layers * NF4_BYTES + shape.others * c
    else:
        weights = (shape.in_layers + shape.others) * (c if frozen else 4.0)
    trained = shape.adapter(recipe.lora.r, recipe.lora.targets) if frozen else shape.in_layers + shape.others
    size = adapter_bytes(recipe, device) if frozen else 4
    layer = tokens * _layer(recipe, shape, device)
    moment = tokens * BACKWARD * c * shape.ffn + _dequantized(recipe, shape, c)
    if checkpoints(recipe, device) if checkpointing is None else checkpointing:
        kept, moment = float(tokens * shape.layers * c * shape.hidden), moment + layer
    else:
        kept = shape.layers * layer
    # Rows packed together see themselves alone: a mask of all tokens by all tokens.
    kept += tokens**2 if recipe.packing else 0
    return Estimate(
        weights=weights,
        adapter=float(trained * size) if frozen else 0.0,
        gradients=float(trained * size),
        optimizer=trained * (STATES[recipe.train.optimizer] or 2.0 * size),
        activations=kept,
        working=max(moment, _loss(shape, tokens, c, device)),
        device=device,
    )


def checkpoints(recipe: Recipe, device: str) -> bool:
    """Return whether activations are recomputed; not on a CPU: its memory is large, its arithmetic slow."""
    return recipe.train.checkpointing and device == "cuda"


def _layer(recipe: Recipe, shape: Shape, device: str) -> float:
    """Return the bytes that a layer keeps for its backward pass, per token."""
    c, h, d, m = compute_bytes(recipe, device), shape.hidden, shape.heads * shape.head_size, shape.ffn
    base = 8 * h + 3 * c * d + 2 * c * d + 4 * shape.heads + 3 * c * m
    if recipe.method == "full":
        # Every layer keeps its own input; norms keep what they scale.
        return base + c * (h + h + m) + 2 * c * h
    targets = shape.targets(recipe.lora.targets)
    own_copies = recipe.lora.dropout > 0 or adapter_bytes(recipe, device) != c
    mask = 0 if not recipe.lora.dropout else (1 if device == "cuda" else c)
    inputs = sum((c + mask) * shape.sizes[name][0] for name in targets)
    if not own_copies:
        # The attention's result is kept anyway.
        shared = {INPUTS[name]: shape.sizes[name][0] for name in targets if INPUTS[name] != "output"}
        inputs = c * sum(shared.values())
    return base + inputs + c * recipe.lora.r * len(targets)


def _dequantized(recipe: Recipe, shape: Shape, c: int) -> float:
    """Return the bytes of the largest matrix while it is unpacked."""
    largest = max(inputs * outputs for inputs, outputs in shape.sizes.values())
    return largest * c if recipe.method == "qlora" else 0.0


def _loss(shape: Shape, tokens: int, c: int, device: str) -> float:
    rows = min(tokens, TILE_TOKENS)
    hidden = tokens * shape.hidden * (4 + 4)
    copies = 0 if device == "cuda" else TILES * 4 * min(shape.vocab, TILE_WORDS)
    return rows * (TILE_WORDS * c + copies) + hidden


@dataclass(frozen=True)
class Change:
    """A knob that makes a recipe fit, and what it costs."""

    settings: str
    cost: str
    recipe: Recipe


def changes(recipe: Recipe) -> list[Change]:
    """Return the knobs that save memory, the cheapest first, each applied on top of those before it."""
    steps: list[Change] = []

    def turn(settings: str, cost: str, **values: Any) -> None:
        train = {key: value for key, value in values.items() if key in Training.__dataclass_fields__}
        own = {key: value for key, value in values.items() if key not in train}
        last = steps[-1].recipe if steps else recipe
        changed = replace(last, train=replace(last.train, **train), **own)
        steps.append(Change(settings, cost, changed))

    if not recipe.train.checkpointing:
        turn("train.checkpointing=true", "a third more time", checkpointing=True)
    batch, accumulation = recipe.train.batch, recipe.train.accumulation
    while batch > 1:
        batch, accumulation = batch // 2, accumulation * 2
        turn(
            f"train.batch={batch} --set train.accumulation={accumulation}",
            "the same steps, slower",
            batch=batch,
            accumulation=accumulation,
        )
    if recipe.method == "lora":
        turn("method=qlora", "some 20 % more time, weights rounded to 4 bits", method="qlora")
    if recipe.train.optimizer == "adamw_torch":
        turn("train.optimizer=paged_adamw_8bit", "rounded states", optimizer="paged_adamw_8bit")
    if recipe.lora.r > 16:
        turn("lora.r=16", "a smaller adapter", lora=replace(recipe.lora, r=16))
    length = recipe.max_length
    while length > 512:
        length //= 2
        turn(f"max_length={length}", "longer rows must be shortened or left out", max_length=length)
    return steps


def that_fits(
    recipe: Recipe, shape: Shape, device: str, free: float, longest: int | None = None
) -> list[Change]:
    """Return the knobs to turn, in this order, until the recipe fits; empty when none of them is enough."""
    turned: list[Change] = []
    for change in changes(recipe):
        turned.append(change)
        if estimate(change.recipe, shape, device, longest).needed <= free:
            last: dict[str, Change] = {}
            for one in turned:
                last[one.settings.split("=")[0]] = one
            return list(last.values())
    return []


def flops(recipe: Recipe, shape: Shape, tokens: int, device: str) -> float:
    """Return the arithmetic of training on so many tokens: two operations a weight in each pass.

    Forward, and backward for the activations; for the weights as well where they are trained, and the forward pass
    again with checkpointing.
    """
    passes = 3 if recipe.method == "full" else 2
    if checkpoints(recipe, device):
        passes += 1
    return 2.0 * passes * tokens * (shape.in_layers + shape.vocab * shape.hidden)


GPU_FLOPS = {
    "H200": 790e12,
    "H100": 790e12,
    "A100": 280e12,
    "L40": 180e12,
    "4090": 160e12,
    "L4": 60e12,
    "T4": 40e12,
}
"""Large bf16 matrix products a second, by a word of the device's name."""
SHARE = {"lora": 0.35, "qlora": 0.27, "full": 0.4}
"""The part of it that training reaches; the rest goes into small operations and unpacking."""


def seconds(recipe: Recipe, shape: Shape, tokens: int, device: str, speed: float) -> float:
    """Return how long training on so many tokens takes at a device's speed in operations a second."""
    return flops(recipe, shape, tokens, device) / (speed * SHARE[recipe.method])
