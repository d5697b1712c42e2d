"""A guess at the language of a query or a document, by its smallest words: enough to warn of an English model.

foreign("Hat der Patient Schmerzen in der Brust?")        "German"
foreign("Does the patient have chest pain?")              None
foreign_document(note.text)                               "Spanish"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from unicodedata import name

__all__ = ["foreign", "foreign_document"]

# Words that make up much of any text of a language and are rare in the others, medical English among them ("in
# situ", "per os" and "a" are left out on purpose); "de" is in all that have it, so that it speaks for none of them.
_SMALL_WORDS = {
    "English": "the of and to is was are were with for on that this have has had what which who does did how when why "
    "where not no my her his after before from or by at be can any if it patient",
    "German": "der die das und ist nicht mit für ein eine einen dem den auf bei hat wird wurde sich zu von nach welche "
    "wie warum wann keine kein oder seit wegen ich haben sind war",
    "French": "le la les des et est une du dans pour pas avec sur qui que au aux par sont été chez quel quelle "
    "pourquoi depuis ou il elle je mon ma de en",
    "Spanish": "el los las y es una del con para por que se su al como más pero qué cuál tiene desde está fue cuando "
    "dónde sin mi tengo de la en",
    "Italian": "il la gli è una di che con per del della nel alla non si sono ha come più quale perché dove quando "
    "da mio",
    "Portuguese": "de o os as é uma do da com para por que não em no na dos das ao foi mais qual quando onde meu tem",
    "Dutch": "de het een en van is niet met voor op aan bij dat die zijn heeft wordt naar wat welke waarom wanneer ik",
}
_OF = {language: frozenset(words.split()) for language, words in _SMALL_WORDS.items()}

_WORD = re.compile(r"[^\W\d_]+")

_ENOUGH = 2
"""One small word may be a name: "Van", "Los Angeles", "De Quervain"."""


def foreign(query: str) -> str | None:
    """Return the language or script that a query seems to be in, `None` when it is English or cannot be told."""
    words = [word.lower() for word in _WORD.findall(query)]
    scripts = [name(word[0], "").partition(" ")[0] for word in words]
    if sum(script not in ("LATIN", "GREEK", "MICRO") for script in scripts) > len(words) / 2:
        script = max(set(scripts), key=scripts.count)
        return "a script other than Latin" if script in ("CJK", "") else f"{script.capitalize()} script"
    counts = {language: sum(word in small for word in words) for language, small in _OF.items()}
    best = max(counts, key=lambda language: counts[language])
    if best == "English" or counts[best] < _ENOUGH or counts[best] <= counts["English"]:
        return None
    return best


SAMPLE = 20_000
LEAST_WORDS = 30
"""Of a document of fewer words nobody can tell the language."""

LEAST_ENGLISH = 0.06
"""Share of the commonest words of English. Notes in shorthand have some 10 %, prose 30 %, Spanish below 3 %."""

LEAST_FOREIGN = 0.06
"""Share of the small words of the language itself: a German letter that is half a list has 12 %; the "ha" and "per" of
a headache as per the patient are no Italian."""

_JOTS = re.compile(r"\w+(?:/\w*)+")
"""Shorthand with strokes: the "o" of "h/o" and "r/o" is no Portuguese."""

_ENGLISH_WORDS = (
    "the of and to in with was is for on at no he she her his had has by from are this that not patient"
)
_ENGLISH = frozenset(_ENGLISH_WORDS.split())


def foreign_document(text: str) -> str | None:
    """Return the language that a document is in; `None` for English, and for lists that are no language at all."""
    text = _JOTS.sub(" ", text[:SAMPLE])
    words = [word.lower() for word in _WORD.findall(text)]
    language = foreign(text) if len(words) >= LEAST_WORDS else None
    if language is None:
        return None
    # "no" is Spanish, Italian and Portuguese too.
    english = _ENGLISH - {"no"}
    small = _OF.get(language)
    if _share(words, english) >= LEAST_ENGLISH or (small and _share(words, small) < LEAST_FOREIGN):
        return None
    return language


def _share(words: Sequence[str], of: AbstractSet[str]) -> float:
    return sum(word in of for word in words) / len(words)
