"""The command line as a whole: it starts fast, every command explains itself, and a mistake is one line."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from clinical.cli import COMMANDS, cli
from clinical.errors import ClinicalError, UsageError
from clinical.version import __version__

HEAVY = ("torch", "numpy", "spacy", "rich", "transformers", "onnxruntime", "yaml", "tokenizers")
MOST_HELP_SECONDS = 0.3


def every_command() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                found = command.get_command(context, below)
                assert found is not None
                yield f"{name} {below}", found


def passes_options_on(command: click.Command) -> bool:
    """Whether unknown options are for somebody else to judge, as those of a training recipe."""
    return bool(command.context_settings.get("ignore_unknown_options"))


def clinical(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clinical", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def test_help_answers_at_once() -> None:
    """Processor time, which other work on the machine does not stretch; the best of three, as caches warm up."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert clinical("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < MOST_HELP_SECONDS


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ner", "--help"], ["completion", "bash"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from clinical.cli import cli; cli(sys.argv[1:], standalone_mode=False);"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stderr == "[]\n"


def test_version() -> None:
    assert clinical("--version").stdout == f"clinical, version {__version__}\n"


@pytest.mark.parametrize(
    ("name", "command"), [*every_command()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_explains_itself(name: str, command: click.Command) -> None:
    shown = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert shown.exit_code == 0
    first = (command.help or "").split("\n")[0]
    assert first.endswith((".", ":")) or (command.help or "").split("\n\n")[0].endswith(".")
    assert "Examples:\n" in shown.output
    assert f"clinical {name}" in shown.output.split("Examples:\n")[1]
    undocumented = [
        option.name
        for option in command.params
        if isinstance(option, click.Option)
        and not option.help
        and not option.type.to_info_dict().get("choices")
    ]
    assert not [name for name in undocumented if name != "context_sentences"]


@pytest.mark.parametrize(
    ("name", "command"), [*every_command()], ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_unknown_option_is_a_wrong_call(name: str, command: click.Command) -> None:
    result = CliRunner().invoke(cli, [*name.split(), "--no-such-option"])
    assert result.exit_code == 2
    assert "no such option" in result.stderr.lower() or passes_options_on(command)
    assert result.stdout == ""


def test_examples_of_help_can_be_parsed() -> None:
    """Every pasteable line names a command and options that exist."""
    for name, command in every_command():
        lines = [
            line.strip() for line in (command.help or "").split("Examples:")[1].splitlines() if line.strip()
        ]
        assert lines
        for line in lines:
            # What follows " -- " belongs to the program that a command calls.
            words = line.split("clinical ", 1)[1].split(" > ")[0].split(" -- ")[0].split()
            found: click.Command = cli
            context = click.Context(cli)
            while isinstance(found, click.Group) and words:
                below = found.get_command(context, words.pop(0))
                assert below is not None, line
                found = below
            known = {option for parameter in found.params for option in parameter.opts}
            used = {word for word in words if word.startswith("-") and word != "-"}
            assert used <= known or passes_options_on(found), f"{name}: {line}"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UsageError("no such thing; try another"), 2, "Error: no such thing; try another\n"),
        (ClinicalError("the disk is full"), 1, "Error: the disk is full\n"),
        (KeyboardInterrupt(), 130, "\nInterrupted.\n"),
        (KeyboardInterrupt("Stopped: 3 done."), 130, "\nStopped: 3 done.\n"),
    ],
)
def test_faults_are_one_line(
    error: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("clinical.commands.doctor.doctor.callback", lambda **_: fail())
    result = CliRunner().invoke(cli, ["doctor"])
    assert (result.exit_code, result.stderr, result.stdout) == (code, words, "")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinical.commands.doctor.doctor.callback", lambda **_: {}["missing"])
    assert isinstance(CliRunner().invoke(cli, ["doctor"]).exception, KeyError)


def test_an_unknown_command_names_the_nearest() -> None:
    result = clinical("nre")
    assert result.returncode == 2
    assert "No such command 'nre'" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    done = clinical("completion", shell)
    assert done.returncode == 0
    assert "_CLINICAL_COMPLETE" in done.stdout


def test_completion_knows_commands_and_names() -> None:
    def complete(words: str, at: int) -> list[str]:
        environment = {
            **os.environ,
            "_CLINICAL_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(at),
        }
        code = "from clinical.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        return [line.split(",", 1)[1] for line in done.stdout.splitlines()]

    assert complete("clinical c", 1) == ["compare", "corpora", "completion"]
    assert complete("clinical ner --system sci", 3) == ["scispacy"]
    assert complete("clinical ner --format js", 3) == ["jsonl", "json"]


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m clinical models labels | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_ctrl_c_anywhere_is_130(tmp_path: Path) -> None:
    code = (
        "import sys, time, clinical.commands.doctor as module;"
        "module.doctor.callback = lambda **_: (print('up', flush=True), time.sleep(60));"
        "from clinical.cli import main; sys.argv[1:] = ['doctor']; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (130, "\nInterrupted.\n")


def test_remarks_of_the_package_reach_the_user_and_warnings_of_libraries_do_not() -> None:
    code = """
import logging, warnings
from clinical.batch.messages import hush_libraries, show_remarks
hush_libraries(); show_remarks(); show_remarks()
logging.getLogger("clinical.models").info("preparing")
logging.getLogger("onnxruntime").warning("noise")
logging.warning("noise")
warnings.warn("noise")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "preparing\n")
