"""`clinical evaluate summarize`: how good summaries are, beside the floors that any summarizer must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from clinical.documents.note import Note
from clinical.documents.summaries import Draft
from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.corpora.summaries import Half, SummarySet
    from clinical.documents.annotations import Entity
    from clinical.documents.summaries import Summary
    from clinical.prompts.labels import Label
    from clinical.scoring.summaries import EntitySet, SummaryEvaluation, SummaryScores
    from clinical.tasks.ner import Recognizer
    from clinical.tasks.summarize import Summarizer


@click.command()
@click.option(
    "--gold",
    "sources",
    metavar="CORPUS:SPLIT|FILE",
    multiple=True,
    required=True,
    help="mts_dialog:test, or a .jsonl[.gz] with source and target. Repeatable.",
)
@click.option(
    "--systems",
    metavar="S[:MODEL],…",
    default="light",
    show_default=True,
    help="The systems to measure; the first is compared with each other one and with the floors.",
)
@click.option("--style", metavar="S", help="The style of summary.  [default: that of the set]")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Only the first N texts.")
@click.option(
    "--half",
    type=click.Choice(["a", "b"]),
    help="Only half of the texts, by a hash of their ids: choose on one half, measure on the other.",
)
@click.option("--keep-leaked", is_flag=True, help="Measure on texts too that training rows hold.")
@click.option("--no-floors", is_flag=True, help="Only the systems; lead, TextRank and the others take time.")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def summarize(
    sources: tuple[str, ...],
    systems: str,
    style: str | None,
    limit: int | None,
    half: Half | None,
    keep_leaked: bool,
    no_floors: bool,
    format_: str,
) -> None:
    """Measure summaries against those of people: ROUGE, chrF, entities, support and omission.

    Beside each system stand the floors lead, TextRank, random, the whole source, the summary of the nearest
    training text, and the oracle, which sees the answer. Rows are left out whose text training rows hold.
    `support` is the share of sentences that their text bears out, `omitted` the share of its problems,
    drugs, allergies and abnormal results that the summary does not name.

    \b
    Examples:
      clinical evaluate summarize --gold mts_dialog:test
      clinical evaluate summarize --gold chq:test --systems light,mistral:clinical-mini --no-floors
      clinical evaluate summarize --gold my-gold.jsonl --style brief --format json
    """
    from clinical.corpora.summaries import read_summary_set
    from clinical.scoring.evaluation import one_thread
    from clinical.scoring.summaries import render_summaries
    from clinical.tasks.summarize import style_named

    named = style and style_named(style)
    with one_thread():
        loaded = [(spec.strip(), _load(spec)) for spec in systems.split(",")]
        golds = [
            read_summary_set(source, limit=limit, keep_leaked=keep_leaked, half=half) for source in sources
        ]
        evaluations = [
            _evaluate(gold, loaded, named or style_named(gold.style), not no_floors) for gold in golds
        ]
    click.echo(render_summaries(evaluations, format_), nl=False)


def _load(spec: str) -> Summarizer:
    from clinical.tasks.summarize import load_summarizer

    system, _, model = spec.strip().partition(":")
    if not system:
        raise UsageError("--systems: an empty name; write for instance light,mistral:clinical-mini")
    return load_summarizer(system, model or None)


def _evaluate(
    gold: SummarySet, loaded: Sequence[tuple[str, Summarizer]], style: str, with_floors: bool
) -> SummaryEvaluation:
    from clinical.scoring.summaries import SummaryEvaluation
    from clinical.scoring.summary_floors import floors
    from clinical.tasks.ner import load_recognizer

    judge = _Remembering(load_recognizer("light", scheme="clinical"))
    notes = [Note(pair.id, pair.source) for pair in gold.pairs]
    targets = [pair.target for pair in gold.pairs]
    systems: list[tuple[str, Sequence[Summarizer]]] = [
        (name, [summarizer] * len(notes)) for name, summarizer in loaded
    ]
    for name, floor in floors(gold) if with_floors else ():
        systems.append((name, [_Written(text) for text in floor(gold.pairs)]))
    scored = [_scores(name, notes, targets, each, style, judge) for name, each in systems]
    return SummaryEvaluation(gold.name, style, len(notes), gold.leaked, scored)


def _scores(
    name: str,
    notes: Sequence[Note],
    targets: Sequence[str],
    summarizers: Sequence[Summarizer],
    style: str,
    judge: _Remembering,
) -> SummaryScores:
    from clinical.scoring.summaries import SummaryScores, compare_entities, score_texts
    from clinical.tasks.summarize import summarize

    summaries: list[Summary] = []
    for note, summarizer in zip(notes, summarizers, strict=True):
        summaries += summarize([note], summarizer, style, recognizer=judge)
    texts = [summary.text for summary in summaries]
    values: dict[str, Sequence[float | None]] = {
        **score_texts(texts, targets),
        "support": [_supported(summary) for summary in summaries],
        "omitted": [_omitted(note, summary, judge) for note, summary in zip(notes, summaries, strict=True)],
    }
    entities = compare_entities(*([_entity_set(judge, text) for text in side] for side in (texts, targets)))
    return SummaryScores(name, values, entities)


def _supported(summary: Summary) -> float | None:
    levels = [sentence.support for sentence in summary.sentences]
    return 100 * levels.count("supported") / len(levels) if levels else None


def _omitted(note: Note, summary: Summary, judge: Recognizer) -> float | None:
    from clinical.tasks.omissions import facts
    from clinical.tasks.summarize import entities_of

    (entities,) = entities_of([note], judge)
    all_facts = len(facts(note, entities))
    return 100 * len(summary.omitted) / all_facts if all_facts else None


def _entity_set(judge: Recognizer, text: str) -> EntitySet:
    from clinical.prompts.labels import by_name

    (found,) = judge.recognize([text], by_name(["Disease", "Symptom", "Medication", "Test", "Procedure"]))
    return frozenset((entity.text.lower(), entity.label) for entity in found)


class _Written:
    """A summary that is there already, so that what is in it can be checked like that of a system."""

    system = model = "floor"

    def __init__(self, text: str) -> None:
        self.drafts = [Draft(line, ()) for line in text.splitlines() if line.strip()]

    def draft(self, note: Note, style: str, *, entities: Sequence[Entity]) -> Sequence[Draft]:
        """Return the sentences, whatever the note."""
        return self.drafts


class _Remembering:
    """A recognizer that reads no text twice: each note is measured with many summaries."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.system, self.model = recognizer.system, recognizer.model
        self._recognizer = recognizer
        self._known: dict[tuple[str, tuple[Label, ...]], list[Entity]] = {}

    def recognize(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        """Return the entities of each text."""
        asked = tuple(labels)
        new = [text for text in dict.fromkeys(texts) if (text, asked) not in self._known]
        for text, found in zip(new, self._recognizer.recognize(new, labels), strict=True):
            self._known[text, asked] = found
        return [self._known[text, asked] for text in texts]
