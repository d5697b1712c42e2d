"""Names of results: the path of the document where it has one, one per document, never outside the folder."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical.batch.naming import Names
from clinical.documents.note import Note


@pytest.mark.parametrize(
    ("id", "path", "name"),
    [
        ("a.txt", "notes/a.txt", "a.txt"),
        ("ward 3/Müller (2).txt", "/data/notes/ward 3/Müller (2).txt", "ward 3/Müller (2).txt"),
        ("17", "records.jsonl", "17"),
        ("visit/17", "records.jsonl", "visit_17~"),
        ("../../etc/passwd", "records.jsonl", "_._.._etc_passwd~"),
        ("../notes/a.txt", "../notes/a.txt", "_._notes_a.txt~"),
        ("/data/a.txt", "/data/a.txt", "_data_a.txt~"),
        ("-", None, "_~"),
        ("", "records.csv", "_~"),
        ("manifest", "records.csv", "manifest~"),
        ("CON", "records.csv", "_CON~"),
        ("a\nb\x00", "records.csv", "a_b_~"),
        ("tail. ", "records.csv", "tail~"),
        ("bad\udc80name.txt", "in/bad\udc80name.txt", "bad_name.txt~"),
    ],
)
def test_names(id: str, path: str | None, name: str) -> None:
    found = Names().name(Note(id, "", path))
    # Behind the tilde stands a hash of the id.
    assert found[: -12 if name.endswith("~") else None] == name


def test_names_that_a_file_system_may_fold_are_told_apart() -> None:
    names = Names()
    ids = [
        "Anna",
        "anna",
        "ANNA",
        "stra\u00dfe",
        "STRASSE",
        "caf\u00e9",
        unicodedata.normalize("NFD", "caf\u00e9"),
    ]
    given_names = [names.name(Note(id, "", "records.jsonl")) for id in ids]
    assert given_names[0] == "Anna"
    folded = {unicodedata.normalize("NFC", name.casefold()) for name in given_names}
    assert len(folded) == len(ids)


def test_a_name_stays_with_its_document() -> None:
    first = Names()
    pairs = {id: first.name(Note(id, "")) for id in ("Anna", "anna")}
    later = Names()
    for id, name in pairs.items():
        later.keep(name, id)
    assert {id: later.name(Note(id, "")) for id in ("anna", "Anna")} == pairs


@given(st.lists(st.text(), unique=True, max_size=20), st.sampled_from(["records.jsonl", None, "in/a/b.txt"]))
def test_every_id_gets_one_safe_name(ids: list[str], path: str | None) -> None:
    names = Names()
    given_names = [names.name(Note(id, "", path)) for id in ids]
    assert len({unicodedata.normalize("NFC", name.casefold()) for name in given_names}) == len(ids)
    for name in given_names:
        for part in name.split("/"):
            assert part not in ("", ".", "..")
            assert not part.startswith(".")
            assert len(part.encode()) <= 240
            assert not set(part) & set('<>:"\\|?*\x00\n')
        assert not name.startswith("/")


@given(st.lists(st.text(st.characters(exclude_characters="/\x00")).filter(bool), min_size=1, max_size=5))
def test_paths_never_leave_the_folder(parts: list[str]) -> None:
    path = "/".join(parts)
    name = Names().name(Note(path, "", f"/data/{path}"))
    assert not {"", ".", ".."} & set(name.split("/"))
