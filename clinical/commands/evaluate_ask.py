"""`clinical evaluate ask`: how good answers are, on questions with known answer sentences."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.corpora.qa import QuestionOnFolder, QuestionOnText
    from clinical.documents.answers import Answer
    from clinical.models.embedder import Embedder
    from clinical.scoring.answers import AnswerEvaluation, Outcome, SystemOnQuestions
    from clinical.tasks.ask import Answerer, Scorer
    from clinical.tasks.evidence import Stretch

FLOOR = re.compile(r"(light|first|bm25|cosine)-(\d+)")
FLOORS = "first-3,bm25-1,bm25-3,cosine-1,cosine-3"


@dataclass(frozen=True)
class _Case:
    """One question with its evidence, and the places of its answers by note; `answers` is `None` where unknown."""

    question: str
    evidence: Sequence[Stretch]
    answers: frozenset[tuple[str, int, int]]


@click.command()
@click.option(
    "--gold",
    "sources",
    metavar="SOURCE",
    multiple=True,
    required=True,
    help="medquad:SPLIT, pubmedqa:SPLIT, mashqa:FILE, a .jsonl file, FOLDER[:SPLIT] with questions.jsonl, or "
    "medquad-index:SPLIT for answering or not. Repeatable.",
)
@click.option(
    "--systems",
    metavar="S,…",
    default=f"light,{FLOORS}",
    show_default=True,
    help="light[:FOLDER], mistral:MODEL, and the floors first-N, bm25-N, cosine-N: the best N sentences, always; "
    "so does light-N.",
)
@click.option(
    "--task",
    type=click.Choice(["sentences", "yesno"]),
    help="What to score.  [default: yesno for pubmedqa, else sentences]",
)
@click.option("--most", metavar="N", type=click.IntRange(min=1), default=5, show_default=True,
              help="How many sentences light answers with at most.")  # fmt: skip
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Only the first N questions.")
@click.option("--cosine", is_flag=True, help="Add the cosine of answer and gold sentences, by MiniLM.")
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def ask(
    sources: tuple[str, ...],
    systems: str,
    task: str | None,
    most: int,
    limit: int | None,
    cosine: bool,
    format_: str,
) -> None:
    """Measure answers: their sentences, when there is none, and their citations.

    Of a text, all sentences are at hand; of a folder, those around the hits of the search. A written answer's
    sentences are those it cites. Citation recall and precision follow ALCE, judged by rules instead of a model.

    \b
    Examples:
      clinical evaluate ask --gold benchmarks/ask/charts:test
      clinical evaluate ask --gold medquad:test --systems light,cosine-3
      clinical evaluate ask --gold mashqa:test_webmd_squad_v2_full.json --most 12
      clinical evaluate ask --gold medquad-index:test --systems light,cosine-1
      clinical evaluate ask --gold pubmedqa:test
    """
    from clinical.models.embedder import Embedder
    from clinical.scoring.answers import render_answers

    embedder = Embedder()
    evaluations = []
    for source in sources:
        if task == "yesno" or (task is None and source.startswith("pubmedqa")):
            click.echo(_decisions(source, systems, limit, format_), nl=False)
            continue
        cases, remarks = _cases(source, embedder, limit)
        answerers = [_answerer(name.strip(), embedder, most) for name in systems.split(",") if name.strip()]
        measured = [
            _measured(name, answerer, cases, embedder if cosine else None) for name, answerer in answerers
        ]
        evaluations.append(_evaluation(source, cases, measured, remarks))
    if evaluations:
        click.echo(render_answers(evaluations, format_), nl=False)


def _evaluation(
    source: str, cases: Sequence[_Case], systems: Sequence[SystemOnQuestions], remarks: Sequence[str]
) -> AnswerEvaluation:
    from clinical.scoring.answers import AnswerEvaluation

    answerable = sum(bool(case.answers) for case in cases)
    return AnswerEvaluation(source, len(cases), answerable, systems, remarks)


# --- what is asked ---


def _cases(source: str, embedder: Embedder, limit: int | None) -> tuple[list[_Case], list[str]]:
    name, _, split = source.partition(":")
    if name == "medquad-index":
        return list(_on_index(split or "dev", embedder, limit)), []
    if Path(name).is_dir():
        return list(_on_folders(Path(name), split, embedder, limit)), []
    from clinical.corpora.qa import read_questions_and_faults

    items, faults = read_questions_and_faults(source, limit)
    left_out = "1 question" if len(faults) == 1 else f"{len(faults)} questions"
    remarks = [f"{left_out} left out: {faults[0]} …"] if faults else []
    unknown = sum(item.answers is None for item in items)
    if unknown:
        raise UsageError(
            f"{source}: {unknown} questions have no answer sentences; score them with --task yesno"
        )
    return [_on_text(item) for item in items], remarks


def _on_text(item: QuestionOnText) -> _Case:
    from clinical.documents.note import Note
    from clinical.tasks.evidence import stretch_of

    note = Note(item.id, item.text, title=item.title or None)
    places = frozenset((item.id, *item.sentences[number]) for number in item.answers or ())
    return _Case(item.question, [stretch_of(note, item.sentences)], places)


def _on_folders(folder: Path, split: str, embedder: Embedder, limit: int | None) -> Iterator[_Case]:
    from clinical.corpora.qa import read_folder
    from clinical.tasks.ask import PASSAGES
    from clinical.tasks.evidence import gather
    from clinical.tasks.search import find

    for item in read_folder(folder, split)[:limit]:
        hits = find(item.question, [str(item.folder)], embedder, k=PASSAGES).hits
        yield _Case(item.question, gather(hits), _places(item))


def _places(item: QuestionOnFolder) -> frozenset[tuple[str, int, int]]:
    """Return the sentences of the notes that the quotations touch."""
    from clinical.corpora.qa import touched
    from clinical.documents.note import Note
    from clinical.documents.reading import read
    from clinical.tasks.evidence import stretch_of

    found = set()
    for name, quote in item.answers:
        (note,) = (note for note in read([str(item.folder / name)]) if isinstance(note, Note))
        told = stretch_of(note).told
        start = note.text.index(quote)
        numbers = touched([(one.start, one.end) for one in told], [(start, start + len(quote))])
        found |= {(note.id, told[number].start, told[number].end) for number in numbers}
    return frozenset(found)


def _on_index(split: str, embedder: Embedder, limit: int | None) -> Iterator[_Case]:
    """Yield each question twice: asked of all of MedQuAD's dev articles, and of all but those about its focus."""
    from clinical.corpora import medquad_questions
    from clinical.models import cache
    from clinical.tasks.ask import PASSAGES
    from clinical.tasks.evidence import gather
    from clinical.tasks.search import find

    articles = [*medquad_questions.articles("dev"), *medquad_questions.articles("test")]
    file = cache.folder("evaluation") / "medquad-articles.jsonl"
    _write_records(file, articles)
    focus_of = {article.id: article.focus for article in articles}
    places = {
        article.id: [
            frozenset((article.id, *article.sentences[n]) for n in answers)
            for _, _, answers in article.questions
        ]
        for article in articles
    }
    for item in [*medquad_questions.read(split)][:limit]:
        article, _, number = item.id.rpartition("#")
        hits = find(item.question, [str(file)], embedder, k=4 * PASSAGES).hits
        others = [hit for hit in hits if focus_of[hit.id] != item.title]
        yield _Case(item.question, gather(hits[:PASSAGES]), places[article][int(number)])
        yield _Case(item.question, gather(others[:PASSAGES]), frozenset())


