"""One web page of an answer with its citations: it carries all it needs, runs no script and loads nothing."""

from __future__ import annotations

from typing import Any

from clinical.documents.answers import Answer, Citation
from clinical.formats.display import one_line, title, visible
from clinical.formats.templates import fill


def page(answer: Answer) -> bytes:
    """Return the page in UTF-8; each sentence links to the places it stands on."""
    return fill(
        "answers_page.html",
        question=one_line(answer.question),
        decision=answer.decision,
        likelihoods=[(name, f"{value:.2f}") for name, value in answer.likelihoods.items()],
        abstained=answer.abstained,
        sentences=[
            {
                "text": visible(sentence.text),
                "numbers": sentence.citations,
                "support": sentence.support,
                "reasons": [one_line(reason) for reason in sentence.reasons],
            }
            for sentence in answer.sentences
        ],
        places=[_place(citation) for citation in (answer.nearest if answer.abstained else answer.citations)],
        system=one_line(f"{answer.system} ({answer.model})"),
    )


def said(citation: Citation) -> str:
    """Return what the note says of the question's words when they are not simply there: 'negated "denies"'."""
    if citation.assertion is None:
        return ""
    cue = citation.assertion.cue
    return f'{citation.assertion.status} "{one_line(cue.text)}"' if cue else citation.assertion.status


def _place(citation: Citation) -> dict[str, Any]:
    facts = [
        one_line(citation.id) if citation.id != citation.path else "",
        one_line(citation.title or ""),
        citation.date or "",
        title(citation.section or ""),
        f"characters {citation.start}–{citation.end}",
        "" if citation.score is None else f"likelihood {citation.score:.2f}",
    ]
    return {
        "place": one_line(f"{citation.path}:{citation.line}"),
        "facts": [fact for fact in facts if fact],
        "said": said(citation),
        "text": visible(citation.text),
    }
