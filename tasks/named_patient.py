"""Whose notes answer: a question about Mr. Finch is answered from notes that name him, before any others.

    read_question("Does Ms. Ellis smoke?")      Ellis, "Does she smoke?"
    sort_out("Ellis", evidence)                 the stretches of notes that name her; those that may be hers

A folder may hold the notes of many patients. A sentence of another patient's note is the worst of all answers, so
only notes that name her are read and, where these do not answer, notes in the same folder that name nobody: a report
of the pathologist has a number for a name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from clinical.tasks.evidence import Stretch

__all__ = ["Asked", "read_question", "sort_out"]

_NAME = r"[A-Z][\w'’-]*\.?"
_PATIENT = re.compile(rf"\b(?P<title>Mr|Mrs|Ms|Miss)\b\.?\s+(?P<names>{_NAME}(?:\s+{_NAME}){{0,3}})")
_GENITIVE = re.compile(r"['’]s?$|\.$")


@dataclass(frozen=True)
class Asked:
    """A question with the surname of the patient whom it names taken out, and that; `None` where it names none."""

    question: str
    surname: str | None = None


def read_question(question: str) -> Asked:
    """Return the question, the patient's name replaced by he or she: it says whose note is meant, not what.

    A question that names two patients is left as it is.

    >>> read_question("Does Ms. Ellis smoke?")
    Asked(question='Does she smoke?', surname='Ellis')
    """
    surnames = {_surname(found) for found in _PATIENT.finditer(question)}
    if len(surnames) != 1:
        return Asked(question)
    return Asked(_PATIENT.sub(lambda found: "he" if found["title"] == "Mr" else "she", question), *surnames)


def _surname(found: re.Match[str]) -> str:
    return _GENITIVE.sub("", found["names"].split()[-1])


def sort_out(surname: str, evidence: Sequence[Stretch]) -> tuple[list[Stretch], list[Stretch]]:
    """Return the stretches of notes that name this patient, and those of notes beside them that name no patient."""
    word = re.compile(rf"\b{re.escape(surname)}\b", re.IGNORECASE)
    own = [stretch for stretch in evidence if word.search(_names(stretch))]
    folders = {PurePath(stretch.path).parent for stretch in own}
    nobody = [
        stretch
        for stretch in evidence
        if stretch not in own
        and PurePath(stretch.path).parent in folders
        and not _PATIENT.search(_names(stretch))
    ]
    return own, nobody


def _names(stretch: Stretch) -> str:
    """Return where a note may name its patient: its title, its id ("ellis_2024.txt") and its text."""
    return f"{stretch.note.title or ''}\n{stretch.note.id.replace('_', ' ')}\n{stretch.note.text}"
