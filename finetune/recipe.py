"""Training recipes: one YAML file says everything about a training run, and nothing else decides it.

    clinical finetune --list
    clinical finetune suite-mistral-7b-qlora --set lora.r=32 --out out/suite

A file is checked as a whole before anything is read or loaded: every fault is named with its line, an unknown
key with the nearest known one. The dataclasses below are the schema; their comments say what each key does.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from clinical.corpora.qa import QUESTION_COLUMNS
from clinical.corpora.row_files import NAMES
from clinical.errors import UsageError
from clinical.scoring.gold import RECORD_COLUMNS

COLUMNS: Mapping[str, Sequence[str]] = {
    "ner": RECORD_COLUMNS, "search": QUESTION_COLUMNS, "ask": QUESTION_COLUMNS,
}  # fmt: skip
Task = Literal["chat", "text", "ner", "search", "ask", "summarize"]
Method = Literal["lora", "qlora", "full"]


def names_of(task: Task) -> Sequence[str]:
    """Return what a column map may name in a file of this task."""
    return COLUMNS.get(task, tuple(NAMES))


@dataclass(frozen=True)
class Lora:
    """The adapter: `targets` are `all-linear`, or names of layers such as `q_proj`.

    `start` is the adapter to go on from: a folder, or a task that the base has an adapter for.
    """

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = ("all-linear",)
    start: str = ""


@dataclass(frozen=True)
class Source:
    """Where rows come from: `corpus` (`bc5cdr:train`, a reader of `clinical.corpora`) or a `file` of the user.

    The corpus `synthetic` is of made-up notes: for `ner` marked, for `ask` and `search` with questions.

    `columns` says how a file calls what we call `question`, `answer`, `system`, `context`, `text`, `chat` (a whole
    conversation with speaker tags) or `messages`; without it the usual names are understood. Of annotated texts (`ner`)
    the names are `text` and `entities`, of questions on texts (`search`, `ask`) `question`, `text` and `answers`.
    `where` keeps the entries of a conversation file whose columns have these values. `weight` is how often a pass reads
    the source: 0.5 is a random half, 2 twice. `limit` keeps the first rows. `style` is that of `summarize`. `system`
    stands before every conversation of `chat`.
    """

    task: Task = "chat"
    corpus: str = ""
    file: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1.0
    limit: int | None = None
    style: str = "brief"
    system: str = ""

    @property
    def name(self) -> str:
        """What messages call it; of a file the last part alone."""
        return self.corpus or Path(self.file).name


@dataclass(frozen=True)
class Training:
    """How the weights move. `warmup` is a share of all steps; `max_steps` 0 leaves it to `epochs`.

    `loss`: `answers` trains on what the model is to write, `all` on every token, `decisions` (ner) on the choices
    that constrained decoding leaves, with `copy_weight` for the rest. `checkpointing` recomputes activations in the
    backward pass: a third more time, a fraction of the memory. `group_by_length` wastes less on padding.
    """

    epochs: float = 1.0
    max_steps: int = 0
    batch: int = 1
    accumulation: int = 1
    learning_rate: float = 2e-4
    schedule: Literal["cosine", "constant", "constant_with_warmup", "linear"] = "cosine"
    warmup: float = 0.03
    optimizer: Literal["adamw_torch", "paged_adamw_32bit", "paged_adamw_8bit", "adamw_bnb_8bit"] = (
        "adamw_torch"
    )
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    checkpointing: bool = False
    group_by_length: bool = False
    loss: Literal["answers", "all", "decisions"] = "answers"
    copy_weight: float = 0.2
    log_every: int = 10
    seed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """Scores during training, every so many steps (0: at the end of each epoch), on the first `rows` held-out rows.

    `metric` `auto` is that of the task (ner: strict F1, search and ask: F1 of the selection, summarize: ROUGE-L),
    the mean where there are several, and the loss where there is none; `cosine` compares free answers with the
    reference by sentence embeddings. The adapter that scores best is kept, and `patience` evaluations without a
    better one end the training (0: never).
    """

    every: int = 0
    rows: int = 200
    metric: Literal["auto", "loss", "cosine"] = "auto"
    embedder: str = "sentence-transformers/paraphrase-MiniLM-L6-v2"
    max_new_tokens: int = 128
    patience: int = 0


@dataclass(frozen=True)
class Saving:
    """Checkpoints to resume from, every so many steps (0: wherever is evaluated), the last `keep` of them."""

    every: int = 0
    keep: int = 2


@dataclass(frozen=True)
class Recipe:
    """One training run. `hold_out` is the share of rows set apart for evaluation where `dev` names none.

    `precision` is that of the arithmetic: `auto` is bf16 on a GPU and fp32 on a CPU, where bf16 is slower.
    `max_length` is in tokens; a longer row is an error unless `allow_truncated` permits so many of them, whose
    ends are then cut off. `packing` fills sequences of `max_length` with several rows. `prompt` names the template
    of a task by the task's name. `labels` says what labels of your own mean, as `Problem: a diagnosis or complaint`:
    a definition stands in the prompt. `deploy` says what the last message tells to do with the adapter.
    """

    base: str
    data: tuple[Source, ...]
    method: Method = "lora"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    chat: Literal["auto", "v1", "v3", "llama2", "plain"] = "auto"
    prompt: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    chunk_pieces: int = 200
    max_length: int = 2048
    allow_truncated: int = 0
    packing: bool = False
    dev: tuple[Source, ...] = ()
    hold_out: float = 0.0
    lora: Lora = field(default_factory=Lora)
    train: Training = field(default_factory=Training)
    evaluate: Evaluation = field(default_factory=Evaluation)
    save: Saving = field(default_factory=Saving)
    deploy: Literal["adapter", "merge"] = "adapter"
    name: str = ""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that its rows teach, each once."""
        return tuple(dict.fromkeys(source.task for source in self.data))

    @property
    def rows_per_step(self) -> int:
        """How many rows one step of the optimizer sees on one device."""
        return self.train.batch * self.train.accumulation

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, as it is stored beside the weights."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def available() -> dict[str, str]:
    """Return the packaged recipes and the first sentence of each one's head comment."""
    folder = resources.files("clinical.finetune").joinpath("recipes")
    # The files with a hyphen are recipes of this schema; others belong to a single command.
    names = sorted(entry.name for entry in folder.iterdir() if "-" in entry.name)
    return {name.removesuffix(".yaml"): _headline(folder.joinpath(name).read_text("utf-8")) for name in names}


