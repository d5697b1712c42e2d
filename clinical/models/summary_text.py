"""From what a model writes to the sentences of a summary: headings, lists and chatter told apart.

read("Plan:\\n- Continue metformin.\\n- Follow up in 2 weeks.", "handoff")
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from clinical.documents.sentences import split_sentences

HEADINGS: dict[str, tuple[str, ...]] = {
    "handoff": ("Patient", "Active problems", "Medications", "Pending", "Plan"),
    "patient": ("Why you were seen", "Your medicines", "What to do", "When to come back or call"),
    "soap": ("Subjective", "Objective", "Assessment", "Plan"),
}
"""The parts of the styles that have fixed ones; the templates ask for the same."""

GRAM = 4
"""A sentence says something new when four words of it in a row were not said before."""

# "The patient is the patient is the patient is the patient is": the same words four times in a row.
_CIRCLES = re.compile(r"\b((?=\S*[a-z])\w+(?:\W+\w+){0,7}?)(?:\W+\1\b){3,}", re.IGNORECASE)

_MARK = re.compile(r"^\s*(?:[-*•–#>]+\s+|\(?\d{1,2}[.)]\s+)*")
_EMPHASIS = re.compile(r"\*\*|__|^#+\s*|`")
_HEADED = re.compile(r"([^.:?!\n]{1,80}):(?:\s+|$)(.*)", re.DOTALL)
_CHATTER = re.compile(
    r"(?:sure|certainly|of course|here(?:'s| is| are)|below is|i hope|let me know)\b", re.IGNORECASE
)
# "Impression: no acute disease": what was asked for, said again.
_SAID_AGAIN = re.compile(
    r"(?:brief |clinical )?(?:summary|impression|question|answer|note|section)", re.IGNORECASE
)
_NOTHING = re.compile(
    r"(?:none|n/?a|nothing|not (?:mentioned|stated|discussed|reported|applicable))\W*", re.IGNORECASE
)


@dataclass(frozen=True)
class Written:
    """A sentence that a model wrote, under its heading."""

    text: str
    heading: str | None = None


def read(answer: str, style: str, *, cut: bool = False) -> list[Written]:
    """Return the sentences of an answer, each once; what only repeats the words of others, or goes in circles, is none.

    Chatter around it is left out, and so is what is under a heading to say that there is nothing. With `cut`
    the answer was broken off: its last sentence is left out where it is not whole, if there are others.
    """
    seen: set[tuple[str, ...]] = set()
    kept: list[Written] = []
    for sentence in _sentences(answer, style):
        grams = _grams(sentence.text)
        if not grams <= seen and not _CIRCLES.search(sentence.text):
            kept.append(sentence)
        seen |= grams
    if cut and len(kept) > 1 and not answer.rstrip().endswith((".", "!", "?")):
        kept.pop()
    return kept


def _grams(text: str) -> set[tuple[str, ...]]:
    """Every four words that follow each other; a shorter sentence is one by itself."""
    words = [word.strip(".,;:!?") for word in text.lower().split()]
    if len(words) <= GRAM:
        return {tuple(words)}
    return {tuple(words[place : place + GRAM]) for place in range(len(words) - GRAM + 1)}


def _sentences(answer: str, style: str) -> Iterator[Written]:
    heading: str | None = None
    for line in answer.splitlines():
        name, plain = _headed(_EMPHASIS.sub("", _MARK.sub("", line)).strip(), style)
        if name is not None or style == "problems":
            heading = name
        if _CHATTER.match(plain) or not any(map(str.isalnum, plain)):
            continue
        if heading is None or not _NOTHING.fullmatch(plain):
            for start, end in split_sentences(plain):
                yield Written(plain[start:end], heading)


def _headed(line: str, style: str) -> tuple[str | None, str]:
    """Return the heading that a line begins with, if any, and the rest of it; a problem is its line's heading."""
    found = _HEADED.fullmatch(line)
    if found is None:
        return None, line
    name, rest = " ".join(found[1].split()), found[2].strip()
    if style == "problems":
        return (name, rest) if rest else (None, name)
    if style == "soap" and name.lower() in ("assessment and plan", "assessment & plan", "a/p"):
        return "Assessment", rest
    for heading in HEADINGS.get(style, ()):
        if name.lower() == heading.lower():
            return heading, rest
    return None, rest if _SAID_AGAIN.fullmatch(name) or _CHATTER.match(name) else line