def _write_records(file: Path, articles: Sequence[object]) -> None:
    """Write the articles as records where they are not yet written so: an index of them is kept."""
    import json

    lines = "".join(
        json.dumps({"id": article.id, "title": article.focus, "text": article.text}) + "\n"  # type: ignore[attr-defined]
        for article in articles
    )
    if not file.is_file() or file.read_text(encoding="utf-8") != lines:
        file.write_text(lines, encoding="utf-8")


# --- who answers ---


def _answerer(name: str, embedder: Embedder, most: int) -> tuple[str, Answerer]:
    from clinical.scoring.answer_floors import First, Nearest, Words
    from clinical.tasks.ask import load_answerer
    from clinical.tasks.ask_light import LightAnswerer
    from clinical.tasks.likelihood import LikelihoodScorer

    floor = FLOOR.fullmatch(name)
    if floor:
        scorers: dict[str, Scorer] = {
            "light": LikelihoodScorer(embedder),
            "first": First(),
            "bm25": Words(),
            "cosine": Nearest(embedder),
        }
        return name, LightAnswerer(
            scorers[floor[1]],
            int(floor[2]),
            threshold=0.0,
            beside_the_best=0.0,
            plain=floor[1] != "light",
            system=floor[1],
        )
    system, _, model = name.partition(":")
    if system == "light":
        return name, LightAnswerer(LikelihoodScorer(embedder, Path(model) if model else None), most)
    return name, load_answerer(embedder, system, model or None)


