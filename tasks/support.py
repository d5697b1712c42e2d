"""Does the note bear it out? Each sentence of a summary against the note, whoever wrote it.

    checked = Support(note, entities).check(drafts, recognizer)
    checked[0].support, checked[0].reasons          "unsupported", ("the note says left ankle",)

A sentence that quotes the note is supported. Any other is tied to the sentences of the note that say most of it, and
then compared with them: numbers with their units, dates, doses of a drug, left and right and other opposites, negation,
drugs and problems that are named, and how many of its words the note knows. What contradicts the note or names what is
not in it makes a sentence unsupported; what is only partly found makes it weak. The reasons are for people to read.

The rules look for contradictions in words. A sentence that puts true words together in a false way can pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING

from clinical.documents.annotations import Entity
from clinical.documents.note import Note
from clinical.documents.sections import find_sections
from clinical.documents.summaries import GAP, Draft, Source, SummarySentence, SupportLevel
from clinical.facts.assertion import assess
from clinical.facts.quantities import MONTHS, Day, Quantity, find_dates, find_quantities, same_unit
from clinical.facts.terms import content, stem, without_plain_words
from clinical.facts.units import Unit, find_units, polarity_of_answer
from clinical.prompts.labels import Label, by_name

if TYPE_CHECKING:
    from clinical.tasks.ner import Recognizer

__all__ = ["Support", "doses"]

MOST_SOURCES = 3
"""A sentence of a summary seldom stands on more sentences of the note."""

WEAK_BELOW = 0.5
UNSUPPORTED_BELOW = 0.2
"""Shares of a sentence's content words that the note knows. Of what people write themselves from a dialogue, a third
of the words is their own: the first bound is set so that most of their sentences pass."""

PROBLEMS = frozenset({"Disease", "Symptom"})
NAMED = ("Disease", "Symptom", "Medication", "Procedure", "Test")

ABSENT = frozenset({"negated"})
UNSURE = frozenset({"possible", "hypothetical", "family"})
HELD = frozenset({"present", "historical", "family"})
"""What is not denied: it is there, was there, or a relative has it."""

OPPOSITES = (
    (("left", "lt", "leftsided"), ("right", "rt", "rightsided")),
    (("upper",), ("lower",)),
    (
        ("increase", "increased", "increasing", "raised"),
        ("decrease", "decreased", "decreasing", "reduced", "lowered"),
    ),
    (("start", "started", "begun", "initiated"), ("stop", "stopped", "discontinue", "discontinued", "held")),
    (("improve", "improved", "improving", "better"), ("worsen", "worsened", "worsening", "worse")),
    (("positive",), ("negative",)),
    (("normal",), ("abnormal",)),
    (("benign",), ("malignant",)),
    (("high", "elevated"), ("low",)),
)
"""Pairs of which one cannot stand for the other beside the same words."""

SIDE_LETTERS = {"R": "right", "L": "left"}

_GENERAL_WORDS = """medication medicine drug drugs medications medicines pill pills tablet treatment therapy antibiotic
antibiotics painkiller supplement supplements vitamin dose"""
"""What a recognizer may call a drug, and what names none."""

_WORD = re.compile(r"[^\W\d_]+")
_FAMILY = re.compile(
    r"\b(?:mother|father|brother|sister|son|daughter|family|aunt|uncle|grand\w+)s?\b", re.IGNORECASE
)
_HE = re.compile(r"\b(?:he|him|his|himself|man|male|gentleman|boy|mr)\b", re.IGNORECASE)
_SHE = re.compile(r"\b(?:she|her|hers|herself|woman|female|lady|girl|mrs|ms|miss)\b", re.IGNORECASE)
_OTHERS = re.compile(
    _FAMILY.pattern + r"|\b(?:husband|wife|partner|doctor|dr|nurse|surgeon|parents?|child|baby|infant)\b",
    re.I,
)
LEAST_SEXED = 2
"""Words of one sex that a note must have, and none of the other, before a pronoun can be wrong."""

_DOSE_UNITS = frozenset({"mg", "mcg", "g", "unit", "meq", "ml", "puff", "tablet"})
_FAR = 40
"""Characters between a drug and its dose, at most."""


@dataclass(frozen=True)
class _Doubt:
    """One thing that speaks against a sentence, and how much."""

    level: SupportLevel
    reason: str


@dataclass(frozen=True)
class _Side:
    """A word of a pair of opposites: which pair and pole it is, and the stems beside it."""

    pair: int
    pole: int
    word: str
    beside: frozenset[str]
    near: str


class Support:
    """The note, prepared for many comparisons. `entities` are those of the note with their assertion."""

    def __init__(self, note: Note, entities: Sequence[Entity]) -> None:
        self.note = note
        self.units = find_units(note.text)
        self.entities = entities

    def check(self, drafts: Sequence[Draft], recognizer: Recognizer) -> list[SummarySentence]:
        """Return the drafts in their order, each with its sources, how far they bear it out, and why not."""
        drafts = [self._with_true_sources(draft) for draft in drafts]
        free = [draft.text for draft in drafts if not _is_quote(draft)]
        found = dict(zip(free, self._named(free, recognizer), strict=True)) if free else {}
        return [self._checked(draft, found.get(draft.text, ())) for draft in drafts]

    def _named(self, texts: Sequence[str], recognizer: Recognizer) -> list[list[Entity]]:
        return [
            assess(text, entities, find_sections(text))
            for text, entities in zip(texts, recognizer.recognize(texts, _labels()), strict=True)
        ]

    def _with_true_sources(self, draft: Draft) -> Draft:
        """The draft with those of its sources that are what the note says at that place."""
        text = self.note.text
        true = tuple(
            source
            for source in draft.sources
            if 0 <= source.start < source.end and text[source.start : source.end] == source.text
        )
        return replace(draft, sources=true)

    def _checked(self, draft: Draft, entities: Sequence[Entity]) -> SummarySentence:
        if _is_quote(draft):
            return SummarySentence(draft.text, draft.sources, "supported", (), draft.heading)
        sources = draft.sources or self._find_sources(draft.text)
        doubts = [*self._doubts(draft.text, sources, entities)]
        level = _worst(doubt.level for doubt in doubts)
        reasons = tuple(
            dict.fromkeys(doubt.reason for doubt in doubts if doubt.level == level or level == "weak")
        )
        return SummarySentence(draft.text, sources, level, reasons, draft.heading)

    # --- where it comes from ---

    @cached_property
    def _stems(self) -> list[frozenset[str]]:
        return [content(unit.text) for unit in self.units]

    @cached_property
    def _all_stems(self) -> frozenset[str]:
        return content(self.note.text)

    @cached_property
    def _rarity(self) -> dict[str, float]:
        """How much a stem tells about where it is from: one over the number of sentences that hold it."""
        counts: dict[str, int] = {}
        for stems in self._stems:
            for found in stems:
                counts[found] = counts.get(found, 0) + 1
        return {found: 1 / count for found, count in counts.items()}

    def _find_sources(self, text: str) -> tuple[Source, ...]:
        """The sentences of the note that together say most of this one, the best first, at most three."""
        wanted = {found: self._rarity[found] for found in content(text) if found in self._rarity}
        values = {quantity.value for quantity in find_quantities(text)}
        chosen: list[int] = []
        while wanted and len(chosen) < MOST_SOURCES:
            scores = [
                sum(weight for found, weight in wanted.items() if found in stems)
                + 0.5 * len(values & self._values[index])
                for index, stems in enumerate(self._stems)
            ]
            best = max(range(len(scores)), key=scores.__getitem__)
            gained = sum(1 for found in wanted if found in self._stems[best])
            if not gained or (chosen and gained < 2 and len(wanted) > 1):
                break
            chosen.append(best)
            wanted = {found: weight for found, weight in wanted.items() if found not in self._stems[best]}
            values -= self._values[best]
        return tuple(
            Source(start, end, self.note.text[start:end])
            for index in chosen
            for start, end in self.units[index].spans
        )

    @cached_property
    def _values(self) -> list[set[str]]:
        return [{quantity.value for quantity in find_quantities(unit.text)} for unit in self.units]

    # --- what speaks against it ---

    def _doubts(self, text: str, sources: Sequence[Source], entities: Sequence[Entity]) -> Iterator[_Doubt]:
        cited = " \n".join(source.text for source in sources)
        if not sources:
            yield _Doubt("unsupported", "no sentence of the note says anything of it")
            return
        yield from self._number_doubts(text, cited)
        yield from self._date_doubts(text)
        yield from self._dose_doubts(text, entities)
        yield from self._opposite_doubts(text, cited)
        yield from self._sex_doubts(text)
        yield from self._name_doubts(entities)
        yield from self._negation_doubts(text, sources, entities)
        yield from self._denial_doubts(text, sources, entities)
        yield from self._word_doubts(text)

    def _number_doubts(self, text: str, cited: str) -> Iterator[_Doubt]:
        values = {quantity.value for quantity in find_quantities(cited)}
        for quantity in find_quantities(_without_list_mark(text)):
            same = [other for other in self._quantities if other.value == quantity.value]
            if not same and not self._is_written(quantity.text):
                # "One day off" may be "a day off": a small number in words is a manner of speaking.
                level: SupportLevel = "unsupported" if any(map(str.isdigit, quantity.text)) else "weak"
                yield _Doubt(level, f"{quantity.text} is not in the note")
            elif same and not any(same_unit(quantity.unit, other.unit) for other in same):
                yield _Doubt("unsupported", f"{quantity.text} is {same[0].text} in the note")
            elif quantity.value not in values and quantity.unit is not None:
                yield _Doubt("weak", f"{quantity.text} stands elsewhere in the note")

    @cached_property
    def _quantities(self) -> list[Quantity]:
        return find_quantities(self.note.text)

    def _is_written(self, number: str) -> bool:
        """Whether the very characters stand in the note, as part of something that is no plain number."""
        return re.search(rf"(?<!\d){re.escape(number)}(?!\d)", self.note.text) is not None

    def _date_doubts(self, text: str) -> Iterator[_Doubt]:
        for day in find_dates(text):
            if day.text not in self.note.text and not any(day.agrees(other) for other in self._dates):
                # Who speaks says "January tenth": where the month is named, the day may have been said in words.
                named = self.note.text.lower().count(MONTHS[day.month - 1])
                spoken = named > sum(other.month == day.month for other in self._dates)
                yield _Doubt("weak" if spoken else "unsupported", f"the date {day.text} is not in the note")

    @cached_property
    def _dates(self) -> list[Day]:
        return find_dates(self.note.text)

    def _dose_doubts(self, text: str, entities: Sequence[Entity]) -> Iterator[_Doubt]:
        """Doses that the note gives with another drug, or that it gives otherwise for this one."""
        for drug, dose in doses(text, entities):
            known = [other for name, other in self._known_doses if content(name.text) & content(drug.text)]
            alike = [other for other in known if other.unit == dose.unit]
            if alike and dose.value not in {other.value for other in alike}:
                given = ", ".join(dict.fromkeys(other.text for other in alike))
                yield _Doubt("unsupported", f"the note gives {drug.text} {given}, not {dose.text}")

    @cached_property
    def _known_doses(self) -> list[tuple[Entity, Quantity]]:
        return doses(self.note.text, self.entities)

    def _opposite_doubts(self, text: str, cited: str) -> Iterator[_Doubt]:
        near = list(_sides(cited))
        for side in _sides(text):
            rivals = [other for other in near if other.pair == side.pair] or [
                other for other in self._note_sides if other.pair == side.pair
            ]
            shared = [(len(other.beside & side.beside), other) for other in rivals]
            most = max((count for count, _ in shared), default=0)
            best = [other for count, other in shared if count == most]
            if most and all(other.pole != side.pole for other in best):
                yield _Doubt("unsupported", f"the note says {best[0].word} {best[0].near}".rstrip())
            elif side.pair == 0 and not any(
                other.pole == side.pole for other in self._note_sides if not other.pair
            ):
                yield _Doubt("unsupported", f"{side.word} is not in the note")

    @cached_property
    def _note_sides(self) -> list[_Side]:
        return [side for unit in self.units for side in _sides(unit.text)]

    def _sex_doubts(self, text: str) -> Iterator[_Doubt]:
        """Find "he" of somebody whom the note calls "she" throughout; in a dialogue the patient is "I" and "you"."""
        is_dialogue = any(unit.speaker for unit in self.units[:1])
        if not is_dialogue and not _OTHERS.search(text):
            for said, other in ((_HE, _SHE), (_SHE, _HE)):
                wrong = said.search(text)
                if wrong and not other.search(text) and self._only(other, said):
                    yield _Doubt("unsupported", f"the note never says {wrong.group().lower()} of the patient")

    def _only(self, one: re.Pattern[str], other: re.Pattern[str]) -> bool:
        return not other.search(self.note.text) and len(one.findall(self.note.text)) >= LEAST_SEXED

    def _name_doubts(self, entities: Sequence[Entity]) -> Iterator[_Doubt]:
        for entity in entities:
            stems = content(entity.text) - content(_GENERAL_WORDS)
            known = stems & self._all_stems
            if entity.label == "Medication" and stems and not known:
                yield _Doubt("unsupported", f"{entity.text} is not in the note")
            elif entity.label == "Disease" and stems and not known:
                yield _Doubt("weak", f"{entity.text} is not in the note in these words")

    def _negation_doubts(
        self, text: str, sources: Sequence[Source], entities: Sequence[Entity]
    ) -> Iterator[_Doubt]:
        for entity in self._mentioned(text, entities):
            if entity.assertion is None or entity.label not in PROBLEMS:
                continue
            same = [other for other in self.entities if other.assertion and _is_same(entity, other)]
            near = [other for other in same if any(s.start <= other.start < s.end for s in sources)]
            said = {other.assertion.status for other in near or same if other.assertion}
            claimed = entity.assertion.status
            if not said:
                continue
            if claimed not in ABSENT and said <= ABSENT:
                yield _Doubt("unsupported", f"the note denies {entity.text}")
            elif claimed in ABSENT and said <= HELD and self._speaks_of(near, text[entity.end :]):
                yield _Doubt("unsupported", f"the note does not deny {entity.text}")
            elif (
                claimed == "present" and said <= UNSURE and not (said == {"family"} and _FAMILY.search(text))
            ):
                yield _Doubt("weak", f"the note has {entity.text} as {_listed(said)}")

    def _speaks_of(self, near: Sequence[Entity], after: str) -> bool:
        """Whether one of these mentions may be meant: of "swelling of the face" one beside the face."""
        place = _OF_WHAT.match(after)
        return any(
            place is None or content(place.group()) & content(unit.text)
            for entity in near
            for unit in self.units
            if unit.start <= entity.start < unit.end
        )

    def _denial_doubts(
        self, text: str, sources: Sequence[Source], entities: Sequence[Entity]
    ) -> Iterator[_Doubt]:
        """Words that a sentence denies, whatever they are, and that its sources say without a denial."""
        cited = [
            unit for unit in self.units if any(s.start < unit.end and unit.start < s.end for s in sources)
        ]
        for denied, stems in _denied(text, entities):
            said = {
                status
                for unit in cited
                if _share_more(text, unit, stems)
                for status in _statuses_in(unit, stems)
            }
            if said and said <= HELD:
                yield _Doubt("unsupported", f"the note does not deny {denied}")

    def _mentioned(self, text: str, entities: Sequence[Entity]) -> list[Entity]:
        """The entities of a sentence, and those of the note whose words it repeats: what one misses the other has."""
        lower = text.lower()
        repeated = []
        for known in {
            entity.text.lower(): entity for entity in self.entities if entity.label in PROBLEMS
        }.values():
            found = (
                re.search(rf"(?<!\w){re.escape(known.text.lower())}(?!\w)", lower)
                if len(known.text) > 2
                else None
            )
            if found and not any(e.start < found.end() and found.start() < e.end for e in entities):
                repeated.append(
                    Entity(found.start(), found.end(), text[found.start() : found.end()], known.label)
                )
        return [*entities, *assess(text, repeated, find_sections(text))]

    def _word_doubts(self, text: str) -> Iterator[_Doubt]:
        stems = content(text)
        if len(stems) < 2:
            return
        unknown = sorted(stems - self._all_stems)
        share = 1 - len(unknown) / len(stems)
        if share < WEAK_BELOW:
            level: SupportLevel = "unsupported" if share < UNSUPPORTED_BELOW else "weak"
            yield _Doubt(level, f"{len(unknown)} of {len(stems)} words are not in the note")


# --- parts of a comparison ---


def _labels() -> tuple[Label, ...]:
    return by_name(NAMED)


def _is_quote(draft: Draft) -> bool:
    """Whether the sentence is what stands at its sources, blanks and the marks of gaps between them aside."""
    quoted, said = (
        " ".join(text.replace(GAP, " ").split())
        for text in (" ".join(source.text for source in draft.sources), without_plain_words(draft.text))
    )
    return bool(quoted) and said == quoted


def _worst(levels: Iterator[SupportLevel]) -> SupportLevel:
    found = set(levels)
    return "unsupported" if "unsupported" in found else "weak" if "weak" in found else "supported"


def _as_words(text: str) -> list[Entity]:
    """The words of a text that say something, each as if it were a finding, with what the text says of it."""
    words = [
        Entity(found.start(), found.end(), found.group(), "Symptom")
        for found in _WORD.finditer(text)
        if content(found.group())
    ]
    return assess(text, words, ())


def _share_more(text: str, unit: Unit, stems: frozenset[str]) -> bool:
    """Whether a sentence and one of the note share more than these stems; so "no swelling of the neck" says nothing
    of the swollen knee. A sentence that has nothing but them shares enough."""
    others = content(text) - stems
    return not others or bool(others & content(unit.text))


_OF_WHAT = re.compile(
    r"\s+(?:of|in|over|on|at|to|with)\s+(?:(?:the|his|her|either|both|any)\s+)?\w+(?:\s+\w+)?", re.I
)

_DENIES = re.compile(
    r"no|without|denie[sd]|negative for|(?:no|without) (?:any|evidence of|signs? of)", re.IGNORECASE
)


def _denied(text: str, entities: Sequence[Entity]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield what stands right behind a denial, a whole finding or the words up to the next small one, as stems."""
    words = _as_words(text)
    cues: set[int] = set()
    for place, word in enumerate(words):
        cue = word.assertion.cue if word.assertion and word.assertion.status == "negated" else None
        if cue is None or cue.end > word.start or cue.start in cues or not _DENIES.fullmatch(cue.text):
            continue
        cues.add(cue.start)
        end = next((entity.end for entity in entities if entity.start <= word.start < entity.end), word.end)
        for other in words[place + 1 :]:
            if other.start >= end and text[end : other.start].strip(" "):
                break
            end = max(end, other.end)
        yield text[word.start : end], content(text[word.start : end])


@lru_cache(maxsize=4096)
def _word_statuses(unit: Unit) -> dict[str, set[str]]:
    """What a sentence of the note says of each of its words, by stem; in a question, what its answer says."""
    answer = polarity_of_answer(unit) or (
        "hypothetical" if unit.is_question or len(unit.spans) == 2 else None
    )
    statuses: dict[str, set[str]] = {}
    for word in _as_words(unit.text):
        status = answer or (word.assertion.status if word.assertion else "present")
        for found in content(word.text):
            statuses.setdefault(found, set()).add(status)
    return statuses


def _statuses_in(unit: Unit, stems: frozenset[str]) -> set[str]:
    """What a sentence says of these stems; nothing where it lacks one of them."""
    statuses = _word_statuses(unit)
    found = [statuses.get(one, set()) for one in stems]
    return set().union(*found) if found and all(found) else set()


def _without_list_mark(text: str) -> str:
    return re.sub(r"^\s*\(?\d{1,2}[.)]\s+", "", text)


def _listed(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))


def _is_same(claim: Entity, known: Entity) -> bool:
    """Whether two mentions are of one thing: the words of one are among those of the other."""
    claimed = content(claim.text)
    return any(
        bool(stems) and bool(claimed) and (stems <= claimed or claimed <= stems)
        for stems in (content(known.text), content(known.expansion or ""))
    )


