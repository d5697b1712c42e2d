"""Chat formats: how a conversation is written down for a model, chosen from the model's own files.

A format returns segments: control tokens, which only a format can write, and text, which is tokenized as
plain text whatever it says. The layouts are those of mistral-common, token for token (tests compare them):

    v1      <s> [INST] question [/INST] answer</s> [INST] …    Mistral-7B-Instruct v0.1, v0.2
    v3      <s>[INST] question[/INST] answer</s>[INST] …       v0.3 and later (v2 too); our small models
    llama2  <s>[INST] question [/INST] answer </s><s>[INST] …  Llama-2 chat
    plain   <s>question⏎answer</s>                             a model without chat tokens or template
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clinical.errors import UsageError
from clinical.models.language_model import Message
from clinical.prompts.templates import Part


@dataclass(frozen=True)
class Control:
    """A control token of the model's vocabulary, by name."""

    token: str


Segment = Control | Part
BOS, EOS = Control("<s>"), Control("</s>")


@dataclass(frozen=True)
class ChatFormat:
    """A way to write a conversation. `write` returns its segments; the model's answer is to follow.

    `spelled` are words of markers that the format writes as plain text, so that a note could write them
    too; in notes they are spelled letter by letter, which no marker ever is.
    """

    name: str
    write: Callable[[Sequence[Message]], list[Segment]]
    spelled: frozenset[str] = frozenset()


def _without_system(messages: Sequence[Message], *, first: bool) -> list[Message]:
    """Return the turns with the system's words at the head of the first, or of the last, user turn."""
    system = [message for message in messages if message.role == "system"]
    turns = [message for message in messages if message.role != "system"]
    if not turns or turns[-1].role != "user":
        raise ValueError("a conversation ends with a user turn")
    if not system:
        return turns
    users = [place for place, turn in enumerate(turns) if turn.role == "user"]
    place = users[0] if first else users[-1]
    words = tuple(part for message in system for part in (*message.parts, Part("\n\n")))
    turns[place] = Message("user", words + turns[place].parts)
    return turns


def _v1(messages: Sequence[Message]) -> list[Segment]:
    out: list[Segment] = [BOS]
    for turn in _without_system(messages, first=True):
        if turn.role == "user":
            out += [Part(" [INST] "), *turn.parts, Part(" [/INST]")]
        else:
            out += [Part(" "), *turn.parts, EOS]
    return out


def _v3(messages: Sequence[Message]) -> list[Segment]:
    out: list[Segment] = [BOS]
    for turn in _without_system(messages, first=False):
        if turn.role == "user":
            out += [Control("[INST]"), Part(" "), *turn.parts, Control("[/INST]")]
        else:
            out += [Part(" "), *turn.parts, EOS]
    return out


def _llama2(messages: Sequence[Message]) -> list[Segment]:
    system = [part for message in messages if message.role == "system" for part in message.parts]
    turns = [message for message in messages if message.role != "system"]
    out: list[Segment] = []
    for place, turn in enumerate(turns):
        if turn.role == "assistant":
            out += [Part(" "), *turn.parts, Part(" "), EOS]
            continue
        head = [Part("<<SYS>>\n"), *system, Part("\n<</SYS>>\n\n")] if system and place == 0 else []
        out += [BOS, Part(" [INST] "), *head, *turn.parts, Part(" [/INST]")]
    return out


def _plain(messages: Sequence[Message]) -> list[Segment]:
    out: list[Segment] = [BOS]
    for turn in messages:
        out += [*turn.parts, EOS if turn.role == "assistant" else Part("\n")]
    return out


V1 = ChatFormat("v1", _v1, spelled=frozenset({"INST"}))
V3 = ChatFormat("v3", _v3)
LLAMA2 = ChatFormat("llama2", _llama2, spelled=frozenset({"INST", "SYS"}))
PLAIN = ChatFormat("plain", _plain)


def detect(tokenizer: Any) -> ChatFormat:
    """Return the chat format of a `transformers` tokenizer, from its vocabulary and chat template.

    Raises `UsageError` for a model that was trained on a conversation format that is not one of these.
    """
    template = tokenizer.chat_template or ""
    if not isinstance(template, str):
        template = " ".join(str(part) for part in template.values())
    if "[INST]" in tokenizer.get_vocab():
        return V3
    if "<<SYS>>" in template:
        return LLAMA2
    if "[INST]" in template:
        return V1
    if template:
        raise UsageError(
            f"the model's chat template is not one of Mistral's or Llama-2's ({template[:60]!r}…); "
            "serve the model and use its address instead"
        )
    return PLAIN
