"""One web page of an answer with its citations: it carries all it needs, runs no script and loads nothing."""

from __future__ import annotations

from typing import Any

from clinical.documents.answers import Answer, Citation
from clinical.formats.display import one_line, visible
from clinical.formats.found import facts_of, place_of, said
from clinical.formats.templates import fill


def page(answer: Answer) -> bytes:
    """Return the page in UTF-8; each sentence links to the places it stands on."""
    return fill(
        "answers_page.html",
        asked=one_line(answer.question),
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


def _place(citation: Citation) -> dict[str, Any]:
    likelihood = () if citation.score is None else (f"likelihood {citation.score:.2f}",)
    return {
        "place": place_of(citation),
        "facts": [*facts_of(citation), *likelihood],
        "also": "",
        "said": said(citation),
        "pieces": [(visible(citation.text), "", "")],
    }
