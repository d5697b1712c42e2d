"""`clinical models`: which models there are, which one is used, and what they look for."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clinical.commands.tables import print_table
from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.models.inventory import Found


@click.group()
def models() -> None:
    """List models, choose the default one, and show the labels that they look for.

    \b
    Examples:
      clinical models list
      clinical models use clinical-tiny
      clinical models labels
    """


@models.command("list")
def list_models() -> None:
    """List the models on this machine; the star marks the default one.

    \b
    Examples:
      clinical models list
    """
    from clinical.models.inventory import found_models
    from clinical.models.settings import chosen_model

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
    print_table(("", "model", "system", "origin", "size"), rows)


@models.command()
@click.argument("name", required=False)
def show(name: str | None) -> None:
    """Show one model, by default the chosen one: its system, folder and card.

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
    found = _find(name)
    click.echo(f"{found.name}: system {found.system}, {found.origin}")
    if found.folder is None:
        return
    click.echo(f"folder: {found.folder}")
    for card in ("README.md", "CARD.md", "card.md"):
        if (found.folder / card).is_file():
            click.echo((found.folder / card).read_text(encoding="utf-8"))


@models.command()
@click.argument("name", required=False)
@click.option("--none", is_flag=True, help="Go back to no chosen model.")
def use(name: str | None, none: bool) -> None:
    """Make a model the default one of the mistral system: a name, a folder, a downloaded hub id or a URL.

    The environment variable CLINICAL_MODEL goes before this setting, --model before both.

    \b
    Examples:
      clinical models use clinical-tiny
      clinical models use /models/Mistral-7B-Instruct-v0.3
      clinical models use --none
    """
    from clinical.models.settings import choose_model, settings_file

    if none == (name is not None):
        raise UsageError("give the name of a model, or --none to go back; clinical models list shows them")
    if name is not None:
        from clinical.models.loading import weights_folder

        weights_folder(name)
        folder = Path(name).expanduser()
        # A folder is to be found from everywhere, not only from here.
        name = str(folder.resolve()) if folder.is_dir() else name
    choose_model(name)
    click.echo(f"{'no model' if name is None else name} is now the default ({settings_file()})", err=True)


@models.command()
@click.argument("name")
def path(name: str) -> None:
    """Print the folder of a model.

    \b
    Examples:
      clinical models path light-ner
    """
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
    from clinical.models.inventory import found_models

    table = {model.name: model for model in found_models()}
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"no model {name!r}; {hint}on this machine: {', '.join(table) or 'none'}")
    return table[name]
