"""Assertion: is a finding there, absent, possible, past, conditional, or somebody else's?

    "Denies chest pain. Mother had a stroke. CT to rule out PE."    negated, family, possible

The algorithm is ConText, which grew from NegEx. A cue ("denies") reaches forward or backward over the
findings of its sentence until a word that ends its reach ("but"); words that only look like a cue ("no change
in") are passed over. The cues stand in `assertion_cues.yaml`, each group with a sentence of a note that explains
it. The section counts too: what stands under "Family history" is the family's.

    Chapman, Bridewell, Hanbury, Cooper, Buchanan. A simple algorithm for identifying negated findings and
    diseases in discharge summaries. J Biomed Inform 34 (2001) 301-310.
    Harkema, Dowling, Thornblade, Chapman. ConText: an algorithm for determining negation, experiencer, and
    temporal status from clinical reports. J Biomed Inform 42 (2009) 839-851.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

import yaml

from clinical.documents.annotations import Assertion, AssertionStatus, Entity, Span
from clinical.documents.sections import Section
from clinical.documents.sentences import split_sentences
from clinical.facts.phrases import PhraseTree

__all__ = ["NOT_ASSESSED", "PRIORITY", "assess"]

NOT_ASSESSED = frozenset(
    {"Age", "Sex", "Background", "Anatomy", "Location", "Gene", "Result", "Size", "Descriptor", "Severity"}
    | {"Dosage", "Frequency", "Route", "Date", "Duration", "History", "Family_history"}
)
"""Labels without an assertion. Who the patient is, values, amounts, places and times qualify another mention
and cannot be absent by themselves; a gene is part of a result; the two histories are whole statements with
their denial in them. Every other label is assessed, labels of the user's own among them."""

PRIORITY: tuple[AssertionStatus, ...] = (
    "negated",
    "family",
    "hypothetical",
    "possible",
    "historical",
    "present",
)
"""Which status holds when several cues reach a finding. Absence comes first: "no family history of cancer" and
"denies a history of asthma" leave nothing to report. Then whose it is ("mother with possible lupus"), then
whether it is real at all ("return if the suspected clot moves"), then when."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What a cue means: the status it gives (or `stop`, `ignore`), where it looks and how far.

    One that has the word `up_to` is a cue only where its reach ends with that: "was on warfarin until May". What is
    before the word `back_to` it does not reach. A stop does not end the reach of cues of the status `not_of`.
    """

    status: str
    direction: str
    max_words: int | None
    not_for: frozenset[str]
    up_to: str | None
    back_to: str | None
    not_of: str | None


@dataclass(frozen=True, slots=True)
class _Cues:
    """What `assertion_cues.yaml` says: the cues as a tree of words, and what sections mean by name or title."""

    tree: PhraseTree[Cue]
    sections: Mapping[str, Cue]


@dataclass(frozen=True, slots=True)
class _Found:
    """A cue at the words `first` to `end` (exclusive) of a sentence; it reaches the words `low` to `high`.

    And the word `verb`, where the cue denies the subject of one.
    """

    cue: Cue
    first: int
    end: int
    low: int
    high: int
    verb: int | None = None


def assess(
    text: str,
    entities: Sequence[Entity],
    sections: Sequence[Section],
    sentences: Sequence[tuple[int, int]] | None = None,
) -> list[Entity]:
    """Return the entities in the same order, each with its assertion; `None` where the label has none.

    `sections` and `sentences` are in the order of the text; a text whose sentences are not given is split.
    """
    if sentences is None:
        sentences = split_sentences(text)
    starts = [start for start, _ in sentences]

    @cache
    def sentence(index: int) -> _Sentence:
        return _Sentence(text, *sentences[index])

    def assertion(entity: Entity) -> Assertion | None:
        if entity.label in NOT_ASSESSED:
            return None
        index = max(bisect_right(starts, entity.start) - 1, 0)
        found = sentence(index).assertion(entity) if starts else None
        return _with_section(text, entity, found, _section_at(sections, entity.start))

    return [replace(entity, assertion=assertion(entity)) for entity in entities]


def _with_section(text: str, entity: Entity, found: Assertion | None, section: Section | None) -> Assertion:
    """Return what the words of the sentence and the section say together.

    The section is overruled by a status of higher priority ("Family history: no cancer") and by words that
    speak of the patient ("The patient herself has asthma"). Its cue is its title.
    """
    cue = None
    if section is not None:
        meanings = _cues().sections
        cue = meanings.get(section.name or "") or meanings.get(section.title.lower())
    if section is None or cue is None or entity.label in cue.not_for:
        return found if found and found.status != "present" else Assertion("present")
    rank = PRIORITY.index(cue.status)
    if found and (found.status == "present" or PRIORITY.index(found.status) <= rank):
        return found
    start = text.index(section.title, section.start, section.end)
    return Assertion(PRIORITY[rank], Span(start, start + len(section.title), section.title))


