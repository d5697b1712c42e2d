"""`clinical finetune`: a clinician's data to an adapter, by a recipe; and the commands that train what ships."""

from __future__ import annotations

import importlib
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clinical.commands.options import Name
from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.finetune.preflight import Report
    from clinical.finetune.preparation import Prepared
    from clinical.finetune.recipe import Recipe, Source

HELD_OUT = 0.1
"""Share of a user's rows that are scored on, where neither recipe nor call says."""

COMMANDS = {
    "light-ner": ("clinical.finetune.light_ner", "the light tagger: LoRA adapter and heads on MiniLM"),
    "salience": ("clinical.finetune.salience", "the heads of the light summarizer"),
    "sentence-selector": (
        "clinical.finetune.sentence_selector",
        "the sentences that answer, for the light system",
    ),
    "study-decision": (
        "clinical.finetune.study_decision",
        "yes, no or maybe of a study, for the light system",
    ),
    "spacy-baseline": ("clinical.finetune.spacy_baseline", "the scispaCy baseline of one scheme"),
    "pretrain": ("clinical.finetune.pretrain", "a small Mistral with its tokenizer, from nothing"),
    "mistral-ner": ("clinical.finetune.mistral_ner", "a Mistral for ner, whole or as a LoRA adapter"),
    "mistral-release": ("clinical.finetune.mistral_release", "a small Mistral and its adapter, as they ship"),
}
"""Trainings that are programs of their own, with options of their own."""


def _recipes() -> tuple[str, ...]:
    from clinical.finetune.recipe import available

    return (*available(), *COMMANDS)


class RecipeName(Name):
    """The name of a recipe, or a YAML file."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name or the file."""
        is_file = str(value).endswith((".yaml", ".yml")) or Path(str(value)).is_file()
        return str(value) if is_file else super().convert(value, param, ctx)


class FinetuneCommand(click.Command):
    """What follows one of `COMMANDS` is for that program to judge."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the arguments apart, the program's own aside."""
        place = next((number for number, word in enumerate(args) if word in COMMANDS), None)
        if place is not None and all(word.startswith("-") for word in args[:place]):
            own = args[place + 1 :]
            ctx.meta["own"] = own[1:] if own[:1] == ["--"] else own
            args = args[: place + 1]
        return super().parse_args(ctx, args)


@click.command(cls=FinetuneCommand)
@click.argument("recipe", type=RecipeName("recipe", _recipes), required=False)
@click.option("--list", "show", is_flag=True, help="Show the recipes and what each one trains.")
@click.option("--set", "changes", metavar="KEY=VALUE", multiple=True, help="Change a key: --set lora.r=32.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the adapter and the record of its training."
)
@click.option("--base", metavar="MODEL", help="Train on this model instead of the recipe's.")
@click.option(
    "--data", "files", metavar="FILE", multiple=True, help="Your own rows (.jsonl, .json, .csv); repeatable."
)
@click.option(
    "--dev", metavar="FILE", multiple=True, help="Your rows to score on.  [default: a share of --data]"
)
@click.option(
    "--columns", metavar="MAP", help="How your files call ours: question=Frage,answer=Antwort, or text=note."
)
@click.option("--check", is_flag=True, help="Only look at the data and tell what it would need.")
@click.option("--preview", "shown", type=click.IntRange(1), help="Only show so many rows, token by token.")
@click.option("--dry-run", is_flag=True, help="Only rehearse: two steps on a tiny clone of the base.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--yes", is_flag=True, help="Begin even if memory may not do.")
@click.pass_context
def finetune(
    ctx: click.Context,
    recipe: str | None,
    *,
    show: bool,
    changes: tuple[str, ...],
    out: Path | None,
    base: str | None,
    files: tuple[str, ...],
    dev: tuple[str, ...],
    columns: str | None,
    check: bool,
    shown: int | None,
    dry_run: bool,
    resume: bool,
    yes: bool,
) -> None:
    """Train an adapter by a recipe: a packaged one, or a YAML file of your own.

    Before any weight is read the data are looked at: rows with errors, rows that would be cut off, templates, overlap
    of training and held-out data, memory and time.

    \b
    Examples:
      clinical finetune --list
      clinical finetune mini-ner --out out/mini-ner
      clinical finetune mini-ner --data my-notes.jsonl --columns text=note,entities=spans --preview 2
      clinical finetune suite-mistral-7b-qlora --check
      clinical finetune suite-mistral-7b-qlora --set lora.r=32 --out out/suite
      clinical finetune light-ner -- --help
    """
    if show or recipe is None:
        _list()
        return
    if recipe in COMMANDS:
        module, _ = COMMANDS[recipe]
        # They read the command line, and record how they were called.
        sys.argv = [f"{module.rsplit('.', 1)[-1]}.py", *ctx.meta.get("own", ())]
        importlib.import_module(module).main()
        return
    chosen = _chosen(recipe, changes, base, Rows(files, dev, columns))
    if dry_run:
        _rehearse(chosen)
        return
    train = not (check or shown)
    if train and out is None:
        raise UsageError("say where to: --out DIR (or look first: --check, --preview 3, --dry-run)")
    prepared, report, refusal = _look(chosen, shown, err=train)
    if shown:
        return
    report.check()
    if check and refusal:
        click.echo(f"verdict  {refusal}")
    if train and refusal and not yes:
        raise UsageError(f"{refusal}; --yes begins all the same")
    if train and out is not None:
        _train(chosen, out, prepared, resume=resume)


