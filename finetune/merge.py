"""Folds an adapter into its base: one model folder that needs no adapter any more, checked before it is kept.

    clinical models merge clinical-mini out/ner -o out/ner-merged

An adapter that was trained on 4-bit weights (QLoRA) has learned to make up for their rounding: it is folded into the
weights as they are after dequantisation, in full precision. Folding it into the 4-bit weights themselves would round
the adapter away (a divergence 500 times as large) and is refused. The folder is read back from disk, and its answers
to some probe prompts are compared with those of base and adapter side by side; when they differ, nothing is kept.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from clinical.errors import ClinicalError, UsageError
from clinical.models.adapters import CARD, CONFIG
from clinical.models.fingerprint import check_base, fingerprint
from clinical.models.mistral import find_model, hush_libraries, load_network, load_tokenizer, quiet_peft

Precision = Literal["float32", "bfloat16", "float16"]
MOST_DIVERGENCE = 2e-3
"""Mean Kullback-Leibler divergence in nats a token. bfloat16 weights alone give about 1e-4."""
PROBES = (
    "The patient is a 61-year-old man with type 2 diabetes who was given metformin 500 mg twice daily.",
    "Chest X-ray: no focal consolidation. The heart is normal in size. Impression: no acute disease.",
    "What are the symptoms of iron deficiency? Answer in one sentence.",
    "Blood pressure 142/88 mmHg, pulse 76, temperature 37.1 °C; denies fever, chills or weight loss.",
)
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tekken.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "generation_config.json",
)


@dataclass(frozen=True)
class Merged:
    """A merged model: where it is, and how far its answers are from those of base and adapter (nats a token)."""

    folder: Path
    divergence: float
    worst: float
    precision: str


def merge(base: str, adapter: Path, out: Path, precision: Precision | None = None) -> Merged:
    """Write the model that base and adapter make together to `out`, and return it.

    `precision` is that of the weights on disk, by default the base's own. Raises `UsageError` when something is not
    there, does not fit, or `out` is not empty, and `ClinicalError` when the merged model answers otherwise.
    """
    import torch

    folder = find_model(base)
    if not (adapter / CONFIG).is_file():
        raise UsageError(f"{adapter} is not an adapter: it has no {CONFIG}")
    check_base(adapter, folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty; give another folder")
    hush_libraries()
    prompts = probe_prompts(load_tokenizer(folder))
    four_bit = _card(adapter).get("method") == "qlora" or "quantization_config" in _json(
        folder / "config.json"
    )
    own = (
        _json(folder / "config.json").get("dtype")
        or _json(folder / "config.json").get("torch_dtype")
        or "float32"
    )
    kind = getattr(torch, precision or str(own))
    wanted = answers(with_adapter(load_network(folder, four_bit=four_bit), adapter), prompts)
    network = load_network(folder, four_bit=four_bit)
    folded = fold(with_adapter(dequantized(network) if four_bit else network, adapter))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".merging-") as scratch:
        made = Path(scratch) / "model"
        _write(folded, kind, folder, made)
        mean, worst = divergence(wanted, answers(load_network(made, four_bit=False).eval(), prompts))
        if not mean <= MOST_DIVERGENCE:
            raise ClinicalError(
                f"merged, the model answers otherwise than with the adapter beside it ({mean:.1e} nats a token, at "
                f"most {MOST_DIVERGENCE:.0e} is kept); nothing was written"
                + ("; try --precision float32" if kind != torch.float32 else "")
            )
        merged = Merged(out, mean, worst, str(kind).removeprefix("torch."))
        _describe(made, merged, base, folder, adapter)
        if out.is_dir():
            out.rmdir()
        made.rename(out)
    return merged


def with_adapter(network: Any, adapter: Path) -> Any:
    """Return the network with the adapter beside its weights."""
    from peft import PeftModel

    with quiet_peft():
        return PeftModel.from_pretrained(network, adapter, is_trainable=False, local_files_only=True).eval()


def dequantized(network: Any) -> Any:
    """Return the network with its 4-bit weights as plain numbers, rounded as they were."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        return network.dequantize()
    finally:
        logging.set_verbosity(before)


