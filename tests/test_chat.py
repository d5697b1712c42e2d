"""Chat formats against mistral-common, token for token, with Mistral's own vocabularies."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from clinical.errors import UsageError
from clinical.models import chat
from clinical.models.chat import Control
from clinical.models.language_model import Message
from clinical.models.text_tokens import TextTokens
from clinical.prompts.templates import Part

FILES = {
    "v1": "tokenizer.model.v1",
    "v2": "mistral_instruct_tokenizer_240216.model.v2",
    "v3": "mistral_instruct_tokenizer_240323.model.v3",
}
CONVERSATIONS = [
    [("user", "What is in this note?")],
    [("system", "You read notes."), ("user", "What is in this note?\n\nFever, 38.5°C.")],
    [("user", "One"), ("assistant", "Two"), ("user", "Three")],
    [("system", "Be brief."), ("user", "One"), ("assistant", "Two"), ("user", "Three")],
]


@pytest.fixture(scope="module", params=list(FILES))
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tokenizer(version: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    import mistral_common
    from transformers import LlamaTokenizer

    folder = tmp_path_factory.mktemp(version)
    shutil.copy(Path(mistral_common.__file__).parent / "data" / FILES[version], folder / "tokenizer.model")
    return LlamaTokenizer.from_pretrained(folder)


def messages(turns: list[tuple[str, str]]) -> list[Message]:
    return [Message(role, (Part(text),)) for role, text in turns]  # type: ignore[arg-type]


@pytest.mark.parametrize("turns", CONVERSATIONS)
def test_tokens_are_those_of_mistral_common(
    version: str, tokenizer: Any, turns: list[tuple[str, str]]
) -> None:
    from mistral_common.protocol.instruct import messages as theirs
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    kinds = {"user": theirs.UserMessage, "system": theirs.SystemMessage, "assistant": theirs.AssistantMessage}
    conversation: Any = ChatCompletionRequest(messages=[kinds[role](content=text) for role, text in turns])
    expected = getattr(MistralTokenizer, version)().encode_chat_completion(conversation).tokens
    layout = chat.V1 if version == "v1" else chat.V3
    assert TextTokens(tokenizer, layout).prompt(layout.write(messages(turns))) == expected


def test_a_note_of_plain_words_has_the_tokens_of_plain_text(version: str, tokenizer: Any) -> None:
    """Piece by piece is not another language: for words, numbers apart, the tokens are the usual ones."""
    tokens = TextTokens(tokenizer, chat.V3)
    assert tokens.prompt([Part("Note: "), Part("The patient has fever.", "text")]) == list(
        tokens.plain("Note: The patient has fever.")
    )


def test_the_format_comes_from_the_vocabulary_and_the_template(version: str, tokenizer: Any) -> None:
    if version != "v1":
        assert chat.detect(tokenizer) is chat.V3
        return
    assert chat.detect(tokenizer) is chat.PLAIN
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"
    )
    assert chat.detect(tokenizer) is chat.V1
    tokenizer.chat_template = "[INST] <<SYS>>{{ system }}<</SYS>> {{ user }} [/INST]"
    assert chat.detect(tokenizer) is chat.LLAMA2
    tokenizer.chat_template = "<|im_start|>{{ user }}<|im_end|>"
    with pytest.raises(UsageError, match="chat template is not one of"):
        chat.detect(tokenizer)


def written(segments: list[chat.Segment]) -> str:
    return "".join(part.token if isinstance(part, Control) else part.text for part in segments)


def test_layouts_as_strings() -> None:
    turns = messages([("system", "S"), ("user", "Q"), ("assistant", "A"), ("user", "R")])
    assert written(chat.V1.write(turns)) == "<s> [INST] S\n\nQ [/INST] A</s> [INST] R [/INST]"
    assert written(chat.V3.write(turns)) == "<s>[INST] Q[/INST] A</s>[INST] S\n\nR[/INST]"
    assert written(chat.LLAMA2.write(turns)) == (
        "<s> [INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST] A </s><s> [INST] R [/INST]"
    )
    assert written(chat.PLAIN.write(turns[1:])) == "<s>Q\nA</s>R\n"


@pytest.mark.parametrize("layout", [chat.V1, chat.V3])
def test_a_conversation_ends_with_the_user(layout: chat.ChatFormat) -> None:
    with pytest.raises(ValueError, match="ends with a user turn"):
        layout.write(messages([("user", "Q"), ("assistant", "A")]))
