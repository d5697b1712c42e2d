"""Names of results: the path of the document where it has one, one per document, never outside the folder."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical.batch.naming import Names, common_root
from clinical.documents.note import Note


@pytest.mark.parametrize(
    ("id", "path", "name"),
    [
        ("notes/a.txt", "notes/a.txt", "a.txt"),
        ("notes/ward 3/Müller (2).txt", "notes/ward 3/Müller (2).txt", "ward 3/Müller (2).txt"),
        ("notes/b.json#Report/7", "notes/b.json", "b.json#Report-7"),
        ("notes/r.jsonl:7", "notes/r.jsonl", "r.jsonl-7"),
        ("-", None, "stdin"),
        ("-:3", None, "stdin-3"),
        ("17", "notes/records.jsonl", "17"),
        ("visit/17", "records.jsonl", "visit_17~"),
        ("../../etc/passwd", "records.jsonl", "_._.._etc_passwd~"),
        ("elsewhere/a.txt", "elsewhere/a.txt", "elsewhere_a.txt~"),
        ("../notes.txt", "../notes.txt", "_._notes.txt~"),
        ("", "records.csv", "_~"),
        ("manifest", "records.csv", "manifest~"),
        ("CON", "records.csv", "_CON~"),
        ("a\nb\x00", "records.csv", "a_b_~"),
        ("tail. ", "records.csv", "tail~"),
        ("notes/bad\udc80name.txt", "notes/bad\udc80name.txt", "bad_name.txt~"),
        ("notes/.hidden", "notes/.hidden", "_hidden~"),
    ],
)
def test_names(id: str, path: str | None, name: str) -> None:
    found = Names(Path("notes")).name(Note(id, "", path))
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
    name = Names(Path("/data")).name(Note(f"/data/{path}", "", f"/data/{path}"))
    assert not {"", ".", ".."} & set(name.split("/"))


def test_the_common_root_of_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "note.txt").touch()
    assert common_root(["a"]) == tmp_path / "a"
    assert common_root(["b/note.txt"]) == tmp_path / "b"
    assert common_root(["a/deep", str(tmp_path / "b" / "note.txt")]) == tmp_path
    assert common_root([]) is None
