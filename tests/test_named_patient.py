"""A question about a patient by name is answered from that patient's notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from clinical.documents.answers import Answer
from clinical.documents.note import Note
from clinical.scoring.answer_floors import Words
from clinical.tasks.ask import _answer
from clinical.tasks.ask_light import LightAnswerer
from clinical.tasks.evidence import Stretch, stretch_of
from clinical.tasks.named_patient import Asked, read_question, sort_out

ELLIS = stretch_of(Note("a", "Ms. Ellis stopped smoking in 2009.", path="ellis/clinic.txt"))
PATHOLOGY = stretch_of(Note("b", "Smoking: not stated on the request.", path="ellis/pathology.txt"))
FINCH = stretch_of(Note("c", "Mr. Finch has not stopped smoking.", path="finch/clinic.txt"))
WARD = stretch_of(Note("d", "Smoking on the ward was seen.", path="ward.txt"))


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("Does Ms. Ellis smoke?", Asked("Does she smoke?", "Ellis")),
        ("What did the MRI of Mr Harold Finch show?", Asked("What did the MRI of he show?", "Finch")),
        ("What was Mrs. O'Neil's dose?", Asked("What was she dose?", "O'Neil")),
        ("What was Mrs. Smith-Jones's dose?", Asked("What was she dose?", "Smith-Jones")),
        ("Are Mr. Finch and Ms. Ellis smokers?", Asked("Are Mr. Finch and Ms. Ellis smokers?")),
        ("Does she smoke?", Asked("Does she smoke?")),
    ],
)
def test_the_name_says_whose_note_is_meant(question: str, asked: Asked) -> None:
    assert read_question(question) == asked


def test_notes_that_name_somebody_else_and_those_of_other_folders_are_not_read() -> None:
    assert sort_out("Ellis", [FINCH, WARD, PATHOLOGY, ELLIS]) == ([ELLIS], [PATHOLOGY])
    assert sort_out("Moore", [FINCH, WARD, PATHOLOGY, ELLIS]) == ([], [])


def test_a_name_in_the_title_or_the_file_counts() -> None:
    titled = stretch_of(Note("7", "Smokes.", path="r.jsonl", title="Letter on Ms. Ellis"))
    filed = stretch_of(Note("notes/ellis_2024.txt", "Smokes.", path="notes/ellis_2024.txt"))
    assert sort_out("Ellis", [titled, filed]) == ([titled, filed], [])


@dataclass
class Silent:
    """Answers from nothing but the pathologist's report."""

    system: str = "test"
    model: str = "test"
    asked: list[tuple[str, list[str]]] = field(default_factory=list)

    def answer(self, question: str, evidence: Sequence[Stretch]) -> Answer:
        self.asked.append((question, [stretch.note.id for stretch in evidence]))
        return Answer(question, self.system, self.model, abstained="b" not in self.asked[-1][1])


def test_the_patients_own_notes_answer_first() -> None:
    by_words = LightAnswerer(Words(), 5, threshold=0.1, plain=True)
    answer = _answer("Did Ms. Ellis stop smoking?", [FINCH, WARD, PATHOLOGY, ELLIS], by_words)
    assert [citation.id for citation in answer.citations] == ["a"]
    assert (answer.question, answer.warnings) == ("Did Ms. Ellis stop smoking?", ())


def test_notes_beside_them_answer_with_a_warning() -> None:
    silent = Silent()
    answer = _answer("Does Ms. Ellis smoke?", [FINCH, WARD, PATHOLOGY, ELLIS], silent)
    assert silent.asked == [("Does she smoke?", ["a"]), ("Does she smoke?", ["b"])]
    assert answer.warnings == ("no note that names Ellis answers; these notes do not say whose they are",)
    assert not answer.abstained
