"""Train what decides yes, no or maybe for a study: a linear model on the wording, from PubMedQA's training questions.

    clinical finetune study-decision --out out/light-study

The strength of the penalty is chosen by cross-validation over the 500 training and development questions, which then
all train the weights; the test split is not touched. Seconds of one core after the abstracts are embedded.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from clinical.corpora import pubmedqa
from clinical.finetune.provenance import provenance
from clinical.models.embedder import Embedder
from clinical.tasks.yes_no import DECISIONS, study_features

if TYPE_CHECKING:
    from clinical.corpora.qa import QuestionOnText

PENALTIES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
FOLDS = 5
REPEATS = 4


def features_of(items: Sequence[QuestionOnText]) -> NDArray[np.float64]:
    """Return the features of each question, a row each."""
    embedder = Embedder()
    return np.array(
        [
            study_features(item.question, [item.sentence(n) for n in range(len(item.sentences))], embedder)
            for item in items
        ]
    )


def fit(rows: NDArray[np.float64], labels: NDArray[np.int64], penalty: float) -> dict[str, list[float]]:
    """Return the weights of a softmax regression on standardized features, with this penalty on their squares."""
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    spread[spread < 1e-3] = 1.0  # what never varied tells nothing, and must not be blown up
    scaled = torch.tensor((rows - mean) / spread)
    targets = torch.tensor(labels)
    weight = torch.zeros((len(DECISIONS), rows.shape[1]), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(DECISIONS), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(scaled @ weight.T + bias, targets)
        value = value + penalty * (weight**2).sum() / 2
        value.backward()
        return value

    optimizer.step(loss)
    return {
        "mean": mean.tolist(),
        "spread": spread.tolist(),
        "weight": weight.detach().tolist(),
        "bias": bias.detach().tolist(),
    }


def predict(weights: dict[str, list[float]], rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of the likeliest decision for each row."""
    scaled = (rows - np.array(weights["mean"])) / np.array(weights["spread"])
    found: NDArray[np.int64] = (scaled @ np.array(weights["weight"]).T + np.array(weights["bias"])).argmax(
        axis=1
    )
    return found


def cross_validated(
    rows: NDArray[np.float64], labels: NDArray[np.int64], penalty: float, seed: int = 0
) -> tuple[float, float]:
    """Return accuracy and macro F1 over all folds and repeats."""
    rng = np.random.default_rng(seed)
    accuracies, macros = [], []
    for _ in range(REPEATS):
        order = rng.permutation(len(labels))
        found = np.empty_like(labels)
        for fold in range(FOLDS):
            held_out = order[fold::FOLDS]
            rest = np.setdiff1d(order, held_out)
            found[held_out] = predict(fit(rows[rest], labels[rest], penalty), rows[held_out])
        accuracies.append(float((found == labels).mean()))
        macros.append(_macro_f1(labels, found))
    return sum(accuracies) / REPEATS, sum(macros) / REPEATS


def _macro_f1(truth: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    each = [
        2
        * ((truth == label) & (found == label)).sum()
        / max((truth == label).sum() + (found == label).sum(), 1)
        for label in range(len(DECISIONS))
    ]
    return float(np.mean(each))


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose the penalty, train and save."""
    parser = argparse.ArgumentParser(
        prog="study-decision", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    items = [*pubmedqa.read("train"), *pubmedqa.read("dev")]
    rows = features_of(items)
    labels = np.array([DECISIONS.index(item.decision or "maybe") for item in items])
    scores = {penalty: cross_validated(rows, labels, penalty) for penalty in PENALTIES}
    for penalty, (accuracy, macro) in scores.items():
        print(f"penalty {penalty}: accuracy {100 * accuracy:.1f}, macro F1 {100 * macro:.1f}")
    # Accuracy and macro F1 count alike: "maybe" is a tenth of the questions, and is to be found too.
    best = max(PENALTIES, key=lambda penalty: sum(scores[penalty]))
    weights = fit(rows, labels, best)
    options.out.mkdir(parents=True, exist_ok=True)
    rounded = {name: np.round(values, 5).tolist() for name, values in weights.items()}
    record = {
        **rounded,
        "penalty": best,
        "cross_validation": {
            str(penalty): [round(value, 4) for value in found] for penalty, found in scores.items()
        },
        "provenance": provenance(),
    }
    (options.out / "decision.json").write_text(json.dumps(record) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
