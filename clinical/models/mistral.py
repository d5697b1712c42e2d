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
from pathlib import Path
from typing import Any

from clinical.errors import UsageError
from clinical.models.chat import ChatFormat, detect
from clinical.models.fingerprint import check_base
from clinical.models.language_model import Completion, Request
from clinical.models.tagging import decode
from clinical.models.text_tokens import TextTokens
from clinical.prompts.inline_tags import write_tags

SHIPPED = ("clinical-tiny",)
# A batch holds this many tokens of prompt and answer: rows of a kind, of which the longest sets the pace.
BATCH_TOKENS = 8192
# Above this size a model is loaded in 4 bits where there is a GPU, and kept in its own precision on a CPU.
BIG_PARAMETERS = 1_000_000_000


@dataclass(frozen=True)
class Card:
    """What the `clinical.json` beside a model or adapter says of its use.

    `prompt` names the template that it was trained with, `chunk_pieces` the size of the pieces of a note it
    saw, `adapters` the folders of adapters by task, `labels` those of `ner` that it was trained on (it takes
    others too, but of a small model they ask too much).
    """

    prompt: str = "ner.v1"
    chunk_pieces: int = 200
    adapters: dict[str, str] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)


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


@dataclass
class LocalMistral:
    """A `LanguageModel` in this process. A tagged copy is enforced; without a constraint it is greedy."""

    name: str
    model: Any
    tokenizer: Any
    chat: ChatFormat

    def __post_init__(self) -> None:
        self._tokens = TextTokens(self.tokenizer, self.chat)
        pad = self.tokenizer.pad_token_id
        self._pad = int(self.tokenizer.eos_token_id if pad is None else pad)

    def complete(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one answer for each request, in their order."""
        prompts = [self._tokens.prompt(self.chat.write(request.messages)) for request in requests]
        answers: dict[int, Completion] = {}
        for batch in _batches(prompts, requests):
            if requests[batch[0]].constraint is None:
                answers |= {number: self._free(prompts[number], requests[number]) for number in batch}
            else:
                answers |= self._tagged({n: prompts[n] for n in batch}, {n: requests[n] for n in batch})
        return [answers[number] for number in range(len(requests))]

    def _tagged(self, prompts: dict[int, list[int]], requests: dict[int, Request]) -> dict[int, Completion]:
        constraints = [request.constraint for request in requests.values() if request.constraint is not None]
        found = decode(self.model, self._tokens, list(prompts.values()), constraints, self._pad)
        return {
            number: Completion(
                write_tags(constraint.source, [(span.start, span.end, span.label) for span in spans]),
                tuple(spans),
                enforced=True,
            )
            for number, constraint, spans in zip(prompts, constraints, found, strict=True)
        }

    def _free(self, prompt: list[int], request: Request) -> Completion:
        import torch

        ids = torch.tensor([prompt], device=self.model.device)
        with torch.inference_mode():
            answer = self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=request.max_new_tokens,
                do_sample=False,
                pad_token_id=self._pad,
            )
        text = self.tokenizer.decode(answer[0, len(prompt) :], skip_special_tokens=True)
        return Completion(text.strip())


def _batches(prompts: Sequence[list[int]], requests: Sequence[Request]) -> Iterator[list[int]]:
    """Yield the numbers of the requests in batches of like kind and length, the longest first.

    The longest first, so that what does not fit into memory fails at once and not after an hour.
    """

    def size(number: int) -> int:
        return 2 * len(prompts[number])

    order = sorted(
        range(len(prompts)), key=lambda number: (requests[number].constraint is None, -size(number))
    )
    batch: list[int] = []
    for number in order:
        full = bool(batch) and (len(batch) + 1) * size(batch[0]) > BATCH_TOKENS
        other_kind = bool(batch) and (requests[batch[0]].constraint is None) != (
            requests[number].constraint is None
        )
        if full or other_kind:
            yield batch
            batch = []
        batch.append(number)
    if batch:
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
