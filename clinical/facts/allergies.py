"""Words that say that a patient has no allergy.

denies_allergy("No known drug allergies.")     the match
is_no_allergy("None")                          True, of a line that stands under "Allergies:"
"""

from __future__ import annotations

import re

__all__ = ["denies_allergy", "is_no_allergy"]

_NOT_SAID = r"(?:no (?:known |reported |history of |hx of )*|den(?:ies|ied) (?:any |all |known )?)"
# "No known allergies except penicillin" names one.
_BUT = r"(?![^.\n]*\b(?:except\w*|other than|apart from|aside from|but)\b)"
# "No allergy to latex" says nothing of drugs.
_TO_DRUGS = r"(?! to (?!(?:any )?(?:drug|medic)))"

_DENIED = re.compile(
    rf"\b(?:nkda|nkma|nka|{_NOT_SAID}(?:drug |medication |medicine |or |and |food )*allerg\w+{_TO_DRUGS}|"
    rf"(?:not|never) allergic{_TO_DRUGS}|allerg\w+: *(?:none|no|nil))\b{_BUT}",
    re.IGNORECASE,
)
# "No, hives", "None; amoxicillin upset her": what follows a comma may name one.
_NAMES_NONE = re.compile(
    rf"{_BUT}\W*(?:(?:the )?(?:patient|pt|he|she|they) (?:has |is |reports )?)?"
    rf"(?:{_NOT_SAID}(?:[\w-]+ )?allerg|(?:not|never) allergic|none\b|nil\b|denie[sd]\b|negative\b|"
    r"(?:no|not)(?: known)?\W*$)[^,;]*",
    re.IGNORECASE,
)


def denies_allergy(text: str) -> re.Match[str] | None:
    """Return the first place of a text that says that there is no allergy, wherever it stands."""
    return _DENIED.search(text)


def is_no_allergy(line: str) -> bool:
    """Return whether a line under the heading of allergies names none: there "None" is enough.

    "Penicillin: rash, no anaphylaxis" names one, "No latex allergy" none.
    """
    return bool(denies_allergy(line) or _NAMES_NONE.fullmatch(line))
