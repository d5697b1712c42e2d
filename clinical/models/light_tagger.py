"""The `light` system's tagger: MiniLM with our adapter, int8 on onnxruntime, one head per annotation scheme.

    tagger = LightTagger.load("notes")
    tagger.recognize(["She takes metformin 500 mg twice daily."], core_labels())

A text of any length is read in windows of 128 pieces. Each window is responsible for the words in its middle and sees
a few more on both sides; the scores of all words are then laid side by side and one best path is found over the whole
text, so an entity on a seam is found like any other and no word is left unread. Before that, the places of a word that
the note repeats are made to agree.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clinical.documents.annotations import Entity
from clinical.documents.sentences import split_sentences
from clinical.errors import ClinicalError, UsageError
from clinical.models import minilm
from clinical.models.known_names import with_known_names
from clinical.models.light_export import ready_encoder
from clinical.models.tag_decoding import best_path, spans
from clinical.models.whole_names import NAMED, with_whole_names
from clinical.models.word_pieces import WordPieces, split
from clinical.prompts.labels import Label

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

WINDOW_PIECES = 128
CONTEXT_PIECES = 12
START_ID, END_ID = 101, 102  # [CLS] and [SEP] of MiniLM's vocabulary

SHIPPED = "light-ner"

# The head of MACCROBAT's guideline, whose labels are the widest, and the scheme for notes that is built on it.
CLINICAL = "clinical"
NOTES = "notes"

# The heads that know diseases by their whole names.
WITNESSES = ("bc5cdr", "ncbi_disease")

# Labels that MACCROBAT does not have, and whose heads lend them.
LENT = {"Gene": "bc2gm", "Species": "linnaeus"}

# Labels whose mentions are phrases that hold other mentions.
PHRASES = frozenset({"History", "Family_history"})

IMPOSSIBLE = -1e4

# How far the scores of a word give way to the mean over all its places in the note. Chosen on held-out training text.
CONSISTENCY = 0.5


class LightTagger:
    """A `Recognizer`. `scheme` is the annotation guideline it follows, `model` the adapter's name."""

    system = "light"

    def __init__(self, folder: Path, scheme: str) -> None:
        self.folder = folder
        self.scheme = scheme
        self.model = f"{folder.name}@{scheme}"

    @classmethod
    def load(cls, scheme: str | None = None, model: str | None = None) -> LightTagger:
        """Return the tagger of this scheme; `model` is a folder made by training, by default the shipped one.

        Without a scheme it is that for notes, or the first of a tagger that cannot do that.

        Raises `UsageError` for an unknown scheme or a folder that holds no tagger.
        """
        folder = shipped_folder() if model in (None, SHIPPED) else Path(str(model))
        if not (folder / "tagger.json").is_file():
            raise UsageError(f"{folder} holds no light tagger (tagger.json is missing)")
        tagger = cls(folder, scheme or NOTES)
        if not scheme and NOTES not in tagger.schemes:
            tagger = cls(folder, next(iter(tagger.schemes)))
        if tagger.scheme not in tagger.schemes:
            raise UsageError(f"no scheme {scheme!r} for light; available: {', '.join(tagger.schemes)}")
        return tagger

    @cached_property
    def card(self) -> dict[str, Any]:
        """What the training wrote beside the weights: schemes, recipe, scores."""
        card: dict[str, Any] = json.loads((self.folder / "tagger.json").read_text(encoding="utf-8"))
        return card

    @cached_property
    def schemes(self) -> Mapping[str, Sequence[str]]:
        """The tags of each scheme."""
        schemes: dict[str, Sequence[str]] = self.card["schemes"]
        if schemes.keys() >= {CLINICAL, *WITNESSES}:
            return {**schemes, NOTES: schemes[CLINICAL]}
        return schemes

    def label_names(self) -> tuple[str, ...]:
        """Return the labels that this tagger can find."""
        return tuple(sorted(label for labels in self._labels_by_head().values() for label in labels))

    @cached_property
    def _encoder(self) -> InferenceSession:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)  # 0: all cores
        options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(
            ready_encoder(self.folder), options, providers=["CPUExecutionProvider"]
        )

    @cached_property
    def _heads(self) -> dict[str, NDArray[np.float32]]:
        from safetensors.numpy import load_file

        heads = load_file(self.folder / "heads.safetensors")
        return {name: array.astype(np.float32) for name, array in heads.items()}

    def recognize(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        """Return the entities of each text. The score of one is the probability of its tags, taken as independent."""
        asked = {label.name for label in labels}
        unknown = asked.difference(self.label_names())
        if unknown:
            raise UsageError(
                f"light ({self.scheme}) does not know the label {', '.join(sorted(unknown))}; "
                f"it knows: {', '.join(self.label_names())}"
            )
        return [self._entities(text, asked) for text in texts]

    def _entities(self, text: str, asked: Set[str]) -> list[Entity]:
        words = split(text)
        hidden = self._hidden(words)
        repeats = _repeated_words(text, words)
        sentences = _sentence_starts(text, words)

        def tagged(head: str) -> list[Entity]:
            scores = self._scores(hidden, head, asked, repeats, sentences)
            return list(self._tagged(text, words, scores, head))

        found = [
            entity
            for head, names in self._labels_by_head().items()
            if asked & names
            for entity in tagged(head)
            if entity.label in names
        ]
        if self.scheme == NOTES and asked & set(NAMED):
            found = with_whole_names(found, [tagged(head) for head in WITNESSES])
        if self.scheme == NOTES:
            found = with_known_names(text, found, asked)
        return sorted(
            (entity for entity in found if entity.label in asked),
            key=lambda entity: (entity.start, entity.end),
        )

    def _labels_by_head(self) -> Mapping[str, Set[str]]:
        """Return the heads that are read, each with the labels that are taken from it."""
        own = CLINICAL if self.scheme == NOTES else self.scheme
        lent = LENT if own == CLINICAL else {}
        return {own: frozenset(_label_names(self.schemes[own]))} | {
            head: frozenset({label}) for label, head in lent.items() if head in self.schemes
        }

    def _tagged(
        self, text: str, words: WordPieces, scores: NDArray[np.float32], head: str
    ) -> Iterator[Entity]:
        path = best_path(scores)
        names = _label_names(self.schemes[head])
        for first, last, label in spans(path):
            start, end = int(words.spans[first, 0]), int(words.spans[last - 1, 1])
            score = _span_probability(scores, path, first, last)
            yield Entity(start, end, text[start:end], names[label], score=score, grounding="decoded")

    def _scores(
        self,
        hidden: NDArray[np.float32],
        scheme: str,
        asked: Set[str],
        repeats: Sequence[NDArray[np.int64]],
        sentences: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Return the scores that the path is found on.

        Repeats agree, no entity runs into the next sentence, and phrases that were not asked for are out of the
        running: they would take with them the disease in "a history of heart failure".
        """
        scores = _agree(self._log_probabilities(hidden, scheme), repeats)
        scores[sentences, 2::2] = IMPOSSIBLE
        for number, label in enumerate(_label_names(self.schemes[scheme])):
            if label in PHRASES - asked:
                scores[:, 2 * number + 1 : 2 * number + 3] = IMPOSSIBLE
        return scores

    def _log_probabilities(self, hidden: NDArray[np.float32], scheme: str) -> NDArray[np.float32]:
        """Return the log-probability of each of the scheme's tags at each word, shape (words, tags)."""
        weight, bias = self._heads[f"{scheme}.weight"], self._heads[f"{scheme}.bias"]
        logits = hidden @ weight.T + bias
        shifted = logits - logits.max(axis=1, keepdims=True)
        result: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return result

    def _hidden(self, words: WordPieces) -> NDArray[np.float32]:
        """Return the encoder's state at the first piece of each word, shape (words, 384)."""
        rows = [
            self._encoder.run(
                None,
                {
                    "ids": _framed(words.ids[left:right], START_ID, END_ID),
                    "shapes": _framed(words.shapes[left:right]),
                },
            )[0][0, words.word_starts[first:last] - left + 1]
            for first, last, left, right in windows(words)
        ]
        return np.concatenate(rows) if rows else np.zeros((0, minilm.HIDDEN_SIZE), dtype=np.float32)


def shipped_folder() -> Path:
    """Return the folder of the tagger that comes with the package."""
    found = Path(str(resources.files("clinical.models"))) / "weights" / SHIPPED
    if not found.is_dir():
        raise ClinicalError(
            "the light tagger's weights are missing from this installation; reinstall clinical"
        )
    return found


def windows(words: WordPieces) -> Iterator[tuple[int, int, int, int]]:
    """Yield `(first word, word after the last, first piece, piece after the last)` of each window.

    The words of all windows follow each other without gap or overlap; the pieces reach up to `CONTEXT_PIECES`
    further to both sides, to whole words. A text that fits into one window is one window.
    """
    starts = words.word_starts
    ends = np.append(starts[1:], len(words.ids))
    room = WINDOW_PIECES - 2
    middle = room if len(words.ids) <= room else room - 2 * CONTEXT_PIECES
    first = 0
    while first < len(starts):
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + middle, side="right")))
        before = int(np.searchsorted(starts, starts[first] - CONTEXT_PIECES))
        after = int(np.searchsorted(ends, ends[last - 1] + CONTEXT_PIECES, side="right"))
        yield first, last, int(starts[before]), int(ends[max(after, last) - 1])
        first = last


