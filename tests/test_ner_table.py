"""The README's table: which calls it makes, and how it shows what they say."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "ner_table.py"


@pytest.fixture(scope="module")
def ner_table():
    spec = importlib.util.spec_from_file_location("ner_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their module up by name.
    sys.modules["ner_table"] = module
    spec.loader.exec_module(module)
    return module


def result(f1: float, words: int, speed: float) -> dict[str, object]:
    return {
        "gold": "x:dev",
        "words": words,
        "labels": ["Disease"],
        "systems": [
            {
                "model": "nowhere@x",
                "words_per_second": speed,
                "words_per_cpu_second": 2 * speed,
                "strict": {"f1": f1, "f1_interval": [f1 - 0.01, f1 + 0.01]},
            }
        ],
    }


def test_a_column_is_one_call(ner_table):
    e3c = ner_table.COLUMNS[-1]
    call = ner_table.command(e3c, ["light:folder", "mistral:tiny", "scispacy"], 5)
    assert " ".join(call) == (
        "clinical evaluate ner --gold e3c:dev --systems light@notes:folder,mistral:tiny,scispacy@clinical "
        "--count-as Symptom=Disease --limit 5"
    )


def test_a_row_is_what_the_calls_said(ner_table):
    results = {
        column.gold: result(0.8 + place / 100, 1000, 100.0 * (place + 1))
        for place, column in enumerate(ner_table.COLUMNS)
    }
    row = ner_table.row(0, "mistral", results)
    # 4,000 words in 10 + 5 + 3.3 + 2.5 seconds.
    assert (row["words_per_second"], row["megabytes"]) == (192, None)
    assert ner_table.markdown([row]) == (
        "| system | bc5cdr test | ncbi_disease dev | maccrobat dev | e3c dev | words/s | words/CPU s | MB |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|\n"
        "| mistral | 80.0 (79.0-81.0) | 81.0 (80.0-82.0) | 82.0 (81.0-83.0) | 83.0 (82.0-84.0) | 192 | 384 | - |\n"
    )


def test_the_size_is_that_of_the_weights_on_disk(ner_table, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "x.safetensors").write_bytes(bytes(1_000_000))
    (tmp_path / "b" / "deep" / "x.safetensors").write_bytes(bytes(2_500_000))
    models = [f"{tmp_path / 'a'} (trained here)", str(tmp_path / "b")]
    assert ner_table.megabytes("scispacy", models) == 2.5