def _headline(text: str) -> str:
    return text.split("\n", 1)[0].removeprefix("#").strip().removesuffix(".")


def load(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Return the packaged recipe of this name, or that of a file, with `key=value` changes.

    Raises `UsageError` with every fault, each with its line.
    """
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read the recipe {name}: {error}") from error
        return parse(text, Path(name).name, changes)
    known = available()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"no recipe {name!r}; {hint}available: {', '.join(known)}; or give a .yaml file")
    text = resources.files("clinical.finetune").joinpath("recipes", f"{name}.yaml").read_text("utf-8")
    return parse(text, f"{name}.yaml", changes)


def parse(text: str, source: str, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a YAML text; raises `UsageError` that names every fault of it, one a line."""
    reader = _Reader(source)
    table = reader.table(text)
    reader.change(table, changes)
    recipe: Recipe | None = reader.build(Recipe, table, ())
    if recipe is not None:
        reader.check(recipe)
    if reader.faults or recipe is None:
        raise UsageError(reader.all())
    return recipe if recipe.name else replace(recipe, name=Path(source).stem)


Key = tuple[str | int, ...]
T = TypeVar("T")
_NO_VALUE = object()


class _Reader:
    """Builds dataclasses from YAML, collecting what is wrong and where."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.faults: list[str] = []
        self.lines: dict[Key, str] = {}

    def all(self) -> str:
        """Return the faults as one message, one a line."""
        faults = list(dict.fromkeys(self.faults))
        if len(faults) == 1:
            return faults[0]
        return f"{self.source} has {len(faults)} faults:\n" + "\n".join(f"  {fault}" for fault in faults)

    def fault(self, key: Key, what: str) -> Any:
        """Note a fault at this key; what comes back marks a value that there is none for."""
        # A key that only a change of the call wrote stands in no line of the file.
        within = (line for known, line in self.lines.items() if known[: len(key)] == key)
        around = (self.lines[key[:end]] for end in range(len(key), -1, -1) if key[:end] in self.lines)
        place = self.lines.get(key) or next(within, None) or next(around, self.source)
        self.faults.append(f"{place}: {what}")
        return _NO_VALUE

    def table(self, text: str) -> dict[str, Any]:
        """Return the YAML map, remembering the line of every key."""
        import yaml

        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            found = self._node((), node) if node is not None else None
        except yaml.YAMLError as error:
            raise UsageError(f"{self.source} is not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(found, dict):
            raise UsageError(f"{self.source} is not a recipe: write `key: value` lines")
        return found

    def _node(self, key: Key, node: Any) -> Any:
        import yaml

        self.lines.setdefault(key, f"{self.source}:{node.start_mark.line + 1}")
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            for key_node, value_node in node.value:
                name = str(key_node.value)
                self.lines[*key, name] = f"{self.source}:{key_node.start_mark.line + 1}"
                if name in found:
                    self.fault((*key, name), f"{_dotted((*key, name))} stands there twice")
                found[name] = self._node((*key, name), value_node)
            return found
        if isinstance(node, yaml.SequenceNode):
            return [self._node((*key, number), item) for number, item in enumerate(node.value)]
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_object(node)
        finally:
            loader.dispose()

    def change(self, table: dict[str, Any], changes: Sequence[str]) -> None:
        """Put `a.b=value` changes into the map."""
        import yaml

        for change in changes:
            path, equals, text = change.partition("=")
            key: Key = tuple(int(part) if part.isdigit() else part for part in path.strip().split("."))
            if not equals or not path.strip():
                raise UsageError(f"--set {change!r}: write it as key=value, as in lora.r=32")
            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise UsageError(f"--set {change!r}: {text!r} is no YAML value") from error
            self._put(table, key, value, change)

    def _put(self, table: Any, key: Key, value: Any, change: str) -> None:
        place = table
        for part in key[:-1]:
            if isinstance(place, list) and isinstance(part, int) and part < len(place):
                place = place[part]
            elif isinstance(place, dict):
                place = place.setdefault(str(part), {})
            else:
                break
        last = key[-1]
        if isinstance(place, list) and isinstance(last, int) and last < len(place):
            place[last] = value
        elif isinstance(place, dict):
            place[str(last)] = value
        else:
            raise UsageError(f"--set {change!r}: the recipe has no {_dotted(key)}")
        for known in [known for known in self.lines if known[: len(key)] == key]:
            del self.lines[known]
        self.lines[key] = f"--set {change}"

    def build(self, kind: type[T], table: Mapping[str, Any], key: Key) -> T | None:
        """Return the dataclass that the map describes, `None` when it cannot be made."""
        known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
        hints = typing.get_type_hints(kind)
        values: dict[str, Any] = {}
        for name, value in table.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {_dotted((*key, near[0]))}?" if near else f"known: {', '.join(known)}"
                self.fault((*key, name), f"no key {_dotted((*key, name))!r}; {hint}")
                continue
            found = self._value(hints[name], value, (*key, name))
            # A faulty value counts as its default, so that the rest can still be checked.
            if found is not _NO_VALUE:
                values[name] = found
        missing = [name for name, entry in known.items() if name not in values and _required(entry)]
        for name in missing:
            if name not in table:
                self.fault(key, f"{_dotted((*key, name))} is missing")
        return None if missing else kind(**values)

    def _value(self, kind: Any, value: Any, key: Key) -> Any:
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin is types.UnionType:
            if value is None and type(None) in inner:
                return None
            return self._value(next(one for one in inner if one is not type(None)), value, key)
        if origin is Literal:
            return self._choice(inner, value, key)
        if is_dataclass(kind) and isinstance(kind, type):
            if not isinstance(value, dict):
                return self.fault(key, f"{_dotted(key)} wants keys of its own, not {value!r}")
            built = self.build(kind, value, key)
            return _NO_VALUE if built is None else built
        if origin is tuple:
            items = value if isinstance(value, list) else [value]
            made = [self._value(inner[0], item, (*key, number)) for number, item in enumerate(items)]
            return tuple(item for item in made if item is not _NO_VALUE)
        if origin is Mapping:
            if not isinstance(value, dict):
                return self.fault(key, f"{_dotted(key)} wants `name: value` lines, not {value!r}")
            pairs = {name: self._value(inner[1], item, (*key, name)) for name, item in value.items()}
            return {name: item for name, item in pairs.items() if item is not _NO_VALUE}
        return self._scalar(kind, value, key)

    def _choice(self, choices: tuple[Any, ...], value: Any, key: Key) -> Any:
        if value in choices:
            return value
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return self.fault(key, f"{_dotted(key)} cannot be {value!r}; {hint}choices: {', '.join(choices)}")

    def _scalar(self, kind: Any, value: Any, key: Key) -> Any:
        if kind is float and isinstance(value, str):
            try:  # YAML 1.1 reads 2e-4 as a word
                return float(value)
            except ValueError:
                pass
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
        return self.fault(key, f"{_dotted(key)} wants {wanted}, not {value!r}")

    def check(self, recipe: Recipe) -> None:
        """Note what is well written but cannot be."""
        for key, wrong in _contradictions(recipe):
            self.fault(key, wrong)


def _required(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _dotted(key: Key) -> str:
    return ".".join(map(str, key))


def _contradictions(recipe: Recipe) -> Iterable[tuple[Key, str]]:
    """Yield the keys whose values do not go together, with what is wrong."""
    train, lora, save = recipe.train, recipe.lora, recipe.save
    for key, value in (
        (("lora", "r"), lora.r),
        (("train", "batch"), train.batch),
        (("train", "accumulation"), train.accumulation),
        (("train", "log_every"), train.log_every),
        (("max_length",), recipe.max_length),
        (("save", "keep"), save.keep),
    ):
        if value < 1:
            yield key, f"{_dotted(key)} must be at least 1, not {value}"
    if train.learning_rate <= 0:
        yield ("train", "learning_rate"), "train.learning_rate must be above 0"
    if train.epochs <= 0 and train.max_steps <= 0:
        yield ("train", "epochs"), "train.epochs or train.max_steps must be above 0"
    for key, share in ((("train", "warmup"), train.warmup), (("hold_out",), recipe.hold_out)):
        if not 0 <= share < 1:
            yield key, f"{_dotted(key)} is a share from 0 to below 1, not {share}"
    if not recipe.data:
        yield ("data",), "data names no source"
    for part, sources in (("data", recipe.data), ("dev", recipe.dev)):
        for number, source in enumerate(sources):
            if not source.corpus and not source.file:
                yield (part, number), f"{part}.{number} names neither a corpus nor a file"
            if source.weight <= 0:
                yield (part, number, "weight"), f"{part}.{number}.weight must be above 0"
            ours = names_of(source.task)
            if unknown := sorted(set(source.columns) - set(ours)):
                yield (
                    (part, number, "columns", unknown[0]),
                    f"{part}.{number}.columns: no column {unknown[0]!r} of ours; there are {', '.join(ours)}",
                )
            for name, given in (("columns", source.columns), ("where", source.where)):
                if given and (source.corpus or (name == "where" and source.task in COLUMNS)):
                    what = "a corpus" if source.corpus else f"rows of {source.task}"
                    yield (part, number, name), f"{part}.{number}.{name} is not for {what}"
    if train.loss == "decisions" and set(recipe.tasks) != {"ner"}:
        yield ("train", "loss"), "train.loss decisions is for rows of the task ner alone"
    if train.loss == "decisions" and recipe.packing:
        yield ("packing",), "packing does not go with train.loss decisions"
    if recipe.method == "full" and recipe.precision == "bf16":
        yield ("precision",), "training all weights wants fp32 weights (precision: fp32 or auto)"
    every = recipe.evaluate.every
    if every and save.every and max(every, save.every) % min(every, save.every):
        yield ("save", "every"), "save.every and evaluate.every must be multiples of each other"
