"""Two ways to tie a language model's entities to the note, on the same small Mistral and the same data.

    python benchmarks/grounding_spike.py tags  --base build/base --out build/spike-tags
    python benchmarks/grounding_spike.py lines --base build/base --out build/spike-lines

`tags`: the note with `<Label>…</Label>` in it, decoded with the copied text as draft: what the product
does. `lines`: one mention a line, `<Label> verbatim words`, decoded under an llguidance grammar whose words
can only be a stretch of the note; occurrences are assigned in order. The code of the second lives here
alone. Results and verdict stand in `grounding.md`. Needs the corpora and the packages of the extra `test`.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clinical.documents.annotations import Entity
from clinical.finetune.mistral_ner import (
    Recipe,
    answer_logits,
    decision_loss,
    epoch,
    train,
)
from clinical.finetune.mistral_rows import Passage, Row, asked, passages
from clinical.models.chat import ChatFormat, detect
from clinical.models.mistral import LocalMistral, load_network, load_tokenizer
from clinical.models.mistral_tagger import MistralTagger, chunks, request
from clinical.models.pieces import split_pieces
from clinical.models.text_tokens import TextTokens
from clinical.prompts import templates
from clinical.prompts.inline_tags import open_tag
from clinical.prompts.labels import Label, by_name
from clinical.prompts.templates import Template
from clinical.scoring.gold import read_gold
from clinical.scoring.spans import score

MOST_MENTIONS = 60
BATCH = 32


def line_row(
    passage: Passage, template: Template, chat: ChatFormat, tokens: TextTokens, choose: random.Random
) -> Row:
    """Return the passage as prompt and one line a mention, in ids."""
    ask = request(template, asked(passage.labels, choose), passage.text)
    assert ask.constraint is not None
    prompt = tokens.prompt(chat.write(ask.messages))
    ids = [*prompt]
    for start, end, label in passage.spans:
        if label in ask.constraint.labels:
            blank = " " if passage.text[start - 1 : start] == " " else ""
            ids += [
                *tokens.tag(open_tag(label)),
                *tokens.note(blank + passage.text[start:end]),
                *tokens.plain("\n"),
            ]
    ids.append(tokens.control("</s>"))
    return Row(ids, len(prompt), [])


def line_epoch(recipe: Recipe, tokens: TextTokens, chat: ChatFormat, number: int) -> list[Row]:
    """Return the rows of one pass over the corpora, cut as for the other candidate."""
    template = templates.load(recipe.prompt)
    choose = random.Random(f"{recipe.seed} {number}")
    rows = [
        line_row(passage, template, chat, tokens, choose)
        for name in recipe.corpora
        for passage in passages(name, recipe.seed * 1000 + number, recipe.most_pieces)
    ]
    choose.shuffle(rows)
    return rows


def line_loss(model: Any, batch: Sequence[Row]) -> Any:
    """Return the mean cross-entropy of the answer tokens."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(*answer_logits(model, batch))


def grammar(text: str, labels: Sequence[Label]) -> str:
    """Return the Lark grammar of the answers: any number of labelled stretches of the text."""
    words = json.dumps(split_pieces(text))
    tags = " | ".join(open_tag(label.name) for label in labels)
    return (
        f"start: item{{0,{MOST_MENTIONS}}}\n"
        'item: label MENTION "\\n"\n'
        f"label: {tags}\n"
        # A substring may be empty or begin with a line break; a mention may not.
        "MENTION: PART & / ?[^\\s]([^\\n]{0,198}[^\\s])?/\n"
        f'PART: %regex {{"substring_chunks": {words}}}\n'
    )


