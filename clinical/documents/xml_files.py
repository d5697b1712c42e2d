"""XML: parsed safely, then read as what its root element says it is, CDA or FHIR."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from clinical.documents.extracted import Extracted, Unreadable

if TYPE_CHECKING:
    from lxml.etree import _Element  # type: ignore[import-untyped]

    Element: TypeAlias = _Element

CDA = "urn:hl7-org:v3"
FHIR = "http://hl7.org/fhir"


def parse_xml(data: bytes) -> Element:
    """Return the root element.

    Nothing is fetched and no entity is expanded: a document type declaration, which neither CDA nor FHIR may
    have and which every such attack needs, is refused.
    """
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise Unreadable(f"not valid XML at line {error.lineno or 1}") from error
    except ValueError as error:
        raise Unreadable("not valid XML") from error
    if root.getroottree().docinfo.doctype:
        raise Unreadable("has a document type declaration, which CDA and FHIR do not allow; remove it")
    return root


def local_name(element: Element) -> str:
    """Return the name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def markup(element: Element) -> str:
    """Return an element as XML text."""
    from lxml import etree

    return str(etree.tostring(element, encoding="unicode", with_tail=False))


def read_xml(data: bytes) -> Iterator[Extracted | Unreadable]:
    """Yield the documents of a CDA or FHIR file."""
    root = parse_xml(data)
    if root.tag == f"{{{CDA}}}ClinicalDocument":
        from clinical.documents.cda import read_cda

        yield read_cda(root)
    elif root.tag.startswith(f"{{{FHIR}}}"):
        from clinical.documents.fhir import from_xml, read_resource

        yield from read_resource(from_xml(root))
    else:
        raise Unreadable("XML, but neither a CDA ClinicalDocument nor a FHIR resource")
