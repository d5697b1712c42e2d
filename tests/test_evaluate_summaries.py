"""Sets of summaries, the floors, the scores and how they are printed, on small made-up texts."""

import gzip
import json

import pytest
from click.testing import CliRunner

from clinical.commands.evaluate_summarize import summarize
from clinical.corpora.summaries import SummaryPair, SummarySet, half_of, leaked, read_summary_set
from clinical.errors import UsageError
from clinical.scoring.summaries import (
    SummaryEvaluation,
    SummaryScores,
    compare_entities,
    render_summaries,
    score_texts,
)
from clinical.scoring.summary_floors import by_lot, floors, lead, nearest, oracle, sentences_of, text_rank

VISIT = (
    "The patient came in on Monday. She has a cough. The cough began a week ago after a cold. "
    "The cough keeps her awake. Her dog is well. Chest X-ray shows pneumonia of the right lower lobe."
)


def pair(id, source, target="Cough."):
    return SummaryPair(id, source, target)


# --- sets ---


def test_own_file_is_read_with_its_line_numbers(tmp_path):
    path = tmp_path / "gold.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.write(json.dumps({"id": "a", "source": "Long.", "target": "Short."}) + "\n\n")
        lines.write(json.dumps({"source": "Third line.", "target": "3."}) + "\n")
    assert read_summary_set(str(path)) == SummarySet(
        "gold.jsonl.gz", "brief", [pair("a", "Long.", "Short."), pair("3", "Third line.", "3.")], ()
    )


def test_halves_of_a_set_share_no_row_and_make_up_the_whole(tmp_path):
    path = tmp_path / "gold.jsonl"
    rows = [{"id": f"note-{number}", "source": "Long.", "target": "Short."} for number in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    halves = {half: read_summary_set(str(path), half=half) for half in ("a", "b")}
    assert {half: gold.name for half, gold in halves.items()} == {
        "a": "gold.jsonl, half a",
        "b": "gold.jsonl, half b",
    }
    ids = {half: {pair.id for pair in gold.pairs} for half, gold in halves.items()}
    assert ids["a"] == {row["id"] for row in rows if half_of(row["id"]) == "a"}
    assert ids["a"] | ids["b"] == {row["id"] for row in rows}
    assert not ids["a"] & ids["b"]
    assert min(map(len, ids.values())) > 10
    assert [half_of("mtsamples-0000"), half_of("mtsamples-0001")] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"source": "a"}', "line 1: needs `source` and `target`"),
        ('{"source": "a", "target": "  "}', "line 1: needs `source` and `target`"),
        ("[1]", "line 1: needs `source` and `target`"),
        ("{", "line 1 is not JSON"),
    ],
)
def test_own_file_with_a_bad_line(tmp_path, line, message):
    path = tmp_path / "gold.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UsageError, match=message):
        read_summary_set(str(path))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("bc5cdr:test", "neither a file nor a corpus of summaries"),
        ("mts_dialog", "name a split too, as mts_dialog:"),
        ("mts_dialgo:test", "mts_dialog"),
    ],
)
def test_sets_that_there_are_not(source, message):
    with pytest.raises(UsageError, match=message):
        read_summary_set(source)


def test_leaks_are_whole_texts_and_texts_that_stand_in_training_rows_by_half():
    long = " ".join(f"word{number}" for number in range(60))
    other = " ".join(f"other{number}" for number in range(200))
    training = [pair("t", "Short  text."), pair("u", f"Before. {long} After.")]
    pairs = [
        pair("same", "short text."),
        pair("inside", long),
        pair("greeting", f"{long[:100]} {other}"),
        pair("new", "Short text, but another."),
    ]
    assert leaked(pairs, training) == ["same", "inside"]
    assert leaked(pairs, []) == []


# --- floors ---


def test_picks_keep_the_order_and_never_take_more_than_there_is():
    sentences = sentences_of(VISIT)
    assert len(sentences) == 6
    assert lead(sentences, 2) == [0, 1]
    for pick in (lead, by_lot, text_rank):
        assert pick(sentences, 40) == [0, 1, 2, 3, 4, 5]
        assert pick([], 3) == []
        chosen = pick(sentences, 3)
        assert chosen == sorted(set(chosen))
        assert len(chosen) == 3


def test_text_rank_prefers_what_the_others_repeat():
    assert 4 not in text_rank(sentences_of(VISIT), 4)
    assert {1, 2, 3} <= set(text_rank(sentences_of(VISIT), 4))


def test_oracle_takes_the_sentences_that_were_summarized():
    target = "Cough for a week after a cold. Pneumonia of the right lower lobe on chest X-ray."
    assert oracle(pair("a", VISIT, target)) == [
        "The cough began a week ago after a cold.",
        "Chest X-ray shows pneumonia of the right lower lobe.",
    ]


