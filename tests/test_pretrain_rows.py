"""The packed file: what training makes of it is token for token what the product asks and wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clinical.finetune import silver
from clinical.finetune.exercises import COPY, Decision, Exercises, Mixture, collate, passage, row
from clinical.finetune.packed import Packed
from clinical.finetune.packing import Marked, Packer
from clinical.finetune.tokenizer import CONTROL_TOKENS, train_tokenizer
from clinical.models.chat import V3
from clinical.models.language_model import TaggedCopy
from clinical.models.mistral_tagger import request
from clinical.models.text_tokens import TextTokens
from clinical.prompts import templates
from clinical.prompts.labels import by_name, clinical_labels

NOTE = "Diabetes, on metformin 500mg.\n\nNo fever today.  Asthma (mild)\nFever at night"
SENTENCES = [(0, 29), (31, 46), (48, 61), (62, 76)]
SPANS = [
    (0, 8, "Disease"),
    (13, 22, "Medication"),
    (34, 39, "Symptom"),
    (48, 54, "Disease"),
    (62, 67, "Symptom"),
]
DOUBTS = [
    (0, "Disease", 0.7),
    (13, "Symptom", 0.1),
    (13, "Medication", 0.6),
    (23, "", 0.4),
    (62, "Symptom", 0.8),
]
LABELS = ["Disease", "Medication", "Symptom"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer([NOTE] * 3, [label.name for label in clinical_labels()], 420)


@pytest.fixture(scope="module")
def tokens(tokenizer: Any) -> TextTokens:
    return TextTokens(tokenizer, V3)


def pack(tokens: TextTokens, *texts: Marked) -> Packed:
    packer = Packer(tokens)
    for text in texts:
        packer.add(text)
    control = {name: tokens.control(name) for name in CONTROL_TOKENS} | {"newline": tokens.piece("\n")[0]}
    return packer.pack(control, {layer: LABELS for layer in packer.layer_words})


@pytest.fixture(scope="module")
def packed(tokens: TextTokens, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    path = tmp_path_factory.mktemp("packed") / "data.safetensors"
    made = pack(tokens, Marked(NOTE, SENTENCES, {"gold": SPANS, "sure": SPANS}, {"gold": DOUBTS}))
    made.save(path)
    return Packed.open(path)


# What a passage reads as: runs of blanks and of line breaks are told apart by the number of line breaks alone.
READ = ["Diabetes, on metformin 500mg.", "\n\nNo fever today.", " Asthma (mild)", "\nFever at night"]


@pytest.mark.parametrize("numbers", [[0], [1], [0, 1], [1, 2, 3], [2], [3], [0, 1, 2, 3]])
def test_a_row_is_what_the_product_asks_and_wants(
    packed: Packed, tokens: TextTokens, numbers: list[int]
) -> None:
    asked = [packed.labels.index(name) for name in LABELS]
    exercise = packed.exercise(packed.layers["sure"], numbers, frozenset(asked))
    made = row(packed, exercise, asked)

    text = "".join(READ[number] for number in numbers).strip()
    spans = [
        (start, start + len(word), label)
        for word, label in [(NOTE[start:end], label) for start, end, label in SPANS]
        for start in [text.find(word)]
        if start >= 0
    ]
    ask = request(templates.load("ner.short.v1"), by_name(LABELS), text)
    prompt = tokens.prompt(V3.write(ask.messages))
    from clinical.finetune.mistral_rows import answer

    assert isinstance(ask.constraint, TaggedCopy)
    wanted = answer(ask.constraint, tokens, spans)
    assert wanted is not None
    assert made.ids == [*prompt, *wanted.ids, tokens.control("</s>")]
    assert list(made.answers) == [(len(prompt), len(made.ids))]
    choices = {
        len(prompt) + place: set(options) for place, options in enumerate(wanted.options) if len(options) > 1
    }
    assert {decision.place: options_of(packed, decision, asked) for decision in made.decisions} == choices
    columns = {decision.place: column_of(packed, made.ids, decision) for decision in made.decisions}
    assert all(decision.wanted[columns[decision.place]] == 1.0 for decision in made.decisions)


def options_of(packed: Packed, decision: Decision, asked: list[int]) -> set[int]:
    tags = (
        [packed.opening[label] for label in asked] if decision.state < 0 else [packed.closing[decision.state]]
    )
    return {decision.copy, *tags}


def column_of(packed: Packed, ids: list[int], decision: Decision) -> int:
    token = ids[decision.place]
    every = [decision.copy, *packed.opening, *packed.closing]
    return every.index(token)


def test_doubts_are_the_probabilities_of_decisions(packed: Packed) -> None:
    asked = [packed.labels.index(name) for name in LABELS]
    disease, medication, symptom = asked
    exercise = packed.exercise(packed.layers["gold"], [0], frozenset(asked))
    made = row(packed, exercise, asked)
    labels = len(packed.labels)

    def rounded(p: float) -> float:
        return round(255 * p) / 255

    first = made.decisions[0]
    assert first.wanted == pytest.approx({1 + disease: rounded(0.7), COPY: 1 - rounded(0.7)})
    opened = next(d for d in made.decisions if 1 + medication in d.wanted)
    assert opened.wanted == pytest.approx(
        {1 + symptom: rounded(0.1), 1 + medication: rounded(0.6), COPY: 1 - rounded(0.1) - rounded(0.6)}
    )
    # Behind "metformin" the mention might have gone on to the dose.
    closed = next(d for d in made.decisions if d.state == medication)
    assert closed.wanted == pytest.approx({COPY: rounded(0.4), 1 + labels + medication: 1 - rounded(0.4)})
    # A label that is not asked for is no option, so its doubts count for going on.
    made = row(packed, packed.exercise(packed.layers["gold"], [0], frozenset([disease])), [disease])
    assert all(set(d.wanted) <= {COPY, 1 + disease, 1 + labels + disease} for d in made.decisions)


def test_a_doubt_at_the_beginning_of_a_later_sentence_keeps_its_place(packed: Packed) -> None:
    symptom = packed.labels.index("Symptom")
    exercise = packed.exercise(packed.layers["gold"], [2, 3], frozenset([symptom]))
    ((start, _, label),) = exercise.spans
    assert label == symptom
    assert list(exercise.doubts[start]) == [(symptom, pytest.approx(0.8))]


def test_a_mention_across_two_sentences_makes_them_one(tokens: TextTokens) -> None:
    text = "Had a St. Jude valve. Well."
    packed = pack(tokens, Marked(text, [(0, 9), (10, 21), (22, 27)], {"gold": [(6, 20, "Disease")]}))
    assert len(packed.arrays["sentence.start"]) == 2
    disease = packed.labels.index("Disease")
    exercise = packed.exercise(packed.layers["gold"], [0, 1], frozenset([disease]))
    ((start, end, _),) = exercise.spans
    assert exercise.tokens[start:end] == tokens.note("St. Jude valve", " ")


def test_all_text_comes_once_between_begin_and_end(tokens: TextTokens) -> None:
    packed = pack(
        tokens,
        Marked("No fever.", [(0, 9)]),
        Marked("Twin.", [(0, 5)], twin=True),
        Marked("Asthma\nWell", [(0, 6), (7, 11)]),
    )
    begin, end = tokens.control("<s>"), tokens.control("</s>")
    assert packed.text_stream().tolist() == [
        begin, *tokens.note("No fever.", " "), end, begin, *tokens.note("Asthma\nWell", " "), end,
    ]  # fmt: skip


def test_passages_hold_whole_sentences_of_one_text(packed: Packed) -> None:
    choose = np.random.default_rng(0)
    drawn = {tuple(passage(packed, packed.layers["gold"], 12, choose)) for _ in range(200)}
    assert [packed.pieces(number) for number in range(4)] == [7, 4, 4, 3]
    assert drawn == {(0, 1), (1, 2, 3), (2, 3), (3,)}


def test_batches_follow_from_seed_and_number(packed: Packed) -> None:
    mixture = Mixture({"gold": 0.5, "sure": 0.5}, text=0.3, text_length=16)

    def pool(seed: int, number: int) -> list[tuple[str, list[list[int]]]]:
        made = Exercises(packed, 300, seed, [(2.0, mixture)])
        return [(batch.kind, batch.ids.tolist()) for batch in made.pool(number, 4)]

    assert pool(0, 1) == pool(0, 1)
    assert pool(0, 1) != pool(0, 2)
    assert pool(0, 1) != pool(1, 1)
    assert {kind for kind, _ in pool(0, 1)} == {"text", "ner"}


def test_a_batch_holds_what_its_rows_hold(packed: Packed) -> None:
    asked = [packed.labels.index(name) for name in ("Symptom", "Disease")]
    rows = [
        row(packed, packed.exercise(packed.layers["gold"], numbers, frozenset(asked)), asked)
        for numbers in ([0, 1], [3])
    ]
    batch = collate(packed, "ner", rows)
    width = batch.ids.shape[1]
    assert width % 8 == 0
    assert batch.tokens == 2 * width
    every = [(number, decision) for number, one in enumerate(rows) for decision in one.decisions]
    wanted: list[dict[int, float]] = [{} for _ in every]
    for (at, column), probability in zip(batch.wanted_at.tolist(), batch.wanted.tolist(), strict=True):
        wanted[at][column] = probability
    assert [
        (place - number * width, state, copy, number)
        for place, state, copy, number in zip(
            *(array.tolist() for array in (batch.places, batch.states, batch.copies, batch.rows)), strict=True
        )
    ] == [(decision.place, decision.state, decision.copy, number) for number, decision in every]
    assert wanted == [pytest.approx(decision.wanted) for _, decision in every]
    assert [batch.ids.flatten()[place] for place in batch.predict] == [
        token for one in rows for start, end in one.answers for token in one.ids[start:end]
    ]


def test_doubts_of_the_tagger_are_those_along_its_path() -> None:
    names = ("A", "B")
    # Tags O, B-A, I-A, B-B, I-B; words: sure O, A begins, A goes on or ends for B, O after it.
    probabilities = np.array(
        [
            [0.99, 0.0025, 0.0025, 0.0025, 0.0025],
            [0.30, 0.69, 0.0, 0.01, 0.0],
            [0.04, 0.01, 0.35, 0.6, 0.0],
            [0.80, 0.0, 0.0, 0.0, 0.2],
        ]
    )
    with np.errstate(divide="ignore"):
        scores = np.log(probabilities).astype(np.float32)
    found = list(silver.doubts(scores, np.array([0, 1, 3, 0]), names, np.array([0, 4, 8, 12])))
    # The second B has the probability that it has once A is over.
    assert found == [(4, "A", 0.69), (8, "", 0.35), (8, "B", 0.923), (12, "", 0.2)]


def test_the_file_opens_as_it_was_saved(packed: Packed, tmp_path: Path) -> None:
    packed.save(tmp_path / "again.safetensors")
    again = Packed.open(tmp_path / "again.safetensors")
    assert again.header == packed.header
    assert set(again.arrays) == set(packed.arrays)
    assert all((again.arrays[name] == array).all() for name, array in packed.arrays.items())
