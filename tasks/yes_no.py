"""Yes, no or maybe: what the notes, or a study, come down to for a question that asks for no more.

    clinical ask "Did she have a stroke?" notes/ --yes-no
    clinical ask "Is closure superior to medical therapy?" abstracts/ --yes-no --study

Of notes, the sentences that answer decide by what they say of the words asked for: "denies", "no evidence of" is no,
"possible" is maybe (`clinical.facts.assertion`). What they say of a relative, of an allergy, or without those words,
counts only where nothing else answers, as maybe; to "is he …?" the past is no more than a maybe beside what is said of
now. What has ended is no to "does she take …?", yes to "did she take …?" and to "is she off …?". Of a study, its
wording decides: significance, differences, p values, hedges, and how the question is put, weighed as learned from the
training questions of PubMedQA (`clinical finetune study-decision`).

    Jin, Dhingra, Liu, Cohen, Lu. PubMedQA: a dataset for biomedical research question answering. EMNLP 2019.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Protocol

from clinical.documents.answers import Answer, Citation, Decision
from clinical.facts.assertion import assess
from clinical.index.words import words_of
from clinical.models.embedders import TextEmbedder
from clinical.tasks.evidence import Stretch, sections_of, stretch_of
from clinical.tasks.leaning import before
from clinical.tasks.query import Query, read_query
from clinical.tasks.search import assertion_of, mentions_of

if TYPE_CHECKING:
    from clinical.documents.annotations import AssertionStatus, Entity
    from clinical.tasks.ask import Answerer

__all__ = ["DECISIONS", "ByAssertion", "ByStudy", "Decider", "YesNoAnswerer", "study_features"]

DECISIONS: tuple[Decision, ...] = ("yes", "no", "maybe")

MEANING: Mapping[AssertionStatus, Decision] = {
    "present": "yes",
    "historical": "yes",
    "negated": "no",
    "possible": "maybe",
    "hypothetical": "maybe",
    "family": "maybe",
}
"""What the assertion of the words asked for says. Of a relative's disease the patient may ask or not: maybe."""

ALLERGIES = "allergies"

_OF_NOW = re.compile(r"\s*(?:is|are|am|do|does)\b", re.IGNORECASE)
_OF_USE = re.compile(
    r"\s*(?:is|are|am|do|does)\b.*\b(?:tak(?:e|es|ing)|us(?:e|es|ing)|on|get(?:s|ting)?|receiv(?:e|es|ing)|smok(?:es?|ing|ers?)"
    r"|drink(?:s|ing|ers?)?)\b",
    re.IGNORECASE,
)
_ENDED = re.compile(
    r"\b(?:(?:took|taken|had|smoked|drank|was|were)\b.*\buntil|used to|previously|former(?:ly)?|ex|stopped|discontinued"
    r"|(?<!to )quit|gave up|given up|withdrawn|on hold|no longer|not any more|off|(?:changed|switched) to"
    r"|replaced by)\b|\bd/?c'?d\b|^\W*(?:stop|hold|discontinue)(?:ped|d)?\s*:",
    re.IGNORECASE,
)
_IS_OVER = re.compile(
    rf"{_ENDED.pattern}|\b(?:resolved|disappeared|subsided|abated|vanished|gone|recovered|cured|weaned)\b",
    re.IGNORECASE,
)
_ASKS_FOR_AN_END = re.compile(rf"{_IS_OVER.pattern}|\b(?:stop|discontinue|hold|resolve)\b", re.IGNORECASE)
_REACTS = re.compile(r"\b(?:allerg|intoleran|anaphyla|adverse reaction)", re.IGNORECASE)
_NO_ALLERGY = re.compile(r"\bNKD?A\b|\bno (?:known )?(?:drug )?(?:allerg|reaction)|\bnone\b", re.IGNORECASE)
_OPPOSITES = [
    (re.compile(rf"\b{one}\b", re.IGNORECASE), re.compile(rf"\b{other}\b", re.IGNORECASE))
    for pair in (
        ("positive", "negative"),
        ("normal", "abnormal"),
        ("malignant", "benign"),
        ("alive", "dead|died"),
    )
    for one, other in (pair, pair[::-1])
]
_COMMA = re.compile(r"[,;]\s|\band\b|\bbut\b")
_CLAUSE = re.compile(r";|\b(?:and|but)\b", re.IGNORECASE)
_HABITS = {
    re.compile(r"\bsmok(?:e[ds]?|ing|ers?)\b", re.IGNORECASE): " smoke smoker",
    re.compile(r"\b(?:dr[aiu]nks?|drinking|drinkers?)\b", re.IGNORECASE): " drink drinker",
}
"""What is done and who does it are two words for one habit: "a smoker?" asks for "never smoked" too."""
_RELATIVE = (
    r"(?:wife|husband|spouse|partner|mother|mom|father|dad|parents?|brother|sister|sons?|daughters?|aunt|uncle|cousin"
    r"|grand(?:mother|father)|roommate)"
)
_ASKS_FOR_A_RELATIVE = re.compile(rf"\b(?:{_RELATIVE}|family|relatives?)\b", re.IGNORECASE)
_TELLS_OF_A_RELATIVE = re.compile(
    # "Wife smokes", not "Mother says that he smokes".
    rf"^\W*(?:(?:his|her|their|the|pt's|patient's)\s+)?{_RELATIVE}\b(?!['’]s)(?!\s+(?:also\s+)?(?:reports?|reported|states?"
    r"|stated|says?|said|den(?:y|ies|ied)|notes?|noted|noticed|believes?|thinks?|worr(?:y|ies|ied)|asks?|called|calls))",
    re.IGNORECASE,
)
_PERSON = re.compile(r"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof)\b\.?\s+[A-Z][\w'-]+")


