"""Questions: what do the notes say to this? An answer made of quoted sentences, each with its place, or none.

    clinical ask "Which anticoagulant was stopped, and why?" notes/

    answer = ask("Which anticoagulant was stopped, and why?", ["notes/"], embedder, load_answerer(embedder)).answer
    for sentence in answer.sentences:
        print(sentence.text, sentence.citations)

The question is searched for (`clinical.tasks.search`), the sentences around the hits are read
(`clinical.tasks.evidence`), and a system answers from them. `light` (`clinical.tasks.ask_light`) quotes the likeliest
sentences. `mistral` (`clinical.tasks.ask_mistral`) writes, and each of its sentences is held against what it cites.
When nothing there seems to answer, no answer is given, and the nearest sentences are shown instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol

from clinical.documents.answers import Answer, AnswerSentence, Citation, Reading
from clinical.errors import UsageError
from clinical.facts.assertion import assess
from clinical.index.filters import EVERYTHING, Filter
from clinical.index.update import Changes
from clinical.index.words import words_of
from clinical.models.embedders import TextEmbedder
from clinical.models.settings import SMALL_MISTRAL, choose_system
from clinical.tasks.evidence import Stretch, Told, gather, is_title, sections_of
from clinical.tasks.likelihood import LikelihoodScorer, core
from clinical.tasks.named_patient import read_question, sort_out
from clinical.tasks.search import assertion_of, find, mentions_of

if TYPE_CHECKING:
    from clinical.index.ranking import Mode

__all__ = ["SYSTEMS", "Answerer", "Asked", "Scored", "Scorer", "ask", "load_answerer"]

SYSTEMS = ("light", "mistral")


PASSAGES = 12
"""How many hits of the search are read with what is around them."""

MOST_SENTENCES = 5

QUOTING = "ask.quote.v1"
"""The prompt that is answered by the numbers of sentences."""

NEAREST = 3
"""How many sentences are shown when there is no answer."""

ALIKE = 0.8
"""Two sentences that share so many of their words say the same: the second is a citation of the first."""

MAX_BARE_WORDS = 4

_WORD = re.compile(r"\w+")
_GREETING = re.compile(
    r"(?i:(?:[a-z]+:\s*)?(?:good (?:morning|afternoon|evening)|hello|hi|hey|dear))[,\s]*"
    r"(?i:(?:mr|mrs|ms|miss|dr|prof|doctor)\b\.?)?(?:\s*[A-Z][\w'-]+){0,2}\W*"
)

_NAME = r"[A-Z][\w.'-]*"
_SIGNATURE = re.compile(
    # "Electronically signed by J. Doe, MD", "J. Okafor, MD, General Surgery", "Dr. M. Aas"
    r"(?i:(?:electronically )?(?:signed|dictated|reviewed)\b.*\bby\b.*)"
    rf"|(?:Dr\.?\s+)?(?:{_NAME}\s+){{0,3}}{_NAME},?\s+(?:MD|M\.D\.|DO|MBBS|RN|NP|PA|PA-C|PhD|FRCP)(?:,(?:\s*{_NAME})+)*"
    rf"|Dr\.?(?:\s+{_NAME}){{1,3}}"
)


@dataclass(frozen=True)
class Scored:
    """A sentence with its likelihood to belong to the answer, from 0 to 1."""

    stretch: Stretch
    told: Told
    score: float | None


class Scorer(Protocol):
    """What tells how likely sentences answer a question; `name` is printed with every result."""

    @property
    def name(self) -> str:
        """The name of what tells it."""
        ...

    def score(self, question: str, readings: Sequence[Reading]) -> Sequence[Sequence[float]]:
        """Return for each reading the likelihood of each of its sentences."""
        ...


class Answerer(Protocol):
    """One way to answer from evidence. `system` and `model` are printed with every result."""

    @property
    def system(self) -> str:
        """The name of the system."""
        ...

    @property
    def model(self) -> str:
        """The name of the model within the system."""
        ...

    def answer(self, question: str, evidence: Sequence[Stretch]) -> Answer:
        """Return the answer that the evidence gives, abstained when it gives none."""
        ...


@dataclass(frozen=True)
class Asked:
    """The answer, what was done to the index before, and what the user should know.

    `reading` are those of the remarks that only say how the question was read.
    """

    answer: Answer
    changes: Changes = field(default_factory=Changes)
    remarks: Sequence[str] = field(default_factory=tuple)
    reading: Sequence[str] = field(default_factory=tuple)


def ask(
    question: str,
    paths: Sequence[str],
    embedder: TextEmbedder,
    answerer: Answerer,
    *,
    passages: int = PASSAGES,
    mode: Mode = "hybrid",
    section: str | None = None,
    filter: Filter = EVERYTHING,
    expand: bool = True,
    done: Callable[[int, int], None] = lambda files, of: None,
) -> Asked:
    """Return what the notes in the paths say to the question.

    Raises `UsageError` for a question without words, and whatever a search does.
    """
    question = " ".join(question.encode("utf-8", "replace").decode("utf-8").split())
    if not words_of(question):
        raise UsageError("the question is empty; write what you want to know")
    found = find(
        question,
        paths,
        embedder,
        k=passages,
        mode=mode,
        section=section,
        filter=filter,
        expand=expand,
        done=done,
    )
    answer = _answer(question, gather(found.hits), answerer)
    asked = core(question)
    if asked != question:
        answer = replace(answer, searched=asked)
    return Asked(answer, found.changes, found.remarks, found.reading)


def _answer(question: str, evidence: Sequence[Stretch], answerer: Answerer) -> Answer:
    """Return the answer; to a question about a patient by name it is of that patient's notes."""
    asked = read_question(question)
    if asked.surname is None:
        return answerer.answer(question, evidence)
    own, nobody = sort_out(asked.surname, evidence)
    answer = answerer.answer(asked.question, own)
    if answer.abstained and nobody:
        other = answerer.answer(asked.question, nobody)
        if not other.abstained:
            warning = f"no note that names {asked.surname} answers; these notes do not say whose they are"
            answer = replace(other, warnings=(*other.warnings, warning))
    return replace(answer, question=question)


