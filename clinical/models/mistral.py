"""A Mistral (or another causal language model of `transformers`) in this process.

Weights are read from safetensors alone and no code that comes with a model is ever run. Nothing is
downloaded here: a model is the one that ships with the package, a folder, or one that is already in the
cache of the hub.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from clinical.errors import ClinicalError, UsageError
from clinical.models.chat import ChatFormat, detect
from clinical.models.fingerprint import check_base
from clinical.models.generation import generate
from clinical.models.language_model import Completion, OneOf, Request, Selection, TaggedCopy
from clinical.models.selection import choose
from clinical.models.settings import SMALL_MISTRAL
from clinical.models.tagging import decode
from clinical.models.text_tokens import TextTokens
from clinical.prompts.inline_tags import write_tags

SHIPPED = (SMALL_MISTRAL,)
# A batch holds this many tokens of prompt and answer: rows of a kind, of which the longest sets the pace.
BATCH_TOKENS = 8192
# Above this size a model is loaded in 4 bits where there is a GPU, and kept in its own precision on a CPU.
BIG_PARAMETERS = 1_000_000_000


@dataclass(frozen=True)
class Card:
    """What the `clinical.json` beside a model or adapter says of its use.

    `prompt` names the template of `ner` that it was trained with, `prompts` those of all tasks (a summary has
    one for each style, `summarize.brief`), `chunk_pieces` the size of the pieces of a note it
    saw, `adapters` the folders of adapters by task, `labels` those of `ner` that it was trained on (it takes
    others too, but of a small model they ask too much), `definitions` what those of the user's own mean.
    """

    prompt: str = "ner.v1"
    chunk_pieces: int = 200
    adapters: dict[str, str] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    definitions: dict[str, str] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)


def read_card(folder: Path) -> Card | None:
    """Return the card in this folder, `None` where it has none: then we did not train it."""
    path = folder / "clinical.json"
    if not path.is_file():
        return None
    known = json.loads(path.read_text(encoding="utf-8"))
    return Card(**{entry.name: known[entry.name] for entry in fields(Card) if entry.name in known})


def find_model(name: str) -> Path:
    """Return the folder of a shipped model, a folder by its path, or that of a hub id downloaded before.

    Raises `UsageError` with the choices when there is none.
    """
    if name in SHIPPED:
        return Path(str(resources.files("clinical.models").joinpath("weights", name)))
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _downloaded(name)
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} is not a model: it has no config.json")
    if not list(folder.glob("*.safetensors")):
        raise UsageError(f"{folder} has no .safetensors weights; other formats can run code and are not read")
    return folder


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        raise UsageError(
            f"no model {name!r} on this machine: give one of {', '.join(SHIPPED)}, a folder, "
            f"or a hub id that has been downloaded (`hf download {name}`)"
        ) from None


@dataclass(eq=False)
class LocalMistral:
    """A `MeasuringModel` in this process; every constraint is enforced."""

    name: str
    model: Any
    tokenizer: Any
    chat: ChatFormat

    def __post_init__(self) -> None:
        self._tokens = TextTokens(self.tokenizer, self.chat)
        pad = self.tokenizer.pad_token_id
        self._pad = int(self.tokenizer.eos_token_id if pad is None else pad)

    @property
    def window(self) -> int:
        """How many tokens a prompt and its answer may have together.

        No more than the attention sees at once: what has slid out of its window would not be read.
        """
        config = self.model.config
        positions = int(config.max_position_embeddings)
        return min(positions, getattr(config, "sliding_window", None) or positions)

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text has as part of a document."""
        return len(self._tokens.note(text))

    def complete(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one answer for each request, in their order.

        Raises `ClinicalError` for a prompt that the model cannot read as a whole.
        """
        prompts = [self._tokens.prompt(self.chat.write(request.messages)) for request in requests]
        answers: dict[int, Completion] = {}
        for batch in _batches(prompts, requests):
            answered = self._answer([prompts[number] for number in batch], [requests[n] for n in batch])
            answers.update(zip(batch, answered, strict=True))
        return [answers[number] for number in range(len(requests))]

    def _answer(self, prompts: list[list[int]], requests: list[Request]) -> list[Completion]:
        """Return the answers to requests of one kind."""
        tagged = [request.constraint for request in requests if isinstance(request.constraint, TaggedCopy)]
        if tagged:
            return self._tagged(prompts, tagged)
        self._check_length(prompts, requests)
        choices = [r.constraint for r in requests if isinstance(r.constraint, Selection | OneOf)]
        if choices:
            return choose(self.model, self._tokens, prompts, choices, self._pad)
        return generate(self.model, self.tokenizer, prompts, requests, self._pad)

    def _check_length(self, prompts: list[list[int]], requests: list[Request]) -> None:
        for prompt, request in zip(prompts, requests, strict=True):
            answer = request.max_new_tokens if request.constraint is None else 0
            if len(prompt) + answer > self.window:
                raise ClinicalError(
                    f"{self.name} reads {self.window} tokens at a time, and this prompt has {len(prompt)}"
                    + (f" and wants {answer} for the answer" if answer else "")
                    + "; give it less text, or take a model that reads more"
                )

    def _tagged(self, prompts: list[list[int]], constraints: list[TaggedCopy]) -> list[Completion]:
        found = decode(self.model, self._tokens, prompts, constraints, self._pad)
        return [
            Completion(
                write_tags(constraint.source, [(span.start, span.end, span.label) for span in spans]),
                tuple(spans),
                enforced=True,
            )
            for constraint, spans in zip(constraints, found, strict=True)
        ]


def _batches(prompts: Sequence[list[int]], requests: Sequence[Request]) -> Iterator[list[int]]:
    """Yield the numbers of the requests in batches of like kind and length, the longest first.

    The longest first, so that what does not fit into memory fails at once and not after an hour. What is
    drawn at random is drawn alone, so that it does not depend on its neighbours.
    """

    def size(number: int) -> int:
        request = requests[number]
        if request.constraint is None:
            return len(prompts[number]) + request.max_new_tokens
        return len(prompts[number]) * (2 if isinstance(request.constraint, TaggedCopy) else 1)

    def kind(number: int) -> tuple[str, int]:
        request = requests[number]
        alone = request.constraint is None and request.temperature > 0
        return type(request.constraint).__name__, number if alone else -1

    order = sorted(range(len(prompts)), key=lambda number: (kind(number), -size(number)))
    for _, group in groupby(order, kind):
        batch: list[int] = []
        for number in group:
            if batch and (len(batch) + 1) * size(batch[0]) > BATCH_TOKENS:
                yield batch
                batch = []
            batch.append(number)
        yield batch


def load(model: str, adapter: str | None = None, four_bit: bool | None = None) -> LocalMistral:
    """Return the model of this name with an adapter on it, ready to answer, on the GPU where there is one.

    `four_bit` loads it in 4-bit NF4; by default a big model on a GPU is. Raises `UsageError` when the model
    is not here, or when the adapter was trained on another.
    """
    folder = find_model(model)
    adapter_folder = Path(adapter).expanduser() if adapter else None
    if adapter_folder:
        if not (adapter_folder / "adapter_config.json").is_file():
            raise UsageError(f"{adapter} is not an adapter: it has no adapter_config.json")
        check_base(adapter_folder, folder)
    hush_libraries()
    tokenizer = load_tokenizer(folder)
    network = load_network(folder, four_bit)
    if adapter_folder:
        network = _with_adapter(network, adapter_folder)
    return LocalMistral(model, network.eval(), tokenizer, detect(tokenizer))


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a model folder."""
    from transformers import AutoTokenizer, LlamaTokenizer

    # From a SentencePiece file alone, AutoTokenizer makes a tokenizer whose words lack their blank.
    only_sentencepiece = (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file()
    loader = LlamaTokenizer if only_sentencepiece else AutoTokenizer
    return loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load_network(folder: Path, four_bit: bool | None = None) -> Any:
    """Return the weights of a folder: 4-bit NF4 if asked for or big on a GPU, fp32 if small on a CPU."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    cuda = torch.cuda.is_available()
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    big = size > 2 * BIG_PARAMETERS
    options: dict[str, Any] = {"dtype": "auto" if cuda or big else torch.float32}
    if (cuda and big) if four_bit is None else four_bit:
        compute = torch.bfloat16 if cuda else torch.float32
        options = {
            "dtype": compute,
            "quantization_config": BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=compute,
            ),
        }
    network = AutoModelForCausalLM.from_pretrained(
        folder,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        device_map={"": 0} if cuda else None,
        **options,
    )
    if "quantization_config" in options and not cuda:
        _without_packing(network)
    return network


def _without_packing(network: Any) -> None:
    """Keep 4-bit layers on a CPU as they are.

    On CPUs with AVX512-BF16 bitsandbytes 0.50 repacks a weight in the first forward pass in eval mode.
    Passes in training after that have no gradient through the layer, and go on, wrongly, without an error;
    and layers whose input is not a multiple of 64 cannot be packed and fail.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in network.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def hush_libraries() -> None:
    """Keep what libraries say while they load, which no user can act on, off the terminal."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    # It says that it cannot download a kernel; the one in its wheel is used, and nothing is to be downloaded.
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(
        lambda record: "kernels-community" not in record.getMessage()
    )


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Hold back a warning: peft 0.21 asks transformers for something by its old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield


def _with_adapter(network: Any, adapter: Path) -> Any:
    from peft import PeftModel

    with quiet_peft():
        adapted = PeftModel.from_pretrained(network, adapter, is_trainable=False, local_files_only=True)
    # Folding it in makes every pass faster; into 4-bit weights it cannot be folded without loss.
    return adapted if getattr(network, "is_quantized", False) else adapted.merge_and_unload()