class Decider(Protocol):
    """What tells yes from no; `name` is printed with the result."""

    @property
    def name(self) -> str:
        """The name of the way to decide."""
        ...

    def decide(self, question: str, answer: Answer, evidence: Sequence[Stretch]) -> Mapping[str, float]:
        """Return the likelihood of each decision, together 1."""
        ...


@dataclass(frozen=True)
class YesNoAnswerer:
    """An answerer whose answers carry a decision; where it abstains there is none.

    Where a `second` decider says no to the decider's yes, or yes to its no, a warning tells so.
    """

    answerer: Answerer
    decider: Decider
    second: Decider | None = None

    @property
    def system(self) -> str:
        """The name of the system."""
        return self.answerer.system

    @property
    def model(self) -> str:
        """The name of the model that finds the evidence, and of what decides."""
        return f"{self.answerer.model}, {self.decider.name}"

    def answer(self, question: str, evidence: Sequence[Stretch]) -> Answer:
        """Return the answer with its decision."""
        found = replace(self.answerer.answer(question, evidence), model=self.model)
        if found.abstained:
            return found
        likelihoods = self.decider.decide(question, found, evidence)
        decision = _likeliest(likelihoods)
        found = replace(found, decision=decision, likelihoods=likelihoods)
        other = _likeliest(self.second.decide(question, found, evidence)) if self.second else decision
        if {decision, other} != {"yes", "no"}:
            return found
        warning = f"{self.decider.name} says {decision}, the words of the sentences say {other}: read them"
        return replace(found, warnings=(*found.warnings, warning))


def _likeliest(likelihoods: Mapping[str, float]) -> Decision:
    return max(DECISIONS, key=lambda name: likelihoods[name])


# --- of notes ---


@dataclass(frozen=True)
class ByAssertion:
    """Decides by what the quoted sentences say of the words of the question, the likelier ones with more weight."""

    name: str = "by assertion"

    def decide(self, question: str, answer: Answer, evidence: Sequence[Stretch]) -> Mapping[str, float]:
        """Return the shares of the quoted sentences, by their likelihood, that say yes, no and maybe."""
        asked = _PERSON.sub(" ", question)  # that Mr. Jones is named says nothing of what he has
        asked += "".join(words for habit, words in _HABITS.items() if habit.search(asked))
        query: Query | str = read_query(asked) if words_of(asked) else asked
        found = [
            (_status(question, query, _stretch_with(citation, evidence), citation), citation.score or 1.0)
            for citation in answer.citations
        ]
        return _shares(found, of_now=bool(_OF_NOW.match(question)))


def _status(
    question: str, query: Query | str, stretch: Stretch, citation: Citation
) -> AssertionStatus | None:
    """Return what a quoted sentence says to the question; `None` when it says nothing of its words."""
    spans = [(told.start, told.end) for told in stretch.told]
    mentions = mentions_of(query, stretch.note.text, citation.start, citation.end)
    said = assertion_of(assess(stretch.note.text, mentions, sections_of(stretch.note.text), spans))
    status = said.status if said else None
    of_allergy = citation.section == ALLERGIES or bool(_REACTS.search(citation.text))
    if of_allergy and "allerg" not in question.lower():
        # "Penicillin (rash)" among the allergies does not say that she was given it.
        return None
    if of_allergy and _NO_ALLERGY.search(citation.text):
        return "negated"
    if status and _TELLS_OF_A_RELATIVE.search(citation.text) and not _ASKS_FOR_A_RELATIVE.search(question):
        return "family"
    if status == "negated" and said and said.cue and _IS_OVER.search(said.cue.text):
        return _of_what_is_over(question)
    if status in ("present", "historical") and _says_the_opposite(question, citation, mentions):
        return "negated"
    asks_for_an_end = bool(_ASKS_FOR_AN_END.search(question))
    if status in ("present", "historical") and _OF_USE.match(question) and not asks_for_an_end:
        return "negated" if _has_ended(stretch, citation, mentions) else status
    if status == "present" and asks_for_an_end:
        is_over = _IS_OVER.search(citation.text) or _has_ended(stretch, citation, mentions)
        return status if is_over else "negated"
    return status