def _framed(pieces: NDArray[np.int64], start: int = 0, end: int = 0) -> NDArray[np.int64]:
    return np.concatenate([[start], pieces, [end]])[None, :]


def _label_names(tags: Sequence[str]) -> tuple[str, ...]:
    return tuple(tag[2:] for tag in tags[1::2])


def _repeated_words(text: str, words: WordPieces) -> list[NDArray[np.int64]]:
    """Return the places of each word of three signs or more that the note uses more than once."""
    places: dict[str, list[int]] = {}
    for place, (start, end) in enumerate(words.spans.tolist()):
        if end - start >= 3:
            places.setdefault(text[start:end].lower(), []).append(place)
    return [np.array(found) for found in places.values() if len(found) > 1]


def _sentence_starts(text: str, words: WordPieces) -> NDArray[np.int64]:
    """Return the first word of each sentence."""
    starts = np.searchsorted(words.spans[:, 0], [start for start, _ in split_sentences(text)])
    first: NDArray[np.int64] = np.unique(starts[starts < len(words.spans)])
    return first


def _agree(scores: NDArray[np.float32], repeats: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Return the scores with those of a repeated word drawn towards their mean: a note uses a word in one sense.

    One sense per discourse: Gale, Church, Yarowsky (1992).
    """
    for places in repeats:
        mean = np.log(np.exp(scores[places]).mean(axis=0))
        scores[places] += CONSISTENCY * (mean - scores[places])
    return scores


def _span_probability(scores: NDArray[np.float32], path: NDArray[np.int64], first: int, last: int) -> float:
    """Return the probability that exactly these words are the entity: its tags, and no continuation after them."""
    log = float(scores[np.arange(first, last), path[first:last]].sum())
    if last < len(path):
        inside = path[first] + 1
        log += float(np.log1p(-min(np.exp(scores[last, inside]), 1 - 1e-6)))
    return float(np.exp(log))
