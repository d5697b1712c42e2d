"""The user's settings: which model to use by default.

    clinical models use mistral-7b
    CLINICAL_MODEL=clinical-mini clinical ner note.txt

The folder follows the XDG Base Directory Specification (freedesktop.org) on every platform.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from clinical.errors import ClinicalError

MODEL_VARIABLE = "CLINICAL_MODEL"


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


def choose_model(model: str | None) -> None:
    """Store the user's default model; `None` goes back to none.

    Raises `ClinicalError` when the settings cannot be written.
    """
    settings = _read()
    if model is None:
        settings.pop("model", None)
    else:
        settings["model"] = model
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
