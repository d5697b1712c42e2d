"""Word documents (.docx): headers, body with tables and text boxes, notes, footers, in reading order.

python-docx opens the file; its own paragraph text leaves out content controls, insertions and text boxes, which
clinical templates are full of, so the words are collected here. Deleted text (tracked changes) is left out. A
table row is a line with tabs between its cells, a list item begins with "- ".
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from clinical.documents.extracted import Extracted, Unreadable

if TYPE_CHECKING:
    from docx.document import Document

    from clinical.documents.xml_files import Element

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"

MAX_UNPACKED_BYTES = 500_000_000
"""More than this much XML in one document is an attack, not a letter."""

CHARACTERS = {f"{W}tab": "\t", f"{W}br": "\n", f"{W}cr": "\n", f"{W}noBreakHyphen": "\u2011"}
SKIPPED = frozenset(
    (f"{W}del", f"{W}moveFrom", f"{W}instrText", f"{W}delText", f"{MC}Fallback", f"{W}pPr", f"{W}rPr")
)


def read_docx(data: bytes) -> Extracted:
    """Return the text of a Word document and the title of its properties."""
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unreadable("an old or password-protected Word document; save it as .docx without a password")
    try:
        return _extracted(_open(data))
    except zipfile.BadZipFile as error:
        raise Unreadable("not a Word document: .docx files are zip archives, this is not one") from error
    except Unreadable:
        raise
    except Exception as error:
        # python-docx meets a damaged document with KeyError, AttributeError, XMLSyntaxError and its own.
        raise Unreadable(f"damaged Word document ({type(error).__name__}); open and save it again") from error


def _open(data: bytes) -> Document:
    import docx

    with zipfile.ZipFile(BytesIO(data)) as archive:
        unpacked = sum(item.file_size for item in archive.infolist() if item.filename.endswith(".xml"))
    if unpacked > MAX_UNPACKED_BYTES:
        raise Unreadable("unpacks to more than 500 MB of XML")
    return docx.Document(BytesIO(data))


def _extracted(document: Document) -> Extracted:
    lines = [*_page_texts(document, "header"), *_lines(document.element.body)]
    for part in document.part.package.iter_parts():
        if str(part.partname) in ("/word/footnotes.xml", "/word/endnotes.xml"):
            lines += ["", *_notes(part.blob)]
    lines += _page_texts(document, "footer")
    title = document.core_properties.title
    return Extracted("\n".join(lines).strip("\n"), title=title.strip() or None)


def _page_texts(document: Document, kind: str) -> Iterator[str]:
    """Yield the lines of the page headers or footers, each text once."""
    seen = set()
    for section in document.sections:
        for prefix in ("first_page_", "", "even_page_"):
            page_text = getattr(section, prefix + kind)
            if page_text.is_linked_to_previous:
                continue
            lines = [line for line in _lines(page_text._element) if line.strip()]
            if lines and tuple(lines) not in seen:
                seen.add(tuple(lines))
                yield from [*lines, ""] if kind == "header" else ["", *lines]


def _notes(blob: bytes) -> Iterator[str]:
    from clinical.documents.xml_files import parse_xml

    for note in parse_xml(blob):
        if note.get(f"{W}type") is None:  # the others are separators
            yield from _lines(note)


def _lines(container: Element) -> Iterator[str]:
    """Yield the lines of everything inside a body, cell, header or text box."""
    for child in container:
        if child.tag == f"{W}p":
            yield from _paragraph(child)
        elif child.tag == f"{W}tbl":
            yield ""
            for row in child.iter(f"{W}tr"):
                if _table_of(row) is child:
                    yield from _row(row)
            yield ""
        elif isinstance(child.tag, str) and child.tag not in SKIPPED and not child.tag.endswith("Pr"):
            yield from _lines(child)  # content controls, insertions, custom XML


def _paragraph(paragraph: Element) -> Iterator[str]:
    words: list[str] = []
    boxes: list[Element] = []
    _collect(paragraph, words, boxes)
    text = "".join(words)
    properties = paragraph.find(f"{W}pPr")
    if properties is not None:
        if properties.find(f"{W}numPr") is not None and text.strip():
            text = f"- {text}"
        style = properties.find(f"{W}pStyle")
        if style is not None and style.get(f"{W}val", "").startswith("Heading"):
            yield ""  # Word sets headings apart by spacing
    yield text
    for box in boxes:
        yield from _lines(box)


def _collect(element: Element, words: list[str], boxes: list[Element]) -> None:
    """Gather the characters of a paragraph; the text boxes anchored in it are kept for later."""
    for child in element:
        if child.tag in SKIPPED or not isinstance(child.tag, str):  # comments have no name
            continue
        if child.tag == f"{W}t":
            words.append(child.text or "")
        elif child.tag in CHARACTERS:
            words.append(CHARACTERS[child.tag])
        elif child.tag == f"{W}sym":
            words.append(_symbol(child))
        elif child.tag == f"{W}txbxContent":
            boxes.append(child)
        else:
            _collect(child, words, boxes)


def _symbol(element: Element) -> str:
    """The character of a symbol font, which Word keeps in the private use area."""
    code = element.get(f"{W}char", "")
    return chr(int(code, 16)) if re.fullmatch("[0-9A-Fa-f]{4}", code) else ""


def _row(row: Element) -> Iterator[str]:
    """Yield a table row: one line with tabs, or the cells one after the other when they hold whole paragraphs."""
    cells = [
        [line for line in _lines(cell) if line.strip()] for cell in row.iter(f"{W}tc") if _row_of(cell) is row
    ]
    if all(len(cell) <= 1 for cell in cells):
        yield "\t".join(cell[0] if cell else "" for cell in cells).rstrip("\t")
    else:
        for cell in cells:
            yield from cell


def _table_of(row: Element) -> Element | None:
    return next(row.iterancestors(f"{W}tbl"), None)


def _row_of(cell: Element) -> Element | None:
    return next(cell.iterancestors(f"{W}tr"), None)
