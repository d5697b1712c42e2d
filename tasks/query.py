"""A query as it is looked for: which of its words, how much each counts, and by which other names.

    query = read_query("My father had an MI. Which blood thinner should he take?")
    query.terms         {"blood thinner": 1.0, "warfarin": 0.8, …, "mi": 0.58, "heart attack": 0.46, …, "blood": 0.3, …}
    query.remarks       what the user should know of this

The words come from `clinical.tasks.focus`, the names from `clinical.facts.synonyms`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from clinical.documents.annotations import Entity
from clinical.errors import UsageError
from clinical.facts.language import foreign
from clinical.facts.synonyms import Name, Unclear, expand
from clinical.index.hits import other_name_of
from clinical.index.terms import stems_of
from clinical.index.words import words_in
from clinical.models.embedders import TextEmbedder
from clinical.tasks.focus import Word, weigh

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Query", "read_query"]

SAME = 0.8
"""How much the long form of a short one counts beside the word itself, and the other way round: they are the same. So
is what a name of several words says: "water pill" is no water."""

OTHER_NAME = 0.25
"""How much any other name counts: it may be a wider or narrower one. Chosen with `clinical evaluate search`."""

PART = 0.3
"""How much a word counts that is only part of a name: the heart says little of a heart attack."""

LONG = 200
"""A query of more words is embedded by those that say most: an embedder reads only the beginning of a text."""

SHOWN = 6
"""So many words are named to the user."""


@dataclass(frozen=True)
class Query:
    """What is looked for. `words` say what it is about, the one that says most first; `names` have other names.

    Those count `other_name` of the word that they stand for, where they are not the same.
    """

    text: str
    words: tuple[Word, ...]
    names: tuple[Name, ...] = ()
    unclear: tuple[Unclear, ...] = ()
    other_name: float = OTHER_NAME

    @cached_property
    def terms(self) -> dict[str, float]:
        """The words and names to look for, each with how much it counts, at most 1; a name of several has blanks."""
        parts = frozenset[str]().union(*self._wholes)
        terms = {
            word.text.lower(): word.weight * (PART if word.stem in parts else 1.0) for word in self.words
        }
        for name in self.names:
            own = self._weight_of(name)
            if _is_whole(name):
                terms[name.text.lower()] = own
            for other in name.others:
                same = _is_short(name.text) or _is_short(other) or _is_whole(name)
                weight = own * (SAME if same else self.other_name)
                terms[other.lower()] = max(weight, terms.get(other.lower(), 0.0))
            for short in name.unsure:
                terms.setdefault(short.lower(), own * self.other_name)
        return {term: weight for term, weight in terms.items() if weight}

    @property
    def plain_terms(self) -> list[str]:
        """The words of the query alone, as they are marked in a hit."""
        return [word.text for word in self.words]

    @cached_property
    def _wholes(self) -> list[frozenset[str]]:
        """The stems of each name of several words, without those that the query has outside of it too."""
        wholes = [name for name in self.names if _is_whole(name)]
        rest = self.text
        for name in reversed(wholes):
            rest = rest[: name.start] + rest[name.end :]
        beside = _stems_in(rest) if wholes else set()
        return [frozenset(_stems_in(name.text) - beside) for name in wholes]

    def _weight_of(self, name: Name) -> float:
        """Return how much the best word of a name counts; a name of which no word does is not looked for."""
        weights = {word.stem: word.weight for word in self.words}
        return max((weights.get(stem, 0.0) for stem in _stems(name.text.split())), default=0.0)

    def share_in(self, mentions: Sequence[Entity]) -> float:
        """Return which share of the weight of its words is mentioned; another name stands for all of its words.

        A word of a name without the others counts as part of it.
        """
        named = {other_name_of(mention) for mention in mentions}
        said = [mention.text for mention in mentions if other_name_of(mention) is None]
        said += [name.text for name in self.names if name.text in named]
        stems = _stems(said)
        broken = frozenset[str]().union(*(whole for whole in self._wholes if not whole <= stems))
        found = (word for word in self.words if word.stem in stems)
        mentioned = sum(word.weight * (PART if word.stem in broken else 1.0) for word in found)
        return mentioned / sum(word.weight for word in self.words)

    def vector(self, embedder: TextEmbedder) -> NDArray[np.float32]:
        """Return the vector to compare passages with, of length one.

        With a short form, or a name of several words, it is embedded as it is and with the other name, and the mean
        counts: a model may not know the one.
        """
        import numpy as np

        texts = [self._gist]
        if spelt := self._spelt_out():
            texts.append(spelt)
        mean = embedder.embed_queries(texts).mean(axis=0)
        length = float(np.linalg.norm(mean))
        vector: NDArray[np.float32] = (mean / length if length else mean).astype(np.float32)
        return vector

    @property
    def is_long(self) -> bool:
        """Whether it is embedded by the words that say most."""
        return len(self.text.split()) > LONG

    @property
    def _gist(self) -> str:
        if not self.is_long:
            return self.text
        places = {word.text: self.text.find(word.text) for word in self.words}
        return " ".join(sorted(places, key=lambda text: places[text]))

    def _spelt_out(self) -> str:
        """Return the query with other names in place of short forms and names of several; empty without those."""
        unknown = [name for name in self.names if _is_short(name.text) or _is_whole(name)]
        if not unknown or self.is_long:
            return ""
        text = self.text
        for name in reversed(unknown):
            text = text[: name.start] + name.others[0] + text[name.end :]
        return text

    @property
    def remarks(self) -> list[str]:
        """What the user should know of how the query was read, a line each."""
        return list(self._remarks())

    def _remarks(self) -> Iterator[str]:
        if language := foreign(self.text):
            yield f"the query seems to be in {language}; the models know English best"
        words = [word for word in words_in(self.text)]
        dropped = len({word.text.lower() for word in words}) > len(self.words)
        if dropped and (len(words) > 2 * SHOWN or self.is_long):
            best = ", ".join(word.text for word in self.words[:SHOWN])
            yield f"the query has {len(self.text.split()):,} words; what counts most: {best}"
        names = [
            f"{name.text} = {', '.join((*name.others, *name.unsure))}"
            for name in self.names
            if self._weight_of(name)
        ]
        if names:
            yield f"also looked for: {'; '.join(dict.fromkeys(names))} (--no-expand leaves that out)"
        for unclear in dict.fromkeys(self.unclear):
            yield f"{unclear.text} may be {_listed(unclear.meanings)}; write out which one to find its other names"


def read_query(text: str, *, names: bool = True) -> Query:
    """Return how a query is looked for; without `names` only by its own words.

    Raises `UsageError` when it has no words.
    """
    # Half a surrogate pair, as a broken paste has it, is in no note.
    text = text.encode("utf-8", "replace").decode("utf-8")
    words = weigh(text)
    if not words:
        raise UsageError("the query has no words to look for; write what you want to find")
    if not names:
        return Query(text, tuple(words))
    expanded = expand(text)
    return Query(text, tuple(words), expanded.names, expanded.unclear)


def _is_whole(name: Name) -> bool:
    """Return whether a name is one of several words, which say it only together."""
    return " " in name.text


def _stems(texts: Sequence[str]) -> set[str]:
    return {stem for found in stems_of(texts) for stem in found}


def _stems_in(text: str) -> set[str]:
    """Return the stems of the words that are not common ones."""
    return _stems([word.text for word in words_in(text)])


def _is_short(name: str) -> bool:
    """Return whether a name is a short form: "MI", "HFrEF", "SpO2"."""
    return " " not in name and sum(letter.isupper() for letter in name) > 1


def _listed(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
