"""How servers are told what an answer must look like, and whether they heed it.

There are three ways to send a grammar, and servers that know none of them either refuse the request or,
worse, answer as if nothing had been said. So a server is asked once, with a grammar that allows a single
word which nobody would say (`PROBE`): the way that brings this word back is the one it takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PROBE_WORD = "zq7"
PROBE = f'start: "{PROBE_WORD}"\n'
"""A grammar that allows one answer."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\w+:?|\s+|.', re.DOTALL)
_GBNF_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@dataclass(frozen=True)
class Dialect:
    """A way to send a grammar: `field` makes the field of the request from a Lark grammar."""

    name: str
    field: Callable[[str], dict[str, Any]]


def to_gbnf(lark: str) -> str:
    """Return a grammar of ours, as `to_lark` writes it, in the notation of llama.cpp.

    >>> to_gbnf('start: " "? ("a" | n1_2)')
    'root ::= " "? ("a" | n1-2)'
    """
    return "".join(map(_gbnf_token, _TOKEN.findall(lark)))


def _gbnf_token(token: str) -> str:
    if token.startswith('"'):
        return f'"{"".join(map(_gbnf_character, json.loads(token)))}"'
    name = token.removesuffix(":").replace("_", "-")
    name = "root" if name == "start" else name
    return f"{name} ::=" if token.endswith(":") else name


def _gbnf_character(character: str) -> str:
    if character.isprintable() and character not in _GBNF_ESCAPES:
        return character
    code = ord(character)
    return _GBNF_ESCAPES.get(character) or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


DIALECTS = (
    # vLLM from 0.12 on, started with --structured-outputs-config.backend guidance
    Dialect("structured_outputs", lambda lark: {"structured_outputs": {"grammar": lark}}),
    # vLLM before
    Dialect("guided_grammar", lambda lark: {"guided_grammar": lark, "guided_decoding_backend": "guidance"}),
    # llama.cpp's server
    Dialect("grammar", lambda lark: {"grammar": to_gbnf(lark)}),
)
"""In the order in which they are tried."""
