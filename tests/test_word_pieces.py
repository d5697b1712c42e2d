"""The light tagger's view of a text: words at their characters, pieces in windows that miss nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical.models.light_tagger import CONTEXT_PIECES, WINDOW_PIECES, windows
from clinical.models.word_pieces import SHAPES, WordPieces, shape_of, split

ODD_TEXT = st.text(st.sampled_from("aB7 .-\r\n\t\x00µ\u00a0é\u0301漢🙂א(/%"), max_size=80) | st.text(
    max_size=80
)


@pytest.mark.parametrize(
    ("word", "shape"),
    [
        ("all", "lower"),
        ("ALL", "upper"),
        ("All", "capitalised"),
        ("A", "capitalised"),
        ("mRNA", "mixed"),
        ("12", "lower"),
    ],
)
def test_the_way_a_word_is_written(word: str, shape: str) -> None:
    assert SHAPES[shape_of(word)] == shape


def test_words_are_cut_at_blanks_and_punctuation() -> None:
    text = "CT: L-dopa\r\n10mg\u00a0b.i.d."
    assert [text[start:end] for start, end in split(text).spans] == [
        "CT", ":", "L", "-", "dopa", "10mg", "b", ".", "i", ".", "d", ".",
    ]  # fmt: skip


@given(ODD_TEXT)
def test_words_stand_in_order_within_the_text(text: str) -> None:
    words = split(text)
    flat = words.spans.reshape(-1)
    assert (np.diff(words.spans, axis=1) > 0).all()
    assert (flat >= 0).all()
    assert (flat <= len(text)).all()
    assert (words.spans[1:, 0] >= words.spans[:-1, 1]).all()
    assert len(words.ids) == len(words.shapes)
    assert len(words.word_starts) == len(words.spans)


@given(st.lists(st.integers(1, 9), max_size=400))
@settings(max_examples=200)
def test_windows_share_out_all_words_and_fit_the_encoder(piece_counts: list[int]) -> None:
    starts = np.cumsum([0, *piece_counts])[:-1].astype(np.int64)
    total = sum(piece_counts)
    ids = np.zeros(total, dtype=np.int64)
    words = WordPieces(ids, ids, starts, np.zeros((len(piece_counts), 2), dtype=np.int64))
    found = list(windows(words))
    assert [word for first, last, _, _ in found for word in range(first, last)] == list(
        range(len(piece_counts))
    )
    ends = np.append(starts[1:], total)
    for first, last, left, right in found:
        assert right - left <= WINDOW_PIECES - 2
        assert left <= starts[first]
        assert right >= ends[last - 1]
        assert left in starts
        assert right in ends
        if left > 0 and len(found) > 1:
            assert starts[first] - left <= CONTEXT_PIECES
