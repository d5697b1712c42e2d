"""Constraints as data: what `parse` reads is what the grammar allows, and nothing else."""

from __future__ import annotations

from itertools import combinations

import pytest
from grammars import acceptor
from hypothesis import given
from hypothesis import strategies as st

from clinical.models.language_model import Message, OneOf, Selection
from clinical.prompts.templates import Part


@pytest.mark.parametrize(("count", "most"), [(1, None), (3, None), (4, 2), (3, 1), (12, 2)])
def test_the_grammar_of_a_selection_accepts_what_parse_reads(count: int, most: int | None) -> None:
    constraint = Selection(count, most)
    accepts = acceptor(constraint.to_lark())
    numbers = range(1, count + 1)
    legal = {
        ", ".join(map(str, chosen)): chosen
        for size in range(1, min(most or count, count) + 1)
        for chosen in combinations(numbers, size)
    }
    assert constraint.parse("none") == ()
    assert accepts("none")
    for answer, chosen in legal.items():
        assert constraint.parse(answer) == constraint.parse(" " + answer) == chosen
        assert accepts(answer)
        assert accepts(" " + answer)
    parts = ["1", "2", ", ", ",", " ", "0", "none", "."]
    mutants = {
        a[:at] + part + a[at:] for a in sorted(legal)[:9] for at in range(len(a) + 1) for part in parts
    }
    for mutant in mutants | {"", "none, 1", "2, 1", "1, 1", f"{count + 1}", "01", "\u0663"}:
        assert accepts(mutant) == (constraint.parse(mutant) is not None), mutant


@given(st.integers(1, 300), st.data())
def test_what_a_selection_writes_it_reads(count: int, data: st.DataObject) -> None:
    numbers = sorted(data.draw(st.sets(st.integers(1, count), max_size=12)))
    assert Selection(count).parse(Selection(count).write(numbers)) == tuple(numbers)


def test_the_grammar_of_options_accepts_what_parse_reads() -> None:
    constraint = OneOf(("yes", "no", "no evidence", 'he said "no"\n\u00e9'))
    accepts = acceptor(constraint.to_lark())
    for option in constraint.options:
        assert constraint.parse(option) == constraint.parse(" " + option) == option
        assert accepts(option)
        assert accepts(" " + option)
    for answer in ("", "Yes", "no ", "no evidence no", "  yes", "maybe"):
        assert constraint.parse(answer) is None
        assert not accepts(answer)


@pytest.mark.parametrize("options", [(), ("a", "a"), ("",), (" a",), ("a\n",)])
def test_options_that_cannot_be_told_apart_are_refused(options: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="option"):
        OneOf(options)


def test_a_selection_out_of_nothing_is_refused() -> None:
    for count, most in ((0, None), (3, 0)):
        with pytest.raises(ValueError, match="at least one"):
            Selection(count, most)


def test_a_turn_is_one_string_for_a_server() -> None:
    assert Message("user", (Part("Note: "), Part("No fever.", "text"))).text == "Note: No fever."
