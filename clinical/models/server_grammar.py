"""How servers are told what an answer must look like, and whether they heed it.

There are four ways, and servers that do not know one of them either refuse the request or, worse, answer as if
nothing had been said. So a server is asked once, with a constraint that allows a single word which nobody would
say (`PROBE`): the way that brings this word back is the one it takes. A grammar holds every answer; a JSON schema
(Ollama, OpenAI) holds numbers and options, but not the copy of a note.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clinical.models.language_model import Constraint, OneOf, Selection, TaggedCopy

PROBE = OneOf(("zq7",))
"""A constraint that allows one answer."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\w+:?|\s+|.', re.DOTALL)
_GBNF_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@dataclass(frozen=True)
class Dialect:
    """A way to send a constraint. `field` makes the field of the request from it, `read` the answer from the text.

    `holds_copies`: whether it can hold a tagged copy.
    """

    name: str
    field: Callable[[Constraint], dict[str, Any]]
    read: Callable[[str, Constraint], str] = lambda text, _: text
    holds_copies: bool = True

    def holds(self, constraint: Constraint) -> bool:
        """Return whether it can hold an answer to this constraint."""
        return self.holds_copies or not isinstance(constraint, TaggedCopy)


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


def to_schema(constraint: Constraint) -> dict[str, Any]:
    """Return a JSON schema of the answers to a selection or choice: an object whose `answer` holds them."""
    answer: dict[str, Any]
    if isinstance(constraint, OneOf):
        answer = {"type": "string", "enum": list(constraint.options)}
    elif isinstance(constraint, Selection):
        number = {"type": "integer", "minimum": 1, "maximum": constraint.count}
        answer = {"type": "array", "items": number, "maxItems": constraint.limit}
    else:
        raise ValueError("a JSON schema cannot hold a copy")
    return {
        "type": "object",
        "properties": {"answer": answer},
        "required": ["answer"],
        "additionalProperties": False,
    }


def _schema_field(constraint: Constraint) -> dict[str, Any]:
    schema = {"name": "answer", "strict": True, "schema": to_schema(constraint)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def from_json(text: str, constraint: Constraint) -> str:
    """Return what a JSON answer says, in the words of the constraint; other texts as they are.

    >>> from_json('{"answer": [5, 2]}', Selection(9))
    '2, 5'
    """
    try:
        answer = json.loads(text)["answer"]
        if isinstance(constraint, Selection):
            return constraint.write(sorted({int(number) for number in answer}))
        return str(answer)
    except (ValueError, LookupError, TypeError):
        return text


DIALECTS = (
    # vLLM from 0.12 on, started with --structured-outputs-config.backend guidance
    Dialect("structured_outputs", lambda wanted: {"structured_outputs": {"grammar": wanted.to_lark()}}),
    # vLLM before
    Dialect(
        "guided_grammar",
        lambda wanted: {"guided_grammar": wanted.to_lark(), "guided_decoding_backend": "guidance"},
    ),
    # llama.cpp's server
    Dialect("grammar", lambda wanted: {"grammar": to_gbnf(wanted.to_lark())}),
    # Ollama, OpenAI and others
    Dialect("json_schema", _schema_field, from_json, holds_copies=False),
)
"""In the order in which they are tried."""
