"""Assertion: is a finding there, absent, possible, past, conditional, or somebody else's?

    "Denies chest pain; mother had a stroke. CT to rule out PE."   chest pain negated, stroke family, PE possible

The algorithm is ConText, which grew from NegEx. A cue ("denies") reaches forward or backward over the findings of
its sentence until a word that ends its reach ("but"); words that only look like a cue ("no change in") are
skipped. The cues are in `assertion_cues.yaml`, which explains each group with a sentence of a note.

    Chapman, Bridewell, Hanbury, Cooper, Buchanan. A simple algorithm for identifying negated findings and
    diseases in discharge summaries. J Biomed Inform 34 (2001) 301-310.
    Harkema, Dowling, Thornblade, Chapman. ConText: an algorithm for determining negation, experiencer, and
    temporal status from clinical reports. J Biomed Inform 42 (2009) 839-851.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from itertools import product
from typing import TYPE_CHECKING

import yaml

from clinical.documents.annotations import Assertion, AssertionStatus, Entity, Span

if TYPE_CHECKING:
    from clinical.documents.sections import Section

# What cannot be said to be absent or somebody else's: who the patient is, values, amounts, places and times only
# qualify another mention; a gene is part of a result; the two histories are whole statements, denial included.
# Any other label is assessed, labels of the user's own among them.
NOT_ASSESSED = frozenset(
    "Age Sex Background Anatomy Location Gene Result Size Descriptor Severity".split()
    + "Dosage Frequency Route Date Duration History Family_history".split()
)

# Several cues may reach one finding; the first of these decides. Absence first: "no family history of cancer" and
# "denies a history of asthma" leave nothing to report. Then whose it is, then whether it is real at all, then when.
PRIORITY: tuple[AssertionStatus, ...] = (
    "negated",
    "family",
    "hypothetical",
    "possible",
    "historical",
    "present",
)


# A question mark is a word of its own before a finding ("?pneumonia"), not after a question.
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d]+(?:['’][^\W\d]+)?|(?<![\w)])\?|[^\w\s?]")
_ALTERNATIVES = re.compile(r"\(([^()]*\|[^()]*)\)")


@dataclass(frozen=True, slots=True)
class Cue:
    """What a cue means: the status it gives (or `stop`, `ignore`), where it looks and how far."""

    status: str
    direction: str
    max_words: int | None = None
    not_for: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Node:
    """A word on the way through the cues, with the words that may follow; `cue` is set where a cue ends."""

    next: dict[str, _Node] = field(default_factory=dict)
    cue: Cue | None = None


@dataclass(frozen=True, slots=True)
class _Reach:
    """A cue at the words `first` to `end` of its sentence, reaching the words `low` to `high` (both exclusive)."""

    cue: Cue
    first: int
    end: int
    low: int
    high: int


def assess(
    text: str,
    entities: Sequence[Entity],
    sections: Sequence[Section],
    sentences: Sequence[tuple[int, int]] | None = None,
) -> list[Entity]:
    """Return the entities in the same order, each with its assertion; `None` where the label has none.

    `sentences` are the half-open spans of the sentences in the order of the text; when missing, the text is split.
    """
    if sentences is None:
        from clinical.documents.sentences import split_sentences

        sentences = split_sentences(text)
    starts = [start for start, _ in sentences]

    @cache
    def sentence(index: int) -> _Sentence:
        return _Sentence(text, *sentences[index])

    assessed = []
    for entity in entities:
        assertion = None
        if entity.label not in NOT_ASSESSED and sentences:
            found = sentence(max(bisect_right(starts, entity.start) - 1, 0)).assertion(entity)
            assertion = found or Assertion("present")
        assessed.append(replace(entity, assertion=assertion))
    return assessed


class _Sentence:
    """The words of a sentence and what each of its cues reaches."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text = text
        found = list(_WORD.finditer(text, start, end))
        self.starts = [word.start() for word in found]
        self.ends = [word.end() for word in found]
        # The end of the sentence reads like a full stop, for cues such as ": none .".
        self.words = [*(word.group().lower().replace("’", "'") for word in found), "."]
        self.reaches = _reaches(self.words)

    def assertion(self, entity: Entity) -> Assertion | None:
        """Return what the cues that reach the entity say: the first in `PRIORITY`, of equal ones the nearest."""
        first = bisect_right(self.starts, entity.start) - 1
        end = bisect_left(self.starts, entity.end)
        ranked = [
            (
                PRIORITY.index(reach.cue.status),
                max(first - reach.end, reach.first - end),
                reach.first,
                reach.end,
            )
            for reach in self.reaches
            if _touches(reach, first, end) and entity.label not in reach.cue.not_for
        ]
        if not ranked:
            return None
        rank, _, cue_first, cue_end = min(ranked)
        return Assertion(PRIORITY[rank], self._cue_span(cue_first, cue_end))

    def _cue_span(self, first: int, end: int) -> Span:
        """Return the characters of a cue without the punctuation at its edges (": none." is "none")."""
        words = [
            index for index in range(first, min(end, len(self.starts))) if self.words[index][0].isalnum()
        ]
        if words:
            first, end = words[0], words[-1] + 1
        start, stop = self.starts[first], self.ends[end - 1]
        return Span(start, stop, self.text[start:stop])


