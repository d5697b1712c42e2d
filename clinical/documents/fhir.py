"""FHIR (HL7, R4 and R5), JSON and XML: the documents of a resource or of a Bundle.

Read are `DocumentReference` (its attachment), `DiagnosticReport` (its presented form, else its narrative and
conclusion), `Composition` (its sections) and a `Binary` on its own; other resources of a Bundle are passed over.
One resource is one document: when its content comes in several forms, FHIR says that they mean the same, and the
plainest is read.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clinical.documents.attachments import PREFERENCE, plain_type, read_attachment
from clinical.documents.dates import from_iso
from clinical.documents.extracted import Extracted, Unreadable
from clinical.documents.text import decode

if TYPE_CHECKING:
    from clinical.documents.xml_files import Element

Resource = Mapping[str, Any]

DOCUMENTS = ("DocumentReference", "DiagnosticReport", "Composition")

REPEATED = frozenset(("entry", "content", "presentedForm", "section", "coding", "category", "conclusionCode"))
"""Elements that are lists in JSON; XML does not tell one of them from a single one."""


def read_fhir_json(data: bytes) -> Iterator[Extracted | Unreadable]:
    """Yield the documents of a FHIR file in JSON."""
    text, _ = decode(data)
    try:
        resource = json.loads(text)
    except RecursionError as error:
        raise Unreadable("not valid JSON: it nests too deep") from error
    except ValueError as error:
        line = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise Unreadable(f"not valid JSON{line}") from error
    if not isinstance(resource, dict) or not isinstance(resource.get("resourceType"), str):
        raise Unreadable(
            "JSON, but no FHIR resource; records with id and text belong in a .jsonl file, one a line"
        )
    yield from read_resource(resource)


def read_resource(resource: Resource) -> Iterator[Extracted | Unreadable]:
    """Yield the documents of one resource; of a Bundle, those of all its resources, each with its place."""
    kind = _string(resource, "resourceType")
    if kind == "Bundle":
        yield from _bundle(resource)
    elif kind in (*DOCUMENTS, "Binary"):
        yield _document(resource, {})
    else:
        raise Unreadable(
            f"a FHIR {kind}, which holds no document; readable are {', '.join(DOCUMENTS)} and Bundle"
        )


def _bundle(bundle: Resource) -> Iterator[Extracted | Unreadable]:
    entries = [entry for entry in _list(bundle, "entry") if _object(entry, "resource")]
    binaries = {name: entry["resource"] for entry in entries for name in _names(entry)}
    found = False
    for number, entry in enumerate(entries, 1):
        resource = entry["resource"]
        kind = _string(resource, "resourceType")
        if kind not in DOCUMENTS:
            continue
        found = True
        place = f"{kind}/{_string(resource, 'id') or number}"
        try:
            yield replace(_document(resource, binaries), place=place)
        except Unreadable as error:
            yield Unreadable(error.reason, place)
    if not found:
        raise Unreadable(f"a FHIR Bundle without any {', '.join(DOCUMENTS)}")


def _names(entry: Resource) -> Iterator[str]:
    """Yield what other resources may call a Binary of the same Bundle."""
    resource = entry["resource"]
    if _string(resource, "resourceType") == "Binary":
        if _string(resource, "id"):
            yield f"Binary/{_string(resource, 'id')}"
        if _string(entry, "fullUrl"):
            yield _string(entry, "fullUrl")


def _document(resource: Resource, binaries: Mapping[str, Resource]) -> Extracted:
    kind = resource["resourceType"]
    if kind == "Binary":
        return read_attachment(_base64(resource), _string(resource, "contentType"))
    if kind == "Composition":
        return _composition(resource)
    if kind == "DiagnosticReport":
        return _diagnostic_report(resource, binaries)
    attachments = [_object(content, "attachment") for content in _list(resource, "content")]
    if not any(attachments):
        raise Unreadable("has no attachment")
    read = _plainest(attachments, binaries)
    title = _string(resource, "description") or _concept(resource, "type") or read.title
    return replace(read, title=title, date=from_iso(_string(resource, "date")) or read.date)


def _diagnostic_report(resource: Resource, binaries: Mapping[str, Resource]) -> Extracted:
    forms = _list(resource, "presentedForm")
    read = _plainest(forms, binaries) if forms else _narrative(resource)
    conclusion = _string(resource, "conclusion")
    if not forms and conclusion and conclusion not in read.text:
        read = replace(read, text=f"{read.text}\n\nConclusion: {conclusion}".strip())
    date = _string(resource, "effectiveDateTime") or _string(resource, "issued")
    return replace(read, title=_concept(resource, "code") or read.title, date=from_iso(date))


def _composition(resource: Resource) -> Extracted:
    parts = [text for section in _list(resource, "section") for text in _section(section)]
    text = "\n\n".join(parts) if parts else _narrative(resource).text
    title = _string(resource, "title") or _concept(resource, "type")
    return Extracted(text, title=title, date=from_iso(_string(resource, "date")))


def _section(section: Resource) -> Iterator[str]:
    if _string(section, "title"):
        yield _string(section, "title")
    text = _narrative(section).text
    if text:
        yield text
    for inner in _list(section, "section"):
        yield from _section(inner)


def _narrative(element: Resource) -> Extracted:
    from clinical.documents.html import extract_html

    return extract_html(_string(_object(element, "text"), "div"))


def _plainest(attachments: list[Resource], binaries: Mapping[str, Resource]) -> Extracted:
    """The text of the plainest attachment that can be read."""
    failures = []
    for attachment in sorted(attachments, key=_preference):
        try:
            return _attachment(attachment, binaries)
        except Unreadable as error:
            failures.append(error)
    raise failures[0]


def _preference(attachment: Resource) -> int:
    kind = plain_type(_string(attachment, "contentType"))
    return PREFERENCE.index(kind) if kind in PREFERENCE else len(PREFERENCE)


def _attachment(attachment: Resource, binaries: Mapping[str, Resource]) -> Extracted:
    media_type = _string(attachment, "contentType")
    if not _string(attachment, "data"):
        url = _string(attachment, "url")
        if url not in binaries:
            raise Unreadable("its attachment is elsewhere, at a URL" if url else "its attachment is empty")
        binary = binaries[url]
        return read_attachment(_base64(binary), media_type or _string(binary, "contentType"))
    return read_attachment(_base64(attachment), media_type)


def _base64(holder: Resource) -> bytes:
    try:
        return base64.b64decode("".join(_string(holder, "data").split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unreadable("its attachment is not valid base64") from error


def _concept(element: Resource, name: str) -> str | None:
    """The words of a coded concept."""
    concept = _object(element, name)
    named = (_string(coding, "display") for coding in _list(concept, "coding"))
    return _string(concept, "text") or next((display for display in named if display), None)


# A file may hold anything anywhere; what is not of the type that FHIR gives it counts as not there.


def _string(element: Resource, name: str) -> str:
    value = element.get(name)
    return value if isinstance(value, str) else ""


def _object(element: Resource, name: str) -> Resource:
    value = element.get(name)
    return value if isinstance(value, dict) else {}


def _list(element: Resource, name: str) -> list[Resource]:
    values = element.get(name)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def from_xml(element: Element) -> dict[str, Any]:
    """Return a resource in XML in the shape that it has in JSON, as far as documents need it."""
    from clinical.documents.xml_files import local_name

    resource: dict[str, Any] = {"resourceType": local_name(element)}
    resource.update(_members(element))
    return resource


def _members(element: Element) -> dict[str, Any]:
    from clinical.documents.xml_files import local_name, markup

    members: dict[str, Any] = {}
    for child in element:
        name = local_name(child)
        value: Any
        if name == "div":
            value = markup(child)
        elif name == "resource" and len(child):
            value = from_xml(child[0])
        elif child.get("value") is not None:
            value = child.get("value")
        else:
            value = _members(child)
        if name in REPEATED:
            members.setdefault(name, []).append(value)
        else:
            members[name] = value
    return members
