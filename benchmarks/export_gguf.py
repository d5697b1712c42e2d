"""Compares a GGUF export with the model it was made from in llama.cpp itself: tokens, probabilities, greedy answers.

    clinical models export gguf clinical-mini -o build/mini.gguf --type f16
    python benchmarks/export_gguf.py reference clinical-mini build/reference.json
    python benchmarks/export_gguf.py compare build/reference.json build/mini.gguf     # needs llama-cpp-python

The two steps may run in two environments: llama-cpp-python is built from source and is no dependency of this project.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

NEW_TOKENS = 32


def reference(model: str, out: Path) -> None:
    """Write what the model answers to the probe prompts of the export."""
    import torch

    from clinical.finetune.export_gguf import HARD_TEXT
    from clinical.finetune.merge import PROBES, answers
    from clinical.models import mistral

    torch.set_num_threads(1)
    loaded = mistral.load(model)
    rows = []
    for text in (*PROBES, HARD_TEXT):
        ids = [loaded.tokenizer.bos_token_id, *loaded.tokenizer(text, add_special_tokens=False)["input_ids"]]
        given = torch.tensor([ids])
        with torch.inference_mode():
            answer = loaded.model.generate(
                given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                pad_token_id=0,
            )
        logs = answers(loaded.model, [ids])[0].tolist()
        rows.append({"text": text, "ids": ids, "logs": logs, "answer": answer[0, len(ids) :].tolist()})
    out.write_text(json.dumps({"end": loaded.tokenizer.eos_token_id, "rows": rows}), encoding="utf-8")


def compare(wanted: Path, file: Path) -> dict[str, Any]:
    """Return how llama.cpp's tokens, probabilities and answers compare with those written down."""
    import llama_cpp
    import numpy as np

    known = json.loads(wanted.read_text(encoding="utf-8"))
    model = llama_cpp.Llama(str(file), logits_all=True, n_ctx=512, n_threads=1, verbose=False)
    apart, same_tokens, same_answers = [], 0, 0
    for row in known["rows"]:
        same_tokens += model.tokenize(row["text"].encode(), add_bos=True, special=False) == row["ids"]
        model.reset()
        model.eval(row["ids"])
        scores = np.array(model.scores[: len(row["ids"])], dtype=np.float64)
        highest = scores.max(-1, keepdims=True)
        logs = scores - highest - np.log(np.exp(scores - highest).sum(-1, keepdims=True))
        truth = np.array(row["logs"])
        apart.append((np.exp(truth) * (truth - logs)).sum(-1))
        model.reset()
        answer: list[int] = []
        for token in model.generate(row["ids"], top_k=1, temp=0.0, repeat_penalty=1.0):
            answer.append(token)
            if len(answer) == len(row["answer"]):
                break
        end = row["answer"].index(known["end"]) + 1 if known["end"] in row["answer"] else len(answer)
        same_answers += answer[:end] == row["answer"][:end]
    places = np.concatenate(apart)
    return {
        "llama_cpp_python": llama_cpp.__version__,
        "texts": len(known["rows"]),
        "same_tokens": same_tokens,
        "same_greedy_answers": same_answers,
        "divergence_mean": float(places.mean()),
        "divergence_max": float(places.max()),
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(dest="step", required=True)
    first = steps.add_parser("reference")
    first.add_argument("model")
    first.add_argument("out", type=Path)
    second = steps.add_parser("compare")
    second.add_argument("reference", type=Path)
    second.add_argument("files", type=Path, nargs="+")
    given = parser.parse_args()
    if given.step == "reference":
        reference(given.model, given.out)
        return
    for file in given.files:
        print(json.dumps({"file": file.name, **compare(given.reference, file)}))


if __name__ == "__main__":
    main()
