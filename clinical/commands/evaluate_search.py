"""`clinical evaluate search`: how good search is, over queries with judged documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.corpora.retrieval import Collection, Half
    from clinical.index.ranking import Ranked
    from clinical.index.store import Store
    from clinical.models.embedders import TextEmbedder
    from clinical.scoring.retrieval import RetrievalEvaluation
    from clinical.tasks.query import Query


@click.command()
@click.option(
    "--gold",
    "sources",
    metavar="CORPUS[:SPLIT]|FOLDER",
    multiple=True,
    required=True,
    help="medquad_liveqa, nfcorpus:dev, or a folder with corpus.jsonl, queries.jsonl, qrels.tsv. Repeatable.",
)
@click.option(
    "--modes",
    metavar="M,…",
    default="hybrid,lexical,dense,bm25,cosine,rrf",
    show_default=True,
    help="The ways of searching to measure; the first is compared with each other one. bm25 (all words of the "
    "query alike), cosine (its vector) and rrf (both by reciprocal rank) are the plain ones, to compare with.",
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
    no_expand: bool,
    embedder: str | None,
    format_: str,
) -> None:
    """Measure search: nDCG, MAP, MRR and recall over queries with judged documents.

    A document is ranked as one passage, title and text; of long ones, meaning sees the beginning. The first
    run embeds the collection, which takes minutes, and keeps it in the cache.

    \b
    Examples:
      clinical evaluate search --gold medquad_liveqa --half report
      clinical evaluate search --gold medquad_liveqa --wording summary --half report
      clinical evaluate search --gold nfcorpus:dev --modes hybrid,rrf --format json
    """
    from clinical.corpora.retrieval import read_collection
    from clinical.models.embedders import load_embedder
    from clinical.scoring.retrieval import render_retrieval

    wanted, encoder = _modes(modes), load_embedder(embedder)
    collections = [read_collection(source, wording=wording, half=half) for source in sources]
    evaluations = [
        _evaluate_search(collection, wanted, encoder, expand=not no_expand) for collection in collections
    ]
    click.echo(render_retrieval(evaluations, format_), nl=False)


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
    collection: Collection, modes: Sequence[str], embedder: TextEmbedder, *, expand: bool
) -> RetrievalEvaluation:
    from clinical.scoring.retrieval import RetrievalEvaluation, score_run
    from clinical.tasks.query import read_query

    queries = {id: read_query(text, names=expand) for id, text in collection.queries.items()}
    with _opened(collection, embedder) as store:
        own_ids = store.own_ids()
        rankings = [
            score_run(
                mode,
                {
                    id: {
                        own_ids[found.passage]: found.score for found in _ranked(store, query, mode, embedder)
                    }
                    for id, query in queries.items()
                },
                collection.judgements,
            )
            for mode in modes
        ]
    return RetrievalEvaluation(collection.name, len(collection.documents), len(queries), rankings)


def _ranked(store: Store, query: Query, mode: str, embedder: TextEmbedder) -> list[Ranked]:
    """Return the documents as a mode ranks them; the baselines know the words and the vector of the query alone."""
    from clinical.index.ranking import MODES, baseline, rank
    from clinical.scoring.retrieval import DEPTH

    for known in MODES:
        if mode == known:
            vector = None if mode == "lexical" else query.vector(embedder)
            return rank(store, query.terms, vector, known, DEPTH)
    return baseline(store, query.text, embedder.embed_queries([query.text])[0], mode, DEPTH)


def _opened(collection: Collection, embedder: TextEmbedder) -> Store:
    """Return the index of the documents, made if it is not there."""
    from clinical.batch.progress import Tally, progress
    from clinical.index.collection import open_collection

    tally = Tally()
    with progress(len(collection.documents)) as bar:

        def done(documents: int) -> None:
            tally.done += documents
            bar.update(tally)

        return open_collection(collection.name, collection.documents, embedder, done)
