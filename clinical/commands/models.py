"""`clinical models`: which models and adapters there are, which are used, and what can be made of them."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from clinical.commands.options import Name
from clinical.commands.tables import print_table
from clinical.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clinical.models.adapters import Adapter
    from clinical.models.inventory import Found


def tasks() -> Sequence[str]:
    """Return the tasks that an adapter can be chosen for."""
    from clinical.models.adapters import TASKS

    return TASKS


@click.group()
def models() -> None:
    """List models and adapters, choose those to use, merge and export them, and show the labels they look for.

    \b
    Examples:
      clinical models list
      clinical models use clinical-mini
      clinical models add out/ner
      clinical models use clinical-mini --adapter ner --task ner
      clinical models labels
    """


@models.command("list")
def list_models() -> None:
    """List the models and adapters on this machine; the star marks what is used by default.

    \b
    Examples:
      clinical models list
    """
    from clinical.models.adapters import registered
    from clinical.models.inventory import found_models
    from clinical.models.settings import chosen_adapters, chosen_model

    chosen = chosen_model()
    found = found_models()
    rows = [
        (
            "*" if model.name == chosen else "",
            model.name,
            model.system,
            model.origin,
            "" if model.megabytes is None else f"{model.megabytes:.1f} MB",
        )
        for model in found
    ]
    if chosen and all(model.name != chosen for model in found):
        rows.append(("*", chosen, "mistral", "chosen", ""))
    used = {name for of in chosen_adapters().values() for name in of.values()}
    rows += [
        (
            "*" if a.name in used else "",
            a.name,
            "mistral",
            f"adapter for {', '.join(a.tasks) or '?'} on {a.base}",
            _size(a),
        )
        for a in registered()
    ]
    print_table(("", "model", "system", "origin", "size"), rows)


def _size(adapter: Adapter) -> str:
    size = sum(path.stat().st_size for path in adapter.folder.iterdir() if path.is_file())
    return f"{size / 1e6:.1f} MB"


@models.command()
@click.argument("name", required=False)
def show(name: str | None) -> None:
    """Show one model or adapter, by default the chosen model: its system, folder and card.

    \b
    Examples:
      clinical models show
      clinical models show light-ner
    """
    from clinical.models.connection import is_address
    from clinical.models.settings import chosen_model

    name = name or chosen_model()
    if name is None:
        click.echo("No model is chosen; the light system is used. Choose one: clinical models use NAME")
        return
    if is_address(name):
        click.echo(f"{name}: system mistral, behind a URL")
        return
    if (adapter := _adapter(name)) is not None:
        _show_adapter(adapter)
        return
    found = _find(name)
    click.echo(f"{found.name}: system {found.system}, {found.origin}")
    if found.folder is None:
        return
    click.echo(f"folder: {found.folder}")
    for card in ("README.md", "CARD.md", "card.md"):
        if (found.folder / card).is_file():
            click.echo((found.folder / card).read_text(encoding="utf-8"))


def _show_adapter(adapter: Adapter) -> None:
    from clinical.finetune.serving import serve_adapter

    score = "unknown" if adapter.dev_score is None else f"{adapter.dev_score:g}"
    for key, value in (
        ("adapter", adapter.name),
        ("base", f"{adapter.base} (fingerprint {adapter.base_fingerprint})"),
        ("tokenizer", adapter.tokenizer_sha256),
        ("chat format", adapter.chat or "unknown"),
        ("tasks", ", ".join(adapter.tasks) or "unknown"),
        ("prompt", adapter.prompt or "unknown"),
        ("rank", str(adapter.rank)),
        ("held-out score", score),
        ("added", f"{adapter.added} from {adapter.source}"),
        ("folder", str(adapter.folder)),
    ):
        click.echo(f"{key}: {value}")
    for line in serve_adapter(_served(adapter.base), adapter.folder, adapter.name, adapter.rank):
        click.echo(f"to serve it: {line}" if line.startswith("vllm") else f"to use it then: {line}")


def _served(base: str) -> str:
    """Return what a server is to be told of a base: the folder of a shipped one, whose name it does not know."""
    from clinical.models.mistral import SHIPPED, find_model

    return str(find_model(base)) if base in SHIPPED else base


@models.command()
@click.argument("name", required=False)
@click.option("--adapter", metavar="A", help="Use this adapter of the registry on the model.")
@click.option(
    "--task", metavar="T", type=Name("task", tasks), help="For this task.  [default: those of the adapter]"
)
@click.option("--no-adapter", is_flag=True, help="Go back to the model's own adapter, or none.")
@click.option("--none", is_flag=True, help="Go back to no chosen model.")
def use(name: str | None, adapter: str | None, task: str | None, no_adapter: bool, none: bool) -> None:
    """Make a model the default one of the mistral system, and an adapter the default for a task on it.

    A model is a name, a folder, a downloaded hub id or the URL of a server. The environment variable CLINICAL_MODEL
    goes before this setting, --model and --adapter before both.

    \b
    Examples:
      clinical models use clinical-mini
      clinical models use /models/Mistral-7B-Instruct-v0.3 --adapter ner-july --task ner
      clinical models use clinical-mini --task ner --no-adapter
      clinical models use --none
    """
    from clinical.models.settings import choose_model, settings_file

    if none == (name is not None):
        raise UsageError("give the name of a model, or --none to go back; clinical models list shows them")
    if name is None:
        if adapter or task or no_adapter:
            raise UsageError("--none takes nothing else with it")
        choose_model(None)
        click.echo(f"no model is now the default ({settings_file()})", err=True)
        return
    if adapter and no_adapter:
        raise UsageError("--adapter and --no-adapter say two things; give one of them")
    from clinical.models.loading import weights_folder

    base = weights_folder(name)
    if adapter or no_adapter:
        if base is None:
            raise UsageError(f"an adapter is the server's to load; name it as a model: {name}#name")
        _choose_adapter(base, adapter, task)
    elif task:
        raise UsageError("--task goes with --adapter or --no-adapter")
    folder = Path(name).expanduser()
    # A folder is to be found from everywhere, not only from here.
    name = str(folder.resolve()) if folder.is_dir() else name
    choose_model(name)
    click.echo(f"{name} is now the default ({settings_file()})", err=True)


def _choose_adapter(base: Path, name: str | None, task: str | None) -> None:
    from clinical.models import adapters

    if name is None:
        wanted = [task] if task else list(adapters.TASKS)
    else:
        found = adapters.find(name)
        wanted = [task] if task else list(found.tasks)
        if not wanted:
            raise UsageError(f"nobody knows what {name} was trained for; say it with --task")
    for each in wanted:
        adapters.choose(base, each, name)
        click.echo(f"{each}: {name or 'no adapter of the registry'}", err=True)


@models.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", metavar="N", help="What to call it.  [default: the name of the folder]")
@click.option("--base", metavar="M", help="The model it was trained on.  [default: what its card says]")
def add(folder: Path, name: str | None, base: str | None) -> None:
    """Copy an adapter into the registry, so that it can be used by its name.

    DIR is a folder with adapter_config.json and adapter_model.safetensors, as `clinical finetune` and peft write it.
    The base must be on this machine: its fingerprint is kept, and the adapter is refused on any other.

    \b
    Examples:
      clinical models add out/ner --name ner-july
      clinical models add downloads/their-lora --base /models/Mistral-7B-Instruct-v0.3
    """
    from clinical.models import adapters
    from clinical.models.mistral import find_model

    base = base or _named_base(folder)
    given = Path(base).expanduser()
    adapter = adapters.add(folder, find_model(base), str(given.resolve()) if given.is_dir() else base, name)
    click.echo(
        f"{adapter.name}: for {', '.join(adapter.tasks) or 'unknown tasks'} on {adapter.base}", err=True
    )
    for task in adapter.tasks:
        click.echo(f"clinical models use {adapter.base} --adapter {adapter.name} --task {task}")


@models.command()
@click.argument("name")
@click.option(
    "--base", metavar="M", help="Verify it against this model.  [default: the one it was added with]"
)
@click.pass_context
def verify(ctx: click.Context, name: str, base: str | None) -> None:
    """Check an adapter: its files, its base, tokenizer, chat format and prompt; load it if the base is small.

    \b
    Examples:
      clinical models verify ner-july
      clinical models verify ner-july --base /models/Mistral-7B-Instruct-v0.3
    """
    from clinical.models import adapters
    from clinical.models.mistral import find_model

    adapter = adapters.find(name)
    failed = False
    for check in adapters.verify(adapter, find_model(base or adapter.base)):
        click.echo(f"{check.what}: {check.fault or 'ok'}")
        failed = failed or bool(check.fault)
    ctx.exit(1 if failed else 0)


@models.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rm(name: str, yes: bool) -> None:
    """Delete an adapter of the registry. What it was copied from stays.

    \b
    Examples:
      clinical models rm ner-july
    """
    from clinical.models import adapters

    if _adapter(name) is None and any(model.name == name for model in _models()):
        raise UsageError(f"{name} is no adapter of the registry; a model is not deleted from here")
    adapter = adapters.find(name)
    if not yes and not (sys.stdin.isatty() and click.confirm(f"delete {adapter.folder}?", err=True)):
        raise UsageError(f"{name} was kept; --yes deletes it without asking")
    adapters.remove(name)
    click.echo(f"{name} is deleted", err=True)


@models.command()
@click.argument("names", metavar="[BASE] ADAPTER", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    "--out",
    "out",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="Write the merged model here.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Of the weights on disk.  [default: the base's own]",
)
def merge(
    names: tuple[str, ...], out: Path, precision: Literal["float32", "bfloat16", "float16"] | None
) -> None:
    """Fold an adapter into its base: one model folder that needs no adapter any more.

    ADAPTER is a name of the registry or a folder; without BASE it is what the adapter was trained on. What comes out
    is read back and must answer probe prompts as base and adapter do side by side, or nothing is kept.

    \b
    Examples:
      clinical models merge ner-july -o models/ner
      clinical models merge clinical-mini out/ner -o models/ner --precision float32
    """
    from clinical.finetune.merge import merge as merge_models
    from clinical.models.adapters import folder_of

    if len(names) > 2:
        raise UsageError(f"one base and one adapter are merged; {len(names)} were given")
    adapter = folder_of(names[-1])
    base = names[0] if len(names) == 2 else _named_base(adapter)
    merged = merge_models(base, adapter, out, precision)
    click.echo(
        f"{out}: {merged.precision}, {merged.divergence:.1e} nats a token from base and adapter on probe prompts",
        err=True,
    )
    from clinical.finetune.serving import serve_folder

    click.echo(f"clinical ner note.txt --model {out}")
    for line in (f"clinical models export gguf {out} -o {out}.gguf", *serve_folder(out, _window(out))):
        click.echo(line)


@models.group()
def export() -> None:
    """Write a model in the format of another program.

    \b
    Examples:
      clinical models export gguf models/ner -o ner.gguf
    """


@export.command()
@click.argument("model", metavar="MODEL")
@click.option(
    "-o", "--output", "out", metavar="FILE", required=True, type=click.Path(path_type=Path), help="The file."
)
@click.option(
    "--type",
    "kind",
    type=click.Choice(["f32", "f16", "q8_0"]),
    default="f16",
    show_default=True,
    help="Of the numbers: q8_0 is half as large as f16.",
)
def gguf(model: str, out: Path, kind: Literal["f32", "f16", "q8_0"]) -> None:
    """Write a model as one GGUF file, for llama.cpp and Ollama, and check its answers against the model's.

    A Modelfile for Ollama is written beside it. Smaller types (Q4_K_M …) are made of an f16 file by llama.cpp's
    llama-quantize.

    \b
    Examples:
      clinical models export gguf models/ner -o ner.gguf
      clinical models export gguf models/ner -o ner.gguf --type q8_0
    """
    from clinical.finetune.export_gguf import export as export_model
    from clinical.finetune.serving import serve_gguf, write_modelfile
    from clinical.models.chat import detect
    from clinical.models.mistral import find_model, load_tokenizer

    if out.suffix != ".gguf":
        raise UsageError(f"-o {out}: a file that ends in .gguf is written; give it one")
    folder = find_model(model) if not (Path(model) / "adapter_config.json").is_file() else None
    chat = detect(load_tokenizer(folder)).name if folder else ""
    made = export_model(model, out, kind)
    apart = (
        "not compared, the model is too large"
        if made.divergence is None
        else f"{made.divergence:.1e} nats a token apart"
    )
    click.echo(f"{out}: {kind}, {made.megabytes:.1f} MB; read back, its answers are {apart}", err=True)
    window = _window(find_model(model))
    if made.sliding_window:
        click.echo(
            f"the model looks back {made.sliding_window} tokens in each layer, which GGUF cannot say; keep notes short",
            err=True,
        )
    write_modelfile(out, chat, window)
    for line in serve_gguf(out, window):
        click.echo(line)


def _window(folder: Path) -> int:
    import json

    return int(
        json.loads((folder / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings", 4096)
    )


def _named_base(adapter: Path) -> str:
    """Return the base that an adapter says it was trained on; raises `UsageError` when it says none that is here."""
    import json

    if not (adapter / "adapter_config.json").is_file():
        raise UsageError(f"{adapter} is not an adapter: it has no adapter_config.json")
    known: list[str] = []
    for file, key in (
        ("adapter.json", "base"),
        ("clinical.json", "base"),
        ("adapter_config.json", "base_model_name_or_path"),
    ):
        if (adapter / file).is_file():
            said = json.loads((adapter / file).read_text(encoding="utf-8")).get(key)
            known += [said] if said else []
    from clinical.models.mistral import find_model

    for name in known:
        try:
            find_model(name)
        except UsageError:
            continue
        return name
    said = (
        f"{adapter} was trained on {known[0]}, which is not here"
        if known
        else f"{adapter} does not say what it was trained on"
    )
    raise UsageError(f"{said}; name the base on this machine")


def _adapter(name: str) -> Adapter | None:
    from clinical.models.adapters import registered

    return next((adapter for adapter in registered() if adapter.name == name), None)


def _models() -> list[Found]:
    from clinical.models.inventory import found_models

    return found_models()


@models.command()
@click.argument("name")
def path(name: str) -> None:
    """Print the folder of a model or adapter.

    \b
    Examples:
      clinical models path light-ner
    """
    if (adapter := _adapter(name)) is not None:
        click.echo(str(adapter.folder))
        return
    found = _find(name)
    if found.folder is None:
        raise UsageError(f"{name} is a Python package of its own; it has no folder of weights")
    click.echo(str(found.folder))


@models.command()
def labels() -> None:
    """Show the label set: each label with its definition and examples; the star marks those of a plain run.

    \b
    Examples:
      clinical models labels
    """
    from clinical.prompts.labels import clinical_labels

    rows = [
        ("*" if label.core else "", label.name, label.definition, "; ".join(label.examples))
        for label in clinical_labels()
    ]
    print_table(("", "label", "definition", "examples"), rows)


def _find(name: str) -> Found:
    """Return the model of this name; raises `UsageError` with the nearest name."""
    table = {model.name: model for model in _models()}
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"no model {name!r}; {hint}on this machine: {', '.join(table) or 'none'}")
    return table[name]
