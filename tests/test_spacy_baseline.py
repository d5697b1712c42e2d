"""The scispaCy baseline: training on made-up text, recognition with exact offsets, the shipped pipelines."""

import gzip
import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical.corpora import catalog
from clinical.corpora.records import GoldDocument, Mention
from clinical.documents.annotations import Entity
from clinical.errors import UsageError
from clinical.finetune import spacy_baseline as training
from clinical.finetune.spacy_baseline import Passage, Score
from clinical.models import spacy_baseline
from clinical.models.spacy_baseline import SCHEMES, SpacyBaseline, cut, encodable
from clinical.prompts.labels import Label, by_name

DISEASES = ("pneumonia", "asthma", "gout", "diabetes mellitus", "chronic kidney disease", "sepsis")
FRAMES = ("The patient has {}.", "She was treated for {} last year.", "History of {} and of falls.")


def sentences() -> list[tuple[str, str]]:
    return [(frame.format(name), name) for frame in FRAMES for name in DISEASES]


def entity(text: str, mention: str, label: str = "Disease") -> Entity:
    start = text.index(mention)
    return Entity(start, start + len(mention), mention, label, grounding="decoded")


def gold(text: str, *mentions: tuple[str, str]) -> GoldDocument:
    spans = [(text.index(words), words, label) for words, label in mentions]
    return GoldDocument(
        "d",
        text,
        tuple(Mention(start, start + len(words), words, label, label) for start, words, label in spans),
    )


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpora folder with a made-up NCBI disease corpus: every document is two lines."""
    folder = tmp_path_factory.mktemp("corpora")
    (folder / "ner" / "ncbi_disease").mkdir(parents=True)
    for split, repeats in (("train", 6), ("dev", 1)):
        records = []
        for number, (text, name) in enumerate(sentences() * repeats):
            text = f"Seen today.\n{text}"
            start = text.index(name)
            mention = {"start": start, "end": start + len(name), "label": "Disease", "text": name}
            records.append({"id": f"{split}-{number}", "text": text, "entities": [mention]})
        with gzip.open(folder / "ner" / "ncbi_disease" / f"{split}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    return folder


SMALL_RECIPE = """
seed: 0
width: 16
depth: 1
rows: [200, 100, 100, 100]
hidden_width: 16
dropout: 0.1
learning_rate: 0.01
batch_words: 100
longest_run: 3
schemes:
  ncbi_disease: {corpus: ncbi_disease, splits: [train], held_out: 0.1, judge: dev, epochs: 6}
"""


def train_and_save(corpora: Path, folder: Path, *options: str) -> Path:
    recipe = folder.parent / "recipe.yaml"
    recipe.write_text(SMALL_RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLINICAL_CORPORA", str(corpora))
        code = training.main(["ncbi_disease", "--out", str(folder), "--recipe", str(recipe), *options])
    assert code == 0
    return folder


@pytest.fixture(scope="module")
def trained(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small pipeline, trained and saved by the command."""
    return train_and_save(corpora, tmp_path_factory.mktemp("out") / "scispacy-tiny", "--judge")


@pytest.fixture(scope="module")
def recognizer(trained: Path) -> SpacyBaseline:
    return SpacyBaseline.load(str(trained), "ncbi_disease")


DISEASE = by_name(["Disease"])


def test_finds_what_it_was_taught(recognizer: SpacyBaseline) -> None:
    texts = [
        "The patient has gout.",
        "",
        "Nothing to see here.",
        "History of diabetes mellitus and of falls.",
    ]
    assert recognizer.recognize(texts, DISEASE) == [
        [entity(texts[0], "gout")],
        [],
        [],
        [entity(texts[3], "diabetes mellitus")],
    ]
    assert (recognizer.system, recognizer.model, recognizer.label_names()) == (
        "scispacy",
        "scispacy-tiny",
        ("Disease",),
    )


def test_no_labels_no_entities(recognizer: SpacyBaseline) -> None:
    assert recognizer.recognize(["The patient has gout."], []) == [[]]


