"""Summaries in Markdown: sentences with numbered sources, what was left out, the sources below."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from clinical.documents.note import Note
from clinical.documents.summaries import Source, Summary, SummarySentence
from clinical.formats.display import one_line
from clinical.formats.streams import encode
from clinical.formats.summary_parts import Place, facts_of, grouped, headed, name_of, places, rest_of

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|~])")
_LINE_START = re.compile(r"^(\s*)([#+=-]|\d+[.)])")


def document(notes: Sequence[Note], summary: Summary) -> bytes:
    """Return the summary of these notes."""
    return encode("\n".join(_lines(notes, summary)) + "\n")


def _lines(notes: Sequence[Note], summary: Summary) -> Iterator[str]:
    numbers = places(notes, summary)
    yield f"# {plain(name_of(notes, summary))}"
    yield ""
    for heading, sentence in headed(summary):
        if heading is not None:
            yield from ("", f"## {plain(heading)}", "")
        yield f"- {_sentence(sentence, numbers)}"
    if not summary.sentences:
        yield "*No summary.*"
    if summary.conflicts:
        yield from ("", "## Conflicts and changes", "")
        for conflict in summary.conflicts:
            yield f"- **{conflict.kind}**: {plain(conflict.text)} {_numbers(conflict.sources, numbers)}"
    if summary.omitted:
        yield from ("", "## In the note and not in the summary", "")
        for kind, omissions in grouped(summary.omitted).items():
            yield f"- **{kind}**: {', '.join(plain(omission.text) for omission in omissions)}"
        if rest := rest_of(summary.omitted):
            yield f"- {rest}"
    if numbers:
        yield from ("", "## Sources", "")
        yield from (_source(place) for place in numbers.values())
    yield from ("", f"*{plain(facts_of(notes, summary))}*")
    yield from (f"> {plain(warning)}" for warning in summary.warnings)


def _sentence(sentence: SummarySentence, numbers: Mapping[Source, Place]) -> str:
    doubt = ""
    if sentence.support != "supported":
        doubt = f" **[{sentence.support}: {plain('; '.join(sentence.reasons))}]**"
    return f"{plain(sentence.text)} {_numbers(sentence.sources, numbers)}{doubt}"


def _numbers(sources: Sequence[Source], numbers: Mapping[Source, Place]) -> str:
    return "".join(f"\\[{numbers[source].number}\\]" for source in sources)


def _source(place: Place) -> str:
    where = f"{plain(place.document)}, " if place.document else ""
    return f"{place.number}. {where}line {place.line}: {plain(place.source.text)}"


def plain(text: str) -> str:
    r"""Return text that Markdown shows as it is: "2\. AF", no tag, no link."""
    escaped = _SPECIAL.sub(r"\\\1", one_line(text))
    return _LINE_START.sub(lambda found: f"{found[1]}{found[2][:-1]}\\{found[2][-1]}", escaped)
