"""Bootstrap: intervals hold the estimate, are the same for a seed, and widen for clustered data."""

import pytest

from clinical.scoring.bootstrap import Interval, f1_difference, f1_interval
from clinical.scoring.spans import Counts, Score


def document(correct: int, gold: int = 10, predicted: int = 10) -> Score:
    return Score(strict=Counts(correct, 0, gold, predicted), partial=Counts(correct, 2, gold, predicted))


MIXED = [document(correct) for correct in (2, 9, 8, 10, 5, 7, 9, 3, 8, 9) * 5]


def test_documents_that_are_all_alike_leave_no_doubt():
    assert f1_interval([document(8)] * 20) == Interval(0.8, 0.8, 0.8)
    assert f1_interval([document(8)] * 20, "partial") == Interval(0.9, 0.9, 0.9)


def test_the_interval_holds_micro_f1_and_is_reproducible():
    interval = f1_interval(MIXED)
    assert interval.value == pytest.approx(0.7)
    assert 0.6 < interval.low < 0.7 < interval.high < 0.8
    # Standard error of the mean of these: 0.26/sqrt(50) = 0.036, so about 0.14 wide.
    assert interval.high - interval.low == pytest.approx(4 * 0.036, rel=0.2)
    assert f1_interval(MIXED) == interval != f1_interval(MIXED, seed=1)


def test_micro_weighs_documents_by_their_mentions():
    assert f1_interval([document(10), document(0, 30, 30)]).value == pytest.approx(0.25)


def test_blocks_keep_neighbours_together():
    runs = [document(correct) for correct in (9, 9, 9, 9, 9, 3, 3, 3, 3, 3) * 10]
    alone, together = f1_interval(runs), f1_interval(runs, block=5)
    assert alone.value == together.value
    assert together.high - together.low > 1.8 * (alone.high - alone.low)
    # A last block that is short counts with what it has.
    assert f1_interval(runs[:7], block=5).value == pytest.approx((5 * 9 + 2 * 3) / 70)


def test_a_system_does_not_differ_from_itself():
    difference = f1_difference(MIXED, MIXED)
    assert (difference.interval, difference.p) == (Interval(0.0, 0.0, 0.0), 1.0)


def test_a_steady_advantage_is_seen_where_unpaired_intervals_overlap():
    worse = [document(score.strict.correct - 1) for score in MIXED]
    difference = f1_difference(MIXED, worse)
    assert difference.interval == Interval(pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))
    assert difference.p == pytest.approx(1 / 1001)
    assert f1_interval(worse).high > f1_interval(MIXED).low
    assert f1_difference(worse, MIXED).interval.value == pytest.approx(-0.1)


def test_a_chance_advantage_is_not_significant():
    one = [document(8), document(6)] * 10 + [document(8)]
    two = [document(6), document(8)] * 10 + [document(6)]
    difference = f1_difference(one, two)
    assert difference.interval.low < 0 < difference.interval.high
    assert difference.p > 0.5


def test_no_documents_and_unequal_documents():
    assert f1_interval([]) == Interval(0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="1 documents of one system, 2 of the other"):
        f1_difference([document(1)], [document(1)] * 2)