def _list() -> None:
    from clinical.finetune.recipe import available

    rows = {**available(), **{name: what for name, (_, what) in COMMANDS.items()}}
    width = max(map(len, rows))
    for name, what in rows.items():
        click.echo(f"{name:<{width}}  {what}")


@dataclass(frozen=True)
class Rows:
    """The user's own rows: files to train on, files to score on, and how they call our columns."""

    files: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    columns: str | None = None

    def named(self, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        """Return the sources, those of the user's files with the column map."""
        from clinical.corpora.row_files import parse_columns
        from clinical.finetune.recipe import names_of

        if self.columns is None:
            return sources
        return tuple(
            replace(source, columns=parse_columns(self.columns, names_of(source.task)))
            if source.file in (*self.files, *self.dev)
            else source
            for source in sources
        )


def _chosen(name: str, changes: tuple[str, ...], base: str | None, rows: Rows) -> Recipe:
    """Return the recipe with what the call changes."""
    from clinical.finetune.recipe import load

    recipe = load(name, changes)
    if base:
        recipe = replace(recipe, base=base)
    if not rows.files:
        if rows.columns or rows.dev:
            raise UsageError("--columns and --dev go with --data; a recipe's own: --set data.0.columns={…}")
        return recipe
    data = _with_files(recipe, rows.files)
    if rows.dev:
        first = next(source for source in data if source.file in rows.files)
        scored = tuple(replace(first, file=file, weight=1.0) for file in rows.dev)
        recipe = replace(recipe, dev=rows.named(scored))
    elif data != recipe.data and not any(source.corpus for source in data) and not _named(changes, "dev"):
        # What another corpus holds says nothing of rows with other labels, and may not be here.
        share = recipe.hold_out or (0.0 if _named(changes, "hold_out") else HELD_OUT)
        recipe = replace(recipe, dev=(), hold_out=share)
        click.echo(
            f"{share:.0%} of your rows are held out to score on; or name them with --dev FILE", err=True
        )
    return replace(recipe, data=rows.named(data))


def _named(changes: tuple[str, ...], key: str) -> bool:
    """Return whether the call itself sets this key."""
    return any(change.partition("=")[0].strip().split(".")[0] == key for change in changes)


def _with_files(recipe: Recipe, files: tuple[str, ...]) -> tuple[Source, ...]:
    """Return the sources with the user's files: in the places of the recipe's files, else in place of all of them."""
    places = [number for number, source in enumerate(recipe.data) if source.file]
    if len(places) == len(files):
        given = dict(zip(places, files, strict=True))
        return tuple(
            replace(source, file=given.get(number, source.file)) for number, source in enumerate(recipe.data)
        )
    first = recipe.data[places[0] if places else 0]
    others = [source for source in recipe.data if source.task != first.task]
    if len(places) > 1 or others:
        raise UsageError(
            f"{recipe.name} has several sources ({', '.join(source.name for source in recipe.data)}); "
            "say which one is yours by --set data.0.file=FILE"
        )
    corpus = first.corpus if first.file else ""
    return tuple(replace(first, corpus=corpus, file=file, limit=None) for file in files)


def _are_there(recipe: Recipe) -> None:
    """Raise `UsageError` for a file or a corpus that is not here, before any library is loaded."""
    from clinical.corpora.folder import corpora_folder
    from clinical.finetune.examples import SYNTHETIC

    for source in (*recipe.data, *recipe.dev):
        if source.file and not Path(source.file).expanduser().exists():
            raise UsageError(f"{source.file}: no such file; name yours with --data FILE")
        if not source.file and source.corpus != SYNTHETIC:
            corpora_folder()


def _look(recipe: Recipe, shown: int | None, *, err: bool) -> tuple[Prepared, Report, str]:
    """Look at data and needs and say what there is to say; return what was found, and why not to begin, if so."""
    from clinical.finetune.dry_run import config_of, tokenizer_of
    from clinical.finetune.memory import Shape
    from clinical.finetune.outlook import outlook, this_device
    from clinical.finetune.preflight import look
    from clinical.finetune.preparation import prepare
    from clinical.finetune.preview import preview
    from clinical.finetune.rows import chat_format
    from clinical.finetune.start import starting_adapter
    from clinical.models.mistral import find_model, hush_libraries, load_tokenizer

    _are_there(recipe)
    hush_libraries()
    shape = Shape.of(config_of(recipe.base))
    try:
        base = find_model(recipe.base)
        tokenizer = load_tokenizer(base)
    except UsageError:
        if err:
            raise
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = tokenizer_of(recipe.base, Path(folder) / "base")
        click.echo(
            f"{recipe.base} is not on this machine: rows are counted with a stand-in for its tokenizer",
            err=True,
        )
    else:
        starting_adapter(recipe, base)
    chat = chat_format(tokenizer, recipe.chat)
    prepared = prepare(recipe, tokenizer, chat)
    report = look(recipe, prepared, tokenizer, chat)
    if shown:
        report.check()
        step = max(1, len(prepared.rows) // shown)
        for line in preview(prepared.rows[::step][:shown], tokenizer, colour=sys.stdout.isatty()):
            click.echo(line)
        return prepared, report, ""
    found = outlook(recipe, shape, prepared, report, this_device())
    for line in (*_rows(report, prepared), *found.lines):
        click.echo(line, err=err)
    for warning in report.warnings:
        click.echo(f"note     {warning}", err=True)
    return prepared, report, found.refusal


def _rows(report: Report, prepared: Prepared) -> list[str]:
    if not report.lengths:
        return []
    tasks = ", ".join(f"{task} {count:,}" for task, count in report.tasks.items())
    held = len(prepared.dev) + sum(len(gold.documents) for gold in prepared.gold)
    quantiles = ", ".join(
        f"{name} {report.quantile(share)}" for name, share in (("median", 0.5), ("95 %", 0.95))
    )
    return [
        f"rows     {len(prepared.rows):,} ({tasks}); held out: {held:,}",
        f"lengths  {quantiles}, longest {report.lengths[-1]} tokens; "
        f"learned: {100 * report.learned_tokens / max(1, report.tokens):.0f} %",
    ]


def _rehearse(recipe: Recipe) -> None:
    from clinical.finetune.dry_run import rehearsal
    from clinical.finetune.training import require_trl, train

    require_trl()
    with tempfile.TemporaryDirectory() as folder:
        tried = rehearsal(recipe, Path(folder))
        made_up = [
            source.name
            for source, few in zip(recipe.data, tried.data, strict=True)
            if source.name != few.name
        ]
        if made_up:
            click.echo(f"made-up rows stand in for {', '.join(dict.fromkeys(made_up))}", err=True)
        from clinical.finetune.live_view import View

        with View(recipe.name).watch() as watch:
            train(tried, Path(folder) / "out", watch=watch)
    click.echo(f"{recipe.name}: two steps on a tiny clone of {recipe.base} went well")


def _train(recipe: Recipe, out: Path, prepared: Prepared, *, resume: bool) -> None:
    from clinical.finetune.live_view import View
    from clinical.finetune.training import train

    with View(recipe.name).watch() as watch:
        folder = train(recipe, out, resume=resume, watch=watch, prepared=prepared)
    for line in _what_next(recipe, folder):
        click.echo(line)


def _what_next(recipe: Recipe, folder: Path) -> list[str]:
    """Return the commands to use what was trained."""
    import json

    card = json.loads((folder / "clinical.json").read_text(encoding="utf-8"))
    scores = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in card["dev_scores"].items())
    lines = [f"{folder}: step {card['dev_step']}, {scores}; {folder / 'report.html'}"]
    before = card.get("before_training")
    if before is not None and card["dev_score"] <= before:
        lines.append(
            f"The base alone scored {before:g}, this {card['dev_score']:g}: no better than without it."
        )
    model = str(folder) if recipe.method == "full" else recipe.base
    adapter = "" if recipe.method == "full" else f" --adapter {folder}"
    calls = {
        "ner": f"clinical ner note.txt --model {model}{adapter}",
        "search": f'clinical search "chest pain" notes/ --model {model}{adapter}',
        "ask": f'clinical ask "why was it stopped?" notes/ --model {model}{adapter}',
        "summarize": f"clinical summarize note.txt --model {model}{adapter}",
    }
    lines += [calls[task] for task in recipe.tasks if task in calls]
    if recipe.deploy == "merge" and recipe.method != "full":
        lines.append(f"clinical models merge {folder} --out {folder}-merged")
    return lines
