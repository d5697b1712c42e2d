"""`clinical evaluate search`: how good search is, over queries with judged documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from clinical.errors import UsageError

if TYPE_CHECKING:
    from clinical.corpora.retrieval import Collection, Half
    from clinical.index.ranking import Mode
    from clinical.models.embedder import Embedder
    from clinical.scoring.retrieval import RetrievalEvaluation


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
    default="hybrid,lexical,dense",
    show_default=True,
    help="The ways of searching to measure; the first is compared with each other one.",
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
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def search(sources: tuple[str, ...], modes: str, wording: str, half: Half, format_: str) -> None:
    """Measure search: nDCG, MAP, MRR and recall over queries with judged documents.

    A document is ranked as one passage, title and text; of long ones, meaning sees the beginning. The first
    run embeds the collection, which takes minutes, and keeps it in the cache.

    \b
    Examples:
      clinical evaluate search --gold medquad_liveqa --half report
      clinical evaluate search --gold medquad_liveqa --wording summary --half report
      clinical evaluate search --gold nfcorpus:dev --modes hybrid,lexical --format json
    """
    from clinical.corpora.retrieval import read_collection
    from clinical.models.embedder import Embedder
    from clinical.scoring.retrieval import render_retrieval

    embedder = Embedder()
    collections = [read_collection(source, wording=wording, half=half) for source in sources]
    evaluations = [_evaluate_search(collection, _modes(modes), embedder) for collection in collections]
    click.echo(render_retrieval(evaluations, format_), nl=False)


def _modes(names: str) -> list[Mode]:
    from clinical.index.ranking import MODES

    known = {str(mode): mode for mode in MODES}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise UsageError(f"--modes: no mode {', '.join(unknown) or 'given'}; available: {', '.join(MODES)}")
    return [known[name] for name in wanted]


def _evaluate_search(
    collection: Collection, modes: Sequence[Mode], embedder: Embedder
) -> RetrievalEvaluation:
    from clinical.batch.progress import Tally, progress
    from clinical.index.collection import open_collection
    from clinical.index.ranking import rank
    from clinical.scoring.retrieval import DEPTH, RetrievalEvaluation, score_run

    tally = Tally()
    with progress(len(collection.documents)) as bar:

        def done(documents: int) -> None:
            tally.done += documents
            bar.update(tally)

        store = open_collection(collection.name, collection.documents, embedder, done)
    vectors = embedder.embed_queries(list(collection.queries.values()))
    with store:
        own_ids = store.own_ids()
        rankings = []
        for mode in modes:
            run = {
                id: {own_ids[found.passage]: found.score for found in rank(store, query, vector, mode, DEPTH)}
                for (id, query), vector in zip(collection.queries.items(), vectors, strict=True)
            }
            rankings.append(score_run(mode, run, collection.judgements))
    return RetrievalEvaluation(collection.name, len(collection.documents), len(collection.queries), rankings)