def test_nearest_copies_the_summary_of_the_most_similar_training_text():
    training = [pair("1", "knee pain after a fall", "Knee."), pair("2", "dry cough and fever", "Cough.")]
    assert nearest([pair("a", "fever, a dry cough")], training) == ["Cough."]


def test_lengths_are_chosen_on_training_rows():
    training = [pair("t", VISIT, "The patient came in on Monday.")] * 2
    gold = SummarySet("x", "brief", [pair("a", VISIT)], training)
    named = dict(floors(gold))
    assert next(iter(named)) == "lead-1"
    assert {"source", "nearest", "oracle"} <= named.keys()
    assert named["lead-1"](gold.pairs) == ["The patient came in on Monday."]
    assert "nearest" not in dict(floors(SummarySet("x", "brief", gold.pairs, ())))


# --- scores ---


def test_scores_of_a_perfect_an_empty_and_a_partial_summary():
    scores = score_texts(["mild cough", "", "cough"], ["mild cough", "mild cough", "mild cough"])
    assert scores["R1"] == [100.0, 0.0, pytest.approx(200 / 3)]
    assert scores["R2"] == [100.0, 0.0, 0.0]
    assert scores["words"] == [2, 0, 1]
    assert scores["chrF"][0] == pytest.approx(100)


def test_rouge_does_not_stem_and_l_differs_from_lsum():
    scores = score_texts(["coughs\nfever high"], ["fever high\ncough"])
    assert scores["R1"] == [pytest.approx(200 / 3)]
    assert scores["RLsum"][0] >= scores["RL"][0]


def test_entities_are_compared_over_all_texts():
    made = [frozenset({("cough", "Symptom"), ("fever", "Symptom")}), frozenset()]
    wanted = [frozenset({("cough", "Symptom")}), frozenset({("asthma", "Disease")})]
    assert compare_entities(made, wanted) == (50.0, 50.0, 50.0)
    assert compare_entities([frozenset()], [frozenset()]) == (0.0, 0.0, 0.0)


def test_table_and_json():
    one = SummaryScores(
        "light", {"R1": [50.0, 30.0], "support": [100.0, None]}, entities=(50.0, 25.0, 100 / 3)
    )
    two = SummaryScores("oracle", {"R1": [90.0, 90.0], "support": [None, None]})
    three = SummaryScores("lead-3", {"R1": [20.0, 20.0], "support": [100.0, 100.0]})
    evaluation = SummaryEvaluation("set:dev", "brief", 2, 1, [one, two, three], ["A remark."])
    assert render_summaries([evaluation], "table").splitlines() == [
        "set:dev: 2 texts, 1 left out that training rows hold; style brief",
        "ROUGE: F1 of rouge-score without stemmer. Intervals: 95%, 1,000 bootstrap draws of the texts.",
        "A remark.",
        "",
        "system  R1 interval    R1  support  entities P/R/F1",
        "light   30.0-50.0    40.0    100.0   50.0/25.0/33.3",
        "oracle  90.0-90.0    90.0        -                -",
        "lead-3  20.0-20.0    20.0    100.0                -",
        "",
        "light minus lead-3: R1 +20.0 [+10.0, +30.0], p = 0.001",
    ]
    (written,) = json.loads(render_summaries([evaluation], "json"))
    assert written["leaked"] == 1
    assert written["systems"][0] == {
        "system": "light",
        "R1": 40.0,
        "support": 100.0,
        "R1 interval": [30.0, 50.0],
        "entities": {"precision": 50.0, "recall": 25.0, "f1": 33.33},
    }


# --- the command ---


@pytest.mark.embedded
def test_the_command_measures_systems_and_floors_of_a_file(tmp_path):
    path = tmp_path / "gold.jsonl"
    path.write_text(json.dumps({"id": "a", "source": VISIT, "target": "Cough for a week, pneumonia."}) + "\n")
    result = CliRunner().invoke(summarize, ["--gold", str(path), "--style", "brief", "--format", "json"])
    assert result.exit_code == 0, result.output
    (evaluation,) = json.loads(result.stdout)
    scores = {system["system"]: system for system in evaluation["systems"]}
    assert [*scores] == ["light", "lead-3", "TextRank-3", "random-3", "source", "oracle"]
    assert scores["source"]["omitted"] == 0.0
    assert scores["source"]["support"] == scores["light"]["support"] == 100.0
    assert scores["lead-3"]["omitted"] > 0
    assert scores["oracle"]["R1"] >= max(scores[name]["R1"] for name in ("lead-3", "TextRank-3", "source"))


def test_wrong_calls_are_one_line():
    for arguments, message in [
        (["--gold", "chq:dev", "--style", "breif"], "no style 'breif'"),
        (["--gold", "chq:dev", "--systems", "light,,"], "an empty name"),
        (["--gold", "chq:dev", "--systems", "heavy"], "no system 'heavy'"),
    ]:
        with pytest.raises(UsageError, match=message):
            summarize.main(arguments, standalone_mode=False)
