"""What an answer of a local model costs, by kind: CPU time of one thread, alone and as one of eight.

    OMP_NUM_THREADS=1 python benchmarks/generation.py [--model clinical-mini]

Beside free text stands plain `generate` of transformers, without looking for loops and stop strings; beside a
selection, one full pass for each of its numbers, which is how a list of options is scored without a tree.
The prompt is a synthetic note in numbered sentences. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from functools import partial

from clinical.models import mistral
from clinical.models.language_model import Constraint, Message, OneOf, Request, Selection, TaggedCopy
from clinical.models.mistral import LocalMistral
from clinical.prompts.templates import Part

SENTENCES = tuple(
    f"{number}. On day {number} the patient {finding}."
    for number, finding in enumerate(
        ("had chest pain on exertion", "denied fever", "was given aspirin 81 mg", "walked 50 m") * 5, 1
    )
)
NOTE = "\n".join(SENTENCES)
NEW_TOKENS = 100
BATCHES = (1, 8)


def request(constraint: Constraint | None = None) -> Request:
    """Return a request about the note."""
    parts = (Part("Which sentences tell of chest pain?\n\n"), Part(NOTE, "text"))
    return Request((Message("user", parts),), constraint, max_new_tokens=NEW_TOKENS)


def seconds(work: Callable[[], object], answers: int) -> float:
    """Return the CPU-seconds of one answer, the best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best / answers


def plain_generate(model: LocalMistral, count: int) -> None:
    """Generate as transformers does, to the same length."""
    import torch

    ids = torch.tensor([model._tokens.prompt(model.chat.write(request().messages))] * count)
    with torch.inference_mode():
        model.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS,
            pad_token_id=0,
        )


def one_by_one(model: LocalMistral) -> None:
    """Score each number as an answer of its own, with a full pass."""
    import torch

    prompt = model._tokens.prompt(model.chat.write(request().messages))
    for number in range(1, len(SENTENCES) + 1):
        with torch.inference_mode():
            model.model(torch.tensor([[*prompt, *model._tokens.plain(f" {number}")]]))


def main() -> None:
    """Measure each kind, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="clinical-mini")
    name = parser.parse_args().model
    model = mistral.load(name)
    prompt = len(model._tokens.prompt(model.chat.write(request().messages)))
    kinds: dict[str, Constraint | None] = {
        "selection of 20": Selection(len(SENTENCES)),
        "one of three": OneOf(("yes", "no", "maybe")),
        "tagged copy": TaggedCopy(NOTE, ("Symptom", "Medication")),
    }
    rows: dict[str, list[float]] = {}
    rows["a token of free text, plain generate"] = [
        per_token(model, partial(plain_generate, model, count), count) for count in BATCHES
    ]
    rows["a token of free text"] = [
        per_token(model, partial(model.complete, [request()] * count), count) for count in BATCHES
    ]
    for kind, constraint in kinds.items():
        rows[kind] = [
            seconds(partial(model.complete, [request(constraint)] * count), count) for count in BATCHES
        ]
    rows["selection of 20, a pass for each"] = [seconds(partial(one_by_one, model), 1)]
    print(f"{name}, prompt of {prompt} tokens, {platform.machine()}; CPU-milliseconds")
    print(f"{'':<42}{'alone':>8}{'of 8':>8}")
    for kind, values in rows.items():
        print(f"{kind:<42}" + "".join(f"{1000 * value:>8.1f}" for value in values))
    print(json.dumps({"model": name, "prompt_tokens": prompt, "cpu_seconds": rows}))


def per_token(model: LocalMistral, work: Callable[[], object], answers: int) -> float:
    """Return the CPU-seconds of a token of free text, the reading of the prompt shared out among them."""
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    with model.model.register_forward_hook(count):
        work()
    return seconds(work, answers * steps)


if __name__ == "__main__":
    main()
