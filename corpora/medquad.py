"""Reads MedQuAD as its repository has it: questions about diseases and drugs with answers from NIH and CDC pages.

    read_medquad(Path("MedQuAD"))

There is one XML file for each page, in three schemas: `Document` (nearly all), `DiseaseFile` (one of CDC's) and, in
lower case, `doc` with `qaPairs/pair` (four of NINDS's). Two thirds of the answers were emptied by the publishers of
the corpus for the sake of a copyright. Pages are read with external entities switched off.

Ben Abacha A., Demner-Fushman D. A question-entailment approach to question answering. BMC Bioinformatics 2019.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clinical.corpora.rows import Fault, Row, Rows, question_and_answer

ROOTS = ("document", "diseasefile", "doc")
EMPTIED = "pairs without an answer (emptied for copyright)"
_BLANKS = re.compile(r"[ \t]*\n[ \t\n]*")


def is_medquad(folder: Path) -> bool:
    """Return whether a folder has the layout of the MedQuAD repository: folders named …_QA with XML files."""
    return any(next(sub.glob("*.xml"), None) for sub in folder.glob("*_QA*") if sub.is_dir())


def read_medquad(folder: Path) -> Rows:
    """Return a row for each answered pair below this folder, in the order of the paths.

    A pair that stands there twice is a row twice; `clinical corpora audit` counts those.
    """
    found = Rows()
    paths = sorted(folder.rglob("*.xml"))
    if not paths:
        found.faults.append(Fault(str(folder), None, "holds no XML file"))
    for path in paths:
        found.files.append(path)
        name = path.relative_to(folder).as_posix()
        try:
            found.rows += _rows(_root(path), name, found.passed_over)
        except ValueError as error:
            found.faults.append(Fault(name, None, str(error)))
    return found


def _root(path: Path) -> Any:
    from lxml import etree  # type: ignore[import-untyped]

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        root = etree.parse(path, parser).getroot()
    except etree.XMLSyntaxError as error:
        raise ValueError(f"not XML: {error.msg}") from error
    if root.tag.lower() not in ROOTS:
        raise ValueError(f"its root is <{root.tag}>; MedQuAD has <Document>, <DiseaseFile> and <doc>")
    return root


def _rows(root: Any, name: str, passed_over: Counter[str]) -> Iterator[Row]:
    page = {key.lower(): value for key, value in root.attrib.items()}
    source = page.get("source") or page.get("corpus") or ""
    document = f"{source}/{page.get('id') or page.get('docid') or page.get('fid') or name}"
    focus = _first(root, "focus") or _first(root, "doctitle-focus")
    for number, pair in enumerate(_below(root, "qapair", "pair"), 1):
        question, answer = _first(pair, "question"), _first(pair, "answer")
        if not answer:
            passed_over[EMPTIED] += 1
            continue
        asked = next(_below(pair, "question"), None)
        attributes = {} if asked is None else {key.lower(): value for key, value in asked.attrib.items()}
        try:
            messages = question_and_answer(question, answer)
        except ValueError as error:
            raise ValueError(f"pair {number}: {error}") from error
        fields = {"question": question, "answer": answer, "focus": focus}
        fields |= {"source": source, "document": document}
        fields |= {"url": page.get("url", ""), "type": attributes.get("qtype", "")}
        yield Row(
            f"{document}#{pair.get('pid') or number}", messages, place=f"{name} pair {number}", fields=fields
        )


def _below(element: Any, *names: str) -> Iterator[Any]:
    """Yield the elements below this one with these names, whatever their case."""
    return (found for found in element.iter() if isinstance(found.tag, str) and found.tag.lower() in names)


def _first(element: Any, name: str) -> str:
    """Return the text of the first element of this name, its lines tidied; empty when there is none."""
    found = next(_below(element, name), None)
    return "" if found is None else _BLANKS.sub("\n", "".join(found.itertext())).strip()
