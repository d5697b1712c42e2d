"""Puts a small model, and an adapter if it has one, together as they ship: half precision, card, checksums.

    python -m clinical.finetune.mistral_release --base build/run/model --tokenizer build/mini \\
        --out clinical/models/weights/clinical-mini --gold ncbi_disease:dev,maccrobat:dev
    python -m clinical.finetune.mistral_release --base build/run/model --tokenizer build/mini \\
        --adapter build/suite --tasks ask,search,summarize --out clinical/models/weights/clinical-mini
    python -m clinical.finetune.mistral_release --help
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from clinical.corpora.catalog import find
from clinical.finetune.provenance import history
from clinical.models.fingerprint import fingerprint
from clinical.models.mistral import load_network
from clinical.models.mistral_tagger import MistralTagger
from clinical.prompts.labels import by_name
from clinical.scoring.gold import read_gold
from clinical.scoring.spans import score

ADAPTERS = "adapters"
LIMITS = """\
A very small model. It marks the entities that its corpora annotate and knows no other labels, was never shown a note of
a hospital, chooses the sentences that answer a question badly, and cannot write prose. It is not a medical device."""


def assemble(
    base: Path,
    adapter: Path | None,
    out: Path,
    tokenizer: Path | None = None,
    tasks: Sequence[str] = ("ner",),
) -> None:
    """Write base and adapter to `out` in half precision, the adapter tied to the base as it is stored there.

    `tokenizer` is a folder with the tokenizer's files, where the base has none. `tasks` are those that the adapter is
    used for.
    """
    import torch

    network = load_network(base).to(torch.float16)
    network.config.dtype = torch.float16
    network.save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy((tokenizer or base) / name, out / name)
    settings = _read(base / "clinical.json")
    if adapter:
        place = f"{ADAPTERS}/{tasks[0] if len(tasks) == 1 else 'suite'}"
        _add_adapter(adapter, out, out / place, settings.get("prompts", {}))
        settings["adapters"] = dict.fromkeys(tasks, place)
    _write(out / "clinical.json", settings)
    for path in out.rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files that only their owner can read


def _add_adapter(adapter: Path, out: Path, target: Path, prompts: dict[str, str]) -> None:
    """Write the adapter to `target`; what it was not trained to do, it does by the prompts of the base."""
    target.mkdir(parents=True, exist_ok=True)
    _half(adapter / "adapter_model.safetensors", target / "adapter_model.safetensors")
    config = _read(adapter / "adapter_config.json")
    # Where the base lay when the adapter was trained says nothing on another machine.
    config["base_model_name_or_path"] = "../.."
    _write(target / "adapter_config.json", config)
    card = _read(adapter / "clinical.json")
    prompts = {**prompts, **card.get("prompts", {})}
    _write(target / "clinical.json", {**card, "prompts": prompts, "base_fingerprint": fingerprint(out)})


def _half(source: Path, target: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = {name: weight.to(torch.float16) for name, weight in load_file(source).items()}
    save_file(weights, target, metadata={"format": "pt"})


def scores(model: Path, gold: Sequence[str]) -> list[dict[str, Any]]:
    """Return strict F1 on each `corpus:split`, for the labels that it annotates, and words a second."""
    tagger = MistralTagger.load(str(model))
    rows = []
    for name in gold:
        standard = read_gold(name)
        began = time.perf_counter()
        found = tagger.tag(standard.texts, by_name(standard.labels))
        seconds = time.perf_counter() - began
        micro = score([d.entities for d in standard.documents], found, standard.labels).micro
        row = {"gold": name, "strict_f1": 100 * micro.strict.f1, "partial_f1": 100 * micro.partial.f1}
        rows.append({**row, "words_per_second": standard.words / seconds})
        print(rows[-1], flush=True)
    return rows


def card(out: Path, steps: Sequence[dict[str, Any]], measured: Sequence[dict[str, Any]]) -> str:
    """Return the card of the model: how it was made, from what, how good it is, what it is not."""
    config = _read(out / "config.json")
    sources = {name.split(":")[0] for step in steps for name in step["corpora"]}
    lines = [
        f"# {out.name}",
        "",
        f"A `MistralForCausalLM` with {config['num_hidden_layers']} layers of {config['hidden_size']} and a "
        f"vocabulary of {config['vocab_size']}, trained from nothing by this project"
        + "".join(
            f", with a LoRA adapter for {names} in `{place}`" for place, names in _adapters(out).items()
        )
        + ". Weights under the licence of the project (Apache-2.0).",
        "",
        "| step | command | commit | date | seed | trained on |",
        "|---|---|---|---|---|---|",
        *(
            f"| {step['step']} | `{step['command']}` | {step['commit']} | {step['date']} | "
            f"{step['recipe']['seed']} | "
            f"{', '.join(step['corpora'])} |"
            for step in steps
        ),
        "",
        "| corpus | terms |",
        "|---|---|",
        *(f"| {name} | {find(name).licence} |" for name in sorted(sources)),
        "",
        "| gold | strict F1 | partial F1 | words/s, one thread |",
        "|---|---|---|---|",
        *(
            f"| {row['gold']} | {row['strict_f1']:.1f} | {row['partial_f1']:.1f} | {row['words_per_second']:.0f} |"
            for row in measured
        ),
        "",
        LIMITS,
        "",
        "| file | sha256 |",
        "|---|---|",
        *(f"| {path.relative_to(out)} | {_sha256(path)} |" for path in sorted(out.rglob("*.safetensors"))),
        f"| tokenizer.json | {_sha256(out / 'tokenizer.json')} |",
        "",
    ]
    return "\n".join(lines)


def _adapters(out: Path) -> dict[str, str]:
    """Return the adapters' folders, each with the tasks that it is for."""
    placed: dict[str, list[str]] = {}
    for task, place in _read(out / "clinical.json").get("adapters", {}).items():
        placed.setdefault(place, []).append(f"`{task}`")
    return {place: ", ".join(tasks) for place, tasks in placed.items()}


