"""Questions: what do the notes say to this? An answer made of quoted sentences, each with its place, or none.

    clinical ask "Which anticoagulant was stopped, and why?" notes/

    answer = ask("Which anticoagulant was stopped, and why?", ["notes/"], embedder, load_answerer(embedder)).answer
    for sentence in answer.sentences:
        print(sentence.text, sentence.citations)

The question is searched for (`clinical.tasks.search`), the sentences around the hits are read
(`clinical.tasks.evidence`), and a system answers from them. `light` quotes: every sentence has a likelihood to belong
to the answer, and the likely ones are the answer, in the order of the notes. `mistral` (`clinical.tasks.ask_mistral`)
writes, and each of its sentences is held against what it cites. Below a threshold that was calibrated on questions
whose answer had been taken out, no answer is given, and the nearest sentences are shown instead.
"""

from __future__ import annotations

import math
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
from clinical.models.settings import choose_system
from clinical.tasks.evidence import Stretch, Told, gather, known_share, sections_of
from clinical.tasks.likelihood import LikelihoodScorer, core
from clinical.tasks.search import assertion_of, find, mentions_of

if TYPE_CHECKING:
    from clinical.index.ranking import Mode

__all__ = ["SYSTEMS", "Answerer", "Asked", "LightAnswerer", "Scored", "Scorer", "ask", "load_answerer"]

SYSTEMS = ("light", "mistral")

SMALL_MISTRAL = "clinical-tiny"

PASSAGES = 12
"""How many hits of the search are read with what is around them."""

MOST_SENTENCES = 5

THRESHOLD = 0.2
"""Below this likelihood that there is an answer, none is given. Chosen on the development halves of the charts and of
MedQuAD's articles with and without the one that answers (benchmarks/ask.md)."""

UNKNOWN = 5.0
"""How much it speaks against an answer, in log odds, when nothing of what the question is about is mentioned there."""

CERTAIN = 0.82
"""From this likelihood on a sentence of the note with the likeliest one belongs to the answer too."""

BESIDE_THE_BEST = 0.7
"""Below it, a sentence belongs to the answer whose odds are at least this share of the best one's. An article answers
in a row of likely sentences, a note in one line; the two bounds were chosen on both (benchmarks/ask.md)."""

