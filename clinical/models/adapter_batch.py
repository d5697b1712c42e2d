"""Several adapters on one base in one batch: each row is answered by the adapter that it names.

    several = load_several("clinical-mini", {"ner": Path("out/ner"), "search": Path("out/search")})
    logits = several.logits([[1, 2, 3], [1, 4]], ["ner", "search"])

The weights of the base are in memory once, and a batch runs through them once; peft adds to each row what its
adapter adds. That pays where requests for several tasks come mixed; where they come in runs, an adapter that is
folded in (`mistral.load`) is faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinical.errors import UsageError
from clinical.models.adapters import folder_of
from clinical.models.fingerprint import check_base
from clinical.models.mistral import find_model, hush_libraries, load_network, load_tokenizer, quiet_peft

PLAIN = "__base__"
"""The name of the base without an adapter, as peft has it."""


@dataclass(eq=False)
class Several:
    """A base with adapters by name. `tokenizer` is that of the base."""

    network: Any
    tokenizer: Any
    names: tuple[str, ...]

    def logits(self, prompts: Sequence[Sequence[int]], adapters: Sequence[str]) -> list[Any]:
        """Return for each prompt the logits at each of its places, each by the adapter of its row.

        Raises `UsageError` for an adapter that was not loaded.
        """
        import torch

        ids, mask = self._padded(prompts)
        with torch.inference_mode():
            found = self.network(
                input_ids=ids, attention_mask=mask, adapter_names=self._known(adapters)
            ).logits
        return [row[-len(prompt) :] for row, prompt in zip(found, prompts, strict=True)]

    def generate(
        self, prompts: Sequence[Sequence[int]], adapters: Sequence[str], max_new_tokens: int
    ) -> list[list[int]]:
        """Return for each prompt the most probable answer, without the token that ends it."""
        import torch

        ids, mask = self._padded(prompts)
        with torch.inference_mode():
            found = self.network.generate(
                input_ids=ids,
                attention_mask=mask,
                adapter_names=self._known(adapters),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=self._pad,
            )
        return [_until(row.tolist(), self.tokenizer.eos_token_id) for row in found[:, ids.shape[1] :]]

    @property
    def _pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if pad is None else pad)

    def _padded(self, prompts: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """Return the prompts as one batch with padding on the left, so that all end at the same place."""
        import torch

        longest = max(map(len, prompts))
        ids = [[self._pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        place = self.network.device
        return torch.tensor(ids, device=place), torch.tensor(mask, device=place)

    def _known(self, adapters: Sequence[str]) -> list[str]:
        unknown = sorted(set(adapters) - {*self.names, PLAIN})
        if unknown:
            raise UsageError(
                f"no adapter {', '.join(unknown)} was loaded; there are: {', '.join((*self.names, PLAIN))}"
            )
        return list(adapters)


def load_several(base: str, adapters: Mapping[str, str | Path], four_bit: bool | None = None) -> Several:
    """Return a base with these adapters, each a folder or a name of the registry, by the name to call it.

    Raises `UsageError` when one was trained on another base.
    """
    from peft import PeftModel

    if not adapters or PLAIN in adapters:
        raise UsageError(f"name at least one adapter, and none of them {PLAIN}")
    folder = find_model(base)
    folders = {name: folder_of(str(where)) for name, where in adapters.items()}
    for where in folders.values():
        check_base(where, folder)
    hush_libraries()
    network = load_network(folder, four_bit)
    (first, where), *others = folders.items()
    with quiet_peft():
        adapted = PeftModel.from_pretrained(network, where, adapter_name=first, is_trainable=False)
        for name, other in others:
            adapted.load_adapter(other, adapter_name=name, is_trainable=False)
    return Several(adapted.eval(), load_tokenizer(folder), tuple(folders))


def _until(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids
