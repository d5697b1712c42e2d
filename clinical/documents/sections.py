"""Sections of a note: where each one starts and ends, and what it is called.

    from clinical.documents.sections import find_sections, section_at

    sections = find_sections(note.text)
    section_at(sections, entity.start)      # "family_history"

A heading is known by its place and its shape, and by the names in `section_rules.yaml` beside this file:

- at the start of a line, with a colon ("Chief complaint: cough"), as a markdown heading, alone on its line
  ("HOSPITAL COURSE"), numbered ("1. IMPRESSION:"), or as one letter in a SOAP note ("S:");
- inside a line after the end of a sentence ("No effusion. IMPRESSION: Normal."), also in the comma style of
  transcription archives ("SUBJECTIVE:,  This 23-year-old", "General.,COMPLICATIONS:  ,None."), there also without
  a colon before a list ("None.,PROCEDURES,1. Biopsy.");
- a heading that the rules do not know opens a section when it is in capitals; its name is its words.

Lines such as "Pain: 5/10", "BP: 120/80" or "POTASSIUM: 3.2" open nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

__all__ = ["Section", "find_sections", "section_at"]

MAX_TITLE = 80
"""A longer run of words before a colon is prose."""

SMALL_WORDS = frozenset({"the", "this", "of", "for"})
"""What does not tell titles apart: "Indications for the operation", "Indications of operation"."""

NARRATIVES = frozenset({"hospital_course", "emergency_department_course"})
RESULTS = frozenset({"laboratory_data", "microbiology", "imaging", "diagnostic_studies", "cardiac_studies"})


@dataclass(frozen=True, slots=True)
class Section:
    """A piece `[start, end)` of a note under one heading, in code points.

    `name` is the canonical name, `None` for what stands before the first heading. `title` is the heading as
    written, without number or colon. The heading ends at `body_start`.
    """

    name: str | None
    title: str
    start: int
    end: int
    body_start: int


@dataclass(frozen=True, slots=True)
class _Heading:
    """A place that looks like a heading, before anything is known about its words."""

    title: str
    start: int
    body_start: int
    at_line_start: bool
    numbered: bool = False
    marked: bool = False
    alone: bool = False
    after_blank: bool = False
    first_line: bool = False
    colon: bool = True
    dash: bool = False
    glued: bool = False
    in_prose: bool = False


@dataclass(frozen=True, slots=True)
class _Rules:
    names: dict[str, str]
    qualifiers: frozenset[str]
    examination_parts: frozenset[str]
    absorbing: frozenset[str]
    document_titles: frozenset[str]
    not_sections: frozenset[str]
    of_studies: frozenset[str]
    of_other_notes: frozenset[str]
    bare_histories: frozenset[str]


def find_sections(text: str) -> tuple[Section, ...]:
    """Return the sections in order: they cover the text without gap or overlap. An empty text has none."""
    opened: list[tuple[str | None, _Heading]] = []
    soap = _is_soap(text)
    shouted = _is_in_capitals(text)
    current: str | None = None
    for heading in _headings(text):
        name = _name(heading, text, current, soap, shouted)
        if name is not None:
            opened.append((name, heading))
            current = name
    if not text:
        return ()
    if _is_of_a_study(opened):
        opened = [
            ("clinical_information" if _is_bare_history(name, heading) else name, heading)
            for name, heading in opened
        ]
    if not opened or text[: opened[0][1].start].strip():
        opened.insert(0, (None, _Heading("", 0, 0, at_line_start=True)))
    # White space before the first heading belongs to its section: nobody wants a section of blanks.
    starts = [0, *(heading.start for _, heading in opened[1:]), len(text)]
    return tuple(
        Section(name, heading.title, start, end, min(heading.body_start, end))
        for (name, heading), start, end in zip(opened, starts, starts[1:], strict=False)
    )


def _is_of_a_study(opened: Sequence[tuple[str | None, _Heading]]) -> bool:
    """Whether these are the headings of a report on images or tissue, which nobody took a history for."""
    names = {name for name, _ in opened}
    return bool(names & _rules().of_studies) and not names & _rules().of_other_notes


def _is_bare_history(name: str | None, heading: _Heading) -> bool:
    """Whether it is a plain "HISTORY:", which in a report on a study is what the referrer wrote."""
    return name == "history_of_present_illness" and _plain(heading.title) in _rules().bare_histories


def section_at(sections: Sequence[Section], offset: int) -> str | None:
    """Return the name of the section that the offset stands in; `None` before the first heading."""
    index = bisect_right(sections, offset, key=lambda section: section.start) - 1
    return sections[index].name if index >= 0 else None


# --- what is called what ---


@cache
def _rules() -> _Rules:
    import yaml

    # The loader in C, where PyYAML has it, reads the rules in a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = files("clinical.documents").joinpath("section_rules.yaml").read_text("utf-8")
    data: dict[str, Any] = yaml.load(text, Loader=loader)
    return _Rules(
        names={_plain(title): name for name, titles in data["names"].items() for title in titles},
        qualifiers=frozenset(data["qualifiers"]),
        examination_parts=frozenset(map(_plain, data["examination_parts"])),
        absorbing=frozenset(data["absorbing"]),
        document_titles=frozenset(map(_plain, data["document_titles"])),
        not_sections=frozenset(map(_plain, data["not_sections"])),
        of_studies=frozenset(data["of_studies"]),
        of_other_notes=frozenset(data["of_other_notes"]),
        bare_histories=frozenset(map(_plain, data["bare_histories"])),
    )


def _plain(title: str) -> str:
    """The title as the rules compare it: lower case, "and" for "&", no small words, no punctuation."""
    without_aside = re.sub(r"\s*(?:\([^()]*\)|#?\d)\s*$", "", title)
    spelled = re.sub(r"['’.]", "", without_aside.lower().replace("&", " and "))
    return " ".join(word for word in re.findall(r"[^\W_]+", spelled) if word not in SMALL_WORDS)


@lru_cache(maxsize=4096)
def _known(title: str) -> str | None:
    """The canonical name of a title, if the rules have it."""
    plain = _plain(title)
    return _unqualified(plain) or _joined(title) or (_run_on(plain) if title.isupper() else None)


def _unqualified(plain: str) -> str | None:
    """The name of "pertinent laboratory data" is that of "laboratory data"."""
    rules = _rules()
    while plain not in rules.names:
        qualifier, _, rest = plain.partition(" ")
        if qualifier not in rules.qualifiers or not rest:
            return None
        plain = rest
    return rules.names[plain]


def _joined(title: str) -> str | None:
    """The name of the first of several: "HPI/Hospital course" is "HPI", "Plan - tests" is "Plan"."""
    aspect = title.split(" - ")
    if len(aspect) == 2:
        return _unqualified(_plain(aspect[0]))
    names = [_unqualified(_plain(part)) for part in re.split(r"[/,;&]|\band\b", title, flags=re.IGNORECASE)]
    return names[0] if len(names) > 1 and None not in names else None


def _run_on(plain: str) -> str | None:
    """The name of "EXAM GENERAL", where a heading and the first one under it have run together."""
    rules = _rules()
    words = plain.split()
    for cut in range(len(words) - 1, 0, -1):
        rest = " ".join(words[cut:])
        if (rest in rules.names or rest in rules.examination_parts) and " ".join(words[:cut]) in rules.names:
            return rules.names[" ".join(words[:cut])]
    return None


def _name(heading: _Heading, text: str, current: str | None, soap: bool, shouted: bool) -> str | None:
    """The name of the section that this heading opens, or `None` when it opens none."""
    title = heading.title
    rules = _rules()
    if len(title) == 1:
        is_pulse = title == "P" and _VALUE.match(text, heading.body_start)
        return SOAP.get(title) if soap and heading.at_line_start and not is_pulse else None
    plain = _plain(title)
    if plain in rules.examination_parts:
        return "physical_examination" if current in ("vital_signs", "objective") and heading.colon else None
    if not plain or plain in rules.not_sections or (heading.alone and plain in rules.document_titles):
        return None
    name = "study" if _STUDY.match(text, heading.start) else _known(title)
    if name is not None:
        return name if _fits_known(heading, name, current) else None
    return "_".join(plain.split()) if _fits_unknown(heading, text, current, shouted) else None


def _fits_known(heading: _Heading, name: str, current: str | None) -> bool:
    """Whether a known title is a heading here: "5. Diet: cardiac" in a plan is an item of the plan.

    A result that is told in passing is part of what is told: "Echocardiogram: EF 60%. Aspirin was stopped".
    """
    in_passing = not (heading.at_line_start or heading.title.isupper())
    if in_passing and current in NARRATIVES and name in RESULTS:
        return False
    if (
        _plain(heading.title) == "all"
    ):  # "All: penicillin", but not "All of this", nor ALL, which is a leukaemia
        return heading.title == "All" and heading.at_line_start and heading.colon
    if heading.marked or heading.title.isupper():
        return not (heading.numbered and current in _rules().absorbing and len(heading.title) < 5)
    if heading.numbered:
        return current not in _rules().absorbing
    if heading.title.lower().startswith(("the ", "this ")):
        return False  # "The plan: rest" is said, not titled
    return heading.title[0].isupper() or (heading.at_line_start and heading.colon)


def _fits_unknown(heading: _Heading, text: str, current: str | None, shouted: bool) -> bool:
    """Whether unknown words are a heading: in capitals, no value behind them, not one problem of a plan."""
    title = heading.title
    if heading.marked:
        return heading.alone
    if heading.numbered or heading.dash or heading.glued or heading.in_prose:
        return False
    if len(title) > 60 or len(title.split()) > 7:
        return False
    if not title.isupper() or not (" " in title or len(title) >= 6) or title[-1].isdigit():
        return False
    if heading.alone and heading.after_blank:
        return heading.colon or not (shouted or heading.first_line or any(map(str.isdigit, title)))
    if not heading.colon or current in _rules().absorbing:
        return False
    return re.match(r"[\d<>=±+-]", text[heading.body_start : heading.body_start + 1]) is None


# --- where a heading may stand ---

SOAP = {"S": "subjective", "O": "objective", "A": "assessment", "P": "plan"}

_SOAP_LETTER = re.compile(r"^[ \t]*([SOAP])[ \t]*:", re.MULTILINE)
# "P: 80" is a pulse, "P: 1. Rest" a plan.
_VALUE = re.compile(r"\d++(?![.)]\s)")
# "EXAM: CT of the chest" names the study of a radiology report.
_STUDY = re.compile(
    r"exam(?:ination)?\s*:\s*(?:\w+ ){0,2}(?:CT|CTA|MRI?|MRA|PET|US|XR|x-?ray|ultra|radio|mammo|fluoro|dexa|bone scan)",
    re.IGNORECASE,
)
_LINE = re.compile(r"[^\r\n\f\v\x85\u2028\u2029]+")
_LINE_START = re.compile(
    r"""[ \t\xa0\ufeff]*
    (?P<mark>\#{1,6}[ \t]+|\*\*|__)?
    (?P<number>\d{1,2}[.)][ \t]*|(?:[IVX]{1,4}|[A-Z])[.)][ \t]+)?
    (?P<title>[A-Za-z](?:[^\r\n:,.;!?]|,(?=[ ])|\.(?![ \t])){0,79}?)
    [ \t\xa0]*
    (?:(?P<colon>:|(?P<dash>[ ][-–—](?=[ ])(?![^:a-z]*:)))(?:\*\*|__)?|(?:\*\*|__|[ \t]*\#+)?[ \t]*$)
    """,
    re.VERBOSE,
)
_DASH = re.compile(r" [-–—] ")
_INSIDE_LINE = re.compile(
    r"""(?:[.;:!?)\]"”][ \t]*,?[ \t]*|,|[ \t]{2,}|(?P<glued>[a-z0-9][ ](?=[^a-z]*$)))
    (?P<title>[A-Z][A-Z0-9 /&'’()\#-]{1,79}|[A-Z][A-Za-z0-9 /&'’()\#-]{1,78}[a-z)])[ ]?$
    """,
    re.VERBOSE,
)
_BEFORE_LIST = re.compile(r"(?<![^\s.;,)])(?P<title>[A-Z]{3}[A-Z/& ]{0,56}[A-Z]) ?,? ?(?=1[.)] +\S)")
_NUMBER_BEFORE = re.compile(r"\b\d{1,2}[.)][ \t]*$")
_AFTER_COLON = re.compile(r"[ \t\xa0]*(?:,[ \t]*)*(?:\r\n|[\r\n])?[ \t]*")


def _is_soap(text: str) -> bool:
    """Whether lines begin with at least three of S, O, A, P: one alone says nothing."""
    return len(set(_SOAP_LETTER.findall(text))) >= 3


def _is_in_capitals(text: str) -> bool:
    """Whether the whole note is typed in capitals, so that capitals say nothing about a line."""
    return not any(map(str.islower, text[:20_000]))


def _headings(text: str) -> Iterator[_Heading]:
    """Yield the places that look like headings, in order of their start, none inside another."""
    previous_end = previous_length = 0
    for line in _LINE.finditer(text):
        start, end = line.span()
        words = line.group()
        if words.isspace():
            continue
        gap = text[previous_end:start]
        after_blank = previous_end == 0 or gap.count("\n") > 1 or gap.count("\r") > 1 or "\f" in gap
        # A line that goes on with a sentence, "in 40\nPATIENTS: ...", is no heading unless it is a known one.
        in_prose = not after_blank and previous_length > 50 and text[previous_end - 1] not in ".!?:;,"
        first = _heading_at_line_start(text, start, words, after_blank, previous_end == 0, in_prose)
        if first is not None:
            yield first
        after = first.body_start if first else start
        inside = [
            *_headings_inside_line(text, start, words, after),
            *_headings_before_lists(text, after, end),
        ]
        yield from sorted(inside, key=lambda heading: heading.start)
        previous_end, previous_length = end, end - start


def _heading_at_line_start(
    text: str, start: int, line: str, after_blank: bool, first_line: bool, in_prose: bool
) -> _Heading | None:
    # Most lines are prose: a glance spares them the pattern, which is half the time of the whole.
    glance = line[: MAX_TITLE + 20]
    is_prose = ":" not in glance and glance.strip().count(" ") > 8 and not _DASH.search(glance)
    found = None if is_prose else _LINE_START.match(line)
    if found is None:
        return None
    title = found["title"].strip()
    alone = found.end() == len(line) or not line[found.end() :].strip(" \t\xa0,")
    if found["colon"] is None and not _is_title(title):
        return None
    body = _AFTER_COLON.match(text, start + found.end())
    assert body is not None, "the pattern also matches nothing"
    return _Heading(
        title=title,
        start=start + _indent(line),
        body_start=body.end(),
        at_line_start=True,
        numbered=found["number"] is not None,
        marked=found["mark"] is not None,
        alone=alone,
        after_blank=after_blank,
        first_line=first_line,
        colon=found["colon"] is not None,
        dash=found["dash"] is not None,
        in_prose=in_prose,
    )


def _is_numbered(line: str, offset: int) -> bool:
    """Whether the words at the offset are an item of a list in a line: "PROCEDURE:,1.  CENTRAL LINE: "."""
    return _NUMBER_BEFORE.search(line[max(0, offset - 8) : offset]) is not None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _is_title(title: str) -> bool:
    """Whether words alone on a line may be a heading: they begin with a capital and do not end a sentence."""
    return title[0].isupper() and title[-1] not in ".,;!?" and len(title.split()) <= 8


def _headings_before_lists(text: str, start: int, end: int) -> Iterator[_Heading]:
    """Yield the headings that have lost their colon before a numbered list: "PROCEDURES,1. Biopsy. 2. Excision."."""
    if text.find("1.", start, end) < 0 and text.find("1)", start, end) < 0:
        return  # a glance spares most lines the pattern
    for found in _BEFORE_LIST.finditer(text, start, end):
        yield _Heading(
            title=found["title"],
            start=found.start("title"),
            body_start=found.end(),
            at_line_start=False,
            colon=False,
        )


def _headings_inside_line(text: str, start: int, line: str, after: int) -> Iterator[_Heading]:
    """Yield the headings after `after`, each found by going back from its colon to the end of a sentence."""
    colon = line.find(":", max(after - start, 0))
    while colon >= 0:
        window_start = max(colon - MAX_TITLE - 4, after - start, 0)
        # What no title ends with is dismissed before the costly look back.
        ends_title = colon > 0 and (line[colon - 1].isalnum() or line[colon - 1] in " )")
        found = _INSIDE_LINE.search(line[window_start:colon]) if ends_title else None
        if found is not None:
            title = found["title"].strip()
            body = _AFTER_COLON.match(text, start + colon + 1)
            assert body is not None, "the pattern also matches nothing"
            yield _Heading(
                title=title,
                start=start + window_start + found.start("title"),
                body_start=body.end(),
                at_line_start=False,
                numbered=_is_numbered(line, window_start + found.start("title")),
                glued=found["glued"] is not None,
            )
        colon = line.find(":", colon + 1)