def test_an_unknown_label_is_refused_with_the_known_ones(recognizer: SpacyBaseline) -> None:
    with pytest.raises(UsageError, match=r"^scispacy-tiny does not know Gene, Sex; its labels: Disease$"):
        recognizer.recognize(["x"], by_name(["Sex", "Disease", "Gene"]))


def test_a_long_text_is_read_to_its_end(recognizer: SpacyBaseline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spacy_baseline, "PIECE_CHARACTERS", 50)
    text = "The patient has gout.\n" * 40
    starts = [start + 16 for start in range(0, len(text), 22)]
    found = recognizer.recognize([text, "The patient has sepsis."], DISEASE)
    assert [(e.start, e.text) for e in found[0]] == [(start, "gout") for start in starts]
    assert [(e.start, e.text) for e in found[1]] == [(16, "sepsis")]


@pytest.mark.parametrize(
    "oddity", ["\x00", "\ud800", "\r\n", "\t", "\u2028", "e\u0301", "\U0001f489", "\ufeff"]
)
def test_odd_characters_shift_nothing(recognizer: SpacyBaseline, oddity: str) -> None:
    text = f"{oddity} {oddity}The patient has gout. {oddity}"
    [found] = recognizer.recognize([text], DISEASE)
    assert entity(text, "gout") in found


@given(st.text(max_size=300))
def test_every_mention_is_its_piece_of_the_text(recognizer: SpacyBaseline, text: str) -> None:
    text = f"{text} The patient has gout.\n{text}"
    [found] = recognizer.recognize([text], DISEASE)
    assert all(text[e.start : e.end] == e.text == e.text.strip() for e in found)
    assert found == sorted(found, key=lambda e: e.start)


@given(st.text(alphabet="ab .\n", max_size=200), st.integers(2, 30))
def test_cut_loses_nothing(text: str, longest: int) -> None:
    pieces = list(cut(text, longest))
    assert "".join(piece for _, piece in pieces) == text
    assert all(0 < len(piece) <= longest and text.startswith(piece, start) for start, piece in pieces)


def test_cut_prefers_line_ends_then_sentence_ends_then_blanks() -> None:
    assert list(cut("aaaa bb. c\ndd ee ff", 14)) == [(0, "aaaa bb. c\n"), (11, "dd ee ff")]
    assert list(cut("aaaa bbbb. cc dd ee", 14)) == [(0, "aaaa bbbb. "), (11, "cc dd ee")]
    assert list(cut("aaaa bbbb cc dd", 14)) == [(0, "aaaa bbbb cc "), (13, "dd")]
    assert list(cut("a" * 30, 14)) == [(0, "a" * 14), (14, "a" * 14), (28, "aa")]


def test_lone_surrogates_are_replaced_one_for_one() -> None:
    assert encodable("a\ud800\udfffb\U0001f489") == "a\ufffd\ufffdb\U0001f489"


