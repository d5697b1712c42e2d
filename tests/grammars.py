"""Grammars as servers hold answers to them."""

from __future__ import annotations

from collections.abc import Callable


def acceptor(grammar: str) -> Callable[[str], bool]:
    """What a server with llguidance accepts as a whole answer, byte by byte."""
    import llguidance

    tokenizer = llguidance.LLTokenizer("byte")
    start = llguidance.LLMatcher(tokenizer, llguidance.LLMatcher.grammar_from_lark(grammar))
    assert not start.is_error(), start.get_error()

    def accepts(answer: str) -> bool:
        matcher = start.deep_copy()
        ids = tokenizer.tokenize_str(answer)
        return matcher.try_consume_tokens(ids) == len(ids) and bool(matcher.is_accepting())

    return accepts
