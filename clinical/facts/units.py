"""What an extractive summary is made of: the sentences of a note, or what was said in a dialogue.

    units = find_units(note.text)
    units[0].text, units[0].spans, units[0].section, units[0].speaker

A unit is one or two stretches of the text, word by word as they stand there. Two, where a short answer means nothing
without its question: "Any fever?", "No." Headings, list marks, greetings and fillers at the edges ("okay, so, um,")
are left out, so that what stays can be quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from clinical.documents.sections import Section, find_sections
from clinical.documents.sentences import split_sentences

__all__ = ["Speaker", "Turn", "Unit", "find_turns", "find_units", "polarity_of_answer"]

Speaker = Literal["clinician", "patient", "other"]

SHORT_ANSWER = 8
"""An answer of at most so many words is joined to its question."""

MOST_CHARACTERS = 500
"""A longer sentence of a note is a list that has lost its full stops."""

MOST_HEADING_WORDS = 5

LEAST_SHARE = 0.7
"""A text is a dialogue when this share of its lines begins with a speaker."""

_SPEAKERS: dict[str, Speaker] = {
    **dict.fromkeys(("doctor", "dr", "physician", "clinician", "provider", "nurse", "d"), "clinician"),
    **dict.fromkeys(("patient", "pt", "p"), "patient"),
    **dict.fromkeys(
        ("guest family", "guest clinician", "patient guest", "mother", "father", "wife"), "other"
    ),
    **dict.fromkeys(("husband", "daughter", "son", "parent", "family", "caregiver", "interpreter"), "other"),
}
_TURN = re.compile(r"^[ \t]*\[?([A-Za-z]+(?:[ _][A-Za-z]+)?)\.?(?:\][ \t]*:?|[ \t]*:)[ \t]*", re.MULTILINE)
_SAID = re.compile(
    r".+?(?:(?<!\bdr)(?<!\bmr)(?<!\bms)(?<!\bmrs)[ ]?[.?!]+(?=\s|$)|$)", re.DOTALL | re.IGNORECASE
)
_FILLER = (
    r"okay|ok|alright|all right|right|yeah|yes|yep|yup|no|nope|sure|so|um+|uh+|mm-?hm+|uh-?huh|hm+|well|and|but|oh|hi"
    r"|hello|hey|good morning|good afternoon|great|good|wow|ah|gosh|perfect|absolutely|definitely|you know|i see"
    r"|got it|now|then|thanks|thank you|awesome|excellent|sounds good|like|doctor|sir|ma'am|miss|i mean"
)
_LEADING_FILLERS = re.compile(
    rf"(?:(?:{_FILLER})(?:\s*[,.!;-]+\s*|\s+(?=(?:{_FILLER}|i|the|my)\b)))+", re.IGNORECASE
)
_COURTESY = (
    r"(?:mr|mrs|ms|miss|dr)\.? [a-z]+|that's|i'm sorry|very|to hear that|nice to (?:see|meet) you"
    r"|how are you(?: doing| feeling)?(?: today)?"
)
_ONLY_FILLERS = re.compile(rf"(?:(?:{_FILLER}|{_COURTESY})\W*)+", re.IGNORECASE)
_LIST_MARK = re.compile(r"(?:[-*•·◦○●▪‣–—#>+]+\s+|\(?\d{1,2}[.)]\s+|\[[ xX]?\]\s*)+(?=\S)")
_NO = re.compile(
    r"\W*(?:(?:um|uh|oh|well),?\s+)*(?:no|nope|nah|never|not|none|neither|i don't|i do n't|i have n't)\b",
    re.I,
)
_YES = re.compile(
    r"\W*(?:(?:um|uh|oh|well),?\s+)*(?:yes|yeah|yep|yup|i do|i have|sure|correct|right|it is|mm-?hm+|a (?:little|bit)"
    r"|sometimes|occasionally|some|often)\b",
    re.I,
)
_ITEM_INSIDE = re.compile(r"[,.]\s*\d{1,2}\.\s+(?=[A-Z])")
_EDGES = " \t\r\n\f\v\xa0,;"


@dataclass(frozen=True)
class Unit:
    """One thing that the text says. `spans` are half-open, in code points; `text` is what stands there.

    `section` is the canonical name of its section in a note, `speaker` who said it in a dialogue. `question` tells
    whether it ends in a question mark.
    """

    spans: tuple[tuple[int, int], ...]
    text: str
    section: str | None = None
    speaker: Speaker | None = None

    @property
    def start(self) -> int:
        """Where it begins."""
        return self.spans[0][0]

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.spans[-1][1]

    @property
    def is_question(self) -> bool:
        """Whether it asks and is not answered."""
        return len(self.spans) == 1 and self.text.endswith("?")

    @property
    def n_words(self) -> int:
        """How many words it has, by blanks."""
        return len(self.text.split())


@dataclass(frozen=True)
class Turn:
    """What one speaker says in one go, `[start, end)` without the speaker's name."""

    speaker: Speaker
    start: int
    end: int


def find_units(text: str, sections: Sequence[Section] | None = None) -> list[Unit]:
    """Return the units of a note or dialogue in their order. Sections that are not given are looked for."""
    turns = find_turns(text)
    if turns:
        return list(_said(text, turns))
    return list(_written(text, find_sections(text) if sections is None else sections))


