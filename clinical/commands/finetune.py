"""`clinical finetune`: the commands that train what the package ships."""

from __future__ import annotations

import importlib
import sys

import click

from clinical.commands.options import Name

RECIPES = {
    "light-ner": ("clinical.finetune.light_ner", "the light tagger: LoRA adapter and heads on MiniLM"),
    "salience": ("clinical.finetune.salience", "the heads of the light summarizer"),
    "spacy-baseline": ("clinical.finetune.spacy_baseline", "the scispaCy baseline of one scheme"),
    "pretrain": ("clinical.finetune.pretrain", "a small Mistral with its tokenizer, from nothing"),
    "mistral-ner": ("clinical.finetune.mistral_ner", "a Mistral for ner, whole or as a LoRA adapter"),
    "mistral-release": ("clinical.finetune.mistral_release", "a small Mistral and its adapter, as they ship"),
}


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("recipe", type=Name("recipe", lambda: tuple(RECIPES)), required=False)
@click.option("--list", "show", is_flag=True, help="Show the recipes and what each one trains.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def finetune(recipe: str | None, show: bool, arguments: tuple[str, ...]) -> None:
    """Train a model by one of the recipes; what follows its name is the recipe's own (`RECIPE -- --help`).

    \b
    Examples:
      clinical finetune --list
      clinical finetune light-ner --out out/light-ner
      clinical finetune spacy-baseline bc5cdr --out out/scispacy-bc5cdr
      clinical finetune light-ner -- --help
    """
    if show or recipe is None:
        width = max(map(len, RECIPES))
        for name, (_, what) in RECIPES.items():
            click.echo(f"{name:<{width}}  {what}")
        return
    module, _ = RECIPES[recipe]
    sys.argv = [f"{module.rsplit('.', 1)[-1]}.py", *arguments]  # the recipes record how they were called
    importlib.import_module(module).main()