def _touches(reach: _Reach, first: int, end: int) -> bool:
    """Return whether the entity at the words `first` to `end` is reached.

    An entity may begin with the cue ("no fever" as a whole); a cue in its middle says nothing about it.
    """
    far = reach.cue.max_words
    from_word = reach.end if far == 0 else reach.first
    if reach.cue.direction != "backward" and from_word <= first < reach.high and end > reach.end:
        return far is None or first - reach.end <= far
    if reach.cue.direction != "forward" and reach.low <= first and end <= reach.first:
        return far is None or reach.first - end <= far
    return False


def _reaches(words: Sequence[str]) -> list[_Reach]:
    """Return the cues among the words of one sentence with what they reach."""
    found = list(_find_cues(words))
    reaches = []
    for index, (cue, first, end) in enumerate(found):
        if cue.status in ("stop", "ignore"):
            continue
        low = max((e for c, _, e in found[:index] if _stops(c, "backward")), default=0)
        high = min((f for c, f, _ in found[index + 1 :] if _stops(c, "forward")), default=len(words))
        reaches.append(_Reach(cue, first, end, low, high))
    return reaches


def _stops(cue: Cue, direction: str) -> bool:
    return cue.status == "stop" and cue.direction in (direction, "both")


def _find_cues(words: Sequence[str]) -> Iterator[tuple[Cue, int, int]]:
    """Yield each cue with its first word and the word after its last; the longest at a place, none inside another."""
    tree = _cue_tree()
    covered = 0
    for first in range(len(words)):
        node, cue, end = tree, None, first
        for index in range(first, len(words)):
            following = node.next.get(words[index])
            if following is None:
                break
            node = following
            if node.cue:
                cue, end = node.cue, index + 1
        if cue and end > covered:
            covered = end
            yield cue, first, end


@cache
def _cue_tree() -> _Node:
    """Return the cues of the package as a tree of words, so that a text is walked once for all of them."""
    table = resources.files("clinical.tasks").joinpath("assertion_cues.yaml").read_text(encoding="utf-8")
    root = _Node()
    for group in yaml.safe_load(table):
        cue = Cue(
            group["status"],
            group.get("direction", "both"),
            group.get("max_words"),
            frozenset(group.get("not_for", ())),
        )
        for phrase in group["cues"]:
            for plain in _spell_out(phrase):
                node = root
                for word in _WORD.findall(plain.lower()):
                    node = node.next.setdefault(word, _Node())
                if node.cue not in (None, cue):
                    raise ValueError(f"assertion_cues.yaml: two meanings for {' '.join(plain.split())!r}")
                node.cue = cue
    return root


def _spell_out(phrase: str) -> Iterator[str]:
    """Yield every plain phrase that one with alternatives stands for.

    >>> list(_spell_out("no (acute|) change"))
    ['no acute change', 'no  change']
    """
    pieces = _ALTERNATIVES.split(phrase)
    # The pieces at odd places are the alternatives between the fixed ones.
    choices = [piece.split("|") if index % 2 else [piece] for index, piece in enumerate(pieces)]
    for choice in product(*choices):
        yield "".join(choice)
