"""Reads the first sheet of an Excel workbook (.xlsx) as rows of text: what a few corpora are published in.

    rows = read_sheet(Path("MeQSum.xlsx"))      # [{"File": "1.txt", "CHQ": "…", "Summary": "…"}, …]

ECMA-376: a cell of type `s` holds the number of a shared string, any other its own value. Formulas and styles are
passed over.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

_SPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_sheet(path: Path) -> list[dict[str, str]]:
    """Return the rows under the first one, by its names; raises `ValueError` when it is no workbook."""
    try:
        with zipfile.ZipFile(path) as archive:
            strings = [_text(entry) for entry in _root(archive, "xl/sharedStrings.xml").iter(f"{_SPACE}si")]
            sheet = _root(archive, "xl/worksheets/sheet1.xml")
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{path.name} is no workbook: {error}") from error
    rows = [_cells(row, strings) for row in sheet.iter(f"{_SPACE}row")]
    head = rows[0] if rows else {}
    return [
        {name: row.get(column, "") for column, name in head.items()} for row in rows[1:] if any(row.values())
    ]


def _root(archive: zipfile.ZipFile, name: str) -> Any:
    from lxml import etree  # type: ignore[import-untyped]

    return etree.fromstring(archive.read(name), etree.XMLParser(resolve_entities=False, no_network=True))


def _cells(row: Any, strings: list[str]) -> dict[str, str]:
    """Return the cells of a row by the letters of their column."""
    cells: dict[str, str] = {}
    for cell in row.iter(f"{_SPACE}c"):
        column = re.sub(r"\d+$", "", cell.get("r"))
        value = cell.findtext(f"{_SPACE}v")
        if cell.get("t") == "s" and value is not None:
            cells[column] = strings[int(value)]
        elif cell.get("t") == "inlineStr":
            cells[column] = _text(cell)
        elif value is not None:
            cells[column] = value
    return {column: text.strip() for column, text in cells.items()}


def _text(element: Any) -> str:
    return "".join(part.text or "" for part in element.iter(f"{_SPACE}t"))