def load_answerer(
    embedder: TextEmbedder,
    system: str | None = None,
    model: str | None = None,
    *,
    adapter: str | None = None,
    prompt: str | None = None,
    quote: bool = False,
    most: int = MOST_SENTENCES,
    yes_no: Literal["notes", "study"] | None = None,
) -> Answerer:
    """Return the system to use, ready to work.

    Without a system: `mistral` when the user has chosen a model (here, in the settings or by `CLINICAL_MODEL`),
    else `light`. `quote` makes `mistral` choose sentences in place of writing, as a model that was trained to does
    unless `prompt` is the user's own; with `yes_no` its answers, and those of `light`, carry a decision. Raises
    `UsageError` for what does not exist or does not go together.
    """
    system, chosen = choose_system(system, model, SYSTEMS)
    scorer = LikelihoodScorer(embedder)
    if system == "light":
        if adapter or prompt or quote or model:
            raise UsageError(
                "--model, --adapter, --prompt and --quote belong to --system mistral, not to light"
            )
        from clinical.tasks.ask_light import BESIDE_A_YES, LightAnswerer
        from clinical.tasks.yes_no import ByAssertion, ByStudy, YesNoAnswerer

        if yes_no is None:
            return LightAnswerer(scorer, most)
        if yes_no == "study":
            return YesNoAnswerer(LightAnswerer(scorer, most), ByStudy(embedder))
        return YesNoAnswerer(LightAnswerer(scorer, most, beside_the_best=BESIDE_A_YES), ByAssertion())
    from clinical.models.loading import load
    from clinical.prompts import templates
    from clinical.tasks.ask_light import LightAnswerer
    from clinical.tasks.ask_mistral import ByModel, MistralAnswerer
    from clinical.tasks.yes_no import ByAssertion, YesNoAnswerer

    loaded = load(chosen or SMALL_MISTRAL, "ask", adapter)
    if yes_no is not None:
        # The sentences are quoted by light; the model decides by them.
        name = "ask.pubmedqa.v1" if yes_no == "study" else "ask.yesno.v1"
        decider = ByModel(loaded.model, templates.load(prompt or name), yes_no == "study")
        second = ByAssertion() if yes_no == "notes" else None
        return YesNoAnswerer(LightAnswerer(scorer, most, system="mistral"), decider, second)
    # A model that was trained to quote is no good at writing; a prompt of the user's own asks for what it asks for.
    trained = loaded.card.prompts.get("ask") if loaded.card else None
    name = prompt or (QUOTING if quote else trained or "ask.v1")
    return MistralAnswerer(loaded.model, templates.load(name), scorer, quote or name == QUOTING, most)


