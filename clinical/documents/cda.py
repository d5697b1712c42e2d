"""CDA (HL7 Clinical Document Architecture, release 2): the narrative of each section under its title.

The coded entries repeat the narrative for machines and are not read: the narrative is what was signed.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from clinical.documents.dates import from_hl7
from clinical.documents.extracted import Extracted, Unreadable
from clinical.documents.flow import Flow

if TYPE_CHECKING:
    from clinical.documents.xml_files import Element

H = "{urn:hl7-org:v3}"


def read_cda(root: Element) -> Extracted:
    """Return the text of a ClinicalDocument, its title and the date it was made."""
    title = root.findtext(f"{H}title")
    made = root.find(f"{H}effectiveTime")
    date = from_hl7(made.get("value", "")) if made is not None else None
    body = root.find(f"{H}component/{H}nonXMLBody/{H}text")
    if body is not None:
        text, warnings = _unstructured(body)
    else:
        text, warnings = _structured(root), ()
    return Extracted(text, title=" ".join((title or "").split()) or None, date=date, warnings=warnings)


def _structured(root: Element) -> str:
    flow = Flow()
    title = root.findtext(f"{H}title")
    if title:
        flow.words(title)
    for section in root.iter(f"{H}section"):
        flow.paragraph()
        for child in section:
            if child.tag == f"{H}title":
                flow.words("".join(child.itertext()))
                flow.paragraph()
            elif child.tag == f"{H}text":
                _narrative(child, flow)
    return flow.text


def _narrative(element: Element, flow: Flow) -> None:
    """Put a narrative block into the flow (CDA R2, 4.3.5: paragraphs, lists, tables, captions, line breaks)."""
    flow.words(element.text or "")
    for child in element:
        name = child.tag.removeprefix(H)
        _enter(name, child, flow)
        if name != "renderMultiMedia":
            _narrative(child, flow)
        if name in ("paragraph", "list", "table"):
            flow.paragraph()
        elif name in ("item", "tr", "caption"):
            flow.line()
        flow.words(child.tail or "")


def _enter(name: str, element: Element, flow: Flow) -> None:
    if name in ("paragraph", "list", "table"):
        flow.paragraph()
    elif name in ("tr", "caption"):
        flow.line()
    elif name == "br":
        flow.line_break()
    elif name in ("td", "th") and element.getprevious() is not None:
        flow.cell()
    elif name == "item":
        flow.line()
        flow.verbatim(_marker(element))


def _marker(item: Element) -> str:
    parent = item.getparent()
    if parent is None or parent.get("listType") != "ordered":
        return "- "
    return f"{1 + sum(1 for _ in item.itersiblings(f'{H}item', preceding=True))}. "


def _unstructured(body: Element) -> tuple[str, tuple[str, ...]]:
    """The text of a document that CDA only wraps: text as it is, or a file in base64."""
    from clinical.documents.attachments import read_attachment

    if body.find(f"{H}reference") is not None and not (body.text or "").strip():
        raise Unreadable("its body is in another file, which is not part of it")
    content = "".join(body.itertext())
    media_type = body.get("mediaType", "text/plain")
    if body.get("representation") != "B64":
        return read_attachment(content.encode("utf-8"), f"{media_type}; charset=utf-8").text, ()
    try:
        data = base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unreadable("its body is not valid base64") from error
    attachment = read_attachment(data, media_type)
    return attachment.text, attachment.warnings