def _says_the_opposite(question: str, citation: Citation, mentions: Sequence[Entity]) -> bool:
    """Return whether "HER2 positive?" meets "HER2 negative": in the part of the sentence that has the subject."""
    for one, other in _OPPOSITES:
        if not one.search(question) or other.search(question):
            continue
        subjects = [mention for mention in mentions if not one.search(mention.text)]
        parts = [_part(citation, mention.start - citation.start) for mention in subjects]
        if any(other.search(part) and not one.search(part) for part in parts):
            return True
    return False


def _part(citation: Citation, place: int) -> str:
    """Return the words between the commas around a place of a sentence."""
    edges = [0, *(found.end() for found in _COMMA.finditer(citation.text)), len(citation.text)]
    last = next(edge for edge in edges if edge > place)
    return citation.text[max(edge for edge in edges if edge <= place) : last]


def _stretch_with(citation: Citation, evidence: Sequence[Stretch]) -> Stretch:
    """Return the stretch that a citation is from: a note may have several, and ids may be the same in two files."""
    return next(
        stretch
        for stretch in evidence
        if (stretch.note.id, stretch.path) == (citation.id, citation.path)
        and stretch.told[0].start <= citation.start < stretch.told[-1].end
    )


def _of_what_is_over(question: str) -> AssertionStatus:
    """Return what "she stopped it", which denies it now, says to a question of its end, of now, or of the past."""
    if _ASKS_FOR_AN_END.search(question):
        return "present"
    return "negated" if _OF_NOW.match(question) else "historical"


def _has_ended(stretch: Stretch, citation: Citation, mentions: Sequence[Entity]) -> bool:
    """Return whether what is mentioned has ended: "took it until May", or "It was stopped." in the next sentence."""
    ends = [found.start() for found in _CLAUSE.finditer(citation.text)]
    places = [mention.start - citation.start for mention in mentions]
    first = max((end for end in ends if end < min(places)), default=0)
    last = min((end for end in ends if end > max(places)), default=len(citation.text))
    if _ENDED.search(citation.text[first:last]):
        return True
    following = next((place for place, told in enumerate(stretch.told) if told.start >= citation.end), None)
    if following is None or before(stretch.note, stretch.told, following) is None:
        return False
    return bool(_ENDED.search(stretch.told[following].text))


def _shares(found: Sequence[tuple[AssertionStatus | None, float]], *, of_now: bool) -> Mapping[str, float]:
    """Return the share of each decision in what sentences say, each with its weight."""
    of_patient = [(status, weight) for status, weight in found if status not in (None, "family")]
    says_now = any(status in ("present", "negated", "possible") for status, _ in of_patient)
    if any(status in ("present", "negated", "historical") for status, _ in of_patient):
        # What is planned or to be watched for says nothing against what is there.
        of_patient = [(status, weight) for status, weight in of_patient if status != "hypothetical"]
    shares: dict[str, float] = dict.fromkeys(DECISIONS, 0.0)
    for status, weight in of_patient or found:
        is_past = status == "historical" and of_now and says_now
        shares["maybe" if status is None or is_past else MEANING[status]] += weight
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


# --- of a study ---

MARKS: Mapping[str, str] = {
    "no difference": r"\bno (?:statistically |clinically )?"
    r"(?:significant|apparent|clear|consistent|independent)?\s*(?:\w+ ){0,2}?(?:differences?|effects?|association|"
    r"correlation|relationship|change|impact|influence|increase|decrease|improvement|benefit|evidence|trend)"
    r"|\bno (?:statistical(?:ly)? )?significan|not (?:statistically )?significan"
    r"|(?:did|does|do|was|were|is|are) not (?:\w+ )?(?:differ|different|associated|correlated?|related|affect|improve|"
    r"increase|predict|influence|change|reduce|appear|alter|show|find|found|seem)"
    r"|non-?significan|\bfailed to|\bneither\b|\bunable to",
    "alike": r"\bsimilar|\bcomparable|\bequivalent|\bequal\b|\bthe same\b|\bunchanged",
    "significant": r"(?<!not )(?<!no )(?<!no statistically )(?<!not statistically )\bsignificant(?:ly)?\b|\bstrongly\b",
    "associated": r"(?<!not )\bassociated with|(?<!not )\bcorrelat|\bpredict(?:ed|or|ive)|\brisk factor"
    r"|\bindependent(?:ly)?",
    "more or less": r"\bhigher|\bgreater|\bincreas|\bmore\b|\bimprov|\bbetter|\breduc|\blower|\bdecreas|\bfewer"
    r"|\bshorter",
    "p below 0.05": r"\bp\s*(?:value)?\s*(?:<|=|≤|of)\s*0?\.0[0-4]\d*|\bp\s*<\s*0?\.05",
    "p above 0.05": r"\bp\s*(?:value)?\s*(?:=|>|≥)\s*0?\.(?:0[5-9]|[1-9])\d*|\bp\s*>\s*0?\.05|\bns\b",
    "hedge": r"\bmay\b|\bmight\b|\bcould\b|\bpossibl|\bsuggest|\bhowever|\balthough|\bbut\b|\bonly\b|\blimited"
    r"|\bwhile\b|\bwhereas",
    "not": r"\bnot\b|\bno\b|\bnone\b|\bnor\b|n't\b|\bwithout\b|\black",
    "works": r"\bconfirm|\bdemonstrat|\beffective|\bsuccess|\bsafe\b|\bfeasible|\baccura|\breliab|\bsensitivity"
    r"|\buseful",
    "interval": r"\b95%|\bconfidence interval|\bodds ratio|\bhazard ratio|\brelative risk",
}
"""What a study says when it found something, or nothing."""

