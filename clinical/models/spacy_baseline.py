"""The `scispacy` system: scispaCy's own models where they are installed, else the pipelines that we ship.

    recognizer = SpacyBaseline.load(model=None, scheme="clinical")
    recognizer.recognize(["She takes metformin 500 mg twice daily."], core_labels())

The shipped pipelines have scispaCy's tokenizer and spaCy's small network without word vectors;
`clinical.finetune.spacy_baseline` trains them, one for each scheme (the label set of one corpus). They are
not scispaCy's models: those are packages of their own, found by name when the user has installed them.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING

from clinical.documents.annotations import Entity
from clinical.errors import UsageError
from clinical.prompts.labels import Label

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

__all__ = ["OFFICIAL", "SCHEMES", "SpacyBaseline", "installed_official_models"]

SCHEMES = ("clinical", "bc5cdr", "ncbi_disease")

ENTITY = {"ENTITY": "Entity"}  # en_core_sci_* finds mentions without saying of what kind

# Labels of scispaCy's models in the names of our label set. Those without a counterpart there are left out.
OFFICIAL: Mapping[str, Mapping[str, str]] = {
    "en_core_sci_sm": ENTITY,
    "en_core_sci_md": ENTITY,
    "en_core_sci_lg": ENTITY,
    "en_core_sci_scibert": ENTITY,
    "en_ner_bc5cdr_md": {"DISEASE": "Disease", "CHEMICAL": "Medication"},
    "en_ner_bionlp13cg_md": {
        "CANCER": "Disease",
        "SIMPLE_CHEMICAL": "Medication",
        "AMINO_ACID": "Medication",
        "GENE_OR_GENE_PRODUCT": "Gene",
        "ORGANISM": "Species",
        "ANATOMICAL_SYSTEM": "Anatomy",
        "CELL": "Anatomy",
        "CELLULAR_COMPONENT": "Anatomy",
        "DEVELOPING_ANATOMICAL_STRUCTURE": "Anatomy",
        "IMMATERIAL_ANATOMICAL_ENTITY": "Anatomy",
        "MULTI-TISSUE_STRUCTURE": "Anatomy",  # written with a hyphen or without, by release
        "MULTI_TISSUE_STRUCTURE": "Anatomy",
        "ORGAN": "Anatomy",
        "ORGANISM_SUBDIVISION": "Anatomy",
        "ORGANISM_SUBSTANCE": "Anatomy",
        "PATHOLOGICAL_FORMATION": "Anatomy",
        "TISSUE": "Anatomy",
    },
    "en_ner_craft_md": {"CHEBI": "Medication", "GGP": "Gene", "TAXON": "Species"},
    "en_ner_jnlpba_md": {"DNA": "Gene", "RNA": "Gene", "PROTEIN": "Gene"},
}

# The official model that knows the labels of a scheme; where it is installed it comes before the shipped one.
OFFICIAL_FOR_SCHEME = {"bc5cdr": "en_ner_bc5cdr_md"}

# NER needs no tags and lemmas. The parser stays: an entity never crosses a sentence end that it has found.
NOT_NEEDED = ("tagger", "attribute_ruler", "lemmatizer")

# spaCy refuses a text above 1,000,000 characters; its network takes 1 GB and more for every 100,000, and its
# tokenizer takes time by the square of a stretch of marks without blanks ("()()()…").
PIECE_CHARACTERS = 5_000
BATCH_PIECES = 32


class SpacyBaseline:
    """A `Recognizer` around a spaCy pipeline."""

    system = "scispacy"

    def __init__(self, pipeline: Language, model: str, names: Mapping[str, str] | None = None) -> None:
        """`names` maps the pipeline's labels to ours; without it they are ours already."""
        self.model = model
        self._pipeline = pipeline
        own = pipeline.pipe_labels.get("ner", [])
        self._names = {label: label if names is None else names.get(label) for label in own}

    @classmethod
    def load(cls, model: str | None, scheme: str) -> SpacyBaseline:
        """Return the recognizer of an official model or a shipped one, by name, or of a pipeline's folder.

        Without a model, the official one of the scheme when it is installed, else the shipped one.
        Raises `UsageError` that lists what there is, for an unknown scheme or model or one not installed.
        """
        if scheme not in SCHEMES:
            raise UsageError(f"no scispacy scheme {scheme!r}; available: {', '.join(SCHEMES)}")
        if model is None:
            official = OFFICIAL_FOR_SCHEME.get(scheme, "")
            model = official if is_installed(official) else shipped_name(scheme)
        if model in OFFICIAL:
            return cls._official(model)
        if model in map(shipped_name, SCHEMES):
            folder = resources.files("clinical.models").joinpath("weights", model)
            with resources.as_file(folder) as path:
                return cls(load_pipeline(path), f"{model} (trained here)")
        if Path(model, "meta.json").is_file():
            pipeline = load_pipeline(Path(model))
            # The unpacked archive of an official model is known by the name inside.
            names = OFFICIAL.get(f"{pipeline.lang}_{pipeline.meta['name']}")
            return cls(pipeline, Path(model).name, names)
        shipped = ", ".join(map(shipped_name, SCHEMES))
        raise UsageError(
            f"no scispacy model {model!r}; shipped: {shipped}; to be installed: {', '.join(OFFICIAL)}; "
            "or the folder of a spaCy pipeline"
        )

    @classmethod
    def _official(cls, model: str) -> SpacyBaseline:
        if not is_installed(model):
            here = (*installed_official_models(), *map(shipped_name, SCHEMES))
            raise UsageError(
                f"the model {model} is not installed; `pip install` its archive from scispaCy's list of "
                f"models, or take one that is here: {', '.join(here)}"
            )
        return cls(load_pipeline(model), model, OFFICIAL[model])

    def label_names(self) -> tuple[str, ...]:
        """Return the labels that this pipeline can find."""
        return tuple(sorted({name for name in self._names.values() if name is not None}))

    def recognize(self, texts: Sequence[str], labels: Sequence[Label]) -> list[list[Entity]]:
        """Return the entities of each text, sorted by start, only of these labels; `score` is `None`.

        Raises `UsageError` when the pipeline does not know one of the labels.
        """
        wanted = {label.name for label in labels}
        self._refuse_unknown(wanted)
        pieces = [
            (number, *piece) for number, text in enumerate(texts) for piece in cut(text, PIECE_CHARACTERS)
        ]
        docs = self._pipeline.pipe((encodable(piece) for _, _, piece in pieces), batch_size=BATCH_PIECES)
        found: list[list[Entity]] = [[] for _ in texts]
        for (number, offset, piece), doc in zip(pieces, docs, strict=True):
            found[number].extend(self._entities(piece, doc, offset, wanted))
        return found

    def _refuse_unknown(self, wanted: set[str]) -> None:
        known = self.label_names()
        unknown = sorted(wanted.difference(known))
        if unknown:
            raise UsageError(
                f"{self.model} does not know {', '.join(unknown)}; its labels: {', '.join(known)}"
            )

    def _entities(self, piece: str, doc: Doc, offset: int, wanted: set[str]) -> Iterator[Entity]:
        for span in doc.ents:
            label = self._names.get(span.label_)
            # spaCy lets no entity begin with a line break or blanks, but it may end with them.
            mention = piece[span.start_char : span.end_char].rstrip()
            if label is not None and label in wanted and mention:
                start = offset + span.start_char
                # Tokens are pieces of the text, so a span of tokens cannot be anything else.
                yield Entity(start, start + len(mention), mention, label, grounding="decoded")


def shipped_name(scheme: str) -> str:
    """Return the name of the pipeline that comes with the package for this scheme."""
    return f"scispacy-{scheme}"


def is_installed(package: str) -> bool:
    """Return whether a package of this name is installed; imports nothing."""
    try:
        metadata.distribution(package)
    except (metadata.PackageNotFoundError, ValueError):  # ValueError: an empty name
        return False
    return True


def installed_official_models() -> tuple[str, ...]:
    """Return the names of scispaCy's own models that are installed; imports nothing."""
    return tuple(name for name in OFFICIAL if is_installed(name))


def load_pipeline(source: str | Path) -> Language:
    """Return the spaCy pipeline of an installed package or a folder, without what NER does not need."""
    with nullcontext() if "scibert" in str(source) else torch_hidden():
        import spacy

    with warnings.catch_warnings():
        # One of scispaCy's suffix rules holds "[[", which Python's `re` remarks on each time it is compiled.
        warnings.simplefilter("ignore", FutureWarning)
        return spacy.load(source, exclude=list(NOT_NEEDED))


@contextmanager
def torch_hidden() -> Iterator[None]:
    """Let an import inside find no torch, unless it is loaded already.

    spaCy imports torch where it is installed, though only transformer pipelines use it: two thirds of its start.
    """
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # Python's own mark for "not to be found"
    try:
        yield
    finally:
        del sys.modules["torch"]


def encodable(text: str) -> str:
    """Return the text with lone surrogates, which spaCy cannot encode, replaced one for one."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def cut(text: str, longest: int) -> Iterator[tuple[int, str]]:
    """Yield the text in pieces of at most `longest` characters, each with its offset.

    A cut falls after a line end, else a sentence end, else a blank, in the second half of the piece.
    """
    start = 0
    while len(text) - start > longest:
        end = _last_break(text, start + longest // 2, start + longest)
        yield start, text[start:end]
        start = end
    if start < len(text):
        yield start, text[start:]


def _last_break(text: str, low: int, high: int) -> int:
    for pattern in (r"\n+", r"[.!?]\s+", r"\s+"):
        breaks = [match.end() for match in re.finditer(pattern, text[low:high])]
        if breaks:
            return low + breaks[-1]
    return high
