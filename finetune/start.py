"""The adapter that a run goes on from, where its recipe names one in `lora.start`."""

from __future__ import annotations

import json
from pathlib import Path

from clinical.errors import UsageError
from clinical.finetune.recipe import Recipe
from clinical.models.fingerprint import check_base
from clinical.models.mistral import read_card


def starting_adapter(recipe: Recipe, base: Path) -> Path | None:
    """Return the folder of the adapter to go on from, `None` where a new one is begun.

    Raises `UsageError` when there is none, or when it has another base, rank or scale than the recipe.
    """
    named = recipe.lora.start
    if not named:
        return None
    if recipe.method == "full":
        raise UsageError("lora.start goes on with an adapter, and method: full trains none")
    card = read_card(base)
    of_task = card.adapters.get(named) if card else None
    folder = base / of_task if of_task else Path(named).expanduser()
    if not (folder / "adapter_config.json").is_file():
        raise UsageError(
            f"lora.start: {named} is neither the folder of an adapter nor a task that {recipe.base} has one for"
        )
    check_base(folder, base)
    held = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if (held["r"], held["lora_alpha"]) != (recipe.lora.r, recipe.lora.alpha):
        raise UsageError(
            f"lora.start: the adapter {named} has rank {held['r']} and alpha {held['lora_alpha']}; "
            f"add --set lora.r={held['r']} --set lora.alpha={held['lora_alpha']}"
        )
    return folder
