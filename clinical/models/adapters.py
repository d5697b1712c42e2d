"""The user's adapters: LoRA weights that are known by name, each tied to the base that it was trained on.

    clinical models add out/ner --name ner-july
    clinical models use clinical-mini --adapter ner-july --task ner
    clinical ner note.txt --model clinical-mini

An adapter lies in a folder of its own below the user's data folder, as it came, with a record of what it is
(`adapter.json`): base and its fingerprint, tokenizer, chat format, tasks, held-out score, checksums. On another
base, another tokenizer or another chat format it would answer nonsense without an error; so it is refused there.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clinical.errors import ClinicalError, UsageError
from clinical.models import settings
from clinical.models.fingerprint import file_sha256, fingerprint, tokenizer_sha256

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
CARD = "clinical.json"
RECORD = "adapter.json"
TASKS = ("ner", "search", "ask", "summarize")
PROBE_MEGABYTES = 500
"""A base up to this size is loaded when an adapter is verified."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Adapter:
    """An adapter of the registry. `base` is a name or folder of a model; `dev_score` that on held-out rows."""

    name: str
    base: str
    base_fingerprint: str
    tokenizer_sha256: str = ""
    chat: str = ""
    tasks: tuple[str, ...] = ()
    prompt: str = ""
    rank: int = 0
    dev_score: float | None = None
    added: str = ""
    source: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return adapters_folder() / self.name


@dataclass(frozen=True)
class Check:
    """One thing that was verified, and what is wrong with it; empty when it holds."""

    what: str
    fault: str = ""


def adapters_folder() -> Path:
    """Return the folder of the user's adapters; it need not exist."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "clinical" / "adapters"


def registered() -> list[Adapter]:
    """Return all adapters of the registry, by name."""
    return [_read(path.parent) for path in sorted(adapters_folder().glob(f"*/{RECORD}"))]


def find(name: str) -> Adapter:
    """Return the adapter of this name; raises `UsageError` with the nearest one."""
    table = {adapter.name: adapter for adapter in registered()}
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"no adapter {name!r}; {hint}there are: {', '.join(table) or 'none'}; give a folder, or add one with "
        "`clinical models add DIR`"
    )


def folder_of(name: str) -> Path:
    """Return the folder of an adapter: a folder by its path, or one of the registry by name."""
    path = Path(name).expanduser()
    if (path / CONFIG).is_file():
        return path
    if path.is_dir():
        raise UsageError(f"{name} is not an adapter: it has no {CONFIG}")
    return find(name).folder


def default_for(base: Path, task: str) -> Path | None:
    """Return the adapter that the user has chosen for a task on this base, if there is one."""
    chosen = settings.chosen_adapters()
    if not chosen:
        return None
    name = chosen.get(fingerprint(base), {}).get(task)
    return find(name).folder if name else None


def choose(base: Path, task: str, name: str | None) -> None:
    """Make an adapter the default for a task on this base; `None` goes back to the model's own.

    Raises `UsageError` when the adapter was trained on another base.
    """
    mark = fingerprint(base)
    if name is not None:
        adapter = find(name)
        if adapter.base_fingerprint != mark:
            raise UsageError(
                f"adapter {name} was trained on another base ({adapter.base}, fingerprint "
                f"{adapter.base_fingerprint}; {base} has {mark}); choose it for that one"
            )
    settings.choose_adapter(mark, task, name)


def add(folder: Path, base: Path, base_name: str, name: str | None = None) -> Adapter:
    """Copy an adapter into the registry and return it.

    Raises `UsageError` for a folder that is no adapter, a name that is taken, or another base than its card names.
    """
    if not (folder / CONFIG).is_file():
        raise UsageError(f"{folder} is not an adapter: it has no {CONFIG}")
    if not (folder / WEIGHTS).is_file():
        raise UsageError(f"{folder} has no {WEIGHTS}; other formats can run code and are not read")
    name = name or folder.resolve().name
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a name: letters, digits, dot, dash and underscore; give one with --name"
        )
    target = adapters_folder() / name
    if target.exists():
        raise UsageError(
            f"there is an adapter {name!r}; give another --name, or `clinical models rm {name}` first"
        )
    adapter = _described(folder, base, base_name, name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / name
            made.mkdir()
            for file in (*adapter.files, "README.md"):
                if (folder / file).is_file():
                    shutil.copyfile(folder / file, made / file)
            (made / RECORD).write_text(json.dumps(asdict(adapter), indent=1) + "\n", encoding="utf-8")
            made.rename(target)
    except OSError as error:
        raise ClinicalError(f"cannot write {target}: {error.strerror}") from error
    return adapter


def remove(name: str) -> None:
    """Delete an adapter, and take it out of the user's choices."""
    folder = find(name).folder
    for mark, tasks in settings.chosen_adapters().items():
        for task, chosen in tasks.items():
            if chosen == name:
                settings.choose_adapter(mark, task, None)
    shutil.rmtree(folder)


