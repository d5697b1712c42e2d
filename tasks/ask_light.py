"""Answers that quote: the sentences most likely to answer, with those that make them understood.

    LightAnswerer(LikelihoodScorer(Embedder())).answer("Why was warfarin stopped?", evidence)

Every sentence is read by itself, and where it leans on the one before ("It was stopped because of bleeding",
`clinical.tasks.leaning`), together with that; the better reading counts. The likely sentences are the answer, in the
order of the notes, and beside them the sentence that says what "it" was, where the question speaks of that.
Whether there is an answer at all is weighed at the end: how likely the best sentence is, how much it names of what the
question is about, and, of an article, whether it is about that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from clinical.documents.answers import Answer, Reading
from clinical.tasks.ask import (
    MOST_SENTENCES,
    NEAREST,
    Scored,
    Scorer,
    alike,
    can_answer,
    cite,
    likely,
    one_line,
    reading_of,
    score_all,
)
from clinical.tasks.evidence import Stretch, Subject, Told, is_stranger
from clinical.tasks.leaning import before
from clinical.tasks.likelihood import lacks_what_is_asked, lines_of

__all__ = ["LightAnswerer"]

THRESHOLD = 0.6
"""Below this likelihood that there is an answer, none is given."""

BY_SENTENCE, BY_NAMES, BIAS = 0.44, 3.6, -0.15
"""The log odds that there is an answer: by those of the best sentence, and by the share of the question's words (by
weight, these or other names) that it mentions. Logistic regression on the development charts (benchmarks/ask.md)."""

LACKING = 5.0
"""How much it speaks against a sentence, in log odds, that it has no number or time though one is asked for."""

STRANGER = 5.0
"""How much it speaks against an answer, in log odds, that the best sentence is of an article on something else."""

UNKNOWN = 5.0
"""How much it speaks against a sentence, in log odds, when nothing around mentions what the question is about."""

UNSAID = 2.0
"""How much it speaks against quoting a sentence, in log odds, when it mentions nothing of what the question is about,
itself or by other names: "Is she HER2 positive?" is not answered by who she is (benchmarks/ask.md)."""

CERTAIN = 0.82
"""From this likelihood on a sentence of the note with the likeliest one belongs to the answer too."""

BESIDE_THE_BEST = 0.7
"""Below it, a sentence belongs to the answer whose odds are at least this share of the best one's. An article answers
in a row of likely sentences, a note in one line; the two bounds were chosen on both (benchmarks/ask.md)."""

BESIDE_A_YES = 0.4
"""The same for yes or no: what speaks against it ("no evidence of stroke") is to be heard beside the likeliest one
("her mother had a stroke"). Set by hand."""

AFTER_A_QUOTATION = 0.14
"""The same for what leans on a sentence of the answer: "Adalimumab was discussed. She would rather not have it." """


@dataclass(frozen=True)
class _Weighed(Scored):
    """A sentence with its log odds before it counts what is mentioned around it, and what it names of the subject.

    Sentences are quoted by their `rank`: the log odds of the score, less what the sentence leaves unsaid.
    """

    score: float
    rank: float
    log_odds: float = 0.0
    names: frozenset[str] = frozenset()
    stranger: bool = False


@dataclass(frozen=True)
class LightAnswerer:
    """Answers with at most `most` quoted sentences: the likeliest, in the order of the notes.

    `plain` leaves it at the scores of the sentences, each by itself.
    """

    scorer: Scorer
    most: int = MOST_SENTENCES
    threshold: float = THRESHOLD
    certain: float = CERTAIN
    beside_the_best: float = BESIDE_THE_BEST
    plain: bool = False
    system: str = "light"

    @property
    def model(self) -> str:
        """The name of what tells the likelihoods."""
        return self.scorer.name

    def answer(self, question: str, evidence: Sequence[Stretch]) -> Answer:
        """Return the answer in quotations; abstained, with the nearest sentences, below the threshold."""
        subject = Subject.of(question)
        weighed = self._weighed(question, subject, evidence)
        empty = Answer(question, self.system, self.model, abstained=True)
        if not weighed:
            return replace(empty, score=0.0)
        best = weighed[0]
        score = best.score if self.plain else _is_answer(subject, best)
        if score < self.threshold:
            # What names most of what is asked for comes first, whatever it lacks.
            by_names = sorted(weighed, key=lambda one: -subject.share(one.names))
            nearest = tuple(cite(question, group[0]) for group in alike(by_names)[:NEAREST])
            return replace(empty, score=score, nearest=nearest)
        groups = alike([found for found in weighed if self._belongs(found, best)])[: self.most]
        if not self.plain:
            beside = _beside(subject, [group[0] for group in groups], weighed)
            groups += [[found] for found in beside][: self.most - len(groups)]
        quoted = likely(question, groups)
        return replace(
            empty, abstained=False, score=score, sentences=quoted.sentences, citations=quoted.citations
        )

    def _weighed(self, question: str, subject: Subject, evidence: Sequence[Stretch]) -> list[_Weighed]:
        """Return the sentences that can be an answer, the likeliest first."""
        if self.plain:
            found = [
                _Weighed(one.stretch, one.told, one.score or 0.0, _log_odds(one.score or 0.0))
                for one in score_all(question, evidence, self.scorer)
            ]
        else:
            found = list(_weigh(question, subject, evidence, self.scorer))
        return sorted(found, key=lambda one: (one.stranger, -one.rank))

    def _belongs(self, found: _Weighed, best: _Weighed) -> bool:
        """Return whether a sentence is of the answer whose likeliest sentence is the best one."""
        if found.stranger != best.stranger:
            return False
        if found.stretch.note is best.stretch.note and found.score >= self.certain:
            return True
        return math.exp(found.rank) >= self.beside_the_best * math.exp(best.rank)


def _weigh(
    question: str, subject: Subject, evidence: Sequence[Stretch], scorer: Scorer
) -> Iterator[_Weighed]:
    """Yield the sentences that can be an answer, each in the likelier of its two readings."""
    readings = [reading_of(stretch) for stretch in evidence]
    together = [_in_context(stretch) for stretch in evidence]
    scores = scorer.score(question, [*readings, *together])
    for stretch, reading, alone, joint in zip(
        evidence, together, scores[: len(evidence)], scores[len(evidence) :], strict=True
    ):
        names = subject.known(lines_of(reading))
        around = subject.known([stretch.note.title or ""])[0].union(*names)
        against = UNKNOWN * (1 - subject.share(around))
        stranger = is_stranger(subject, stretch)
        for place, told in enumerate(stretch.told):
            if can_answer(stretch, told):
                log_odds = _log_odds(max(alone[place], joint[place]))
                log_odds -= LACKING * lacks_what_is_asked(question, reading.lines[place][1])
                score = 1 / (1 + math.exp(against - log_odds))
                rank = _log_odds(score) - UNSAID * (1 - subject.share(names[place]))
                yield _Weighed(stretch, told, score, rank, log_odds, names[place], stranger)


def _in_context(stretch: Stretch) -> Reading:
    """Return a stretch as it is read together: a sentence that leans on the one before, with that one before it."""
    lines = []
    for place, told in enumerate(stretch.told):
        leant_on = before(stretch.note, stretch.told, place)
        said = [told] if leant_on is None else [leant_on, told]
        lines.append((said[0].heading, " ".join(one_line(one.text) for one in said)))
    return Reading(stretch.note.title or "", tuple(lines))


def _is_answer(subject: Subject, best: _Weighed) -> float:
    """Return how likely it is that there is an answer, from 0 to 1."""
    log_odds = BY_SENTENCE * best.log_odds + BY_NAMES * subject.share(best.names) + BIAS
    return 1 / (1 + math.exp(STRANGER * best.stranger - log_odds))


def _beside(subject: Subject, quoted: Sequence[Scored], weighed: Sequence[_Weighed]) -> list[Scored]:
    """Return the sentences to be quoted too: those that quoted ones lean on, and likely ones that lean on them."""
    by_place = {(id(found.stretch), found.told.start): found for found in weighed}
    bound = AFTER_A_QUOTATION * _odds(weighed[0].score)
    taken = {(id(found.stretch), found.told.start) for found in quoted}
    beside: list[Scored] = []

    def take(stretch: Stretch, told: Told) -> None:
        if (id(stretch), told.start) not in taken:
            taken.add((id(stretch), told.start))
            beside.append(by_place.get((id(stretch), told.start), Scored(stretch, told, None)))

    for found in quoted:
        told = found.stretch.told
        place = told.index(found.told)
        leant_on = before(found.stretch.note, told, place)
        if leant_on is not None:
            own, other = subject.known([found.told.text, leant_on.text])
            if other - own:
                take(found.stretch, leant_on)
        if place + 1 < len(told) and before(found.stretch.note, told, place + 1) is not None:
            after = by_place.get((id(found.stretch), told[place + 1].start))
            if after is not None and _odds(after.score) >= bound:
                take(found.stretch, after.told)
    return beside


def _log_odds(likelihood: float) -> float:
    return math.log(max(_odds(likelihood), 1e-9))


def _odds(likelihood: float) -> float:
    return likelihood / max(1 - likelihood, 1e-9)
