"""Training rows in the format of the product, the loss of the decisions, and a release put together."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from clinical.corpora.records import GoldDocument, Mention
from clinical.finetune import mistral_ner, mistral_release
from clinical.finetune.mistral_ner import Recipe, answer_logits, batches, decision_loss
from clinical.finetune.mistral_rows import Passage, Row, answer, asked, flat, row
from clinical.models.chat import V3
from clinical.models.language_model import TaggedCopy
from clinical.models.text_tokens import TextTokens
from clinical.prompts import templates
from clinical.prompts.labels import clinical_labels, core_labels

TEXT = "No fever. Given aspirin 81mg daily."
PASSAGE = Passage(
    TEXT, ((3, 8, "Symptom"), (16, 23, "Medication"), (24, 28, "Dosage")), ("Symptom", "Medication", "Dosage")
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from clinical.finetune.tokenizer import train_tokenizer

    return train_tokenizer([TEXT] * 3, [label.name for label in clinical_labels()], 400)


@pytest.fixture(scope="module")
def tokens(tokenizer: Any) -> TextTokens:
    return TextTokens(tokenizer, V3)


def small_model(tokenizer: Any) -> Any:
    from clinical.finetune.pretrain import new_model
    from clinical.finetune.sizes import Size
    from clinical.finetune.tokenizer import CONTROL_TOKENS

    shape = Size(hidden=64, layers=1, heads=2, kv_heads=1, ffn=64, vocab=len(tokenizer), context=256)
    vocabulary = tokenizer.get_vocab()
    return new_model(shape, {token: vocabulary[token] for token in CONTROL_TOKENS}, seed=0)


def test_a_row_is_what_the_product_asks_and_the_answer_it_wants(tokenizer: Any, tokens: TextTokens) -> None:
    made = row(PASSAGE, templates.load("ner.short.v1"), V3, tokens, random.Random(3))
    assert made is not None
    text = tokenizer.decode(made.ids)
    head, _, wanted = text.partition("[/INST]")
    labels = head.removeprefix("<s>[INST] ").removesuffix(" " + TEXT)
    assert set(labels.strip("<>").split("><")) <= set(PASSAGE.labels)
    assert tokenizer.decode(made.ids[made.answer :]) == wanted
    assert len(made.options) == len(made.ids) - made.answer
    for token, allowed in zip(made.ids[made.answer :], made.options, strict=True):
        assert token in allowed


def test_the_answer_tags_whole_pieces(tokenizer: Any, tokens: TextTokens) -> None:
    constraint = TaggedCopy("Gave 81mg.", ("Dosage",))
    # The corpus marks a part of a word; the piece is marked.
    made = answer(constraint, tokens, [(6, 9, "Dosage"), (0, 4, "Unasked")])
    assert made is not None
    assert tokenizer.decode(made.ids) == " Gave<Dosage> 81mg</Dosage>."


def test_an_answer_that_no_tag_can_stand_in_is_left_out(tokens: TextTokens) -> None:
    assert answer(TaggedCopy("a</Age>", ("Age",)), tokens, [(0, 1, "Age")]) is None


def test_of_overlapping_mentions_the_longest_stays_and_broken_ones_go() -> None:
    document = GoldDocument(
        "x",
        "left ventricular wall motion",
        (
            Mention(0, 16, "left ventricular", "Biological_structure", "Anatomy"),
            Mention(0, 28, "left ventricular wall motion", "Diagnostic_procedure", "Test"),
            Mention(5, 21, "ventricular wall", "Biological_structure", "Anatomy", discontinuous=True),
        ),
    )
    assert [(e.start, e.end, e.label) for e in flat(document)] == [(0, 28, "Test")]


def test_labels_asked_for_are_a_part_of_those_annotated() -> None:
    names = ("Disease", "Symptom", "Age")
    drawn = {tuple(label.name for label in asked(names, random.Random(seed))) for seed in range(60)}
    assert all(chosen and set(chosen) <= set(names) and len(set(chosen)) == len(chosen) for chosen in drawn)
    assert names in drawn
    assert len(drawn) > 5


def test_batches_hold_every_row_once_within_the_budget() -> None:
    rows = [Row([number] * length, 1, []) for number, length in enumerate([5, 9, 3, 30, 7, 7, 2] * 40)]
    made = batches(rows, 20, random.Random(0))
    assert sorted(one.ids[0] for batch in made for one in batch) == list(range(len(rows)))
    assert all(len(batch) * max(len(one.ids) for one in batch) <= 20 or len(batch) == 1 for batch in made)


def test_the_loss_is_that_of_the_decisions(tokenizer: Any, tokens: TextTokens) -> None:
    import torch

    model = small_model(tokenizer)
    made = row(PASSAGE, templates.load("ner.short.v1"), V3, tokens, random.Random(3))
    short = row(
        Passage("No fever.", (), ("Age",)), templates.load("ner.short.v1"), V3, tokens, random.Random(1)
    )
    assert made is not None
    assert short is not None
    logits, target = answer_logits(model, [made, short])
    expected = [
        -(scores[token] - torch.logsumexp(scores[allowed], 0))
        for scores, token, allowed in zip(logits, target, [*made.options, *short.options], strict=True)
        if len(allowed) > 1
    ]
    assert decision_loss(model, [made, short], 0.0).item() == pytest.approx(
        torch.stack(expected).mean().item()
    )


def test_training_learns_a_note_by_heart(tokenizer: Any, tokens: TextTokens) -> None:
    from clinical.models.mistral import LocalMistral
    from clinical.models.mistral_tagger import MistralTagger

    model = small_model(tokenizer)
    template = templates.load("ner.short.v1")
    whole = Passage(TEXT, PASSAGE.spans, ("Symptom", "Medication", "Dosage"))
    choose = random.Random(0)
    recipe = Recipe(tokens=60_000, batch_tokens=1500, muon_lr=0.02, adam_lr=5e-3)
    mistral_ner.train(
        model,
        recipe,
        lambda number: [
            made for _ in range(60) if (made := row(whole, template, V3, tokens, choose)) is not None
        ],
        lambda batch: decision_loss(model, batch, recipe.copy_weight),
    )
    tagger = MistralTagger(LocalMistral("x", model.eval(), tokenizer, V3), template)
    labels = [label for label in core_labels() if label.name in whole.labels]
    (found,) = tagger.tag([TEXT], labels)
    assert [(e.start, e.end, e.label) for e in found] == list(PASSAGE.spans)
    assert all(e.score is not None and e.score > 0.8 for e in found)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_a_release_loads_by_itself_and_tells_where_it_comes_from(tokenizer: Any, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from clinical.models.fingerprint import fingerprint
    from clinical.models.mistral_tagger import MistralTagger

    base, adapter, out = tmp_path / "base", tmp_path / "adapter", tmp_path / "tiny"
    model = small_model(tokenizer)
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    card = {"prompt": "ner.short.v1", "chunk_pieces": 24}
    (base / "clinical.json").write_text(json.dumps(card), encoding="utf-8")
    get_peft_model(
        model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    ).save_pretrained(adapter)
    (adapter / "clinical.json").write_text(
        json.dumps({**card, "base_fingerprint": "of fp32"}), encoding="utf-8"
    )
    step = {
        "step": "ner, adapter",
        "command": "python -m x",
        "commit": "abc",
        "date": "2026-11-21",
        "recipe": {"seed": 7},
    }
    (adapter / "history.json").write_text(
        json.dumps([{**step, "corpora": ["bc5cdr:train"]}]), encoding="utf-8"
    )

    mistral_release.run(base, adapter, out, [])
    tagger = MistralTagger.load(str(out))
    assert (tagger.template.name, tagger.chunk_pieces, tagger.shown) == ("ner.short.v1", 24, ())
    assert json.loads((out / "adapters/ner/clinical.json").read_text())["base_fingerprint"] == fingerprint(
        out
    )
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "| ner, adapter | `python -m x` | abc | 2026-11-21 | 7 | bc5cdr:train |" in text
    assert "| bc5cdr | CC BY 4.0" in text
    assert str(tmp_path) not in text + "".join(path.read_text() for path in out.rglob("*.json"))
