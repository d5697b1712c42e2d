"""Train the NER baseline: a spaCy pipeline with scispaCy's tokenizer, for one scheme.

    python -m clinical.finetune.spacy_baseline bc5cdr --out out/scispacy-bc5cdr
    python -m clinical.finetune.spacy_baseline clinical --start out/scispacy-bc5cdr --judge

`recipes/spacy_baseline.yaml` holds every setting. After each epoch the held-out part of the training text is
scored, and the best epoch is saved, with a card beside it. `--judge` scores the judging split as well.
`--start` takes over what another pipeline has learned of words; only its way to labels is learned anew.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from clinical.corpora import catalog, records
from clinical.corpora.typography import detokenize
from clinical.documents.annotations import Entity
from clinical.errors import UsageError
from clinical.finetune.provenance import provenance
from clinical.models.spacy_baseline import SCHEMES, SpacyBaseline, load_pipeline, shipped_name
from clinical.prompts.labels import Label

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.pipeline import TrainablePipe
    from spacy.training import Example
    from thinc.api import Optimizer

TYPOGRAPHIES = ("tokenized", "natural")


@dataclass(frozen=True)
class Scheme:
    """What a pipeline learns from, and what judges it. The fields are explained in the recipe."""

    corpus: str
    splits: tuple[str, ...]
    held_out: float
    judge: str
    epochs: int


@dataclass(frozen=True)
class Recipe:
    """The settings of a run. The fields are explained in the recipe."""

    seed: int
    width: int
    depth: int
    rows: tuple[int, ...]
    hidden_width: int
    dropout: float
    learning_rate: float
    batch_words: int
    longest_run: int
    schemes: dict[str, Scheme]


@dataclass(frozen=True)
class Passage:
    """A piece of text with its entities."""

    text: str
    entities: tuple[Entity, ...]


@dataclass(frozen=True)
class Score:
    """Counts of mentions by exact characters and label."""

    found: int
    gold: int
    correct: int

    @property
    def f1(self) -> float:
        """Strict F1 in percent."""
        return 200 * self.correct / max(self.found + self.gold, 1)

    def __str__(self) -> str:
        precision = 100 * self.correct / max(self.found, 1)
        recall = 100 * self.correct / max(self.gold, 1)
        return f"P {precision:.2f}  R {recall:.2f}  F1 {self.f1:.2f}"


def read_recipe(file: Path | None = None) -> Recipe:
    """Return the settings of a recipe, by default of `recipes/spacy_baseline.yaml`."""
    recipe = file or resources.files("clinical.finetune").joinpath("recipes", "spacy_baseline.yaml")
    table = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    schemes = {
        name: Scheme(**{**row, "splits": tuple(row["splits"])}) for name, row in table.pop("schemes").items()
    }
    return Recipe(**{**table, "rows": tuple(table["rows"])}, schemes=schemes)


# The text


def load_documents(scheme: Scheme) -> tuple[list[records.GoldDocument], list[records.GoldDocument]]:
    """Return the documents (or sentences) to train on, and those held out."""
    splits = [list(records.read(scheme.corpus, split)) for split in scheme.splits]
    keep = round(len(splits[-1]) * (1 - scheme.held_out))
    return [document for split in splits[:-1] for document in split] + splits[-1][:keep], splits[-1][keep:]


def outermost(entities: Sequence[Entity]) -> tuple[Entity, ...]:
    """Return the entities without those that overlap a longer one: spaCy's NER has one layer."""
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda entity: (entity.start - entity.end, entity.start)):
        if all(entity.end <= other.start or entity.start >= other.end for other in kept):
            kept.append(entity)
    return tuple(sorted(kept, key=lambda entity: entity.start))


def join(passages: Sequence[Passage], separator: str) -> Passage:
    """Return the passages as one, their entities moved along."""
    entities: list[Entity] = []
    offset = 0
    for passage in passages:
        entities += (replace(e, start=e.start + offset, end=e.end + offset) for e in passage.entities)
        offset += len(passage.text) + len(separator)
    return Passage(separator.join(passage.text for passage in passages), tuple(entities))