def _described(folder: Path, base: Path, base_name: str, name: str) -> Adapter:
    card = _json(folder / CARD)
    config = _json(folder / CONFIG)
    mark, vocabulary = fingerprint(base), tokenizer_sha256(base)
    for what, wanted, found in (
        ("base", card.get("base_fingerprint"), mark),
        ("tokenizer", card.get("tokenizer_sha256"), vocabulary),
    ):
        if wanted and wanted != found:
            raise UsageError(
                f"{folder} was trained on another {what} ({wanted}; {base_name} has {found}); "
                f"name the right one with --base{_said(card)}"
            )
    files = {
        file: file_sha256(folder / file) for file in (WEIGHTS, CONFIG, CARD) if (folder / file).is_file()
    }
    tasks = card.get("tasks") or (["ner"] if "prompt" in card else [])
    return Adapter(
        name=name,
        base=base_name,
        base_fingerprint=mark,
        tokenizer_sha256=vocabulary,
        chat=str(card.get("chat") or ""),
        tasks=tuple(tasks),
        prompt=str(card.get("prompt") or ""),
        rank=int(config.get("r") or 0),
        dev_score=card.get("dev_score"),
        added=datetime.now(UTC).isoformat(timespec="seconds"),
        source=str(folder.resolve()),
        files=files,
    )


def _said(card: Mapping[str, Any]) -> str:
    return f"; its card says {card['base']}" if card.get("base") else ""


def verify(adapter: Adapter, base: Path) -> Iterator[Check]:
    """Yield what was checked of an adapter against a base, the quick things first.

    A base of up to 500 MB is loaded with the adapter on it, and its answer to a few tokens looked at.
    """
    yield Check("checksums", _changed(adapter))
    mark = fingerprint(base)
    fault = (
        "" if mark == adapter.base_fingerprint else f"{adapter.base_fingerprint} is wanted, {base} has {mark}"
    )
    yield Check("base", fault)
    vocabulary = tokenizer_sha256(base)
    same = vocabulary == adapter.tokenizer_sha256
    yield Check("tokenizer", "" if same else f"{adapter.tokenizer_sha256} is wanted, {base} has {vocabulary}")
    yield Check("chat format", _other_chat(adapter, base))
    yield Check("prompt", _other_prompt(adapter))
    if fault:
        return
    megabytes = sum(path.stat().st_size for path in base.glob("*.safetensors")) / 1e6
    if megabytes <= PROBE_MEGABYTES:
        yield Check("loads and answers", _does_not_answer(adapter, base))


def _changed(adapter: Adapter) -> str:
    missing = [file for file in adapter.files if not (adapter.folder / file).is_file()]
    if missing:
        return f"missing: {', '.join(missing)}"
    other = [file for file, known in adapter.files.items() if file_sha256(adapter.folder / file) != known]
    return f"changed since it was added: {', '.join(other)}" if other else ""


def _other_chat(adapter: Adapter, base: Path) -> str:
    from clinical.models.chat import detect
    from clinical.models.mistral import load_tokenizer

    found = detect(load_tokenizer(base)).name
    return "" if adapter.chat in ("", found) else f"{adapter.chat} is wanted, {base} speaks {found}"


def _other_prompt(adapter: Adapter) -> str:
    """Return what is wrong with the prompts that the adapter was trained with, as they are in this version."""
    from clinical.prompts import templates

    card = _json(adapter.folder / CARD)
    known = card.get("prompts_sha256", {})
    wanted = {prompt: known[task] for task, prompt in card.get("prompts", {}).items() if task in known}
    if card.get("prompt") and card.get("prompt_sha256"):
        wanted[card["prompt"]] = card["prompt_sha256"]
    other = []
    for name, sha256 in wanted.items():
        try:
            same = templates.load(name).sha256 == sha256
        except UsageError:
            same = False
        if not same:
            other.append(name)
    return f"not as it was trained with: {', '.join(other)}; train it anew or give --prompt" if other else ""


def _does_not_answer(adapter: Adapter, base: Path) -> str:
    import torch
    from peft import PeftModel
    from safetensors import safe_open

    from clinical.models.mistral import hush_libraries, load_network, quiet_peft

    hush_libraries()
    ids = torch.tensor([[1, 3, 5, 7, 11, 13]])
    network = load_network(base, four_bit=False)
    with torch.inference_mode():
        plain = network(ids.to(network.device)).logits
        with quiet_peft():
            adapted = PeftModel.from_pretrained(network, adapter.folder, is_trainable=False).eval()
        answered = adapted(ids.to(network.device)).logits
    with safe_open(adapter.folder / WEIGHTS, "pt") as weights:
        stored = sum("lora_" in name for name in weights.keys())  # noqa: SIM118
    taken = sum("lora_" in name for name, _ in adapted.named_parameters())
    if stored != taken:
        return f"it has {stored} weights and the base takes {taken}"
    if not bool(torch.isfinite(answered).all()):
        return "its answer is not a number"
    return "it changes nothing" if torch.equal(plain, answered) else ""


def _read(folder: Path) -> Adapter:
    known = _json(folder / RECORD)
    try:
        values = {entry.name: known[entry.name] for entry in fields(Adapter) if entry.name in known}
        return Adapter(**{**values, "tasks": tuple(known.get("tasks", ()))})
    except TypeError as error:
        raise ClinicalError(
            f"{folder / RECORD} is damaged; delete {folder} and add the adapter again"
        ) from error


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClinicalError(f"{path} cannot be read ({error})") from error
    return known if isinstance(known, dict) else {}