def test_a_wrong_name_is_answered_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"^no scispacy scheme 'icd'; available: clinical, bc5cdr, ncbi_disease$"
    ):
        SpacyBaseline.load(None, "icd")
    with pytest.raises(
        UsageError, match=r"^no scispacy model 'spacy'; shipped: scispacy-clinical, .*; or the folder"
    ):
        SpacyBaseline.load("spacy", "clinical")
    with pytest.raises(UsageError, match=r"^no scispacy model"):
        SpacyBaseline.load(str(tmp_path), "clinical")
    with pytest.raises(UsageError, match=r"^the model en_core_sci_lg is not installed; .* scispacy-clinical"):
        SpacyBaseline.load("en_core_sci_lg", "clinical")


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that stands for en_ner_bc5cdr_md: it calls everything after "has" a DISEASE or CHEMICAL."""
    import spacy

    pipeline = spacy.blank("en", meta={"name": "ner_bc5cdr_md", "version": "0.5.4"})
    ruler = pipeline.add_pipe("entity_ruler", name="ner")
    ruler.add_patterns(
        [{"label": "DISEASE", "pattern": "gout"}, {"label": "CHEMICAL", "pattern": "colchicine"}]
    )
    name = "en_ner_bc5cdr_md"
    (tmp_path / name).mkdir()
    pipeline.to_disk(tmp_path / name / f"{name}-0.5.4")
    (tmp_path / name / "meta.json").write_text(json.dumps(pipeline.meta))
    (tmp_path / name / "__init__.py").write_text(
        "from spacy.util import load_model_from_init_py\n\n"
        "def load(**overrides):\n    return load_model_from_init_py(__file__, **overrides)\n"
    )
    info = tmp_path / f"{name}-0.5.4.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.5.4\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def test_an_installed_official_model_comes_first_and_its_labels_are_ours(official: str) -> None:
    assert spacy_baseline.installed_official_models() == (official,)
    text = "She took colchicine for gout."
    for model in (None, official):
        recognizer = SpacyBaseline.load(model, "bc5cdr")
        assert (recognizer.model, recognizer.label_names()) == (official, ("Disease", "Medication"))
        assert recognizer.recognize([text], by_name(["Disease", "Medication"])) == [
            [entity(text, "colchicine", "Medication"), entity(text, "gout")]
        ]


def test_an_unpacked_official_model_is_known_by_its_inside(official: str, tmp_path: Path) -> None:
    recognizer = SpacyBaseline.load(str(tmp_path / official / f"{official}-0.5.4"), "clinical")
    assert recognizer.label_names() == ("Disease", "Medication")


def test_loading_a_pipeline_leaves_torch_alone(trained: Path) -> None:
    program = """
