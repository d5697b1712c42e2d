"""Tokens back to ordinary typography: what is written how, and that no mention ever loses its letters."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from clinical.corpora.typography import detokenize
from clinical.documents.annotations import Entity

# Machines are shared: the time of one example says nothing.
ANY_SPEED = settings(deadline=None)

WORDS = ["fever", "5", "12", "000", "mg", "L", "i", "e", "s", "and", "to", "or", "x", "Naïve", "β"]
MARKS = list(".,;:()[]-/'\"%=<>+±&*#$_~°!?")
TOKENS = st.lists(st.sampled_from(WORDS + MARKS), min_size=1, max_size=30)


def tight(text: str, seed: int = 0) -> str:
    return detokenize(text, (), seed=seed)[0]


def test_marks_stand_as_in_a_note():
    assert tight("Parkinson ' s disease ( PD ) , 2 . 5 mg / kg .") == "Parkinson's disease (PD), 2.5 mg/kg."
    assert tight("PARKINSON ' S DISEASE") == "PARKINSON'S DISEASE"
    assert tight("a 56 - year - old woman with 1 , 200 cells and 3 , 4 or 5 nodes") == (
        "a 56-year-old woman with 1,200 cells and 3, 4 or 5 nodes"
    )
    assert tight("pre - and postoperative ; time - to - event : 5 . 2 + / - 1 . 1") == (
        "pre- and postoperative; time-to-event: 5.2 +/- 1.1"
    )
    assert tight('he felt " dizzy " , patients \' records ( - 7 . 5 % )') == (
        'he felt "dizzy", patients\' records (-7.5%)'
    )


def test_a_sentence_keeps_one_style_and_the_seed_chooses_it():
    written = {tight("p = 0 . 05 and q = 0 . 1", seed) for seed in range(30)}
    assert written == {"p = 0.05 and q = 0.1", "p=0.05 and q=0.1"}
    assert tight("p = 0 . 05 and q = 0 . 1", 3) == tight("p = 0 . 05 and q = 0 . 1", 3)


def test_an_entity_moves_with_its_characters():
    text = "Parkinson ' s disease ( PD ) ."
    entities = [Entity(0, 21, "Parkinson ' s disease", "Disease"), Entity(24, 26, "PD", "Disease")]
    assert detokenize(text, entities) == (
        "Parkinson's disease (PD).",
        (Entity(0, 19, "Parkinson's disease", "Disease"), Entity(21, 23, "PD", "Disease")),
    )


@ANY_SPEED
@given(TOKENS, st.data(), st.integers(0, 5))
def test_mentions_keep_their_letters_and_words_stay_apart(tokens, data, seed):
    text = " ".join(tokens)
    starts = [sum(len(token) + 1 for token in tokens[:place]) for place in range(len(tokens))]
    first = data.draw(st.integers(0, len(tokens) - 1))
    last = data.draw(st.integers(first, len(tokens) - 1))
    start, end = starts[first], starts[last] + len(tokens[last])

    shorter, (moved,) = detokenize(text, [Entity(start, end, text[start:end], "Disease")], seed=seed)

    assert shorter[moved.start : moved.end] == moved.text == moved.text.strip()
    assert moved.text.replace(" ", "") == "".join(tokens[first : last + 1])
    assert shorter.replace(" ", "") == "".join(tokens)
    assert shorter[: moved.start].replace(" ", "") == "".join(tokens[:first])
    # Only marks may be drawn tight: the words that stood apart still do, or a mark stands between them.
    pairs = pairwise(tokens)
    assert all(a + " " + b in shorter for a, b in pairs if a.isalnum() and b.isalnum())


@ANY_SPEED
@given(st.text(max_size=60))
def test_any_text_only_loses_blanks(text):
    shorter, _ = detokenize(text, ())
    assert shorter.replace(" ", "") == text.replace(" ", "")
    assert shorter.count("\n") == text.count("\n")
