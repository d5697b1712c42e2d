"""Free text: it ends at its end, never goes in circles, and a batch answers as one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import TOKENIZERS, ask, random_model

from clinical.errors import ClinicalError
from clinical.models.generation import LOOP_CHARACTERS, ended, loop_start
from clinical.models.language_model import OneOf, Selection, TaggedCopy
from clinical.models.mistral import LocalMistral, load

TEXTS = ("The patient has diabetes.", "x", "No fever. " * 5)


@pytest.fixture(scope="module", params=TOKENIZERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalMistral:
    return random_model(request.param, tmp_path_factory.mktemp("tokenizer"))


# --- loops ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Fever. The cough is dry and painful." + " The cough is dry and painful." * 3, None),
        ("Seen today. " + "no fever, " * 9, "Seen today. no fever,"),
        ("Plan: " + "\u2013" * 40, "Plan: \u2013"),
        ("X no fever. Y no fever. Y no fever. Y no fever. Y", "X no fever. Y no fever."),
        ("A rash on both arms. B is well now too. " * 3, "A rash on both arms. B is well now too."),
        ("A rash. Dose 5 mg. A rash. Dose 5 mg. A rash. Dose 5 mg. A ra", "A rash. Dose 5 mg."),
        ("He has had a cough. 1\nHe has had a cough. 2\nHe has had a cough. 3", "He has had a cough. 1"),
    ],
)
def test_a_loop_is_cut_where_nothing_new_is_said(text: str, kept: str | None) -> None:
    start = loop_start(text)
    assert start is not None
    assert text[:start].strip() == (kept or "Fever. The cough is dry and painful.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..........",
        "No fever. No cough. No rash. No pain.",
        "Not discussed.\nNot discussed.\nNot discussed.\nNot seen.\nNot discussed.",
        "Metformin 500 mg twice daily. Lisinopril 10 mg once daily. Atorvastatin 20 mg once daily.",
        "She takes aspirin each day. He asked again. She takes aspirin each day. Then he left.",
    ],
)
def test_ordinary_text_is_no_loop(text: str) -> None:
    assert loop_start(text) is None


@given(st.text("ab. ", max_size=20), st.text(min_size=1, max_size=30), st.integers(3, 6))
def test_whatever_is_said_again_and_again_is_found(head: str, block: str, times: int) -> None:
    text = head + block * times
    if len(block) * times >= LOOP_CHARACTERS:
        start = loop_start(text)
        assert start is not None
        assert start <= len(head) + 2 * len(block)


def test_an_answer_ends_at_the_first_stop_string() -> None:
    assert ended("One. Two; END three STOP", ("STOP", "END"), "length") == ("One. Two;", "stop")
    assert ended(" One. ", ("STOP",), "length") == ("One.", "length")
    assert ended("well " * 20, (), "length") == ("well", "repetition")


# --- models -----------------------------------------------------------------------------------------


def greedy(model: LocalMistral, text: str, count: int) -> str:
    """The most probable answer, one full pass for each token."""
    import torch

    prompt = model._tokens.prompt(model.chat.write(ask(text).messages))
    control = [number for number, token in model.tokenizer.added_tokens_decoder.items() if token.special]
    ids: list[int] = []
    while len(ids) < count:
        with torch.no_grad():
            logits = model.model(torch.tensor([prompt + ids])).logits[0, -1]
        logits[[number for number in control if number != model.tokenizer.eos_token_id]] = -torch.inf
        ids.append(int(logits.argmax()))
        if ids[-1] == model.tokenizer.eos_token_id:
            break
    return str(model.tokenizer.decode(ids, skip_special_tokens=True))


def test_batches_are_greedy_decoding_with_a_length_of_each_row(model: LocalMistral) -> None:
    lengths = (5, 9, 7)
    requests = [ask(text, max_new_tokens=n) for text, n in zip(TEXTS, lengths, strict=True)]
    completions = model.complete(requests)
    for text, length, completion in zip(TEXTS, lengths, completions, strict=True):
        assert completion.text == ended(greedy(model, text, length), (), "length")[0]
        assert (completion.spans, completion.choices, completion.enforced) == ((), (), False)
    assert {completion.finish for completion in completions} <= {"stop", "length", "repetition"}


def test_what_is_drawn_depends_on_the_seed_alone(model: LocalMistral) -> None:
    drawn = ask(TEXTS[0], max_new_tokens=12, temperature=0.8, seed=1)
    other = replace(drawn, seed=2)
    together = model.complete([drawn, other, ask("x", max_new_tokens=3), drawn])
    assert together[0] == together[3] == model.complete([drawn])[0]
    assert together[0].text != together[1].text


def test_no_control_token_is_ever_generated(model: LocalMistral) -> None:
    for seed in range(3):
        (completion,) = model.complete([ask("x", max_new_tokens=40, temperature=3.0, seed=seed)])
        for token in model.tokenizer.added_tokens_decoder.values():
            assert not (token.special and str(token.content) in completion.text)


class Saying:
    """What `generate` needs of a model: it says the words it was given, token by token, then its end."""

    def __init__(self, model: LocalMistral, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        ids = [*model._tokens.plain(" " + words), model.tokenizer.eos_token_id]
        forward = model.model.forward
        self.said = 0

        def scripted(*arguments: Any, **options: Any) -> Any:
            out = forward(*arguments, **options)
            out.logits = torch.full_like(out.logits, -100.0)
            out.logits[:, -1, ids[min(self.said, len(ids) - 1)]] = 100.0
            self.said += 1
            return out

        monkeypatch.setattr(model.model, "forward", scripted)


def test_a_loop_is_stopped_while_it_is_said(model: LocalMistral, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Saying(model, "No fever today. " + "The cough is dry and painful. " * 40, monkeypatch)
    (completion,) = model.complete([ask("x", max_new_tokens=300)])
    assert completion.text == "No fever today. The cough is dry and painful."
    assert completion.finish == "repetition"
    assert said.said < 150


def test_an_answer_stops_at_its_end(model: LocalMistral, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Saying(model, "No fever.", monkeypatch)
    (completion,) = model.complete([ask("x", max_new_tokens=100)])
    assert (completion.text, completion.finish) == ("No fever.", "stop")
    assert said.said < 20


def test_a_stop_string_is_seen_across_tokens(model: LocalMistral, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Saying(model, "No fever.\nNote: and on it goes, on and on, with more of it", monkeypatch)
    (completion,) = model.complete([ask("x", max_new_tokens=100, stop=("\nNote:",))])
    assert (completion.text, completion.finish) == ("No fever.", "stop")
    assert said.said < 25


# --- what does not fit ------------------------------------------------------------------------------


def test_a_prompt_longer_than_the_window_is_one_clear_line(tmp_path: Path) -> None:
    model = random_model("own", tmp_path)
    assert model.window == 512
    assert random_model("own", tmp_path, sliding_window=128).window == 128
    assert model.count_tokens("No fever.") >= 3
    with pytest.raises(ClinicalError, match=r"^random reads 512 tokens at a time, and this prompt has \d+ "):
        model.complete([ask("fever " * 600, max_new_tokens=100)])


def answers_of_each_kind(model: LocalMistral) -> None:
    requests = [
        ask("No fever.", Selection(12)),
        ask("No fever.", OneOf(("yes", "no"))),
        ask("No fever.", TaggedCopy("No fever.", ("Symptom",))),
        ask("No fever.", max_new_tokens=5),
    ] * 2
    for request, completion in zip(requests, model.complete(requests), strict=True):
        constraint = request.constraint
        assert completion.enforced == (constraint is not None)
        assert constraint is None or constraint.parse(completion.text) is not None
        assert sum(completion.options.values()) in (0, pytest.approx(1, abs=1e-3))
        assert completion.finish in ("stop", "length", "repetition")


def saved(folder: Path) -> str:
    model = random_model("own", folder, hidden_size=64, intermediate_size=96)
    model.tokenizer.save_pretrained(folder)
    model.model.save_pretrained(folder)
    return str(folder)


def test_in_four_bits_every_kind_of_answer_is_given(tmp_path: Path) -> None:
    answers_of_each_kind(load(saved(tmp_path), four_bit=True))


def test_in_half_precision_every_kind_of_answer_is_given(tmp_path: Path) -> None:
    model = random_model("own", tmp_path)
    answers_of_each_kind(LocalMistral("half", model.model.bfloat16(), model.tokenizer, model.chat))


@pytest.mark.gpu
@pytest.mark.parametrize("four_bit", [False, True])
def test_on_a_gpu_every_kind_of_answer_is_given(tmp_path: Path, four_bit: bool) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    answers_of_each_kind(load(saved(tmp_path), four_bit=four_bit))


@pytest.mark.embedded
def test_the_shipped_model_gives_every_kind_of_answer_the_same_each_time() -> None:
    model = load("clinical-mini")
    answers_of_each_kind(model)
    request = ask("The patient has diabetes. " * 20, max_new_tokens=60)
    first, second = model.complete([request]), model.complete([request])
    assert first == second
    assert loop_start(first[0].text) is None
