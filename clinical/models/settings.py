"""The user's settings: which model to use by default, and which adapter on it for which task.

    clinical models use mistral-7b
    CLINICAL_MODEL=clinical-mini clinical ner note.txt

The folder follows the XDG Base Directory Specification (freedesktop.org) on every platform.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from clinical.errors import ClinicalError, UsageError

MODEL_VARIABLE = "CLINICAL_MODEL"

SMALL_MISTRAL = "clinical-mini"
"""The Mistral that ships, which stands in for `mistral` where no other is chosen."""


def config_folder() -> Path:
    """Return the folder of the user's settings; it need not exist."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "clinical"


def settings_file() -> Path:
    """Return the file of the user's settings; it need not exist."""
    return config_folder() / "settings.json"


def chosen_model() -> str | None:
    """Return the model that the user has chosen for `mistral`: `CLINICAL_MODEL`, else the setting."""
    named = os.environ.get(MODEL_VARIABLE)
    if named:
        return named
    model = _read().get("model")
    return model if isinstance(model, str) else None


def choose_system(system: str | None, model: str | None, known: Sequence[str]) -> tuple[str, str | None]:
    """Return the system to use, and the model that was named for it or chosen before.

    Without a system: `mistral` when the user has chosen a model (here, in the settings or by `CLINICAL_MODEL`),
    else `light`. Raises `UsageError` for a system that the task does not know.
    """
    chosen = model or (chosen_model() if system in (None, "mistral") else None)
    system = system or ("mistral" if chosen else "light")
    if system not in known:
        raise UsageError(f"no system {system!r}; available: {', '.join(known)}")
    return system, chosen


def choose_model(model: str | None) -> None:
    """Store the user's default model; `None` goes back to none.

    Raises `ClinicalError` when the settings cannot be written.
    """
    settings = _read()
    if model is None:
        settings.pop("model", None)
    else:
        settings["model"] = model
    _write(settings)


def chosen_adapters() -> dict[str, dict[str, str]]:
    """Return the adapters that the user has chosen: by the fingerprint of the base, then by task, its name."""
    chosen = _read().get("adapters")
    return chosen if isinstance(chosen, dict) else {}


def choose_adapter(base_fingerprint: str, task: str, name: str | None) -> None:
    """Store the adapter for a task on a base; `None` goes back to none. Raises as `choose_model` does."""
    settings = _read()
    chosen = {**chosen_adapters()}
    tasks = {**chosen.pop(base_fingerprint, {})}
    tasks.pop(task, None)
    if name is not None:
        tasks[task] = name
    if tasks:
        chosen[base_fingerprint] = tasks
    settings.pop("adapters", None)
    if chosen:
        settings["adapters"] = chosen
    _write(settings)


def _write(settings: dict[str, object]) -> None:
    file = settings_file()
    partial = file.with_suffix(".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        raise ClinicalError(f"cannot write {file}: {error.strerror}; set {MODEL_VARIABLE} instead") from error


def _read() -> dict[str, object]:
    file = settings_file()
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise ClinicalError(f"cannot read the settings in {file}; mend or delete it ({error})") from error
    if not isinstance(settings, dict):
        raise ClinicalError(f"the settings in {file} are not an object; mend or delete it")
    return settings
