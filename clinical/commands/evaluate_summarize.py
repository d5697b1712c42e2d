"""`clinical evaluate summarize`: how good summaries are, beside the floors that any summarizer must beat."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import click

from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.corpora.summaries import SummaryPair, SummarySet
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
@click.option("--keep-leaked", is_flag=True, help="Measure on texts too that training rows hold.")
@click.option("--no-floors", is_flag=True, help="Only the systems; lead, TextRank and the others take time.")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def summarize(
    sources: tuple[str, ...],
    systems: str,
    style: str | None,
    limit: int | None,
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

    golds = [read_summary_set(source, limit=limit, keep_leaked=keep_leaked) for source in sources]
    with one_thread():
        loaded = [(spec, _load(spec)) for spec in systems.split(",")]
        evaluations = [_evaluate(gold, loaded, style, not no_floors) for gold in golds]
    click.echo(render_summaries(evaluations, format_), nl=False)


def _load(spec: str) -> Summarizer:
    from clinical.tasks.summarize import load_summarizer

    system, _, model = spec.strip().partition(":")
    if not system:
        raise UsageError("--systems: an empty name; write for instance light,mistral:clinical-tiny")
    return load_summarizer(system, model or None)


def _evaluate(
    gold: SummarySet, loaded: Sequence[tuple[str, Summarizer]], style: str | None, with_floors: bool
) -> SummaryEvaluation:
    from clinical.scoring.summaries import SummaryEvaluation
    from clinical.scoring.summary_floors import floors
    from clinical.tasks.ner import load_recognizer
    from clinical.tasks.summarize import style_named

    wanted = style_named(style or gold.style)
    judge = load_recognizer("light", scheme="clinical")
    targets = [_entities(judge, pair.target) for pair in gold.pairs]
    scored = [
        _scores(name, gold.pairs, *_written(summarizer, gold.pairs, wanted), judge, targets)
        for name, summarizer in loaded
    ]
    for name, floor in floors(gold) if with_floors else ():
        scored.append(_scores(name, gold.pairs, floor(gold.pairs), None, judge, targets))
    return SummaryEvaluation(gold.name, wanted, len(gold.pairs), gold.leaked, scored)


def _written(summarizer: Summarizer, pairs: Sequence[SummaryPair], style: str) -> tuple[list[str], float]:
    """Return the summaries, one sentence to a line, and the seconds they took."""
    from clinical.documents.note import Note
    from clinical.tasks.summarize import summarize

    begin = perf_counter()
    summaries = [
        summary.text
        for pair in pairs
        for summary in summarize([Note(pair.id, pair.source)], summarizer, style)
    ]
    return summaries, perf_counter() - begin


def _scores(
    name: str,
    pairs: Sequence[SummaryPair],
    made: Sequence[str],
    seconds: float | None,
    judge: Recognizer,
    targets: Sequence[EntitySet],
) -> SummaryScores:
    from clinical.scoring.summaries import SummaryScores, compare_entities, score_texts

    values = score_texts(made, [pair.target for pair in pairs])
    entities = compare_entities([_entities(judge, text) for text in made], targets)
    return SummaryScores(name, values, entities, seconds)


def _entities(judge: Recognizer, text: str) -> EntitySet:
    from clinical.prompts.labels import by_name

    (found,) = judge.recognize([text], by_name(["Disease", "Symptom", "Medication", "Test", "Procedure"]))
    return frozenset((entity.text.lower(), entity.label) for entity in found)