def lines(document: records.GoldDocument) -> list[Passage]:
    """Return the lines of a document that are not blank; an entity that crosses a line end is left out."""
    passages = []
    start = 0
    for line in document.text.split("\n"):
        end = start + len(line)
        inside = [e for e in document.entities if start <= e.start and e.end <= end]
        moved = (replace(e, start=e.start - start, end=e.end - start) for e in outermost(inside))
        if line.strip():
            passages.append(Passage(line, tuple(moved)))
        start = end + 1
    return passages


def natural(passage: Passage, seed: int) -> Passage:
    """Return the passage without the blanks that a corpus of tokens has around punctuation."""
    return Passage(*detokenize(passage.text, passage.entities, seed=seed))


def runs(
    documents: Sequence[records.GoldDocument], corpus: catalog.Corpus, longest: int, epoch: int
) -> Iterator[Passage]:
    """Yield the text in runs of one to `longest` lines or sentences, cut differently in each epoch.

    A corpus of tokens comes out in its own typography or in that of a note, with equal chances.
    """
    choose = random.Random(f"{corpus.name} {epoch}")
    sentences = [[line for document in documents for line in lines(document)]]
    for whole in sentences if corpus.unit == "sentence" else map(lines, documents):
        start = 0
        while start < len(whole):
            run = whole[start : start + choose.randint(1, longest)]
            start += len(run)
            if corpus.tokenized and choose.random() < 0.5:
                run = [natural(passage, seed=epoch) for passage in run]
            yield join(run, " " if corpus.unit == "sentence" else "\n")


# The network


def build(recipe: Recipe) -> Language:
    """Return the untrained pipeline: scispaCy's tokenizer and one NER component with a network of its own."""
    import spacy
    from scispacy.custom_tokenizer import combined_rule_tokenizer  # type: ignore[import-untyped]

    pipeline = spacy.blank("en")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # "[[" in one of the tokenizer's rules
        pipeline.tokenizer = combined_rule_tokenizer(pipeline)
    embed = {
        "@architectures": "spacy.MultiHashEmbed.v2",
        "width": recipe.width,
        "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE"],
        "rows": list(recipe.rows),
        "include_static_vectors": False,
    }
    encode = {
        "@architectures": "spacy.MaxoutWindowEncoder.v2",
        "width": recipe.width,
        "depth": recipe.depth,
        "window_size": 1,
        "maxout_pieces": 3,
    }
    model = {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": recipe.hidden_width,
        "maxout_pieces": 2,
        "use_upper": True,
        "tok2vec": {"@architectures": "spacy.Tok2Vec.v2", "embed": embed, "encode": encode},
    }
    pipeline.add_pipe("ner", config={"model": model})
    return pipeline


def ner_of(pipeline: Language) -> TrainablePipe:
    """Return the NER component of the pipeline."""
    return cast("TrainablePipe", pipeline.get_pipe("ner"))


def examples(pipeline: Language, passages: Iterator[Passage]) -> list[Example]:
    """Return spaCy's training examples. A token that is only partly entity ("drug-induced") is left open."""
    from spacy.training import Example

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\[W030\]", category=UserWarning)  # says that of each text
        return [
            Example.from_dict(
                pipeline.make_doc(passage.text),
                {"entities": [(e.start, e.end, e.label) for e in passage.entities]},
            )
            for passage in passages
        ]