def _section_at(sections: Sequence[Section], offset: int) -> Section | None:
    index = bisect_right(sections, offset, key=lambda section: section.start) - 1
    return sections[index] if index >= 0 else None


# --- one sentence ---

FURTHEST = 200
"""No cue reaches further, in words. Lists of denied symptoms are long; longer ones have lost their full stops."""

# A question mark is a word in front of a finding ("?pneumonia"), not at the end of a question. So is a sign before a
# finding of a list ("(-) fever", ", -fever"); at the beginning of a line a hyphen heads an item.
_SIGN = r"(?:^|(?<=[,;:]\s))\(-\)|(?<=[,;:]\s)-(?=[^\W\d])"
_WORD = re.compile(
    rf"\d+(?:[.,]\d+)*|[^\W\d]+(?:['’][^\W\d]+)?|(?<![\w)])\?|(?P<sign>{_SIGN})|[^\w\s?]", re.MULTILINE
)


def _read(word: re.Match[str]) -> str:
    """Return a word as the cues have it."""
    return "(-)" if word.lastgroup else word.group().lower().replace("’", "'")


_CLOSING = frozenset(",;/.")


class _Sentence:
    """The words of a sentence and the cues among them."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text = text
        words = list(_WORD.finditer(text, start, end))
        self.starts = [word.start() for word in words]
        self.ends = [word.end() for word in words]
        # The end of a sentence reads like a full stop, for cues such as ": none .".
        self.words = [*map(_read, words), "."]
        self.found = _with_reach(self.words)
        self.places = [found.first for found in self.found]

    def assertion(self, entity: Entity) -> Assertion | None:
        """Return what the cues that reach the entity say: the first by `PRIORITY`, of equals the nearest."""
        first = bisect_right(self.starts, entity.start) - 1
        end = bisect_left(self.starts, entity.end)
        low = bisect_left(self.places, first - FURTHEST)
        high = bisect_right(self.places, end + FURTHEST)
        ranked = [
            (
                PRIORITY.index(found.cue.status),
                max(first - found.end, found.first - end),
                found.first,
                found.end,
            )
            for found in self.found[low:high]
            if _reaches(found, first, end) and entity.label not in found.cue.not_for
        ]
        if not ranked:
            return None
        rank, _, cue_first, cue_end = min(ranked)
        return Assertion(PRIORITY[rank], self._span(cue_first, cue_end))

    def _span(self, first: int, end: int) -> Span:
        """Return the characters of a cue without the punctuation at its edges: "none" of ": none .", "-" of "-,"."""
        places = [index for index in range(first, end) if self.words[index] not in _CLOSING]
        words = [index for index in places if self.words[index][0].isalnum()] or places
        start, stop = self.starts[words[0]], self.ends[words[-1]]
        return Span(start, stop, self.text[start:stop])


def _reaches(found: _Found, first: int, end: int) -> bool:
    """Return whether a cue reaches the entity at the words `first` to `end`.

    An entity may begin with its cue ("no fever" as a whole), not where the cue belongs to the very next word
    ("non-oliguric" is a finding). A cue in the middle of an entity says nothing about it, but what stands within a
    denial is denied: of "no evidence of" the evidence.
    """
    cue = found.cue
    if first == found.verb and end == first + 1:
        return True
    if cue.status == "negated" and cue.direction == "forward" and found.first < first and end <= found.end:
        return True
    furthest = FURTHEST if cue.max_words is None else cue.max_words
    begins_with_cue = found.first <= first < found.end < end and furthest > 0
    comes_after = found.end <= first < found.high and first - found.end <= furthest
    comes_before = found.low <= first and 0 <= found.first - end <= furthest
    if cue.direction == "backward":
        return comes_before
    return begins_with_cue or comes_after or (cue.direction == "both" and comes_before)


def _with_reach(words: Sequence[str]) -> list[_Found]:
    """Return the cues among the words of one sentence, each with the words that it reaches."""
    places = list(_find_cues(words))
    reached = []
    low = 0
    for index, (cue, first, end, limit) in enumerate(places):
        if cue.status == "stop":
            low = end if cue.direction != "forward" else low
            continue
        ends = (
            place
            for later, place, _, _ in places[index + 1 : index + 1 + FURTHEST]
            if _ends_reach(cue, later, words[place - 1])
        )
        high = min(limit, next(ends, limit))
        # "She was on warfarin, and well until today": the comma begins something else.
        if cue.up_to and (words[high : high + 1] != [cue.up_to] or "," in words[end:high]):
            continue
        back = max(low, _after_last(cue.back_to, words, first - 1)) if cue.back_to else low
        reached.append(_Found(cue, first, end, back, high, _denied_verb(words, first, high)))
    return reached


def _after_last(word: str, words: Sequence[str], end: int) -> int:
    """Return the place after the last such word before `end`; 0 where there is none."""
    return next((place for place in range(end, 0, -1) if words[place - 1] == word), 0)


def _denied_verb(words: Sequence[str], first: int, high: int) -> int | None:
    """Return the word that says what was done to a denied subject: in "no abnormality was found" nothing was found.

    The reach ends before "was": what comes after the verb may be there ("no mass was seen, ascites was"). In "no
    fever and a mass was found" the verb has another subject.
    """
    # Nothing comes after a cue that takes the end of the sentence with it.
    if words[first] != "no" or high == len(words) or words[high] not in _AUXILIARY:
        return None
    if any(pair in _OTHER_SUBJECT for pair in pairwise(words[first:high])):
        return None
    verb = high + 1 + (words[high + 1] == "been")
    return verb if words[verb].endswith("ed") or words[verb] in _IRREGULAR else None


_AUXILIARY = frozenset(("is", "are", "was", "were", "has", "have", "had", "could", "can"))
_OTHER_SUBJECT = frozenset(("and", word) for word in ("a", "an", "the", "his", "her", "this", "these"))
_IRREGULAR = frozenset(("found", "seen", "felt", "heard", "shown", "known", "done", "made", "given", "taken"))


def _ends_reach(cue: Cue, later: Cue, word_before: str) -> bool:
    """Return whether a later cue ends the forward reach of this one: a stop, or a statement of its own.

    "No fever, possible pneumonia" begins a new statement. A past finding does not: it may go on with the list
    ("denies fever, history of clots, or cough"), unless it is in parentheses: "to avoid estrogens (hx of DVT)".
    """
    if later.direction == "backward":
        return False
    if later.status == "stop":
        return cue.status != later.not_of
    if word_before == "(":
        return later.status != cue.status
    own = later.status in ("possible", "family", "hypothetical") and later.status != cue.status
    return own and word_before in (",", "and")


def _find_cues(words: Sequence[str]) -> Iterator[tuple[Cue, int, int, int]]:
    """Yield each cue with its first word, the word after its last, and the word that its reach may not pass.

    The longest cue at a place counts, and none that lies inside another. A forward cue that begins a
    longer one to be ignored speaks of the words in that: "no improvement in pain" denies the improvement.
    """
    tree = _cues().tree
    covered = 0
    for first in range(len(words)):
        ended = tree.found(words, first)
        if not ended or ended[-1][1] <= covered:
            continue
        cue, covered = ended[-1]
        if cue.status != "ignore":
            yield cue, first, covered, len(words)
        elif meant := [pair for pair in ended if pair[0].direction == "forward" and pair[0].status != "stop"]:
            cue, end = meant[-1]
            yield cue, first, end, covered


# --- the cue list ---

_ALTERNATIVES = re.compile(r"\(([^()]*\|[^()]*)\)")


@cache
def _cues() -> _Cues:
    """Return the cue list of the package. Raises `ValueError` where it gives one phrase two meanings."""
    text = resources.files("clinical.facts").joinpath("assertion_cues.yaml").read_text(encoding="utf-8")
    tree = PhraseTree[Cue]()
    sections: dict[str, Cue] = {}
    for group in yaml.safe_load(text):
        cue = _cue(group)
        sections.update(dict.fromkeys(group.get("sections", ()), cue))
        for phrase in group.get("cues", ()):
            _plant(tree, phrase, cue)
    return _Cues(tree, sections)


def _cue(group: Mapping[str, Any]) -> Cue:
    return Cue(
        group["status"],
        group.get("direction", "both"),
        group.get("max_words"),
        frozenset(group.get("not_for", ())),
        group.get("up_to"),
        group.get("back_to"),
        group.get("not_of"),
    )


def _plant(tree: PhraseTree[Cue], phrase: str, cue: Cue) -> None:
    """Add every plain phrase that one with alternatives stands for: "no (acute|) change" adds two."""
    ends = [tree]
    for index, piece in enumerate(_ALTERNATIVES.split(phrase)):
        # The pieces at odd places are the alternatives between the fixed ones.
        choices = [
            [*map(_read, _WORD.finditer(choice))] for choice in (piece.split("|") if index % 2 else [piece])
        ]
        ends = [node.reach(words) for node in ends for words in choices]
    for node in ends:
        if node.value not in (None, cue):
            raise ValueError(f"assertion_cues.yaml: {phrase!r} gives one of its phrases a second meaning")
        node.value = cue
