"""One web page of the hits of a search: it carries all it needs, runs no script and loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from clinical.formats.display import counted, one_line, visible
from clinical.formats.found import facts_of, place_of, said
from clinical.formats.templates import fill
from clinical.index.hits import Hit, other_name_of

FARTHER = "Farther away"
"""Stands above the passages that were found for want of better ones."""

NOTHING_NEAR = "Nothing near."


def page(query: str, hits: Sequence[Hit]) -> bytes:
    """Return the page in UTF-8; words of the query are marked in each passage, struck through where negated."""
    near = [_article(hit) for hit in hits if hit.near]
    far = [_article(hit) for hit in hits if not hit.near]
    unit = hits[0].by if hits else "passage"
    return fill(
        "passages_page.html",
        asked=one_line(query),
        count=counted(len(near), unit),
        near=near,
        far=far,
        nothing_near=NOTHING_NEAR,
        farther=FARTHER,
    )


def _article(hit: Hit) -> dict[str, Any]:
    return {
        "rank": hit.rank,
        "place": place_of(hit),
        "facts": list(facts_of(hit)),
        "also": also(hit),
        "said": said(hit),
        "pieces": list(_pieces(hit)),
    }


def also(hit: Hit) -> str:
    """Return by which other names the passage speaks of what was asked for: "myocardial infarction for MI"."""
    names = {
        f"{one_line(mention.text).lower()} for {one_line(name)}": None
        for mention in hit.mentions
        if (name := other_name_of(mention))
    }
    return ", ".join(names)


def _pieces(hit: Hit) -> Iterator[tuple[str, str, str]]:
    """Yield the text of the passage in pieces; those of the query with classes and a title, others with neither."""
    text = visible(hit.text)
    place = 0
    for mention in hit.mentions:
        first, last = mention.start - hit.start, mention.end - hit.start
        status = mention.assertion.status if mention.assertion else "present"
        name = other_name_of(mention)
        yield text[place:first], "", ""
        yield (
            text[first:last],
            f"{status} other" if name else status,
            f"{status}, for {name}" if name else status,
        )
        place = last
    yield text[place:], "", ""
