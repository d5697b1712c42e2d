"""The tokenizer of our own small models: byte-level BPE whose label tags are single tokens.

Byte level, so that no character of a note is ever unknown; single digits, so that numbers are spelt and not
memorised; `[INST]` and `[/INST]` as in Mistral's own vocabularies, so that small models speak chat format v3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CONTROL_TOKENS = ("<pad>", "<s>", "</s>", "[INST]", "[/INST]")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "[INST] {{ message['content'] }}[/INST]{% else %} {{ message['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)


def tag_tokens(labels: Iterable[str]) -> list[str]:
    """Return the opening and closing tag of each label, the tokens that the small models have for them."""
    return [tag for label in labels for tag in (f"<{label}>", f"</{label}>")]


def train_tokenizer(
    texts: Iterable[str], labels: Sequence[str], vocab_size: int = 4096
) -> PreTrainedTokenizerFast:
    """Return a tokenizer trained on `texts`; control tokens come first, the tags of `labels` after them."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # The cuts of `clinical.models.pieces`, except that every digit stands alone.
            pre_tokenizers.Split(Regex(r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]|\s+(?!\S)|\s"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*CONTROL_TOKENS, *tag_tokens(labels)],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_batches(texts), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template=CHAT_TEMPLATE,
        model_input_names=["input_ids", "attention_mask"],
    )


def _batches(texts: Iterable[str], size: int = 512) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch
