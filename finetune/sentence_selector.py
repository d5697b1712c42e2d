"""Train the sentence selector of `clinical ask`: a LoRA adapter on MiniLM and one linear head.

    clinical finetune sentence-selector --out out/light-ask

It learns from three kinds of questions, mixed: MedQuAD's articles put together again (which part answers this
question?), PubMedQA's abstracts (silver: what the conclusion rests on), and made-up questions on made-up notes, with
sentences of MTS-Dialog and MACCROBAT among theirs, which alone look like what is asked of notes. Some questions go to
the article of another focus, where nothing answers them.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import BertModel

from clinical.corpora import medquad_questions, pubmedqa
from clinical.corpora.qa import QuestionOnText
from clinical.corpora.records import read, read_records
from clinical.documents.sentences import split_sentences
from clinical.finetune import synthetic_questions
from clinical.finetune.light_model import BASE
from clinical.finetune.light_ner import Average
from clinical.finetune.provenance import provenance
from clinical.models import minilm
from clinical.models.sentence_selector import Reading, Window, windows


@dataclass(frozen=True)
class Recipe:
    """What a run is made of. `articles`, `abstracts`: windows of each question; `notes`: how many are made up."""

    articles: float = 0.8
    abstracts: float = 0.7
    notes: int = 7000
    strangers: float = 0.08
    rank: int = 16
    learning_rate: float = 1e-3
    head_learning_rate: float = 2e-3
    warmup_share: float = 0.06
    batch_pieces: int = 2560
    dropout: float = 0.1
    weight_decay: float = 0.01
    average_decay: float = 0.99
    seed: int = 30
    threads: int = 1


@dataclass(frozen=True)
class Example:
    """A window and, for each of its sentences, whether it answers."""

    window: Window
    answers: tuple[bool, ...] = field(default_factory=tuple)


class Selector(torch.nn.Module):
    """Scores sentences: a linear head on the mean state of the pieces of each."""

    def __init__(self, encoder: PeftModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = torch.nn.Linear(minilm.HIDDEN_SIZE, 1)

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor, pooling: torch.Tensor
    ) -> torch.Tensor:
        """Return the logits of all sentences. `pooling`, (windows, sentences, pieces), has the shares of the mean."""
        hidden = self.encoder(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
        logits: torch.Tensor = self.head(pooling.to(hidden.dtype) @ hidden)[..., 0]
        return logits


def build(recipe: Recipe) -> Selector:
    """Return a fresh selector."""
    torch.manual_seed(recipe.seed)
    base = BertModel.from_pretrained(
        minilm.folder(),
        add_pooling_layer=False,
        dtype=torch.float32,
        hidden_dropout_prob=recipe.dropout,
        attention_probs_dropout_prob=0.0,
    )
    adapter = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.rank, target_modules=["query", "key", "value", "dense"]
    )
    return Selector(get_peft_model(base, adapter))


# --- what it learns from ---


def examples(recipe: Recipe, rng: random.Random) -> list[Example]:
    """Return the windows of one run, in a random order."""
    articles = list(medquad_questions.read("train"))
    found = list(_of_articles(articles, recipe.articles, rng))
    found += _of_articles(list(pubmedqa.evidence("train")), recipe.abstracts, rng)
    found += _of_strangers(articles, recipe.strangers, rng)
    for made in synthetic_questions.questions(recipe.notes, recipe.seed, _sentences_of_notes()):
        reading = Reading("", made.lines)
        found += _examples(made.question, reading, made.answers)
    rng.shuffle(found)
    return found


def _sentences_of_notes() -> list[str]:
    """Return sentences of real notes, of a length that a line of a note has."""
    sections = [record["target"] for record in read_records("mts_dialog", "train")]
    cases = [document.text for document in read("maccrobat", "train")]
    found = (text[start:end] for text in [*sections, *cases] for start, end in split_sentences(text))
    return [" ".join(sentence.split()) for sentence in found if 20 < len(sentence) < 200]


def _of_articles(items: Sequence[QuestionOnText], share: float, rng: random.Random) -> Iterator[Example]:
    """Yield so many windows of each question on average, those with an answer three times as often."""
    for item in items:
        some = list(_examples(item.question, _reading(item), item.answers or frozenset()))
        weights = [3.0 if any(example.answers) else 1.0 for example in some]
        for _ in range(int(share) + (rng.random() < share % 1)):
            if some:
                (place,) = rng.choices(range(len(some)), weights)
                yield some.pop(place)
                weights.pop(place)


def _of_strangers(items: Sequence[QuestionOnText], share: float, rng: random.Random) -> Iterator[Example]:
    """Yield windows of articles with a question about another focus; nothing in them answers it."""
    for item in rng.sample(list(items), int(share * len(items))):
        other = rng.choice(items)
        if item.title != other.title:
            some = list(_examples(other.question, _reading(item), frozenset()))
            yield rng.choice(some)


def _reading(item: QuestionOnText) -> Reading:
    return Reading(item.title, tuple(("", item.sentence(number)) for number in range(len(item.sentences))))


def _examples(question: str, reading: Reading, answers: frozenset[int]) -> Iterator[Example]:
    for window in windows(question, reading):
        yield Example(window, tuple(number in answers for number, _, _ in window.places))


# --- training ---


def batches(found: Sequence[Example], pieces: int, rng: random.Random) -> list[list[Example]]:
    """Return the examples in batches of windows of like length, of so many pieces at most."""
    out: list[list[Example]] = []
    for first in range(0, len(found), 400):
        some = sorted(found[first : first + 400], key=lambda example: len(example.window.ids))
        batch: list[Example] = []
        cut: list[list[Example]] = []
        for example in some:
            if batch and len(example.window.ids) * (len(batch) + 1) > pieces:
                cut.append(batch)
                batch = []
            batch.append(example)
        rng.shuffle(cut)
        out += [*cut, batch]
    return out


def tensors(batch: Sequence[Example]) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Return the arguments of the selector, the targets, and which of them are sentences, not padding."""
    length = max(len(example.window.ids) for example in batch)
    most = max(len(example.answers) for example in batch)
    ids, types = torch.zeros((2, len(batch), length), dtype=torch.int64)
    mask = torch.zeros((len(batch), length), dtype=torch.int64)
    pooling = torch.zeros((len(batch), most, length))
    targets = torch.zeros((len(batch), most))
    known = torch.zeros((len(batch), most), dtype=torch.bool)
    for row, example in enumerate(batch):
        window = example.window
        ids[row, : len(window.ids)] = torch.tensor(window.ids)
        types[row, : len(window.types)] = torch.tensor(window.types)
        mask[row, : len(window.ids)] = 1
        for place, (_, first, end) in enumerate(window.places):
            pooling[row, place, first:end] = 1 / (end - first)
            targets[row, place] = float(example.answers[place])
            known[row, place] = True
    return {"ids": ids, "mask": mask, "types": types, "pooling": pooling}, targets, known