class LineDecoder:
    """Greedy decoding under one grammar a row, left-padded batches, one cache."""

    def __init__(
        self, model: Any, tokenizer: Any, chat: ChatFormat, template: Template, chunk_pieces: int
    ) -> None:
        import llguidance.hf

        self._model, self._tokenizer, self._chat, self._template = model, tokenizer, chat, template
        self._tokens = TextTokens(tokenizer, chat)
        self._chunk_pieces = chunk_pieces
        self._grammar_tokens = llguidance.hf.from_tokenizer(tokenizer)
        self._end = self._tokens.control("</s>")
        self._label_of = {self._tokens.tag(open_tag(name))[0]: name for name in _label_names()}

    def tag(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        """Return the entities of each text."""
        places = [(n, *place) for n, text in enumerate(texts) for place in chunks(text, self._chunk_pieces)]
        places.sort(key=lambda place: place[1] - place[2])
        found: list[list[Entity]] = [[] for _ in texts]
        for start in range(0, len(places), BATCH):
            batch = places[start : start + BATCH]
            sources = [texts[number][a:b] for number, a, b in batch]
            for (number, a, _), source, ids in zip(
                batch, sources, self._decode(sources, labels), strict=True
            ):
                found[number] += [
                    Entity(a + s, a + e, source[s:e], label, None, "decoded")
                    for s, e, label in self._placed(source, ids)
                ]
        return [sorted(entities, key=lambda entity: entity.start) for entities in found]

    def _decode(self, sources: Sequence[str], labels: Sequence[Label]) -> list[list[int]]:
        import llguidance
        import llguidance.numpy
        import numpy as np
        import torch
        from transformers import DynamicCache

        prompts = [
            self._tokens.prompt(self._chat.write(request(self._template, labels, source).messages))
            for source in sources
        ]
        matchers = [
            llguidance.LLMatcher(
                self._grammar_tokens, llguidance.LLMatcher.grammar_from_lark(grammar(source, labels))
            )
            for source in sources
        ]
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        cache = DynamicCache()
        answers: list[list[int]] = [[] for _ in prompts]
        live = list(range(len(prompts)))
        bits = llguidance.numpy.allocate_token_bitmask(len(prompts), self._grammar_tokens.vocab_size)
        with torch.inference_mode():
            while live:
                positions = mask.cumsum(1)[:, -ids.shape[1] :] - 1
                hidden = self._model.model(
                    input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache
                ).last_hidden_state[:, -1]
                logits = self._model.lm_head(hidden).float().numpy()
                chosen = []
                for place, row in enumerate(live):
                    matcher = matchers[row]
                    llguidance.numpy.fill_next_token_bitmask(matcher, bits, 0)
                    allowed = np.unpackbits(bits[0].view(np.uint8), bitorder="little")[: logits.shape[1]]
                    token = int(np.where(allowed == 1, logits[place], -np.inf).argmax())
                    assert not matcher.is_error(), matcher.get_error()
                    matcher.consume_token(token)
                    if token != self._end:
                        answers[row].append(token)
                    chosen.append(token)
                stay = [
                    place
                    for place, row in enumerate(live)
                    if chosen[place] != self._end and not matchers[row].is_stopped()
                ]
                if len(stay) < len(live):
                    cache.batch_select_indices(torch.tensor(stay, dtype=torch.long))
                    mask = mask[stay]
                live = [live[place] for place in stay]
                ids = torch.tensor([[chosen[place]] for place in stay])
                mask = torch.cat([mask, torch.ones((len(live), 1), dtype=mask.dtype)], dim=1)
        return answers

    def _placed(self, source: str, ids: list[int]) -> list[tuple[int, int, str]]:
        """Return the spans of an answer: each mention at the next place where its words stand, never twice."""
        spans: list[tuple[int, int, str]] = []
        place = 0
        line: list[int] = []
        label = ""
        newline = self._tokens.plain("\n")[0]
        for token in ids:
            if token in self._label_of and not line:
                label = self._label_of[token]
            elif token == newline:
                words = self._tokenizer.decode(line).strip()
                line = []
                start = source.find(words, place)
                start = source.find(words) if start < 0 else start
                if words and start >= 0 and (start, start + len(words), label) not in spans:
                    spans.append((start, start + len(words), label))
                    place = start + len(words)
            else:
                line.append(token)
        return spans


def _label_names() -> list[str]:
    return [label.name for label in by_name(["all"])]


def measure(tagger: Any, limit: int, threads: int) -> dict[str, float]:
    """Return strict F1, precision and recall on the first dev sentences, and words a second."""
    gold = read_gold("bc5cdr:dev", limit=limit)
    labels = by_name(gold.labels)
    tagger.tag(gold.texts[:2], labels)
    began, began_core = time.perf_counter(), time.process_time()
    found = tagger.tag(gold.texts, labels)
    seconds, core = time.perf_counter() - began, time.process_time() - began_core
    strict = score([d.entities for d in gold.documents], found, gold.labels).micro.strict
    return {
        "f1": round(100 * strict.f1, 2),
        "precision": round(100 * strict.precision, 2),
        "recall": round(100 * strict.recall, 2),
        "words": gold.words,
        "words_per_second": round(gold.words / seconds),
        "words_per_core_second": round(gold.words / core),
        "threads": threads,
    }


def main() -> None:
    """Train one candidate, or load it, and print its scores as one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("candidate", choices=("tags", "lines"))
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--corpora", default="bc5cdr:train")
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--copy-weight", type=float, default=Recipe.copy_weight)
    parser.add_argument("--limit", type=int, default=800, help="sentences of bc5cdr dev to score")
    given = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    recipe = Recipe(tuple(given.corpora.split(",")), tokens=given.tokens, copy_weight=given.copy_weight)
    trained = (given.out / "config.json").is_file()
    folder = given.out if trained else given.base
    tokenizer, model = load_tokenizer(folder), load_network(folder)
    chat = detect(tokenizer)
    tokens = TextTokens(tokenizer, chat)
    template = templates.load(recipe.prompt)
    seconds = time.process_time()
    if not trained and given.candidate == "tags":
        train(
            model,
            recipe,
            lambda number: epoch(recipe, tokens, chat, number),
            lambda batch: decision_loss(model, batch, recipe.copy_weight),
        )
    elif not trained:
        train(
            model,
            recipe,
            lambda number: line_epoch(recipe, tokens, chat, number),
            lambda batch: line_loss(model, batch),
        )
    seconds = time.process_time() - seconds
    if not trained:
        model.save_pretrained(given.out)
        tokenizer.save_pretrained(given.out)
    model.eval()
    tagger: Any = (
        MistralTagger(
            LocalMistral("spike", model, tokenizer, chat), template, chunk_pieces=recipe.most_pieces
        )
        if given.candidate == "tags"
        else LineDecoder(model, tokenizer, chat, template, recipe.most_pieces)
    )
    result = {"candidate": given.candidate, "tokens": given.tokens, "training_core_seconds": round(seconds)}
    print(json.dumps({**result, **measure(tagger, given.limit, 1)}))


if __name__ == "__main__":
    main()