BESIDE_A_YES = 0.4
"""The same for yes or no: what speaks against it ("no evidence of stroke") is to be heard beside the likeliest one
("her mother had a stroke"). Set by hand."""

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
    answer = answerer.answer(question, gather(found.hits))
    asked = core(question)
    if asked != question:
        answer = replace(answer, searched=asked)
    return Asked(answer, found.changes, found.remarks, found.reading)


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
    else `light`. `quote` makes `mistral` choose sentences in place of writing; with `yes_no` its answers, and those
    of `light`, carry a decision. Raises `UsageError` for what does not exist or does not go together.
    """
    system, chosen = choose_system(system, model, SYSTEMS)
    scorer = LikelihoodScorer(embedder)
    if system == "light":
        if adapter or prompt or quote or model:
            raise UsageError(
                "--model, --adapter, --prompt and --quote belong to --system mistral, not to light"
            )
        from clinical.tasks.yes_no import ByAssertion, ByStudy, YesNoAnswerer

        if yes_no is None:
            return LightAnswerer(scorer, most)
        if yes_no == "study":
            return YesNoAnswerer(LightAnswerer(scorer, most), ByStudy(embedder))
        return YesNoAnswerer(LightAnswerer(scorer, most, beside_the_best=BESIDE_A_YES), ByAssertion())
    from clinical.models.loading import load
    from clinical.prompts import templates
    from clinical.tasks.ask_mistral import ByModel, MistralAnswerer
    from clinical.tasks.yes_no import YesNoAnswerer

    loaded = load(chosen or SMALL_MISTRAL, "ask", adapter)
    if yes_no is not None:
        # The sentences are quoted by light; the model decides by them.
        name = "ask.pubmedqa.v1" if yes_no == "study" else "ask.yesno.v1"
        decider = ByModel(loaded.model, templates.load(prompt or name), yes_no == "study")
        return YesNoAnswerer(LightAnswerer(scorer, most, system="mistral"), decider)
    template = templates.load(prompt or ("ask.quote.v1" if quote else "ask.v1"))
    return MistralAnswerer(loaded.model, template, scorer, quote, most)


@dataclass(frozen=True)
class LightAnswerer:
    """Answers with at most `most` quoted sentences: the likeliest, in the order of the notes."""

    scorer: Scorer
    most: int = MOST_SENTENCES
    threshold: float = THRESHOLD
    certain: float = CERTAIN
    beside_the_best: float = BESIDE_THE_BEST
    unknown: float = UNKNOWN
    system: str = "light"

    @property
    def model(self) -> str:
        """The name of what tells the likelihoods."""
        return self.scorer.name

    def answer(self, question: str, evidence: Sequence[Stretch]) -> Answer:
        """Return the answer in quotations; abstained, with the nearest sentences, below the threshold."""
        scored = self._scored(question, evidence)
        empty = Answer(question, self.system, self.model, abstained=True)
        if not scored:
            return replace(empty, score=0.0)
        best = scored[0].score or 0.0
        if best < self.threshold:
            nearest = tuple(cite(question, group[0]) for group in alike(scored)[:NEAREST])
            return replace(empty, score=best, nearest=nearest)
        kept = [found for found in scored if self._belongs(found, scored[0])]
        answer = likely(question, alike(kept)[: self.most])
        return replace(
            empty, abstained=False, score=best, sentences=answer.sentences, citations=answer.citations
        )

    def _belongs(self, found: Scored, best: Scored) -> bool:
        """Return whether a sentence is of the answer whose likeliest sentence is the best one."""
        likelihood = found.score or 0.0
        if found.stretch.note is best.stretch.note and likelihood >= self.certain:
            return True
        return _odds(likelihood) >= self.beside_the_best * _odds(best.score or 0.0)

    def _scored(self, question: str, evidence: Sequence[Stretch]) -> list[Scored]:
        """Return all sentences, the likeliest first; those of a stretch that does not know the subject are less so."""
        against = {
            id(stretch): math.exp(-self.unknown * (1 - known_share(question, stretch)))
            if self.unknown
            else 1.0
            for stretch in evidence
        }
        found = [
            replace(one, score=_likelihood(_odds(one.score or 0.0) * against[id(one.stretch)]))
            for one in score_all(question, evidence, self.scorer)
        ]
        return sorted(found, key=lambda one: -(one.score or 0.0))


def score_all(question: str, evidence: Sequence[Stretch], scorer: Scorer) -> Iterator[Scored]:
    """Yield every sentence of the evidence with its likelihood."""
    readings = [
        Reading(
            stretch.note.title or "", tuple((told.heading, _one_line(told.text)) for told in stretch.told)
        )
        for stretch in evidence
    ]
    for stretch, scores in zip(evidence, scorer.score(question, readings), strict=True):
        for told, score in zip(stretch.told, scores, strict=True):
            if says_something(told.text):
                yield Scored(stretch, told, float(score))


def says_something(text: str) -> bool:
    """Return whether a line can be an answer: no question, greeting, signature or heading, nor a few bare words.

    >>> says_something("Kind regards"), says_something("Any rash?"), says_something("No rash.")
    (False, False, True)
    """
    bare = text.strip()
    if bare.endswith("?") or _GREETING.fullmatch(bare):
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
        sentences.append(AnswerSentence(_one_line(group[0].told.text), numbers))
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


def _odds(likelihood: float) -> float:
    return likelihood / max(1 - likelihood, 1e-9)


def _likelihood(odds: float) -> float:
    return odds / (1 + odds)


def _one_line(text: str) -> str:
    return " ".join(text.split())
