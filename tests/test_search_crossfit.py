"""The cross-fitted evaluation of search: no question is scored with settings that it had a part in."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "search_crossfit.py"


@pytest.fixture(scope="module")
def crossfit():
    spec = importlib.util.spec_from_file_location("search_crossfit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their module up by name.
    sys.modules["search_crossfit"] = module
    spec.loader.exec_module(module)
    return module


def made_up(crossfit, name, scores, first):
    """Return a set of four questions: the first two choices have these scores, all others none."""
    by_choice = {choice: np.zeros(4) for choice in crossfit.GRID}
    for choice, values in zip(crossfit.GRID, scores, strict=False):
        by_choice[choice] = np.array(values)
    plain = {way: np.full(4, 0.25) for way in ("bm25", "cosine")}
    return crossfit.Measured(name, by_choice, plain, None if first is None else np.array(first))


def test_each_half_is_scored_with_what_the_other_chose(crossfit):
    one, two = crossfit.GRID[:2]
    first = [True, True, False, False]
    liveqa = made_up(crossfit, "medquad_liveqa, text", [[0.9, 0.7, 0.1, 0.3], [0.2, 0.0, 0.8, 0.6]], first)
    choices = {half: crossfit.best([liveqa], half) for half in (True, False)}
    assert choices == {True: one, False: two}, "each half chooses what is best for itself"
    assert crossfit.crossfitted(liveqa, choices).tolist() == [0.2, 0.0, 0.1, 0.3]


def test_sets_without_halves_count_whole_in_both_choices(crossfit):
    first = [True, True, False, False]
    liveqa = made_up(crossfit, "medquad_liveqa, text", [[0.4] * 4, [0.5] * 4], first)
    other = made_up(crossfit, "nfcorpus:dev", [[0.9, 0.9, 0.1, 0.1], [0.0] * 4], None)
    one, two = crossfit.GRID[:2]
    assert [crossfit.mean_of([liveqa, other], choice, True) for choice in (one, two)] == [
        pytest.approx(0.45),
        pytest.approx(0.25),
    ]
    assert crossfit.best([liveqa, other], False) == one


def test_the_rows_have_each_wording_and_all_three(crossfit):
    first = [True, False, True, False]
    names = [f"{judged}, {wording}" for judged in crossfit.JUDGED for wording in crossfit.WORDINGS]
    sets = [
        made_up(crossfit, name, [[step / 10] * 4], first)
        for step, name in zip((1, 2, 6, 3, 4, 8), names, strict=True)
    ]
    sets.append(made_up(crossfit, "medicationqa", [[0.1] * 4], None))
    rows = list(crossfit.rows(sets, {True: crossfit.GRID[0], False: crossfit.GRID[0]}))
    assert [row["set"] for row in rows] == [*names, *(f"{judged}, all three" for judged in crossfit.JUDGED)]
    assert [round(row["hybrid"]["value"], 3) for row in rows[-2:]] == [0.3, 0.5]
    assert list(crossfit.table(rows))[-2:] == [
        "| medquad_liveqa, all three (4) | 0.300 | 0.250: +0.050 [+0.050, +0.050] | 0.250: +0.050 [+0.050, +0.050] |",
        "| medquad_liveqa:reference, all three (4) | 0.500 | 0.250: +0.250 [+0.250, +0.250] "
        "| 0.250: +0.250 [+0.250, +0.250] |",
    ]


def test_a_text_is_embedded_once(crossfit, monkeypatch):
    asked = []

    def embed(_, texts):
        asked.extend(texts)
        return np.array([[float(len(text))] for text in texts], np.float32).reshape(-1, 1)

    monkeypatch.setattr(crossfit.Embedder, "embed", embed)
    embedder = crossfit.Remembering()
    assert embedder.embed(["a", "bbb", "a"]).tolist() == [[1], [3], [1]]
    assert embedder.embed_queries(["bbb", "cc"]).tolist() == [[3], [2]]
    assert asked == ["a", "bbb", "cc"]
