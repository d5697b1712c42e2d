"""Sentences that lean on the one before: "It was stopped because of bleeding" does not say what was.

    leans("It was stopped because of bleeding.")        True
    leans("Stopped because of bleeding.")               True
    leans("Warfarin was stopped.")                      False

Such a sentence is read together with the one before it, where both stand in one paragraph. The patient is "he" or
"she" throughout a note, so these lean on nothing. A rule that takes one sentence too many costs little: whether
the sentence before helps to answer is for the scorer to say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from clinical.documents.note import Note
from clinical.tasks.evidence import Told

__all__ = ["before", "leans"]

_STANDS_FOR = re.compile(
    # "It was treated with clips", "both were negative", "the former, because she hopes …"
    r"\b(?:it|its|they|them|these|those|both|neither|the (?:latter|former|same|other))\b"
    # "The cause was a magnet in his bag"
    r"|\bthe (?:drug|medicine|medication|tablets?|dose|reason|cause|source)\b"
    # "This was put down to zolpidem", "…, this was paused", "begun for this", but not "after this visit"
    r"|^(?:this|that)\b|, this was\b"
    r"|\b(?:of|to|for|with|on|from|by|after|than|once|before) (?:this|that)\b"
    r"(?! (?:morning|evening|afternoon|night|week|month|year|day|time|visit|admission|she|he|the)\b)"
    # "So the source is most likely the heart", "Operation therefore put off", "We chose losartan instead."
    r"|^(?:so|therefore|then|instead|afterwards?|thereafter|since then)\b|\btherefore\b|\binstead\.?$",
    re.IGNORECASE,
)
_NO_SUBJECT = re.compile(
    # "Switched to fentanyl.", "Opened at the bedside", "Grew E. coli." Not "Methylpred 60 mg", nor "Admitted with …".
    r"(?!(?:Bed|Red|Need|Speed|Feed|Bleed|Admitted|Discharged|Increased|Decreased|Elevated|Mixed|Limited|Unchanged)\b)"
    r"(?:[A-Z][a-z]+ed(?! \d)|Grew|Came|Said|Told|Taken|Given|Held|Put|Began|Fell|Rose|Went|Kept|Made|Cut"
    r"|Was|Were|Has|Had|Is|Are|Never|Not)\b"
)


def leans(text: str) -> bool:
    """Return whether a sentence leaves to the one before what it speaks of: a word stands for it, or none does."""
    return bool(_STANDS_FOR.search(text) or _NO_SUBJECT.match(text))


def before(note: Note, told: Sequence[Told], place: int) -> Told | None:
    """Return the sentence that the one at this place leans on; `None` where it leans on none of its paragraph."""
    if place == 0 or not leans(" ".join(told[place].text.split())):
        return None
    between = note.text[told[place - 1].end : told[place].start]
    return None if between.count("\n") > 1 else told[place - 1]