def _measured(
    name: str, answerer: Answerer, cases: Sequence[_Case], embedder: Embedder | None
) -> SystemOnQuestions:
    from clinical.scoring.answers import SystemOnQuestions

    outcomes = []
    seconds = 0.0
    for case in cases:
        started = time.perf_counter()
        answer = answerer.answer(case.question, case.evidence)
        seconds += time.perf_counter() - started
        outcomes.append(_outcome(case, answer, embedder))
    return SystemOnQuestions(name, outcomes, seconds / max(len(cases), 1))


def _outcome(case: _Case, answer: Answer, embedder: Embedder | None) -> Outcome:
    from clinical.scoring.answers import Outcome, citations

    cited = {(citation.id, citation.start, citation.end) for citation in answer.citations}
    outcome = Outcome(
        len(cited & case.answers), len(cited), len(case.answers), answer.abstained, answer.score
    )
    if answer.sentences:
        texts = {number: citation.text for number, citation in enumerate(answer.citations, 1)}
        pairs = [(one.text, [texts[number] for number in one.citations]) for one in answer.sentences]
        recall, precision = citations(pairs, _bears_out)
        outcome = replace(outcome, citation_recall=recall, citation_precision=precision)
    if embedder is not None and case.answers and answer.sentences:
        notes = {stretch.note.id: stretch.note.text for stretch in case.evidence}
        gold = " ".join(notes[id][start:end] for id, start, end in sorted(case.answers) if id in notes)
        if gold:
            one, other = embedder.embed([answer.text, gold])
            outcome = replace(outcome, cosine=float(one @ other))
    return outcome


def _bears_out(sentence: str, passages: Sequence[str]) -> bool:
    """Return whether the passages bear a sentence out; what is quoted from one of them needs no judge."""
    if any(sentence == " ".join(passage.split()) for passage in passages):
        return True
    from clinical.tasks.ask_mistral import bears_out

    return bears_out(sentence, passages)


def _decisions(source: str, systems: str, limit: int | None, format: str) -> str:
    """Return the scores of yes/no questions, each on its own text."""
    from clinical.corpora.qa import read_questions
    from clinical.scoring.answers import render_decisions, score_decisions
    from clinical.tasks.yes_no import DECISIONS

    items = read_questions(source, limit)
    unknown = [item.id for item in items if item.decision is None]
    if unknown:
        raise UsageError(f"{source}: question {unknown[0]} has no decision (yes, no or maybe)")
    gold = [item.decision or "" for item in items]
    scored = []
    for name in (name.strip() for name in systems.split(",") if not FLOOR.fullmatch(name.strip())):
        judge = _decider(name)
        started = time.perf_counter()
        found = [judge(item) for item in items]
        seconds = (time.perf_counter() - started) / len(items)
        scored.append(score_decisions(name, gold, found, DECISIONS, seconds))
    scored.append(score_decisions("always yes", gold, ["yes"] * len(gold), DECISIONS))
    return render_decisions(source, len(items), scored, format)


def _decider(name: str) -> Callable[[QuestionOnText], str]:
    from clinical.models.embedder import Embedder
    from clinical.tasks.yes_no import DECISIONS, ByStudy

    system, _, model = name.partition(":")
    if system == "light":
        judge: Callable[[str, list[str]], Mapping[str, float]] = ByStudy(Embedder()).judge
    elif system == "mistral":
        from clinical.models.loading import load
        from clinical.models.settings import SMALL_MISTRAL
        from clinical.prompts import templates
        from clinical.tasks.ask_mistral import ByModel

        loaded = load(model or SMALL_MISTRAL, "ask").model
        judge = ByModel(loaded, templates.load("ask.pubmedqa.v1"), study=True).judge
    else:
        raise UsageError(f"no system {name!r} for yes/no questions; available: light, mistral:MODEL")

    def decide(item: QuestionOnText) -> str:
        shares = judge(item.question, [item.sentence(number) for number in range(len(item.sentences))])
        return max(DECISIONS, key=lambda decision: shares[decision])

    return decide