def steps_to(base: Path, adapter: Path | None) -> list[dict[str, Any]]:
    """Return all steps that led to the base, and then those to the adapter alone."""
    if adapter is None:
        return history(base)
    steps = history(base, adapter)
    return [*steps, driven(adapter)] if (adapter / "run.json").is_file() else steps


def driven(adapter: Path) -> dict[str, Any]:
    """Return the record of an adapter that `clinical finetune` made, as a step of the history."""
    run, made = _read(adapter / "run.json"), _read(adapter / "clinical.json")
    recipe = yaml.safe_load((adapter / "config.yaml").read_text(encoding="utf-8"))
    corpora = [name.removesuffix(".gz").removesuffix(".jsonl").replace("/", ":") for name in run["data"]]
    return {
        "step": f"{', '.join(made['tasks'])}: adapter, rank {made['rank']}",
        "command": run["command"],
        "commit": run["commit"],
        "date": run["date"],
        "recipe": {"seed": recipe["train"]["seed"]},
        "corpora": corpora,
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(
    base: Path,
    adapter: Path | None,
    out: Path,
    gold: Sequence[str],
    tokenizer: Path | None = None,
    tasks: Sequence[str] = ("ner",),
) -> None:
    """Write the model that ships, with its card."""
    assemble(base, adapter, out, tokenizer, tasks)
    text = card(out, steps_to(base, adapter), scores(out, gold))
    (out / "README.md").write_text(text, encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line and assemble."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument(
        "--adapter", type=Path, help="an adapter; none where the base is trained for everything"
    )
    parser.add_argument("--tasks", default="ner", help="what the adapter is used for: ask,search,…")
    parser.add_argument("--tokenizer", type=Path, help="folder with the tokenizer, where the base has none")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--gold", default="", help="corpus:split,… to score for the card")
    given = parser.parse_args()
    for folder, name in (
        (given.base, "config.json"),
        (given.adapter, "adapter_config.json"),
        (given.tokenizer or given.base, "tokenizer.json"),
    ):
        if folder and not (folder / name).is_file():
            parser.error(f"{folder} has no {name}")

    import torch

    torch.set_num_threads(1)
    run(
        given.base,
        given.adapter,
        given.out,
        [name for name in given.gold.split(",") if name],
        given.tokenizer,
        given.tasks.split(","),
    )


if __name__ == "__main__":
    main()
