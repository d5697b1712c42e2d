"""A rehearsal: two steps of a recipe on a tiny clone of its base, with a few rows of its data or rows made up here.

    clinical finetune suite-mistral-7b-qlora --dry-run

The clone has the architecture, the tokenizer (if it is at hand) and the method of the real one, few layers and random
weights. So a mistake in data, templates, masks or shapes shows in seconds, on any machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from clinical.errors import UsageError
from clinical.finetune.examples import SYNTHETIC, questions, read_source
from clinical.finetune.recipe import Recipe, Source
from clinical.models.mistral import find_model, hush_libraries, load_tokenizer

ROWS = 8
PASSES = 4.0
"""Each row is read so often: what is held out of a few rows may leave too few for two steps."""
LAYERS, HIDDEN, HEADS = 2, 64, 2
LENGTH = 512


def rehearsal(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe for two steps on a tiny clone, which is written to this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    hush_libraries()
    base = tiny_clone(recipe, folder / "base")
    data = tuple(_few(recipe, source, folder, number) for number, source in enumerate(recipe.data))
    dev = tuple(_few(recipe, source, folder, 100 + number) for number, source in enumerate(recipe.dev))
    train = replace(
        recipe.train,
        epochs=1.0,
        max_steps=2,
        batch=2,
        accumulation=min(2, recipe.train.accumulation),
        log_every=1,
    )
    return replace(
        recipe,
        base=str(base),
        data=data,
        dev=dev,
        hold_out=0.0 if dev else 0.4,
        max_length=max(recipe.max_length, LENGTH),
        allow_truncated=ROWS * len(data),
        train=train,
        lora=replace(recipe.lora, start=""),  # an adapter of the real base fits no clone
        evaluate=replace(recipe.evaluate, every=0, rows=2, max_new_tokens=8),
        save=replace(recipe.save, every=0),
    )


def _few(recipe: Recipe, source: Source, folder: Path, number: int) -> Source:
    """Return the first rows of a source, or made-up ones where it is not here.

    A file that is here and cannot be read is what a rehearsal is to find: raises `UsageError` as training would.
    """
    limited = replace(source, limit=min(ROWS, source.limit or ROWS), weight=PASSES)
    if source.task == "ner" and source.corpus == SYNTHETIC:
        return limited
    try:
        found = (
            questions(limited) if source.task in ("search", "ask") else read_source(recipe, limited).examples
        )
        if found:
            return limited
    except (UsageError, OSError):
        if source.file and Path(source.file).is_file():
            raise
    return made_up(source, folder / f"rows-{number}.jsonl")


def made_up(source: Source, path: Path) -> Source:
    """Return a source of made-up rows for the same task, written to this file."""
    if source.task == "ner":
        return Source(task="ner", corpus=SYNTHETIC, limit=ROWS, weight=PASSES)
    write: Callable[[int], dict[str, Any]] = _question if source.task in ("search", "ask") else _pair
    rows = [json.dumps(write(number)) for number in range(ROWS)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return Source(task=source.task, file=str(path), style=source.style, system=source.system, weight=PASSES)


def _pair(number: int) -> dict[str, Any]:
    dose = 5 * (number + 1)
    return {
        "question": f"Dialogue {number}. Doctor: And the cough? Patient: Better since {dose} mg of prednisone.",
        "answer": f"Cough better on prednisone {dose} mg.",
    }


def _question(number: int) -> dict[str, Any]:
    text = f"Seen in room {number}. Warfarin was stopped after a bleed. INR was {number}.1. Feels well."
    return {
        "id": str(number),
        "question": "Why was warfarin stopped?",
        "text": text,
        "answers": ["Warfarin was stopped after a bleed."],
    }


CONFIGS: dict[str, dict[str, Any]] = {
    "mistralai/Mistral-7B-Instruct-v0.1": {
        "vocab_size": 32000, "sliding_window": 4096, "rope_theta": 10000.0, "model_type": "mistral",
    },
    "mistralai/Mistral-7B-Instruct-v0.2": {"vocab_size": 32000, "rope_theta": 1e6, "model_type": "mistral"},
    "mistralai/Mistral-7B-Instruct-v0.3": {"vocab_size": 32768, "rope_theta": 1e6, "model_type": "mistral"},
    "meta-llama/Llama-2-7b-hf": {
        "vocab_size": 32000, "num_key_value_heads": 32, "intermediate_size": 11008, "rope_theta": 10000.0,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "model_type": "llama",
    },
}  # fmt: skip
"""What is known of the bases of the packaged recipes without having them."""
SEVEN_B = {
    "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "head_dim": 128, "intermediate_size": 14336, "max_position_embeddings": 32768, "rms_norm_eps": 1e-5,
}  # fmt: skip


def config_of(base: str) -> dict[str, Any]:
    """Return the config of a base: its own where it is here, else what is known of it by its name.

    Raises `UsageError` when neither is.
    """
    try:
        found: dict[str, Any] = json.loads((find_model(base) / "config.json").read_text(encoding="utf-8"))
        return found
    except UsageError:
        if base in CONFIGS:
            return {**SEVEN_B, **CONFIGS[base]}
        raise


def tiny_clone(recipe: Recipe, folder: Path) -> Path:
    """Write a model of the base's architecture with few, narrow layers of random weights, and return its folder."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    known = config_of(recipe.base)
    tokenizer = tokenizer_of(recipe.base, folder)
    kv_heads = int(known.get("num_key_value_heads") or known["num_attention_heads"])
    config = AutoConfig.for_model(
        known["model_type"],
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=max(1, HEADS * kv_heads // int(known["num_attention_heads"])),
        head_dim=HIDDEN // HEADS,
        max_position_embeddings=4096,
        tie_word_embeddings=bool(known.get("tie_word_embeddings", False)),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    if known["model_type"] == "mistral":
        config.sliding_window = known.get("sliding_window")
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tokenizer_of(base: str, folder: Path) -> Any:
    """Return the tokenizer of a base; if it is not here Mistral's own from mistral-common, else one trained here."""
    try:
        return load_tokenizer(find_model(base))
    except UsageError:
        return _mistral_tokenizer(base, folder) or _own_tokenizer()


TOKENIZERS = {"v0.3": "mistral_instruct_tokenizer_240323.model.v3"}
V1_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %} [INST] {{ m['content'] }} [/INST]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)


def _mistral_tokenizer(base: str, folder: Path) -> Any:
    """Return Mistral's tokenizer of that version from the package mistral-common, `None` without the package."""
    try:
        import mistral_common
    except ImportError:
        return None
    import shutil

    from transformers import LlamaTokenizer

    name = next(
        (file for version, file in TOKENIZERS.items() if base.endswith(version)), "tokenizer.model.v1"
    )
    source = Path(str(mistral_common.__file__)).parent / "data" / name
    if not source.is_file():
        return None
    place = folder.with_name(f"{folder.name}-tokenizer")
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, place / "tokenizer.model")
    tokenizer = LlamaTokenizer.from_pretrained(place)
    if "Instruct" in base and "[INST]" not in tokenizer.get_vocab():
        tokenizer.chat_template = V1_TEMPLATE
    return tokenizer


def _own_tokenizer() -> Any:
    from clinical.finetune.synthetic_notes import LINES
    from clinical.finetune.tokenizer import train_tokenizer
    from clinical.prompts.labels import clinical_labels

    return train_tokenizer(LINES, [label.name for label in clinical_labels()], 1000)
