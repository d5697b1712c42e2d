"""Span scores: by hand, against nervaluate, and by what must hold for any documents."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nervaluate import Evaluator

from clinical.documents.annotations import Entity
from clinical.scoring.spans import WAYS, Counts, Score, SeenRecall, recall_by_seen, score, surface

# Machines are shared: the time of one example says nothing.
ANY_SPEED = settings(deadline=None)

LABELS = ("Disease", "Medication", "Test")
NERVALUATE = {"strict": "strict", "exact": "exact", "partial": "partial", "type": "ent_type"}


def mention(start: int, end: int, label: str = "Disease") -> Entity:
    return Entity(start, end, "x" * (end - start), label)


@st.composite
def loose_documents(draw):
    """Mentions that overlap as they like."""
    spans = st.tuples(st.integers(0, 25), st.integers(1, 8), st.sampled_from(LABELS))
    return sorted(
        {(start, start + length, label) for start, length, label in draw(st.lists(spans, max_size=8))}
    )


@st.composite
def flat_documents(draw):
    """Mentions of which no two overlap."""
    cuts = sorted(draw(st.sets(st.integers(0, 30), max_size=12)))
    return [
        (start, end, draw(st.sampled_from(LABELS))) for start, end in pairwise(cuts) if draw(st.booleans())
    ]


def entities(document):
    return [mention(*each) for each in document]


def nervaluate(gold, predicted, tags=LABELS):
    # Its ends are inclusive, and it cannot be called without any document.
    as_dicts = [
        [[{"start": s, "end": e - 1, "label": label} for s, e, label in document] for document in side]
        for side in (gold, predicted)
    ]
    return Evaluator(*as_dicts, tags=list(tags), loader="dict").evaluate()


def figures(counts):
    return pytest.approx((counts.precision, counts.recall, counts.f1))


def apart(gold, predicted):
    """Whether no mention overlaps two of the other side."""
    overlap = [[g[0] < p[1] and p[0] < g[1] for p in predicted] for g in gold]
    return all(sum(row) < 2 for row in overlap) and all(
        sum(column) < 2 for column in zip(*overlap, strict=True)
    )


def test_by_hand():
    gold = [mention(0, 5), mention(10, 20), mention(30, 35, "Test"), mention(40, 45)]
    predicted = [
        mention(0, 5),  # right
        mention(12, 20),  # right label, wrong start
        mention(30, 35, "Medication"),  # right characters, wrong label
        mention(60, 65),  # spurious
        mention(90, 91, "Gene"),  # not scored
    ]
    report = score([gold], [predicted], LABELS)
    assert report.micro == Score(
        strict=Counts(1, 0, 4, 4),
        exact=Counts(2, 0, 4, 4),
        partial=Counts(2, 1, 4, 4),
        type=Counts(2, 0, 4, 4),
    )
    assert report.labels["Disease"] == Score(
        strict=Counts(1, 0, 3, 3),
        exact=Counts(1, 0, 3, 3),
        partial=Counts(1, 1, 3, 3),
        type=Counts(2, 0, 3, 3),
    )
    # Medication has no gold mention, so it is no part of the mean.
    assert report.macro_f1("strict") == pytest.approx((1 / 3 + 0) / 2)
    assert report.documents == (report.micro,)
    assert (report.micro.partial.precision, report.micro.partial.recall) == (0.625, 0.625)


def test_a_nested_mention_is_not_consumed_by_its_neighbour():
    # "left heart failure" of which "heart failure" is gold: nervaluate gives it to the first that overlaps.
    gold = [(5, 18, "Disease")]
    predicted = [(0, 12, "Disease"), (5, 18, "Disease")]
    assert nervaluate([gold], [predicted])["overall"]["strict"].correct == 0
    assert score([entities(gold)], [entities(predicted)], LABELS).micro.strict == Counts(1, 0, 1, 2)


def test_the_same_mention_twice_counts_once():
    twice = [mention(0, 5), Entity(0, 5, "xxxxx", "Disease", score=0.2)]
    assert score([[mention(0, 5)]], [twice], LABELS).micro.strict == Counts(1, 0, 1, 1)


def test_nothing_at_all_is_zero_and_not_an_error():
    report = score([[]], [[]], LABELS)
    assert (report.micro, report.macro_f1("strict")) == (Score(), 0.0)
    assert (Counts().precision, Counts().recall, Counts().f1) == (0.0, 0.0, 0.0)
    assert score([], [], LABELS).documents == ()


def test_a_missing_document_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        score([[], []], [[]], LABELS)


@ANY_SPEED
@given(st.lists(st.tuples(flat_documents(), flat_documents()), min_size=1, max_size=4))
def test_as_nervaluate_where_mentions_do_not_overlap(pairs):
    gold, predicted = ([pair[side] for pair in pairs] for side in (0, 1))
    report = score(map_entities(gold), map_entities(predicted), LABELS)
    oracle = nervaluate(gold, predicted)
    for way in ("strict", "exact", "partial"):
        theirs = oracle["overall"][NERVALUATE[way]]
        assert (theirs.precision, theirs.recall, theirs.f1) == figures(report.micro.way(way))
        for label, by_way in oracle["entities"].items():
            theirs = by_way[NERVALUATE[way]]
            assert (theirs.precision, theirs.recall, theirs.f1) == figures(report.labels[label].way(way))


@ANY_SPEED
@given(st.tuples(flat_documents(), flat_documents()).filter(lambda pair: apart(*pair)))
def test_type_as_nervaluate_where_no_mention_overlaps_two(pair):
    gold, predicted = ([document] for document in pair)
    theirs = nervaluate(gold, predicted)["overall"]["ent_type"]
    ours = score(map_entities(gold), map_entities(predicted), LABELS).micro.type
    assert (theirs.precision, theirs.recall, theirs.f1) == figures(ours)


@ANY_SPEED
@given(loose_documents(), loose_documents())
def test_with_overlaps_never_less_than_nervaluate(gold, predicted):
    report = score([entities(gold)], [entities(predicted)], LABELS)
    oracle = nervaluate([gold], [predicted])["overall"]
    for way in WAYS:
        theirs, ours = oracle[NERVALUATE[way]], report.micro.way(way)
        assert ours.correct + ours.partial / 2 >= theirs.correct + theirs.partial / 2
        assert (ours.gold, ours.predicted) == (theirs.possible, theirs.actual)


@ANY_SPEED
@given(loose_documents(), loose_documents(), st.randoms())
def test_order_does_not_matter_and_sides_mirror(gold, predicted, random):
    report = score([entities(gold)], [entities(predicted)], LABELS)
    shuffled_gold, shuffled = entities(gold), entities(predicted)
    random.shuffle(shuffled_gold)
    random.shuffle(shuffled)
    assert score([shuffled_gold], [shuffled], LABELS) == report
    mirrored = score([shuffled], [shuffled_gold], LABELS)
    for way in WAYS:
        ours, theirs = report.micro.way(way), mirrored.micro.way(way)
        assert (ours.precision, ours.recall, ours.f1) == (theirs.recall, theirs.precision, theirs.f1)
        assert 0 <= ours.precision <= 1 >= ours.recall >= 0


@ANY_SPEED
@given(st.lists(st.tuples(loose_documents(), loose_documents()), max_size=4))
def test_the_whole_is_the_sum_of_its_parts(pairs):
    gold, predicted = ([entities(pair[side]) for pair in pairs] for side in (0, 1))
    report = score(gold, predicted, LABELS)
    assert sum(report.documents, Score()) == report.micro
    strict = sum((report.labels[label].strict for label in LABELS), Counts())
    assert strict == report.micro.strict


def test_recall_is_split_by_what_training_had():
    seen, unseen, other = (
        Entity(0, 5, "Fever", "Disease"),
        Entity(9, 12, "MPN", "Disease"),
        mention(20, 22, "Gene"),
    )
    again = Entity(30, 35, "FEVER", "Disease")
    training = {surface(Entity(3, 8, "fever", "Disease")), ("mpn", "Test")}
    predicted = [[seen, Entity(9, 12, "MPN", "Test"), mention(40, 44)]]
    assert recall_by_seen([[seen, unseen, other, again]], predicted, ["Disease"], training) == SeenRecall(
        seen=Counts(1, 0, 2, 0), unseen=Counts(0, 0, 1, 0)
    )


def map_entities(documents):
    return [entities(document) for document in documents]
