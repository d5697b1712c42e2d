"""The light tagger as shipped: it finds what a reader finds, int8 agrees with torch, it starts in no time."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clinical.errors import UsageError
from clinical.models.light_tagger import LightTagger, shipped_folder
from clinical.models.word_pieces import split
from clinical.prompts.labels import by_name, core_labels

pytestmark = pytest.mark.embedded

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def tagger(shared_cache: Path) -> Iterator[LightTagger]:
    """The shipped tagger with its default scheme, prepared once in a cache that lives for the whole module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        patch.delenv("CLINICAL_CACHE", raising=False)
        tagger = LightTagger.load()
        tagger.recognize(["Fever."], by_name(["Symptom"]))
        yield tagger


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("She takes metformin 500 mg for type 2 diabetes.", {"metformin": "Medication", "500 mg": "Dosage"}),
        ("He was a 34-year-old man with cough and fever.", {"34-year-old": "Age", "man": "Sex", "fever": "Symptom"}),
        ("A chest X-ray was performed and hemoglobin was 9.8 g/dl.", {"9.8 g/dl": "Result", "hemoglobin": "Test"}),
        ("He underwent appendectomy under general anesthesia.", {"appendectomy": "Procedure"}),
    ],
)  # fmt: skip
def test_finds_the_entities_of_simple_sentences(
    tagger: LightTagger, sentence: str, expected: dict[str, str]
) -> None:
    (found,) = tagger.recognize([sentence], core_labels())
    labels = {entity.text: entity.label for entity in found}
    assert {text: labels.get(text) for text in expected} == expected
    for entity in found:
        assert sentence[entity.start : entity.end] == entity.text
        assert entity.score is not None
        assert 0 < entity.score <= 1


def test_only_the_labels_asked_for(tagger: LightTagger) -> None:
    (found,) = tagger.recognize(["He has fever and takes aspirin."], by_name(["Medication"]))
    assert [(entity.text, entity.label) for entity in found] == [("aspirin", "Medication")]


def test_each_occurrence_of_a_repeated_mention_stands_at_its_own_place(tagger: LightTagger) -> None:
    text = "Aspirin was stopped. The patient asked why aspirin was stopped; aspirin had caused bleeding."
    (found,) = tagger.recognize([text], by_name(["Medication"]))
    assert [entity.start for entity in found] == [0, text.index("aspirin"), text.rindex("aspirin")]


def test_unknown_label_and_scheme_are_the_callers_mistake(tagger: LightTagger) -> None:
    with pytest.raises(
        UsageError, match=r"light \(bc5cdr\) does not know the label Symptom; it knows: Disease, Medication"
    ):
        LightTagger.load("bc5cdr").recognize(["Fever."], by_name(["Symptom"]))
    with pytest.raises(UsageError, match="no scheme 'x' for light; available: bc5cdr"):
        LightTagger.load("x")
    with pytest.raises(UsageError, match="holds no light tagger"):
        LightTagger.load(model="nowhere")


def test_a_long_text_is_read_to_its_last_word(tagger: LightTagger) -> None:
    text = "The patient was well. " * 800 + "She was given vancomycin."
    (found,) = tagger.recognize([text], by_name(["Medication"]))
    assert [entity.text for entity in found] == ["vancomycin"]


def test_seams_between_windows_change_next_to_nothing(tagger: LightTagger) -> None:
    """The same note after fillers of different lengths has its seams elsewhere; what is found must agree."""
    note = (EXAMPLES / "discharge.txt").read_text(encoding="utf-8")
    labels = by_name(["Medication", "Dosage", "Age", "Sex"])

    def found_after(filler: str) -> set[tuple[int, int, str]]:
        (entities,) = tagger.recognize([filler + note], labels)
        shift = len(filler)
        return {(e.start - shift, e.end - shift, e.label) for e in entities if e.start >= shift}

    runs = [found_after("The weather was fine. " * count) for count in (10, 13, 17)]
    common, union = set.intersection(*runs), set.union(*runs)
    assert len(common) >= 0.8 * len(union)


def test_int8_agrees_with_torch(tagger: LightTagger) -> None:
    import torch

    from clinical.models.light_export import merged_encoder

    words = split((EXAMPLES / "discharge.txt").read_text(encoding="utf-8")[:500])
    exact = merged_encoder(shipped_folder())
    with torch.inference_mode():
        hidden = exact(
            input_ids=torch.tensor([[101, *words.ids, 102]]),
            token_type_ids=torch.tensor([[0, *words.shapes, 0]]),
        ).last_hidden_state[0, 1:-1]
    expected = tagger._log_probabilities(hidden.numpy()[words.word_starts], "clinical")
    int8 = tagger._log_probabilities(tagger._hidden(words), "clinical")
    agreed = (int8.argmax(axis=1) == expected.argmax(axis=1)).mean()
    assert len(words.ids) < 126
    assert agreed >= 0.95


def test_cold_start_is_below_a_second_once_prepared(tagger: LightTagger) -> None:
    """Counted in processor time: the clock on a shared machine measures the neighbours."""
    command = [sys.executable, "-m", "clinical", "ner", str(EXAMPLES / "discharge.txt"), "--format", "jsonl"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_nothing_in_nothing_out(tagger: LightTagger) -> None:
    assert tagger.recognize(["", " \n", "\x00"], by_name(["Disease"])) == [[], [], []]


def test_the_default_scheme_borrows_labels_it_lacks(tagger: LightTagger) -> None:
    text = "Sequencing showed a mutation in the BRCA1 gene; cultures grew Escherichia coli."
    (found,) = tagger.recognize([text], by_name(["Gene", "Species"]))
    assert {("BRCA1", "Gene"), ("Escherichia coli", "Species")} <= {
        (entity.text.removesuffix(" gene"), entity.label) for entity in found
    }
