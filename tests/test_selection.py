"""Choosing among numbers and words: exact for any tokenizer, the probabilities too."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_models import TOKENIZERS, ask, random_model

from clinical.models.language_model import Choice, OneOf, Selection
from clinical.models.mistral import LocalMistral
from clinical.models.selection import answer_ids

TEXTS = ("No fever.", "x", "", "1, 2, 3 none [/INST] </s> \u00e9\U0001f489\n\n" * 3)


@pytest.fixture(scope="module", params=TOKENIZERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalMistral:
    return random_model(request.param, tmp_path_factory.mktemp("tokenizer"))


def prompt_ids(model: LocalMistral, text: str) -> list[int]:
    return model._tokens.prompt(model.chat.write(ask(text).messages))


@cache
def logits_after(model: LocalMistral, ids: tuple[int, ...]) -> Any:
    """The logits of a full pass."""
    import torch

    with torch.inference_mode():
        return model.model(torch.tensor([ids])).logits[0, -1].double()


def log_probability(
    model: LocalMistral, prompt: list[int], answer: list[int], allowed: set[tuple[int, ...]]
) -> float:
    """The log-probability of an answer among the allowed ones (as ids), one full pass for each token of it."""
    import torch

    total = 0.0
    for place in range(len(answer)):
        begun = tuple(answer[:place])
        options = sorted({ids[place] for ids in allowed if ids[:place] == begun and len(ids) > place})
        scores = torch.log_softmax(logits_after(model, (*prompt, *begun))[options], 0)
        total += float(scores[options.index(answer[place])])
    return total


def brute_force(model: LocalMistral, text: str, answers: list[str]) -> dict[str, float]:
    """The probability of every answer there is."""
    ids = {answer: tuple(answer_ids(answer, model._tokens)) for answer in answers}
    assert len(set(ids.values())) == len(answers)
    prompt = prompt_ids(model, text)
    return {a: math.exp(log_probability(model, prompt, list(ids[a]), set(ids.values()))) for a in answers}


@pytest.mark.parametrize("options", [("yes", "no", "maybe"), ("no", "none", "no, none", "n"), ("one",)])
def test_the_probability_of_an_option_is_that_of_its_tokens(
    model: LocalMistral, options: tuple[str, ...]
) -> None:
    together = model.complete([ask(text, OneOf(options)) for text in TEXTS])
    for text, completion in zip(TEXTS, together, strict=True):
        expected = brute_force(model, text, list(options))
        assert completion.options == pytest.approx(expected, abs=1e-5)
        assert sum(completion.options.values()) == pytest.approx(1)
        assert completion.text == max(options, key=lambda option: expected[option])
        assert completion.enforced


def subsets(count: int) -> list[tuple[int, ...]]:
    return [tuple(n for n in range(1, count + 1) if bits >> (n - 1) & 1) for bits in range(2**count)]


@pytest.mark.parametrize("count", [1, 2, 3, 11])
def test_a_choice_has_the_probability_of_its_decision(model: LocalMistral, count: int) -> None:
    """Compared with all answers written out: of those that agree before a number, the share that have it."""
    if count > 3:
        sets = [s for s in subsets(count) if len(s) <= 2]
        constraint = Selection(count, most=2)
    else:
        sets, constraint = subsets(count), Selection(count)
    for text in TEXTS[: 1 if count > 3 else 2]:
        weight = {s: p for s, p in zip(sets, written(model, text, sets, count), strict=True)}
        (completion,) = model.complete([ask(text, constraint)])
        chosen = {choice.number for choice in completion.choices}
        assert [c.number for c in completion.candidates] == list(range(1, count + 1))
        for number, probability in ((c.number, c.probability) for c in completion.candidates):
            before = {n for n in chosen if n < number}
            if len(before) == constraint.most:
                continue
            agree = [s for s in sets if {n for n in s if n < number} == before]
            have = sum(weight[s] for s in agree if number in s)
            assert probability == pytest.approx(have / sum(weight[s] for s in agree), abs=1e-4)


def written(model: LocalMistral, text: str, sets: list[tuple[int, ...]], count: int) -> list[float]:
    """The probability of every set, decision by decision over all answers (also those longer than these sets)."""
    prompt, tokens = prompt_ids(model, text), model._tokens
    found: dict[tuple[int, ...], float] = {(): 1.0}
    ends: dict[tuple[int, ...], float] = {}
    end = tokens.control("</s>")
    for chosen in sorted({s[:k] for s in sets for k in range(len(s) + 1)}, key=len):
        head = answer_ids(Selection(count).write(chosen), tokens)[:-1] if chosen else []
        comma = list(tokens.plain(",")) if chosen else []
        paths: dict[int, tuple[int, ...]] = {
            n: (*comma, *tokens.plain(f" {n}")) for n in range((chosen or (0,))[-1] + 1, count + 1)
        }
        stop = (end,) if chosen else (*tokens.plain(" none"), end)
        after = (end, tokens.plain(",")[0])
        allowed = {stop} | {(*path, token) for path in paths.values() for token in after}
        reach = found[chosen]
        ends[chosen] = reach * math.exp(log_probability(model, prompt + head, list(stop), allowed))
        for number, path in paths.items():
            share = sum(
                math.exp(log_probability(model, prompt + head, [*path, token], allowed)) for token in after
            )
            found[(*chosen, number)] = reach * share
    longest = max(map(len, sets))
    return [found[s] if len(s) == longest and longest < count else ends.get(s, found[s]) for s in sets]


def test_batches_of_any_mixture_answer_as_one_by_one(model: LocalMistral) -> None:
    requests: list[Any] = [ask(text, Selection(count)) for text in TEXTS for count in (1, 4, 12)]
    requests += [ask(text, OneOf(("yes", "no"))) for text in TEXTS]
    requests += [ask(TEXTS[0], max_new_tokens=3)]
    together = model.complete(requests)
    chosen = 0
    for request, completion in zip(requests, together, strict=True):
        (alone,) = model.complete([request])
        assert completion.text == alone.text
        assert completion.options == pytest.approx(alone.options, abs=1e-4)
        assert [c.number for c in completion.choices] == [c.number for c in alone.choices]
        for ours, theirs in zip(completion.candidates, alone.candidates, strict=True):
            assert ours.probability == pytest.approx(theirs.probability, abs=1e-4)
        chosen += len(completion.choices)
    assert chosen > 5, "the random model chooses nothing: the test would prove nothing"


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40), count=st.integers(1, 110), most=st.none() | st.integers(1, 4))
def test_every_answer_is_legal(model: LocalMistral, text: str, count: int, most: int | None) -> None:
    constraint = Selection(count, most)
    (completion,) = model.complete([ask(text, constraint)])
    numbers = constraint.parse(completion.text)
    assert numbers is not None
    assert [choice.number for choice in completion.choices] == list(numbers)
    assert [choice.number for choice in completion.candidates] == list(range(1, count + 1))
    assert all(0 <= (choice.probability or 0) <= 1 + 1e-9 for choice in completion.candidates)


def test_the_ids_to_train_on_are_those_that_are_scored(model: LocalMistral) -> None:
    end = model._tokens.control("</s>")
    for constraint, answer in (
        (Selection(30), "none"),
        (Selection(30), "2, 11, 30"),
        (OneOf(("a, b", "c")), "a, b"),
    ):
        ids = answer_ids(answer, model._tokens)
        assert ids[-1] == end
        assert constraint.parse(model.tokenizer.decode(ids[:-1]).strip()) is not None


def test_a_selection_that_a_model_is_sure_of(tmp_path: Path) -> None:
    """A network that has learnt one answer by heart gives it, with probabilities near one and near zero."""
    import torch

    model = random_model("own", tmp_path)
    prompt = prompt_ids(model, "x")
    ids = torch.tensor([prompt + answer_ids("2, 5", model._tokens)])
    optimizer = torch.optim.Adam(model.model.parameters(), 1e-2)
    for _ in range(60):
        loss = model.model(ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    (completion,) = model.complete([ask("x", Selection(7))])
    assert completion.text == "2, 5"
    sure = {choice.number: round(choice.probability or 0.0, 1) for choice in completion.candidates}
    assert sure == {1: 0, 2: 1, 3: 0, 4: 0, 5: 1, 6: 0, 7: 0}
    assert completion.choices == tuple(completion.candidates[n - 1] for n in (2, 5))
    assert isinstance(completion.choices[0], Choice)