def train(scheme_name: str, recipe: Recipe, start: Language | None = None) -> tuple[Language, list[str]]:
    """Return the pipeline of the epoch that is best on the held-out text, and the log, one line per epoch."""
    from spacy.training.batchers import minibatch_by_words
    from thinc.api import fix_random_seed

    fix_random_seed(recipe.seed)
    scheme = recipe.schemes[scheme_name]
    corpus = catalog.find(scheme.corpus)
    documents, held_out = load_documents(scheme)
    pipeline = build(recipe)
    epoch_examples = examples(pipeline, runs(documents, corpus, recipe.longest_run, epoch=0))
    pipeline.initialize(lambda: epoch_examples)
    if start is not None:
        words = ner_of(start).model.get_ref("tok2vec").to_bytes()
        ner_of(pipeline).model.get_ref("tok2vec").from_bytes(words)
    optimizer = make_optimizer(recipe, scheme, sum(map(len, epoch_examples)))
    best_f1, best, log = -1.0, b"", []
    for epoch in range(scheme.epochs):
        began = time.process_time()
        random.shuffle(epoch_examples)
        losses: dict[str, float] = {}
        for batch in minibatch_by_words(epoch_examples, recipe.batch_words):
            pipeline.update(batch, sgd=optimizer, drop=recipe.dropout, losses=losses)
            optimizer.step_schedules()  # type: ignore[no-untyped-call]
        with pipeline.use_params(optimizer.averages):
            scores = evaluate(pipeline, held_out, corpus)
            f1 = sum(score.f1 for score in scores.values()) / len(scores)
            if f1 > best_f1:
                best_f1, best = f1, ner_of(pipeline).to_bytes(exclude=["vocab"])
        log.append(
            f"epoch {epoch + 1:2}  loss {losses['ner']:8.0f}  {time.process_time() - began:4.0f} s  "
            + "  ".join(f"{name}: {score}" for name, score in scores.items())
        )
        print(log[-1], file=sys.stderr, flush=True)
        epoch_examples = examples(pipeline, runs(documents, corpus, recipe.longest_run, epoch + 1))
    ner_of(pipeline).from_bytes(best, exclude=["vocab"])
    return pipeline, log