def reading_of(stretch: Stretch) -> Reading:
    """Return a stretch as a scorer reads it."""
    lines = tuple((told.heading, one_line(told.text)) for told in stretch.told)
    return Reading(stretch.note.title or "", lines)


def score_all(question: str, evidence: Sequence[Stretch], scorer: Scorer) -> Iterator[Scored]:
    """Yield every sentence of the evidence that can be an answer, with its likelihood."""
    readings = [reading_of(stretch) for stretch in evidence]
    for stretch, scores in zip(evidence, scorer.score(question, readings), strict=True):
        for told, score in zip(stretch.told, scores, strict=True):
            if can_answer(stretch, told):
                yield Scored(stretch, told, float(score))


def can_answer(stretch: Stretch, told: Told) -> bool:
    """Return whether a sentence of a note can be an answer."""
    return says_something(told.text) and not is_title(stretch.note, told)


def says_something(text: str) -> bool:
    """Return whether a line can be an answer: no question, greeting, signature or heading, nor a few bare words.

    >>> says_something("Kind regards"), says_something("Any rash?"), says_something("No rash.")
    (False, False, True)
    """
    bare = text.strip()
    if bare.endswith("?") or _GREETING.fullmatch(bare) or _SIGNATURE.fullmatch(bare):
        return False
    marked = re.search(r"[.!?:;,]$|\d|:\s", bare) or not bare[:1].isalnum()
    return bool(marked) or len(bare.split()) > MAX_BARE_WORDS


def likely_first(question: str, evidence: Sequence[Stretch], scorer: Scorer) -> list[Scored]:
    """Return all sentences of the evidence, the likeliest first."""
    return sorted(score_all(question, evidence, scorer), key=lambda found: -(found.score or 0.0))


def alike(scored: Sequence[Scored]) -> list[list[Scored]]:
    """Return the sentences in groups that say the same, the best first, each group with its best first."""
    groups: list[tuple[set[str], list[Scored]]] = []
    for found in scored:
        words = set(_WORD.findall(found.told.text.lower()))
        for known, group in groups:
            if len(words & known) >= ALIKE * max(len(words | known), 1):
                group.append(found)
                break
        else:
            groups.append((words, [found]))
    return [group for _, group in groups]


@dataclass(frozen=True)
class Quoted:
    """Sentences that are quotations, and the places they stand at."""

    sentences: tuple[AnswerSentence, ...]
    citations: tuple[Citation, ...]


def likely(question: str, groups: Sequence[Sequence[Scored]]) -> Quoted:
    """Return the groups as an answer: note by note as the best hits come, within a note in reading order.

    A group is one sentence; the places where it stands once more are citations of it too.
    """
    by_rank = sorted(groups, key=lambda group: (group[0].stretch.rank, group[0].stretch.note.id))
    order = list(dict.fromkeys(group[0].stretch.note.id for group in by_rank))
    by_rank.sort(key=lambda group: (order.index(group[0].stretch.note.id), group[0].told.start))
    citations: list[Citation] = []
    sentences: list[AnswerSentence] = []
    for group in by_rank:
        numbers = tuple(range(len(citations) + 1, len(citations) + len(group) + 1))
        citations += [cite(question, found) for found in group]
        sentences.append(AnswerSentence(one_line(group[0].told.text), numbers))
    return Quoted(tuple(sentences), tuple(citations))


def cite(question: str, found: Scored) -> Citation:
    """Return the place of a sentence, with what the note says there of the words of the question."""
    told, note = found.told, found.stretch.note
    mentions = mentions_of(question, note.text, told.start, told.end)
    spans = [(sentence.start, sentence.end) for sentence in found.stretch.told]
    assertion = assertion_of(assess(note.text, mentions, sections_of(note.text), spans))
    return Citation(
        note.id,
        found.stretch.path,
        told.start,
        told.end,
        told.text,
        told.line,
        told.section,
        note.title,
        note.date,
        found.score,
        assertion if assertion and assertion.status != "present" else None,
    )


def one_line(text: str) -> str:
    """Return a text without line breaks."""
    return " ".join(text.split())
