"""How likely does a sentence belong to the answer? MiniLM's vectors under a small head that was trained for it.

    LikelihoodScorer(Embedder()).score("Why was warfarin stopped?", [Reading("", lines)])

MiniLM says how near question and sentence are, and near is not answer: "Warfarin 5 mg daily" is nearest to "Why was
warfarin stopped?". The head (`clinical finetune sentence-selector`, 80 kB) looks at the two vectors of MiniLM as it
is, multiplied dimension by dimension and projected against each other, and at a few plain facts: the question's words
in the sentence and beside it, and whether a question for when, how much or why meets a time, a number or a reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from clinical.documents.answers import Reading
from clinical.errors import UsageError
from clinical.facts.synonyms import expand
from clinical.models.embedders import TextEmbedder
from clinical.scoring.answer_floors import Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LikelihoodScorer", "core", "facts", "lacks_what_is_asked", "lines_of"]

SHIPPED = "light-ask"

_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"

CUES: Sequence[tuple[str, str]] = (
    (
        r"\bwhen\b|\bsince\b|\bdate\b|\bhow long\b|\buntil\b",
        rf"\b(?:19|20)\d\d\b|\b(?:{_MONTHS})\b|\b(?:days?|weeks?|months?|years?|today|yesterday)\b|\d/\d",
    ),
    (
        r"\bhow (?:much|many|high|low|often|old|fast|far)\b|\bdos(?:e|age)\b|\blevel\b|\bweigh|\bresult\b|\bvalue\b",
        r"\d",
    ),
    (
        r"\bwhy\b|\breasons?\b|\bcauses?\b|\btrigger|\bindication\b",
        r"\bbecause\b|\bdue to\b|\bsecondary\b|\bcaus|\bowing\b|\bsince\b|\bin view of\b|\bafter\b|\bled to\b|\b2/2\b"
        r"|\breason\b|\btrigger|\bfor\b|\battributed\b",
    ),
)
"""What a question asks for, and how a sentence looks that has it."""

_AMOUNT_OR_TIME = re.compile(
    r"\bhow (?:much|many|high|low|old|long|often|big|large)\b|\bsize of\b|\bdos(?:e|age)\b|\bwhen\b|\bdate\b|\buntil\b",
    re.IGNORECASE,
)
_NUMBER_OR_TIME = re.compile(
    rf"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|once|twice|half|never|always|{_MONTHS}"
    r"|spring|summer|autumn|winter|(?:mon|tues|wednes|thurs|fri|satur|sun|to|yester)day|daily|tonight|tomorrow|now"
    r"|(?:hour|day|night|week|month|year)s?)\b",
    re.IGNORECASE,
)

_CUES = [(re.compile(asked, re.IGNORECASE), re.compile(told, re.IGNORECASE)) for asked, told in CUES]
_WORD = re.compile(r"\w{3,}")

WORDS, MEANING = 0.7, 2.0
"""How much the plain scores by words and by meaning count beside the head. It was trained on articles and made-up
notes; elsewhere this holds it to what nobody had to train. Chosen on the development halves (benchmarks/ask.md)."""

NAMES = 1.0
"""How much it counts that another name of what is asked for stands there: apixaban, of an anticoagulant."""

LONGEST = 40
"""In words. Of a longer question, its sentences that ask are compared, or else its end."""


@dataclass(frozen=True)
class LikelihoodScorer:
    """The shipped scorer, or one that training wrote to a folder; loaded at the first use."""

    embedder: TextEmbedder
    folder: Path | None = None

    @property
    def name(self) -> str:
        """The name of the head."""
        return self.folder.name if self.folder else SHIPPED

    def score(self, question: str, readings: Sequence[Reading]) -> list[list[float]]:
        """Return for each reading the likelihood of each of its sentences, from 0 to 1."""
        import numpy as np

        question = core(question)
        texts = [text for reading in readings for text in lines_of(reading)]
        if not texts:
            return [[] for _ in readings]
        place = {text: number for number, text in enumerate(dict.fromkeys([question, *texts]))}
        different = self.embedder.embed(list(place))
        vectors = different[[place[text] for text in (question, *texts)]]
        known = np.array(facts(question, readings), np.float32)
        logits = self._logits(vectors[0], vectors[1:], known)
        logits += WORDS * known[:, 0] + MEANING * (vectors[1:] @ vectors[0])
        logits += NAMES * np.array(_named(question, texts), np.float32)
        flat = iter((1 / (1 + np.exp(-logits))).tolist())
        return [[next(flat) for _ in reading.lines] for reading in readings]

    def _logits(
        self, asked: NDArray[np.float32], told: NDArray[np.float32], known: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return what `clinical.finetune.sentence_selector.Head` does, in numpy; a test holds the two equal."""
        import numpy as np

        w = self._weights
        nearness = (told * asked) @ w["nearness"]
        projected = np.tanh(3 * (w["asked.weight"] @ asked + w["asked.bias"]))
        other = np.tanh(3 * (told @ w["told.weight"].T + w["told.bias"]))
        beside = np.maximum(np.append(0, nearness[:-1]), np.append(nearness[1:], 0))
        all_known = np.column_stack([known, nearness, nearness - nearness.max(), beside])
        mixed = np.maximum(all_known @ w["facts.weight"].T + w["facts.bias"], 0)
        logits: NDArray[np.float32] = (
            w["scale"] * (nearness - 0.4)
            + other @ projected
            + mixed @ w["mixed.weight"][0]
            + w["mixed.bias"]
            + w["question.weight"][0] @ asked
            + w["question.bias"]
        )
        return logits

    @cached_property
    def _weights(self) -> Mapping[str, NDArray[np.float32]]:
        import numpy as np
        from safetensors.numpy import load_file

        folder = self.folder or Path(str(resources.files("clinical.models"))) / "weights" / SHIPPED
        file = folder / "head.safetensors"
        if not file.is_file():
            raise UsageError(f"{folder} holds no head for answers (head.safetensors is missing)")
        return {name: array.astype(np.float32) for name, array in load_file(file).items()}