def fold(adapted: Any) -> Any:
    """Return the network with the adapter that is beside its weights folded into them.

    Raises `UsageError` when these are in 4 bits: what the adapter adds would be rounded away.
    """
    if getattr(adapted.get_base_model(), "is_quantized", False):
        raise UsageError(
            "an adapter is not merged into 4-bit weights, which would round it away; dequantize them first"
        )
    with quiet_peft():
        return adapted.merge_and_unload(safe_merge=True)


def answers(network: Any, prompts: Sequence[list[int]]) -> list[Any]:
    """Return for each prompt the logarithms of the probabilities of the next token at every place, in float32."""
    import torch

    found = []
    with torch.inference_mode():
        for prompt in prompts:
            logits = network(input_ids=torch.tensor([prompt], device=network.device)).logits[0].float()
            found.append(torch.log_softmax(logits, -1).cpu())
    return found


def divergence(wanted: Sequence[Any], found: Sequence[Any]) -> tuple[float, float]:
    """Return the mean and the largest Kullback-Leibler divergence over all places of all prompts, in nats."""
    import torch

    places = torch.cat(
        [(one.exp() * (one - other)).sum(-1) for one, other in zip(wanted, found, strict=True)]
    )
    # Rounding can take it a little below nothing.
    return max(0.0, float(places.mean())), max(0.0, float(places.max()))


def probe_prompts(tokenizer: Any) -> list[list[int]]:
    """Return the prompts on which two models are compared, as tokens."""
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return [[*begin, *tokenizer(text, add_special_tokens=False)["input_ids"]] for text in PROBES]


def _write(network: Any, kind: Any, base: Path, made: Path) -> None:
    network = network.to(kind)
    network.config.dtype = kind
    with contextlib.redirect_stderr(io.StringIO()):  # a bar of its own
        network.save_pretrained(made)
    for path in made.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files that only their owner can read
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, made / name)


def _describe(made: Path, merged: Merged, base: str, base_folder: Path, adapter: Path) -> None:
    """Write the card of the merged model: what `clinical` must know of it, and where it comes from."""
    known = _card(adapter)
    lineage = {
        "base": Path(base).name if Path(base).is_dir() else base,
        "base_fingerprint": fingerprint(base_folder),
        "adapter": adapter.resolve().name,
        "recipe": known.get("recipe"),
        "method": known.get("method"),
        "dev_scores": known.get("dev_scores"),
        "merged": datetime.now(UTC).date().isoformat(),
        "precision": merged.precision,
        "divergence_nats": round(merged.divergence, 9),
    }
    if known:
        # An adapter's ties to its base say nothing of the model that both became.
        own = {
            key: value
            for key, value in known.items()
            if key not in ("base", "base_fingerprint", "method", "rank")
        }
        card = json.dumps({**own, "merged_from": lineage}, indent=1)
        (made / CARD).write_text(card + "\n", encoding="utf-8")
    told = "\n".join(f"| {key} | {value} |" for key, value in lineage.items() if value is not None)
    (made / "README.md").write_text(
        f"# {merged.folder.name}\n\n"
        "A base model and a LoRA adapter, merged by `clinical models merge`; it is used without an adapter. The "
        f"licence is that of the base. Not a medical device.\n\n| | |\n|---|---|\n{told}\n\n"
        f"Its answers to {len(PROBES)} probe prompts were compared with those of base and adapter side by side: a "
        f"mean divergence of {merged.divergence:.1e} nats a token, {merged.worst:.1e} at worst.\n",
        encoding="utf-8",
    )


def _card(adapter: Path) -> dict[str, Any]:
    return _json(adapter / CARD)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return known
