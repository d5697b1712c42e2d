"""Whole names of diseases in the place of their parts."""

from __future__ import annotations

import pytest

from clinical.documents.annotations import Entity
from clinical.models.whole_names import with_whole_names

TEXT = "CT showed acute pulmonary embolism, no chest pain."


def entity(text: str, label: str = "Disease", score: float = 0.8) -> Entity:
    start = TEXT.index(text)
    return Entity(start, start + len(text), text, label, score=score, grounding="decoded")


def shown(found: list[Entity]) -> list[tuple[str, str, float | None]]:
    return [(one.text, one.label, one.score) for one in found]


def test_a_name_takes_the_place_of_its_parts_with_the_label_of_the_last() -> None:
    parts = [
        entity("CT", "Test"),
        entity("pulmonary", "Anatomy"),
        entity("embolism", "Symptom"),
        entity("chest", "Anatomy"),
        entity("pain", "Symptom"),
    ]
    found = with_whole_names(
        parts,
        [
            [entity("pulmonary embolism", score=0.5), entity("chest pain", score=0.7)],
            [entity("pulmonary embolism", score=0.75)],
        ],
    )
    assert shown(found) == [
        ("CT", "Test", 0.8),
        ("pulmonary embolism", "Symptom", 0.625),
        ("chest pain", "Symptom", 0.35),
    ]


def test_names_that_only_the_witnesses_know_are_diseases() -> None:
    found = with_whole_names([], [[entity("pulmonary embolism", score=0.9)], []])
    assert shown(found) == [("pulmonary embolism", "Disease", 0.45)]


@pytest.mark.parametrize(
    "own",
    [
        entity("acute pulmonary", "Severity"),  # would be cut
        entity("pulmonary", "Test"),  # is no part of a name
        entity("pulmonary embolism", "Symptom"),  # is there already
        entity("acute pulmonary embolism", "Disease"),  # is longer
    ],
)
def test_what_is_there_stays_where_a_name_does_not_fit(own: Entity) -> None:
    assert with_whole_names([own], [[entity("pulmonary embolism", score=1.0)]]) == [own]


def test_doubtful_names_stay_out_and_the_surest_comes_first() -> None:
    weak, strong = entity("acute pulmonary embolism", score=0.35), entity("pulmonary embolism", score=0.7)
    assert shown(with_whole_names([], [[weak, strong]])) == [("pulmonary embolism", "Disease", 0.7)]
    assert with_whole_names([], [[weak], []]) == []
