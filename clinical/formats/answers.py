"""How an answer is written: for a terminal, as a line of JSON, as JSON to read, as a web page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING

from clinical.documents.answers import Answer, AnswerSentence, Citation
from clinical.errors import UsageError
from clinical.formats.answers_page import page
from clinical.formats.display import one_line, title
from clinical.formats.found import place_of, said
from clinical.formats.json_records import dumps
from clinical.formats.streams import binary_sink
from clinical.formats.table import ConsoleOutput

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

ANSWER_FORMATS = ("table", "jsonl", "json", "html")
"""The names that `--format` of `clinical ask` accepts."""

NOTHING = "The notes do not tell."


def write_answer(
    format: str, answer: Answer, stream: IO[str] | IO[bytes], console: Console | None = None
) -> None:
    """Write the answer in this format; raises `UsageError` for one that there is not."""
    match format:
        case "table":
            _table(answer, ConsoleOutput(stream, console))
        case "jsonl":
            binary_sink(stream)(dumps(answer.as_dict()) + b"\n")
        case "json":
            binary_sink(stream)(dumps(answer.as_dict(), indent=2) + b"\n")
        case "html":
            binary_sink(stream)(page(answer))
        case _:
            raise UsageError(f"no format {format!r}; available: {', '.join(ANSWER_FORMATS)}")


def _table(answer: Answer, output: ConsoleOutput) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console = output.console
    if answer.decision:
        shares = ", ".join(f"{name} {value:.2f}" for name, value in answer.likelihoods.items())
        console.print(
            Text(answer.decision.capitalize(), style="bold").append(f"  ({shares})", style="not bold dim")
        )
        console.print()
    if answer.abstained:
        console.print(Text(NOTHING, style="bold"))
        if answer.nearest:
            console.print(Text("Nearest to the question:", style="dim"))
        for number, citation in enumerate(answer.nearest, 1):
            console.print(Padding(_place(number, citation), (0, 0, 0, 2)))
            console.print(Padding(Text(one_line(citation.text)), (0, 0, 0, 6)))
    else:
        for sentence in answer.sentences:
            console.print(_sentence(sentence, answer.citations))
        console.print()
        for number, citation in enumerate(answer.citations, 1):
            console.print(_place(number, citation))
    console.print(Text(f"{answer.system} ({answer.model})", style="dim"))
    output.flush()


def _sentence(sentence: AnswerSentence, citations: Sequence[Citation]) -> Text:
    """Return a sentence with its numbers, and what is to be said against it."""
    from rich.text import Text

    text = Text(one_line(sentence.text))
    text.append(" " + "".join(f"[{number}]" for number in sentence.citations), style="cyan")
    if sentence.support != "supported":
        text.append(f"  {sentence.support}: {'; '.join(sentence.reasons)}", style="red")
    for words in dict.fromkeys(_said(sentence, citations)):
        text.append(f"  {words}", style="red")
    return text


def _said(sentence: AnswerSentence, citations: Sequence[Citation]) -> Iterator[str]:
    """Yield what the cited places say of the question's words when they are not simply there."""
    for number in sentence.citations:
        if words := said(citations[number - 1]):
            yield words


def _place(number: int, citation: Citation) -> Text:
    from rich.text import Text

    text = Text(f"[{number}] ", style="cyan").append(place_of(citation), style="bold not dim default")
    if citation.id != citation.path:
        text.append(f"  {one_line(citation.id)}", style="default")
    for fact in (title(citation.section or ""), one_line(citation.date or "")):
        if fact:
            text.append(f"  {fact}", style="default")
    if citation.score is not None:
        text.append(f"  {citation.score:.2f}", style="dim default")
    return text
