"""Scores of a model in training: each task by its own metric, asked and constrained as in use.

ner             strict F1 in percent, of spans decoded under the tags constraint
search, ask     F1 in percent of the sentences chosen, over all questions together
summarize       ROUGE-L F1 in percent (rouge-score, without stemmer), the mean over texts
chat            with `metric: cosine`, 100 times the cosine of sentence embeddings; else the loss speaks
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clinical.finetune.preparation import Prepared, Scored
from clinical.finetune.recipe import Recipe
from clinical.models.language_model import LanguageModel
from clinical.models.mistral_tagger import MistralTagger
from clinical.prompts import templates
from clinical.prompts.labels import known_or_defined
from clinical.scoring.gold import Gold
from clinical.scoring.spans import score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMES = {"ner": "strict_f1", "search": "f1", "ask": "f1", "summarize": "rougeL", "chat": "cosine"}
"""The name of each task's metric; logs write it behind the task, as in `ner_strict_f1`."""


@dataclass(frozen=True)
class Result:
    """The score of each task. `overall` is their mean, by which checkpoints are compared; `None` without any."""

    scores: dict[str, float]

    @property
    def overall(self) -> float | None:
        """The mean of the tasks' scores."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else None


def evaluate(model: LanguageModel, recipe: Recipe, prepared: Prepared, labels: Sequence[str]) -> Result:
    """Return the scores of a model on what is held out; `labels` are those of `ner`, as they are asked for in use."""
    if recipe.evaluate.metric == "loss":
        return Result({})
    found: dict[str, list[float]] = {}
    for gold in prepared.gold:
        found.setdefault("ner", []).append(ner_f1(model, recipe, gold, labels))
    for task in dict.fromkeys(item.task for item in prepared.scored):
        items = [item for item in prepared.scored if item.task == task][: recipe.evaluate.rows]
        if task in ("search", "ask"):
            found[task] = [selection_f1(model, items)]
        elif task == "summarize":
            found[task] = [rouge_l(answers(model, items, recipe), [item.reference for item in items])]
        elif recipe.evaluate.metric == "cosine":
            found[task] = [cosine(answers(model, items, recipe), items, recipe.evaluate.embedder)]
    return Result({f"{task}_{NAMES[task]}": sum(all_) / len(all_) for task, all_ in found.items()})


def ner_f1(model: LanguageModel, recipe: Recipe, gold: Gold, labels: Sequence[str]) -> float:
    """Return strict F1 in percent, asking for the labels that the gold standard annotates.

    They are asked for in the order of `labels`, as in use: it matters to a small model.
    """
    template = templates.load(recipe.prompt.get("ner", "ner.v1"))
    tagger = MistralTagger(model, template, (), recipe.chunk_pieces)
    in_use = [label for label in labels if label in gold.labels]
    asked = [*in_use, *(label for label in gold.labels if label not in in_use)]
    found = tagger.tag(gold.texts, known_or_defined(asked, recipe.labels))
    right = [document.entities for document in gold.documents]
    return 100 * score(right, found, gold.labels).micro.strict.f1


def selection_f1(model: LanguageModel, items: Sequence[Scored]) -> float:
    """Return the F1 in percent of the sentences chosen, pooled over the questions; 100 when none is to be chosen."""
    completions = model.complete([item.request for item in items])
    right = chosen = wanted = 0
    for item, completion in zip(items, completions, strict=True):
        numbers = {choice.number for choice in completion.choices}
        right += len(numbers & item.chosen)
        chosen += len(numbers)
        wanted += len(item.chosen)
    return 100 * 2 * right / (chosen + wanted) if chosen + wanted else 100.0


def answers(model: LanguageModel, items: Sequence[Scored], recipe: Recipe) -> list[str]:
    """Return what the model answers freely."""
    requests = [replace(item.request, max_new_tokens=recipe.evaluate.max_new_tokens) for item in items]
    return [completion.text for completion in model.complete(requests)]


def rouge_l(texts: Sequence[str], references: Sequence[str]) -> float:
    """Return the mean ROUGE-L F1 in percent."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    scores = [
        float(scorer.score(reference, text)["rougeL"].fmeasure)
        for reference, text in zip(references, texts, strict=True)
    ]
    return 100 * sum(scores) / len(scores)


def cosine(texts: Sequence[str], items: Sequence[Scored], embedder: str) -> float:
    """Return 100 times the mean cosine of answers and references, by this embedder or by the shipped MiniLM."""
    import numpy as np

    references = [item.reference for item in items]
    vectors = _embed(embedder, [*texts, *references])
    ours, theirs = vectors[: len(texts)], vectors[len(texts) :]
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float(100 * np.mean((ours * theirs).sum(1) / np.maximum(lengths, 1e-9)))


def _embed(name: str, texts: Sequence[str]) -> NDArray[np.float32]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    from clinical.models.embedder import Embedder

    try:
        folder = snapshot_download(name, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError):
        return Embedder().embed(texts)
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(folder, device="cpu", local_files_only=True)
    vectors: NDArray[np.float32] = encoder.encode(list(texts))
    return vectors
