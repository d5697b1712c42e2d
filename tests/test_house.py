"""The house stands as it says: packages are the folders, one import name, the public surface is what is listed."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from clinical.cli import COMMANDS

ROOT = Path(__file__).parent.parent
MAPPED = ("corpora", "finetune", "prompts", "tasks")


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def test_packages_equal_the_folders() -> None:
    own = {".".join(init.parent.relative_to(ROOT).parts) for init in (ROOT / "clinical").rglob("__init__.py")}
    own = {name for name in own if not name.startswith(tuple(f"clinical.{folder}" for folder in MAPPED))}
    mapped = {
        f"clinical.{'.'.join(init.parent.relative_to(ROOT).parts)}"
        for folder in MAPPED
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert set(setup_cfg()["options"]["packages"].split()) == own | mapped


@pytest.mark.parametrize("folder", MAPPED)
def test_links_point_at_the_folders_beside_the_package(folder: str) -> None:
    assert (ROOT / "clinical" / folder).resolve() == (ROOT / folder).resolve()


def test_top_level_is_the_one_of_the_design() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/")[0] for line in tracked.splitlines()}
    assert top == {
        ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "benchmarks", "clinical", "corpora",
        "examples", "finetune", "prompts", "pyproject.toml", "setup.cfg", "tasks", "tests",
    }  # fmt: skip


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"clinical {name}" not in readme] == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import clinical, sys; print(sorted({'numpy', 'torch', 'spacy', 'rich', 'transformers'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


def test_every_module_says_what_it_is_for() -> None:
    modules = [path for folder in ("clinical", *MAPPED) for path in (ROOT / folder).rglob("*.py")]
    silent = [
        str(path) for path in modules if not path.read_text(encoding="utf-8").lstrip("r").startswith('"""')
    ]
    assert silent == []
