"""`clinical finetune` as its user meets it: rehearsals, mistakes in one line, data looked at, a run from end to end."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from finetune_base import write_base

from clinical.cli import cli
from clinical.finetune import report
from clinical.finetune.live_view import View, line, sparkline, time_left
from clinical.finetune.recipe import available
from clinical.finetune.training import train

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


def clinical(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["finetune", *arguments])


@pytest.mark.parametrize("name", list(available()))
def test_every_recipe_rehearses_without_its_data_or_its_base(name: str) -> None:
    found = clinical(name, "--dry-run")
    assert found.exit_code == 0, found.output
    assert f"{name}: two steps on a tiny clone of " in found.stdout
    assert "step     2 of 2   loss " in found.stderr


def test_a_rehearsal_finds_that_your_rows_cannot_be_read(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"note": "Gout.", "spans": []}\n', encoding="utf-8")
    found = clinical("mini-ner", "--dry-run", "--data", str(rows))
    assert found.exit_code == 2
    assert f'{rows} line 1: no "text"' in found.stderr
    assert "it has: note, spans" in found.stderr


def test_the_list_has_recipes_and_programs() -> None:
    from clinical.commands.finetune import COMMANDS

    shown = clinical("--list").stdout.splitlines()
    assert [row.split()[0] for row in shown] == [*available(), *COMMANDS]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mini-nr"], "no recipe 'mini-nr'; did you mean mini-ner?"),
        (["mini-ner"], "say where to: --out DIR (or look first: --check, --preview 3, --dry-run)"),
        (
            ["mini-ner", "--set", "lora.rank=3", "--check"],
            "--set lora.rank=3: no key 'lora.rank'; known: r, alpha",
        ),
        (["mini-ner", "--check"], "bc5cdr"),
        (["mini-ner", "--check", "--base", "no-such-model"], "no model 'no-such-model' on this machine"),
        (["mini-suite", "--data", "x.jsonl", "--check"], "say which one is yours by --set data.0.file=FILE"),
        (
            ["medquad-mistral-7b-lora", "--out", "x"],
            "no model 'mistralai/Mistral-7B-Instruct-v0.3' on this machine",
        ),
        (["mini-ner", "--data", "x.jsonl", "--check"], "x.jsonl: no such file; name yours with --data FILE"),
        (["mini-ner", "--columns", "text=note", "--check"], "--columns and --dev go with --data"),
        (
            ["mini-ner", "--data", "x.jsonl", "--columns", "note=text", "--check"],
            "column map: no column 'note' of ours; there are id, text, entities",
        ),
        (["no-such.yaml", "--check"], "cannot read the recipe no-such.yaml"),
        (["mini-ner", "--outt", "x"], "No such option"),
    ],
)
def test_a_wrong_call_is_one_line(arguments: list[str], said: str) -> None:
    found = clinical(*arguments)
    assert found.exit_code == 2
    assert said in found.stderr
    assert "Traceback" not in found.output


def test_what_follows_a_program_is_its_own() -> None:
    found = clinical("mistral-ner", "--help")
    assert "--copy-weight" in found.stdout
    assert clinical("mistral-ner", "--", "--help").stdout == found.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small base, a recipe and a user's rows."""
    folder = tmp_path_factory.mktemp("place")
    write_base(folder / "base")
    rows = [
        {"question": f"Why was drug {number} stopped?", "answer": "After a bleed."} for number in range(12)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "mine.yaml").write_text(
        f"base: {folder / 'base'}\n"
        "data: [{task: chat, file: other.jsonl}]\n"
        "hold_out: 0.3\n"
        "max_length: 128\n"
        "train: {batch: 2, learning_rate: 1e-2, log_every: 1}\n"
        "evaluate: {metric: loss}\n",
        encoding="utf-8",
    )
    return folder


def test_a_look_at_the_data(place: Path) -> None:
    found = clinical(str(place / "mine.yaml"), "--data", str(place / "rows.jsonl"), "--check")
    assert found.exit_code == 0, found.output
    assert [row.split()[0] for row in found.stdout.splitlines()] == [
        "rows", "lengths", "model", "steps", "memory", "device", "time",
    ]  # fmt: skip


def test_a_file_that_calls_things_otherwise(place: Path) -> None:
    rows = "Frage;Antwort\n" + "".join(f"Warum {number}?;Nach einer Blutung.\n" for number in range(12))
    (place / "fragen.csv").write_text(rows, encoding="utf-8")
    arguments = [str(place / "mine.yaml"), "--data", str(place / "fragen.csv"), "--preview", "1"]
    assert "neither messages, nor question and answer" in clinical(*arguments).stderr
    found = clinical(*arguments, "--columns", "question=Frage,answer=Antwort")
    assert found.exit_code == 0, found.output
    assert "« Nach einer Blutung.</s>»" in found.stdout


