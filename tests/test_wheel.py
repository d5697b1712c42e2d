"""A wheel built in a clean place holds everything, and works in an empty folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tracked files alone (no links followed, nothing left over from before)."""
    source = tmp_path_factory.mktemp("source")
    target = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        if (ROOT / name).is_file() and not (ROOT / name).is_symlink():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(target),
        str(source),
    ]
    subprocess.run(command, check=True)
    (built,) = target.glob("clinical-*.whl")
    return built


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("clinical", "corpora", "finetune", "prompts", "tasks"):
        tracked = subprocess.run(
            ["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in tracked.stdout.splitlines():
            if not (ROOT / name).is_symlink():
                assert (name if folder == "clinical" else f"clinical/{name}") in packed


def test_the_wheel_reads_a_note_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    zipfile.ZipFile(wheel).extractall(installed)
    empty.mkdir()
    (empty / "note.txt").write_text(
        "She has type 2 diabetes and takes metformin 500 mg twice daily.", encoding="utf-8"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); import clinical; "
        f"assert clinical.__file__.startswith({str(installed)!r}), clinical.__file__; "
        "sys.argv = ['clinical', 'ner', 'note.txt', '--format', 'jsonl']; "
        "import clinical.cli; clinical.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=empty, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"text": "metformin", "label": "Medication"' in done.stdout
