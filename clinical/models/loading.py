"""Language models by name, for a task: a shipped one, a folder, a downloaded hub id, or the URL of a server.

    loaded = load("clinical-mini", "summarize")
    loaded.model.complete([...])

A model or adapter that was trained here has a card (`clinical.json`), which names the adapter for each task
and the prompt it was trained with.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from clinical.errors import UsageError
from clinical.models import adapters, mistral
from clinical.models.connection import is_address, split_address
from clinical.models.language_model import MeasuringModel
from clinical.models.server import connect
from clinical.models.settings import SMALL_MISTRAL, SMALL_SUITE

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to answer. `card` is that of the adapter or model, if it was trained here."""

    model: MeasuringModel
    card: mistral.Card | None = None


def load(name: str, task: str, adapter: str | None = None) -> Loaded:
    """Return the model of this name with an adapter on it: the one given, else the user's for the task, else its own.

    `adapter` is a folder or a name of the registry (`clinical.models.adapters`). Raises `UsageError` when something
    is not there or does not fit.
    """
    if is_address(name):
        if adapter:
            raise UsageError(f"an adapter is the server's to load; name it as a model: {name}#name")
        return Loaded(connect(name))
    folder = mistral.find_model(name)
    base = mistral.read_card(folder)
    chosen = adapters.folder_of(adapter) if adapter else registered_adapter(name, task)
    if chosen is None and base and task in base.adapters:
        chosen = folder / base.adapters[task]
    if chosen is None and name == SMALL_MISTRAL and task != "ner":
        _log.warning("%s is made for ner; for other tasks there is %s", SMALL_MISTRAL, SMALL_SUITE)
    adapter = str(chosen) if chosen else None
    trained = mistral.read_card(Path(adapter)) if adapter else None
    return Loaded(mistral.load(name, adapter), trained or base)


def registered_adapter(name: str, task: str, adapter: str | None = None) -> Path | None:
    """Return the folder of the adapter that `load` takes from the registry: by its name, or as the user's choice.

    `None` when it takes none from there: a server loads its own, and a folder is taken as it is.
    """
    if is_address(name):
        return None
    if adapter is None:
        return adapters.default_for(mistral.find_model(name), task)
    return None if Path(adapter).expanduser().is_dir() else adapters.folder_of(adapter)


def weights_folder(name: str) -> Path | None:
    """Return the folder of a model's weights, `None` when it is behind a URL. Raises `UsageError` if there is none."""
    if is_address(name):
        split_address(name)
        return None
    return mistral.find_model(name)
