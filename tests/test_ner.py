"""The task: a recognizer's entities are placed, expanded and assessed, and the right system is chosen."""

import pytest
from fakes import FakeRecognizer

import clinical.tasks.ner
from clinical.documents.annotations import Assertion, Entity, Span
from clinical.documents.note import Note
from clinical.errors import UsageError
from clinical.prompts.labels import by_name, known_or_defined
from clinical.tasks.ner import default_labels, extract, load_recognizer


class Scripted(FakeRecognizer):
    """Finds each of the given texts wherever it stands."""

    def __init__(self, *finds: tuple[str, str]) -> None:
        self.finds = finds

    def recognize(self, texts, labels):  # type: ignore[no-untyped-def]
        return [
            sorted(
                (
                    Entity(text.index(mention), text.index(mention) + len(mention), mention, label, score)
                    for mention, label, score in ((*find, 0.5 + 0.1 * n) for n, find in enumerate(self.finds))
                    if mention in text
                ),
                key=lambda entity: entity.start,
            )
            for text in texts
        ]


NOTE = Note(
    "a",
    "HISTORY OF PRESENT ILLNESS: Congestive heart failure (CHF). He denies chest pain.\n"
    "ASSESSMENT: CHF is stable.\n",
)


def test_entities_get_section_assertion_and_expansion() -> None:
    recognizer = Scripted(("chest pain", "Symptom"), ("CHF is", "Disease"))
    (extraction,) = extract([NOTE], recognizer)
    pain, _ = extraction.entities
    assert pain.section == "history_of_present_illness"
    start = NOTE.text.index("denies")
    assert pain.assertion == Assertion("negated", Span(start, start + 6, "denies"))
    assert extraction.system == "fake"
    short = Scripted(("CHF)", "Disease"))
    assert extract([NOTE], short)[0].entities[0].expansion in (None, "Congestive heart failure")


def test_in_a_dialogue_the_answer_tells() -> None:
    note = Note("d", "Doctor: Any fever?\nPatient: No.\nDoctor: Any cough?\nPatient: Yes.\n")
    (found,) = extract([note], Scripted(("fever", "Symptom"), ("cough", "Symptom")))
    assert [entity.assertion and entity.assertion.status for entity in found.entities] == [
        "negated",
        "present",
    ]


def test_assertion_can_be_left_out_and_a_threshold_set() -> None:
    recognizer = Scripted(("chest pain", "Symptom"), ("stable", "Severity"))
    (all_found,) = extract([NOTE], recognizer, assertion=False)
    assert [entity.assertion for entity in all_found.entities] == [None, None]
    (surer,) = extract([NOTE], recognizer, threshold=0.55)
    assert [entity.text for entity in surer.entities] == ["stable"]


def test_default_labels_are_those_a_fixed_system_knows() -> None:
    fixed = FakeRecognizer()
    fixed.label_names = lambda: ("Disease", "Gene")  # type: ignore[attr-defined]
    assert default_labels(fixed) == by_name(["Disease"])
    fixed.label_names = lambda: ("Entity",)  # type: ignore[attr-defined]
    assert [label.name for label in default_labels(fixed)] == ["Entity"]
    assert len(default_labels(FakeRecognizer())) > 10


def test_a_model_with_labels_of_its_own_looks_for_them() -> None:
    from clinical.models.mistral_tagger import MistralTagger
    from clinical.tasks.ner import MistralRecognizer

    def asked(names: list[str], definitions: dict[str, str]) -> list[tuple[str, str]]:
        labels = known_or_defined(names, definitions)
        tagger = MistralTagger(None, None, labels=labels)  # type: ignore[arg-type]
        return [(label.name, label.definition) for label in default_labels(MistralRecognizer(tagger))]

    assert asked(["Problem", "Lab_value"], {"Problem": "a complaint"}) == [
        ("Problem", "a complaint"),
        ("Lab_value", "lab value"),
    ]
    assert [name for name, _ in asked(["Gene", "Disease", "Medication"], {})] == ["Disease", "Medication"]
    assert len(asked([], {})) > 10


SPANISH = (
    "La paciente ingresa por dolor en el pecho de dos horas. No tiene fiebre ni tos. Se le administra aspirina y "
    "se deriva para cateterismo. El electrocardiograma muestra elevación del segmento en las derivaciones inferiores."
)


def test_a_document_in_another_language_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    clinical.tasks.ner._tell.cache_clear()
    notes = [Note("a", SPANISH), Note("b", SPANISH), NOTE, Note("c", "Dolor.")]
    warned = [extraction.warnings for extraction in extract(notes, FakeRecognizer())]
    assert warned == [
        *2 * [("this looks like Spanish; the models that ship know English only",)], (), (),
    ]  # fmt: skip
    assert caplog.messages == ["there are documents in Spanish; the models that ship know English only"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"system": "spacy"}, "no system 'spacy'; available: light, mistral, scispacy"),
        ({"system": "light", "adapter": "x"}, "--adapter and --prompt belong to --system mistral"),
        (
            {"system": "mistral", "model": "clinical-mini", "scheme": "bc5cdr"},
            "--scheme belongs to light and scispacy",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_recognizer(**arguments)  # type: ignore[arg-type]


def test_without_a_model_chosen_the_system_is_light(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_recognizer().system == "light"
    monkeypatch.setenv("CLINICAL_MODEL", "no-such-model")
    with pytest.raises(UsageError, match="no-such-model"):
        load_recognizer()
