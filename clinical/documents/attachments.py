"""Documents inside documents: bytes with a media type, as FHIR attachments and CDA bodies have them."""

from __future__ import annotations

from clinical.documents.extracted import Extracted, Unreadable
from clinical.documents.text import MARKS, read_text

# From best to worst: of one document in several forms, the one that says it plainest is read.
PREFERENCE = (
    "text/plain",
    "text/markdown",
    "text/html",
    "application/xhtml+xml",
    "text/rtf",
    "application/rtf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/xml",
    "text/xml",
    "application/hl7-sda+xml",
    "application/hl7-cda+xml",
    "application/pdf",
)


def plain_type(media_type: str) -> str:
    """Return a media type without its parameters, in lower case."""
    return media_type.partition(";")[0].strip().lower()


def read_attachment(data: bytes, media_type: str) -> Extracted:
    """Return the text of an attachment; raises `Unreadable` for types that have none."""
    kind = plain_type(media_type)
    if not data.strip():
        raise Unreadable("its attachment is empty")
    if kind in ("text/plain", "text/markdown", "text/x-markdown"):
        return _plain(data, media_type)
    if kind in ("text/html", "application/xhtml+xml"):
        from clinical.documents.html import read_html

        return read_html(data)
    if kind in ("text/rtf", "application/rtf"):
        from clinical.documents.rtf import read_rtf

        return read_rtf(data)
    if kind == "application/pdf":
        from clinical.documents.pdf import read_pdf

        return read_pdf(data)
    if kind.endswith("wordprocessingml.document"):
        from clinical.documents.docx import read_docx

        return read_docx(data)
    if kind.endswith(("/xml", "+xml")):
        return _xml(data)
    raise Unreadable(f"its attachment is {kind or 'of no named type'}, which has no text to read")


def _plain(data: bytes, media_type: str) -> Extracted:
    """Text in the charset of its media type, when it names one that fits."""
    charset = media_type.lower().partition("charset=")[2].strip("\"' ;")
    if charset and not any(data.startswith(mark) for mark, _ in MARKS):
        try:
            return Extracted(data.decode(charset))
        except (UnicodeDecodeError, LookupError):
            pass
    return read_text(data)


def _xml(data: bytes) -> Extracted:
    from clinical.documents.xml_files import read_xml

    for document in read_xml(data):
        if isinstance(document, Unreadable):
            raise document
        return document
    raise Unreadable("its attachment holds no document")
