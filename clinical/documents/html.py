"""HTML: the words that a browser would show, in reading order.

Paragraphs and headings are set apart by empty lines, table rows are lines with tabs between the cells, list items
begin with "- " or their number. Scripts, styles and elements marked `hidden` are left out. Offsets count the text
so made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from clinical.documents.extracted import Extracted, Unreadable
from clinical.documents.flow import Flow
from clinical.documents.text import MARKS, decode

if TYPE_CHECKING:
    from bs4.element import PageElement, Tag

# fmt: off
SKIPPED = frozenset((
    "script", "style", "head", "template", "title", "object", "iframe", "svg", "noscript",
))
PARAGRAPHS = frozenset((
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "dl", "pre", "blockquote", "section", "article",
))
LINES = frozenset((
    "div", "li", "tr", "dt", "dd", "caption", "address", "header", "footer", "main", "nav", "form", "fieldset",
    "figure", "figcaption", "hr", "thead", "tbody", "tfoot", "option", "details", "summary", "legend", "aside",
))
# fmt: on
CELLS = frozenset(("td", "th"))
LATIN = frozenset(
    ("iso-8859-1", "iso8859-1", "latin1", "latin-1", "ascii", "us-ascii", "windows-1252", "cp1252")
)
"""What these names mean to a browser is Windows-1252 (WHATWG, Encoding Standard, 4.2)."""


def read_html(data: bytes) -> Extracted:
    """Return the visible text of a page and its title."""
    markup, warnings = _decode(data)
    return extract_html(markup, warnings)


def extract_html(markup: str, warnings: tuple[str, ...] = ()) -> Extracted:
    """Return the visible text of markup that is decoded already."""
    import bs4

    try:
        markup.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Unreadable("half a surrogate pair in it; no encoding can write it") from error
    # libxml2 ends a document at a NUL; a browser passes over it. The tag in front keeps Beautiful Soup from
    # taking a short text for a file name, or XHTML for XML, and warning of it.
    soup = bs4.BeautifulSoup("<html>" + markup.replace("\0", ""), "lxml")
    flow = Flow()
    _walk(soup, flow)
    title = soup.title.get_text() if soup.title else ""
    return Extracted(flow.text, title=" ".join(title.split()) or None, warnings=warnings)


def _decode(data: bytes) -> tuple[str, tuple[str, ...]]:
    """Decode by the byte order mark, else by the encoding that the page declares, else as any text."""
    from bs4.dammit import EncodingDetector

    declared = EncodingDetector.find_declared_encoding(data, is_html=True, search_entire_document=False)
    if declared and not any(data.startswith(mark) for mark, _ in MARKS):
        name = "cp1252" if declared.lower() in LATIN else declared
        try:
            return data.decode(name), ()
        except (UnicodeDecodeError, LookupError):
            pass
    return decode(data)


def _walk(root: Tag, flow: Flow) -> None:
    """Put the words below `root` into the flow, with a stack of our own: pages nest deeper than Python recurses."""
    from bs4.element import NavigableString, Tag

    stack: list[tuple[PageElement | None, Tag]] = [(child, root) for child in reversed(root.contents)]
    while stack:
        node, parent = stack.pop()
        if node is None:
            _leave(parent, flow)
        elif isinstance(node, Tag):
            if node.name in SKIPPED or node.has_attr("hidden"):
                continue
            _enter(node, flow)
            stack.append((None, node))
            stack.extend((child, node) for child in reversed(node.contents))
        elif type(node) is NavigableString:  # not its subclasses: comments, doctypes
            if _is_inside(parent, ("pre", "textarea")):
                flow.verbatim(str(node))
            else:
                flow.words(str(node))


def _enter(tag: Tag, flow: Flow) -> None:
    if tag.name in PARAGRAPHS:
        flow.paragraph() if not _is_nested_list(tag) else flow.line()
    elif tag.name in LINES:
        flow.line()
    elif tag.name in CELLS and tag.find_previous_sibling(("td", "th")) is not None:
        flow.cell()
    if tag.name == "br":
        flow.line_break()
    elif tag.name == "li":
        flow.verbatim(_marker(tag))


def _leave(tag: Tag, flow: Flow) -> None:
    if tag.name in PARAGRAPHS:
        flow.paragraph() if not _is_nested_list(tag) else flow.line()
    elif tag.name in LINES:
        flow.line()


def _marker(item: Tag) -> str:
    """The bullet of a list item, or its number."""
    if item.parent is None or item.parent.name != "ol":
        return "- "
    return f"{1 + sum(1 for _ in item.find_previous_siblings('li'))}. "


def _is_nested_list(tag: Tag) -> bool:
    return tag.name in ("ul", "ol") and tag.find_parent("li") is not None


def _is_inside(tag: Tag, names: Iterable[str]) -> bool:
    return tag.name in names or tag.find_parent(list(names)) is not None
