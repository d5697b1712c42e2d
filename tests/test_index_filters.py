"""A filter narrows the ranking itself, by words and by meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_search import WordBag

from clinical.errors import UsageError
from clinical.index.filters import Filter, day_of, starts_before
from clinical.index.location import index_file
from clinical.index.ranking import MODES, Mode, rank
from clinical.index.store import Store
from clinical.index.update import update
from clinical.tasks.search import find

VISITS = [
    {"id": "ward/a-1", "text": "Plan: warfarin again.", "date": "2024-05-03T10:15:00+01:00"},
    {"id": "ward/a-2", "text": "Medications: warfarin.", "date": "20240610"},
    {"id": "clinic/b-1", "text": "Plan: warfarin at home.", "date": "2024-05"},
    {"id": "clinic/b-2", "text": "Plan: warfarin no more.", "date": "2023"},
    {"id": "undated", "text": "Plan: warfarin."},
]


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data [old]" / "notes"
    (folder / "2024" / "cardio").mkdir(parents=True)
    (folder / "visits.jsonl").write_text("".join(json.dumps(visit) + "\n" for visit in VISITS))
    (folder / "2024" / "cardio" / "echo.txt").write_text("Medications: warfarin since the echo.")
    (folder / "letter.txt").write_text("Warfarin, says the letter.")
    monkeypatch.chdir(folder.parent)
    return folder


@pytest.fixture
def store(notes: Path) -> Iterator[Store]:
    with Store.open(index_file(["notes"]), ["notes"], "words") as store:
        update(store, ["notes"], WordBag())
        yield store


def ids(store: Store, filter: Filter, mode: Mode) -> set[str]:
    vector = WordBag().embed(["warfarin"])[0]
    found = [store.passage(ranked.id) for ranked in rank(store, "warfarin", vector, mode, 50, filter)]
    return {passage.own_id or Path(passage.path).name for passage in found if passage}


ALL = {visit["id"] for visit in VISITS} | {"echo.txt", "letter.txt"}
RECORDS = {visit["id"] for visit in VISITS}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (Filter(), ALL),
        (Filter(sections=("medications",)), {"ward/a-2", "echo.txt"}),
        (Filter(sections=("medications", "plan")), RECORDS | {"echo.txt"}),
        (Filter(path="notes"), ALL),
        (Filter(path="notes/"), ALL),
        (Filter(path="notes/2024"), {"echo.txt"}),
        (Filter(path="notes/*/echo.txt"), {"echo.txt"}),
        (Filter(path="cardio"), {"echo.txt"}),
        (Filter(path="*.txt"), {"echo.txt", "letter.txt"}),
        (Filter(path="visits.jsonl"), RECORDS),
        (Filter(path="ward"), {"ward/a-1", "ward/a-2"}),
        (Filter(path="ward/a-?"), {"ward/a-1", "ward/a-2"}),
        (Filter(path="*/[ab]-1"), {"ward/a-1", "clinic/b-1"}),
        (Filter(path="nowhere"), set()),
        (Filter(path="100%_'"), set()),
        (Filter(since="2024-05-03"), {"ward/a-1", "ward/a-2", "clinic/b-1"}),
        (Filter(since="2024-05-04"), {"ward/a-2", "clinic/b-1"}),
        (Filter(since="2024-06"), {"ward/a-2"}),
        (Filter(until="2024-05"), {"ward/a-1", "clinic/b-1", "clinic/b-2"}),
        (Filter(until="2024-05-02"), {"clinic/b-1", "clinic/b-2"}),
        (Filter(since="2023-12-31", until="2024"), {"ward/a-1", "ward/a-2", "clinic/b-1", "clinic/b-2"}),
        (Filter(sections=("plan",), path="ward", since="2024"), {"ward/a-1"}),
    ],
)
def test_what_passes(store: Store, filter: Filter, expected: set[str], mode: Mode) -> None:
    assert ids(store, filter, mode) == expected


def test_the_best_inside_are_found_however_many_are_better_outside(tmp_path: Path) -> None:
    (tmp_path / "best.txt").write_text("Plan: warfarin warfarin.\n" * 300)
    (tmp_path / "last.txt").write_text("Medications: tea, fever, and of all things a little warfarin.")
    for mode in MODES:
        found = find("warfarin", [str(tmp_path)], WordBag(), k=1, mode=mode, filter=Filter(path="last.txt"))
        assert [Path(hit.path).name for hit in found.hits] == ["last.txt"]


def test_the_undated_are_counted(store: Store, notes: Path) -> None:
    assert store.undated(Filter(path="*.txt")) == 0
    assert store.undated(Filter(since="2024")) == 3
    assert store.undated(Filter(since="2024", path="*.txt")) == 2
    found = find("warfarin", ["notes"], WordBag(), filter=Filter(since="2024-06"))
    assert [hit.id for hit in found.hits] == ["ward/a-2"]
    assert any(said.startswith("3 documents left out for want of a date") for said in found.remarks)


def test_a_note_without_a_date_of_its_own_has_that_of_its_head_or_its_name(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text(
        "Clinic letter\nDOB: 04/12/1951\nDate: 12 June 2024\n\nWarfarin again."
    )
    (tmp_path / "2024-07-01-visit.txt").write_text("Warfarin stopped.")
    (tmp_path / "old.txt").write_text("Warfarin at home.")
    found = find("warfarin", [str(tmp_path)], WordBag(), filter=Filter(since="2024-06"))
    assert {(Path(hit.path).name, hit.date) for hit in found.hits} == {
        ("letter.txt", "2024-06-12"),
        ("2024-07-01-visit.txt", "2024-07-01"),
    }
    assert any(said.startswith("1 document left out for want of a date") for said in found.remarks)


@pytest.mark.parametrize("value", ["03/05/2024", "May", "2024-13", "", "2024-5-3", "yesterday"])
def test_what_is_no_date_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="is no date; write a day, month or year"):
        Filter(since=value)
    with pytest.raises(UsageError, match="is no date; write a day, month or year"):
        Filter(until=value)


def test_an_empty_span_of_time_is_refused() -> None:
    with pytest.raises(UsageError, match="since 2024-06 is after until 2024-05-31"):
        Filter(since="2024-06", until="2024-05-31")


@settings(deadline=None)
@given(st.dates(), st.dates())
def test_days_months_and_years_agree(first: object, second: object) -> None:
    a, b = f"{first}", f"{second}"
    assert day_of(a) == a
    assert starts_before(a, b) == (a <= b)
    assert starts_before(a[:7], b) == (a[:7] <= b[:7])
    assert starts_before(a, b[:4]) == (a[:4] <= b[:4])