def test_rows_of_ones_own_are_scored_on_rows_of_ones_own(place: Path) -> None:
    from clinical.commands.finetune import Rows, _chosen

    files = ("notes.jsonl",)
    found = _chosen("mini-ner", (), None, Rows(files, columns="text=note"))
    assert [(source.file, source.corpus, source.columns) for source in found.data] == [
        ("notes.jsonl", "", {"text": "note"})
    ]
    assert (found.dev, found.hold_out) == ((), 0.1)
    scored = _chosen("mini-ner", (), None, Rows(files, ("mine.jsonl",), "text=note"))
    assert [(source.file, source.columns) for source in scored.dev] == [("mine.jsonl", {"text": "note"})]
    kept = _chosen("mini-ner", ("dev.0.limit=7",), None, Rows(files))
    assert [(source.corpus, source.limit) for source in kept.dev] == [("bc5cdr:dev", 7)]


def test_a_preview(place: Path) -> None:
    found = clinical(str(place / "mine.yaml"), "--data", str(place / "rows.jsonl"), "--preview", "2")
    assert found.exit_code == 0, found.output
    assert found.stdout.count("« After a bleed.</s>»") == 2


def test_a_run_from_end_to_end(place: Path) -> None:
    out = place / "out"
    arguments = [str(place / "mine.yaml"), "--data", str(place / "rows.jsonl"), "--out", str(out)]
    found = clinical(*arguments)
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith(f"{out}: step ")
    assert "held-out loss" in found.stderr
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "drug 3" not in page
    assert "After a bleed" not in "".join(path.read_text() for path in out.glob("*.json*"))
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    again = clinical(*arguments)
    assert (again.exit_code, again.stderr.splitlines()[-1]) == (
        2,
        f"Error: {out} holds a run already, which is done; or give another --out",
    )


def test_too_little_memory_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clinical.finetune import outlook

    monkeypatch.setattr(outlook, "this_device", lambda: outlook.Device("cpu", "no GPU", 1e6, 1e11))
    arguments = [str(place / "mine.yaml"), "--data", str(place / "rows.jsonl")]
    found = clinical(*arguments, "--out", str(place / "never"))
    assert found.exit_code == 2
    assert "and no setting brings it to 0.00 GB; --yes begins all the same" in found.stderr
    assert not (place / "never").exists()


RECORD = {
    "step": 20, "steps": 100, "seconds": 30.0, "loss": 1.25, "tokens_per_second": 1830.4, "memory_mb": 3100.0,
}  # fmt: skip


def test_a_record_is_one_line_where_there_is_no_terminal() -> None:
    first = {**RECORD, "step": 10, "seconds": 20.0}
    assert (
        line(RECORD, first) == "step    20 of 100   loss 1.2500   1,830 tokens/s   3.1 GB   1 min 20 s left"
    )
    assert time_left(RECORD, None) is None
    scored = {"step": 20, "seconds": 31.0, "eval_loss": 1.5, "ner_strict_f1": 61.25, "score": 61.25}
    assert line(scored, None) == "step    20   held-out loss 1.5000   ner strict f1 61.25"
    stream = io.StringIO()
    with View("mini", stream).watch() as watch:
        watch(first)
        watch(scored)
    assert stream.getvalue().splitlines() == [line(first, None), line(scored, None)]
    assert sparkline([3.0, 2.0, 1.0]) == "█▅▁"


def test_curves_have_round_ticks_and_leave_out_what_is_no_number() -> None:
    assert report.ticks(0.13, 0.97) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert report.ticks(0, 1200) == [0.0, 250.0, 500.0, 750.0, 1000.0, 1250.0]
    drawn = report.draw({"loss": [(1, 2.0), (2, float("nan")), (3, 1.0)]}, "loss")
    assert drawn.count("polyline") == 1
    assert "nan" not in drawn
    assert "nothing recorded yet" in report.draw({"loss": []}, "loss")
    assert [report.duration(seconds) for seconds in (8, 130, 3900)] == ["8 s", "2 min 10 s", "1 h 05 min"]


@pytest.mark.parametrize("name", ["fsdp2-2gpu", "ddp-2gpu"])
def test_configs_for_several_gpus_are_ones_that_accelerate_reads(name: str) -> None:
    from importlib import resources

    from accelerate.commands.config.config_args import load_config_from_file

    path = resources.files("clinical.finetune").joinpath("accelerate", f"{name}.yaml")
    config = load_config_from_file(str(path))
    assert config.num_processes == 2
    assert f"accelerate launch --config_file finetune/accelerate/{name}.yaml" in path.read_text("utf-8")
    if name.startswith("fsdp2"):
        assert config.fsdp_config["fsdp_version"] == 2


def test_train_is_a_function_of_recipe_and_folder() -> None:
    import inspect

    assert list(inspect.signature(train).parameters) == ["recipe", "out", "resume", "watch", "prepared"]