def make_optimizer(recipe: Recipe, scheme: Scheme, epoch_words: int) -> Optimizer:
    """Return Adam with weight decay and averaged weights, its rate warmed up and then led down to zero."""
    from thinc.api import Adam, warmup_linear

    steps = scheme.epochs * epoch_words // recipe.batch_words
    rate = warmup_linear(recipe.learning_rate, steps // 20, steps)
    optimizer: Optimizer = Adam(
        rate,  # type: ignore[arg-type]  # a schedule is meant here, though the signature says otherwise
        use_averages=True,
        L2=0.01,
        L2_is_weight_decay=True,
        grad_clip=1.0,
    )
    return optimizer


# What came of it


def evaluate(
    pipeline: Language, documents: Sequence[records.GoldDocument], corpus: catalog.Corpus
) -> dict[str, Score]:
    """Return the strict score in the corpus's own typography, and in that of a note where the two differ."""
    recognizer = SpacyBaseline(pipeline, "in training")
    passages = [Passage(document.text, tuple(document.entities)) for document in documents]
    if not corpus.tokenized:
        return {"natural": strict(recognizer, passages)}
    return {
        "tokenized": strict(recognizer, passages),
        "natural": strict(recognizer, [natural(passage, seed=0) for passage in passages]),
    }


def strict(recognizer: SpacyBaseline, passages: Sequence[Passage]) -> Score:
    """Return how many mentions are found with exactly the characters and label of the gold."""
    labels = [Label(name, "") for name in recognizer.label_names()]
    found_per_text = recognizer.recognize([passage.text for passage in passages], labels)
    found = gold = correct = 0
    for passage, entities in zip(passages, found_per_text, strict=True):
        ours = {(e.start, e.end, e.label) for e in entities}
        theirs = {(e.start, e.end, e.label) for e in passage.entities}
        found, gold, correct = found + len(ours), gold + len(theirs), correct + len(ours & theirs)
    return Score(found, gold, correct)


def save(pipeline: Language, recipe: Recipe, folder: Path) -> None:
    """Write the pipeline into the folder, without the words that its vocabulary met while training."""
    fresh = build(recipe)
    ner_of(fresh).from_bytes(ner_of(pipeline).to_bytes(exclude=["vocab"]), exclude=["vocab"])
    fresh.meta["name"] = folder.name.replace("-", "_")
    fresh.meta["description"] = (
        "NER baseline with scispaCy's tokenizer; see README.md for data, licence and scores"
    )
    # Left alone, spaCy writes its exact version, and any earlier 3.8 would then warn.
    fresh.meta["spacy_version"] = ">=3.8,<3.9"
    fresh.to_disk(folder)


def card(
    name: str, recipe: Recipe, folder: Path, start: Path | None, log: Sequence[str], judged: dict[str, Score]
) -> str:
    """Return the card of a trained pipeline, in Markdown."""
    scheme = recipe.schemes[name]
    corpus = catalog.find(scheme.corpus)
    origin = provenance()
    versions = {package: metadata.version(package) for package in ("spacy", "scispacy", "thinc", "numpy")}
    data = {split: sha256(records.split_path(corpus, split)) for split in (*scheme.splits, scheme.judge)}
    pipeline = load_pipeline(folder)
    rows: list[tuple[str, Any]] = [
        ("system", f"`scispacy`, model `{folder.name}`; trained here, not one of scispaCy's own models"),
        ("labels", ", ".join(sorted(pipeline.pipe_labels["ner"]))),
        (
            "network",
            f"MultiHashEmbed {list(recipe.rows)}, width {recipe.width}, depth {recipe.depth}, no vectors",
        ),
        ("tokenizer", "`scispacy.custom_tokenizer.combined_rule_tokenizer`"),
        ("corpus", f"{corpus.name}: {corpus.citation}"),
        ("licence of the corpus", corpus.licence),
        (
            "trained on",
            f"{', '.join(scheme.splits)}, but for the last {scheme.held_out:.0%} of {scheme.splits[-1]}",
        ),
        (
            "started from",
            f"ner/model `{sha256(start / 'ner' / 'model')}` ({start.name})" if start else "nothing",
        ),
        *((f"sha256 of {split}.jsonl.gz", f"`{value}`") for split, value in data.items()),
        ("command", f"`{origin['command']}`"),
        ("seed", recipe.seed),
        ("commit", origin["commit"]),
        ("date", origin["date"]),
        ("versions", ", ".join(f"{package} {version}" for package, version in versions.items())),
        ("sha256 of ner/model", f"`{sha256(folder / 'ner' / 'model')}`"),
    ]
    table = "\n".join(f"| {key} | {value} |" for key, value in rows)
    scores = "\n".join(f"| {corpus.name} {scheme.judge} | {key} | {value} |" for key, value in judged.items())
    epochs = "\n".join(log)
    return f"""# {folder.name}

| | |
|---|---|
{table}

## Strict scores (exact characters and label, every mention of the corpus counted)

| split | typography | score |
|---|---|---|
{scores or "| (not judged) | | |"}

On the held-out part of the training text, on which the epoch was chosen:

```
{epochs}
```

## Limits

{LIMITS}
"""


LIMITS = """\
- scispaCy's tokenizer does not cut at a hyphen: in "levodopa-induced dyskinesia" the drug cannot be found by
  its exact characters. In BC5CDR's natural typography that is one mention in ten, and no training mends it.
- Entities have no scores, do not overlap, and are seen through four words on either side.
- The text it learned from is English abstracts and case reports, not hospital notes. It is a baseline to
  compare with, not a medical device."""


def sha256(path: Path) -> str:
    """Return the hash of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Train one pipeline and write it with its card; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train the spaCy baseline for one scheme.")
    parser.add_argument("scheme", help=f"one of: {', '.join(SCHEMES)}")
    parser.add_argument("--out", type=Path, help="folder to write (default: out/scispacy-SCHEME)")
    parser.add_argument("--start", type=Path, help="folder of a pipeline of the same width to start from")
    parser.add_argument("--recipe", type=Path, help="another recipe (default: the package's own)")
    parser.add_argument("--judge", action="store_true", help="score the split that judges, once, at the end")
    options = parser.parse_args(arguments)
    recipe = read_recipe(options.recipe)
    if options.scheme not in recipe.schemes:
        raise UsageError(f"no scheme {options.scheme!r}; available: {', '.join(recipe.schemes)}")
    folder = options.out or Path("out", shipped_name(options.scheme))
    start = load_pipeline(options.start) if options.start else None
    pipeline, log = train(options.scheme, recipe, start)
    save(pipeline, recipe, folder)
    scheme = recipe.schemes[options.scheme]
    judged: dict[str, Score] = {}
    if options.judge:
        documents = list(records.read(scheme.corpus, scheme.judge))
        judged = evaluate(load_pipeline(folder), documents, catalog.find(scheme.corpus))
    for key, score in judged.items():
        print(f"{scheme.corpus} {scheme.judge}, {key}: {score}")
    (folder / "README.md").write_text(
        card(options.scheme, recipe, folder, options.start, log, judged), encoding="utf-8"
    )
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