def doses(text: str, entities: Sequence[Entity]) -> list[tuple[Entity, Quantity]]:
    """Return the drugs of a text with the dose that follows each before the next drug."""
    drugs = sorted((e for e in entities if e.label == "Medication"), key=lambda e: e.start)
    quantities = [quantity for quantity in find_quantities(text) if quantity.unit in _DOSE_UNITS]
    pairs = []
    for drug, following in zip_longest(drugs, drugs[1:]):
        limit = min(drug.end + _FAR, following.start if following else len(text))
        dose = next((quantity for quantity in quantities if drug.end <= quantity.start < limit), None)
        if dose is not None:
            pairs.append((drug, dose))
    return pairs


def _sides(text: str) -> Iterator[_Side]:
    """Yield the words of a text that have an opposite, each with the stems of the words around it."""
    found = list(_WORD.finditer(text))
    spoken = [SIDE_LETTERS.get(word.group(), word.group().lower()) for word in found]
    for place, word in enumerate(spoken):
        for pair, poles in enumerate(OPPOSITES):
            for pole, names in enumerate(poles):
                if word in names:
                    after = [*content(" ".join(spoken[place + 1 : place + 4]))]
                    before = [*content(" ".join(spoken[max(place - 3, 0) : place]))]
                    first = next((w for w in spoken[place + 1 : place + 4] if content(w)), "")
                    yield _Side(pair, pole, word, frozenset([*after, *before]) - {stem(word)}, first)
