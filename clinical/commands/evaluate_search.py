"""`clinical evaluate search`: how good search is, over queries with judged documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.corpora.retrieval import Collection, Half
    from clinical.index.ranking import Ranked
    from clinical.index.store import Store
    from clinical.models.embedders import TextEmbedder
    from clinical.scoring.retrieval import RetrievalEvaluation, Run
    from clinical.tasks.query import Query
    from clinical.tasks.search_mistral import MistralChooser


DOCUMENTS_READ, CHARACTERS_READ = 10, 400
"""What a language model is shown of a ranking."""


@click.command()
@click.option(
    "--gold",
    "sources",
    metavar="CORPUS[:SPLIT]|FOLDER",
    multiple=True,
    required=True,
    help="medquad_liveqa, medquad_liveqa:reference (one reference answer among all others), nfcorpus:dev, or a folder "
    "with corpus.jsonl, queries.jsonl, qrels.tsv. Repeatable.",
)
@click.option(
    "--modes",
    metavar="M,…",
    default="hybrid,lexical,dense,bm25,cosine,rrf",
    show_default=True,
    help="The ways of searching to measure; the first is compared with each other one. bm25 (all words of the "
    "query alike), cosine (its vector and that of a document's beginning) and rrf (both by reciprocal rank) are the "
    "plain ones, to compare with.",
)
@click.option(
    "--wording",
    metavar="FIELD",
    default="text",
    show_default=True,
    help="The field of a query to search with, as summary in medquad_liveqa.",
)
@click.option(
    "--half",
    type=click.Choice(["tune", "report", "all"]),
    default="all",
    show_default=True,
    help="The half of the queries that settings were chosen on, or the other.",
)
@click.option(
    "--systems",
    metavar="S,…",
    default="light",
    show_default=True,
    help="Beside light, mistral:MODEL puts the ten best documents of the first mode in the order of its likelihoods.",
)
@click.option("--no-expand", is_flag=True, help="Do not look for other names of what is asked for.")
@click.option(
    "--embedder", metavar="NAME|FOLDER", help="A sentence-transformers model.  [default: all-MiniLM-L6-v2]"
)
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def search(
    sources: tuple[str, ...],
    modes: str,
    wording: str,
    half: Half,
    systems: str,
    no_expand: bool,
    embedder: str | None,
    format_: str,
) -> None:
    """Measure search: nDCG, MAP, MRR and recall over queries with judged documents.

    Documents are indexed as the notes of a folder are, and ranked as `clinical search --by document` ranks them.
    The first run embeds the collection, which takes minutes (medquad_liveqa: a quarter of an hour of one core), and
    keeps it in the cache.

    \b
    Examples:
      clinical evaluate search --gold medquad_liveqa --half report
      clinical evaluate search --gold medquad_liveqa --wording summary --half report
      clinical evaluate search --gold nfcorpus:dev --modes hybrid,rrf --format json
    """
    from clinical.corpora.retrieval import read_collection
    from clinical.models.embedders import load_embedder
    from clinical.scoring.retrieval import render_retrieval

    wanted, encoder, choosers = _modes(modes), load_embedder(embedder), _choosers(systems)
    collections = [read_collection(source, wording=wording, half=half) for source in sources]
    evaluations = [
        _evaluate_search(collection, wanted, encoder, choosers, expand=not no_expand)
        for collection in collections
    ]
    click.echo(render_retrieval(evaluations, format_), nl=False)


def _choosers(systems: str) -> dict[str, MistralChooser]:
    """Return the language models that are to be measured, by the name of the system."""
    from clinical.tasks.search_mistral import load_chooser

    found = {}
    for system in (name.strip() for name in systems.split(",")):
        kind, _, model = system.partition(":")
        if kind not in ("light", "mistral"):
            raise UsageError(f"--systems: no system {system!r}; available: light, mistral:MODEL")
        if kind == "mistral":
            found[system] = load_chooser(model or None)
    return found


def _modes(names: str) -> list[str]:
    known = _known_modes()
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise UsageError(f"--modes: no mode {', '.join(unknown) or 'given'}; available: {', '.join(known)}")
    return wanted


def _known_modes() -> tuple[str, ...]:
    from clinical.index.ranking import BASELINES, MODES

    return (*MODES, *BASELINES)


def _evaluate_search(
    collection: Collection,
    modes: Sequence[str],
    embedder: TextEmbedder,
    choosers: Mapping[str, MistralChooser],
    *,
    expand: bool,
) -> RetrievalEvaluation:
    from clinical.index.ranking import BASELINES
    from clinical.scoring.retrieval import RetrievalEvaluation, score_run
    from clinical.tasks.query import read_query

    queries = {id: read_query(text, names=expand) for id, text in collection.queries.items()}
    runs: dict[str, Run] = {}
    for whole in (True, False):
        some = [mode for mode in modes if (mode not in BASELINES) == whole]
        if some:
            with _opened(collection, embedder, whole=whole) as store:
                runs |= {mode: _run(store, queries, mode, embedder) for mode in some}
    for system, chooser in choosers.items():
        runs[system] = _chosen(runs[modes[0]], collection, chooser)
    rankings = [score_run(name, runs[name], collection.judgements) for name in (*modes, *choosers)]
    return RetrievalEvaluation(collection.name, len(collection.documents), len(queries), rankings)


def _chosen(run: Run, collection: Collection, chooser: MistralChooser) -> Run:
    """Return the run with the best documents of each query in the order of the model; it reads how they begin."""
    texts = {
        note.id: " ".join(f"{note.title or ''} {note.text}"[:CHARACTERS_READ].split())
        for note in collection.documents
    }
    chosen = {}
    for id, documents in run.items():
        ranked = sorted(documents, key=lambda document: -documents[document])
        best = ranked[:DOCUMENTS_READ]
        order = chooser.choose(collection.queries[id], [texts[document] for document in best]).order
        ordered = [best[place] for place in order] + ranked[DOCUMENTS_READ:]
        chosen[id] = {document: float(-place) for place, document in enumerate(ordered)}
    return chosen


def _run(store: Store, queries: Mapping[str, Query], mode: str, embedder: TextEmbedder) -> Run:
    """Return what a mode finds for each query."""
    own_ids = store.own_ids("document")
    return {
        id: {own_ids[found.id]: found.score for found in _ranked(store, query, mode, embedder)}
        for id, query in queries.items()
    }


def _ranked(store: Store, query: Query, mode: str, embedder: TextEmbedder) -> list[Ranked]:
    """Return the documents as a mode ranks them; the baselines know the words and the vector of the query alone."""
    from clinical.index.ranking import MODES, baseline, rank
    from clinical.scoring.retrieval import DEPTH

    for known in MODES:
        if mode == known:
            vector = None if mode == "lexical" else query.vector(embedder)
            return rank(store, query.terms, vector, known, DEPTH, by="document")
    return baseline(store, query.text, embedder.embed_queries([query.text])[0], mode, DEPTH, by="document")


def _opened(collection: Collection, embedder: TextEmbedder, *, whole: bool) -> Store:
    """Return the index of the documents, made if it is not there; plain ways know the beginning of a document."""
    from clinical.batch.progress import Tally, progress
    from clinical.index.collection import open_collection

    tally = Tally()
    with progress(len(collection.documents)) as bar:

        def done(documents: int) -> None:
            tally.done += documents
            bar.update(tally)

        return open_collection(collection.name, collection.documents, embedder, done, whole=whole)