def find_turns(text: str) -> list[Turn]:
    """Return the turns of a dialogue; none when the text is no dialogue.

    >>> [turn.speaker for turn in find_turns("Doctor: Any pain?\\nPatient: No.")]
    ['clinician', 'patient']
    """
    starts = [
        (found, speaker)
        for found in _TURN.finditer(text)
        if (speaker := _SPEAKERS.get(found[1].lower().replace("_", " ")))
    ]
    lines = sum(1 for line in text.splitlines() if line.strip())
    if len(starts) < 2 or len(starts) < LEAST_SHARE * lines or len({speaker for _, speaker in starts}) < 2:
        return []
    ends = [found.start() for found, _ in starts[1:]] + [len(text)]
    return [
        Turn(speaker, found.end(), end)
        for (found, speaker), end in zip(starts, ends, strict=True)
        if text[found.end() : end].strip()
    ]


def polarity_of_answer(unit: Unit) -> Literal["present", "negated"] | None:
    """Return whether the answer of an answered question is yes or no; `None` when it is neither.

    >>> polarity_of_answer(find_units("Doctor: Any fever?\\nPatient: No, sir.")[0])
    'negated'
    """
    answer = unit.text[len(unit.text) - (unit.end - unit.spans[-1][0]) :] if len(unit.spans) == 2 else ""
    if _NO.match(answer):
        return "negated"
    return "present" if _YES.match(answer) else None


# --- notes ---


def _written(text: str, sections: Sequence[Section]) -> Iterator[Unit]:
    """Yield the sentences of a note without their headings and list marks."""
    place = 0
    for start, end in split_sentences(text):
        while place + 1 < len(sections) and sections[place + 1].start <= start:
            place += 1
        section = sections[place] if sections else None
        if section is not None and section.title and start < section.body_start:
            start = section.body_start
        mark = _LIST_MARK.match(text, start, end)
        for piece in _pieces(text, mark.end() if mark else start, end):
            span = _trimmed(text, *piece)
            if span is not None and _says_something(text[slice(*span)], section):
                yield _unit(text, (span,), section.name if section else None)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield a sentence as it is, and one that has lost its full stops in pieces that can be read."""
    for mark in _ITEM_INSIDE.finditer(text, start, end):
        # What stands before the first number can be a heading that has lost its colon: "OPERATION,1. Insertion of …".
        head = text[start : mark.start()]
        if not (head.isupper() and len(head.split()) <= MOST_HEADING_WORDS):
            yield start, mark.start()
        start = mark.end()
    while end - start > MOST_CHARACTERS:
        window = text[start : start + MOST_CHARACTERS]
        cut = max(window.rfind(mark) for mark in ("; ", ", ", "\n", " - "))
        cut = cut + 1 if cut > 0 else window.rfind(" ") if " " in window else MOST_CHARACTERS
        cut = max(cut, 1)
        yield start, start + cut
        start += cut
    yield start, end


def _says_something(words: str, section: Section | None) -> bool:
    """Whether there is a word, and more than the title of the document: "DISCHARGE SUMMARY" above all sections."""
    is_title = (section is None or section.name is None) and words.isupper() and len(words.split()) <= 5
    return any(map(str.isalpha, words)) and not (is_title and "." not in words and ":" not in words)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The span without blanks and commas at its edges; `None` when nothing is left."""
    while start < end and text[start] in _EDGES:
        start += 1
    while start < end and text[end - 1] in _EDGES:
        end -= 1
    return (start, end) if start < end else None


def _unit(
    text: str,
    spans: tuple[tuple[int, int], ...],
    section: str | None = None,
    speaker: Speaker | None = None,
) -> Unit:
    return Unit(spans, " ".join(" ".join(text[start:end].split()) for start, end in spans), section, speaker)


# --- dialogues ---


@dataclass(frozen=True)
class _Utterance:
    """A sentence of a turn: all of it, and without fillers in front (`None` when it is nothing else)."""

    speaker: Speaker
    whole: tuple[int, int]
    bare: tuple[int, int] | None
    opens_turn: bool


def _said(text: str, turns: Sequence[Turn]) -> Iterator[Unit]:
    """Yield what was said, a question together with its short answer."""
    utterances = [utterance for turn in turns for utterance in _utterances(text, turn)]
    answered = False
    for utterance, following in zip_longest(utterances, utterances[1:]):
        if answered:  # it was the answer
            answered = False
            continue
        bare = utterance.bare
        if bare is None:
            continue
        if text[bare[1] - 1] == "?" and following is not None and _is_short_answer(text, following):
            answered = True
            yield _unit(text, (bare, following.whole), speaker=following.speaker)
        else:
            yield _unit(text, (bare,), speaker=utterance.speaker)


def _utterances(text: str, turn: Turn) -> Iterator[_Utterance]:
    opens_turn = True
    for found in _SAID.finditer(text, turn.start, turn.end):
        span = _trimmed(text, *found.span())
        if span is not None:
            yield _Utterance(turn.speaker, span, _without_fillers(text, *span), opens_turn)
            opens_turn = False


def _is_short_answer(text: str, following: _Utterance) -> bool:
    said = text[slice(*following.whole)]
    return following.opens_turn and not said.endswith("?") and len(said.split()) <= SHORT_ANSWER


def _without_fillers(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The span without "okay, so, um," in front; `None` when it is nothing else."""
    if _ONLY_FILLERS.fullmatch(text, start, end):
        return None
    found = _LEADING_FILLERS.match(text, start, end)
    return _trimmed(text, found.end() if found else start, end)
