"""What a query is looked for by: the words that count, other names, and what the user is told of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clinical.errors import UsageError
from clinical.facts.language import foreign
from clinical.facts.synonyms import Unclear, expand
from clinical.index.words import words_in
from clinical.tasks.focus import MOST_WORDS, weigh
from clinical.tasks.query import OTHER_NAME, PART, SAME, read_query
from clinical.tasks.search import mentions_of

MESSAGE = (
    "Hello, I hope somebody can help me. My son was told two weeks ago that he has hnpp. After reading about it I "
    "think that the trouble with my own hands may be hnpp as well. Can hnpp be mistaken for arthritis? Thank you!"
)


class Letters:
    """An embedder of letters; keeps what it was asked for."""

    id = "letters"

    def __init__(self) -> None:
        self.queries: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.array(
            [[text.count(letter) + 1e-3 for letter in "abcdefgh"] for text in texts], np.float32
        )
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def embed_queries(self, queries: Sequence[str]) -> NDArray[np.float32]:
        self.queries += queries
        return self.embed(queries)


# --- which words count ---


def test_the_words_that_a_message_is_about_come_first() -> None:
    words = [word.text for word in weigh(MESSAGE)]
    assert words[:2] == ["hnpp", "arthritis"]
    assert not {"hope", "weeks", "somebody"} & set(words)
    assert not {"the", "with", "my"} & set(words), "common words are no words"


def test_a_short_query_keeps_its_words() -> None:
    for query in ("chest pain", "apixaban stopped", "MI", "metformin"):
        assert {word.text for word in weigh(query)} == set(query.split())


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_weights_are_ordered_shares(query: str) -> None:
    words = weigh(query)
    weights = [word.weight for word in words]
    assert weights == sorted(weights, reverse=True)
    assert all(0 < weight <= 1 for weight in weights)
    assert weights[:1] in ([], [1.0])
    assert len(words) <= MOST_WORDS
    assert {word.text for word in words} <= {word.text for word in words_in(query)}


def test_a_word_counts_once_in_all_its_forms() -> None:
    assert [word.stem for word in weigh("Fractures, fractured, fracture")] == ["fractur"]


# --- other names ---


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("MI", {"MI": "myocardial infarction"}),
        ("mi in 2019", {"mi": "myocardial infarction"}),
        ("old myocardial infarctions", {"myocardial infarctions": "heart attack"}),
        ("heart attack", {"heart attack": "myocardial infarction"}),
        ("relapse of ALL", {"ALL": "acute lymphoblastic leukemia"}),
        ("relapse of all", {}),
        ("STOP ALL DRUGS", {}),
        ("US of the abdomen", {"US": "ultrasound"}),
        ("tell us", {}),
        ("ms relapse", {"ms": "multiple sclerosis"}),
        ("CVA tenderness", {"CVA": "costovertebral angle"}),
        ("blood thinner", {"blood thinner": "anticoagulant"}),
        ("which water pills", {"water pills": "diuretic"}),
        ("blood pressure tablets", {"blood pressure tablets": "antihypertensive"}),
        ("warfarin", {"warfarin": "Coumadin"}),
        ("Alzheimer’s", {"Alzheimer’s": "Alzheimer disease"}),
        ("kidney stones", {"kidney stones": "nephrolithiasis"}),
    ],
)
def test_names_and_their_first_other(query: str, names: dict[str, str]) -> None:
    found = expand(query)
    assert {name.text: name.others[0] for name in found.names} == names
    assert all(query[name.start : name.end] == name.text for name in found.names)
    assert found.unclear == ()


def test_a_short_form_with_several_meanings_is_left_and_told() -> None:
    meanings = ("multiple sclerosis", "mitral stenosis", "morphine sulfate")
    assert expand("MS").unclear == (Unclear("MS", meanings),)
    assert expand("MS with a murmur and new lesions").unclear == (Unclear("MS", meanings),)
    assert expand("ms smith") == expand("nothing of this")


@pytest.mark.parametrize(
    ("query", "text", "mentions"),
    [
        ("stroke", "Hx of CVA with residual weakness.", ["CVA"]),
        ("stroke", "No CVA tenderness.", []),
        ("stroke", "History of kidney stones, CVA tenderness on the left.", []),
        ("stroke", "CVA.", []),
        ("aortic stenosis", "The valve is known as narrow.", []),
        ("aortic stenosis", "Severe AS, the valve is calcified.", ["AS"]),
        ("CVA", "Stroke in 2019.", []),
    ],
)
def test_short_forms_of_several_meanings_are_found_where_they_are_meant(
    query: str, text: str, mentions: list[str]
) -> None:
    assert [mention.text for mention in mentions_of(read_query(query), text, 0, len(text))] == mentions


def test_no_name_is_its_own_other() -> None:
    for query in ("kidney stone", "tumors", "PVC", "heart attacks", "non-STEMI"):
        for name in expand(query).names:
            assert name.text.lower() not in [other.lower() for other in name.others]


def test_terms_weigh_short_forms_like_the_word_and_others_less() -> None:
    assert read_query("MI").terms == {
        "mi": 1.0,
        "myocardial infarction": SAME,
        "heart attack": SAME,
    }
    assert read_query("cancer").terms == {"cancer": 1.0, "carcinoma": OTHER_NAME, "malignancy": OTHER_NAME}
    assert read_query("cancer", names=False).terms == {"cancer": 1.0}


def test_words_of_a_name_count_together_more_than_apart() -> None:
    assert read_query("heart attack").terms == {
        "heart attack": 1.0, "heart": pytest.approx(PART, rel=0.5), "attack": pytest.approx(PART, rel=0.5),
        "myocardial infarction": SAME, "mi": SAME,
    }  # fmt: skip
    assert read_query("water pill").terms["furosemide"] == SAME
    twice = read_query("heart attack or heart rhythm").terms
    assert twice["heart"] > PART, "it stands outside of the name too"
    assert read_query("heart attack", names=False).terms.keys() == {"heart", "attack"}


@given(st.sampled_from(["heart attack", "blood in urine", "MI", "chest pain", "water pill for the heart"]))
def test_all_words_or_another_name_are_the_whole_query(query: str) -> None:
    read = read_query(query)
    for text in (query, query.upper()):
        assert read.share_in(mentions_of(read, text, 0, len(text))) == pytest.approx(1)


def test_part_of_a_name_is_little_of_the_query() -> None:
    read = read_query("heart attack")

    def share(text: str) -> float:
        return read.share_in(mentions_of(read, text, 0, len(text)))

    assert share("Heart: soft murmur.") < PART
    assert share("Old MI in 2019.") == pytest.approx(1)
    assert share("Lungs clear.") == 0


# --- what is embedded, and what is said ---


def test_a_short_form_is_embedded_spelt_out_too() -> None:
    embedder = Letters()
    vector = read_query("MI last year").vector(embedder)
    assert embedder.queries == ["MI last year", "myocardial infarction last year"]
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_a_name_of_several_words_is_embedded_with_its_other_name_too() -> None:
    embedder = Letters()
    read_query("heart attack last year").vector(embedder)
    assert embedder.queries == ["heart attack last year", "myocardial infarction last year"]
    embedder = Letters()
    read_query("cancer last year").vector(embedder)
    assert embedder.queries == ["cancer last year"]


def test_a_very_long_query_is_embedded_by_the_words_that_say_most() -> None:
    embedder = Letters()
    query = read_query("He says that it was so and so. " * 100 + "Apixaban apixaban apixaban dose.")
    query.vector(embedder)
    assert embedder.queries == ["Apixaban dose"] or "Apixaban" in embedder.queries[0].split()
    assert len(embedder.queries[0].split()) <= MOST_WORDS


def test_remarks_say_how_the_query_was_read() -> None:
    assert read_query("chest pain").remarks == []
    assert read_query("MI").remarks == [
        "also looked for: MI = myocardial infarction, heart attack (--no-expand leaves that out)"
    ]
    assert read_query("MI", names=False).remarks == []
    assert read_query("MS").remarks == [
        "MS may be multiple sclerosis, mitral stenosis or morphine sulfate; write out which one to find its other names"
    ]
    assert read_query(MESSAGE).remarks == [
        f"the query has {len(MESSAGE.split())} words; what counts most: "
        + ", ".join(word.text for word in weigh(MESSAGE)[:6])
    ]
    assert read_query("Hat der Patient Schmerzen in der Brust?").remarks == [
        "the query seems to be in German; the models know English best"
    ]


@pytest.mark.parametrize("query", ["", " ", "?!", "___"])
def test_a_query_without_words_is_refused(query: str) -> None:
    with pytest.raises(UsageError, match="the query has no words to look for"):
        read_query(query)


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ("Hat der Patient Schmerzen in der Brust?", "German"),
        ("Le patient a-t-il des douleurs dans la poitrine?", "French"),
        ("¿Qué medicamento se suspendió y por qué?", "Spanish"),
        ("Quale farmaco è stato sospeso e perché non si sa", "Italian"),
        ("Welke medicatie is gestopt en waarom heeft hij het niet", "Dutch"),
        ("боль в груди", "Cyrillic script"),
        ("胸の痛み", "a script other than Latin"),
        ("chest pain", None),
        ("Which drug was stopped, and why?", None),
        ("carcinoma in situ de novo", None),
        ("metformin 500 mg per os", None),
        ("de Quervain", None),
        ("α-blocker", None),
        ("µg", None),
        ("12/80", None),
    ],
)
def test_the_language_of_a_query(query: str, language: str | None) -> None:
    assert foreign(query) == language
