"""The web page: what it shows is the note and nothing else, whatever the note holds; it loads nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from typing import Any

import pytest
from bs4 import BeautifulSoup
from formats_cases import FEW, documents, example
from hypothesis import given
from hypothesis import strategies as st

from clinical.documents.annotations import Assertion, Entity, Extraction
from clinical.documents.note import Note
from clinical.formats import open_writer, render
from clinical.formats.comparison import open_comparison
from clinical.formats.display import visible
from clinical.formats.nesting import Piece, nest

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'</div></style>{{ 7*7 }}<!-- ${x}"


def page_of(*pairs: tuple[Note, Extraction]) -> str:
    stream = io.BytesIO()
    writer = open_writer("html", stream)
    for pair in pairs:
        writer.write(*pair)
    writer.close()
    return stream.getvalue().decode("utf-8")


def comparison_of(*pairs: tuple[Note, Extraction]) -> str:
    stream = io.BytesIO()
    writer = open_comparison("html", stream)
    for note, extraction in pairs:
        writer.write(
            note, [extraction, Extraction(note.id, None, "other", "other-1", extraction.entities[:1])]
        )
    writer.close([{"system": ATTACK, "F1": 0.5}], [ATTACK])
    return stream.getvalue().decode("utf-8")


def hostile() -> tuple[Note, Extraction]:
    """Return a note that attacks the page through every field it has."""
    text = f"a {ATTACK} b"
    entity = Entity(
        2, 2 + len(ATTACK), ATTACK, ATTACK, 0.5, "exact", Assertion("negated"), ATTACK, ATTACK
    )  # fmt: skip
    note = Note(ATTACK, text, ATTACK, ATTACK, ATTACK)
    return note, Extraction(ATTACK, ATTACK, ATTACK, ATTACK, [entity], (ATTACK,))


def soup_of(html: str) -> BeautifulSoup:
    # The note keeps its white space, as `white-space: pre-wrap` makes a browser do.
    return BeautifulSoup(html, "html.parser", preserve_whitespace_tags={"div"})


def text_of(article: Any) -> str:
    """Return the text of the note as the page shows it, without the tags that name labels."""
    shown = article.find(class_="text")
    for tag in shown.find_all(class_="tag"):
        tag.extract()
    return str(shown.get_text())


@pytest.mark.parametrize("page", [page_of, comparison_of])
def test_a_hostile_note_is_shown_as_text(page: Any) -> None:
    plain, attacked = soup_of(page(example())), soup_of(page(hostile()))
    assert text_of(attacked) == hostile()[0].text

    def elements(soup: BeautifulSoup) -> set[str]:
        return {element.name for element in soup.find_all(True)}

    assert elements(attacked) - elements(plain) <= {"small", "s"}
    assert [script.string for script in attacked.find_all("script")] == [
        script.string for script in plain.find_all("script")
    ]
    handlers = [
        name for element in attacked.find_all(True) for name in element.attrs if name.startswith("on")
    ]
    assert handlers == []


@pytest.mark.parametrize("page", [page_of, comparison_of])
def test_a_page_loads_nothing_and_runs_only_its_own_scripts(page: Any) -> None:
    soup = soup_of(page(example(), hostile()))
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    digests = {
        base64.b64encode(hashlib.sha256(script.string.encode("utf-8")).digest()).decode()
        for script in soup.find_all("script")
    }
    assert len(digests) == 2
    assert set(re.findall(r"'sha256-([^']+)'", policy)) == digests
    assert policy.startswith(
        "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; script-src"
    )
    assert all(element["href"].startswith("#") for element in soup.find_all(href=True))
    assert soup.find_all(src=True) == []
    assert soup.find_all("link") == []
    assert not re.search(r"url\(|@import|https?:", "".join(style.string for style in soup.find_all("style")))
    assert not re.search(
        r"fetch|XMLHttpRequest|innerHTML|import\(|eval",
        "".join(script.string for script in soup.find_all("script")),
    )


@pytest.mark.parametrize("page", [page_of, comparison_of])
@FEW
@given(documents(), documents(trimmed=False))
def test_a_page_shows_every_character_once(
    page: Any, one: tuple[Note, Extraction], other: tuple[Note, Extraction]
) -> None:
    articles = soup_of(page(one, other)).find_all("article")
    assert [text_of(article) for article in articles] == [visible(one[0].text), visible(other[0].text)]


def test_marks_rows_and_tags() -> None:
    article = soup_of(page_of(example())).find("article")
    marks = [
        (mark.get("id"), " ".join(mark["class"]), mark["data-row"], mark.find(class_="tag", recursive=False))
        for mark in article.find_all("mark")
    ]
    assert [(name, kind, row, tag and tag.get_text()) for name, kind, row, tag in marks] == [
        ("d1e1", "", "d1e1-row", "Age"),
        ("d1e2", "", "d1e2-row", "Disease"),
        ("d1e3", "negated", "d1e3-row", "Symptom · negated"),
        ("d1e5", "family", "d1e5-row", "Disease · family"),
        ("d1e4", "", "d1e4-row", "Anatomy"),
        ("d1e6", "present", "d1e6-row", "Drug & dose"),
        ("d1e7", "", "d1e7-row", None),
        (None, "continued", "d1e7-row", "Dosage"),
    ]
    assert [struck.get_text() for struck in article.find_all("s")] == ["chest pain"]
    assert [cue.get_text() for cue in article.find_all(class_="cue")] == ["denies", "Mother"]
    assert (
        article.find(id="d1e3")["title"]
        == "Symptom · score 1.00\nnegated (“denies”)\nHistory\ncharacters 44–54"
    )
    rows = [
        (
            row["id"],
            row["data-label"],
            row["data-status"],
            [cell.get_text(" ", strip=True) for cell in row.find_all(["th", "td"])],
        )
        for row in article.find_all("tr", attrs={"data-label": True})
    ]
    assert rows[:3] == [
        ("d1e1-row", "Age", "not assessed", ["67-year-old", "Age", "0.62", "", "9–20"]),
        (
            "d1e2-row",
            "Disease",
            "not assessed",
            ["COPD chronic obstructive pulmonary disease", "Disease", "0.98", "", "26–30"],
        ),
        ("d1e3-row", "Symptom", "negated", ["chest pain", "Symptom", "1.00", "negated denies", "44–54"]),
    ]
    assert len(rows) == 7
    assert [row.get_text(strip=True) for row in article.find_all("tr", class_="section")] == [
        "History",
        "Plan",
    ]


@FEW
@given(documents())
def test_every_link_of_the_table_leads_to_a_mark(pair: tuple[Note, Extraction]) -> None:
    soup = soup_of(page_of(pair))
    anchors = [mark["id"] for mark in soup.find_all("mark", id=True)]
    assert sorted(anchors) == sorted(f"d1e{place}" for place, _ in enumerate(pair[1].entities, 1))
    assert [link["href"][1:] for link in soup.select("tbody a")] == [
        f"d1e{place}" for place, _ in enumerate(anchors, 1)
    ]


def test_a_page_of_no_documents_is_whole() -> None:
    soup = soup_of(page_of())
    assert soup.find_all("article") == []
    assert len(soup.find_all("script")) == 2
    assert page_of().rstrip().endswith("</html>")


def test_one_file_for_one_document() -> None:
    assert render("html", *example())[".html"].decode("utf-8") == page_of(example())


def pieces_as_text(length: int, spans: Sequence[tuple[int, int]]) -> str:
    text = "".join(chr(ord("a") + place) for place in range(length))
    signs = ""
    for piece in nest(length, spans):
        if piece.opens is not None:
            signs += f"[{piece.opens}" if piece.whole else f"({piece.opens}"
        elif piece.closes is not None:
            signs += f"{piece.closes}]" if piece.whole else f"{piece.closes})"
        else:
            signs += text[piece.start : piece.end]
    return signs


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], "abcdef"),
        ([(0, 6)], "[0abcdef0]"),
        ([(1, 3), (1, 3)], "a[0[1bc1]0]def"),
        ([(0, 2), (0, 4)], "[1[0ab0]cd1]ef"),
        ([(0, 4), (2, 6)], "[0ab[1cd1)0](1ef1]"),
        ([(0, 2), (2, 4)], "[0ab0][1cd1]ef"),
        ([(3, 3)], "abcdef"),
    ],
)
def test_nesting(spans: list[tuple[int, int]], expected: str) -> None:
    assert pieces_as_text(6, spans) == expected


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda pair: (min(pair), max(pair))), max_size=8
    )
)
def test_nesting_marks_each_span_exactly_and_closes_what_it_opens(spans: list[tuple[int, int]]) -> None:
    stack: list[int] = []
    covered: dict[int, list[int]] = {place: [] for place in range(len(spans))}
    whole: list[int] = []
    position = 0
    for piece in nest(20, spans):
        assert isinstance(piece, Piece)
        if piece.opens is not None:
            stack.append(piece.opens)
            whole += [piece.opens] if piece.whole else []
        elif piece.closes is not None:
            assert stack.pop() == piece.closes
        else:
            assert piece.start == position
            position = piece.end
            for place in stack:
                covered[place].extend(range(piece.start, piece.end))
    assert stack == []
    assert position == 20
    assert covered == {place: list(range(*span)) for place, span in enumerate(spans)}
    assert sorted(whole) == [place for place, (start, end) in enumerate(spans) if start < end]
