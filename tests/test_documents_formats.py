"""Readers of formats with markup: what a person would read comes out, in order, and nothing else."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import docx
import pypdf
import pytest
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml as docx_xml
from docx.oxml.ns import nsdecls

from clinical.documents.attachments import read_attachment
from clinical.documents.cda import read_cda
from clinical.documents.docx import read_docx
from clinical.documents.extracted import Extracted, Unreadable
from clinical.documents.fhir import read_fhir_json
from clinical.documents.html import read_html
from clinical.documents.pdf import read_pdf
from clinical.documents.rtf import read_rtf
from clinical.documents.xml_files import parse_xml, read_xml


def reason(read: Callable[[bytes], Any], data: bytes) -> str:
    """Why a reader refuses the bytes."""
    try:
        result = read(data)
        read_all = result if isinstance(result, Extracted) else list(result)
    except Unreadable as error:
        return error.reason
    pytest.fail(f"read without an error: {read_all}")


# --- HTML ---


def test_html_reads_as_a_browser_shows_it() -> None:
    page = (
        b"<!doctype html><title>A  letter</title><style>p{}</style><script>x()</script>"
        b"<h1>Plan</h1>Rest &amp; fluids<br>for <b>3</b>&nbsp;days.<p hidden>secret</p>\n <p>No\nfever.</p>"
        b"<!-- comment --><ul><li>one<ol><li>a</li><li>b</li></ol></li><li>two</li></ul>"
        b"<table><tr><th>Test</th><th>Value</th></tr><tr><td></td><td>5 mg</td></tr></table><pre>  x\n y</pre>"
    )
    text = (
        "Plan\n\nRest & fluids\nfor 3\xa0days.\n\nNo fever.\n\n- one\n1. a\n2. b\n- two\n\n"
        "Test\tValue\n\t5 mg\n\n  x\n y"
    )
    assert read_html(page) == Extracted(text, title="A letter")


def test_html_is_decoded_as_it_declares() -> None:
    assert read_html(b'<meta charset="iso-8859-1"><p>\x93n\xe4ive\x94') == Extracted("“näive”")
    assert read_html('<meta charset="utf-8"><p>µg ≥ 5'.encode()) == Extracted("µg ≥ 5")
    assert read_html("<p>µg</p>".encode("utf-16")) == Extracted("µg")
    wrong = read_html(b'<meta charset="utf-8"><p>The dose is 5 \xb5g daily')
    assert wrong == Extracted(
        "The dose is 5 µg daily", warnings=("decoded as Windows-1252, a guess: it is not UTF-8",)
    )


def test_html_without_end_or_sense_still_has_its_words() -> None:
    assert read_html(b"<div><p>a<td>b</span>c < d & e").text == "a\n\nbc < d & e"
    assert read_html(b"<p>a\0b</p>").text == "ab"
    assert read_html(b"letter.html").text == "letter.html"
    assert (
        read_html(b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><p>a</p></html>').text
        == "a"
    )
    assert read_html(b"<div>" * 5000 + b"deep").text in ("deep", "")


# --- RTF ---


def test_rtf_characters_and_lines() -> None:
    rtf = (
        rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\info{\author Somebody}}\f0 Caf\'e9 \u8805?5\par "
        rb"{\b PLAN:}\tab rest \u-10179?\u-8704? raw \x96 dash}"
    ).replace(rb"\x96", b"\x96")
    assert read_rtf(rtf) == Extracted("Café ≥5\nPLAN:\trest 😀 raw – dash")


def test_rtf_pictures_are_passed_over() -> None:
    picture = b"{\\pict\\pngblip " + b"0123456789abcdef\n" * 1000 + b"}"
    assert read_rtf(b"{\\rtf1 before " + picture + b"after}").text == "before after"


def test_rtf_says_what_it_cannot_know() -> None:
    symbol = rb"{\rtf1\ansi{\fonttbl{\f0\fcharset2 Symbol;}}\f0\'b3 5}"
    assert read_rtf(symbol).warnings == (
        "uses a symbol font: signs such as ≥ may come out as other characters",
    )
    assert reason(read_rtf, rb"{\rtf1\ansi\ansicpg1252 \'81}") == (
        "damaged RTF: its characters fit no code page; save it again"
    )
    assert reason(read_rtf, b"plain") == "not an RTF document: it does not begin with {\\rtf"


# --- PDF ---


def pdf(*pages: str) -> bytes:
    """A PDF with one line of text on each page, none for an empty string."""
    writer = pypdf.PdfWriter()
    for page in pages:
        sheet = writer.add_blank_page(200, 200)
        if not page:
            continue
        font = pypdf.generic.DictionaryObject(
            {
                pypdf.generic.NameObject("/Type"): pypdf.generic.NameObject("/Font"),
                pypdf.generic.NameObject("/Subtype"): pypdf.generic.NameObject("/Type1"),
                pypdf.generic.NameObject("/BaseFont"): pypdf.generic.NameObject("/Helvetica"),
                pypdf.generic.NameObject("/Encoding"): pypdf.generic.NameObject("/WinAnsiEncoding"),
            }
        )
        fonts = pypdf.generic.DictionaryObject({pypdf.generic.NameObject("/F1"): font})
        sheet[pypdf.generic.NameObject("/Resources")] = pypdf.generic.DictionaryObject(
            {pypdf.generic.NameObject("/Font"): fonts}
        )
        stream = pypdf.generic.DecodedStreamObject()
        stream.set_data(b"BT /F1 12 Tf 10 100 Td (" + page.encode("cp1252") + b") Tj ET")
        sheet[pypdf.generic.NameObject("/Contents")] = writer._add_object(stream)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def encrypted(data: bytes, password: str) -> bytes:
    writer = pypdf.PdfWriter(BytesIO(data))
    writer.encrypt(password, owner_password="owner", algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def test_pdf_pages_are_joined_by_form_feeds() -> None:
    data = pdf("No fever – stable.", "", "Plan: rest.")
    assert read_pdf(data) == Extracted(
        "No fever – stable.\f\fPlan: rest.", warnings=("no text on page 2: blank or scanned",)
    )
    assert read_pdf(data) == read_pdf(data)


def test_pdf_locked_against_changes_only_is_read() -> None:
    assert read_pdf(encrypted(pdf("Open."), "")).text == "Open."


def test_pdf_without_text_is_refused() -> None:
    assert (
        reason(read_pdf, encrypted(pdf("Closed."), "secret")) == "encrypted; save a copy without the password"
    )
    assert reason(read_pdf, pdf("", "")) == (
        "no text layer on its 2 pages, probably a scan; run text recognition (OCR) first"
    )
    assert reason(read_pdf, b"hello") == "not a PDF: it does not begin with %PDF"
    assert reason(read_pdf, b"%PDF-1.7\n" + b"garbage " * 50).startswith("damaged PDF (")
    assert reason(read_pdf, pdf("Text")[:200]).startswith("damaged PDF (")


# --- Word ---


def word(document: Any) -> bytes:
    out = BytesIO()
    document.save(out)
    return out.getvalue()


def test_word_is_read_in_reading_order() -> None:
    document = docx.Document()
    document.core_properties.title = "Letter"
    document.sections[0].header.paragraphs[0].text = "Clinic"
    document.sections[0].footer.paragraphs[0].text = "Page"
    document.add_heading("Medications", 1)
    table = document.add_table(rows=2, cols=2)
    for cell, words in zip(
        (cell for row in table.rows for cell in row.cells), ("Drug", "Dose", "Aspirin", "81 mg"), strict=True
    ):
        cell.text = words
    paragraph = document.add_paragraph("Tab\there")
    paragraph.add_run().add_break()
    paragraph.add_run("next line")
    assert read_docx(word(document)) == Extracted(
        "Clinic\n\n\nMedications\n\nDrug\tDose\nAspirin\t81 mg\n\nTab\there\nnext line\n\nPage",
        title="Letter",
    )


def test_word_content_controls_changes_and_text_boxes() -> None:
    document = docx.Document()
    for xml in (
        "<w:sdt {}><w:sdtContent><w:p><w:r><w:t>In a control</w:t></w:r></w:p></w:sdtContent></w:sdt>",
        "<w:p {}><w:r><w:t xml:space='preserve'>Dose </w:t></w:r><w:del><w:r><w:delText>5</w:delText></w:r></w:del>"
        "<w:ins><w:r><w:t>10</w:t></w:r></w:ins><w:r><w:t> mg</w:t><w:noBreakHyphen/></w:r></w:p>",
        "<w:p {}><w:pPr><w:numPr/></w:pPr><w:r><w:t>Item</w:t></w:r></w:p>",
        "<w:p {}><w:r><w:pict><w:txbxContent><w:p><w:r><w:t>Boxed</w:t></w:r></w:p></w:txbxContent></w:pict>"
        "<w:t>Anchor</w:t></w:r></w:p>",
    ):
        document.element.body.insert(-1, docx_xml(xml.format(nsdecls("w"))))
    assert read_docx(word(document)).text == "In a control\nDose 10 mg\u2011\n- Item\nAnchor\nBoxed"


def test_word_notes_stand_behind_the_body() -> None:
    document = docx.Document()
    document.add_paragraph("Body")
    notes = (
        f"<w:footnotes {nsdecls('w')}><w:footnote w:type='separator'><w:p><w:r><w:t>-</w:t></w:r></w:p></w:footnote>"
        "<w:footnote w:id='2'><w:p><w:r><w:t>A footnote</w:t></w:r></w:p></w:footnote></w:footnotes>"
    )
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"
    media_type = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    part = Part(PackURI("/word/footnotes.xml"), media_type, notes.encode(), document.part.package)
    document.part.relate_to(part, kind)
    assert read_docx(word(document)).text == "Body\n\nA footnote"


def test_word_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinical.documents.docx.MAX_UNPACKED_BYTES", 1000)
    assert reason(read_docx, word(docx.Document())) == "unpacks to more than 500 MB of XML"


def test_word_files_that_are_none() -> None:
    assert reason(read_docx, b"hello") == "not a Word document: .docx files are zip archives, this is not one"
    assert reason(read_docx, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") == (
        "an old or password-protected Word document; save it as .docx without a password"
    )
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("hello.txt", "hello")
    assert reason(read_docx, packed.getvalue()).startswith("damaged Word document (")
    assert reason(read_docx, word(docx.Document())[:3000]) == (
        "not a Word document: .docx files are zip archives, this is not one"
    )


# --- XML and CDA ---

CDA = """<ClinicalDocument xmlns="urn:hl7-org:v3"><title>Visit</title><effectiveTime value="20240305"/>
<component>{}</component></ClinicalDocument>"""


def test_cda_sections_lists_and_tables() -> None:
    body = """<structuredBody><component><section><title>Plan</title><text>
      <paragraph>Rest <content>and
        fluids</content>.</paragraph><list><item>one</item><item>two</item></list></text>
      <component><section><title>Drugs</title><text><table><tbody><tr><td>Aspirin</td><td>81 mg</td></tr></tbody>
      </table>after<br/>all</text><entry><observation/></entry></section></component>
      </section></component></structuredBody>"""
    assert read_cda(parse_xml(CDA.format(body).encode())) == Extracted(
        "Visit\n\nPlan\n\nRest and fluids.\n\n- one\n- two\n\nDrugs\n\nAspirin\t81 mg\n\nafter\nall",
        title="Visit",
        date="2024-03-05",
    )


def test_cda_around_a_file() -> None:
    encoded = base64.b64encode(b"<p>No <b>fever</b></p>").decode()
    body = f'<nonXMLBody><text mediaType="text/html" representation="B64">{encoded}</text></nonXMLBody>'
    assert read_cda(parse_xml(CDA.format(body).encode())).text == "No fever"
    elsewhere = '<nonXMLBody><text><reference value="a.pdf"/></text></nonXMLBody>'
    assert reason(read_xml, CDA.format(elsewhere).encode()) == (
        "its body is in another file, which is not part of it"
    )


def test_xml_is_parsed_safely() -> None:
    document = b'<ClinicalDocument xmlns="urn:hl7-org:v3">&a;</ClinicalDocument>'
    bomb = b'<!DOCTYPE l [<!ENTITY b "ha"><!ENTITY a "&b;&b;">]>' + document
    thief = b'<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + document
    refused = "has a document type declaration, which CDA and FHIR do not allow; remove it"
    assert reason(read_xml, bomb) == refused
    assert reason(read_xml, thief) == refused
    laughs = "".join(f'<!ENTITY x{i} "{f"&x{i - 1};" * 10}">' for i in range(1, 12))
    attack = f'<!DOCTYPE l [<!ENTITY x0 "ha">{laughs}]><l a="&x11;">&x11;</l>'
    assert reason(read_xml, attack.encode()) in (refused, "not valid XML at line 1")


def test_xml_of_other_kinds_is_refused() -> None:
    assert (
        reason(read_xml, b"<note>hello</note>")
        == "XML, but neither a CDA ClinicalDocument nor a FHIR resource"
    )
    assert reason(read_xml, b"<a>\n<b></a>") == "not valid XML at line 2"
    assert reason(read_xml, b"") == "not valid XML at line 1"


# --- FHIR ---


def attachment(text: str, media_type: str = "text/plain") -> dict[str, str]:
    return {"contentType": media_type, "data": base64.b64encode(text.encode()).decode()}


def fhir(resource: dict[str, Any]) -> list[Extracted | str]:
    read = read_fhir_json(json.dumps(resource).encode())
    return [f"{part.place}: {part.reason}" if isinstance(part, Unreadable) else part for part in read]


def test_fhir_reads_the_plainest_form_of_a_document() -> None:
    resource = {
        "resourceType": "DocumentReference",
        "description": "Note",
        "date": "2024-03-05T10:00:00Z",
        "content": [
            {"attachment": attachment("<p>From HTML</p>", "text/html")},
            {"attachment": attachment("From text")},
            {"attachment": {"contentType": "application/pdf", "url": "https://example.org/x.pdf"}},
        ],
    }
    assert fhir(resource) == [Extracted("From text", title="Note", date="2024-03-05T10:00:00Z")]
    resource["content"] = [{"attachment": attachment(r"{\rtf1 From RTF}", "application/rtf")}]
    assert fhir(resource) == [Extracted("From RTF", title="Note", date="2024-03-05T10:00:00Z")]


def test_fhir_reports_and_compositions() -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><p>No nodule &amp; no mass.</p></div>'
    report = {
        "resourceType": "DiagnosticReport",
        "code": {"coding": [{"display": "CT chest"}]},
        "effectiveDateTime": "2024-03",
        "text": {"div": div},
        "conclusion": "Normal.",
    }
    assert fhir(report) == [
        Extracted("No nodule & no mass.\n\nConclusion: Normal.", title="CT chest", date="2024-03")
    ]
    assert fhir({**report, "presentedForm": [attachment("Presented.")]}) == [
        Extracted("Presented.", title="CT chest", date="2024-03")
    ]
    sections = [{"title": "Plan", "text": {"div": div}, "section": [{"title": "Diet", "text": {"div": div}}]}]
    assert fhir({"resourceType": "Composition", "title": "Summary", "section": sections}) == [
        Extracted("Plan\n\nNo nodule & no mass.\n\nDiet\n\nNo nodule & no mass.", title="Summary")
    ]


def test_fhir_bundle_names_its_documents_and_faults() -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"resource": {"resourceType": "Patient", "id": "p"}},
            {
                "resource": {
                    "resourceType": "DocumentReference",
                    "id": "a",
                    "content": [{"attachment": {"url": "Binary/b"}}],
                }
            },
            {"resource": {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "SGkh"}},
            {
                "resource": {
                    "resourceType": "DocumentReference",
                    "content": [{"attachment": {"url": "http://x/y"}}],
                }
            },
            {
                "resource": {
                    "resourceType": "DocumentReference",
                    "id": "c",
                    "content": [{"attachment": attachment("x", "image/png")}],
                }
            },
            {
                "resource": {
                    "resourceType": "DocumentReference",
                    "id": "d",
                    "content": [{"attachment": {"contentType": "text/plain", "data": "%%"}}],
                }
            },
        ],
    }
    assert fhir(bundle) == [
        Extracted("Hi!", place="DocumentReference/a"),
        "DocumentReference/4: its attachment is elsewhere, at a URL",
        "DocumentReference/c: its attachment is image/png, which has no text to read",
        "DocumentReference/d: its attachment is not valid base64",
    ]


def test_fhir_with_anything_anywhere_is_read_or_refused() -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "text": {"div": "<p>Clear</p>"},
        "conclusion": ["x"],
        "code": 5,
    }
    assert fhir(report) == [Extracted("Clear")]
    reference = {"resourceType": "DocumentReference", "content": [7, {"attachment": "x"}], "date": {}}
    assert reason(read_fhir_json, json.dumps(reference).encode()) == "has no attachment"
    report["text"] = {"div": "\ud800"}
    assert reason(read_fhir_json, json.dumps(report).encode()) == (
        "half a surrogate pair in it; no encoding can write it"
    )


def test_fhir_xml_says_the_same_as_json() -> None:
    data = base64.b64encode(b"From text").decode()
    xml = f"""<Bundle xmlns="http://hl7.org/fhir"><entry><resource><DocumentReference><id value="a"/>
      <type><text value="Note"/></type><content><attachment><contentType value="text/plain"/><data value="{data}"/>
      </attachment></content></DocumentReference></resource></entry><entry><resource><DiagnosticReport>
      <id value="r"/><text><div xmlns="http://www.w3.org/1999/xhtml"><p>Clear</p></div></text>
      </DiagnosticReport></resource></entry></Bundle>"""
    assert list(read_xml(xml.encode())) == [
        Extracted("From text", title="Note", place="DocumentReference/a"),
        Extracted("Clear", place="DiagnosticReport/r"),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '{"a": 1}',
            "JSON, but no FHIR resource; records with id and text belong in a .jsonl file, one a line",
        ),
        ("[1]", "JSON, but no FHIR resource; records with id and text belong in a .jsonl file, one a line"),
        ('{"resourceType":\n', "not valid JSON at line 2"),
        ("[" * 100_000, "not valid JSON: it nests too deep"),
        (
            '{"resourceType": "Patient"}',
            "a FHIR Patient, which holds no document; readable are DocumentReference, DiagnosticReport, "
            "Composition and Bundle",
        ),
        (
            '{"resourceType": "Bundle"}',
            "a FHIR Bundle without any DocumentReference, DiagnosticReport, Composition",
        ),
        ('{"resourceType": "DocumentReference"}', "has no attachment"),
    ],
    ids=lambda value: value[:30],
)
def test_json_that_holds_no_document(text: str, why: str) -> None:
    assert reason(read_fhir_json, text.encode()) == why


def test_attachments_by_their_media_type() -> None:
    assert read_attachment(b"na\xefve", "text/plain; charset=ISO-8859-1").text == "naïve"
    assert read_attachment("naïve".encode(), "TEXT/PLAIN").text == "naïve"
    assert read_attachment(CDA.format("<structuredBody/>").encode(), "text/xml").title == "Visit"
    assert read_attachment(pdf("In a PDF."), "application/pdf").text == "In a PDF."
    with pytest.raises(Unreadable, match=r"^its attachment is empty$"):
        read_attachment(b" ", "text/plain")
