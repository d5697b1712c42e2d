"""The measures of answers: right on cases done by hand; readers that name what is wrong; floors that are floors."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from clinical.cli import cli
from clinical.corpora import mashqa, medquad_questions, pubmedqa
from clinical.corpora.answers import answer_documents
from clinical.corpora.qa import read_folder, read_questions, touched
from clinical.documents.answers import Reading
from clinical.errors import UsageError
from clinical.scoring.answer_floors import First, Words
from clinical.scoring.answers import (
    AnswerEvaluation,
    Outcome,
    SystemOnQuestions,
    auroc,
    citations,
    differences,
    score_decisions,
)

SENTENCES = ["Eczema itches.", "Wash with lukewarm water.", "It is not contagious.", "Use a thick cream."]
CONTEXT = " ".join(SENTENCES)
STARTS = [[CONTEXT.index(sentence), len(sentence)] for sentence in SENTENCES]
CHARTS = Path(__file__).parent.parent / "benchmarks" / "ask" / "charts"


def entry(id: str, numbers: list[int] | None, **changes: object) -> dict[str, object]:
    spans = [STARTS[number] for number in numbers or []]
    answer = {
        "text": " ".join(SENTENCES[number] for number in numbers or []),
        "answer_start": None if len(spans) > 1 else spans[0][0] if spans else None,
        "answer_starts": spans,
        "answer_span": numbers,
    }
    return {
        "id": id,
        "question": "How is eczema treated?",
        "is_impossible": False,
        "answers": [answer],
    } | changes


def mashqa_file(path: Path, *qas: dict[str, object]) -> Path:
    paragraph = {"context": CONTEXT, "sent_list": SENTENCES, "sent_starts": STARTS, "qas": list(qas)}
    article = {"title": "https://example.org/skin/eczema-care", "paragraphs": [paragraph]}
    path.write_text(json.dumps({"data": [article]}), encoding="utf-8")
    return path


# --- MASHQA ---


def test_mashqa_as_it_is_read(tmp_path: Path) -> None:
    none = entry("q3", None, is_impossible=True, answers=[])
    found = mashqa.read(mashqa_file(tmp_path / "full.json", entry("q1", [1, 3]), entry("q2", [2]), none))
    assert found.faults == []
    assert [(item.id, item.answers) for item in found.questions] == [
        ("q1", frozenset({1, 3})),
        ("q2", frozenset({2})),
        ("q3", frozenset()),
    ]
    item = found.questions[0]
    assert [item.sentence(number) for number in range(4)] == SENTENCES
    assert item.title == "eczema care"


def test_mashqa_that_contradicts_itself_is_left_out_and_named(tmp_path: Path) -> None:
    wrong = entry("q1", [1, 3])
    wrong["answers"][0]["answer_span"] = [0, 1]  # type: ignore[index]
    lost = entry("q2", [1])
    lost["answers"][0]["answer_starts"] = [[3, 5]]  # type: ignore[index]
    found = mashqa.read(mashqa_file(tmp_path / "full.json", wrong, lost, entry("q3", [0])))
    assert [item.id for item in found.questions] == ["q3"]
    assert found.faults == [
        "question q1: answer_span and answer_starts name different sentences",
        "question q2: an answer_starts is none of the sent_starts",
    ]


def test_what_is_not_mashqa_is_named(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(UsageError, match="is not a file of MASHQA's layout"):
        mashqa.read(tmp_path / "other.json")
    with pytest.raises(UsageError, match="no such file; MASHQA's files are yours to bring"):
        mashqa.read(tmp_path / "gone.json")
    with pytest.raises(UsageError, match="mashqa needs its file"):
        read_questions("mashqa")


# --- questions of one's own ---


def test_own_questions(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    text = "Warfarin was stopped. It bled.\nShe is well."
    records = [
        {"id": "a", "question": "Why?", "text": text, "answers": ["It bled."], "title": "Letter"},
        {"question": "Who?", "text": text, "answers": []},
        {"question": "Is she well?", "text": text, "sentences": [[0, 21], [22, 43]], "decision": "yes"},
    ]
    file.write_text("\n\n".join(map(json.dumps, records)), encoding="utf-8")
    one, two, three = read_questions(str(file))
    assert (one.id, one.answers, one.title, one.sentence(1)) == ("a", frozenset({1}), "Letter", "It bled.")
    assert (two.id, two.answers) == ("own.jsonl#3", frozenset())
    assert (three.answers, three.decision, len(three.sentences)) == (None, "yes", 2)
    assert len(read_questions(str(file), 2)) == 2


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"question": "Why?"}', "line 1: is not a question on a text (no 'text')"),
        ('{"question": "Why?", "text": "a", "answers": ["b"]}', "the answer 'b' is not in the text"),
        ('{"question": "Why?", "text": "a", "decision": "perhaps"}', "the decision is 'perhaps'"),
        ('{"question": "Why?", "text": "a", "sentences": [[0, 9]]}', "a sentence lies outside the text"),
        ("{", "line 1"),
    ],
)
def test_a_wrong_question_is_named_with_its_line(line: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(line, encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        read_questions(str(file))
    assert fault in str(raised.value)


@pytest.mark.parametrize(("folder", "count", "unanswered"), [("charts", 108, 24), ("charts2", 192, 42)])
def test_the_charts_quote_their_notes(folder: str, count: int, unanswered: int) -> None:
    charts = CHARTS.parent / folder
    questions = read_folder(charts)
    assert len({item.id for item in questions}) == len(questions) == count
    assert {item.split for item in questions} == {"dev", "test"}
    assert sum(not item.answers for item in questions) == unanswered
    folders = {split: {item.folder for item in read_folder(charts, split)} for split in ("dev", "test")}
    assert not folders["dev"] & folders["test"], "no patient is in both halves"
    with pytest.raises(UsageError, match="no question of split 'train'; there are: dev, test"):
        read_folder(charts, "train")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 40), st.integers(1, 20))
def test_touched_sentences_share_a_character(lengths: list[int], start: int, length: int) -> None:
    ends = [sum(lengths[: number + 1]) for number in range(len(lengths))]
    spans = list(zip([0, *ends[:-1]], ends, strict=True))
    expected = {n for n, (a, b) in enumerate(spans) if set(range(a, b)) & set(range(start, start + length))}
    assert touched(spans, [(start, start + length)]) == expected


# --- corpora ---


def write_corpus(folder: Path, name: str, split: str, records: list[dict[str, object]]) -> None:
    (folder / "qa" / name).mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "qa" / name / f"{split}.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def test_medquad_articles_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path))
    monkeypatch.setattr(medquad_questions, "_trained", lambda: frozenset({"gout"}))
    answers = {
        "symptoms": "What are the symptoms of Gout? A toe hurts badly. It comes at night.",
        "treatment": "Rest the joint first. It comes at night. Take the drug early.",
        "causes": "Too much uric acid is why.",
    }
    records = [
        {"id": f"G/1#{n}", "document": f"{focus}/1", "focus": focus, "question": f"What of {focus} ?",
         "question_type": kind, "answer": answer}
        for focus in ("Gout", "Sprain")
        for n, (kind, answer) in enumerate(answers.items())
    ]  # fmt: skip
    write_corpus(tmp_path, "medquad", "train", records[:3])
    write_corpus(tmp_path, "medquad", "dev", records)
    found = [item for split in ("dev", "test") for item in medquad_questions.read(split, "template")]
    assert {item.title for item in found} == {"Sprain"}, "a focus that was trained on measures nothing"
    told = {tuple(item.sentence(number) for number in sorted(item.answers or ())) for item in found}
    assert told == {
        ("A toe hurts badly.",),
        ("Rest the joint first.", "Take the drug early."),
        ("Too much uric acid is why.",),
    }, "neither a repeated question nor what two answers share is an answer"
    assert len(list(medquad_questions.read("train"))) == 3


def test_pubmedqa_and_its_silver_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path))
    record = {
        "id": "1", "question": "Does walking help?", "final_decision": "yes",
        "contexts": ["Walking is cheap. We asked 40 patients.", "Pain fell from 7 to 3 in the walking group."],
        "long_answer": "Walking lowered pain in patients: it fell in the walking group.",
    }  # fmt: skip
    write_corpus(tmp_path, "pubmedqa", "dev", [record])
    (item,) = pubmedqa.read("dev")
    assert (item.decision, item.answers, len(item.sentences)) == ("yes", None, 3)
    (silver,) = pubmedqa.evidence("dev")
    assert 2 in (silver.answers or ())


# --- measures ---


def test_measures_of_cases_done_by_hand() -> None:
    system = SystemOnQuestions(
        "hand",
        [Outcome(2, 2, 2, score=0.9), Outcome(1, 3, 2, score=0.8), Outcome(0, 0, 1, abstained=True, score=0.1),
         Outcome(0, 0, 0, abstained=True, score=0.2), Outcome(0, 1, 0, score=0.5)],
    )  # fmt: skip
    found = {name: value.value for name, value in system.measures().items() if value}
    assert {name: round(value, 4) for name, value in found.items()} == {
        "P": 0.6, "R": 0.6, "F1": 0.6, "EM": 0.3333, "abstention": 0.6, "AUROC": 0.6667,
    }  # fmt: skip


def test_systems_are_compared_question_by_question() -> None:
    one = SystemOnQuestions("one", [Outcome(2, 2, 2), Outcome(1, 1, 2), Outcome(0, 0, 0, abstained=True)])
    other = SystemOnQuestions("other", [Outcome(1, 1, 2), Outcome(1, 1, 2), Outcome(0, 1, 0)])
    found = differences(one, other)
    assert {name: round(gain.value, 4) for name, gain in found.items()} == {
        "F1": round(6 / 7 - 4 / 6, 4), "EM": 0.5, "abstention": 0.3333,
    }  # fmt: skip
    assert found["F1"].low == 0.0, "drawn twice, the second question makes no difference"
    same = differences(one, one)
    assert {(gain.low, gain.value, gain.high) for gain in same.values()} == {(0.0, 0.0, 0.0)}
    (comparison,) = AnswerEvaluation("gold", 3, 2, [one, other]).as_dict()["differences"]
    assert (comparison["system"], comparison["from"], comparison["F1"]["value"]) == ("one", "other", 0.1905)


def test_citations_as_alce_counts_them() -> None:
    def judge(sentence: str, passages: object) -> bool:
        return set(sentence.split()) <= set(" ".join(passages).split())  # type: ignore[call-overload]

    recall, precision = citations(
        [("a b", ["a", "b"]), ("a", ["a", "c"]), ("x", ["a"]), ("y", []), ("a", ["c", "d", "e", "a"])], judge
    )
    assert recall == (1.0, 1.0, 0.0, 0.0, 0.0), "a fourth citation does not count"
    assert precision == (1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_auroc_is_a_share_and_turns_around(one: list[float], other: list[float]) -> None:
    assert 0 <= auroc(one, other) <= 1
    assert auroc(one, other) == pytest.approx(1 - auroc(other, one))


def test_decisions_done_by_hand() -> None:
    scores = score_decisions(
        "s", ["yes", "yes", "no", "maybe"], ["yes", "no", "no", "yes"], ("yes", "no", "maybe")
    )
    assert scores.accuracy.value == 0.5
    assert scores.f1 == {"yes": 0.5, "no": pytest.approx(2 / 3), "maybe": 0.0}
    assert scores.macro_f1.value == pytest.approx((0.5 + 2 / 3) / 3)


def test_floors() -> None:
    readings = [
        Reading("", (("", "Asthma since birth."), ("", "Warfarin stopped."))),
        Reading("", (("", "Stop warfarin"),)),
    ]
    assert First().score("q", readings) == [[1.0, pytest.approx(2 / 3)], [pytest.approx(1 / 3)]]
    first, second = Words().score("Why was warfarin stopped?", readings)
    assert first[0] == 0.0
    assert {first[1], second[0]} == {1.0}, "by stems both say the same in as many words"


# --- the command ---


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["evaluate", "ask", *arguments])


def test_the_command_reads_mashqa_once_and_tells_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = entry("q2", [2]) | {"answers": [{"answer_starts": [[1, 1]]}]}
    file = mashqa_file(tmp_path / "test.json", entry("q1", [1, 3]), wrong)
    reads: list[Path] = []
    read = mashqa.read
    monkeypatch.setattr(mashqa, "read", lambda path: reads.append(path) or read(path))
    result = run("--gold", f"mashqa:{file}", "--systems", "first-1")
    assert result.exit_code == 0, result.output
    assert reads == [file]
    assert "1 question left out: question q2: an answer_starts is none of the sent_starts" in result.stdout


@pytest.mark.embedded
def test_the_command_on_mashqa(tmp_path: Path) -> None:
    file = mashqa_file(tmp_path / "test.json", entry("q1", [1, 3]), entry("q2", [2]))
    result = run("--gold", f"mashqa:{file}", "--systems", "light,first-2,bm25-1", "--format", "json")
    assert result.exit_code == 0, result.output
    (evaluation,) = json.loads(result.stdout)
    assert (evaluation["questions"], evaluation["answerable"]) == (2, 2)
    first = evaluation["systems"][1]
    assert (first["P"]["value"], first["R"]["value"], first["EM"]["value"]) == (0.25, 0.3333, 0.0)
    assert {system["citation P"]["value"] for system in evaluation["systems"]} == {1.0}, "they quote"


@pytest.mark.embedded
def test_the_command_on_a_folder_and_on_decisions(tmp_path: Path) -> None:
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "note.txt").write_text(
        "Warfarin was stopped after a bleed. She sings.", encoding="utf-8"
    )
    answer = {"file": "note.txt", "text": "stopped after a bleed"}
    record = {"id": "1", "folder": "case", "question": "Why was warfarin stopped?", "answers": [answer]}
    (tmp_path / "questions.jsonl").write_text(json.dumps(record), encoding="utf-8")
    result = run("--gold", str(tmp_path), "--systems", "bm25-1", "--cosine")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].split()[:4] == ["bm25-1", "100.0", "100.0", "100.0"]
    own = tmp_path / "own.jsonl"
    text = "There was no significant difference in pain between the groups."
    own.write_text(
        json.dumps({"question": "Does it help?", "text": text, "decision": "no"}), encoding="utf-8"
    )
    judged = run("--gold", str(own), "--task", "yesno", "--systems", "light", "--format", "json")
    assert [system["system"] for system in json.loads(judged.stdout)["systems"]] == ["light", "always yes"]


def test_what_cannot_be_measured_is_one_line(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps({"question": "Is it?", "text": "It is.", "decision": "yes"}), encoding="utf-8")
    for arguments, line in (
        (["--gold", str(own)], "1 questions have no answer sentences; score them with --task yesno"),
        (["--gold", "mashqa"], "mashqa needs its file: mashqa:test_webmd_squad_v2_full.json"),
        (["--gold", str(tmp_path)], "questions.jsonl is missing"),
        (["--gold", "bc5cdr:dev"], "no questions with answer sentences"),
        (["--gold", str(own), "--task", "yesno", "--systems", "gpt"], "no system 'gpt' for yes/no questions"),
    ):
        result = run(*arguments)
        assert (result.exit_code, line in result.stderr) == (2, True), result.stderr


def test_a_corpus_as_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_CORPORA", str(tmp_path))
    pairs = [
        {
            "document": "G/1",
            "focus": "Gout",
            "question": "What is Gout ?",
            "answer": "A disease of joints.\n",
        },
        {"document": "G/1", "focus": "Gout", "question": "Who gets Gout ?", "answer": "Older men."},
    ]
    write_corpus(tmp_path, "medquad", "train", list(pairs))
    write_corpus(tmp_path, "medquad", "dev", [])
    file = answer_documents("medquad", tmp_path)
    (document,) = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    text = "What is Gout?\nA disease of joints.\n\nWho gets Gout?\nOlder men."
    assert document == {"id": "G/1", "title": "Gout", "text": text}
    before = file.stat().st_mtime_ns
    assert answer_documents("medquad", tmp_path).stat().st_mtime_ns == before, "an index of it stays as it is"
    with pytest.raises(UsageError, match="no corpus 'nfcorpus' to ask; available: medquad"):
        answer_documents("nfcorpus", tmp_path)
