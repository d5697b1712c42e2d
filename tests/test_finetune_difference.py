"""A model's difference from another as an adapter of low rank."""

from __future__ import annotations

import torch

from clinical.finetune.difference import difference


def test_a_difference_of_low_rank_is_kept_and_of_a_higher_one_its_largest_part() -> None:
    draw = torch.Generator().manual_seed(0)
    base = {
        "model.layers.0.mlp.up_proj.weight": torch.randn(12, 8, generator=draw),
        "model.norm.weight": torch.ones(8),
    }
    first, second = (
        torch.outer(torch.randn(12, generator=draw), torch.randn(8, generator=draw)) for _ in range(2)
    )
    tuned = {
        name: weight + (3 * first + 0.01 * second if weight.ndim == 2 else 1) for name, weight in base.items()
    }

    def added(rank: int) -> torch.Tensor:
        made = difference(base, tuned, rank)
        name = "model.layers.0.mlp.up_proj"
        assert {key: tuple(value.shape) for key, value in made.items()} == {
            f"{name}.lora_A": (rank, 8),
            f"{name}.lora_B": (12, rank),
        }
        return made[f"{name}.lora_B"] @ made[f"{name}.lora_A"]

    whole = 3 * first + 0.01 * second
    assert torch.allclose(added(2), whole, atol=1e-4)
    assert 1e-3 < (added(1) - whole).norm() < 0.02 * whole.norm()