def train(selector: Selector, steps: Sequence[Sequence[Example]], recipe: Recipe, log: Path) -> None:
    """Train on these batches in their order; the weights end as the average over the end of the run."""
    torch.set_num_threads(recipe.threads)
    bfloat16 = torch.cpu._is_avx512_bf16_supported()  # elsewhere it is slower than float32
    head = list(selector.head.parameters())
    adapter = [weight for weight in selector.encoder.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": adapter, "lr": recipe.learning_rate}, {"params": head, "lr": recipe.head_learning_rate}],
        weight_decay=recipe.weight_decay,
        betas=(0.9, 0.98),
    )
    warmup = max(1, int(recipe.warmup_share * len(steps)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, max(0.02, (len(steps) - step) / (len(steps) - warmup))),
    )
    average = Average([*adapter, *head], recipe.average_decay)
    started, losses = time.perf_counter(), []
    selector.train()
    for number, batch in enumerate(steps, 1):
        arguments, targets, known = tensors(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            logits = selector(**arguments).float()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[known], targets[known])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*adapter, *head], 1.0)
        optimizer.step()
        schedule.step()
        average.update()
        losses.append(loss.item())
        if number % 50 == 0 or number == len(steps):
            line = {
                "step": number,
                "steps": len(steps),
                "seconds": round(time.perf_counter() - started),
                "loss": round(sum(losses[-50:]) / len(losses[-50:]), 4),
            }
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    average.apply()
    selector.eval()


@torch.inference_mode()
def score(selector: Selector, found: Sequence[Example], rng: random.Random) -> dict[str, float]:
    """Return micro precision, recall and F1 of the sentences of held-out windows with a probability of a half."""
    hits = guessed = gold = 0
    for batch in batches(found, 4096, rng):
        arguments, targets, known = tensors(batch)
        chosen = selector(**arguments)[known] > 0
        truth = targets[known] > 0
        hits += int((chosen & truth).sum())
        guessed += int(chosen.sum())
        gold += int(truth.sum())
    return {
        "precision": round(hits / max(guessed, 1), 4),
        "recall": round(hits / max(gold, 1), 4),
        "f1": round(2 * hits / max(guessed + gold, 1), 4),
        "sentences": gold,
    }


def save(selector: Selector, out: Path) -> None:
    """Write the adapter (peft) and `head.safetensors` to a folder, in half precision."""
    half = copy.deepcopy(selector).half()
    half.encoder.save_pretrained(str(out), save_embedding_layers=False)
    save_file(half.head.state_dict(), out / "head.safetensors")
    (out / "README.md").unlink(missing_ok=True)  # peft's empty form; the card is written by hand
    config = json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = BASE  # peft writes the folder it lay in on the machine that trained
    (out / "adapter_config.json").write_text(
        json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score on held-out questions and save."""
    parser = argparse.ArgumentParser(
        prog="sentence-selector", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for adapter, head and log")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=JSON", help="change a value of the recipe"
    )
    options = parser.parse_args(arguments)
    recipe = Recipe(**{key: json.loads(value) for key, value in (pair.split("=", 1) for pair in options.set)})
    options.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(recipe.seed)
    selector = build(recipe)
    train(
        selector, batches(examples(recipe, rng), recipe.batch_pieces, rng), recipe, options.out / "log.jsonl"
    )
    held_out = [
        example
        for item in medquad_questions.read("dev")
        for example in _examples(item.question, _reading(item), item.answers or frozenset())
    ]
    made = [
        example
        for question in synthetic_questions.questions(300, recipe.seed + 1)
        for example in _examples(question.question, Reading("", question.lines), question.answers)
    ]
    scores = {"medquad dev": score(selector, held_out, rng), "made up": score(selector, made, rng)}
    print(json.dumps(scores, indent=1))
    save(selector, options.out)
    record = {
        "base": BASE,
        "base_sha256": minilm.WEIGHTS_SHA256,
        "recipe": asdict(recipe),
        "held_out_scores": scores,
        "provenance": provenance(),
    }
    (options.out / "selector.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
