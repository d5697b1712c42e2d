"""Questions made of a sentence's own words: which of these sentences holds them?

Before a small model can tell what answers "Why was apixaban stopped?", it has to find where apixaban is spoken of. That
can be practised on any text, without anybody's annotation: some of a sentence's words, with other names for them, other
endings, and the little words of a question around them, ask for the sentences that hold them all (the inverse cloze
task of Lee, Chang and Toutanova, ACL 2019).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache

from clinical.facts.synonyms import expand
from clinical.facts.terms import SMALL_WORDS, stem

MOST_ANSWERS = 4
UNANSWERED = 0.12
"""The share of questions whose words are from elsewhere, so that none of the sentences answers."""

OTHER_NAME = 0.4
OTHER_ENDING = 0.15

_WORD = re.compile(r"[A-Za-z][\w-]*[A-Za-z]")

PLAIN = ("{}", "{}?")
WORDINGS = (
    "What about {}?",
    "Is there {}?",
    "Is anything said about {}?",
    "What does the note say about {}?",
    "Tell me about {}",
    "What is known of {}?",
    "Was {} found?",
    "When was {}?",
    "Why {}?",
    "Which {}?",
    "Who {}?",
    "How much {}?",
    "How was {}?",
    "Does the patient have {}?",
    "Has she had {}?",
    "Did he have {}?",
    "Where is {} mentioned?",
    "What was done about {}?",
    "result of {}",
    "history of {}",
    "any {}",
)


def questions(
    sentences: Sequence[str], elsewhere: Sequence[str], count: int, choose: random.Random
) -> list[tuple[str, frozenset[int]]]:
    """Return up to `count` questions, each with the numbers from 0 of the sentences that hold all its words.

    `elsewhere` are sentences of other texts, which the questions without an answer are made of.
    """
    held = [stems(sentence) for sentence in sentences]
    anywhere = frozenset().union(*held)
    found: dict[str, frozenset[int]] = {}
    for _ in range(3 * count):
        if len(found) == count:
            break
        strange = bool(elsewhere) and choose.random() < UNANSWERED
        words = _words(choose.choice(elsewhere if strange else sentences), choose)
        wanted = frozenset(stem(word.lower()) for word in words)
        if not words or (strange and wanted & anywhere):
            continue
        answers = frozenset(number for number, stems_ in enumerate(held) if wanted <= stems_)
        if strange or 0 < len(answers) <= MOST_ANSWERS:
            found.setdefault(_asked(words, choose), answers)
    return list(found.items())


def single_words(
    sentences: Sequence[str], count: int, choose: random.Random
) -> list[tuple[str, frozenset[int]]]:
    """Return up to `count` words of the sentences, each with the number of the only one that it stands in."""
    held = [stems(sentence) for sentence in sentences]
    found: dict[str, frozenset[int]] = {}
    for number, sentence in enumerate(sentences):
        for word in telling(sentence):
            if sum(stem(word.lower()) in stems_ for stems_ in held) == 1:
                found[word] = frozenset({number})
    return choose.sample(list(found.items()), min(count, len(found)))


def stems(sentence: str) -> frozenset[str]:
    """Return the stems of a sentence's words, without the small ones."""
    return frozenset(stem(word.lower()) for word in telling(sentence))


def telling(sentence: str) -> list[str]:
    """Return the words of a sentence that can be asked for, as they stand there."""
    return [word for word in _WORD.findall(sentence) if len(word) > 2 and word.lower() not in SMALL_WORDS]


def _words(sentence: str, choose: random.Random) -> list[str]:
    """Return one to four of the words, as often side by side as from anywhere in the sentence."""
    words = telling(sentence)
    size = min(len(words), choose.choice((1, 1, 2, 2, 3, 4)))
    if choose.random() < 0.5:
        first = choose.randrange(len(words) - size + 1)
        return words[first : first + size]
    return [words[place] for place in sorted(choose.sample(range(len(words)), size))]


def _asked(words: Sequence[str], choose: random.Random) -> str:
    said = [_other(word, choose) for word in words]
    if len(said) > 1 and choose.random() < 0.2:
        choose.shuffle(said)
    text = choose.choice(PLAIN if choose.random() < 0.3 else WORDINGS).format(" ".join(said))
    return text.lower() if choose.random() < 0.4 else text


def _other(word: str, choose: random.Random) -> str:
    """Return the word, or at times another name for it or another ending."""
    others = _names(word)
    if others and choose.random() < OTHER_NAME:
        return choose.choice(others)
    if word.islower() and choose.random() < OTHER_ENDING:
        return word.removesuffix("s") if word.endswith("s") else word + "s"
    return word


@cache
def _names(word: str) -> tuple[str, ...]:
    return tuple(other for name in expand(word).names for other in name.others)
