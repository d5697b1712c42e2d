"""Free text from a model of `transformers`: in batches, to its end and not beyond it.

A small model, or one that has lost its way, says the same again and again. Such an answer is stopped when it
is seen and cut where it began to go in circles; penalties for repetition are not used, since they would keep
a model from copying a dose that it has already named.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from clinical.models.language_model import Completion, Finish, Request

LONGEST_CYCLE = 400
"""A loop of more characters than this is found by its sentences."""

LOOP_CHARACTERS = 30
"""The same three times over, and at least this long: a row of dots or a doubled word is no loop yet."""

SENTENCE_WORDS = 4
"""Sentences shorter than this may come back as often as they like: "Not discussed."."""

# Looking for loops at every token would cost a small model a tenth of its time.
LOOK_EVERY = 8

_MARK = re.compile(r"[.!?\n]")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?\n]*")


def loop_start(text: str) -> int | None:
    """Return where a text that ends in a loop begins to say nothing new; `None` for other texts.

    A loop is the same stretch three times or more up to the end, or a sentence that comes for the third time.
    """
    return _cycle_start(text) if (cycle := _third_time(text)) is None else cycle


def _cycle_start(text: str) -> int | None:
    for period in range(1, min(LONGEST_CYCLE, len(text) // 3) + 1):
        begin = len(text) - period
        while begin and text[begin - 1] == text[begin - 1 + period]:
            begin -= 1
        if len(text) - begin >= max(3 * period, LOOP_CHARACTERS):
            return _whole_sentence(text, begin, period)
    return None


def _whole_sentence(text: str, begin: int, period: int) -> int:
    """Return where the first time round ends: a loop may begin anywhere in a sentence, which is kept whole."""
    once = begin + period
    mark = _MARK.search(text, once, once + period)
    if mark is None or text[begin:once].rstrip().endswith(tuple(".!?\n")):
        return once
    return mark.end()


def _third_time(text: str) -> int | None:
    times: Counter[str] = Counter()
    second: dict[str, int] = {}
    for match in _SENTENCE.finditer(text):
        words = " ".join(match.group().lower().split())
        if words.count(" ") + 1 < SENTENCE_WORDS:
            continue
        times[words] += 1
        if times[words] == 2:
            second[words] = match.start()
        elif times[words] == 3:
            return second[words]
    return None


def ended(text: str, stop: Sequence[str], finish: Finish) -> tuple[str, Finish]:
    """Return the text up to the first of the stop strings or to its loop, and why it ends there."""
    places = [place for word in stop if (place := text.find(word)) >= 0]
    if places:
        text, finish = text[: min(places)], "stop"
    start = loop_start(text)
    if start is not None:
        text, finish = text[:start], "repetition"
    return text.strip(), finish


class _Watch:
    """Watches the rows of a batch: which have ended, and after how many tokens."""

    def __init__(self, requests: Sequence[Request], prompt_tokens: int, decode: Callable[[Any], str]) -> None:
        self._requests = requests
        self._prompt_tokens = prompt_tokens
        self._decode = decode
        self.ends: dict[int, int] = {}

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """Return which rows have ended, as `generate` asks its stopping criteria after every token."""
        import torch

        count = input_ids.shape[1] - self._prompt_tokens
        for number, request in enumerate(self._requests):
            if number not in self.ends and self._over(request, input_ids[number], count):
                self.ends[number] = count
        over = [number in self.ends for number in range(len(self._requests))]
        return torch.tensor(over, device=input_ids.device)

    def _over(self, request: Request, ids: Any, count: int) -> bool:
        if count >= request.max_new_tokens:
            return True
        answer = ids[self._prompt_tokens :]
        if request.stop:
            # A stop string has no more tokens than UTF-8 bytes; one token more may hold its beginning.
            tail = self._decode(answer[-(1 + max(len(word.encode()) for word in request.stop)) :])
            if any(word in tail for word in request.stop):
                return True
        return count % LOOK_EVERY == 0 and loop_start(self._decode(answer)) is not None


def generate(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], requests: Sequence[Request], pad: int
) -> list[Completion]:
    """Return an answer to each prompt; they go through the model together.

    Control tokens other than the end are never generated. Requests with a temperature are to be given alone:
    the seed is that of the first.
    """
    import torch
    from transformers import GenerationConfig, StoppingCriteriaList

    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    end = int(tokenizer.eos_token_id)
    control = [number for number, token in tokenizer.added_tokens_decoder.items() if token.special]
    watch = _Watch(requests, width, lambda answer: str(tokenizer.decode(answer, skip_special_tokens=True)))
    sampled = requests[0].temperature > 0
    config = GenerationConfig(
        max_new_tokens=max(request.max_new_tokens for request in requests),
        do_sample=sampled,
        pad_token_id=pad,
        eos_token_id=end,
        suppress_tokens=[number for number in control if number != end],
        **({"temperature": requests[0].temperature, "top_k": 0} if sampled else {}),
    )
    with torch.inference_mode(), torch.random.fork_rng():
        torch.manual_seed(requests[0].seed)
        rows = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([watch]),
        )[:, width:].tolist()
    return [
        _completion(row[: watch.ends.get(number)], requests[number], end, tokenizer)
        for number, row in enumerate(rows)
    ]


def _completion(answer: list[int], request: Request, end: int, tokenizer: Any) -> Completion:
    finish: Finish = "length"
    if end in answer:
        answer, finish = answer[: answer.index(end)], "stop"
    decoded = str(tokenizer.decode(answer, skip_special_tokens=True))
    text, finish = ended(decoded, request.stop, finish)
    return Completion(text, finish=finish)
