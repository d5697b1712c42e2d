"""Conversations that are written down as one text with tags: Baize's, Gath_baize's and Llama-2's.

    [|Human|] What is asthma? [|AI|] A disease of the airways. [|Human|]
    [INST] What is asthma? [/INST] A disease of the airways.

Both styles become turns of user and assistant. The line before the first tag, which announces the conversation,
belongs to the format and is not kept; nor is the open question that Baize's end with.

Xu C. et al. Baize: an open-source chat model with parameter-efficient tuning on self-chat data. EMNLP 2023.
"""

from __future__ import annotations

import re

from clinical.corpora.rows import Turn, conversation

_PIPES = re.compile(r"\[\|\s*(Human|AI)\s*\|\]", re.IGNORECASE)
_INST = re.compile(r"\[(/?)INST\]")
_SYSTEM = re.compile(r"<<SYS>>(.*?)<</SYS>>", re.DOTALL)
_CONTROL = re.compile(r"</?s>")


def is_tagged(text: str) -> bool:
    """Return whether a text is a conversation with tags of either style."""
    return bool(_PIPES.search(text) or _INST.search(text))


def read_tagged(text: str) -> tuple[tuple[Turn, ...], str]:
    """Return the turns of a conversation with tags, and the question at its end that nobody answers.

    Raises `ValueError` when the tags are no conversation.
    """
    if _PIPES.search(text) and _INST.search(text):
        raise ValueError("tags of two styles, [|Human|] and [INST]")
    turns = _piped(text) if _PIPES.search(text) else _instructed(text)
    unanswered = ""
    if turns and turns[-1].role == "user":
        unanswered = turns.pop().content.strip()
    return conversation(turns), unanswered


def _piped(text: str) -> list[Turn]:
    # split with one group: text before, then tag and text in turn.
    parts = _PIPES.split(text)
    return [
        Turn("user" if tag.lower() == "human" else "assistant", content)
        for tag, content in zip(parts[1::2], parts[2::2], strict=True)
    ]


def _instructed(text: str) -> list[Turn]:
    parts = _INST.split(_CONTROL.sub("", text))
    turns: list[Turn] = []
    for slash, content in zip(parts[1::2], parts[2::2], strict=True):
        if bool(slash) == (not turns or turns[-1].role != "user"):
            raise ValueError(f"[{slash}INST] where the other tag is expected")
        turns.append(Turn("assistant" if slash else "user", content))
    if turns and (system := _SYSTEM.search(turns[0].content)):
        turns[0] = Turn("user", turns[0].content.replace(system[0], ""))
        turns.insert(0, Turn("system", system[1]))
    return turns