OPENINGS = ("is", "are", "does", "do", "can", "should", "will", "has", "have", "was", "were", "did", "could")

SUBJECTS = (
    r"necessary|need|required|mandatory|routine",
    r"differen",
    r"affect|effect|influence|impact",
    r"safe",
    r"effective|useful|benefi|valu|worth|helpful",
    r"predict|prognos|indicator|marker|determin",
    r"associat|relat|correlat|link|risk factor|cause|role",
    r"improve|reduce|prevent|increase|decrease",
    r"still|really|too|enough|adequate|justified|appropriate|sufficient",
    r"feasible|possible|reliable|accurate|valid",
    r"better|more|superior|worse|versus|vs|compar",
    r"\bor\b",
    r":",
)
"""What a question is about, by its words: "necessary?" is more often answered no than "associated with?"."""


@cache
def _marks() -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in MARKS.values())


def study_features(question: str, sentences: Sequence[str], embedder: TextEmbedder) -> list[float]:
    """Return what the wording of a study and of a question about it comes to, in numbers.

    How often each of `MARKS` is in the whole, in the later half, in the last sentence, in the three nearest to the
    question and in the last three; how much of the attention to the question falls on it; and how the question is put.
    """
    import numpy as np

    vectors = embedder.embed([question, *sentences])
    cosines = vectors[1:] @ vectors[0]
    count = len(sentences)
    groups = [
        list(range(count)),
        list(range(count // 2, count)),
        [count - 1],
        np.argsort(-cosines)[:3].tolist(),
        list(range(max(count - 3, 0), count)),
    ]
    found = np.array([[len(mark.findall(sentence)) for mark in _marks()] for sentence in sentences])
    features = [math.log1p(total) for group in groups for total in found[group].sum(axis=0).tolist()]
    # What stands in the first third is background and methods.
    weights = np.exp(4 * cosines) * (np.arange(count) >= count // 3)
    features += ((weights / weights.sum()) @ (found > 0)).tolist()
    asked = question.lower()
    first = (asked.split() or [""])[0]
    features += [float(first == word) for word in OPENINGS]
    features += [float(bool(re.search(pattern, asked))) for pattern in SUBJECTS]
    features += [math.log(1 + len(asked.split())), count / 10]
    features += [float(cosines.max()), float(cosines.mean()), float(cosines[-1])]
    return features


@dataclass(frozen=True)
class ByStudy:
    """Decides by the wording of the study that the best hit is from; a linear model trained on PubMedQA."""

    embedder: TextEmbedder
    name: str = "light-study"

    def decide(self, question: str, answer: Answer, evidence: Sequence[Stretch]) -> Mapping[str, float]:
        """Return the likelihoods for the study with the best hit, read as a whole."""
        best = min(evidence, key=lambda stretch: stretch.rank)
        return self.judge(question, [told.text for told in stretch_of(best.note).told])

    def judge(self, question: str, sentences: Sequence[str]) -> Mapping[str, float]:
        """Return the likelihoods for a study of these sentences."""
        import numpy as np

        weights = _weights()
        features = np.array(study_features(question, sentences, self.embedder))
        scaled = (features - np.array(weights["mean"])) / np.array(weights["spread"])
        logits = np.array(weights["weight"]) @ scaled + np.array(weights["bias"])
        shares = np.exp(logits - logits.max())
        return dict(zip(DECISIONS, (shares / shares.sum()).tolist(), strict=True))


@cache
def _weights() -> Mapping[str, Sequence[float]]:
    file = resources.files("clinical.models").joinpath("weights", "light-study", "decision.json")
    weights: Mapping[str, Sequence[float]] = json.loads(file.read_text(encoding="utf-8"))
    return weights