import sys
from clinical.models.spacy_baseline import load_pipeline
load_pipeline(sys.argv[1])
print("torch" in sys.modules)
import torch
print(torch.ones(1).item())
"""
    run = subprocess.run([sys.executable, "-c", program, trained], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("False\n1.0\n", "")


def test_official_labels_are_of_the_label_set() -> None:
    ours = {name for names in spacy_baseline.OFFICIAL.values() for name in names.values()}
    by_name(sorted(ours - {"Entity"}))


def test_the_saved_pipeline_keeps_no_words_of_the_text(trained: Path) -> None:
    strings = json.loads((trained / "vocab" / "strings.json").read_text())
    text_words = {word for text, _ in sentences() for word in re.findall(r"\w{5,}", text)}
    assert text_words.isdisjoint(strings)
    assert "Disease" in strings


def test_the_card_says_where_the_weights_come_from(trained: Path) -> None:
    card = (trained / "README.md").read_text()
    assert f"| sha256 of ner/model | `{training.sha256(trained / 'ner' / 'model')}` |" in card
    assert "| seed | 0 |" in card
    assert re.search(r"\| ncbi_disease dev \| natural \| P \d+\.\d\d  R \d+\.\d\d  F1 [6-9]\d\.\d\d \|", card)
    assert len(re.findall(r"^epoch +\d+  loss", card, flags=re.MULTILINE)) == 6


def test_training_twice_gives_the_same_weights(trained: Path, corpora: Path, tmp_path: Path) -> None:
    again = train_and_save(corpora, tmp_path / "again")
    assert training.sha256(again / "ner" / "model") == training.sha256(trained / "ner" / "model")


def test_starting_from_a_pipeline_is_a_head_start(trained: Path, corpora: Path, tmp_path: Path) -> None:
    card = (train_and_save(corpora, tmp_path / "further", "--start", str(trained)) / "README.md").read_text()
    assert (
        f"| started from | ner/model `{training.sha256(trained / 'ner' / 'model')}` (scispacy-tiny) |" in card
    )
    first_f1 = [
        float(re.findall(r"^epoch  1 .* F1 ([\d.]+)$", text, flags=re.MULTILINE)[0])
        for text in ((trained / "README.md").read_text(), card)
    ]
    assert first_f1[0] < first_f1[1]


def test_an_unknown_scheme_is_refused_before_training() -> None:
    with pytest.raises(UsageError, match=r"^no scheme 'icd'; available: bc5cdr, clinical, ncbi_disease$"):
        training.main(["icd"])


def test_the_recipe_covers_the_schemes_with_corpora_that_may_train() -> None:
    schemes = training.read_recipe().schemes
    assert sorted(schemes) == sorted(SCHEMES)
    for scheme in schemes.values():
        corpus = catalog.find(scheme.corpus)
        assert corpus.may_train
        assert {*scheme.splits, scheme.judge} <= set(corpus.splits)
        assert scheme.judge not in scheme.splits


def test_of_overlapping_entities_the_longest_stays() -> None:
    a, b, c = Entity(0, 5, "", "Test"), Entity(3, 12, "", "Disease"), Entity(12, 14, "", "Age")
    assert training.outermost([a, b, c]) == (b, c)


def test_lines_move_their_entities_and_drop_what_crosses_them() -> None:
    document = gold(
        "One gout.\n\nTwo\nasthma here.", ("gout", "Disease"), ("Two\nasthma", "Disease"), ("here", "Age")
    )
    assert training.lines(document) == [
        Passage("One gout.", (Entity(4, 8, "gout", "Disease"),)),
        Passage("Two", ()),
        Passage("asthma here.", (Entity(7, 11, "here", "Age"),)),
    ]


def test_runs_are_all_of_the_text_with_exact_entities_in_both_typographies() -> None:
    corpus = catalog.find("bc5cdr")
    sentence = gold("Levodopa ( L - dopa ) in Parkinson ' s disease .", ("Parkinson ' s disease", "Disease"))
    found = [run for epoch in range(4) for run in training.runs([sentence] * 30, corpus, 5, epoch)]
    assert all(run.text[e.start : e.end] == e.text for run in found for e in run.entities)
    assert {e.text for run in found for e in run.entities} == {"Parkinson ' s disease", "Parkinson's disease"}
    assert sum(len(run.entities) for run in found) == 4 * 30
    assert max(len(run.entities) for run in found) == 5


def test_strict_counts_characters_and_label(recognizer: SpacyBaseline) -> None:
    text = "The patient has gout."
    right, label, place = entity(text, "gout"), entity(text, "gout", "Age"), entity(text, "has gout")
    passages = [Passage(text, (right,)), Passage(text, (label,)), Passage(text, (place, right))]
    score = training.strict(recognizer, passages)
    assert score == Score(found=3, gold=4, correct=2)
    assert str(score) == "P 66.67  R 50.00  F1 57.14"


WEIGHTS = resources.files("clinical.models").joinpath("weights")


def shipped_folder(scheme: str) -> Path:
    return Path(str(WEIGHTS.joinpath(f"scispacy-{scheme}")))


def test_the_shipped_pipelines_are_small() -> None:
    sizes = [
        file.stat().st_size
        for scheme in SCHEMES
        for file in shipped_folder(scheme).rglob("*")
        if file.is_file()
    ]
    assert 2**20 < sum(sizes) < 10 * 2**20


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_shipped_card_names_its_weights(scheme: str) -> None:
    folder = shipped_folder(scheme)
    assert training.sha256(folder / "ner" / "model") in (folder / "README.md").read_text()


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("scheme", "text", "expected"),
    [
        (
            "bc5cdr",
            "Carbamazepine caused hyponatremia and seizures.",
            [("Carbamazepine", "Medication"), ("hyponatremia", "Disease"), ("seizures", "Disease")],
        ),
        (
            "clinical",
            "A 54-year-old woman presented with fever and chest pain.",
            [("54-year-old", "Age"), ("woman", "Sex"), ("presented", "Event"), ("fever", "Symptom")],
        ),
        ("ncbi_disease", "Mutations in BRCA1 cause breast cancer.", [("breast cancer", "Disease")]),
    ],
)
def test_a_shipped_pipeline_finds_the_obvious(
    scheme: str, text: str, expected: list[tuple[str, str]]
) -> None:
    recognizer = SpacyBaseline.load(f"scispacy-{scheme}", scheme)
    assert recognizer.model == f"scispacy-{scheme} (trained here)"
    [found] = recognizer.recognize([text], [Label(name, "") for name in recognizer.label_names()])
    assert [(e.text, e.label) for e in found][: len(expected)] == expected