def core(question: str) -> str:
    """Return a question as it is compared: a long one by its sentences that ask, or else by its end."""
    words = question.split()
    if len(words) <= LONGEST:
        return question
    asking = " ".join(re.findall(r"[^.?!\n]+\?", question)).split()
    return " ".join((asking or words)[-LONGEST:])


def lacks_what_is_asked(question: str, text: str) -> bool:
    """Return whether a question for an amount or a time meets a text with neither.

    >>> lacks_what_is_asked("What was the dose of nystatin?", "She has thrush, for which nystatin helped.")
    True
    """
    return bool(_AMOUNT_OR_TIME.search(question)) and not _NUMBER_OR_TIME.search(text)


def _named(question: str, texts: Sequence[str]) -> list[bool]:
    """Return of each text whether another name for something in the question stands in it."""
    others = {re.escape(other) for name in expand(question).names for other in name.others}
    if not others:
        return [False] * len(texts)
    pattern = re.compile(rf"\b(?:{'|'.join(sorted(others))})\b", re.IGNORECASE)
    return [bool(pattern.search(text)) for text in texts]


def lines_of(reading: Reading) -> list[str]:
    """Return the sentences as they are embedded: each with its heading before it, where it does not begin with it."""
    return [
        f"{heading}: {text}" if heading and not text.lower().startswith(heading.lower()) else text
        for heading, text in reading.lines
    ]


def facts(question: str, readings: Sequence[Reading]) -> list[list[float]]:
    """Return what is plain about each sentence of all readings: words of the question, length, what it could answer."""
    by_words = Words().score(question, readings)
    asked = set(_WORD.findall(question.lower()))
    wanted = [bool(wants.search(question)) for wants, _ in _CUES]
    found = []
    for reading, shares in zip(readings, by_words, strict=True):
        for place, (text, share) in enumerate(zip(lines_of(reading), shares, strict=True)):
            lower = text.lower()
            beside = max([*shares[max(place - 1, 0) : place], *shares[place + 1 : place + 2]], default=0.0)
            row = [
                share,
                float(share == 1.0),
                sum(word in lower for word in asked) / max(len(asked), 1),
                beside,
                math.log(1 + len(text.split())),
            ]
            for wants, (_, tells) in zip(wanted, _CUES, strict=True):
                has = bool(tells.search(text))
                row += [float(wants and has), float(wants and not has)]
            found.append(row)
    return found
